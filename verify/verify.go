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
	"errors"
	"sync"

	"github.com/sigbox/sigbox"
)

// Config is what a [Verifier] is made of.
type Config struct {
	// Roots are tried one after the other; one that vouches for the bundle as a
	// whole is enough, evidence is never mixed. Without roots only bundles by key
	// can be verified, and what they say of logs and times stays unchecked.
	Roots []*sigbox.TrustedRoot
	// Demands says what a root demands of a bundle; nil is [DeriveDemands].
	Demands func(*sigbox.TrustedRoot) Demands
}

// Demands says how much evidence a bundle must have. Numbers count distinct
// operators, as named by the trust root or, where it names none, by the host.
type Demands struct {
	// LogEntries in transparency logs.
	LogEntries int
	// Times that are vouched for, by timestamp authorities or by logs (Rekor v1).
	// A certificate always needs one: it is judged at that time.
	Times int
	// SCTs embedded in the certificate.
	SCTs int
}

// DeriveDemands demands what a root has the means to check: a log entry if it lists
// transparency logs, a time if it lists anybody who can vouch for one, an SCT if
// it lists certificate logs. GitHub's own root lists a timestamp authority alone.
func DeriveDemands(r *sigbox.TrustedRoot) Demands {
	one := func(yes bool) int {
		if yes {
			return 1
		}
		return 0
	}
	return Demands{
		LogEntries: one(len(r.Logs) > 0),
		Times:      one(len(r.Logs)+len(r.TimestampAuthorities) > 0),
		SCTs:       one(len(r.CTLogs) > 0),
	}
}

// Verifier judges bundles. It is safe for concurrent use.
type Verifier struct {
	roots    []*root
	leaves   cache[[sha256.Size]byte, *leaf]
	patterns cache[string, *pattern]
	large    sync.Mutex // held by who has a large artifact in memory
}

// How many things of a kind a Verifier remembers.
const (
	rememberLeaves   = 256
	rememberChecks   = 256 // of one root's authority, or log
	rememberPatterns = 64
)

// New prepares a Verifier. Logs and authorities that cannot be used, such as
// those with algorithms of tomorrow, are passed over; a root without any that
// can is an error of kind Invalid.
func New(cfg Config) (*Verifier, error) {
	demands := cfg.Demands
	if demands == nil {
		demands = DeriveDemands
	}
	v := &Verifier{leaves: newCache[[sha256.Size]byte, *leaf](rememberLeaves), patterns: newCache[string, *pattern](rememberPatterns)}
	for i, r := range cfg.Roots {
		if r == nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "trust root %d: there is none", i+1)
		}
		p, err := prepare(r, demands(r))
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "trust root %d: %w", i+1, err)
		}
		v.roots = append(v.roots, p)
	}
	return v, nil
}

// Verify judges a bundle that was signed with a certificate: its identity must
// be one of p's. The error is of kind
//
//   - NotVerified, a [Failure], when the bundle is not to be trusted;
//   - Invalid when artifact or policy are no question that can be answered;
//   - Unavailable when the artifact could not be read.
func (v *Verifier) Verify(a Artifact, b *sigbox.Bundle, p sigbox.Policy) (*Verdict, error) {
	policy, err := v.compile(p)
	if err != nil {
		return nil, err
	}
	if len(policy.identities) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the policy names no identity, so it accepts nobody").
			WithHint("say who must have signed: subject and issuer")
	}
	if len(v.roots) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "no trust root to judge a certificate by")
	}
	return v.judge(a, b, nil, policy)
}

// VerifyKey judges a bundle that was signed with key. With trust roots it must
// also be logged, or timestamped where a root has no log; without, signature and
// artifact are all that is checked. A policy for a key names no identities.
// Errors are those of [Verifier.Verify].
func (v *Verifier) VerifyKey(a Artifact, b *sigbox.Bundle, key Key, p sigbox.Policy) (*Verdict, error) {
	policy, err := v.compile(p)
	if err != nil {
		return nil, err
	}
	if len(policy.identities) > 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the policy names identities, and a key has none").
			WithHint("verify by key or by identity")
	}
	k, err := key.prepare()
	if err != nil {
		return nil, err
	}
	return v.judge(a, b, k, policy)
}

// judge tries the roots and gives the error of the one that came furthest.
func (v *Verifier) judge(a Artifact, b *sigbox.Bundle, key *signer, p *policy) (*Verdict, error) {
	c, err := v.open(a, b, key, p)
	if err != nil {
		return nil, err
	}
	defer c.content.turn.giveBack()
	roots := v.roots
	if len(roots) == 0 {
		roots = []*root{{}}
	}
	var best *Failure
	for _, r := range roots {
		verdict, err := c.try(r)
		if err == nil {
			return verdict, nil
		}
		f, ok := errors.AsType[*Failure](err)
		if !ok {
			return nil, err
		}
		if best == nil || f.step > best.step {
			best = f
		}
	}
	if len(roots) > 1 && best.err.Hint == "" {
		best.err.Hint = "as seen by the trust root that came closest, of those given"
	}
	return nil, best
}
