package search

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) (key *ecdsa.PrivateKey, spki []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	spki, err = x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return key, spki
}

// newCertificate makes a certificate of an identity; one without an issuer has the
// name alone, as other authorities' certificates.
func newCertificate(t testing.TB, id sigbox.Identity) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "some name"}, NotAfter: time.Unix(2e9, 0)}
	if id.Issuer != "" {
		exts, err := cert.Extensions(id)
		must(t, err)
		template.ExtraExtensions = exts
	} else {
		template.EmailAddresses, template.DNSNames = []string{id.Subject}, []string{"Host.example.com"}
		template.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1).To4()}
	}
	key, _ := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return der
}

// leafV2 is the leaf of a v2 log, leafV1 and leafDSSE those of a v1 log. The signature
// is none: the index does not look at it.
func leafV2(t testing.TB, e sigbox.Entry) []byte {
	t.Helper()
	e.Details, e.Signature = sigbox.ECDSAP256SHA256, append(e.Signature, "a signature"...)
	leaf, err := entry.Leaf(e)
	must(t, err)
	return leaf
}

func leafV1(e sigbox.Entry) []byte {
	e.Signature = append(e.Signature, "a signature"...)
	return entry.AppendProposal(nil, e)
}

func leafDSSE(envelope, payload sigbox.Digest, certificates ...[]byte) []byte {
	b := fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"%s"},"payloadHash":{"algorithm":"sha256","value":"%s"},"signatures":[`, envelope.Hex(), payload.Hex())
	for i, der := range certificates {
		if i > 0 {
			b = append(b, ',')
		}
		text := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		b = fmt.Appendf(b, `{"signature":"c2ln","verifier":"%s"}`, text)
	}
	return append(b, "]}}"...)
}

// testLog is a log on stores that outlive it, with a clock.
type testLog struct {
	*tlog.Log
	cfg tlog.Config
	now time.Time
}

func newLog(t testing.TB) *testLog {
	t.Helper()
	signer, err := note.NewSigner("log.example.com", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	must(t, err)
	l := &testLog{now: time.Unix(1_700_000_000, 0)}
	l.cfg = tlog.Config{
		Origin: signer.Name(), KV: memory.NewKV(), Blob: memory.NewBlob(), Signers: []*note.Signer{signer}, PublishInterval: -1,
		Now: func() time.Time { return l.now }, KeyOf: tlog.LeafKey, RowsOf: RowsOf, Given: Given,
	}
	l.open(t)
	return l
}

func (l *testLog) open(t testing.TB) {
	t.Helper()
	log, err := tlog.Open(t.Context(), l.cfg)
	must(t, err)
	l.Log = log
	t.Cleanup(func() { _ = log.Close(context.Background()) })
}

func (l *testLog) reopen(t testing.TB) {
	t.Helper()
	must(t, l.Close(context.Background()))
	l.open(t)
}

// add logs a leaf with its rows, addBare without any.
func (l *testLog) add(t testing.TB, leaf, payload []byte) {
	t.Helper()
	b, err := entry.ParseBody(leaf)
	must(t, err)
	_, err = l.Add(t.Context(), tlog.Leaf{Data: leaf, Rows: Rows(b, payload), RowBytes: RowBytes(payload)})
	must(t, err)
}

func (l *testLog) addBare(t testing.TB, leaf []byte) {
	t.Helper()
	_, err := l.Add(t.Context(), tlog.Leaf{Data: leaf})
	must(t, err)
}

func (l *testLog) index(t testing.TB) *Index {
	t.Helper()
	x, err := Open(t.Context(), Config{Log: l.Log})
	must(t, err)
	return x
}

// all gives what a query finds, page by page.
func all(t testing.TB, x *Index, q Query, page int) (found []uint64) {
	t.Helper()
	for below := uint64(Newest); below > 0; {
		f, err := x.Find(t.Context(), q, below, page)
		must(t, err)
		if len(f.Indexes) > page {
			t.Fatalf("a page of %d entries: at most %d were asked for", len(f.Indexes), page)
		}
		if len(f.Indexes) == 0 && f.Next > 0 && f.Next >= min(below, x.cfg.Log.Head().Size) {
			t.Fatalf("a search below %d goes nowhere", below)
		}
		found, below = append(found, f.Indexes...), f.Next
	}
	return found
}

// where makes a query of conditions.
func where(t testing.TB, conditions ...func() (Condition, error)) Query {
	t.Helper()
	var q Query
	for _, c := range conditions {
		condition, err := c()
		must(t, err)
		q.All = append(q.All, condition)
	}
	return q
}

func by(f func(string) (Condition, error), s string) func() (Condition, error) {
	return func() (Condition, error) { return f(s) }
}
