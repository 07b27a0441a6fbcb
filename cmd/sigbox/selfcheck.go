package main

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
)

// selfCheck makes the function that judges what we have signed ourselves, by the
// trust roots that others will judge it by.
func selfCheck(roots []*sigbox.TrustedRoot) (func(*sigbox.Bundle, sigbox.Identity) error, error) {
	v, err := verify.New(verify.Config{Roots: roots})
	if err != nil {
		return nil, err
	}
	return func(b *sigbox.Bundle, id sigbox.Identity) error {
		_, err := v.Verify(verify.Digest(b.Message.Digest), b, sigbox.Policy{
			Identities: []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}},
		})
		return err
	}, nil
}
