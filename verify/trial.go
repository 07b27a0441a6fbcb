package verify

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/statement"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// inquiry is one bundle before any root has looked at it. Everything in it is
// parsed once.
type inquiry struct {
	verifier  *Verifier
	bundle    *sigbox.Bundle
	policy    *policy
	signers   []*signer // the certificate's, or the policy's keys
	signature []byte    // of message or envelope
	content   *content
	bodies    []parsedBody       // of the entries, in order
	tokens    []*timestamp.Token // of the timestamps, in order
	payload   hashed             // of the envelope
	pae       hashed             // what an envelope's signature is over
}

// hashed is text that each algorithm hashes but once, however many entries and
// candidates ask for it.
type hashed struct {
	head    []byte // ahead of the text
	text    []byte
	digests [sigbox.SHA512 + 1]sigbox.Digest
}

func (h *hashed) digest(a sigbox.HashAlgorithm) sigbox.Digest {
	if h.digests[a].IsZero() {
		sum := a.New()
		sum.Write(h.head)
		sum.Write(h.text)
		h.digests[a] = sigbox.Digest{Algorithm: a, Value: sum.Sum(nil)}
	}
	return h.digests[a]
}

// parsedBody is an entry's body, or why it could not be read: that matters only
// if the entry's log does.
type parsedBody struct {
	body *entry.Body
	err  error
}

// open looks at a bundle's form. Bundles may be made by hand, so what the parser
// has checked is checked again.
func (v *Verifier) open(a *content, b *sigbox.Bundle, p *policy) (*inquiry, error) {
	if b == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "no bundle to verify")
	}
	if err := bundle.Check(b); err != nil {
		return nil, refuseFor(StepBundle, err)
	}
	c := &inquiry{verifier: v, bundle: b, policy: p, content: a}
	if b.Message != nil {
		c.signature = b.Message.Signature
	} else {
		c.signature = b.Envelope.Signatures[0].Signature
		c.payload.text = b.Envelope.Payload
		c.pae.head = sigbox.AppendPAEHeader(nil, b.Envelope.PayloadType, len(b.Envelope.Payload))
		c.pae.text = b.Envelope.Payload
	}
	if err := c.identify(v); err != nil {
		return nil, err
	}
	c.bodies = make([]parsedBody, len(b.Entries))
	for i := range b.Entries {
		c.bodies[i].body, c.bodies[i].err = entry.ParseBody(b.Entries[i].Body)
	}
	for _, der := range b.Timestamps {
		tok, err := timestamp.Parse(der)
		if err != nil {
			return nil, refuseFor(StepTimestamp, err)
		}
		c.tokens = append(c.tokens, tok)
	}
	return c, nil
}

// identify finds who may have signed: the bundle's certificate, or the policy's
// keys. One is never taken for the other.
func (c *inquiry) identify(v *Verifier) error {
	if len(c.bundle.Certificates) == 0 {
		if len(c.policy.keys) == 0 {
			return refuse(StepBundle, "the bundle was signed with a key, which has no identity").hint("verify it with the public key")
		}
		c.signers = hinted(c.policy.keys, c.bundle.KeyHint)
		return nil
	}
	if len(c.policy.identities) == 0 {
		return refuse(StepBundle, "the bundle was signed with a certificate, not with a key").hint("verify it by identity")
	}
	if len(v.roots) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "no trust root to judge a certificate by")
	}
	l, err := v.leafOf(c.bundle.Certificates[0])
	if err != nil {
		return err
	}
	if err := refuseRoots(c.bundle.Certificates[1:]); err != nil {
		return err
	}
	if len(algorithms(l.cert.PublicKey)) == 0 {
		return refuse(StepCertificate, "the certificate is for a key %s, for which no algorithm is known", sigbox.DescribeKey(l.cert.PublicKey))
	}
	c.signers = []*signer{{public: l.cert.PublicKey, leaf: l}}
	return nil
}

// hinted gives the keys with the one that the hint names first. It proves nothing.
func hinted(keys []*signer, hint string) []*signer {
	i := slices.IndexFunc(keys, func(k *signer) bool { return k.hint == hint })
	if i <= 0 {
		return keys
	}
	return slices.Concat(keys[i:i+1], keys[:i], keys[i+1:])
}

// anticipate tells the content what any root may ask it for, when it is read for
// several bundles. What a statement says of its subjects is looked up before it is
// verified: it only chooses hashes.
func (c *inquiry) anticipate() {
	if c.bundle.Message != nil {
		hashes, whole := c.messageNeeds()
		c.content.expect(hashes, whole)
		return
	}
	if s, err := parseStatement(c.bundle.Envelope.Payload); err == nil {
		c.content.expect(hashesOf(s)|c.policy.hashes(), false)
	}
}

// messageNeeds gives the hashes of the artifact that may be asked for, and whether
// it may be needed as a whole.
func (c *inquiry) messageNeeds() (hashes hashSet, whole bool) {
	hashes = c.policy.hashes()
	hashes.addAlgorithm(c.bundle.Message.Digest.Algorithm)
	for _, s := range c.signers {
		for _, k := range algorithms(s.public) {
			if s.details != 0 && s.details != k {
				continue
			}
			hashes.addAlgorithm(k.Hash())
			whole = whole || k == sigbox.Ed25519
		}
	}
	for _, b := range c.bodies {
		if b.body != nil {
			hashes.addAlgorithm(b.body.Digest.Algorithm)
		}
	}
	return hashes, whole
}

// trial is the inquiry before one root. Its fields are what was found so far.
type trial struct {
	*inquiry
	root    *root
	signer  *signer
	demands sigbox.Demands
	details sigbox.KeyDetails // as stated by v2 entries

	logged    []logged
	stamps    []witness
	times     []time.Time
	authority path
	promises  []promise
	algorithm sigbox.KeyDetails
	statement *statement.Statement
	subject   int // of the statement
}

// witness is a timestamp that was found good.
type witness struct {
	*stamper
	token *timestamp.Token
}

// judge tries the roots, and for a bundle by key the policy's keys. It gives the
// error of the trial that came furthest.
func (c *inquiry) judge() (*Verdict, error) {
	roots := c.verifier.roots
	if len(roots) == 0 {
		roots = []*root{{}}
	}
	var best *Failure
	for _, r := range roots {
		stamps := sync.OnceValues(func() ([]witness, error) { return c.witnesses(r) })
		for _, s := range c.signers {
			verdict, err := c.try(r, s, stamps)
			if err == nil {
				return verdict, nil
			}
			f, ok := errors.AsType[*Failure](err)
			if !ok {
				return nil, err
			}
			best = further(best, f)
		}
	}
	if len(roots) > 1 && best.err.Hint == "" {
		best = best.hint("as seen by the trust root that came closest, of those given")
	}
	return nil, best
}

// further gives the failure that came closer to success, the first of equals. It
// tells more than the others.
func further(best, f *Failure) *Failure {
	if best == nil || f.step > best.step {
		return f
	}
	return best
}

// try goes through the steps. The root's timestamps are the same for each signer.
func (c *inquiry) try(r *root, s *signer, stamps func() ([]witness, error)) (*Verdict, error) {
	t := &trial{inquiry: c, root: r, signer: s, demands: r.demands.AtLeast(c.policy.demands)}
	if s.leaf == nil {
		t.demands = forKey(r.demands, s).AtLeast(sigbox.Demands{LogEntries: c.policy.demands.LogEntries, Times: c.policy.demands.Times})
	}
	for _, step := range [...]func() error{
		t.entries,
		func() (err error) {
			t.stamps, err = stamps()
			return err
		},
		t.time, t.certificate, t.identity, t.verifySignature, t.verifyStatement,
	} {
		if err := step(); err != nil {
			if f, ok := errors.AsType[*Failure](err); ok {
				f.trial = t
			}
			return nil, err
		}
	}
	return &Verdict{t}, nil
}

// forKey says what a root demands of a bundle by key: that a log has it, or where
// the root has no log, a time. Beyond that a key needs a time only if it has a
// period of its own.
func forKey(d sigbox.Demands, k *signer) sigbox.Demands {
	d.SCTs = 0
	if d.LogEntries > 0 {
		d.Times = 0
	}
	if !k.validFor.IsZero() {
		d.Times = max(d.Times, 1)
	}
	return d
}

// witnesses checks the bundle's timestamps, which are over the signature's bytes.
// Those of authorities that the root does not list count for nothing; of those
// that it does each must verify.
func (c *inquiry) witnesses(r *root) ([]witness, error) {
	if len(c.tokens) == 0 {
		return nil, nil
	}
	var out []witness
	stampers := usable(r.stampers)
	for _, tok := range c.tokens {
		var first error
		found := false
		for _, s := range stampers {
			if !s.Signed(tok) {
				continue
			}
			err := s.VerifyToken(tok, c.signature)
			if err == nil {
				out = append(out, witness{s, tok})
				found = true
				break
			}
			if first == nil {
				first = err
			}
		}
		if !found && first != nil {
			return nil, refuseFor(StepTimestamp, first)
		}
	}
	return out, nil
}

// time collects the trusted times. All of them count: a certificate must be valid
// at each.
func (t *trial) time() error {
	var by []string
	for _, s := range t.stamps {
		t.times = append(t.times, s.token.Time)
		by = append(by, s.operator)
	}
	for _, e := range t.logged {
		if !e.at.IsZero() {
			t.times = append(t.times, e.at)
			by = append(by, operator(e.log.Operator, e.log.BaseURL))
		}
	}
	demanded := t.demands.Times
	if t.signer.leaf != nil || !t.policy.signed.IsZero() {
		demanded = max(demanded, 1)
	}
	if have := operators(by, func(s string) string { return s }); have < demanded {
		f := tooFew(StepTime, "times that the trust root vouches for", demanded, have)
		if other := len(t.tokens) - len(t.stamps); other > 0 {
			f = f.hint("the bundle has %d of authorities that the trust root does not list: is it the right one?", other)
		}
		return f
	}
	for _, at := range t.times {
		if !t.signer.validFor.Contains(at) {
			return refuse(StepTime, "the key is valid %s, the signature is of %s", period(t.signer.validFor), stamp(at))
		}
		if !t.policy.signed.Contains(at) {
			return refuse(StepTime, "the policy accepts signatures made %s, this one is of %s", period(t.policy.signed), stamp(at))
		}
	}
	for _, e := range t.logged {
		if err := t.listed(e); err != nil {
			return err
		}
	}
	return nil
}

// listed makes sure that the root lists the log of an entry for when it was made:
// an entry without a time of its own was made about when it was signed. When even
// that is not known, the log must be one that is not retired.
func (t *trial) listed(e logged) error {
	if !e.at.IsZero() {
		return nil // checked with the promise
	}
	for _, l := range usable(t.root.logs[string(e.entry.LogID)]) {
		outside := func(at time.Time) bool { return !l.ValidFor.Contains(at) }
		if l.same(e.log) && !slices.ContainsFunc(t.times, outside) && (len(t.times) > 0 || l.ValidFor.End.IsZero()) {
			return nil
		}
	}
	if len(t.times) == 0 {
		return refuse(StepTime, "the trust root lists the log %s %s, and nothing says when the signature was made", e.log.BaseURL, period(e.log.ValidFor)).
			hint("signatures outlive their log if they have a timestamp")
	}
	return refuse(StepTime, "the trust root lists the log %s %s, the signature is of %s", e.log.BaseURL, period(e.log.ValidFor), stamp(t.times[0]))
}

// certificate finds the path to the trust root that holds at every trusted time,
// and the SCTs on it.
func (t *trial) certificate() error {
	if t.signer.leaf == nil {
		return nil
	}
	paths := t.root.issuers(t.signer.leaf.cert)
	if len(paths) == 0 {
		return refuse(StepCertificate, "the certificate was issued by %q, which the trust root does not list", t.signer.leaf.cert.Issuer).
			hint("is it the right trust root?")
	}
	var outOfTime, unsound error
	for _, p := range paths {
		if err := t.path(p); err != nil {
			if outOfTime == nil {
				outOfTime = err
			}
			continue
		}
		scts, err := p.check(t.signer.leaf, t.root, t.times[0])
		if err == nil {
			t.authority, t.promises = p, scts
			t.verifier.leaves.put(t.signer.leaf.hash, t.signer.leaf)
			return t.sct()
		}
		if unsound == nil {
			unsound = err
		}
	}
	if unsound != nil {
		return refuseFor(StepCertificate, unsound)
	}
	return refuseFor(StepCertificate, outOfTime)
}

// path checks one at every trusted time.
func (t *trial) path(p path) error {
	for _, at := range t.times {
		if err := p.at(t.signer.leaf.cert, at); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) sct() error {
	if have := operators(t.promises, func(p promise) string { return p.operator }); have < t.demands.SCTs {
		return tooFew(StepSCT, "promises by certificate logs of the trust root", t.demands.SCTs, have)
	}
	return nil
}

func (t *trial) identity() error {
	l := t.signer.leaf
	if l == nil {
		return nil
	}
	if l.identityErr != nil {
		return refuseFor(StepIdentity, l.identityErr)
	}
	return t.policy.permits(&l.identity)
}

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

// verifySignature checks the signature over the artifact, or over the envelope.
func (t *trial) verifySignature() error {
	candidates, err := t.candidates()
	if err != nil {
		return err
	}
	if t.bundle.Envelope != nil {
		return t.accept(candidates, t.verifyEnvelope)
	}
	if err := t.policy.signature(); err != nil {
		return err
	}
	if err := t.loadMessage(candidates); err != nil {
		return err
	}
	if err := t.knownAs(nil); err != nil {
		return err
	}
	if err := t.bindDigests(); err != nil {
		return err
	}
	return t.accept(candidates, t.verifyMessage)
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

// loadMessage reads the artifact and compares it with what the bundle claims.
func (t *trial) loadMessage(candidates []sigbox.KeyDetails) error {
	hashes, whole := t.messageNeeds()
	if len(t.verifier.roots) <= 1 && len(t.signers) == 1 { // no other will ask for more
		whole = slices.Contains(candidates, sigbox.Ed25519)
	}
	t.content.expect(hashes, whole)
	if err := t.content.load(); err != nil {
		return err
	}
	claimed := t.bundle.Message.Digest
	if found := t.content.digest(claimed.Algorithm); !claimed.IsZero() && !found.IsZero() && !found.Equal(claimed) {
		return mismatch(StepArtifact, "the artifact is not the one that was signed", claimed, found).
			hint("it was changed, or it is another file")
	}
	return nil
}

// knownAs checks the policy's digests; s is the subject that the artifact is.
func (t *trial) knownAs(s *statement.Subject) error {
	if len(t.policy.digests) == 0 {
		return nil
	}
	for _, d := range t.policy.digests {
		if t.content.is(d) || s != nil && s.Digests[d.Algorithm] == d.Value {
			return nil
		}
	}
	return mismatch(StepArtifact, "the policy is for other artifacts: digest", join(t.policy.digests), t.content.any())
}

func (t *trial) verifyMessage(k sigbox.KeyDetails) error {
	if k == sigbox.Ed25519 && t.content.source != nil {
		if t.content.bytes == nil {
			return sigbox.Errorf(sigbox.TooLarge, "an artifact signed with Ed25519 is verified as a whole, of at most %d bytes", maxContent)
		}
		return k.VerifyMessage(t.signer.public, *t.content.bytes, t.signature)
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

// verifyStatement reads the statement and finds the artifact in it.
func (t *trial) verifyStatement() error {
	v := t.bundle.Envelope
	if v == nil {
		return nil
	}
	if v.PayloadType != sigbox.InTotoPayloadType {
		return mismatch(StepStatement, "payload type", sigbox.InTotoPayloadType, v.PayloadType)
	}
	s, err := parseStatement(v.Payload)
	if err != nil {
		return err
	}
	if err := t.policy.statement(s.PredicateType); err != nil {
		return err
	}
	hashes := hashesOf(s)
	if hashes == 0 && t.content.source != nil {
		return refuse(StepArtifact, "none of the statement's %d subjects has a digest of an algorithm that can be computed, such as SHA-256", len(s.Subjects)).
			hint("name the artifact by a digest that the statement has, as in gitCommit:…")
	}
	t.content.expect(hashes|t.policy.hashes(), false)
	if err := t.content.load(); err != nil {
		return err
	}
	if t.subject = t.content.find(s); t.subject < 0 {
		return refuse(StepArtifact, "none of the statement's %d subjects carries the artifact's digest %s", len(s.Subjects), t.content.any()).
			hint("it was changed, or the statement is about another file")
	}
	if err := t.knownAs(&s.Subjects[t.subject]); err != nil {
		return err
	}
	t.statement = s
	return nil
}
