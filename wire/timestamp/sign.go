package timestamp

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	encoding "encoding/asn1"
	"io"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// SerialSize is the length of the serial numbers that authorities here give out,
// the most that RFC 3161 §2.4.2 obliges clients to take: 160 bits.
const SerialSize = 20

// SignerConfig is what a [Signer] is made of.
type SignerConfig struct {
	// Key signs tokens: ECDSA P-256, P-384 or P-521 with the curve's own hash, or
	// RSA with SHA-256.
	Key crypto.Signer
	// Chain is DER, the certificate of Key first and the root last.
	Chain [][]byte
	// Policy is the policy of all tokens. The zero value is Sigstore's,
	// 1.3.6.1.4.1.57264.2.
	Policy encoding.ObjectIdentifier
	// Rand is for the signature; nil is crypto/rand.
	Rand io.Reader
}

// Signer makes responses. What is the same in all of them is encoded once. It is
// safe for concurrent use when its key is.
type Signer struct {
	key    crypto.Signer
	hash   sigbox.HashAlgorithm
	rand   io.Reader
	policy encoding.ObjectIdentifier
	valid  sigbox.TimeRange

	// Encoded parts, in the order in which a response has them.
	granted     []byte // PKIStatusInfo
	signedData  []byte // the content type
	sdHead      []byte // version and digestAlgorithms of SignedData
	certs       []byte // certificates, with the leaf
	infoHead    []byte // version and policy of TSTInfo
	accuracy    []byte
	tsa         []byte // tsa of TSTInfo
	signerHead  []byte // version, sid and digestAlgorithm of SignerInfo
	attrType    []byte // content-type
	attrCert    []byte // signing-certificate-v2
	sigAlg      []byte
	contentType []byte // eContentType
}

// NewSigner checks that the key fits the chain, and that a client would accept
// what they make, and prepares the encoding.
func NewSigner(cfg SignerConfig) (*Signer, error) {
	if _, err := NewAuthority(sigbox.CertificateAuthority{Chain: cfg.Chain}); err != nil {
		return nil, err
	}
	leaf, err := sigbox.ParseCertificate(cfg.Chain[0])
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: %w", err)
	}
	if key, ok := cfg.Key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(leaf.PublicKey) {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: the key is not that of the first certificate").WithHint("give the chain leaf first")
	}
	details, err := sigbox.DetailsOf(leaf.PublicKey)
	if err != nil {
		return nil, err
	}
	if details == sigbox.Ed25519 {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: expected an ECDSA or RSA key, found Ed25519")
	}
	if cfg.Policy == nil {
		cfg.Policy = encoding.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}
	}
	var policy cryptobyte.Builder
	policy.AddASN1ObjectIdentifier(cfg.Policy)
	if _, err := policy.Bytes(); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: policy %v is no object identifier", cfg.Policy)
	}
	s := &Signer{
		key: cfg.Key, hash: details.Hash(), rand: cmp.Or(cfg.Rand, rand.Reader), policy: cfg.Policy,
		valid: sigbox.TimeRange{Start: leaf.NotBefore, End: leaf.NotAfter},
	}
	s.encode(leaf, policy.BytesOrPanic())
	return s, nil
}

// encode prepares all that does not change from token to token.
func (s *Signer) encode(leaf *x509.Certificate, policy []byte) {
	oid := func(id string) []byte { return appendTLV(nil, asn1.OBJECT_IDENTIFIER, []byte(id)) }
	integer := func(n byte) []byte { return appendTLV(nil, asn1.INTEGER, []byte{n}) }
	hashAlg := algorithm{oid: hashOID(s.hash)}.marshal() // RFC 5754 §2: without NULL
	serial := appendTLV(nil, asn1.INTEGER, integerContents(leaf.SerialNumber))

	s.granted = appendTLV(nil, asn1.SEQUENCE, integer(0))
	s.signedData, s.contentType = oid(oidSignedData), oid(oidTSTInfo)
	s.sdHead = appendTLV(integer(3), asn1.SET, hashAlg)
	s.certs = appendTLV(nil, tagContext0.Constructed(), leaf.Raw)

	s.infoHead = append(integer(1), policy...)
	s.accuracy = appendTLV(nil, asn1.SEQUENCE, integer(1))
	name := appendTLV(nil, tagContext4.Constructed(), leaf.RawSubject)
	s.tsa = appendTLV(nil, tagContext0.Constructed(), name)

	s.signerHead = appendTLV(integer(1), asn1.SEQUENCE, leaf.RawIssuer, serial)
	s.signerHead = append(s.signerHead, hashAlg...)
	s.attrType = appendTLV(nil, asn1.SEQUENCE, oid(oidContentType), appendTLV(nil, asn1.SET, s.contentType))
	s.attrCert = appendTLV(nil, asn1.SEQUENCE, oid(oidSigningCertV2), appendTLV(nil, asn1.SET, signingCertificate(leaf, serial)))
	sigAlg := rsaOID(s.hash)
	_, isECDSA := leaf.PublicKey.(*ecdsa.PublicKey)
	if isECDSA {
		sigAlg = ecdsaOID(s.hash)
	}
	s.sigAlg = algorithm{sigAlg, !isECDSA}.marshal() // RFC 5754 §3.2: NULL for RSA
}

// signingCertificate is SigningCertificateV2 with the default hash, SHA-256
// (RFC 5035 §3).
func signingCertificate(leaf *x509.Certificate, serial []byte) []byte {
	name := appendTLV(nil, tagContext4.Constructed(), leaf.RawIssuer)
	issuerSerial := appendTLV(nil, asn1.SEQUENCE, appendTLV(nil, asn1.SEQUENCE, name), serial)
	id := appendTLV(nil, asn1.SEQUENCE, appendTLV(nil, asn1.OCTET_STRING, sigbox.SHA256.Sum(leaf.Raw).Value), issuerSerial)
	return appendTLV(nil, asn1.SEQUENCE, appendTLV(nil, asn1.SEQUENCE, id))
}

// Respond answers req with a token for now, cut to the second, and a serial number
// of at most 160 bits that no other token of this authority has. An error that is
// the request's fault carries the [Failure] to reject it with.
func (s *Signer) Respond(req Request, now time.Time, serial *big.Int) ([]byte, error) {
	if err := s.check(req); err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	if !s.valid.Contains(now) {
		return nil, sigbox.Errorf(sigbox.Unavailable, "timestamp authority: its certificate is not valid at %s but %s", now.Format(time.RFC3339), period(s.valid)).
			WithHint("check the machine's clock").WithCause(TimeNotAvailable)
	}
	if serial.Sign() <= 0 || serial.BitLen() > 8*SerialSize {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: the serial number is not positive and of at most 160 bits")
	}
	info := s.info(req, now, serial)
	return s.respond(info, req.Certificates)
}

// check holds a request against what this authority does.
func (s *Signer) check(req Request) error {
	if err := checkLength(req.Digest); err != nil {
		return err
	}
	if req.Policy != nil && !req.Policy.Equal(s.policy) {
		return sigbox.Mismatch(sigbox.Invalid, "timestamp request: the policy is not this authority's", s.policy, req.Policy).WithCause(UnacceptedPolicy)
	}
	if req.Extensions != nil {
		return sigbox.Errorf(sigbox.Invalid, "timestamp request: extensions are not supported").WithCause(UnacceptedExtension)
	}
	return nil
}

// info writes TSTInfo (RFC 3161 §2.4.2).
func (s *Signer) info(req Request, now time.Time, serial *big.Int) []byte {
	b := make([]byte, 0, 256)
	b = append(b, s.infoHead...)
	b = appendImprint(b, req.imprint())
	b = appendTLV(b, asn1.INTEGER, integerContents(serial))
	b = appendTLV(b, asn1.GeneralizedTime, now.AppendFormat(nil, timeLayout))
	b = append(b, s.accuracy...)
	if req.Nonce != nil {
		b = appendTLV(b, asn1.INTEGER, req.Nonce)
	}
	b = append(b, s.tsa...)
	return appendTLV(nil, asn1.SEQUENCE, b)
}

// integerContents gives the contents octets of an INTEGER that is not negative
// (X.690 §8.3).
func integerContents(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) == 0 || b[0] >= 0x80 {
		b = append([]byte{0}, b...)
	}
	return b
}

// respond signs info and wraps it into a granted TimeStampResp.
func (s *Signer) respond(info []byte, withCertificate bool) ([]byte, error) {
	digest := appendTLV(nil, asn1.SET, appendTLV(nil, asn1.OCTET_STRING, s.hash.Sum(info).Value))
	attrDigest := appendTLV(nil, asn1.SEQUENCE, appendTLV(nil, asn1.OBJECT_IDENTIFIER, []byte(oidMessageDigest)), digest)
	attributes := [][]byte{s.attrType, attrDigest, s.attrCert}
	slices.SortFunc(attributes, bytes.Compare) // DER's order for a SET OF, X.690 §11.6
	signed := s.hash.Sum(appendTLV(nil, asn1.SET, attributes...)).Value
	sig, err := s.key.Sign(s.rand, signed, s.hash.Crypto())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "timestamp authority: signing failed").WithCause(err)
	}
	attrs := appendTLV(nil, tagContext0.Constructed(), attributes...)
	signer := appendTLV(nil, asn1.SEQUENCE, s.signerHead, attrs, s.sigAlg, appendTLV(nil, asn1.OCTET_STRING, sig))
	content := appendTLV(nil, tagContext0.Constructed(), appendTLV(nil, asn1.OCTET_STRING, info))
	encap := appendTLV(nil, asn1.SEQUENCE, s.contentType, content)
	var certs []byte
	if withCertificate {
		certs = s.certs
	}
	data := appendTLV(nil, asn1.SEQUENCE, s.sdHead, encap, certs, appendTLV(nil, asn1.SET, signer))
	token := appendTLV(nil, asn1.SEQUENCE, s.signedData, appendTLV(nil, tagContext0.Constructed(), data))
	return appendTLV(nil, asn1.SEQUENCE, s.granted, token), nil
}
