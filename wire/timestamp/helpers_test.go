package timestamp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/timestamp"
)

var (
	start     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now       = start.Add(time.Hour)
	signature = []byte("a signature's bytes")
)

// authority is a timestamp authority of the tests.
type authority struct {
	key   crypto.Signer
	chain [][]byte // leaf, root
}

// authorityOption changes the certificates before they are signed.
type authorityOption func(leaf, root *x509.Certificate)

func newAuthority(t testing.TB, key crypto.Signer, options ...authorityOption) authority {
	t.Helper()
	rootKey := ecdsaKey(t, elliptic.P256())
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: start, NotAfter: start.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(0xff02), Subject: pkix.Name{CommonName: "authority"}, NotBefore: start, NotAfter: start.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, SubjectKeyId: []byte{1, 2, 3, 4},
		ExtraExtensions: []pkix.Extension{usage(t, true, encoding.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8})},
	}
	for _, o := range options {
		o(leaf, root)
	}
	rootDER := certificate(t, root, root, rootKey.Public(), rootKey)
	return authority{key, [][]byte{certificate(t, leaf, root, key.Public(), rootKey), rootDER}}
}

func certificate(t testing.TB, template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// usage is an extended key usage extension.
func usage(t testing.TB, critical bool, oids ...encoding.ObjectIdentifier) pkix.Extension {
	t.Helper()
	v, err := encoding.Marshal(oids)
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: encoding.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: v}
}

func ecdsaKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (a authority) trusted() sigbox.CertificateAuthority {
	return sigbox.CertificateAuthority{URI: "https://tsa.example", Chain: a.chain, ValidFor: sigbox.TimeRange{Start: start}}
}

func (a authority) signer(t testing.TB) *timestamp.Signer {
	t.Helper()
	s, err := timestamp.NewSigner(timestamp.SignerConfig{Key: a.key, Chain: a.chain})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// respond makes a response over signature.
func (a authority) respond(t testing.TB, change func(*timestamp.Request), at time.Time) []byte {
	t.Helper()
	req := timestamp.Request{Digest: sigbox.SHA256.Sum(signature), Certificates: true}
	if change != nil {
		change(&req)
	}
	resp, err := a.signer(t).Respond(req, at, big.NewInt(0x80))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func wantKind(t *testing.T, err error, kind sigbox.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error: expected one of kind %q", kind)
	}
	if got := sigbox.KindOf(err); got != kind {
		t.Fatalf("expected an error of kind %q, found %q: %v", kind, got, err)
	}
	t.Log(err)
}
