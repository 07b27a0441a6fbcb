package verify

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox"
)

// Step is a part of the verification. Steps are in the order in which they are gone
// through, but that the artifact is looked for among a statement's subjects last.
type Step uint8

// The steps.
const (
	// StepBundle is the bundle's form.
	StepBundle Step = iota + 1
	// StepLog: the entry is one that a log of the trust root can vouch for.
	StepLog
	// StepEntry: what the entry says is what the bundle says.
	StepEntry
	// StepPromise is the signed entry timestamp of a v1 log.
	StepPromise
	// StepInclusion is the entry's inclusion proof.
	StepInclusion
	// StepCheckpoint is the signed checkpoint that the proof leads to.
	StepCheckpoint
	// StepTimestamp is a timestamp by a timestamp authority.
	StepTimestamp
	// StepTime: there is a trusted time, and it fits log and key.
	StepTime
	// StepCertificate is the path from the certificate to the trust root, at
	// every trusted time.
	StepCertificate
	// StepSCT is the certificate logs' promise.
	StepSCT
	// StepIdentity: the certificate's subject and issuer are wanted ones.
	StepIdentity
	// StepArtifact: the bundle is about the artifact.
	StepArtifact
	// StepSignature is the signature over artifact or statement.
	StepSignature
	// StepStatement: the envelope holds an in-toto statement.
	StepStatement
	// StepPredicate: the statement's predicate type is the wanted one.
	StepPredicate
	// StepCondition: the policy's conditions are true.
	StepCondition
)

var stepNames = [...]string{
	StepBundle: "bundle", StepLog: "log", StepEntry: "log entry", StepPromise: "signed entry timestamp",
	StepInclusion: "inclusion proof", StepCheckpoint: "checkpoint", StepTimestamp: "timestamp", StepTime: "trusted time",
	StepCertificate: "certificate", StepSCT: "SCT", StepIdentity: "identity", StepArtifact: "artifact",
	StepSignature: "signature", StepStatement: "statement", StepPredicate: "predicate", StepCondition: "condition",
}

// String names the step for people.
func (s Step) String() string {
	if s == 0 || int(s) >= len(stepNames) {
		return "unknown step"
	}
	return stepNames[s]
}

// Failure is the error for a bundle that is not to be trusted. Its chain holds a
// [sigbox.Error] of kind NotVerified.
type Failure struct {
	step  Step
	err   *sigbox.Error
	trial *trial // as far as it went; nil when the bundle's form was wrong
	// unlisted: what falls short, or another of its bundles, is by somebody whom the trust root
	// does not list.
	unlisted bool
	// progress is how many steps were gone through; it tells failures of several
	// bundles and roots apart, since not all kinds of bundle have the same order.
	progress int
}

// Step says at which step verification failed.
func (f *Failure) Step() Step { return f.step }

// Passed are the checks that went well before, in order.
func (f *Failure) Passed() []Check {
	if f.trial == nil {
		return nil
	}
	return f.trial.explain()
}

// Bundle is the one that was refused, nil when its form was wrong or when several
// fell short of a policy. It is not to be changed, nor believed.
func (f *Failure) Bundle() *sigbox.Bundle {
	if f.trial == nil {
		return nil
	}
	return f.trial.bundle
}

// Signer is whom the bundle's certificate names, for failures that came after the
// certificate was found to be good; false before, and for bundles by key.
func (f *Failure) Signer() (sigbox.Identity, bool) {
	if f.trial == nil || f.trial.signer.leaf == nil || f.step < StepIdentity || f.trial.signer.leaf.identityErr != nil {
		return sigbox.Identity{}, false
	}
	return f.trial.signer.leaf.identity, true
}

// Unlisted reports whether the bundle, or one of several, falls short for the sake of a log
// or an authority that the trust root does not list: a newer one may. A bundle by strangers
// looks the same.
func (f *Failure) Unlisted() bool { return f.unlisted }

// Error says what was expected, what was found and what to do.
func (f *Failure) Error() string { return f.err.Error() }

// Unwrap gives the sigbox.Error.
func (f *Failure) Unwrap() error { return f.err }

// FailedStep gives the step at which verification failed, 0 when err is no
// [Failure].
func FailedStep(err error) Step {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.step
	}
	return 0
}

// refuse makes a Failure.
func refuse(step Step, format string, args ...any) *Failure {
	return refuseFor(step, sigbox.Errorf(sigbox.NotVerified, format, args...))
}

// mismatch makes a Failure for a value that is not the expected one.
func mismatch(step Step, msg string, want, got any) *Failure {
	return refuseFor(step, sigbox.Mismatch(sigbox.NotVerified, msg, want, got))
}

// refuseFor makes a Failure of an error of another package: whatever its kind,
// the bundle is not verified.
func refuseFor(step Step, err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	var e sigbox.Error
	if inner, ok := err.(*sigbox.Error); ok { // what wraps one has words of its own
		e = *inner
	} else {
		e = *sigbox.Errorf(sigbox.NotVerified, "%w", err)
	}
	e.Kind = sigbox.NotVerified
	if !strings.HasPrefix(e.Msg, step.String()) {
		e.Msg = step.String() + ": " + e.Msg
	}
	return &Failure{step: step, err: &e}
}

// tooFew makes a Failure for evidence that falls short of a [Demands].
func tooFew(step Step, what string, want, got int) *Failure {
	wanted := strconv.Itoa(want)
	if want > 1 {
		wanted += " of distinct operators"
	}
	return mismatch(step, what, wanted, got)
}

// strange marks a Failure as one for the sake of somebody whom the trust root does not list.
func (f *Failure) strange() *Failure {
	f.unlisted = true
	return f
}

// hint adds the next step to take.
func (f *Failure) hint(format string, args ...any) *Failure {
	f.err = f.err.WithHint(format, args...)
	return f
}
