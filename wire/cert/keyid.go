package cert

import (
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// KeyIDSize is the size of a subject key identifier, in bytes.
const KeyIDSize = 20

// SubjectKeyID gives the subject key identifier of a DER SubjectPublicKeyInfo by method
// 1 of RFC 7093 §2: the first 160 bits of the SHA-256 of the key's bits. Errors: Invalid.
func SubjectKeyID(spki []byte) ([]byte, error) {
	var content, algorithm, bits cryptobyte.String
	in := cryptobyte.String(spki)
	var unused uint8
	if !in.ReadASN1(&content, cbasn1.SEQUENCE) || !content.ReadASN1(&algorithm, cbasn1.SEQUENCE) ||
		!content.ReadASN1(&bits, cbasn1.BIT_STRING) || !bits.ReadUint8(&unused) {
		return nil, sigbox.Errorf(sigbox.Invalid, "subject key identifier: expected a SubjectPublicKeyInfo (RFC 5280 §4.1)")
	}
	sum := sha256.Sum256(bits)
	return sum[:KeyIDSize], nil
}
