package timestamp

import (
	"bytes"
	encoding "encoding/asn1"
	"encoding/base64"
	"math/big"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// Request is a TimeStampReq (RFC 3161 §2.4.1).
type Request struct {
	// Digest is the message imprint: in Sigstore, of the signature's bytes.
	Digest sigbox.Digest
	// Policy is the policy that the client asks for, or nil.
	Policy encoding.ObjectIdentifier
	// Nonce is the contents octets of an INTEGER (two's complement, minimal), or
	// nil for none. See [NewNonce].
	Nonce []byte
	// Certificates asks for the authority's certificate in the response.
	Certificates bool
	// Extensions is the DER of the extensions, or nil. Only their framing is
	// checked.
	Extensions []byte

	// bareHash says that the hash algorithm has no NULL parameters; the response
	// must repeat the imprint as it was (RFC 3161 §2.4.2).
	bareHash bool
}

// NewNonce makes a nonce of random bytes that the caller provides: a positive
// integer as long as they are.
func NewNonce(random []byte) []byte {
	n := bytes.Clone(random)
	if len(n) > 0 {
		n[0] = n[0]&0x3f | 0x40
	}
	return n
}

// ParseRequest reads a DER TimeStampReq of at most [MaxRequest] bytes. Errors are
// of kind Invalid or TooLarge; those that RFC 3161 has a word for carry a [Failure].
func ParseRequest(der []byte) (Request, error) {
	if len(der) > MaxRequest {
		return Request{}, sigbox.Errorf(sigbox.TooLarge, "timestamp request of %d bytes: at most %d are read", len(der), MaxRequest)
	}
	var r Request
	var version int
	var seq cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() {
		return Request{}, malformed("TimeStampReq")
	}
	if !seq.ReadASN1Integer(&version) || version != 1 {
		return Request{}, malformed("version 1")
	}
	m, err := readImprint(&seq)
	if err != nil {
		return Request{}, err
	}
	r.Digest, r.bareHash = m.digest, !m.null
	if seq.PeekASN1Tag(asn1.OBJECT_IDENTIFIER) && !seq.ReadASN1ObjectIdentifier(&r.Policy) {
		return Request{}, malformed("reqPolicy")
	}
	var ok bool
	if seq.PeekASN1Tag(asn1.INTEGER) {
		if r.Nonce, ok = readInteger(&seq); !ok {
			return Request{}, malformed("nonce of at most 64 bytes")
		}
	}
	if r.Certificates, ok = readDefaultFalse(&seq); !ok {
		return Request{}, malformed("certReq")
	}
	if r.Extensions, ok = readExtensions(&seq, tagContext0); !ok || !seq.Empty() {
		return Request{}, malformed("extensions")
	}
	return r, nil
}

// readExtensions reads [n] IMPLICIT Extensions OPTIONAL and returns its contents.
func readExtensions(s *cryptobyte.String, tag asn1.Tag) ([]byte, bool) {
	var all, ext, v cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&all, &has, tag.Constructed()) || !has {
		return nil, !has
	}
	if all.Empty() { // SIZE (1..MAX), RFC 5280 §4.1
		return nil, false
	}
	for rest := all; !rest.Empty(); {
		if !rest.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&v, asn1.OBJECT_IDENTIFIER) {
			return nil, false
		}
		if _, ok := readDefaultFalse(&ext); !ok || !ext.ReadASN1(&v, asn1.OCTET_STRING) || !ext.Empty() {
			return nil, false
		}
	}
	return all, true
}

// jsonRequest is the form that Sigstore's timestamp authority also takes.
type jsonRequest struct {
	ArtifactHash  string         `json:"artifactHash"`
	HashAlgorithm string         `json:"hashAlgorithm"`
	Certificates  bool           `json:"certificates"`
	Nonce         jsontext.Value `json:"nonce"`
	TSAPolicyOID  string         `json:"tsaPolicyOID"`
}

// ParseJSONRequest reads Sigstore's JSON form of a request, of at most
// [MaxJSONRequest] bytes: artifactHash (base64), hashAlgorithm ("sha256"), and
// optionally certificates, nonce (an integer) and tsaPolicyOID. Unknown and
// repeated members are refused.
//
// Source: sigstore/timestamp-authority, POST /api/v1/timestamp.
func ParseJSONRequest(b []byte) (Request, error) {
	if len(b) > MaxJSONRequest {
		return Request{}, sigbox.Errorf(sigbox.TooLarge, "timestamp request of %d bytes: at most %d are read as JSON", len(b), MaxJSONRequest)
	}
	var j jsonRequest
	if err := json.Unmarshal(b, &j, json.RejectUnknownMembers(true)); err != nil {
		return Request{}, jsonerr.Of("timestamp request", err).WithHint("send {\"artifactHash\": base64, \"hashAlgorithm\": \"sha256\"}")
	}
	h, ok := sigbox.HashByName(strings.ToLower(j.HashAlgorithm))
	if !ok {
		return Request{}, sigbox.Mismatch(sigbox.Invalid, "timestamp request: hashAlgorithm is not supported", "sha256, sha384 or sha512", strconv.Quote(j.HashAlgorithm)).WithCause(BadAlgorithm)
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(j.ArtifactHash)
	if err != nil {
		return Request{}, sigbox.Errorf(sigbox.Invalid, "timestamp request: artifactHash is not base64").WithCause(BadDataFormat)
	}
	r := Request{Digest: sigbox.Digest{Algorithm: h, Value: sum}, Certificates: j.Certificates}
	if err := checkLength(r.Digest); err != nil {
		return Request{}, err
	}
	if r.Nonce, err = decimalNonce(j.Nonce); err != nil {
		return Request{}, err
	}
	r.Policy, err = parsePolicy(j.TSAPolicyOID)
	return r, err
}

// decimalNonce turns a JSON number into an INTEGER's contents. MaxJSONRequest
// bounds the work, which is quadratic in the number of digits.
func decimalNonce(v jsontext.Value) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	n, ok := new(big.Int).SetString(string(v), 10)
	if !ok || n.BitLen() >= 8*maxInteger {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp request: nonce is not an integer of at most %d bytes", maxInteger).WithCause(BadDataFormat)
	}
	var b cryptobyte.Builder
	b.AddASN1BigInt(n)
	der := cryptobyte.String(b.BytesOrPanic())
	contents, _ := readInteger(&der)
	return contents, nil
}

// parsePolicy reads a dotted object identifier; "" is none.
func parsePolicy(s string) (encoding.ObjectIdentifier, error) {
	if s == "" {
		return nil, nil
	}
	var oid encoding.ObjectIdentifier
	for arc := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(arc, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != arc {
			return nil, badPolicy(s)
		}
		oid = append(oid, int(n))
	}
	if !validPolicy(oid) {
		return nil, badPolicy(s)
	}
	return oid, nil
}

func badPolicy(s string) error {
	return sigbox.Errorf(sigbox.Invalid, "timestamp request: tsaPolicyOID %.60q is not an object identifier such as 1.3.6.1.4.1.57264.2", s).WithCause(UnacceptedPolicy)
}

// validPolicy reports whether oid can be encoded (X.690 §8.19).
func validPolicy(oid encoding.ObjectIdentifier) bool {
	return len(oid) >= 2 && oid[0] <= 2 && (oid[0] == 2 || oid[1] < 40) && oid[1] <= 1<<31-1-80
}

// Marshal writes r as DER. The digest must be valid.
func (r Request) Marshal() ([]byte, error) {
	if err := checkLength(r.Digest); err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddBytes(appendImprint(nil, r.imprint()))
		if r.Policy != nil {
			b.AddASN1ObjectIdentifier(r.Policy)
		}
		if r.Nonce != nil {
			b.AddBytes(appendTLV(nil, asn1.INTEGER, r.Nonce))
		}
		if r.Certificates {
			b.AddASN1Boolean(true)
		}
		if r.Extensions != nil {
			b.AddBytes(appendTLV(nil, tagContext0.Constructed(), r.Extensions))
		}
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp request cannot be encoded: %w", err)
	}
	return der, nil
}

func (r Request) imprint() imprint { return imprint{r.Digest, !r.bareHash} }
