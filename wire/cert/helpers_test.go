package cert_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// octocat is an identity with every extension set.
func octocat() sigbox.Identity {
	id := sigbox.Identity{
		Issuer: "https://token.example.com", Kind: sigbox.URISAN,
		Subject: "https://github.com/octo/repo/.github/workflows/release.yml@refs/heads/main",
	}
	for arc := range 25 {
		if _, f := id.Extensions.Field(arc); f != nil {
			*f = "value of ." + string(rune('a'+arc))
		}
	}
	return id
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func spki(t testing.TB, pub crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// issue makes a certificate by issuer's key with the given extensions.
func issue(t testing.TB, issuer *ecdsa.PrivateKey, exts []pkix.Extension) *x509.Certificate {
	t.Helper()
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, PublicKey: issuer.Public(), SubjectKeyId: []byte{1, 2, 3}}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(42), NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1700000600, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: exts,
	}, parent, newKey(t).Public(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sctFor has a log sign a certificate.
func sctFor(t testing.TB, logKey crypto.Signer, leafDER, issuerSPKI, extensions []byte) cert.SCT {
	t.Helper()
	id, err := cert.LogID(logKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := cert.SCT{LogID: id, Timestamp: 1700000001234, Extensions: extensions, Algorithm: cert.SHA256WithECDSA}
	if _, ok := logKey.(*rsa.PrivateKey); ok {
		s.Algorithm = cert.SHA256WithRSA
	}
	tbs, err := cert.PrecertTBS(leafDER)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(cert.SCTInput(s, sha256.Sum256(issuerSPKI), tbs))
	if s.Signature, err = logKey.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	return s
}

// pair makes a precertificate and its certificate with an SCT by logKey.
func pair(t testing.TB, issuer *ecdsa.PrivateKey, logKey crypto.Signer, sctExtensions []byte) (pre, final *x509.Certificate) {
	t.Helper()
	exts, err := cert.Extensions(octocat())
	if err != nil {
		t.Fatal(err)
	}
	// The poison stands in the middle, the SCT list at the end.
	pre = issue(t, issuer, slices.Insert(slices.Clone(exts), 3, cert.Poison()))
	s := sctFor(t, logKey, pre.Raw, spki(t, issuer.Public()), sctExtensions)
	raw, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.SCTListExtension(raw)
	if err != nil {
		t.Fatal(err)
	}
	// The same template but for that extension; the subject's key must be the same.
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, PublicKey: issuer.Public(), SubjectKeyId: []byte{1, 2, 3}}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: pre.SerialNumber, NotBefore: pre.NotBefore, NotAfter: pre.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtraExtensions: append(exts, list),
	}, parent, pre.PublicKey, issuer)
	if err != nil {
		t.Fatal(err)
	}
	if final, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return pre, final
}
