package verify

import (
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// candidates gives the algorithms to try: the one that is stated, or those that
// the key can have signed with.
func (t *trial) candidates() ([]sigbox.KeyDetails, error) {
	stated := t.signer.details
	switch {
	case stated == 0:
		stated = t.details
	case t.details != 0 && t.details != stated:
		return nil, mismatch(StepEntry, "signature algorithm", stated, t.details)
	}
	if stated != 0 {
		return []sigbox.KeyDetails{stated}, nil
	}
	return algorithms(t.signer.public), nil
}

// kind says whether the policy accepts a signature of the artifact itself, when that
// is what the bundle has.
func (t *trial) kind() error {
	if t.bundle.Message == nil {
		return nil
	}
	return t.policy.signature()
}

// envelope checks the signature over an envelope.
func (t *trial) envelope() error {
	if t.bundle.Envelope == nil {
		return nil
	}
	candidates, err := t.candidates()
	if err != nil {
		return err
	}
	return t.accept(candidates, t.verifyEnvelope)
}

// readStatement reads the statement in an envelope that was found to be signed.
func (t *trial) readStatement() error {
	v := t.bundle.Envelope
	if v == nil {
		return nil
	}
	if v.PayloadType != sigbox.InTotoPayloadType {
		return mismatch(StepStatement, "payload type", sigbox.InTotoPayloadType, v.PayloadType)
	}
	s, err := statement.Parse(v.Payload)
	if err != nil {
		return refuseFor(StepStatement, err)
	}
	if err := t.policy.statement(s.PredicateType); err != nil {
		return err
	}
	t.statement = s
	return nil
}

// needs gives the hashes of the artifact that the trial will ask for, and whether it
// needs the artifact as a whole.
func (t *trial) needs() (hashes hashSet, whole bool) {
	hashes = t.policy.hashes()
	if t.statement != nil {
		return hashes | hashesOf(t.statement), false
	}
	hashes.addAlgorithm(t.bundle.Message.Digest.Algorithm)
	for _, e := range t.logged {
		hashes.addAlgorithm(e.body.Digest.Algorithm)
	}
	candidates, err := t.candidates()
	if err != nil {
		return hashes, false // it will fail
	}
	for _, k := range candidates {
		hashes.addAlgorithm(k.Hash())
		whole = whole || k == sigbox.Ed25519
	}
	return hashes, whole
}

// anticipate tells the content what the trials that stand will ask it for: it is
// read once.
func (c *inquiry) anticipate() {
	for _, t := range c.standing {
		c.content.expect(t.needs())
	}
}

// artifact reads the artifact, and compares it with what the bundle claims.
func (t *trial) artifact() error {
	if t.statement != nil && hashesOf(t.statement) == 0 && t.content.readable() {
		return refuse(StepArtifact, "none of the statement's %d subjects has a digest of an algorithm that can be computed, such as SHA-256", len(t.statement.Subjects)).
			hint("name the artifact by a digest that the statement has, as in gitCommit:…")
	}
	if err := t.content.load(); err != nil {
		return err
	}
	if t.bundle.Message == nil {
		return nil
	}
	claimed := t.bundle.Message.Digest
	if found := t.content.digest(claimed.Algorithm); !claimed.IsZero() && !found.IsZero() && !found.Equal(claimed) {
		return mismatch(StepArtifact, "the artifact is not the one that was signed", claimed, found).
			hint("it was changed, or it is another file")
	}
	return nil
}

// message checks the signature over the artifact, and that entries and policy are
// about it.
func (t *trial) message() error {
	if t.bundle.Message == nil {
		return nil
	}
	if !t.knownAs(nil) {
		return t.unknown()
	}
	if err := t.bindDigests(); err != nil {
		return err
	}
	candidates, err := t.candidates()
	if err != nil {
		return err
	}
	return t.accept(candidates, t.verifyMessage)
}

// about finds the artifact among the statement's subjects.
func (t *trial) about() error {
	if t.statement == nil {
		return nil
	}
	found := false
	for i := range t.statement.Subjects {
		one := &t.statement.Subjects[i]
		if !t.content.isSubject(one) {
			continue
		}
		if found = true; t.knownAs(one) {
			t.subject = one
			return nil
		}
	}
	if found {
		return t.unknown()
	}
	return refuse(StepArtifact, "none of the statement's %d subjects carries the artifact's digest %s", len(t.statement.Subjects), t.content.any()).
		hint("it was changed, or the statement is about another file")
}

// knownAs checks the policy's digests; s is the subject that the artifact is.
func (t *trial) knownAs(s *statement.Subject) bool {
	return len(t.policy.digests) == 0 || slices.ContainsFunc(t.policy.digests, func(d sigbox.NamedDigest) bool {
		return t.content.is(d) || s != nil && s.Digests[d.Algorithm] == d.Value
	})
}

// unknown is the failure for an artifact that the policy is not for.
func (t *trial) unknown() error {
	return mismatch(StepArtifact, "the policy is for other artifacts: digest", join(t.policy.digests), t.content.any())
}

// accept takes the first candidate that verifies.
func (t *trial) accept(candidates []sigbox.KeyDetails, verify func(sigbox.KeyDetails) error) error {
	var first error
	for _, k := range candidates {
		err := verify(k)
		if err == nil {
			t.algorithm = k
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return refuseFor(StepSignature, first)
}

func (t *trial) verifyMessage(k sigbox.KeyDetails) error {
	if k == sigbox.Ed25519 && t.content.readable() {
		if t.content.memory == nil {
			return sigbox.Errorf(sigbox.TooLarge, "an artifact signed with Ed25519 is verified as a whole, of at most %d bytes", maxContent)
		}
		return k.VerifyMessage(t.signer.public, *t.content.memory, t.signature)
	}
	d := t.content.digest(k.Hash())
	if k != sigbox.Ed25519 && d.IsZero() {
		return sigbox.Errorf(sigbox.Invalid, "the signature is over a %s digest, the artifact is given as %s", k.Hash(), t.content.any()).WithHint("give the artifact itself")
	}
	return k.VerifyDigest(t.signer.public, d.Value, t.signature)
}

func (t *trial) verifyEnvelope(k sigbox.KeyDetails) error {
	if !k.Hash().Valid() {
		return k.VerifyMessage(t.signer.public, sigbox.PAE(t.bundle.Envelope.PayloadType, t.bundle.Envelope.Payload), t.signature)
	}
	return k.VerifyDigest(t.signer.public, t.pae.digest(k.Hash()).Value, t.signature)
}
