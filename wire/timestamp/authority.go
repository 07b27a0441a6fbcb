package timestamp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 2634 §5.4: ESSCertID is SHA-1; the certificate is pinned by the trust root besides
	"crypto/x509"
	encoding "encoding/asn1"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// Authority verifies the tokens of one timestamp authority of a trust root. Its
// certificates are parsed once, and their signatures are checked once, when the
// first token is. It is safe for concurrent use.
type Authority struct {
	leaf     *x509.Certificate
	serial   []byte
	validFor sigbox.TimeRange // of the trust root
	chain    sigbox.TimeRange // when all certificates are valid
	path     []*x509.Certificate
	once     sync.Once
	broken   error // set by once: why the path does not hold within its time
}

// maxChain bounds an authority's chain, in certificates.
const maxChain = 10

// NewAuthority prepares an authority, whose chain is DER with the leaf first and
// the trust anchor last. An error means that the authority can never vouch for
// anything: certificates that do not parse, or a leaf that is no timestamp
// authority's (RFC 3161 §2.3).
func NewAuthority(ca sigbox.CertificateAuthority) (*Authority, error) {
	chain := make([]*x509.Certificate, len(ca.Chain))
	for i, der := range ca.Chain {
		c, err := sigbox.ParseCertificate(der)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: certificate %d: %w", i, err)
		}
		chain[i] = c
	}
	return NewParsedAuthority(chain, ca.ValidFor)
}

// NewParsedAuthority is [NewAuthority] for certificates that are parsed, of an
// authority that is trusted for a period. The certificates are shared, and not to
// be changed.
func NewParsedAuthority(chain []*x509.Certificate, validFor sigbox.TimeRange) (*Authority, error) {
	if n := len(chain); n < 2 || n > maxChain {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: expected a chain of 2 to %d certificates, leaf first, found %d", maxChain, n)
	}
	a, err := newAuthority(chain[0])
	if err != nil {
		return nil, err
	}
	a.validFor, a.chain, a.path = validFor, commonTime(chain), chain
	return a, nil
}

// newAuthority prepares what tells an authority's tokens by its certificate.
func newAuthority(leaf *x509.Certificate) (*Authority, error) {
	if err := checkLeaf(leaf); err != nil {
		return nil, err
	}
	return &Authority{leaf: leaf, serial: integerContents(leaf.SerialNumber)}, nil
}

// Certificate is the one that the authority signs with. It is not to be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.leaf }

// Verify checks a DER TimeStampResp over signature and gives the time that the
// authority vouches for. The error's kind is NotVerified when the response is
// sound but not this authority's or not for this signature.
func (a *Authority) Verify(resp, signature []byte) (time.Time, error) {
	t, err := Parse(resp)
	if err != nil {
		return time.Time{}, err
	}
	return t.Time, a.VerifyToken(t, signature)
}

// Verify is [Authority.Verify] for one response alone. Whoever verifies several
// makes the Authority once.
func Verify(resp, signature []byte, authority sigbox.CertificateAuthority) (time.Time, error) {
	a, err := NewAuthority(authority)
	if err != nil {
		return time.Time{}, err
	}
	return a.Verify(resp, signature)
}

// Signed reports whether t names the authority's certificate as its signer. It is
// for choosing among authorities; nothing is verified.
func (a *Authority) Signed(t *Token) bool {
	si := &t.signer
	if si.keyID != nil {
		return bytes.Equal(si.keyID, a.leaf.SubjectKeyId)
	}
	return bytes.Equal(si.issuer, a.leaf.RawIssuer) && bytes.Equal(si.serial, a.serial)
}

// VerifyToken checks that t is the authority's timestamp of signature: the message
// imprint, the signer, the signed attributes, the signature, and that all
// certificates and the trust root's period hold at the token's time.
func (a *Authority) VerifyToken(t *Token, signature []byte) error {
	if t.info == nil {
		return sigbox.Errorf(sigbox.Invalid, "the timestamp was not read by Parse")
	}
	if got := t.Digest.Algorithm.Sum(signature); !got.Equal(t.Digest) {
		return notVerified("the timestamp is not over this signature").WithHint("it vouches for %s, the signature's digest is %s", t.Digest, got)
	}
	if !a.Signed(t) {
		return notVerified("the timestamp's signer is not the authority of the trust root, %.200q", a.leaf.Subject)
	}
	if err := a.checkContent(t); err != nil {
		return err
	}
	if err := a.checkTime(t.Time); err != nil {
		return err
	}
	if err := t.signer.verify(a.leaf.PublicKey); err != nil {
		return err
	}
	a.once.Do(func() { a.broken = checkPath(a.path, a.chain.Start) })
	return a.broken
}

// checkContent holds a token's content against its signed attributes.
func (a *Authority) checkContent(t *Token) error {
	for _, h := range t.signer.certHashes {
		if !a.named(h) {
			return notVerified("the timestamp's signing-certificate attribute names another certificate than its signer's")
		}
	}
	if got := t.signer.hash.Sum(t.info); !bytes.Equal(got.Value, t.signer.messageDigest) {
		return notVerified("the timestamp's content does not match its message-digest attribute")
	}
	return nil
}

// named reports whether h is the leaf's identifier.
func (a *Authority) named(h certHash) bool {
	return h.of(a.leaf.Raw) && (h.issuer == nil || bytes.Equal(h.issuer, a.leaf.RawIssuer) && bytes.Equal(h.serial, a.serial))
}

// of reports whether h is of a certificate; without algorithm it is SHA-1.
func (h certHash) of(der []byte) bool {
	if h.algorithm == 0 {
		sum := sha1.Sum(der) //nolint:gosec // see the import
		return bytes.Equal(h.value, sum[:])
	}
	return bytes.Equal(h.value, h.algorithm.Sum(der).Value)
}

// checkTime judges a token by its own time and never by the clock: a timestamp
// outlives the certificates of its authority.
func (a *Authority) checkTime(at time.Time) error {
	if !a.validFor.Contains(at) {
		return notVerified("the timestamp's time %s is outside the period for which the trust root lists its authority, %s", at.Format(time.RFC3339), period(a.validFor))
	}
	if !a.chain.Contains(at) {
		return notVerified("the authority's certificates were not valid at the timestamp's time %s but %s", at.Format(time.RFC3339), period(a.chain))
	}
	return nil
}

func period(r sigbox.TimeRange) string {
	s := "from " + r.Start.UTC().Format(time.RFC3339)
	if !r.End.IsZero() {
		s += " to " + r.End.UTC().Format(time.RFC3339)
	}
	return s
}

// verify checks the signature over the signed attributes, which are signed as a
// SET OF and not under the tag that they are sent with (RFC 5652 §5.4).
func (si *signerInfo) verify(pub crypto.PublicKey) error {
	var usual [512]byte // hold most
	signed := si.hash.Sum(appendTLV(usual[:0], asn1.SET, si.attributes)).Value
	var ok bool
	switch key := pub.(type) {
	case *ecdsa.PublicKey:
		ok = si.algorithm == ecdsaOID(si.hash) && ecdsa.VerifyASN1(key, signed, si.signature)
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits > sigbox.MaxRSABits {
			return notVerified("the timestamp authority's key is RSA of %d bits: expected at most %d", bits, sigbox.MaxRSABits)
		}
		ok = (si.algorithm == oidRSA || si.algorithm == rsaOID(si.hash)) && key.N.BitLen() >= 2048 &&
			rsa.VerifyPKCS1v15(key, si.hash.Crypto(), signed, si.signature) == nil
	default:
		return notVerified("the timestamp authority's key is %s: expected ECDSA or RSA", sigbox.DescribeKey(pub))
	}
	if !ok {
		return notVerified("the timestamp's signature does not verify with the authority's key")
	}
	return nil
}

// ecdsaOID and rsaOID name signature algorithms by their hash, which must be valid.
func ecdsaOID(h sigbox.HashAlgorithm) string {
	return [...]string{sigbox.SHA256: oidECDSAWithSHA256, sigbox.SHA384: oidECDSAWithSHA384, sigbox.SHA512: oidECDSAWithSHA512}[h]
}

func rsaOID(h sigbox.HashAlgorithm) string {
	return [...]string{sigbox.SHA256: oidSHA256WithRSA, sigbox.SHA384: oidSHA384WithRSA, sigbox.SHA512: oidSHA512WithRSA}[h]
}

// checkLeaf holds a leaf against RFC 3161 §2.3: for timestamping alone, said in a
// critical extension, and no CA.
func checkLeaf(c *x509.Certificate) error {
	if len(c.UnhandledCriticalExtensions) > 0 {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority %.200q: its certificate has a critical extension that is not known, %v", c.Subject, c.UnhandledCriticalExtensions[0])
	}
	if c.IsCA {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority %.200q: the first certificate is a CA's, expected the leaf", c.Subject)
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageTimeStamping || len(c.UnknownExtKeyUsage) != 0 {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority %.200q: expected timeStamping as the only extended key usage", c.Subject)
	}
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority %.200q: its key usage does not include signing", c.Subject)
	}
	for _, e := range c.Extensions {
		if e.Id.Equal(encoding.ObjectIdentifier{2, 5, 29, 37}) && e.Critical {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "timestamp authority %.200q: the extended key usage is not marked critical", c.Subject)
}

// commonTime is the period in which all certificates are valid.
func commonTime(chain []*x509.Certificate) sigbox.TimeRange {
	r := sigbox.TimeRange{Start: chain[0].NotBefore, End: chain[0].NotAfter}
	for _, c := range chain[1:] {
		if c.NotBefore.After(r.Start) {
			r.Start = c.NotBefore
		}
		if c.NotAfter.Before(r.End) {
			r.End = c.NotAfter
		}
	}
	return r
}

// checkPath checks the path from the leaf to the anchor, as of at: a moment at which
// all certificates are valid, so that the answer holds for all such moments.
func checkPath(chain []*x509.Certificate, at time.Time) error {
	const usage = x509.ExtKeyUsageTimeStamping
	err := sigbox.CheckAuthorities(chain[1:], usage)
	if err == nil {
		err = sigbox.CheckIssued(chain[0], chain[1:], usage, at)
	}
	if err != nil {
		return sigbox.Errorf(sigbox.NotVerified, "the timestamp authority's certificate does not lead to its root: %w", err)
	}
	return nil
}

func notVerified(format string, args ...any) *sigbox.Error {
	return sigbox.Errorf(sigbox.NotVerified, format, args...)
}
