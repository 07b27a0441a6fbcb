package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
)

// The words for an outcome in JSON.
const (
	statusVerified    = "verified"
	statusNotVerified = "notVerified"
	statusUndecided   = "undecided"
)

// verifyReport is what "verify --output json" prints.
type verifyReport struct {
	// Trust says whose roots were used and how fresh they are.
	Trust       string `json:"trust"`
	Verified    int    `json:"verified"`
	NotVerified int    `json:"notVerified"`
	Undecided   int    `json:"undecided"`
	// PassedOver is what directories have besides.
	PassedOver passedOver     `json:"passedOver"`
	Results    []verifyResult `json:"results"`
}

// verifyResult is what became of one artifact.
type verifyResult struct {
	Artifact string `json:"artifact"`
	Bundle   string `json:"bundle,omitempty"`
	// Status is "verified", "notVerified" or "undecided". The members between it
	// and Error are there when it is "verified".
	Status     string         `json:"status"`
	Digest     string         `json:"digest,omitempty"`
	Algorithm  string         `json:"algorithm,omitempty"`
	Identity   *identityJSON  `json:"identity,omitempty"` // absent with --key
	Times      []time.Time    `json:"times,omitempty"`
	LogEntries []loggedJSON   `json:"logEntries,omitempty"`
	Statement  *statementJSON `json:"statement,omitempty"`
	Steps      []stepJSON     `json:"steps,omitempty"` // with --explain
	Error      string         `json:"error,omitempty"`
	FailedStep string         `json:"failedStep,omitempty"`
	Next       string         `json:"next,omitempty"`
	err        error
}

type loggedJSON struct {
	Log   string     `json:"log"`
	Index int64      `json:"logIndex"`
	Kind  string     `json:"kind"`
	Time  *time.Time `json:"integratedTime,omitempty"`
}

type stepJSON struct {
	Step  string `json:"step"`
	Found string `json:"found"`
}

func newVerifyReport(trust string, results []verifyResult) verifyReport {
	r := verifyReport{Trust: trust, Results: results}
	for _, v := range results {
		switch v.Status {
		case statusVerified:
			r.Verified++
		case statusNotVerified:
			r.NotVerified++
		default:
			r.Undecided++
		}
	}
	return r
}

// statusOf says what an error means for an artifact.
func statusOf(err error) string {
	switch exitStatus(err) {
	case exitOK:
		return statusVerified
	case exitUndecided:
		return statusUndecided
	}
	return statusNotVerified
}

// newVerifyResult writes an outcome down, with the steps if explain is set.
func newVerifyResult(o outcome, explain bool) verifyResult {
	j := verifyResult{Artifact: o.artifact.String(), Bundle: o.bundle, Status: statusOf(o.err), err: o.err}
	if o.err != nil {
		j.Error, j.Next = splitHint(o.err)
		if s := verify.FailedStep(o.err); s != 0 {
			j.FailedStep = s.String()
		}
		if f, ok := errors.AsType[*verify.Failure](o.err); ok && explain {
			j.Steps = steps(f.Passed())
		}
		return j
	}
	v := o.verdict
	j.Digest, j.Algorithm, j.Times = v.Digest().String(), v.Algorithm().String(), v.Times()
	if id, ok := v.Identity(); ok {
		identity := newIdentityJSON(id)
		j.Identity = &identity
	}
	for _, e := range v.LogEntries() {
		l := loggedJSON{Log: e.Log, Index: e.Index, Kind: e.Kind}
		if !e.Time.IsZero() {
			l.Time = &e.Time
		}
		j.LogEntries = append(j.LogEntries, l)
	}
	if s := v.Statement(); s != nil {
		j.Statement = newStatementJSON(s)
	}
	if explain {
		j.Steps = steps(v.Steps())
	}
	return j
}

func newStatementJSON(s *verify.Statement) *statementJSON {
	out := &statementJSON{PayloadType: sigbox.InTotoPayloadType, Type: s.Type, PredicateType: s.PredicateType}
	for _, subject := range s.Subjects {
		out.Subjects = append(out.Subjects, subjectJSON{subject.Name, subject.Digests})
	}
	return out
}

func steps(checks []verify.Check) []stepJSON {
	out := make([]stepJSON, len(checks))
	for i, c := range checks {
		out[i] = stepJSON{c.Step.String(), c.Found}
	}
	return out
}

// printVerified prints what became of the artifacts and gives the error that the
// verb ends with.
func (e *env) printVerified(f verifyFlags, r verifyReport) error {
	var err error
	switch {
	case f.output.json():
		err = e.printJSON(r)
	case len(r.Results) == 1:
		err = e.printVerdict(r.Results[0], r.Trust)
	default:
		err = e.printTable(r)
		if s := r.PassedOver.String(); s != "" {
			e.note("Passed over: %s.", s)
		}
	}
	if err != nil {
		return err
	}
	return concludeVerify(f, r)
}

// concludeVerify gives the error for what was not verified: for one artifact its
// own, for several a silent one, since the table has told.
func concludeVerify(f verifyFlags, r verifyReport) error {
	switch {
	case r.NotVerified+r.Undecided == 0:
		return nil
	case len(r.Results) == 1 && !f.output.json():
		return fmt.Errorf("%s: %w", r.Results[0].Artifact, r.Results[0].err)
	case r.NotVerified > 0:
		return silentError{exitNotVerified}
	}
	return silentError{exitUndecided}
}

// printVerdict tells of one artifact.
func (e *env) printVerdict(v verifyResult, trust string) error {
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	if v.Status == statusVerified {
		fmt.Fprintf(w, "%s: verified\n", printable(v.Artifact))
		v.rows(row)
		row("trust", "%s", trust)
	}
	for i, s := range v.Steps {
		row(fmt.Sprintf("%d. %s", i+1, s.Step), "%s", s.Found)
	}
	return w.Flush()
}

// rows tells what was found of a verified artifact.
func (v verifyResult) rows(row rowFunc) {
	if v.Identity != nil {
		row("signed by", "%s", v.Identity.Subject)
		row("vouched for by", "%s", v.Identity.Issuer)
	} else {
		row("signed by", "the key given")
	}
	for _, t := range v.Times {
		row("at", "%s", t.UTC().Format(time.RFC3339))
	}
	for _, l := range v.LogEntries {
		row("recorded", "%s, index %d", l.Log, l.Index)
	}
	if v.Statement != nil {
		row("statement", "%s", v.Statement.PredicateType)
	}
	row("digest", "%s", v.Digest)
}

// printTable tells of several artifacts, a line each, failures first.
func (e *env) printTable(r verifyReport) error {
	byNeed := slices.Clone(r.Results)
	slices.SortStableFunc(byNeed, func(a, b verifyResult) int { return cmp.Compare(a.need(), b.need()) })
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, v := range byNeed {
		fmt.Fprintf(w, "%s\t%s\t%s\n", verdictWord(v.Status), printable(v.Artifact), printable(v.brief()))
		for n, s := range v.Steps {
			fmt.Fprintf(w, "\t\t%d. %s: %s\n", n+1, printable(s.Step), printable(s.Found))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	e.summarizeVerified(r, byNeed)
	return nil
}

// need orders results for people: what wants their eyes comes first.
func (v verifyResult) need() int {
	switch v.Status {
	case statusNotVerified:
		return 0
	case statusUndecided:
		return 1
	}
	return 2
}

// verdictWord is the word for a status in the table.
func verdictWord(status string) string {
	switch status {
	case statusVerified:
		return "verified"
	case statusUndecided:
		return "UNDECIDED"
	}
	return "NOT VERIFIED"
}

// brief says in one line what was found, or what is wrong.
func (v verifyResult) brief() string {
	if v.Error != "" {
		return v.Error
	}
	parts := []string{"the key given"}
	if v.Identity != nil {
		parts[0] = v.Identity.Subject
	}
	if len(v.Times) > 0 {
		parts = append(parts, v.Times[0].UTC().Format(time.RFC3339))
	}
	for _, l := range v.LogEntries {
		parts = append(parts, fmt.Sprintf("log index %d", l.Index))
	}
	if v.Statement != nil {
		parts = append(parts, "statement "+v.Statement.PredicateType)
	}
	return strings.Join(parts, ", ")
}

// summarizeVerified ends the table: what failed by name, then the numbers.
func (e *env) summarizeVerified(r verifyReport, byNeed []verifyResult) {
	const most = 10
	var bad []string
	for _, v := range byNeed {
		if v.Status != statusVerified {
			bad = append(bad, v.Artifact)
		}
	}
	if n := len(bad) - most; n > 0 {
		bad = append(bad[:most], fmt.Sprintf("and %d more", n))
	}
	if len(bad) > 0 {
		e.note("NOT VERIFIED: %s.", strings.Join(bad, ", "))
		if next := byNeed[0].Next; next != "" {
			e.note("  next, for %s: %s", byNeed[0].Artifact, next)
		}
	}
	e.note("%d of %s verified. Trust: %s.", r.Verified, count(len(r.Results), "file", "files"), r.Trust)
}
