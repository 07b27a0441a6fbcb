package note

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"github.com/sigbox/sigbox"
)

// TreeHead is what a certificate log's signature line carries beside the
// checkpoint: RFC6962NoteSignature of static-ct-api, Checkpoints.
type TreeHead struct {
	// Time is the tree head's timestamp, to the millisecond.
	Time time.Time
	// Signature is an ASN.1 ECDSA signature.
	Signature []byte
}

// TLS identifiers of SHA-256 and ECDSA in a digitally-signed struct (RFC 5246
// §7.4.1.4.1).
const (
	tlsSHA256 = 4
	tlsECDSA  = 3
)

// ParseTreeHead reads the Bytes of a certificate log's [Signature].
func ParseTreeHead(b []byte) (TreeHead, error) {
	if len(b) < 12 || b[8] != tlsSHA256 || b[9] != tlsECDSA || len(b) != 12+int(binary.BigEndian.Uint16(b[10:])) {
		return TreeHead{}, sigbox.Errorf(sigbox.Invalid, "tree head: expected a timestamp and an ECDSA signature with SHA-256 (RFC 6962 §3.5)")
	}
	ms := binary.BigEndian.Uint64(b)
	if ms > math.MaxInt64 {
		return TreeHead{}, sigbox.Errorf(sigbox.Invalid, "tree head: the timestamp %d is out of range", ms)
	}
	return TreeHead{time.UnixMilli(int64(ms)).UTC(), b[12:]}, nil
}

func (t TreeHead) millis() uint64 { return uint64(t.Time.UnixMilli()) } // #nosec G115 -- after 1970

// append writes t as ParseTreeHead reads it.
func (t TreeHead) append(dst []byte) []byte {
	return t.AppendSigned(binary.BigEndian.AppendUint64(dst, t.millis()))
}

// AppendSigned appends the signature as a TLS digitally-signed struct, which is
// tree_head_signature of get-sth (RFC 6962 §4.3).
func (t TreeHead) AppendSigned(dst []byte) []byte {
	dst = append(dst, tlsSHA256, tlsECDSA)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Signature))) // #nosec G115 -- an ECDSA signature is short
	return append(dst, t.Signature...)
}

// digest hashes the TreeHeadSignature input (RFC 6962 §3.5): version v1 and
// signature type tree_hash, then time, size and root.
func (t TreeHead) digest(cp sigbox.Checkpoint) [sha256.Size]byte {
	b := make([]byte, 0, 2+8+8+sha256.Size)
	b = append(b, 0, 1)
	b = binary.BigEndian.AppendUint64(b, t.millis())
	b = binary.BigEndian.AppendUint64(b, cp.Size)
	return sha256.Sum256(append(b, cp.Root[:]...))
}
