package main

import (
	"bytes"
	"encoding/hex"
	"errors"

	theirbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	theirroot "github.com/sigstore/sigstore-go/pkg/root"
	theirs "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// signed is an artifact with its bundle, as in a file.
type signed struct {
	bundle   []byte
	artifact []byte
	digest   sigbox.Digest // in place of the artifact
	// Who must have signed.
	identity, issuer string
}

// judge verifies one, parsing included.
type judge func(s *signed) error

// contender makes verifiers. Trust roots are parsed before, and shared.
type contender func() (judge, error)

// sigboxLibrary is this module's verify.
func sigboxLibrary(root []byte) (contender, error) {
	r, err := trust.ParseRoot(root)
	if err != nil {
		return nil, err
	}
	parsed := new(verify.Parsed)
	return func() (judge, error) {
		v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}, Parsed: parsed})
		if err != nil {
			return nil, err
		}
		return func(s *signed) error {
			b, err := bundle.Parse(s.bundle)
			if err != nil {
				return err
			}
			artifact := verify.Bytes(s.artifact)
			if s.artifact == nil {
				artifact = verify.Digest(s.digest)
			}
			p := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: s.identity, Issuer: s.issuer}}}
			if b.Envelope != nil {
				p.PredicateTypes = []string{sigbox.AnyPredicateType}
			}
			_, err = v.Verify(artifact, b, p)
			return err
		}, nil
	}, nil
}

// sigstoreGo is sigstore-go, as its documentation tells to use it. What it
// demands is what ours derives from the trust root.
func sigstoreGo(root []byte) (contender, error) {
	r, err := theirroot.NewTrustedRootFromJSON(root)
	if err != nil {
		return nil, err
	}
	return func() (judge, error) {
		v, err := theirs.NewVerifier(r, theirs.WithSignedCertificateTimestamps(1), theirs.WithTransparencyLog(1), theirs.WithObserverTimestamps(1))
		if err != nil {
			return nil, err
		}
		return func(s *signed) error {
			b := new(theirbundle.Bundle)
			if err := b.UnmarshalJSON(s.bundle); err != nil {
				return err
			}
			who, err := theirs.NewShortCertificateIdentity(s.issuer, "", s.identity, "")
			if err != nil {
				return err
			}
			artifact := theirs.WithArtifact(bytes.NewReader(s.artifact))
			if s.artifact == nil {
				artifact = theirs.WithArtifactDigest(s.digest.Algorithm.String(), s.digest.Value)
			}
			_, err = v.Verify(b, theirs.NewPolicy(artifact, theirs.WithCertificateIdentity(who)))
			return err
		}, nil
	}, nil
}

// refuses makes sure that a contender is not fast because it looks at nothing.
func refuses(c contender, s signed) error {
	j, err := c()
	if err != nil {
		return err
	}
	if err := j(&s); err != nil {
		return err
	}
	if s.artifact != nil {
		s.artifact = append([]byte{'!'}, s.artifact...)
	} else {
		other, err := hex.DecodeString(s.digest.Hex())
		if err != nil {
			return err
		}
		other[0] ^= 1
		s.digest.Value = other
	}
	if j(&s) == nil {
		return errors.New("another artifact was accepted")
	}
	return nil
}
