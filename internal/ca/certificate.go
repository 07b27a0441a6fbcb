package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

const (
	serialSize  = 20 // RFC 5280 §4.1.2.2 allows no more
	maxValidity = time.Hour

	tagVersion    = cbasn1.Tag(0xa0) // [0] EXPLICIT
	tagExtensions = cbasn1.Tag(0xa3) // [3] EXPLICIT
	tagKeyID      = cbasn1.Tag(0x80) // [0] IMPLICIT, of an AuthorityKeyIdentifier
)

// The identifiers below are read and never written.
var (
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidExtKeyUsage  = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidSubjectKeyID = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}

	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidECDSAWithSHA384 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	oidECDSAWithSHA512 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	oidSHA256WithRSA   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
)

// signer holds the authority's key and what all its certificates have in common.
type signer struct {
	key       crypto.Signer
	hash      crypto.Hash
	algorithm []byte // DER AlgorithmIdentifier of key
	issuer    *x509.Certificate
	chain     [][]byte
	validity  time.Duration
	rand      io.Reader
}

// newSigner checks the chain and that the key is its first certificate's.
func newSigner(c Config) (*signer, error) {
	s := &signer{key: c.Key, chain: c.Chain, validity: c.Validity, rand: c.Rand}
	if s.validity == 0 {
		s.validity = DefaultValidity
	}
	if s.validity < time.Second || s.validity > maxValidity || s.validity%time.Second != 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "certificate validity: expected whole seconds up to %v, found %v", maxValidity, s.validity)
	}
	if s.key == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the certificate authority needs a key")
	}
	certs, err := parseChain(c.Chain)
	if err != nil {
		return nil, err
	}
	s.issuer = certs[0]
	if pub, ok := s.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(s.issuer.PublicKey) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the authority's key does not belong to its certificate, whose subject is %q", s.issuer.Subject)
	}
	s.hash, s.algorithm, err = signatureAlgorithm(s.key.Public())
	return s, err
}

// TrustIn describes an authority for a trust root by its chain, DER: it is valid from
// its issuing certificate's first second on, with an open end. URL and operator are as
// in [Config].
func TrustIn(chain [][]byte, url, operator string) (sigbox.CertificateAuthority, error) {
	certs, err := parseChain(chain)
	if err != nil {
		return sigbox.CertificateAuthority{}, err
	}
	return trustIn(certs[0], chain, url, operator), nil
}

func trustIn(issuer *x509.Certificate, chain [][]byte, url, operator string) sigbox.CertificateAuthority {
	t := sigbox.CertificateAuthority{
		CommonName: issuer.Subject.CommonName, URI: url, Operator: operator, Chain: chain,
		ValidFor: sigbox.TimeRange{Start: issuer.NotBefore},
	}
	if len(issuer.Subject.Organization) > 0 {
		t.Organization = issuer.Subject.Organization[0]
	}
	return t
}

// parseChain wants certificates of authorities, each signed by the next, the last
// by itself.
func parseChain(chain [][]byte) ([]*x509.Certificate, error) {
	if len(chain) < 2 || len(chain) > 8 {
		// sigstore-python wants two certificates besides the leaf's own.
		return nil, sigbox.Errorf(sigbox.Invalid, "the authority's chain: expected 2 to 8 certificates, intermediate first and root last, found %d", len(chain))
	}
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "the authority's chain, certificate %d: %w", i+1, err)
		}
		certs[i] = c
	}
	for i, c := range certs {
		parent := certs[min(i+1, len(certs)-1)]
		if err := c.CheckSignatureFrom(parent); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "the authority's chain: %q is not signed by %q: %w", c.Subject, parent.Subject, err)
		}
		if !c.IsCA || len(c.SubjectKeyId) == 0 {
			return nil, sigbox.Errorf(sigbox.Invalid, "the authority's chain: %q is no CA certificate with a subject key ID", c.Subject)
		}
	}
	return certs, nil
}

// signatureAlgorithm gives how a CA's key signs. Ed25519 is left out: not every
// client can verify SCTs under such an issuer.
func signatureAlgorithm(pub crypto.PublicKey) (crypto.Hash, []byte, error) {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return algorithmIdentifier(crypto.SHA256, oidECDSAWithSHA256, false)
		case elliptic.P384():
			return algorithmIdentifier(crypto.SHA384, oidECDSAWithSHA384, false)
		case elliptic.P521():
			return algorithmIdentifier(crypto.SHA512, oidECDSAWithSHA512, false)
		}
	case *rsa.PublicKey:
		return algorithmIdentifier(crypto.SHA256, oidSHA256WithRSA, true)
	}
	return 0, nil, sigbox.Errorf(sigbox.Invalid, "the authority's key: expected ECDSA or RSA, found a key %s", sigbox.DescribeKey(pub))
}

// algorithmIdentifier is RFC 5280 §4.1.1.2; RSA has NULL parameters, ECDSA none.
func algorithmIdentifier(hash crypto.Hash, oid asn1.ObjectIdentifier, null bool) (crypto.Hash, []byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if null {
			b.AddASN1NULL()
		}
	})
	der, err := b.Bytes()
	return hash, der, err
}

// withChain puts a certificate in front of the authority's.
func (s *signer) withChain(der []byte) [][]byte {
	return append([][]byte{der}, s.chain...)
}

// draft is a certificate without what precertificate and certificate differ in.
type draft struct {
	identity   sigbox.Identity
	spki       []byte
	head       []byte // the TBSCertificate's content up to the extensions
	extensions []byte // the extensions both have, one after the other
	logged     []byte // the TBSCertificate with those alone, which the log signs
	notBefore  time.Time
}

// draft lays out a certificate (RFC 5280 §4.1.2) for id and pub, valid from now.
func (s *signer) draft(id sigbox.Identity, pub provenKey, now time.Time) (*draft, error) {
	d := &draft{identity: id, spki: pub.spki, notBefore: now.UTC().Truncate(time.Second)}
	if err := s.check(d.notBefore); err != nil {
		return nil, err
	}
	exts, err := s.extensions(id, pub)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	for _, e := range exts {
		addExtension(&b, e)
	}
	if d.extensions, err = b.Bytes(); err != nil {
		return nil, internal(err)
	}
	if d.head, err = s.head(d); err != nil {
		return nil, err
	}
	d.logged, err = d.tbs(nil)
	return d, err
}

// check says whether the authority's certificate covers one that is valid from now.
func (s *signer) check(now time.Time) error {
	if now.Before(s.issuer.NotBefore) {
		return sigbox.Errorf(sigbox.Unavailable, "the authority's certificate is valid from %s, it is now %s", stamp(s.issuer.NotBefore), stamp(now)).
			WithHint("is the server's clock right?")
	}
	if now.Add(s.validity).After(s.issuer.NotAfter) {
		return sigbox.Errorf(sigbox.Unavailable, "the authority's certificate ends at %s, too soon to issue under it", stamp(s.issuer.NotAfter)).
			WithHint("its operator must make a new one")
	}
	return nil
}

// extensions are those of every certificate, and the identity's.
func (s *signer) extensions(id sigbox.Identity, pub provenKey) ([]pkix.Extension, error) {
	identity, err := cert.Extensions(id)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claims do not fit into a certificate: %w", err)
	}
	keyID, err := cert.SubjectKeyID(pub.spki)
	if err != nil {
		return nil, err
	}
	exts := make([]pkix.Extension, 0, 4+len(identity))
	exts = append(exts,
		pkix.Extension{Id: oidKeyUsage, Critical: true, Value: []byte{0x03, 2, 7, 0x80}},                // digitalSignature
		pkix.Extension{Id: oidExtKeyUsage, Value: []byte{0x30, 10, 0x06, 8, 0x2b, 6, 1, 5, 5, 7, 3, 3}}, // codeSigning
		pkix.Extension{Id: oidSubjectKeyID, Value: append([]byte{0x04, cert.KeyIDSize}, keyID...)},      // §4.2.1.2
		pkix.Extension{Id: oidAuthorityKey, Value: authorityKeyID(s.issuer.SubjectKeyId)},               // §4.2.1.1
	)
	return append(exts, identity...), nil
}

func authorityKeyID(id []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tagKeyID, func(b *cryptobyte.Builder) { b.AddBytes(id) })
	})
	return b.BytesOrPanic() // a key ID is short
}

// head writes the TBSCertificate's content up to the extensions.
func (s *signer) head(d *draft) ([]byte, error) {
	serial, err := newSerial(s.rand)
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	b.AddASN1(tagVersion, func(b *cryptobyte.Builder) { b.AddASN1Int64(2) }) // v3
	b.AddASN1(cbasn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(serial) })
	b.AddBytes(s.algorithm)
	b.AddBytes(s.issuer.RawSubject)
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addTime(b, d.notBefore)
		addTime(b, d.notBefore.Add(s.validity))
	})
	b.AddASN1(cbasn1.SEQUENCE, func(*cryptobyte.Builder) {}) // no subject: the SAN says who
	b.AddBytes(d.spki)
	out, err := b.Bytes()
	if err != nil {
		return nil, internal(err)
	}
	return out, nil
}

// newSerial draws a serial number: 158 random bits, positive, and 20 bytes long
// whatever they are (RFC 5280 §4.1.2.2).
func newSerial(random io.Reader) ([]byte, error) {
	serial := make([]byte, serialSize)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, internal(err)
	}
	serial[0] = serial[0]&0x7f | 0x40
	return serial, nil
}

// addTime is RFC 5280 §4.1.2.5: UTCTime to 2049, GeneralizedTime from then on.
func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

// addExtension is RFC 5280 §4.1.
func addExtension(b *cryptobyte.Builder, e pkix.Extension) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(e.Id)
		if e.Critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// tbs writes the TBSCertificate, with one more extension behind the others.
func (d *draft) tbs(more *pkix.Extension) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(d.head)+len(d.extensions)+256))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(d.head)
		b.AddASN1(tagExtensions, func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(d.extensions)
				if more != nil {
					addExtension(b, *more)
				}
			})
		})
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, internal(err)
	}
	return out, nil
}

// precertificate signs the draft with the poison (RFC 6962 §3.1).
func (s *signer) precertificate(d *draft) ([]byte, error) {
	poison := cert.Poison()
	return s.sign(d, &poison, 0)
}

// certificate signs the draft with the log's SCT.
func (s *signer) certificate(d *draft, sct []byte) ([]byte, error) {
	list, err := cert.SCTListExtension(sct)
	if err != nil {
		return nil, err
	}
	return s.sign(d, &list, 1)
}

// sign makes a certificate of the draft and one more extension (RFC 5280 §4.1.1), with
// which it has scts SCTs. What does not pass the lint is not signed.
func (s *signer) sign(d *draft, more *pkix.Extension, scts int) ([]byte, error) {
	tbs, err := d.tbs(more)
	if err != nil {
		return nil, err
	}
	unsigned, err := s.assemble(tbs, nil)
	if err != nil {
		return nil, err
	}
	if err := s.lint(d, unsigned, scts); err != nil {
		return nil, err
	}
	h := s.hash.New()
	h.Write(tbs)
	sig, err := s.key.Sign(s.rand, h.Sum(nil), s.hash)
	if err != nil { // Unavailable for a key that is kept elsewhere
		return nil, sigbox.Errorf(sigbox.KindOf(err), "the certificate authority's key does not sign").WithCause(err)
	}
	return s.assemble(tbs, sig)
}

// assemble makes a Certificate (RFC 5280 §4.1) of what is signed and the signature.
func (s *signer) assemble(tbs, sig []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(sig)+64))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(s.algorithm)
		b.AddASN1BitString(sig)
	})
	out, err := b.Bytes()
	if err != nil {
		return nil, internal(err)
	}
	return out, nil
}

func internal(err error) error {
	return sigbox.Errorf(sigbox.Internal, "making a certificate").WithCause(err)
}
