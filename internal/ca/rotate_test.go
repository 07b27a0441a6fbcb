package ca_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
)

// TestAnotherIntermediate: a root certifies further intermediates, with names of their
// own, and none that outlives it.
func TestAnotherIntermediate(t *testing.T) {
	root, key := fixture.Key(t), fixture.Key(t)
	old := must(ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public(), Now: start}))
	later := func() time.Time { return start().AddDate(3, 0, 0) }
	chain := must(ca.NewChain(ca.ChainConfig{Root: root, RootCertificate: old[1], Intermediate: fixture.Key(t).Public(), Number: 2, Now: later}))
	if !bytes.Equal(chain[1], old[1]) {
		t.Error("it has another root")
	}
	c, rootCert := must(x509.ParseCertificate(chain[0])), must(x509.ParseCertificate(chain[1]))
	if err := c.CheckSignatureFrom(rootCert); err != nil {
		t.Error(err)
	}
	if c.Subject.CommonName != "sigbox intermediate 2" || !c.NotAfter.Equal(rootCert.NotAfter) || !c.NotBefore.Equal(later().Add(-5*time.Minute).Truncate(time.Second)) {
		t.Errorf("found %q, valid from %v to %v", c.Subject.CommonName, c.NotBefore, c.NotAfter)
	}
	for want, c := range map[string]ca.ChainConfig{
		"does not belong to its certificate": {Root: key, RootCertificate: old[1], Intermediate: key.Public(), Now: start},
		"needs a new root":                   {Root: root, RootCertificate: old[1], Intermediate: key.Public(), Now: func() time.Time { return start().AddDate(11, 0, 0) }},
		"the authority's root certificate":   {Root: root, RootCertificate: []byte("x"), Intermediate: key.Public(), Now: start},
	} {
		if _, err := ca.NewChain(c); err == nil || !strings.Contains(err.Error()+err.(*sigbox.Error).Hint, want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}

// TestSetAuthority: while certificates are issued, the authority becomes another one,
// again and again: each certificate is of one authority from end to end.
func TestSetAuthority(t *testing.T) {
	i := newInstance(t)
	keys := []*ecdsa.PrivateKey{fixture.Key(t), fixture.Key(t)}
	var chains [][][]byte
	for n, key := range keys {
		chains = append(chains, must(ca.NewChain(ca.ChainConfig{Root: fixture.Key(t), Intermediate: key.Public(), Number: 2 + n, Now: i.clock.Now})))
	}
	first := i.Chain()
	if err := i.SetAuthority(keys[0], chains[1], nil); sigbox.KindOf(err) != sigbox.Invalid || !bytes.Equal(i.Chain()[0], first[0]) {
		t.Fatalf("a key of another chain: %v", err)
	}
	token := i.idp.token(t, alice())
	trusted := append(i.CertificateAuthorities(), must(ca.TrustIn(chains[0], "", "")))
	var issuing sync.WaitGroup
	for range 4 {
		issuing.Go(func() {
			for range 25 {
				chain, err := i.Issue(t.Context(), request(t, token, "alice@example.com"))
				if err != nil {
					t.Error(err)
					return
				}
				i.verify(t, chain)
			}
		})
	}
	for n := range 50 {
		if err := i.SetAuthority(keys[n%2], chains[n%2], trusted); err != nil {
			t.Error(err)
		}
	}
	issuing.Wait()
	if found := i.CertificateAuthorities(); len(found) != 2 || !bytes.Equal(found[0].Chain[0], first[0]) || !bytes.Equal(i.Chain()[0], chains[1][0]) {
		t.Errorf("found %d authorities", len(found))
	}
	if a := must(ca.TrustIn(chains[0], "https://ca.example", "us")); a.CommonName != "sigbox intermediate 2" || a.URI != "https://ca.example" || a.Operator != "us" || a.ValidFor.Start.IsZero() {
		t.Errorf("found %+v", a)
	}
}
