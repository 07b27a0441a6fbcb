package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// chainOf makes another chain above the key of a world's authority, which has
// issued what it has issued: its certificate, one between and the trust anchor.
type chainOf struct {
	ca, middle, root *x509.Certificate // templates
	// Who issues the first and the second, if not the next.
	caIssuer, middleIssuer *x509.Certificate
	caSigner, middleSigner crypto.Signer
}

func newChain(t *testing.T, w *sigboxtest.World) *chainOf {
	t.Helper()
	ca, err := x509.ParseCertificate(w.Root().CertificateAuthorities[0].Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	authority := func(serial int64, subject pkix.Name) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: subject, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		}
	}
	c := &chainOf{ca: authority(1, ca.Subject), middle: authority(2, pkix.Name{CommonName: "middle"}), root: authority(3, pkix.Name{CommonName: "anchor"})}
	c.ca.PublicKey, c.ca.SubjectKeyId = ca.PublicKey, ca.SubjectKeyId
	return c
}

// issue makes the chain, DER.
func (c *chainOf) issue(t *testing.T) [][]byte {
	t.Helper()
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	certify := func(template, issuer *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, pub, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	or := func(c, otherwise *x509.Certificate) *x509.Certificate {
		if c != nil {
			return c
		}
		return otherwise
	}
	middle, root := key(), key()
	if c.caSigner == nil {
		c.caSigner = middle
	}
	if c.middleSigner == nil {
		c.middleSigner = root
	}
	return [][]byte{
		certify(c.ca, or(c.caIssuer, c.middle), c.ca.PublicKey, c.caSigner),
		certify(c.middle, or(c.middleIssuer, c.root), middle.Public(), c.middleSigner),
		certify(c.root, c.root, root.Public(), root),
	}
}

// TestAuthorities: what an authority's certificates may be, and what not.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	unknown := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 9999, 1}, Critical: true, Value: []byte{5, 0}}
	explicitPolicy := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, 0}} // RFC 5280 §4.2.1.11, requireExplicitPolicy 0
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(c *chainOf)
		want   string // "" is accepted
	}{
		"as it should be":            {func(*chainOf) {}, ""},
		"unknown critical extension": {func(c *chainOf) { c.ca.ExtraExtensions = []pkix.Extension{unknown} }, "critical extension that is not known"},
		"the same in the anchor":     {func(c *chainOf) { c.root.ExtraExtensions = []pkix.Extension{unknown} }, "critical extension that is not known"},
		"no authority":               {func(c *chainOf) { c.ca.IsCA = false }, "may not issue certificates"},
		"no basic constraints":       {func(c *chainOf) { c.ca.BasicConstraintsValid, c.ca.IsCA = false, false }, "may not issue certificates"},
		"an anchor that is none":     {func(c *chainOf) { c.root.IsCA = false }, "was not signed by"},
		"not for certificates":       {func(c *chainOf) { c.ca.KeyUsage = x509.KeyUsageCRLSign }, "may not issue certificates"},
		"for any use":                {func(c *chainOf) { c.ca.KeyUsage = 0 }, ""},
		"for any extended use":       {func(c *chainOf) { c.ca.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, ""},
		"for code signing":           {func(c *chainOf) { c.ca.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }, ""},
		"for TLS":                    {func(c *chainOf) { c.root.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, "not for code signing"},
		"for who knows what":         {func(c *chainOf) { c.ca.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }, "not for code signing"},
		"signed by another key":      {func(c *chainOf) { c.caSigner = other }, "was not signed by"},
		"the next signed so":         {func(c *chainOf) { c.middleSigner = other }, "was not signed by"},
		"issued by another name":     {func(c *chainOf) { c.caIssuer = &x509.Certificate{Subject: pkix.Name{CommonName: "another"}} }, "of another issuer"},
		"the next by another name":   {func(c *chainOf) { c.middleIssuer = &x509.Certificate{Subject: pkix.Name{CommonName: "another"}} }, "of another issuer"},
		"a path of three allowed":    {func(c *chainOf) { c.root.MaxPathLen = 2 }, ""},
		"a path of two allowed":      {func(c *chainOf) { c.root.MaxPathLen = 1 }, "allows 1 authorities below it"},
		"no authority below":         {func(c *chainOf) { c.middle.MaxPathLenZero = true }, "allows 0 authorities below it"},
		"leaves below":               {func(c *chainOf) { c.ca.MaxPathLenZero = true }, ""},
		"expired":                    {func(c *chainOf) { c.root.NotAfter = sigboxtest.Now().AddDate(0, 0, -1) }, "anchor was valid"},
		"names that are permitted":   {func(c *chainOf) { c.root.PermittedEmailAddresses = []string{"example.com"} }, ""},
		"names that are not":         {func(c *chainOf) { c.root.PermittedEmailAddresses = []string{"example.org"} }, "does not lead to the trust root"},
		"names that are excluded":    {func(c *chainOf) { c.ca.ExcludedEmailAddresses = []string{"ada@example.com"} }, "does not lead to the trust root"},
		"names and what is not known": {func(c *chainOf) {
			c.root.PermittedEmailAddresses, c.ca.ExtraExtensions = []string{"example.com"}, []pkix.Extension{unknown}
		}, "critical extension that is not known"},
		"a policy is required": {func(c *chainOf) { c.middle.ExtraExtensions = []pkix.Extension{explicitPolicy} }, "does not lead to the trust root"},
		"names, critically, permitted": {func(c *chainOf) {
			c.root.PermittedDNSDomainsCritical, c.root.PermittedEmailAddresses = true, []string{"example.com"}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chain := newChain(t, w)
			c.change(chain)
			r := w.Root()
			r.CertificateAuthorities = r.CertificateAuthorities[:1]
			r.CertificateAuthorities[0].Chain = chain.issue(t)
			v := verifier(t, r)
			for range 2 { // what was refused is refused again
				_, err := v.Verify(verify.Bytes(artifact), b, ada())
				switch {
				case c.want == "" && err != nil:
					t.Error(err)
				case c.want != "" && (verify.FailedStep(err) != verify.StepCertificate || !strings.Contains(err.Error(), c.want)):
					t.Errorf("found %v, expected %q", err, c.want)
				}
			}
		})
	}
}

// TestUnusableAuthorities: an authority without certificates, or with one that does
// not parse, vouches for nobody and spoils nothing.
func TestUnusableAuthorities(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	good := w.Root()
	broken := good.CertificateAuthorities[0]
	broken.Chain = [][]byte{broken.Chain[0][:100]}
	above := broken // the certificate above it does not parse
	above.Chain = [][]byte{good.CertificateAuthorities[0].Chain[0], []byte("root")}
	for name, ca := range map[string]sigbox.CertificateAuthority{"no certificates": {URI: "https://ca.example"}, "0 does not parse": broken, "1 does not parse": above} {
		_, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{{CertificateAuthorities: []sigbox.CertificateAuthority{ca}}}})
		if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "nothing in it can be used") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: found %v, expected the root to be refused", name, err)
		}
		r := w.Root()
		r.CertificateAuthorities = append([]sigbox.CertificateAuthority{ca}, r.CertificateAuthorities...)
		if _, err := verifier(t, r).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), ada()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnusableAuthority: that it is listed, and why it is of no use, is told.
func TestUnusableAuthority(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	r := w.Root()
	r.CertificateAuthorities = r.CertificateAuthorities[:1]
	r.CertificateAuthorities[0].Chain = [][]byte{r.CertificateAuthorities[0].Chain[0], []byte("root")}
	_, err := verifier(t, r).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), ada())
	if verify.FailedStep(err) != verify.StepCertificate || !strings.Contains(err.Error(), "cannot be used") || !strings.Contains(err.Error(), "certificate 1 does not parse") {
		t.Errorf("found %v, expected to be told why", err)
	}
}

// TestUnusableWitnesses: the same for those who give timestamps and promises.
func TestUnusableWitnesses(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	good := w.Root()
	stamps := &sigbox.TrustedRoot{TimestampAuthorities: good.TimestampAuthorities}
	if _, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{stamps}}); err != nil {
		t.Error(err)
	}
	leafAlone := good.TimestampAuthorities[0]
	leafAlone.Chain = leafAlone.Chain[:1]
	_, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{{TimestampAuthorities: []sigbox.CertificateAuthority{leafAlone}}}})
	if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "nothing in it can be used") {
		t.Errorf("found %v, expected the root to be refused", err)
	}
	rootless := leafAlone
	rootless.Chain = [][]byte{leafAlone.Chain[0], []byte("root")}
	_, err = verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{{TimestampAuthorities: []sigbox.CertificateAuthority{rootless}}}})
	if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "certificate 1 does not parse") {
		t.Errorf("found %v, expected the root to be refused", err)
	}
	r := w.Root()
	r.TimestampAuthorities = append([]sigbox.CertificateAuthority{leafAlone}, r.TimestampAuthorities...)
	short, keyless := r.CTLogs[0], r.CTLogs[0]
	short.LogID, keyless.PublicKey = short.LogID[:31], []byte("key")
	r.CTLogs = append([]sigbox.TransparencyLog{short, keyless}, r.CTLogs...)
	b := w.Sign(artifact, sigboxtest.Options{})
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Error(err)
	}
	r.CTLogs = r.CTLogs[:2]
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepSCT {
		t.Errorf("found %v, expected the SCT to count for nothing", err)
	}
	undemanding, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}, Demands: func(*sigbox.TrustedRoot) sigbox.Demands { return sigbox.Demands{LogEntries: 1} }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := undemanding.Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Errorf("found %v, expected the SCT to count for nothing", err)
	}
}

// TestCertificateForms: what cannot be a signer's certificate is refused before
// anybody asks who issued it.
func TestCertificateForms(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	odd, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: sigboxtest.Now(), NotAfter: sigboxtest.Now(), EmailAddresses: []string{"ada@example.com"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	weak, err := x509.CreateCertificate(rand.Reader, template, template, odd.Public(), odd)
	if err != nil {
		t.Fatal(err)
	}
	good := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 2})
	for name, c := range map[string]struct {
		chain [][]byte
		want  string
	}{
		"of an odd curve": {[][]byte{weak}, "no algorithm is known"},
		"endless":         {[][]byte{make([]byte, 1<<20)}, "at most"},
		"no DER":          {[][]byte{[]byte("certificate")}, "does not parse"},
		"a broken chain":  {[][]byte{good.Certificates[0], []byte("certificate")}, "certificate 2 of the bundle does not parse"},
	} {
		b := *good
		b.Certificates = c.chain
		if _, err := v.Verify(verify.Bytes(artifact), &b, ada()); verify.FailedStep(err) != verify.StepCertificate || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}

// TestSCTsAreChecked: an SCT that is there must be right, also where none is
// demanded.
func TestSCTsAreChecked(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	r := w.Root()
	r.CTLogs[0].ValidFor = sigbox.TimeRange{}
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}, Demands: func(*sigbox.TrustedRoot) sigbox.Demands { return sigbox.Demands{LogEntries: 1, Times: 1} }})
	if err != nil {
		t.Fatal(err)
	}
	for fault, want := range map[string]verify.Step{
		"no-sct": 0, "sct-of-unknown-log": 0, "sct-before-log": 0,
		"sct-malformed": verify.StepSCT, "sct-out-of-range": verify.StepSCT, "sct-of-other-key": verify.StepSCT,
	} {
		b := w.Sign(artifact, sigboxtest.Options{Fault: sigboxtest.FaultNamed(fault)})
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
			t.Errorf("%s: found %v, expected %v", fault, err, want)
		}
	}
}

// TestIssuerNotListed: that the trust root does not list the issuer is said.
func TestIssuerNotListed(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	r := w.Root()
	r.CertificateAuthorities = nil
	_, err := verifier(t, r).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), ada())
	if verify.FailedStep(err) != verify.StepCertificate || !strings.Contains(err.Error(), "which the trust root does not list") {
		t.Errorf("found %v", err)
	}
}
