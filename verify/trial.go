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
	standing  []*trial           // that examine found nothing wrong with
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
		if c.bodies[i].body = c.foretold(&b.Entries[i]); c.bodies[i].body == nil {
			c.bodies[i].body, c.bodies[i].err = entry.ParseBody(b.Entries[i].Body)
		}
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
		return refuse(StepCertificate, "there is no trust root to judge a certificate by")
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

// trial is the inquiry before one root. Its fields are what was found so far.
type trial struct {
	*inquiry
	root    *root
	signer  *signer
	demands sigbox.Demands
	details sigbox.KeyDetails // as stated by v2 entries
	// progress counts the steps that were begun.
	progress int

	logged    []logged
	stamps    []witness
	times     []time.Time
	authority path
	promises  []promise
	algorithm sigbox.KeyDetails
	statement *statement.Statement
	held      []string           // of the policy's conditions
	subject   *statement.Subject // of the statement, that the artifact is
}

// witness is a timestamp that was found good.
type witness struct {
	*stamper
	token *timestamp.Token
}

// examine goes through all that needs no artifact, for every root, and for a bundle
// by key every key of the policy. It keeps the trials that stand so far. The error
// is the one of the trial that came furthest, if none does.
func (c *inquiry) examine() error {
	roots := c.verifier.roots
	if len(roots) == 0 {
		roots = []*root{{}}
	}
	var best *Failure
	for _, r := range roots {
		stamps := sync.OnceValues(func() ([]witness, error) { return c.witnesses(r) })
		for _, s := range c.signers {
			t := &trial{inquiry: c, root: r, signer: s, demands: c.demands(r, s)}
			err := t.run(t.entries, t.stamped(stamps), t.time, t.certificate, t.identity, t.kind, t.envelope, t.readStatement, t.hold)
			if err == nil {
				c.standing = append(c.standing, t)
				continue
			}
			f, ok := errors.AsType[*Failure](err)
			if !ok {
				return err
			}
			best = further(best, f)
		}
	}
	if len(c.standing) > 0 {
		return nil
	}
	return c.seen(best)
}

// conclude holds the artifact against the trials that stand.
func (c *inquiry) conclude() (*Verdict, error) {
	var best *Failure
	for _, t := range c.standing {
		err := t.run(t.artifact, t.message, t.about)
		if err == nil {
			return &Verdict{t}, nil
		}
		f, ok := errors.AsType[*Failure](err)
		if !ok {
			return nil, err
		}
		best = further(best, f)
	}
	return nil, c.seen(best)
}

// seen says that the failure is one of several roots.
func (c *inquiry) seen(f *Failure) *Failure {
	if len(c.verifier.roots) > 1 && f.err.Hint == "" {
		return f.hint("as seen by the trust root that came closest, of those given")
	}
	return f
}

// run goes through steps, and tells the failure how far the trial came.
func (t *trial) run(steps ...func() error) error {
	for _, step := range steps {
		t.progress++
		err := step()
		if f, ok := errors.AsType[*Failure](err); ok {
			own := *f // another trial may have the same
			own.trial, own.progress = t, t.progress
			return &own
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// further gives the failure that came closer to success, the first of equals. It
// tells more than the others.
func further(best, f *Failure) *Failure {
	if best == nil || f.progress > best.progress || f.progress == best.progress && f.step > best.step {
		return f
	}
	return best
}

// demands gives what a bundle needs by a root and the policy. What is derived from a
// root is eased for keys: a log has to have the bundle, or where the root has no log
// there is a time. Beyond that a key needs a time only if it has a period of its
// own, and it never has SCTs.
func (c *inquiry) demands(r *root, s *signer) sigbox.Demands {
	d := r.demands
	if s.leaf == nil {
		d.SCTs = 0
		if r.derived && d.LogEntries > 0 {
			d.Times = 0
		}
		if !s.validFor.IsZero() {
			d.Times = max(d.Times, 1)
		}
	}
	return d.AtLeast(c.policy.demands)
}

// stamped is the step of the timestamps, which are the same for each signer.
func (t *trial) stamped(stamps func() ([]witness, error)) func() error {
	return func() (err error) {
		t.stamps, err = stamps()
		return err
	}
}

// witnesses checks the bundle's timestamps, which are over the signature's bytes.
// Those of authorities that the root does not list count for nothing; of those
// that it does each must verify.
func (c *inquiry) witnesses(r *root) ([]witness, error) {
	if len(c.tokens) == 0 {
		return nil, nil
	}
	var out []witness
	stampers := r.allStampers()
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
			by = append(by, e.log.operator)
		}
	}
	demanded := t.demands.Times
	if t.signer.leaf != nil || !t.policy.signed.IsZero() {
		demanded = max(demanded, 1)
	}
	if have := operators(by, func(s string) string { return s }); have < demanded {
		f := tooFew(StepTime, "times that the trust root vouches for", demanded, have)
		if other := len(t.tokens) - len(t.stamps); other > 0 {
			f = f.hint("the bundle has %d of authorities that the trust root does not list: is it the right one?", other).strange()
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
	logs, _ := t.root.logsOf(e.entry.LogID)
	for _, l := range logs {
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
		return t.sct() // has none
	}
	paths, problem := t.root.issuers(t.signer.leaf.cert)
	switch {
	case len(paths) == 0 && problem != nil:
		return refuse(StepCertificate, "the certificate was issued by %q, which the trust root lists, but which cannot be used: %w", t.signer.leaf.cert.Issuer, problem)
	case len(paths) == 0:
		return refuse(StepCertificate, "the certificate was issued by %q, which the trust root does not list", t.signer.leaf.cert.Issuer).
			hint("is it the right trust root?").strange()
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
			t.verifier.leaves.put(t.signer.leaf.hash, t.signer.leaf, rememberLeaves)
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
		f := tooFew(StepSCT, "promises by certificate logs of the trust root", t.demands.SCTs, have)
		if t.strangers() {
			f = f.strange()
		}
		return f
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
