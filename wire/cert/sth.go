package cert

import (
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
)

// noteSignatureType marks a signed tree head among the signatures of a note
// (static-ct-api, "Checkpoints").
const noteSignatureType = 0x05

// TreeHeadInput gives the bytes that a log signs for its tree head (RFC 6962
// §3.5). The timestamp is in milliseconds since 1970.
func TreeHeadInput(timestamp, size uint64, root [sha256.Size]byte) []byte {
	dst := make([]byte, 2, 2+8+8+sha256.Size)
	dst[1] = 1 // version v1(0), signature_type tree_hash(1)
	dst = appendUint64(dst, timestamp)
	dst = appendUint64(dst, size)
	return append(dst, root[:]...)
}

// DigitallySigned gives the TLS encoding of a log's signature, as get-sth and
// add-chain answer it (RFC 5246 §4.7).
func DigitallySigned(alg SignatureAlgorithm, sig []byte) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 4+len(sig)))
	b.AddUint16(uint16(alg))
	b.AddUint16LengthPrefixed(addBytes(sig))
	return b.Bytes()
}

// NoteSignature gives the signature of a checkpoint that carries a signed tree
// head: four bytes of key ID, the timestamp, and the log's signature (a TLS
// DigitallySigned) of its tree head (static-ct-api, "Checkpoints").
func NoteSignature(name string, logID [sha256.Size]byte, timestamp uint64, signed []byte) []byte {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{'\n', noteSignatureType})
	h.Write(logID[:])
	sig := h.Sum(nil)[:4]
	sig = appendUint64(sig, timestamp)
	return append(sig, signed...)
}
