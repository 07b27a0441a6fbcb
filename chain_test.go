package sigbox_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// TestChainsAsPackageX509 holds chains of many kinds, right and wrong, against
// package x509, which must find the same path or none.
func TestChainsAsPackageX509(t *testing.T) {
	t.Parallel()
	m := newChainMaker(t)
	found := make(map[bool]int)
	for range 1500 {
		chain, at := m.chain(t)
		got := checkChain(chain, at)
		want := verifyAsX509(chain, at)
		found[want == nil]++
		if (got == nil) != (want == nil) {
			for _, c := range chain {
				t.Logf("%x", c.Raw)
			}
			t.Fatalf("at %s: found %v, and package x509 %v", at, got, want)
		}
	}
	if found[true] < 100 || found[false] < 100 {
		t.Errorf("%d chains are good and %d are not: expected many of both", found[true], found[false])
	}
}

// checkChain is what a verifier does: the certificates' time, and then the chain.
func checkChain(chain []*x509.Certificate, at time.Time) error {
	for _, c := range chain {
		if !(sigbox.TimeRange{Start: c.NotBefore, End: c.NotAfter}).Contains(at) {
			return sigbox.Errorf(sigbox.NotVerified, "not valid")
		}
	}
	if err := sigbox.CheckAuthorities(chain[1:], x509.ExtKeyUsageCodeSigning); err != nil {
		return err
	}
	return sigbox.CheckIssued(chain[0], chain[1:], x509.ExtKeyUsageCodeSigning, at)
}

// verifyAsX509 has package x509 find a path, which must be the whole chain.
func verifyAsX509(chain []*x509.Certificate, at time.Time) error {
	last := len(chain) - 1
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	opts.Roots.AddCert(chain[last])
	for _, c := range chain[1:last] {
		opts.Intermediates.AddCert(c)
	}
	paths, err := chain[0].Verify(opts)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(paths, func(path []*x509.Certificate) bool { return slices.EqualFunc(path, chain, (*x509.Certificate).Equal) }) {
		return sigbox.Errorf(sigbox.NotVerified, "only by another path")
	}
	return nil
}

// chainMaker makes chains by chance, the same ones each time but for their keys.
type chainMaker struct {
	keys []*ecdsa.PrivateKey
	rand *mathrand.Rand
}

func newChainMaker(t *testing.T) *chainMaker {
	m := &chainMaker{rand: mathrand.New(mathrand.NewPCG(1, 2))} // #nosec G404 -- what is tested may be known
	for range 6 {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m.keys = append(m.keys, k)
	}
	return m
}

func (m *chainMaker) percent(n int) bool { return m.rand.IntN(100) < n }

// chain makes a signer's certificate and one to four authorities', and a time about
// the ends of what they are valid for.
func (m *chainMaker) chain(t *testing.T) (chain []*x509.Certificate, at time.Time) {
	t.Helper()
	length := 2 + m.rand.IntN(4)
	chain = make([]*x509.Certificate, length)
	for i := length - 1; i >= 0; i-- {
		template := m.certificate(i)
		issuer, signer := template, m.keys[i]
		if i < length-1 {
			issuer, signer = &x509.Certificate{RawSubject: chain[i+1].RawSubject, SubjectKeyId: chain[i+1].SubjectKeyId}, m.keys[i+1]
			if m.percent(3) {
				issuer = &x509.Certificate{Subject: pkix.Name{CommonName: "another"}}
			}
			if m.percent(3) {
				signer = m.keys[i]
			}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, m.keys[i].Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		if chain[i], err = sigbox.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	ends := [...]time.Time{chain[0].NotBefore, chain[0].NotAfter, chain[length-1].NotBefore, chain[length-1].NotAfter}
	at = ends[m.rand.IntN(len(ends))].Add(time.Duration(m.rand.IntN(3)-1) * time.Nanosecond)
	if m.percent(70) {
		at = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	}
	return chain, at
}

// certificate makes the template of one: the signer's is 0.
func (m *chainMaker) certificate(place int) *x509.Certificate {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1 + m.rand.Int64N(1<<40)), Subject: pkix.Name{CommonName: string(rune('a' + place))},
		NotBefore: day.Add(time.Duration(m.rand.IntN(3)) * time.Hour), NotAfter: day.Add(time.Duration(20+m.rand.IntN(3)) * time.Hour),
	}
	if place == 0 {
		m.signer(c)
	} else {
		m.authority(c)
	}
	m.policies(c)
	return c
}

func (m *chainMaker) signer(c *x509.Certificate) {
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if m.percent(50) {
		c.EmailAddresses = []string{"ada@example.com"}
		return
	}
	c.URIs = []*url.URL{{Scheme: "https", Host: []string{"example.com", "a.example.com", "example.org"}[m.rand.IntN(3)], Path: "/job"}}
}

func (m *chainMaker) authority(c *x509.Certificate) {
	c.BasicConstraintsValid, c.IsCA, c.KeyUsage, c.MaxPathLen = true, true, x509.KeyUsageCertSign, -1
	if m.percent(40) {
		c.MaxPathLen = m.rand.IntN(3)
		c.MaxPathLenZero = c.MaxPathLen == 0
	}
	if m.percent(5) {
		c.BasicConstraintsValid, c.IsCA, c.MaxPathLen, c.MaxPathLenZero = m.percent(50), false, 0, false
	}
	if m.percent(10) {
		c.KeyUsage = x509.KeyUsage(m.rand.IntN(1 << 9))
	}
	switch m.rand.IntN(16) {
	case 0, 1:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	case 2, 3:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping, x509.ExtKeyUsageAny}
	case 4:
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	case 5:
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}}
	}
	names := []string{"example.com"}
	switch m.rand.IntN(40) {
	case 0:
		c.PermittedEmailAddresses = names
	case 1:
		c.ExcludedEmailAddresses = names
	case 2:
		c.PermittedURIDomains = names
	case 3:
		c.ExcludedURIDomains = names
	case 4:
		c.PermittedDNSDomains = names
	}
	c.PermittedDNSDomainsCritical = m.percent(50)
}

// policies adds what only few certificates have: policies and what is said of them
// (RFC 5280 §4.2.1.4, §4.2.1.5, §4.2.1.11 and §4.2.1.14), and what nobody knows.
func (m *chainMaker) policies(c *x509.Certificate) {
	one, _ := x509.OIDFromInts([]uint64{1, 2, 3, 4})
	anyPolicy, _ := x509.OIDFromInts([]uint64{2, 5, 29, 32, 0})
	switch m.rand.IntN(6) {
	case 0:
		c.Policies = []x509.OID{one}
	case 1:
		c.Policies = []x509.OID{anyPolicy}
	}
	few := byte(m.rand.IntN(3))
	mapping := []byte{0x30, 0x0c, 0x30, 0x0a, 6, 3, 0x2a, 3, 4, 6, 3, 0x2a, 3, 5}
	mappingToAny := []byte{0x30, 0x0d, 0x30, 0x0b, 6, 3, 0x2a, 3, 4, 6, 4, 0x55, 0x1d, 0x20, 0}
	for _, e := range []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Value: []byte{0x30, 3, 0x80, 1, few}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 54}, Value: []byte{2, 1, few}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 33}, Value: [][]byte{mapping, mappingToAny}[m.rand.IntN(2)]},
		{Id: asn1.ObjectIdentifier{1, 3, 9999}, Value: []byte{5, 0}},
	} {
		if m.percent(4) {
			e.Critical = m.percent(60)
			// A signer's own critical extensions are looked at by who knows what it may have.
			if bytes.Equal(e.Value, []byte{5, 0}) && !c.IsCA {
				e.Critical = false
			}
			c.ExtraExtensions = append(c.ExtraExtensions, e)
		}
	}
}

// TestNoChain: where there is nobody, nobody has issued anything; and what is not said
// to be at a time is not at the clock's.
func TestNoChain(t *testing.T) {
	t.Parallel()
	m := newChainMaker(t)
	chain, at := m.chain(t)
	if err := sigbox.CheckAuthorities(nil, x509.ExtKeyUsageCodeSigning); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("no authorities: found %v", err)
	}
	if err := sigbox.CheckIssued(chain[0], nil, x509.ExtKeyUsageCodeSigning, at); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("issued by nobody: found %v", err)
	}
	signer, root := m.certificate(0), &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign, ExcludedDNSDomains: []string{"example.net"},
	}
	signer.NotBefore, signer.NotAfter = root.NotBefore, root.NotAfter
	signer.ExtraExtensions = nil
	parse := func(template, issuer *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), m.keys[1])
		if err != nil {
			t.Fatal(err)
		}
		c, err := sigbox.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	above := []*x509.Certificate{parse(root, root, m.keys[1])}
	if err := sigbox.CheckIssued(parse(signer, root, m.keys[0]), above, x509.ExtKeyUsageCodeSigning, time.Now()); err != nil {
		t.Error(err)
	}
	if err := sigbox.CheckIssued(parse(signer, root, m.keys[0]), above, x509.ExtKeyUsageCodeSigning, time.Time{}); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("at no time: found %v", err)
	}
}
