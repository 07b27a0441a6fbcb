package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
)

// countingKey counts how often it signs.
type countingKey struct {
	crypto.Signer
	signed int
}

func (k *countingKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	k.signed++
	return k.Signer.Sign(r, digest, o)
}

// lintSetup gives an authority's signer, its key, and what makes a sound draft.
func lintSetup(t *testing.T) (*signer, *countingKey, func() *draft) {
	t.Helper()
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	key := &countingKey{Signer: fixture.Key(t)}
	chain, err := NewChain(ChainConfig{Root: fixture.Key(t), Intermediate: key.Public(), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSigner(Config{Key: key, Chain: chain, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	key.signed = 0
	spki, err := x509.MarshalPKIXPublicKey(fixture.Key(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	id := sigbox.Identity{Kind: sigbox.EmailSAN, Subject: "alice@example.com", Issuer: "https://issuer.example.com"}
	return s, key, func() *draft {
		d, err := s.draft(id, provenKey{spki: spki}, now)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

// TestLintBeforeSigning: a draft that is wrong in one place never reaches the key.
func TestLintBeforeSigning(t *testing.T) {
	s, key, sound := lintSetup(t)
	with := func(e pkix.Extension) func(*draft) {
		return func(d *draft) {
			var b cryptobyte.Builder
			addExtension(&b, e)
			d.extensions = append(d.extensions, b.BytesOrPanic()...)
			d.logged = nil
		}
	}
	for _, tc := range []struct {
		name, want string
		spoil      func(*draft)
	}{
		{"as it should be", "", func(*draft) {}},
		{"a CA", "no CA", with(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}})},
		{"a second name", "read", with(pkix.Extension{Id: oidSubjectAltName, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 'a'}})},
		{"a critical extension", "do not know", with(pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 1}, Critical: true})},
		{"a second key usage", "read", with(pkix.Extension{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, 6}})},
		{"another identity", "identity", func(d *draft) { d.identity.Subject = "mallory@example.com" }},
		{"another key", "key", func(d *draft) { d.spki = s.chain[0] }},
		{"another time", "validity", func(d *draft) { d.notBefore = d.notBefore.Add(time.Second) }},
		{"something else was logged", "what is logged", func(d *draft) { d.logged = d.logged[:len(d.logged)-1] }},
		{"cut off", "read", func(d *draft) { d.head = d.head[:len(d.head)-1] }},
		{"no extensions", "identity", func(d *draft) { d.extensions, d.logged = nil, nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			key.signed = 0
			d, err := sound(), error(nil)
			tc.spoil(d)
			if d.logged == nil { // so that no other rule is broken
				if d.logged, err = d.tbs(nil); err != nil {
					t.Fatal(err)
				}
			}
			_, err = s.precertificate(d)
			if tc.want == "" {
				if err != nil || key.signed != 1 {
					t.Fatalf("%v, %d signatures", err, key.signed)
				}
				return
			}
			if sigbox.KindOf(err) != sigbox.Internal || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("found %v, want it to speak of %q", err, tc.want)
			}
			if key.signed != 0 {
				t.Error("it was signed")
			}
		})
	}
}

// TestLintOfSCTs: a certificate has the one SCT of its log, a precertificate none.
func TestLintOfSCTs(t *testing.T) {
	s, key, sound := lintSetup(t)
	d := sound()
	for name, sct := range map[string][]byte{"none": nil, "not one": []byte("no SCT")} {
		if _, err := s.certificate(d, sct); err == nil || key.signed != 0 {
			t.Errorf("%s: %v, %d signatures", name, err, key.signed)
		}
	}
}
