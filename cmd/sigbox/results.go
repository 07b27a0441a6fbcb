package main

import (
	"errors"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/statement"
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
	// Missing are files that --ignore-missing passed over.
	Missing int `json:"missing"`
	// PassedOver is what directories have besides.
	PassedOver passedOver     `json:"passedOver"`
	Results    []verifyResult `json:"results"`

	nouns nouns
}

// verifyResult is what became of one artifact.
type verifyResult struct {
	Artifact fileName `json:"artifact"`
	// Status is "verified", "notVerified" or "undecided".
	Status string `json:"status"`
	// Digest is there when it is "verified".
	Digest string `json:"digest,omitempty"`
	// Checksums are the verified files of checksums that it stands in.
	Checksums []fileName `json:"checksums,omitempty"`
	// The signature that was verified, or of the one that failed its file and steps.
	signatureJSON
	// OtherSignatures are there when the policy wants several.
	OtherSignatures []signatureJSON `json:"otherSignatures,omitempty"`

	Error      string `json:"error,omitempty"`
	FailedStep string `json:"failedStep,omitempty"`
	// FoundIdentity is who signed in fact, when that is somebody else.
	FoundIdentity *identityJSON `json:"foundIdentity,omitempty"`
	// Signers are those of the policy, when too few of them signed.
	Signers []policySignerJSON `json:"signers,omitempty"`
	Next    string             `json:"next,omitempty"`

	err      error
	mismatch *mismatch
}

// policySignerJSON is a line of the policy, and whether it was met.
type policySignerJSON struct {
	Signer string `json:"signer"`
	Signed bool   `json:"signed"`
}

// signatureJSON is a signature that was verified.
type signatureJSON struct {
	Bundle     fileName       `json:"bundle,omitempty"`
	Line       int            `json:"line,omitempty"` // of the bundle, where that has lines
	Algorithm  string         `json:"algorithm,omitempty"`
	Identity   *identityJSON  `json:"identity,omitempty"`
	Key        string         `json:"key,omitempty"` // in place of Identity
	Times      []time.Time    `json:"times,omitempty"`
	LogEntries []loggedJSON   `json:"logEntries,omitempty"`
	Statement  *statementJSON `json:"statement,omitempty"`
	Steps      []stepJSON     `json:"steps,omitempty"` // with --explain
}

type loggedJSON struct {
	Log   string     `json:"log"`
	Index int64      `json:"logIndex"`
	Kind  string     `json:"kind"`
	Time  *time.Time `json:"integratedTime,omitempty"`
}

type stepJSON struct {
	Step     string     `json:"step"`
	Found    string     `json:"found"`
	Evidence []factJSON `json:"evidence"`
}

type factJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
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

// reporter writes outcomes down.
type reporter struct {
	flags  verifyFlags
	policy sigbox.Policy
	args   []string
	// artifacts is how many they stand for.
	artifacts int
}

// result keeps of an outcome what is printed.
func (r *reporter) result(o outcome) verifyResult {
	j := verifyResult{Artifact: fileName(o.artifact.String()), Status: statusOf(o.err), err: lasting(o.err)}
	if o.err != nil {
		j.locate(o.at)
		r.fail(&j, o)
		if step := verify.FailedStep(o.err); o.unasked && (step == verify.StepLog || step == verify.StepTime) {
			j.Next = "the signature came without its log entry, which a log may have: without --offline it is asked"
		}
		return j
	}
	for _, l := range o.artifact.listed {
		j.Checksums = append(j.Checksums, fileName(l.list.path))
	}
	if len(o.verdicts) == 0 {
		j.Digest = o.listed.String()
		return j
	}
	j.Digest = o.verdicts[0].Digest().String()
	if !o.artifact.image.IsZero() { // and not that of what cosign signed for it
		j.Digest = o.artifact.digest.String()
	}
	for i, v := range o.verdicts {
		s := r.signature(v)
		s.locate(o.from[v.Bundle()])
		if i == 0 {
			j.signatureJSON = s
		} else {
			j.OtherSignatures = append(j.OtherSignatures, s)
		}
	}
	return j
}

// lasting gives what is kept of an error while others are judged: a Failure holds the
// bundle with all that was made of it, which may be many megabytes.
func lasting(err error) error {
	if verify.FailedStep(err) == 0 {
		return err
	}
	e, _ := errors.AsType[*sigbox.Error](err) // a Failure has one
	kept := *e
	kept.Err = nil
	return &kept
}

// locate says where the bundle stands.
func (s *signatureJSON) locate(at place) {
	s.Bundle, s.Line = fileName(at.String()), at.line
}

func (r *reporter) signature(v *verify.Verdict) signatureJSON {
	s := signatureJSON{Algorithm: v.Algorithm().String(), Times: v.Times()}
	if id, ok := v.Identity(); ok {
		identity := newIdentityJSON(id)
		s.Identity = &identity
	}
	if key, ok := v.Key(); ok {
		s.Key = sigbox.SHA256.Sum(key).String()
	}
	for _, e := range v.LogEntries() {
		l := loggedJSON{Log: e.Log, Index: e.Index, Kind: e.Kind}
		if !e.Time.IsZero() {
			l.Time = &e.Time
		}
		s.LogEntries = append(s.LogEntries, l)
	}
	if st := v.Statement(); st != nil {
		s.Statement = newStatementJSON(st)
	}
	if r.flags.explain {
		s.Steps = steps(v.Steps())
	}
	return s
}

// fail writes down why an artifact is not verified, and what might help.
func (r *reporter) fail(j *verifyResult, o outcome) {
	j.Error, j.Next = splitHint(o.err)
	j.Signers = o.signers
	f, ok := errors.AsType[*verify.Failure](o.err)
	if !ok {
		return
	}
	j.FailedStep = f.Step().String()
	if r.flags.explain {
		j.Steps = steps(f.Passed())
	}
	switch id, known := f.Signer(); {
	case f.Step() == verify.StepIdentity && known:
		identity := newIdentityJSON(id)
		j.FoundIdentity, j.mismatch = &identity, nearest(r.policy.Identities, id)
		j.Next = r.acceptIdentity(o.artifact, j.mismatch)
	case f.Step() == verify.StepPredicate:
		if next := r.acceptType(f.Bundle()); next != "" {
			j.Next = next
		}
	}
}

func newStatementJSON(s *statement.Statement) *statementJSON {
	out := &statementJSON{PayloadType: sigbox.InTotoPayloadType, Type: s.Type, PredicateType: s.PredicateType}
	for _, subject := range s.Subjects {
		out.Subjects = append(out.Subjects, subjectJSON{subject.Name, subject.Digests})
	}
	return out
}

func steps(checks []verify.Check) []stepJSON {
	out := make([]stepJSON, len(checks))
	for i, c := range checks {
		out[i] = stepJSON{c.Step.String(), c.Found, make([]factJSON, len(c.Evidence))}
		for n, fact := range c.Evidence {
			out[i].Evidence[n] = factJSON(fact)
		}
	}
	return out
}
