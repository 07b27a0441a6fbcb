package main

import (
	"cmp"
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

// status says what became of an artifact.
func (o outcome) status() string {
	switch exitStatus(o.err) {
	case exitOK:
		return statusVerified
	case exitUndecided:
		return statusUndecided
	}
	return statusNotVerified
}

// rank orders outcomes for people: what needs their eyes comes first.
func (o outcome) rank() int {
	return slices.Index([]string{statusNotVerified, statusUndecided, statusVerified}, o.status())
}

// verifyReport is what "verify --output json" prints.
type verifyReport struct {
	// Trust says whose roots were used and how fresh they are.
	Trust       string        `json:"trust"`
	Verified    int           `json:"verified"`
	NotVerified int           `json:"notVerified"`
	Undecided   int           `json:"undecided"`
	Results     []verdictJSON `json:"results"`
}

type verdictJSON struct {
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

func newVerifyReport(trust string, outcomes []outcome, explain bool) verifyReport {
	r := verifyReport{Trust: trust, Results: []verdictJSON{}}
	for _, o := range outcomes {
		switch o.status() {
		case statusVerified:
			r.Verified++
		case statusNotVerified:
			r.NotVerified++
		default:
			r.Undecided++
		}
		r.Results = append(r.Results, newVerdictJSON(o, explain))
	}
	return r
}

func newVerdictJSON(o outcome, explain bool) verdictJSON {
	j := verdictJSON{Artifact: o.artifact.String(), Bundle: o.bundle, Status: o.status()}
	if o.err != nil {
		j.Error, j.Next = splitHint(o.err)
		if s := verify.FailedStep(o.err); s != 0 {
			j.FailedStep = s.String()
		}
		if f, ok := failureOf(o.err); ok && explain {
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
func (e *env) printVerified(f verifyFlags, found found, trust string, outcomes []outcome) error {
	report := newVerifyReport(trust, outcomes, f.explain)
	var err error
	switch {
	case f.output.json():
		err = e.printJSON(report)
	case len(outcomes) == 1:
		err = e.printVerdict(report.Results[0], trust)
	default:
		err = e.printTable(report, outcomes)
		if s := found.skipped(); s != "" {
			e.note("Passed over: %s.", s)
		}
	}
	if err != nil {
		return err
	}
	return e.concludeVerify(f, report, outcomes)
}

// concludeVerify gives the error for what was not verified: for one artifact its
// own, for several a silent one, since the table has told.
func (e *env) concludeVerify(f verifyFlags, r verifyReport, outcomes []outcome) error {
	switch {
	case r.NotVerified+r.Undecided == 0:
		return nil
	case len(outcomes) == 1 && !f.output.json():
		return fmt.Errorf("%s: %w", outcomes[0].artifact, outcomes[0].err)
	case r.NotVerified > 0:
		return silentError{exitNotVerified}
	}
	return silentError{exitUndecided}
}

// printVerdict tells of one artifact.
func (e *env) printVerdict(v verdictJSON, trust string) error {
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
func (v verdictJSON) rows(row rowFunc) {
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
func (e *env) printTable(r verifyReport, outcomes []outcome) error {
	order := make([]int, len(outcomes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(outcomes[a].rank(), outcomes[b].rank()) })
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, i := range order {
		v := r.Results[i]
		fmt.Fprintf(w, "%s\t%s\t%s\n", verdictWords[v.Status], printable(v.Artifact), printable(v.brief()))
		for n, s := range v.Steps {
			fmt.Fprintf(w, "\t\t%d. %s: %s\n", n+1, printable(s.Step), printable(s.Found))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	e.summarizeVerified(r, order)
	return nil
}

// verdictWords are the words for a status in the table.
var verdictWords = map[string]string{
	statusVerified: "verified", statusNotVerified: "NOT VERIFIED", statusUndecided: "UNDECIDED",
}

// brief says in one line what was found, or what is wrong.
func (v verdictJSON) brief() string {
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
	return strings.Join(parts, ", ")
}

// summarizeVerified ends the table: what failed by name, then the numbers.
func (e *env) summarizeVerified(r verifyReport, order []int) {
	const most = 10
	var bad []string
	for _, i := range order {
		if r.Results[i].Status != statusVerified {
			bad = append(bad, r.Results[i].Artifact)
		}
	}
	if n := len(bad) - most; n > 0 {
		bad = append(bad[:most], fmt.Sprintf("and %d more", n))
	}
	if len(bad) > 0 {
		e.note("NOT VERIFIED: %s.", strings.Join(bad, ", "))
	}
	e.note("%d of %s verified. Trust: %s.", r.Verified, count(len(r.Results), "file", "files"), r.Trust)
}
