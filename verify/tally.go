package verify

import "github.com/sigbox/sigbox"

// Tally counts who of a policy's signers have signed, a bundle at a time, where what
// they signed differs in form: an image's digest in one bundle, a payload that names it
// in another. That these are the same thing is for the caller to know. Otherwise it
// counts like [Verifier.VerifyAll], without bounds of its own. It is for one goroutine.
type Tally struct {
	verifier *Verifier
	policy   sigbox.Policy
	quorum   *quorum // nil before the first bundle
	enough   bool
}

// Tally begins a count.
func (v *Verifier) Tally(p sigbox.Policy) *Tally { return &Tally{verifier: v, policy: p} }

// Add judges one more bundle, and reports whether as many have signed as the policy
// demands. One that does not verify counts for nothing. Errors are those of
// [Verifier.Verify] that are no [Failure].
func (t *Tally) Add(a Artifact, b *sigbox.Bundle) (enough bool, err error) {
	policy, content, err := t.verifier.prepare(a, t.policy)
	if err != nil {
		return t.enough, err
	}
	defer content.release()
	if t.quorum == nil {
		t.quorum = newQuorum(policy)
	}
	verdict, err := t.verifier.one(content, b, policy)
	if err != nil {
		return t.enough, t.quorum.miss(err)
	}
	t.enough = t.quorum.add(verdict)
	return t.enough, nil
}

// Verdicts gives those of the signers that count until now, in the order of the policy.
func (t *Tally) Verdicts() []*Verdict {
	if t.quorum == nil {
		return nil
	}
	return t.quorum.verdicts()
}

// Err says what is missing, nil if nothing is.
func (t *Tally) Err() error {
	switch {
	case t.enough:
		return nil
	case t.quorum == nil:
		return refuse(StepBundle, "there is no bundle for the artifact")
	}
	return t.quorum.failure()
}

// Signed reports of each identity of the policy, and then of each key, whether one of
// those who signed is it. One signer may be several of them.
func (t *Tally) Signed() []bool {
	out := make([]bool, len(t.policy.Identities)+len(t.policy.Keys))
	if t.quorum == nil {
		return out
	}
	for _, s := range t.quorum.signers {
		for place := range s.places {
			out[place] = true
		}
	}
	return out
}
