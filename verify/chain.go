package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// oidSubjectAltName is read and never written.
var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// authority is a certificate authority of a trust root. The path from its
// issuing certificate to the trust anchor is checked once.
type authority struct {
	chain    []*x509.Certificate // issuing certificate first, trust anchor last
	validFor sigbox.TimeRange    // of the trust root
	name     string
	once     sync.Once
	unsound  error // set by once
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
	if len(chain) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "certificate authority %.200q: no certificates", ca.URI)
	}
	return &authority{chain: chain, validFor: ca.ValidFor, name: nameOf(ca)}, nil
}

// sound reports whether the path from the issuing certificate to the trust anchor
// holds, apart from time.
func (a *authority) sound() error {
	a.once.Do(func() { a.unsound = sigbox.CheckAuthorities(a.chain, x509.ExtKeyUsageCodeSigning) })
	return a.unsound
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
	if err := sigbox.CheckIssued(l.cert, p.certificates(), x509.ExtKeyUsageCodeSigning, t); err != nil {
		return nil, err
	}
	scts, err := r.promises(l, p.chain[p.index])
	if err != nil {
		return nil, err
	}
	p.issued.put(key, scts, rememberChecks)
	return scts, nil
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
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageCodeSigning):
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
