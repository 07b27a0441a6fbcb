// Package entry has the formats of Rekor, the transparency log of signatures:
// what a client posts, the leaf that is logged, the answer, and the bodies of
// old and new entries that a verifier binds against.
//
// A request becomes a [sigbox.Entry], and an entry has exactly one leaf:
//
//	e, err := entry.ParseRequest(body) // the shape
//	leaf, err := entry.Leaf(e)         // canonical, RFC 8785
//	err = entry.Verify(e)              // the key and the signature
//
// Sources: rekor-v2-spec.md and rekor-spec.md of sigstore/architecture-docs;
// sigstore_rekor.proto and rekor/v2/*.proto of sigstore/protobuf-specs; the
// JSON schemas of sigstore/rekor for the v1 kinds.
package entry

// Bounds on what is read and written, in bytes unless said otherwise.
const (
	// MaxLeafSize is the largest leaf: entry bundles give each leaf a uint16
	// length (C2SP tlog-tiles, "Log entries").
	MaxLeafSize = 1<<16 - 1
	// MaxRequestSize is the largest request that [ParseRequest] reads. Only an
	// envelope's payload, of which the hash alone is logged, comes near it.
	MaxRequestSize = 4 << 20
	// MaxProposalSize is the largest entry that [ParseProposal] reads, and the
	// largest question that [ParseQuery] does. An intoto payload in it is encoded
	// twice.
	MaxProposalSize = 8 << 20
	// MaxQueries is how many entries [ParseQuery] lets one ask for at once.
	MaxQueries = 10
	// MaxLogEntrySize is the largest answer that [ParseLogEntry] reads.
	MaxLogEntrySize = 8 << 20
	// MaxBodySize is the largest body that [ParseBody] reads: an intoto 0.0.2
	// entry may hold a whole payload, encoded twice.
	MaxBodySize = 16 << 20

	maxCheckpointSize = 64 << 10
	usualHashes       = 8  // to begin with
	maxProofHashes    = 64 // a path in a tree of 2^63 leaves has 63
	maxSignatures     = 32 // of one entry
	maxCertificates   = 10 // PEM blocks of one verifier
	maxTimestamp      = 10 << 10
	maxPayloadType    = 1024
	maxKeyID          = 1024
	maxTilePath       = 64 // x999/ five times, and 999.p/255
	// maxProposedSignatures bounds the signatures of an envelope to be logged, and
	// their verifiers. Each of the one may be checked with each of the other.
	maxProposedSignatures = 10
	// maxChecks bounds what a proposal or a query costs, in signature checks, chains
	// included. An entry as clients make it has one, and two or three of its chain.
	maxChecks = 128
	// hashedPerCheck is about as much as is hashed in the time of a check.
	hashedPerCheck = 256 << 10
)

// The kinds and versions of entries, as they stand in leaves.
const (
	KindHashedRekord = "hashedrekord"
	KindDSSE         = "dsse"
	KindInToto       = "intoto"
	KindRFC3161      = "rfc3161"

	Version001 = "0.0.1"
	Version002 = "0.0.2"
)
