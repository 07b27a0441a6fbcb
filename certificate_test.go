package sigbox_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// authority makes certificates for tests of what is said about them.
type authority struct {
	*testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T, template x509.Certificate) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := authority{t, key, &template}
	template.BasicConstraintsValid, template.Subject = true, pkix.Name{CommonName: "authority"}
	a.cert = a.certify(template)
	return a
}

// certify signs a certificate for the authority's own key.
func (a authority) certify(template x509.Certificate) *x509.Certificate {
	a.Helper()
	template.SerialNumber = big.NewInt(1)
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, a.key.Public(), a.key)
	if err != nil {
		a.Fatal(err)
	}
	c, err := sigbox.ParseCertificate(der)
	if err != nil {
		a.Fatal(err)
	}
	return c
}

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// TestParseCertificate: what stands in the place of a certificate is said, in words
// that are not those of Go.
func TestParseCertificate(t *testing.T) {
	der := newAuthority(t, x509.Certificate{IsCA: true}).cert.Raw
	version := strings.Index(string(der), "\xa0\x03\x02\x01\x02") // [0] INTEGER 2 (RFC 5280 §4.1)
	changed := append([]byte(nil), der...)
	changed[version+4] = 9
	for want, b := range map[string][]byte{
		"found nothing": nil,
		"found PEM":     []byte("-----BEGIN CERTIFICATE-----\nAAAA"),
		`found text that begins with "{\"a\":1}"`:   []byte(`{"a":1}`),
		"found 3 bytes that begin with ff 00 01":    {0xff, 0, 1},
		"found 2 bytes that begin with 30 80":       {0x30, 0x80},
		"found 7 bytes that begin with 30 85 01":    {0x30, 0x85, 1, 1, 1, 1, 1},
		`found text that begins with "a\tb\n"`:      []byte("a\tb\n"),
		"found 2 bytes that begin with 30 82":       {0x30, 0x82},
		"found DER that ends early: 2 of 7 bytes":   {0x30, 5},
		"found DER that ends early: 5 of 261 bytes": {0x30, 0x82, 1, 1, 0},
		"found DER of 2 bytes with 1 more behind":   {0x30, 0, 0},
		"found DER of 2 bytes: malformed":           {0x30, 0},
		"invalid version":                           changed,
	} {
		_, err := sigbox.ParseCertificate(b)
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("% x: %v", b, err)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "expected a certificate in DER, ") || strings.Contains(err.Error(), "x509") {
			t.Errorf("% x: %q, want %q", b, err, want)
		}
	}
	if c, err := sigbox.ParseCertificate(der); err != nil || c.Subject.CommonName != "authority" {
		t.Error(c, err)
	}
}

// TestParseCertificateOfYearOne: what Go takes for no time at all is no end that never
// comes.
func TestParseCertificateOfYearOne(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		start, end time.Time
		ok         bool
	}{{now, now.AddDate(1, 0, 0), true}, {now, time.Time{}, false}, {time.Time{}, now, false}} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: c.start, NotAfter: c.end}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sigbox.ParseCertificate(der); (err == nil) != c.ok || !c.ok && sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("from %s to %s: %v", c.start, c.end, err)
		}
	}
}

// TestParseCertificateBoundsKeys: a certificate has room for a key with which one
// check would take seconds.
func TestParseCertificateBoundsKeys(t *testing.T) {
	ca := newAuthority(t, x509.Certificate{IsCA: true})
	for bits, fits := range map[uint]bool{sigbox.MaxRSABits: true, sigbox.MaxRSABits + 1: false} {
		key := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1), E: 65537}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter}, ca.cert, key, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sigbox.ParseCertificate(der); (err == nil) != fits || !fits && !strings.Contains(err.Error(), "expected a key of at most 8192 bits, found RSA of 8193 bits") {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

// TestDescribeX509: what package x509 says is put in other words.
func TestDescribeX509(t *testing.T) {
	ca := newAuthority(t, x509.Certificate{IsCA: true, MaxPathLenZero: true})
	leaf := x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	verify := func(c, root *x509.Certificate, between ...*x509.Certificate) error {
		opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
		opts.Roots.AddCert(root)
		for _, b := range between {
			opts.Intermediates.AddCert(b)
		}
		_, err := c.Verify(opts)
		return err
	}
	old, server, named := leaf, leaf, leaf
	old.NotBefore, old.NotAfter = now.Add(-time.Hour), now.Add(-time.Minute)
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	named.DNSNames = []string{"evil.example"}
	forServers := newAuthority(t, x509.Certificate{IsCA: true, ExtKeyUsage: server.ExtKeyUsage})
	narrow := newAuthority(t, x509.Certificate{IsCA: true, PermittedDNSDomains: []string{"good.example"}, PermittedDNSDomainsCritical: true})
	second := newAuthority(t, x509.Certificate{IsCA: true})
	second.cert.Subject, second.cert.RawSubject = pkix.Name{CommonName: "second"}, nil
	between := ca.certify(x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "second"}})
	below := authority{t, ca.key, between}.certify(leaf)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other := *ca.cert
	other.PublicKey, other.PublicKeyAlgorithm = rsaKey.Public(), x509.RSA
	noCA := newAuthority(t, x509.Certificate{})
	_, keyErr := x509.ParsePKIXPublicKey([]byte{0x30, 3, 2, 1, 1})
	_, pkcs8Err := x509.ParsePKCS8PrivateKey(x509.MarshalPKCS1PrivateKey(rsaKey))
	_, sec1Err := x509.ParseECPrivateKey([]byte{0x30, 0})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"expired":       {verify(ca.certify(old), ca.cert), "it is valid from 2026-01-31T11:00:00Z to 2026-01-31T11:59:00Z"},
		"another use":   {verify(ca.certify(server), ca.cert), "it is for another use"},
		"use of issuer": {verify(forServers.certify(leaf), forServers.cert), "it is for another use"},
		"name":          {verify(narrow.certify(named), narrow.cert), "the issuer may not vouch for the name: "},
		"too long":      {verify(below, ca.cert, between), "there are more authorities between it and the root than one of them allows"},
		"unknown":       {verify(ca.certify(leaf), second.cert), "no authority that is trusted has signed it"},
		"no authority":  {noCA.certify(leaf).CheckSignatureFrom(noCA.cert), "the issuer may not sign certificates"},
		"another key":   {ca.certify(leaf).CheckSignatureFrom(forServers.cert), "ECDSA verification failure"},
		"RSA key":       {ca.certify(leaf).CheckSignatureFrom(&other), "signature algorithm specifies an ECDSA public key, and the issuer's key is RSA"},
		"key":           {keyErr, "its parts are not those of such a structure"},
		"key of RSA":    {pkcs8Err, "failed to parse private key"},
		"key of SEC 1":  {sec1Err, "failed to parse EC private key: its parts are not those of such a structure"},
		"for signing":   {x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign}, "the issuer may not sign certificates"},
		"for this use":  {x509.CertificateInvalidError{Reason: x509.CANotAuthorizedForExtKeyUsage}, "the issuer may not sign certificates for this use"},
		"others":        {x509.CertificateInvalidError{Reason: x509.TooManyConstraints}, "unknown error"},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", name)
		} else if got := sigbox.DescribeX509(c.err); !strings.HasPrefix(got, c.want) || strings.Contains(got, "x509") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestParsePublicKeyCause: what is not printed is there for errors.Is.
func TestParsePublicKeyCause(t *testing.T) {
	_, err := sigbox.ParsePublicKey([]byte{0x30, 3, 2, 1, 1})
	if err == nil || strings.Contains(err.Error(), "asn1") || !strings.HasSuffix(err.Error(), "found DER of 5 bytes: its parts are not those of such a structure") {
		t.Error(err)
	}
	if e, ok := errors.AsType[*sigbox.Error](err); !ok || e.Unwrap() == nil {
		t.Error("without its cause")
	}
}
