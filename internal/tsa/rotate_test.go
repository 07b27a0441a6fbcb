package tsa_test

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// TestSetAuthority: the authority becomes another leaf of its root: what either has
// stamped verifies with its own entry in the trust root, and with no other.
func TestSetAuthority(t *testing.T) {
	c, root := newClock(), newKey(t)
	first, second := newKey(t), newKey(t)
	chain, err := tsa.NewChain(tsa.ChainConfig{Root: root, Leaf: first.Public(), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tsa.New(tsa.Config{Key: first, Chain: chain, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Stamp(t.Context(), request(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	c.now = c.now.AddDate(5, 0, 0)
	next, err := tsa.NewChain(tsa.ChainConfig{Root: root, RootCertificate: chain[1], Leaf: second.Public(), Number: 2, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetAuthority(first, next, nil); err == nil || !bytes.Equal(s.Chain()[0], chain[0]) {
		t.Fatalf("a key of another chain: %v", err)
	}
	if err := s.SetAuthority(second, next, nil); err != nil {
		t.Fatal(err)
	}
	after, err := s.Stamp(t.Context(), request(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	old, err := tsa.TrustIn(chain, "")
	if err != nil {
		t.Fatal(err)
	}
	new := s.CertificateAuthorities()[0]
	if new.CommonName != "sigbox timestamp authority 2" || !new.ValidFor.Start.Equal(c.now.Truncate(time.Second).Add(-5*time.Minute)) {
		t.Errorf("found %+v", new)
	}
	if leaf, err := x509.ParseCertificate(next[0]); err != nil || !bytes.Equal(next[1], chain[1]) || leaf.NotAfter.After(old.ValidFor.Start.Add(10*365*24*time.Hour)) {
		t.Errorf("the leaf outlives its root: %v", err)
	}
	for name, c := range map[string]struct {
		resp []byte
		good bool
	}{"before": {before, true}, "after": {after, false}} {
		if _, err := timestamp.Verify(c.resp, signature, old); (err == nil) != c.good {
			t.Errorf("%s, by the old authority: %v", name, err)
		}
		if _, err := timestamp.Verify(c.resp, signature, new); (err == nil) == c.good {
			t.Errorf("%s, by the new authority: %v", name, err)
		}
	}
}

// TestNewChainRefuses: a root that is not the key's, or that is over, certifies nothing.
func TestNewChainRefuses(t *testing.T) {
	c, root := newClock(), newKey(t)
	chain, err := tsa.NewChain(tsa.ChainConfig{Root: root, Leaf: root.Public(), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]tsa.ChainConfig{
		"does not belong to its certificate": {Root: newKey(t), RootCertificate: chain[1], Leaf: root.Public(), Now: c.Now},
		"is valid from":                      {Root: root, RootCertificate: chain[1], Leaf: root.Public(), Now: func() time.Time { return c.now.AddDate(11, 0, 0) }},
		"does not parse":                     {Root: root, RootCertificate: []byte("x"), Leaf: root.Public(), Now: c.Now},
	} {
		if _, err := tsa.NewChain(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}
