package verify

import (
	"slices"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// Language is what a policy's conditions are written in. Package
// [github.com/sigbox/sigbox/verify/condition] has the one of docs/policy.md.
type Language interface {
	// Compile reads the conditions of one policy. Errors are of kind Invalid or
	// TooLarge.
	Compile(conditions []string) (Conditions, error)
}

// Conditions are those of one policy. They are safe for concurrent use.
type Conditions interface {
	// Hold says which are true of what is attested, each in a line. The first that is
	// not, or that cannot be answered, is the error.
	Hold(about *Attested) (held []string, err error)
}

// Attested is what conditions are about: what was found to be signed, by whom and when.
// It is not to be changed, nor kept.
type Attested struct {
	Statement *statement.Statement
	// Identity is the certificate's, nil for a key.
	Identity *sigbox.Identity
	// Times are when it was signed, by those who vouch for that.
	Times []time.Time
}

// hold is the step of the conditions: each is true of a statement that was found to
// be signed. What cannot be answered is not true.
func (t *trial) hold() (err error) {
	if len(t.policy.conditionTexts) == 0 {
		return nil
	}
	about := &Attested{Statement: t.statement, Times: slices.Clone(t.times)}
	if t.signer.leaf != nil {
		id := t.signer.leaf.identity
		about.Identity = &id
	}
	if t.held, err = t.policy.conditions.Hold(about); err != nil {
		return refuseFor(StepCondition, err)
	}
	if len(t.held) != len(t.policy.conditionTexts) {
		return mismatch(StepCondition, "conditions that were answered", len(t.policy.conditionTexts), len(t.held))
	}
	return nil
}
