package sigbox

import "crypto/sha256"

// Entry is what goes into a transparency log: a signature over a digest and the
// key or certificate that verifies it (Rekor's hashedrekord).
type Entry struct {
	// Digest is what was signed; its algorithm follows from Details.
	Digest Digest
	// Signature is the raw signature (ASN.1 DER for ECDSA).
	Signature []byte
	// PublicKey is a DER SubjectPublicKeyInfo, Certificate a DER certificate;
	// exactly one of them is set.
	PublicKey   []byte
	Certificate []byte
	// Details names the algorithm.
	Details KeyDetails
}

// LogEntry is a log's answer: what was logged and the proof of it. On the wire it
// is a TransparencyLogEntry (protobuf-specs, sigstore_rekor.proto).
type LogEntry struct {
	LogIndex int64
	// LogID is the key ID of the log: SHA-256 of the SPKI for a v1 log, the full
	// 32-byte C2SP key-ID hash for a v2 log.
	LogID         []byte
	Kind, Version string
	// IntegratedTime is seconds since 1970, 0 when the log states none (v2).
	// It is only to be believed under a valid SignedEntryTimestamp.
	IntegratedTime int64
	// SignedEntryTimestamp is v1's inclusion promise, or nil.
	SignedEntryTimestamp []byte
	// Inclusion is nil in old bundles that carry a promise alone.
	Inclusion *Inclusion
	// Body is the canonical leaf.
	Body []byte
}

// MaxTreeSize bounds the tree of an inclusion proof: beyond it the arithmetic of
// proofs leaves int64, and some of it never ends.
const MaxTreeSize int64 = 1 << 62

// Inclusion proves that a leaf is in a tree (RFC 6962 §2.1.1).
type Inclusion struct {
	LogIndex, TreeSize int64
	RootHash           []byte
	Hashes             [][]byte
	// Checkpoint is the signed note that commits to RootHash, as text.
	Checkpoint string
}

// Checkpoint commits to a log's whole content (C2SP tlog-checkpoint).
type Checkpoint struct {
	// Origin names the log; it is the first line of the note.
	Origin string
	Size   uint64
	Root   [sha256.Size]byte
	// Extensions are further lines of the note, without line ends.
	Extensions []string
}
