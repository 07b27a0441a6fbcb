package sign

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

var digest = sigbox.SHA256.Sum([]byte("artifact"))

func TestDigest(t *testing.T) {
	f := newFakes(t)
	b, err := f.signer(t).Digest(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	data, err := bundle.Append(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = bundle.Parse(data); err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(b.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := sigbox.ECDSAP256SHA256.VerifyDigest(leaf.PublicKey, digest.Value, b.Message.Signature); err != nil {
		t.Error(err)
	}
	if !b.Message.Digest.Equal(digest) || len(b.Entries) != 1 || len(b.Timestamps) != 1 || len(b.Certificates) != 1 {
		t.Errorf("%+v", b)
	}
	if e := f.log.entries[0]; !e.Digest.Equal(digest) || string(e.Certificate) != string(leaf.Raw) || e.PublicKey != nil {
		t.Errorf("logged %+v", e)
	}
}

func TestEnvelope(t *testing.T) {
	f := newFakes(t)
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1"}`)
	b, err := f.signer(t).Envelope(t.Context(), sigbox.InTotoPayloadType, statement)
	if err != nil {
		t.Fatal(err)
	}
	pae := sigbox.SHA256.Sum(sigbox.PAE(sigbox.InTotoPayloadType, statement))
	leaf, err := x509.ParseCertificate(b.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := sigbox.ECDSAP256SHA256.VerifyDigest(leaf.PublicKey, pae.Value, b.Envelope.Signatures[0].Signature); err != nil {
		t.Error(err)
	}
	if e := f.log.entries[0]; !e.Digest.Equal(pae) {
		t.Errorf("logged the digest %v, want that of the PAE", e.Digest)
	}
}

// TestOneCertificateForMany: a run of any length needs one login.
func TestOneCertificateForMany(t *testing.T) {
	f := newFakes(t)
	f.config.Parallel = 4
	s := f.signer(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := s.Digest(t.Context(), sigbox.SHA256.Sum(fmt.Append(nil, i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f.ca.issued != 1 || f.tokens != 1 || len(f.log.entries) != 50 {
		t.Errorf("%d certificates, %d tokens, %d entries", f.ca.issued, f.tokens, len(f.log.entries))
	}
}

// TestRenewal: a run that outlasts the certificate gets another, by its own clock.
func TestRenewal(t *testing.T) {
	f := newFakes(t)
	now := testTime.Add(1000 * time.Hour) // this machine's clock is wrong, and that is all right
	f.config.Now = func() time.Time { return now }
	s := f.signer(t)
	for i, step := range []struct {
		wait   time.Duration
		issued int
	}{{0, 1}, {4 * time.Minute, 1}, {2 * time.Minute, 2}, {4 * time.Minute, 2}, {time.Hour, 3}} {
		now = now.Add(step.wait)
		if _, err := s.Digest(t.Context(), digest); err != nil {
			t.Fatal(err)
		}
		if f.ca.issued != step.issued {
			t.Errorf("step %d: %d certificates, want %d", i, f.ca.issued, step.issued)
		}
	}
}

func TestKey(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key     crypto.Signer
		details sigbox.KeyDetails
	}{"ecdsa": {newKey(t), sigbox.ECDSAP256SHA256}, "ed25519": {ed, sigbox.Ed25519ph}} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.config.CA, f.config.Token, f.config.Key = nil, nil, tt.key
			s := f.signer(t)
			if s.Hash() != tt.details.Hash() {
				t.Errorf("hash %v", s.Hash())
			}
			d := s.Hash().Sum([]byte("artifact"))
			b, err := s.Digest(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.details.VerifyDigest(tt.key.Public(), d.Value, b.Message.Signature); err != nil {
				t.Error(err)
			}
			if len(b.Certificates) != 0 || b.KeyHint == "" || f.log.entries[0].Details != tt.details {
				t.Errorf("%+v", b)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	f := newFakes(t)
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"nothing": {}, "no token": {CA: f.ca}, "both": {CA: f.ca, Token: f.config.Token, Key: newKey(t)}, "token for a key": {Key: newKey(t), Token: f.config.Token},
		"a key that is too weak": {Key: weak},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestWrongDigest(t *testing.T) {
	s := newFakes(t).signer(t)
	for _, d := range []sigbox.Digest{{}, sigbox.SHA512.Sum(nil), {Algorithm: sigbox.SHA256, Value: []byte{1}}} {
		_, err := s.Digest(t.Context(), d)
		fixture.WantError(t, err, sigbox.Invalid)
	}
}

// TestCertificateIsChecked: what the authority answers must be for our key and
// our identity. (A key taken from the service: gitsign GHSA-xvrc-2wvh-49vc.)
func TestCertificateIsChecked(t *testing.T) {
	other := newKey(t)
	for name, tt := range map[string]struct {
		change func(*x509.Certificate, *crypto.PublicKey, *sigbox.Identity)
		says   string
	}{
		"another key":   {func(_ *x509.Certificate, k *crypto.PublicKey, _ *sigbox.Identity) { *k = other.Public() }, "another key"},
		"another email": {func(_ *x509.Certificate, _ *crypto.PublicKey, id *sigbox.Identity) { id.Subject = "eve@example.com" }, "somebody else"},
		"another issuer": {func(_ *x509.Certificate, _ *crypto.PublicKey, id *sigbox.Identity) {
			id.Issuer = "https://evil.example"
		}, "another issuer"},
		"another username": {func(_ *x509.Certificate, _ *crypto.PublicKey, id *sigbox.Identity) {
			id.Kind, id.Subject = sigbox.OtherNameSAN, "eve!example.com"
		}, "somebody else"},
		"no time": {func(c *x509.Certificate, _ *crypto.PublicKey, _ *sigbox.Identity) { c.NotAfter = c.NotBefore }, "valid at no time"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.ca.change = tt.change
			_, err := f.signer(t).Digest(t.Context(), digest)
			fixture.WantError(t, err, sigbox.NotVerified, tt.says)
			if len(f.log.entries) != 0 {
				t.Error("something was logged")
			}
		})
	}
}

func TestIdentities(t *testing.T) {
	token := Token{Issuer: testIssuer, Subject: "spiffe://td.example/w", FederatedIssuer: "https://upstream.example"}
	for _, tt := range []struct {
		id sigbox.Identity
		ok bool
	}{
		{sigbox.Identity{Issuer: testIssuer, Kind: sigbox.URISAN, Subject: "spiffe://td.example/w"}, true},
		{sigbox.Identity{Issuer: testIssuer, Kind: sigbox.URISAN, Subject: "spiffe://td.example/other"}, false},
		{sigbox.Identity{Issuer: "https://upstream.example", Kind: sigbox.URISAN, Subject: "spiffe://td.example/w"}, true},
		{sigbox.Identity{Issuer: "", Kind: sigbox.URISAN, Subject: "spiffe://td.example/w"}, false},
	} {
		if err := checkIdentity(tt.id, token); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.id, err)
		}
	}
	ci := Token{Issuer: testIssuer, Subject: "repo:acme/app:ref:refs/heads/main"}
	if err := checkIdentity(sigbox.Identity{Issuer: testIssuer, Kind: sigbox.URISAN, Subject: "https://github.com/acme/app/.github/workflows/w.yml@refs/heads/main"}, ci); err != nil {
		t.Error(err)
	}
	user := Token{Issuer: testIssuer, Subject: "ada"}
	if err := checkIdentity(sigbox.Identity{Issuer: testIssuer, Kind: sigbox.OtherNameSAN, Subject: "ada!example.com"}, user); err != nil {
		t.Error(err)
	}
}

func TestExpiredTokenIsExplained(t *testing.T) {
	f := newFakes(t)
	f.config.Now = func() time.Time { return testTime.Add(2 * time.Hour) }
	f.ca.err = sigbox.Errorf(sigbox.Invalid, "status 400")
	_, err := f.signer(t).Digest(t.Context(), digest)
	fixture.WantError(t, err, sigbox.Unauthenticated, "has expired at 2026-01-02T04:04:05Z", "fresh token")
	if strings.Contains(err.Error(), "400") {
		t.Errorf("it is told twice: %v", err)
	}
}

// gitsign GHSA-8pmp-678w-c8xx, cosign GHSA-whqx-f9j3-ch6m: a log entry that is not
// ours, or is not in the log, is not accepted.
func TestGHSA_8pmp_678w_c8xx(t *testing.T) {
	stranger := func(f *fakes, t *testing.T) sigbox.LogEntry { // somebody else's entry with its own good proof
		key := newKey(t)
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		sig, err := key.Sign(rand.Reader, digest.Value, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return f.log.logged(sigbox.Entry{Digest: digest, Signature: sig, PublicKey: der, Details: sigbox.ECDSAP256SHA256})
	}
	for name, tt := range map[string]struct {
		change func(*sigbox.LogEntry, *fakes, *testing.T)
		says   string
	}{
		"another's entry": {func(le *sigbox.LogEntry, f *fakes, t *testing.T) { *le = stranger(f, t) }, "not the entry that was sent"},
		"changed body":    {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Body = append(le.Body, ' ') }, "not the entry that was sent"},
		"no body":         {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Body = nil }, "not the entry that was sent"},
		"other kind":      {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Kind = entry.KindDSSE }, "not the entry that was sent"},
		"other version":   {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Version = "0.0.1" }, "cannot be used"},
		"no proof":        {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion = nil }, "no inclusion proof"},
		"another's proof": {func(le *sigbox.LogEntry, f *fakes, t *testing.T) { le.Inclusion = stranger(f, t).Inclusion }, "does not lead to its checkpoint"},
		"other index":     {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.LogIndex = 0 }, "does not lead to its checkpoint"},
		"index beyond":    {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.LogIndex = 2 }, "beyond its tree"},
		"negative index":  {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.LogIndex = -1 }, "beyond its tree"},
		"negative size":   {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.TreeSize = -2 }, "another tree"},
		"other size":      {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.TreeSize = 3 }, "another tree"},
		"endless tree": {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) {
			le.Inclusion.TreeSize = math.MaxInt64
			le.Inclusion.Checkpoint = strings.Replace(le.Inclusion.Checkpoint, "\n2\n", "\n9223372036854775807\n", 1)
		}, "beyond all bounds"},
		"other root": {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.RootHash = make([]byte, 32) }, "another tree"},
		"short hash": {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.Hashes[0] = []byte{1} }, "wrong length"},
		"too many hashes": {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) {
			le.Inclusion.Hashes = append(le.Inclusion.Hashes, make([]byte, 32))
		}, "does not lead"},
		"no hashes":     {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.Hashes = nil }, "does not lead"},
		"no checkpoint": {func(le *sigbox.LogEntry, _ *fakes, _ *testing.T) { le.Inclusion.Checkpoint = "" }, "checkpoint cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.log.change = func(le *sigbox.LogEntry) { tt.change(le, f, t) }
			_, err := f.signer(t).Digest(t.Context(), digest)
			fixture.WantError(t, err, sigbox.NotVerified, tt.says)
		})
	}
}

// TestV1Entry: a log of Rekor v1 has another body for the same entry.
func TestV1Entry(t *testing.T) {
	f := newFakes(t)
	sum := ""
	f.log.change = func(le *sigbox.LogEntry) {
		e := f.log.entries[0]
		le.Version = entry.Version001
		le.Body = bodyV1(e, sum)
		sibling := tlog.RecordHash([]byte("another leaf"))
		root := tlog.NodeHash(sibling, tlog.RecordHash(le.Body))
		le.Inclusion.RootHash = root[:]
		var err error
		if le.Inclusion.Checkpoint, err = note.Sign(sigbox.Checkpoint{Origin: "log.example", Size: 2, Root: root}, f.log.signer); err != nil {
			t.Error(err)
		}
	}
	sum = digest.Hex()
	if _, err := f.signer(t).Digest(t.Context(), digest); err != nil {
		t.Error(err)
	}
	f.log.entries, sum = nil, sigbox.SHA256.Sum([]byte("other")).Hex()
	_, err := f.signer(t).Digest(t.Context(), digest)
	fixture.WantError(t, err, sigbox.NotVerified, "not the entry that was sent")
}

// TestTimestampIsChecked: a timestamp over something else, or of another request,
// is not accepted.
func TestTimestampIsChecked(t *testing.T) {
	for name, tt := range map[string]struct {
		request  func(*timestamp.Request)
		response func([]byte) []byte
		says     string
	}{
		"other imprint": {request: func(r *timestamp.Request) { r.Digest = sigbox.SHA256.Sum([]byte("other")) }, says: "something else"},
		"other hash":    {request: func(r *timestamp.Request) { r.Digest = sigbox.SHA512.Sum([]byte("other")) }, says: "something else"},
		"other nonce":   {request: func(r *timestamp.Request) { r.Nonce = []byte{1, 2, 3} }, says: "another request"},
		"no nonce":      {request: func(r *timestamp.Request) { r.Nonce = nil }, says: "another request"},
		"truncated":     {response: func(b []byte) []byte { return b[:len(b)/2] }, says: "cannot be read"},
		"empty":         {response: func([]byte) []byte { return nil }, says: "cannot be read"},
		"trailing":      {response: func(b []byte) []byte { return append(b, 0) }, says: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			f.stamper.request, f.stamper.response = tt.request, tt.response
			_, err := f.signer(t).Digest(t.Context(), digest)
			fixture.WantError(t, err, sigbox.NotVerified, tt.says)
		})
	}
}

func TestServiceFailures(t *testing.T) {
	down := sigbox.Errorf(sigbox.Unavailable, "down")
	for name, spoil := range map[string]func(*fakes){
		"ca":      func(f *fakes) { f.ca.err = down },
		"log":     func(f *fakes) { f.log.err = down },
		"stamper": func(f *fakes) { f.stamper.err = down },
		"token":   func(f *fakes) { f.config.Token = func(context.Context) (Token, error) { return Token{}, down } },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakes(t)
			spoil(f)
			b, err := f.signer(t).Digest(t.Context(), digest)
			if b != nil {
				t.Error("there is a bundle")
			}
			fixture.WantError(t, err, sigbox.Unavailable, "down")
		})
	}
}

// TestVerifyDecides: what Config.Verify refuses is never handed out.
func TestVerifyDecides(t *testing.T) {
	f := newFakes(t)
	f.config.Verify = func(b *sigbox.Bundle, id sigbox.Identity) error {
		if id.Subject != "ada@example.com" || len(b.Entries) != 1 {
			t.Errorf("judged %+v of %+v", b, id)
		}
		return sigbox.Errorf(sigbox.NotVerified, "the SCT is missing")
	}
	b, err := f.signer(t).Digest(t.Context(), digest)
	fixture.WantError(t, err, sigbox.NotVerified, "thrown away", "the SCT is missing")
	if b != nil {
		t.Error("there is a bundle")
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := newFakes(t)
	f.config.Parallel = 1
	s := f.signer(t)
	s.slots <- struct{}{}
	_, err := s.Digest(ctx, digest)
	fixture.WantError(t, err, sigbox.Unavailable, "interrupted")
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
