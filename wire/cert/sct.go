package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/sigbox/sigbox"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The identifiers below are read and never written.
var (
	// oidPoison marks a precertificate, RFC 6962 §3.1.
	oidPoison = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
	// oidSCTList holds the embedded SCTs, RFC 6962 §3.3.
	oidSCTList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// maxSCTs bounds how many SCTs are read from a certificate.
const maxSCTs = 32

// SignatureAlgorithm is TLS's SignatureAndHashAlgorithm (RFC 5246 §7.4.1.4.1):
// the hash in the upper byte, the signature in the lower one.
type SignatureAlgorithm uint16

// The algorithms that CT logs sign with, RFC 6962 §2.1.4.
const (
	SHA256WithRSA   SignatureAlgorithm = 0x0401
	SHA256WithECDSA SignatureAlgorithm = 0x0403
)

// SCT is a signed certificate timestamp, version 1: a log's promise to show a
// certificate (RFC 6962 §3.2).
type SCT struct {
	// LogID is the SHA-256 of the log's SubjectPublicKeyInfo.
	LogID [sha256.Size]byte
	// Timestamp is in milliseconds since 1970.
	Timestamp uint64
	// Extensions is the CtExtensions field as it stands; see LeafIndex.
	Extensions []byte
	Algorithm  SignatureAlgorithm
	Signature  []byte
}

// ParseSCT reads an SCT in TLS encoding; the SCT keeps parts of b. Errors are of
// kind Invalid.
func ParseSCT(b []byte) (SCT, error) {
	var s SCT
	var version uint8
	in := cryptobyte.String(b)
	if !in.ReadUint8(&version) {
		return SCT{}, sigbox.Errorf(sigbox.Invalid, "SCT: empty")
	}
	if version != 0 { // v1(0)
		return SCT{}, sigbox.Mismatch(sigbox.Invalid, "SCT: unknown version", 0, version)
	}
	var exts, sig cryptobyte.String
	var alg uint16
	if !in.CopyBytes(s.LogID[:]) || !in.ReadUint64(&s.Timestamp) || !in.ReadUint16LengthPrefixed(&exts) ||
		!in.ReadUint16(&alg) || !in.ReadUint16LengthPrefixed(&sig) || !in.Empty() {
		return SCT{}, sigbox.Errorf(sigbox.Invalid, "SCT: expected the TLS encoding of RFC 6962 §3.2, found %d bytes that are too short, too long or cut", len(b))
	}
	s.Algorithm, s.Extensions, s.Signature = SignatureAlgorithm(alg), exts, sig
	return s, nil
}

// Marshal gives the TLS encoding. Extensions and Signature must be shorter than
// 64 KiB each.
func (s SCT) Marshal() ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 47+len(s.Extensions)+len(s.Signature)))
	b.AddUint8(0) // v1
	b.AddBytes(s.LogID[:])
	b.AddUint64(s.Timestamp)
	b.AddUint16LengthPrefixed(addBytes(s.Extensions))
	b.AddUint16(uint16(s.Algorithm))
	b.AddUint16LengthPrefixed(addBytes(s.Signature))
	out, err := b.Bytes()
	if err != nil {
		return nil, sigbox.Errorf(sigbox.TooLarge, "SCT: extensions or signature of 64 KiB or more").WithCause(err)
	}
	return out, nil
}

// DigitallySigned gives the signature as a TLS digitally-signed struct (RFC 5246
// §4.7), which is what add-chain answers. The signature must be shorter than
// 64 KiB.
func (s SCT) DigitallySigned() []byte {
	n := len(s.Signature)
	b := append(make([]byte, 0, 4+n), byte(s.Algorithm>>8), byte(s.Algorithm), byte(n>>8), byte(n))
	return append(b, s.Signature...)
}

// leafIndexExtension is the extension type of static-ct-api's leaf_index.
const leafIndexExtension = 0

// maxLeafIndex is the greatest index that leaf_index can hold: 40 bits.
const maxLeafIndex = 1<<40 - 1

// LeafIndexExtension gives the CtExtensions that name an entry's index in a log
// of the static-ct-api. Indexes go up to 2^40-1, about a million million.
func LeafIndexExtension(index uint64) ([]byte, error) {
	if index > maxLeafIndex {
		return nil, sigbox.Errorf(sigbox.Invalid, "leaf index %d: an SCT can name indexes below 2^40", index)
	}
	return []byte{leafIndexExtension, 0, 5,
		byte(index >> 32), byte(index >> 24), byte(index >> 16), byte(index >> 8), byte(index)}, nil
}

// LeafIndex reads the leaf_index extension of a log of the static-ct-api, and
// reports whether there is one. Broken or repeated extensions give an error of
// kind Invalid.
func (s SCT) LeafIndex() (index uint64, ok bool, err error) {
	in := cryptobyte.String(s.Extensions)
	var seen [256]bool
	for !in.Empty() {
		var kind uint8
		var data cryptobyte.String
		if !in.ReadUint8(&kind) || !in.ReadUint16LengthPrefixed(&data) || seen[kind] {
			return 0, false, sigbox.Errorf(sigbox.Invalid, "SCT: its extensions are broken or repeated")
		}
		seen[kind] = true
		if kind != leafIndexExtension {
			continue
		}
		if len(data) != 5 {
			return 0, false, sigbox.Mismatch(sigbox.Invalid, "SCT: length of leaf_index", 5, len(data))
		}
		index, ok = uint64(data[0])<<32|uint64(data[1])<<24|uint64(data[2])<<16|uint64(data[3])<<8|uint64(data[4]), true
	}
	return index, ok, nil
}

// SCTList reads the SCTs embedded in a certificate; none is no error. At most 32
// are read. Errors are of kind Invalid or TooLarge.
func SCTList(c *x509.Certificate) ([]SCT, error) {
	var scts []SCT
	found := false
	for _, ext := range c.Extensions {
		if !ext.Id.Equal(oidSCTList) {
			continue
		}
		if found {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate: more than one SCT list")
		}
		found = true
		var err error
		if scts, err = parseSCTList(ext.Value); err != nil {
			return nil, err
		}
	}
	return scts, nil
}

// parseSCTList reads the extension's value: an OCTET STRING with a TLS vector of
// TLS vectors (RFC 6962 §3.3). An empty list is not allowed there.
func parseSCTList(value []byte) ([]SCT, error) {
	var octets, list cryptobyte.String
	in := cryptobyte.String(value)
	if !in.ReadASN1(&octets, cbasn1.OCTET_STRING) || !in.Empty() ||
		!octets.ReadUint16LengthPrefixed(&list) || !octets.Empty() || list.Empty() {
		return nil, sigbox.Errorf(sigbox.Invalid, "certificate: its SCT list is broken or empty")
	}
	scts := make([]SCT, 0, 1)
	for !list.Empty() {
		if len(scts) == maxSCTs {
			return nil, sigbox.Errorf(sigbox.TooLarge, "certificate: more than %d SCTs", maxSCTs)
		}
		var one cryptobyte.String
		if !list.ReadUint16LengthPrefixed(&one) {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate: its SCT list is cut")
		}
		s, err := ParseSCT(one)
		if err != nil {
			return nil, err
		}
		scts = append(scts, s)
	}
	return scts, nil
}

// SCTListExtension gives the certificate extension that embeds SCTs, each in TLS
// encoding. There must be at least one.
func SCTListExtension(scts ...[]byte) (pkix.Extension, error) {
	if len(scts) == 0 || len(scts) > maxSCTs {
		return pkix.Extension{}, sigbox.Errorf(sigbox.Invalid, "certificate: expected 1 to %d SCTs to embed, found %d", maxSCTs, len(scts))
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, s := range scts {
				b.AddUint16LengthPrefixed(addBytes(s))
			}
		})
	})
	value, err := b.Bytes()
	if err != nil {
		return pkix.Extension{}, sigbox.Errorf(sigbox.TooLarge, "certificate: SCTs of 64 KiB or more").WithCause(err)
	}
	return pkix.Extension{Id: oidSCTList, Value: value}, nil
}

// SCTInput gives the bytes that a log signs for a precertificate (RFC 6962
// §3.2): those of [Entry.MerkleTreeLeaf], as both begin with two zero bytes.
// The issuer's key hash is the SHA-256 of its SubjectPublicKeyInfo, tbs the
// certificate's TBS without poison and SCT list, as [PrecertTBS] gives it.
func SCTInput(s SCT, issuerKeyHash [sha256.Size]byte, tbs []byte) []byte {
	return Entry{
		Timestamp: s.Timestamp, Precert: true, Certificate: tbs,
		IssuerKeyHash: issuerKeyHash, Extensions: s.Extensions,
	}.MerkleTreeLeaf()
}

// VerifySCT checks that a log's key signed s for a certificate: the precertificate
// or the one with the SCT embedded, DER, and its issuer's SubjectPublicKeyInfo.
// When the SCT was made, and whether its log is trusted then, is the caller's to
// judge. The error is of kind NotVerified for a wrong signature or another log's
// key, Invalid for input that cannot be judged.
func VerifySCT(s SCT, leafDER, issuerSPKI []byte, logKey crypto.PublicKey) error {
	var room [4096]byte // for what most certificates need, so that it is not allocated
	input, err := appendInput(room[:0], s, leafDER, sha256.Sum256(issuerSPKI))
	if err != nil {
		return err
	}
	return VerifyLogSignature(logKey, s.Algorithm, input, s.Signature)
}

// appendInput appends [SCTInput] of a certificate's [PrecertTBS].
func appendInput(dst []byte, s SCT, leafDER []byte, issuerKeyHash [sha256.Size]byte) ([]byte, error) {
	t, err := splitTBS(leafDER)
	if err != nil {
		return nil, err
	}
	dst = append(dst, 0, 0)
	dst = Entry{Timestamp: s.Timestamp, Precert: true, IssuerKeyHash: issuerKeyHash}.appendHead(dst)
	at := len(dst)
	dst = t.append(append(dst, 0, 0, 0))
	n := len(dst) - at - 3
	dst[at], dst[at+1], dst[at+2] = byte(n>>16), byte(n>>8), byte(n)
	return appendVector16(dst, s.Extensions), nil
}

// VerifyLogSignature checks a CT log's signature over input, SHA-256 with ECDSA
// or RSA (RFC 6962 §2.1.4).
func VerifyLogSignature(key crypto.PublicKey, alg SignatureAlgorithm, input, sig []byte) error {
	digest := sha256.Sum256(input)
	ok := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if alg != SHA256WithECDSA {
			return algorithmMismatch(SHA256WithECDSA, alg)
		}
		ok = ecdsa.VerifyASN1(k, digest[:], sig)
	case *rsa.PublicKey:
		if alg != SHA256WithRSA {
			return algorithmMismatch(SHA256WithRSA, alg)
		}
		if bits := k.N.BitLen(); bits < 2048 || bits > sigbox.MaxRSABits {
			return sigbox.Errorf(sigbox.Invalid, "CT log key: expected RSA of 2048 to %d bits, found %d", sigbox.MaxRSABits, bits)
		}
		ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig) == nil
	default:
		return sigbox.Errorf(sigbox.Invalid, "CT log key: expected ECDSA or RSA, found a key %s", sigbox.DescribeKey(key))
	}
	if !ok {
		return sigbox.Errorf(sigbox.NotVerified, "the signature of the CT log does not verify")
	}
	return nil
}

func algorithmMismatch(want, got SignatureAlgorithm) error {
	return sigbox.Errorf(sigbox.NotVerified, "signature of the CT log: its key calls for algorithm %#04x, found %#04x", uint16(want), uint16(got))
}

// LogID gives the ID of a CT log: the SHA-256 of its SubjectPublicKeyInfo.
func LogID(pub crypto.PublicKey) ([sha256.Size]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return [sha256.Size]byte{}, sigbox.Errorf(sigbox.Invalid, "CT log key: %w", err)
	}
	return sha256.Sum256(spki), nil
}

func addBytes(v []byte) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddBytes(v) }
}
