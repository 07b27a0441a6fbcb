package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// The identifiers below are read and never written.
var (
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
)

// authority is a certificate authority of a trust root. The path from its
// issuing certificate to the trust anchor is checked once.
type authority struct {
	chain       []*x509.Certificate // issuing certificate first, trust anchor last
	validFor    sigbox.TimeRange    // of the trust root
	constrained bool                // a certificate of the chain has name constraints
	sound       func() error        // whether each certificate was issued by the next
	name        string
	// issued are leaves that were found to be signed by a certificate of the
	// chain, with the SCTs that were found good.
	issued cache[issuance, []promise]
}

// issuance names a leaf and the certificate of a chain that issued it.
type issuance struct {
	leaf  [sha256.Size]byte
	index int
}

// path is the chain of an authority from one certificate on.
type path struct {
	*authority
	index int
}

func (p path) certificates() []*x509.Certificate { return p.chain[p.index:] }

func (p *Parsed) newAuthority(ca *sigbox.CertificateAuthority) (*authority, error) {
	chain, err := p.chain(ca)
	if err != nil {
		return nil, err
	}
	a := &authority{chain: chain, validFor: ca.ValidFor, name: nameOf(ca)}
	for _, c := range chain {
		a.constrained = a.constrained || slices.ContainsFunc(c.Extensions, isNameConstraints)
	}
	if len(a.chain) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "certificate authority %.200q: no certificates", ca.URI)
	}
	a.sound = sync.OnceValue(a.checkChain)
	return a, nil
}

func isNameConstraints(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) }

// checkChain checks what does not depend on leaf and time: that each certificate
// may issue certificates for code signing and was issued by the next. The last
// one is trusted as it is (sigstore_trustroot.proto, cert_chain).
func (a *authority) checkChain() error {
	for i, c := range a.chain {
		if len(c.UnhandledCriticalExtensions) > 0 && !a.constrained {
			return sigbox.Errorf(sigbox.NotVerified, "the authority's certificate %q has a critical extension that is not known, %v", c.Subject, c.UnhandledCriticalExtensions[0])
		}
		if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return sigbox.Errorf(sigbox.NotVerified, "the authority's certificate %q may not issue certificates", c.Subject)
		}
		if !mayCodeSign(c, true) {
			return sigbox.Errorf(sigbox.NotVerified, "the authority's certificate %q is not for code signing", c.Subject)
		}
		if i+1 < len(a.chain) {
			if err := issuedBy(c, a.chain[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayCodeSign checks the extended key usage. For authorities, whose usages nest,
// none or anyExtendedKeyUsage permits all.
func mayCodeSign(c *x509.Certificate, isCA bool) bool {
	if isCA && (len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)) {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning)
}

// issuedBy checks name, key usage and signature.
func issuedBy(c, parent *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return sigbox.Mismatch(sigbox.NotVerified, "the certificate is of another issuer", parent.Subject, c.Issuer)
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return sigbox.Errorf(sigbox.NotVerified, "the certificate was not signed by %q: %s", parent.Subject, sigbox.DescribeX509(err))
	}
	return nil
}

// at checks what depends on time: the trust root's period and that of every
// certificate of the path, leaf included (client-spec, 4.3, "hybrid model").
func (p path) at(c *x509.Certificate, t time.Time) error {
	if !p.validFor.Contains(t) {
		return sigbox.Errorf(sigbox.NotVerified, "the trust root lists the certificate authority %s %s, the signature is of %s", p.name, period(p.validFor), stamp(t))
	}
	if r := validity(c); !r.Contains(t) {
		return sigbox.Errorf(sigbox.NotVerified, "the certificate was valid %s, the signature is of %s", period(r), stamp(t))
	}
	for _, ca := range p.certificates() {
		if r := validity(ca); !r.Contains(t) {
			return sigbox.Errorf(sigbox.NotVerified, "the authority's certificate %s was valid %s, the signature is of %s", ca.Subject, period(r), stamp(t))
		}
	}
	return nil
}

func validity(c *x509.Certificate) sigbox.TimeRange {
	return sigbox.TimeRange{Start: c.NotBefore, End: c.NotAfter}
}

// check checks what does not depend on time and remembers what it found good.
// The SCTs are those that verify, of logs of r.
func (p path) check(l *leaf, r *root, t time.Time) ([]promise, error) {
	key := issuance{l.hash, p.index}
	if known, ok := p.issued.get(key); ok {
		return known, nil
	}
	if err := p.sound(); err != nil {
		return nil, err
	}
	for below, ca := range p.certificates() {
		if (ca.MaxPathLen > 0 || ca.MaxPathLenZero) && below > ca.MaxPathLen {
			return nil, sigbox.Errorf(sigbox.NotVerified, "the authority's certificate %q allows %d authorities below it, the path has %d", ca.Subject, ca.MaxPathLen, below)
		}
	}
	issuer := p.chain[p.index]
	if err := issuedBy(l.cert, issuer); err != nil {
		return nil, err
	}
	if p.constrained {
		if err := p.library(l.cert, t); err != nil {
			return nil, err
		}
	}
	scts, err := r.promises(l, issuer)
	if err != nil {
		return nil, err
	}
	p.issued.put(key, scts, rememberChecks)
	return scts, nil
}

// library leaves a path with name constraints to the standard library.
func (p path) library(c *x509.Certificate, t time.Time) error {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: t,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	certs := p.certificates()
	last := len(certs) - 1
	opts.Roots.AddCert(certs[last])
	for _, ca := range certs[:last] {
		opts.Intermediates.AddCert(ca)
	}
	if _, err := c.Verify(opts); err != nil {
		return sigbox.Errorf(sigbox.NotVerified, "the certificate does not lead to the trust root: %s", sigbox.DescribeX509(err))
	}
	return nil
}

// leaf is a signer's certificate, parsed.
type leaf struct {
	hash        [sha256.Size]byte
	cert        *x509.Certificate
	identity    sigbox.Identity
	identityErr error
}

// leafOf parses a certificate, or finds it parsed. Those that an authority vouches
// for are remembered, when that is known; others may be large and many.
func (v *Verifier) leafOf(der []byte) (*leaf, error) {
	hash := sha256.Sum256(der)
	if l, ok := v.leaves.get(hash); ok {
		return l, nil
	}
	if len(der) > cert.MaxCertificate {
		return nil, refuse(StepCertificate, "a certificate of %d bytes: at most %d are read", len(der), cert.MaxCertificate)
	}
	c, err := sigbox.ParseCertificate(bytes.Clone(der)) // the caller may use theirs again
	if err != nil {
		return nil, refuse(StepCertificate, "the certificate does not parse: %w", err)
	}
	l := &leaf{hash: hash, cert: c}
	if err := checkLeaf(c); err != nil {
		return nil, err
	}
	l.identity, l.identityErr = cert.IdentityOf(c)
	return l, nil
}

// checkLeaf holds a certificate against Fulcio's profile: for code signing, not
// an authority's, and nothing critical in it that is not understood, which
// excludes precertificates.
func checkLeaf(c *x509.Certificate) error {
	for _, id := range c.UnhandledCriticalExtensions {
		// Package x509 does not know names of type otherName; IdentityOf reads them.
		if !id.Equal(oidSubjectAltName) {
			return refuse(StepCertificate, "the certificate has a critical extension that is not known, %v", id)
		}
	}
	switch {
	case c.IsCA:
		return refuse(StepCertificate, "the certificate is an authority's, expected a signer's")
	case c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return refuse(StepCertificate, "the certificate's key usage does not include digital signatures")
	case !mayCodeSign(c, false):
		return refuse(StepCertificate, "the certificate is not for code signing")
	}
	return nil
}

// refuseRoots looks at what else a chain in an old bundle holds. It is not used:
// authorities come from the trust root. Signers must not include self-signed
// certificates (sigstore_bundle.proto, VerificationMaterial).
func refuseRoots(chain [][]byte) error {
	for i, der := range chain {
		c, err := sigbox.ParseCertificate(der)
		if err != nil {
			return refuse(StepCertificate, "certificate %d of the bundle does not parse: %w", i+2, err)
		}
		if bytes.Equal(c.RawIssuer, c.RawSubject) {
			return refuse(StepCertificate, "certificate %d of the bundle is a root, %q: bundles must not bring their own", i+2, c.Subject)
		}
	}
	return nil
}

func period(r sigbox.TimeRange) string {
	switch {
	case r.Start.IsZero() && r.End.IsZero():
		return "at all times"
	case r.End.IsZero():
		return "from " + stamp(r.Start)
	case r.Start.IsZero():
		return "until " + stamp(r.End)
	}
	return "from " + stamp(r.Start) + " to " + stamp(r.End)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
