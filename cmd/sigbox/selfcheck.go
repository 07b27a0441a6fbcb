package main

import (
	"context"
	"crypto"
	"crypto/x509"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/statement"
)

// selfCheck makes the function that judges what we have signed ourselves, by the
// trust roots that others will judge it by. key is nil, or what we sign with in
// place of an identity.
func (r *renewal) selfCheck(ctx context.Context, key crypto.Signer) (func(*sigbox.Bundle, sigbox.Identity) error, error) {
	var der []byte
	if key != nil {
		var err error
		if der, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "cannot write the public key of the key to sign with: %w", err)
		}
	}
	return func(b *sigbox.Bundle, id sigbox.Identity) error {
		d, err := signedDigest(b)
		if err != nil {
			return err
		}
		p := sigbox.Policy{PredicateTypes: []string{sigbox.AnyPredicateType}}
		if key != nil {
			p.Keys = []sigbox.PublicKey{{Key: der}}
		} else {
			p.Identities = []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}}
		}
		_, err = r.judge(ctx, func(v *verify.Verifier) ([]*verify.Verdict, error) {
			return v.VerifyAll(verify.Digest(d), []*sigbox.Bundle{b}, p)
		})
		return err
	}, nil
}

// signedDigest gives the digest of an artifact that b is about.
func signedDigest(b *sigbox.Bundle) (sigbox.Digest, error) {
	if b.Message != nil {
		return b.Message.Digest, nil
	}
	return statementSubject(b.Envelope.Payload)
}

// statementSubject gives a digest of an in-toto statement's first subject.
func statementSubject(payload []byte) (sigbox.Digest, error) {
	s, err := statement.Parse(payload)
	if err != nil {
		return sigbox.Digest{}, err
	}
	for name, value := range s.Subjects[0].Digests {
		if _, known := sigbox.HashByName(name); !known {
			continue
		}
		if d, err := sigbox.ParseDigest(name + ":" + value); err == nil {
			return d, nil
		}
	}
	return sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "the statement's first subject has no digest that anybody could verify").
		WithHint("give it a sha256, sha384 or sha512")
}
