// Package verify judges Sigstore bundles: it takes a bundle, the artifact, the
// trust roots and a policy, and gives a [Verdict] or an error that names the
// step that failed. It does no I/O but reading the artifact, has no clock, and
// believes nothing that it has not checked.
//
//	v, err := verify.New(verify.Config{Roots: roots})
//	…
//	verdict, err := v.Verify(verify.Reader(file), bundle, sigbox.Policy{
//		Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: "https://accounts.example.com"}},
//	})
//
// A Verifier is made once and used for many bundles, also at the same time: keys
// and certificates of the roots are parsed and checked once, and it remembers a
// bounded number of certificates and checkpoints that it found good.
//
// Source: client-spec.md of sigstore/architecture-docs, section 4.
package verify

import (
	"crypto/sha256"
	"sync"

	"github.com/sigbox/sigbox"
)

// Config is what a [Verifier] is made of.
type Config struct {
	// Roots are tried one after the other; one that vouches for the bundle as a
	// whole is enough, evidence is never mixed. Without roots only bundles by key
	// can be verified, and what they say of logs and times stays unchecked. They
	// must not be changed afterwards.
	Roots []*sigbox.TrustedRoot
	// Demands says what a root demands of a bundle; nil is [DeriveDemands]. What a
	// function of one's own demands holds for bundles by key as well, but for SCTs.
	Demands func(*sigbox.TrustedRoot) sigbox.Demands
	// Parsed shares certificates and keys of the roots with other Verifiers; nil is
	// not to share them.
	Parsed *Parsed
	// Conditions is the language of policies' conditions; without it policies that
	// have some are refused.
	Conditions Language
}

// DeriveDemands demands a time, and what a root has the means to check: a log entry
// if it lists transparency logs, an SCT if it lists certificate logs. GitHub's own
// root lists a timestamp authority alone. A log entry is all that a bundle by key
// needs: of it a time is demanded where the root lists no log.
func DeriveDemands(r *sigbox.TrustedRoot) sigbox.Demands {
	one := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	return sigbox.Demands{
		LogEntries: one(len(r.Logs) > 0),
		Times:      1,
		SCTs:       one(len(r.CTLogs) > 0),
	}
}

// Verifier judges bundles. It is safe for concurrent use.
type Verifier struct {
	roots    []*root
	language Language
	leaves   cache[[sha256.Size]byte, *leaf]
	policies policies
	large    sync.Mutex // held by who has a large artifact in memory
}

// How many things of a kind a Verifier remembers.
const (
	rememberLeaves = 256
	rememberChecks = 256 // of one root's authority, or log
)

// New prepares a Verifier. Logs and authorities that cannot be used, such as
// those with algorithms of tomorrow, are passed over; a root without any that
// can is an error of kind Invalid.
func New(cfg Config) (*Verifier, error) {
	demands := cfg.Demands
	if demands == nil {
		demands = DeriveDemands
	}
	parsed := cfg.Parsed
	if parsed == nil {
		parsed = new(Parsed)
	}
	v := &Verifier{language: cfg.Conditions}
	for i, r := range cfg.Roots {
		if r == nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "trust root %d: there is none", i+1)
		}
		p, err := prepare(r, demands(r), cfg.Demands == nil, parsed)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "trust root %d: %w", i+1, err)
		}
		v.roots = append(v.roots, p)
	}
	return v, nil
}

// Verify judges a bundle: an identity or a key of the policy must have signed it.
// The error is of kind
//
//   - NotVerified, a [Failure], when the bundle is not to be trusted;
//   - Invalid when artifact or policy are no question that can be answered;
//   - Unavailable when the artifact could not be read.
//
// A bundle by key must be logged, or timestamped where a root has no log; without
// trust roots its signature and the artifact are all that is checked. A bundle by
// certificate cannot be judged without a trust root.
func (v *Verifier) Verify(a Artifact, b *sigbox.Bundle, p sigbox.Policy) (*Verdict, error) {
	policy, content, err := v.prepare(a, p)
	if err != nil {
		return nil, err
	}
	defer content.release()
	if policy.threshold > 1 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the policy wants %d signers, a bundle has one", policy.threshold).WithHint("give all bundles that there are to VerifyAll")
	}
	return v.one(content, b, policy)
}

// MaxBundles is how many bundles of one artifact are looked at.
const MaxBundles = 1024

// VerifyAll judges the bundles that there are for an artifact, in their order and
// until as many of the policy's signers as it demands have signed. It gives a
// Verdict for each of them; bundles that do not verify, or are of somebody already
// counted, count for nothing. Two signers are never the same person or key, nor do
// they stand for the same line of the policy. A [Reader] is read once. Errors are
// those of [Verifier.Verify], of the bundle that came closest.
func (v *Verifier) VerifyAll(a Artifact, bundles []*sigbox.Bundle, p sigbox.Policy) ([]*Verdict, error) {
	policy, content, err := v.prepare(a, p)
	if err != nil {
		return nil, err
	}
	defer content.release()
	switch {
	case len(bundles) == 0:
		return nil, refuse(StepBundle, "there is no bundle for the artifact")
	case len(bundles) > MaxBundles:
		return nil, sigbox.Errorf(sigbox.TooLarge, "%d bundles for one artifact: at most %d are looked at", len(bundles), MaxBundles)
	}
	if err := boundAll(bundles); err != nil {
		return nil, err
	}
	q := newQuorum(policy)
	if a.once != nil && len(bundles) > 1 {
		return v.together(content, bundles, q)
	}
	for _, b := range bundles {
		verdict, err := v.one(content, b, policy)
		if err := q.miss(err); err != nil {
			return nil, err
		}
		if verdict != nil && q.add(verdict) {
			return q.verdicts(), nil
		}
	}
	return nil, q.failure()
}

// together is VerifyAll for an artifact that can be read but once: what the bundles
// will ask of it is known before. Bundles that fail by themselves ask for nothing.
func (v *Verifier) together(a *content, bundles []*sigbox.Bundle, q *quorum) ([]*Verdict, error) {
	var standing []*inquiry
	for _, b := range bundles {
		c, err := v.open(a, b, q.policy)
		if err == nil {
			err = c.examine()
		}
		if err := q.miss(err); err != nil {
			return nil, err
		}
		if err == nil {
			c.anticipate()
			standing = append(standing, c)
		}
	}
	for _, c := range standing {
		verdict, err := c.conclude()
		if err := q.miss(err); err != nil {
			return nil, err
		}
		if verdict != nil && q.add(verdict) {
			return q.verdicts(), nil
		}
	}
	return nil, q.failure()
}

// Bounds on what the bundles of one artifact hold together.
const (
	maxEvidence     = 2 * MaxBundles // log entries and timestamps
	maxCertificates = 4 << 20        // bytes
)

// boundAll bounds the work that bundles can make.
func boundAll(bundles []*sigbox.Bundle) error {
	evidence, certificates := 0, 0
	for _, b := range bundles {
		if b == nil {
			continue // is refused where it is looked at
		}
		evidence += len(b.Entries) + len(b.Timestamps)
		for _, der := range b.Certificates {
			certificates += len(der)
		}
	}
	switch {
	case evidence > maxEvidence:
		return sigbox.Errorf(sigbox.TooLarge, "the bundles of one artifact have %d log entries and timestamps: at most %d are looked at", evidence, maxEvidence)
	case certificates > maxCertificates:
		return sigbox.Errorf(sigbox.TooLarge, "the bundles of one artifact have %d bytes of certificates: at most %d are looked at", certificates, maxCertificates)
	}
	return nil
}

// one judges one bundle.
func (v *Verifier) one(a *content, b *sigbox.Bundle, p *policy) (*Verdict, error) {
	c, err := v.open(a, b, p)
	if err != nil {
		return nil, err
	}
	if err := c.examine(); err != nil {
		return nil, err
	}
	c.anticipate()
	return c.conclude()
}

// prepare checks what does not depend on a bundle.
func (v *Verifier) prepare(a Artifact, p sigbox.Policy) (*policy, *content, error) {
	policy, err := v.policies.compile(&p, v.language)
	if err != nil {
		return nil, nil, err
	}
	if err := a.check(); err != nil {
		return nil, nil, err
	}
	if len(v.roots) == 0 && len(policy.keys) == 0 {
		return nil, nil, sigbox.Errorf(sigbox.Invalid, "no trust root to judge a certificate by")
	}
	return policy, v.newContent(a), nil
}
