package timestamp

import (
	"bytes"
	encoding "encoding/asn1"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// Token is what a granted response claims (TSTInfo, RFC 3161 §2.4.2). Its fields
// are not to be believed before [Authority.VerifyToken] has accepted it. Byte
// slices refer to the response that was parsed.
type Token struct {
	// Time is genTime, in UTC.
	Time time.Time
	// Accuracy is how far Time may be off, 0 when not stated.
	Accuracy time.Duration
	// Digest is the message imprint: in Sigstore, of the signature's bytes.
	Digest sigbox.Digest
	Policy encoding.ObjectIdentifier
	// Serial and Nonce are contents octets of an INTEGER (two's complement).
	// Nonce is nil when there is none.
	Serial, Nonce []byte

	bareHash bool
	info     []byte // TSTInfo, DER: what message-digest is the digest of
	signer   signerInfo
	certs    []byte // contents of SignedData's certificates, nobody's word
}

// signerInfo is the one SignerInfo of a token (RFC 5652 §5.3).
type signerInfo struct {
	issuer, serial []byte // of the signer's certificate, or
	keyID          []byte // its subject key identifier
	hash           sigbox.HashAlgorithm
	algorithm      string // signatureAlgorithm's object identifier
	attributes     []byte // contents of signedAttrs
	messageDigest  []byte
	certHashes     []certHash
	signature      []byte
}

// certHash is the part of ESSCertID or ESSCertIDv2 that names the signer's
// certificate. A zero algorithm stands for SHA-1 (ESSCertID, RFC 2634 §5.4).
type certHash struct {
	algorithm      sigbox.HashAlgorithm
	value          []byte
	issuer, serial []byte // nil when not stated
}

// SerialNumber gives the token's serial number as an integer.
func (t *Token) SerialNumber() *big.Int {
	n := new(big.Int)
	s := cryptobyte.String(appendTLV(nil, asn1.INTEGER, t.Serial))
	s.ReadASN1Integer(n) // Serial was checked when it was parsed
	return n
}

// Parse reads a DER TimeStampResp of at most [MaxResponse] bytes. A response that
// grants nothing is an error of kind Denied, with the authority's [Failure] in its
// chain; anything else that is wrong is Invalid or TooLarge. No signature is checked.
func Parse(resp []byte) (*Token, error) {
	r, err := ParseResponse(resp)
	if err != nil {
		return nil, err
	}
	if err := r.granted(); err != nil {
		return nil, err
	}
	return parseToken(r.Token)
}

// parseToken reads ContentInfo and SignedData (RFC 5652 §3 and §5.1).
func parseToken(der cryptobyte.String) (*Token, error) {
	var content, oid, explicit, sd, v cryptobyte.String
	if !der.ReadASN1(&content, asn1.SEQUENCE) || !der.Empty() ||
		!content.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || string(oid) != oidSignedData ||
		!content.ReadASN1(&explicit, tagContext0.Constructed()) || !content.Empty() ||
		!explicit.ReadASN1(&sd, asn1.SEQUENCE) || !explicit.Empty() {
		return nil, malformed("timeStampToken of type signedData")
	}
	// Version 3, because what is signed is not plain data (RFC 5652 §5.1).
	var version int
	if !sd.ReadASN1Integer(&version) || version != 3 || !sd.ReadASN1(&v, asn1.SET) {
		return nil, malformed("SignedData of version 3")
	}
	info, ok := readEncapsulated(&sd)
	if !ok {
		return nil, malformed("encapContentInfo of type TSTInfo")
	}
	// An authority does not look at certificates and revocation lists that came
	// along: the signer's certificate is the trust root's, or the token is refused.
	var certs cryptobyte.String
	var some bool
	if !sd.ReadOptionalASN1(&certs, &some, tagContext0.Constructed()) || !sd.SkipOptionalASN1(tagContext1.Constructed()) {
		return nil, malformed("certificates")
	}
	t, err := parseInfo(info)
	if err != nil {
		return nil, err
	}
	t.certs = certs
	if !sd.ReadASN1(&v, asn1.SET) || !sd.Empty() {
		return nil, malformed("signerInfos")
	}
	t.signer, err = parseSigner(&v)
	if err != nil {
		return nil, err
	}
	// RFC 3161 §2.4.2: no signature but the authority's.
	if !v.Empty() {
		return nil, malformed("signerInfos with one signer")
	}
	return t, nil
}

// readEncapsulated reads EncapsulatedContentInfo (RFC 5652 §5.2).
func readEncapsulated(s *cryptobyte.String) (info cryptobyte.String, ok bool) {
	var seq, oid, explicit cryptobyte.String
	ok = s.ReadASN1(&seq, asn1.SEQUENCE) &&
		seq.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) && string(oid) == oidTSTInfo &&
		seq.ReadASN1(&explicit, tagContext0.Constructed()) && seq.Empty() &&
		explicit.ReadASN1(&info, asn1.OCTET_STRING) && explicit.Empty()
	return info, ok
}

// parseInfo reads TSTInfo (RFC 3161 §2.4.2).
func parseInfo(der cryptobyte.String) (*Token, error) {
	t := &Token{info: der}
	var seq cryptobyte.String
	var version int
	if !der.ReadASN1(&seq, asn1.SEQUENCE) || !der.Empty() ||
		!seq.ReadASN1Integer(&version) || version != 1 ||
		!seq.ReadASN1ObjectIdentifier(&t.Policy) {
		return nil, malformed("TSTInfo of version 1 with a policy")
	}
	m, err := readImprint(&seq)
	if err != nil {
		return nil, err
	}
	t.Digest, t.bareHash = m.digest, !m.null
	var ok bool
	if t.Serial, ok = readInteger(&seq); !ok {
		return nil, malformed("serialNumber")
	}
	if t.Time, ok = readTime(&seq); !ok {
		return nil, malformed("genTime in UTC")
	}
	if t.Accuracy, ok = readAccuracy(&seq); !ok {
		return nil, malformed("accuracy")
	}
	if _, ok = readDefaultFalse(&seq); !ok {
		return nil, malformed("ordering")
	}
	if seq.PeekASN1Tag(asn1.INTEGER) {
		if t.Nonce, ok = readInteger(&seq); !ok {
			return nil, malformed("nonce")
		}
	}
	if !seq.SkipOptionalASN1(tagContext0.Constructed()) {
		return nil, malformed("tsa")
	}
	if _, ok = readExtensions(&seq, tagContext1); !ok || !seq.Empty() {
		return nil, malformed("extensions of TSTInfo")
	}
	return t, nil
}

// timeLayout is the only form that RFC 3161 §2.4.2 allows: UTC, seconds, and a
// fraction without trailing zeros when there is one.
const timeLayout = "20060102150405.999999999Z"

func readTime(s *cryptobyte.String) (time.Time, bool) {
	var v cryptobyte.String
	if !s.ReadASN1(&v, asn1.GeneralizedTime) || len(v) > len(timeLayout) {
		return time.Time{}, false
	}
	t, err := time.Parse(timeLayout, string(v))
	var again [len(timeLayout)]byte
	return t, err == nil && bytes.Equal(t.AppendFormat(again[:0], timeLayout), v)
}

// readAccuracy reads Accuracy OPTIONAL: seconds, and milli- and microseconds from
// 1 to 999 each.
func readAccuracy(s *cryptobyte.String) (time.Duration, bool) {
	var seq cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&seq, &has, asn1.SEQUENCE) || !has {
		return 0, !has
	}
	var seconds uint32
	if seq.PeekASN1Tag(asn1.INTEGER) && !seq.ReadASN1Integer(&seconds) {
		return 0, false
	}
	d := time.Duration(seconds) * time.Second
	for _, part := range [...]struct {
		tag  asn1.Tag
		unit time.Duration
	}{{tagContext0, time.Millisecond}, {tagContext1, time.Microsecond}} {
		if !seq.PeekASN1Tag(part.tag) {
			continue
		}
		var n int64
		if !seq.ReadASN1Int64WithTag(&n, part.tag) || n < 1 || n > 999 {
			return 0, false
		}
		d += time.Duration(n) * part.unit
	}
	return d, seq.Empty()
}

// parseSigner reads a SignerInfo (RFC 5652 §5.3).
func parseSigner(s *cryptobyte.String) (signerInfo, error) {
	var si signerInfo
	var seq, attrs, sig cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !si.readID(&seq) {
		return si, malformed("SignerInfo")
	}
	digest, ok := readAlgorithm(&seq)
	if !ok {
		return si, malformed("digestAlgorithm")
	}
	if si.hash, ok = hashByOID(digest.oid); !ok {
		return si, sigbox.Errorf(sigbox.Invalid, "timestamp: the digest algorithm of the token's signature is not supported: expected SHA-256, SHA-384 or SHA-512")
	}
	// Signed attributes are a must where the content is not plain data.
	if !seq.ReadASN1(&attrs, tagContext0.Constructed()) {
		return si, malformed("signedAttrs")
	}
	si.attributes = attrs
	if err := si.readAttributes(attrs); err != nil {
		return si, err
	}
	alg, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&sig, asn1.OCTET_STRING) {
		return si, malformed("signature")
	}
	si.algorithm, si.signature = alg.oid, sig
	if !seq.SkipOptionalASN1(tagContext1.Constructed()) || !seq.Empty() {
		return si, malformed("unsignedAttrs")
	}
	return si, nil
}

// readID reads version and SignerIdentifier: 1 with issuer and serial number, 3
// with a key identifier.
func (si *signerInfo) readID(s *cryptobyte.String) bool {
	var version int
	var id cryptobyte.String
	if !s.ReadASN1Integer(&version) {
		return false
	}
	if version == 3 {
		if !s.ReadASN1(&id, tagContext0) {
			return false
		}
		si.keyID = id
		return true
	}
	var ok bool
	if version != 1 || !s.ReadASN1(&id, asn1.SEQUENCE) || !id.ReadASN1Element((*cryptobyte.String)(&si.issuer), asn1.SEQUENCE) {
		return false
	}
	si.serial, ok = readInteger(&id)
	return ok && id.Empty()
}

// readAttributes reads SignedAttributes: each attribute once with one value, and
// content-type, message-digest and a signing certificate among them (RFC 5652
// §5.3 and §11, RFC 5816 §2.2.1).
func (si *signerInfo) readAttributes(attrs cryptobyte.String) error {
	var seen [16]string
	typed := false
	for i := 0; !attrs.Empty(); i++ {
		var seq, oid, set cryptobyte.String
		if i == len(seen) || !attrs.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			!seq.ReadASN1(&set, asn1.SET) || !seq.Empty() {
			return malformed("signedAttrs")
		}
		seen[i] = string(oid)
		for _, before := range seen[:i] {
			if before == seen[i] {
				return malformed("signedAttrs without repetition")
			}
		}
		ok := true
		switch seen[i] {
		case oidContentType:
			var v cryptobyte.String
			typed = set.ReadASN1(&v, asn1.OBJECT_IDENTIFIER) && string(v) == oidTSTInfo
			ok = typed && set.Empty()
		case oidMessageDigest:
			ok = set.ReadASN1((*cryptobyte.String)(&si.messageDigest), asn1.OCTET_STRING) && set.Empty()
		case oidSigningCertV1, oidSigningCertV2:
			var h certHash
			h, ok = readSigningCertificate(&set, seen[i] == oidSigningCertV2)
			si.certHashes = append(si.certHashes, h)
		}
		if !ok {
			return malformed("a signed attribute")
		}
	}
	if !typed || si.messageDigest == nil || si.certHashes == nil {
		return malformed("a signed attribute (content-type, message-digest or signing-certificate)")
	}
	return nil
}

// readSigningCertificate reads SigningCertificate (RFC 2634 §5.4) or
// SigningCertificateV2 (RFC 5035 §3) and returns the first certificate's
// identifier, which is the signer's.
func readSigningCertificate(set *cryptobyte.String, v2 bool) (certHash, bool) {
	var h certHash
	var seq, certs, id, value cryptobyte.String
	if !set.ReadASN1(&seq, asn1.SEQUENCE) || !set.Empty() ||
		!seq.ReadASN1(&certs, asn1.SEQUENCE) || !certs.ReadASN1(&id, asn1.SEQUENCE) {
		return h, false
	}
	if v2 {
		h.algorithm = sigbox.SHA256 // the default
		if id.PeekASN1Tag(asn1.SEQUENCE) {
			alg, ok := readAlgorithm(&id)
			if h.algorithm, ok = hashOf(alg, ok); !ok {
				return h, false
			}
		}
	}
	if !id.ReadASN1(&value, asn1.OCTET_STRING) {
		return h, false
	}
	h.value = value
	return h, id.Empty() || h.readIssuerSerial(&id) && id.Empty()
}

func hashOf(a algorithm, ok bool) (sigbox.HashAlgorithm, bool) {
	if !ok {
		return 0, false
	}
	return hashByOID(a.oid)
}

// readIssuerSerial reads IssuerSerial with one directory name (RFC 5035 §3).
func (h *certHash) readIssuerSerial(s *cryptobyte.String) bool {
	var seq, names, directory cryptobyte.String
	ok := s.ReadASN1(&seq, asn1.SEQUENCE) && seq.ReadASN1(&names, asn1.SEQUENCE) &&
		names.ReadASN1(&directory, tagContext4.Constructed()) && names.Empty() &&
		directory.ReadASN1Element((*cryptobyte.String)(&h.issuer), asn1.SEQUENCE) && directory.Empty()
	if ok {
		h.serial, ok = readInteger(&seq)
	}
	return ok && seq.Empty()
}
