package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// testTime is a whole second, as certificates and timestamps have it.
var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const testIssuer = "https://issuer.example"

// fakeCA certifies what it is asked for. change spoils the certificate.
type fakeCA struct {
	t      *testing.T
	key    *ecdsa.PrivateKey
	now    func() time.Time
	change func(*x509.Certificate, *crypto.PublicKey, *sigbox.Identity)
	err    error

	mu     sync.Mutex
	issued int
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newCA(t *testing.T) *fakeCA {
	return &fakeCA{t: t, key: newKey(t), now: func() time.Time { return testTime }}
}

func (ca *fakeCA) Issue(_ context.Context, req sigbox.CertificateRequest) ([][]byte, error) {
	ca.mu.Lock()
	ca.issued++
	ca.mu.Unlock()
	if ca.err != nil {
		return nil, ca.err
	}
	csr, err := x509.ParseCertificateRequest(req.CSR)
	if err != nil || csr.CheckSignature() != nil {
		ca.t.Errorf("certificate request: %v", err)
		return nil, sigbox.Errorf(sigbox.Invalid, "bad CSR")
	}
	t, err := ParseToken(req.Token)
	if err != nil {
		return nil, err
	}
	now := ca.now()
	pub, id := crypto.PublicKey(csr.PublicKey), sigbox.Identity{Issuer: t.Issuer, Subject: t.Email, Kind: sigbox.EmailSAN}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	if ca.change != nil {
		ca.change(template, &pub, &id)
	}
	if template.ExtraExtensions, err = cert.Extensions(id); err != nil {
		ca.t.Error(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, ca.key)
	return [][]byte{der}, err
}

// fakeLog keeps a tree of each entry alone. change spoils the answer.
type fakeLog struct {
	t      *testing.T
	signer *note.Signer
	change func(*sigbox.LogEntry)
	err    error

	mu      sync.Mutex
	entries []sigbox.Entry
}

func newLog(t *testing.T) *fakeLog {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner("log.example", key)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeLog{t: t, signer: signer}
}

func (l *fakeLog) Add(_ context.Context, e sigbox.Entry) (sigbox.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return sigbox.LogEntry{}, l.err
	}
	if err := entry.Verify(e); err != nil {
		l.t.Error(err)
	}
	l.entries = append(l.entries, e)
	le := l.logged(e)
	if l.change != nil {
		l.change(&le)
	}
	return le, nil
}

// logged is the answer for an entry, in a tree of two.
func (l *fakeLog) logged(e sigbox.Entry) sigbox.LogEntry {
	leaf, err := entry.Leaf(e)
	if err != nil {
		l.t.Error(err)
	}
	sibling := tlog.RecordHash([]byte("another leaf"))
	root := tlog.NodeHash(sibling, tlog.RecordHash(leaf))
	checkpoint, err := note.Sign(sigbox.Checkpoint{Origin: "log.example", Size: 2, Root: root}, l.signer)
	if err != nil {
		l.t.Error(err)
	}
	return sigbox.LogEntry{
		LogIndex: 1, LogID: l.signer.LogID(), Kind: entry.KindHashedRekord, Version: entry.Version002, Body: leaf,
		Inclusion: &sigbox.Inclusion{LogIndex: 1, TreeSize: 2, RootHash: root[:], Hashes: [][]byte{sibling[:]}, Checkpoint: checkpoint},
	}
}

// fakeStamper is a timestamp authority. request and response spoil what goes in
// and comes out.
type fakeStamper struct {
	t        *testing.T
	signer   *timestamp.Signer
	request  func(*timestamp.Request)
	response func([]byte) []byte
	err      error
}

func newStamper(t *testing.T) *fakeStamper {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	eku, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "tsa"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: eku}}, // RFC 3161 §2.3
	}
	chain := [][]byte{certify(t, leaf, root, key.Public(), rootKey), certify(t, root, root, rootKey.Public(), rootKey)}
	signer, err := timestamp.NewSigner(timestamp.SignerConfig{Key: key, Chain: chain})
	if err != nil {
		t.Fatal(err)
	}
	return &fakeStamper{t: t, signer: signer}
}

func certify(t *testing.T, template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (s *fakeStamper) Stamp(_ context.Context, der []byte) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	req, err := timestamp.ParseRequest(der)
	if err != nil {
		s.t.Error(err)
		return nil, err
	}
	if s.request != nil {
		s.request(&req)
	}
	resp, err := s.signer.Respond(req, testTime, big.NewInt(7))
	if err == nil && s.response != nil {
		resp = s.response(resp)
	}
	return resp, err
}

// jwt makes an unsigned token of claims.
func jwt(t *testing.T, claims any) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
}

// adaClaims are those of an ordinary token.
func adaClaims() map[string]any {
	return map[string]any{
		"iss": testIssuer, "sub": "subject-1", "email": "ada@example.com", "aud": "sigstore", "exp": testTime.Add(time.Hour).Unix(),
	}
}

// fakes are all that a signer needs.
type fakes struct {
	ca      *fakeCA
	log     *fakeLog
	stamper *fakeStamper
	config  Config
	tokens  int // how often a token was asked for
}

func newFakes(t *testing.T) *fakes {
	t.Helper()
	f := &fakes{ca: newCA(t), log: newLog(t), stamper: newStamper(t)}
	raw := jwt(t, adaClaims())
	f.config = Config{
		CA: f.ca, Logs: []sigbox.Log{f.log}, Stampers: []sigbox.Stamper{f.stamper}, Now: func() time.Time { return testTime },
		Token: func(context.Context) (Token, error) { f.tokens++; return ParseToken(raw) },
	}
	return f
}

func (f *fakes) signer(t *testing.T) *Signer {
	t.Helper()
	s, err := New(f.config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
