package cert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// authorityOf makes the certificate of an authority, by its own key.
func authorityOf(t testing.TB, name string, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte{1, 2, 3},
		NotBefore: time.Unix(1600000000, 0), NotAfter: time.Unix(1800000000, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestEntryVerify: an entry is one that its issuer signed, and what the log signs
// follows from it. What is wrong is said in our words.
func TestEntryVerify(t *testing.T) {
	key := newKey(t)
	issuer := authorityOf(t, "test CA", key)
	pre, final := pair(t, key, newKey(t), nil)
	tbs, err := cert.PrecertTBS(pre.Raw)
	if err != nil {
		t.Fatal(err)
	}
	precert := cert.Entry{Precert: true, Certificate: tbs, Precertificate: pre.Raw, IssuerKeyHash: sha256.Sum256(spki(t, key.Public()))}
	plain := cert.Entry{Certificate: final.Raw}
	for _, e := range []cert.Entry{precert, plain} {
		if err := e.Verify(issuer); err != nil {
			t.Error(err)
		}
	}
	changed := bytes.Clone(final.Raw)
	changed[len(changed)-1] ^= 1
	for name, c := range map[string]struct {
		entry  cert.Entry
		change func(*cert.Entry)
		issuer []byte
		kind   sigbox.Kind
		want   string
	}{
		"issuer in PEM":       {plain, nil, []byte("-----BEGIN CERTIFICATE-----\n"), sigbox.Invalid, "its issuer's certificate: expected a certificate in DER, found PEM"},
		"certificate cut":     {plain, func(e *cert.Entry) { e.Certificate = e.Certificate[:99] }, issuer, sigbox.Invalid, "its certificate: expected a certificate in DER, found DER that ends early"},
		"other issuer":        {plain, nil, authorityOf(t, "another CA", key), sigbox.NotVerified, "issuer of the certificate"},
		"namesake":            {plain, nil, authorityOf(t, "test CA", newKey(t)), sigbox.NotVerified, "is not signed by its issuer"},
		"certificate changed": {plain, func(e *cert.Entry) { e.Certificate = changed }, issuer, sigbox.NotVerified, "is not signed by its issuer"},
		"no precertificate":   {precert, func(e *cert.Entry) { e.Precertificate = final.Raw }, issuer, sigbox.NotVerified, "no poison"},
		"other TBS":           {precert, func(e *cert.Entry) { e.Certificate = slices.Concat(tbs, []byte{0}) }, issuer, sigbox.NotVerified, "TBSCertificate"},
		"hash of other key":   {precert, func(e *cert.Entry) { e.IssuerKeyHash[0] ^= 1 }, issuer, sigbox.NotVerified, "hash of the issuer's key"},
	} {
		if c.change != nil {
			c.change(&c.entry)
		}
		err := c.entry.Verify(c.issuer)
		if err == nil || sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "x509") {
			t.Errorf("%s: found %v, expected %v and %q", name, err, c.kind, c.want)
		}
	}
}
