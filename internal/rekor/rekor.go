// Package rekor is the transparency log of signatures with Rekor v2's rules: an
// entry is a hashedrekord 0.0.2, its leaf is canonical JSON, the log's name is a
// hostname, and the checkpoint of the very batch that logged an entry proves it.
//
// The service decides what is logged; package tlog does the logging.
//
// Source: rekor-v2-spec.md of sigstore/architecture-docs.
package rekor

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// Config is what the service needs. Log and Signer are required.
type Config struct {
	// Log is the log, with length-prefixed entries as tlog-tiles has them. Whoever
	// opened it closes it. Its origin is the signer's name.
	Log *tlog.Log
	// Signer is the first of Log's signers. Its name is the log's hostname, which
	// is the log's identity for clients and never changes.
	Signer *note.Signer
	// Since is when the log began: verifiers trust its key from then on.
	Since time.Time
	// Operator says who runs the log; may be empty.
	Operator string
	// Rows, if not nil, gives what tlog.Leaf.Rows is to be for an entry; there is no
	// payload to it.
	Rows func(b *entry.Body, payload []byte) func(index uint64) []store.Pair
}

// LogConfig gives what is particular to a Rekor v2 log in the engine's
// configuration. What is left to set is KV, Blob and what the engine has defaults
// for.
func LogConfig(signer *note.Signer) tlog.Config {
	return tlog.Config{Origin: signer.Name(), Signers: []*note.Signer{signer}, KeyOf: keyOf}
}

// keyOf gives the key that a leaf was added with.
func keyOf(leaf []byte) ([32]byte, error) { return sha256.Sum256(leaf), nil }

// CheckLeaf checks a leaf of the log by itself, as the log did before it took it.
// signed says that the signature is good, which is so of every leaf without error.
func CheckLeaf(leaf []byte) (signed bool, err error) {
	b, signed, err := entry.VerifyLogged(leaf)
	if err == nil && (b.Kind != entry.KindHashedRekord || b.Version != entry.Version002) {
		return false, sigbox.Mismatch(sigbox.Invalid, "kind of the entry", "hashedrekord 0.0.2", b.Kind+" "+b.Version)
	}
	return signed, err
}

// Service is a Rekor v2 log. It is safe for concurrent use.
type Service struct {
	cfg   Config
	logID []byte
	trust sigbox.TransparencyLog
}

var _ sigbox.Log = (*Service)(nil)

// New makes the service over an open log.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil || cfg.Signer == nil {
		return nil, sigbox.Errorf(sigbox.Internal, "a transparency log needs a log and its signer")
	}
	trust, err := trusted(cfg)
	if err != nil {
		return nil, err
	}
	return &Service{cfg, cfg.Signer.LogID(), trust}, nil
}

// trusted gives what verifiers need to know of the log. The base URL is the
// hostname as a URL, whatever address the log is reached at: clients take the
// checkpoint's origin from it.
func trusted(cfg Config) (sigbox.TransparencyLog, error) {
	pub := cfg.Signer.Public()
	details, err := sigbox.DetailsOf(pub)
	if err != nil {
		return sigbox.TransparencyLog{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return sigbox.TransparencyLog{}, sigbox.Errorf(sigbox.Internal, "transparency log's key: %w", err)
	}
	return sigbox.TransparencyLog{
		BaseURL: "https://" + cfg.Signer.Name(), Operator: cfg.Operator,
		HashAlgorithm: sigbox.SHA256, PublicKey: der, Details: details,
		ValidFor: sigbox.TimeRange{Start: cfg.Since}, LogID: cfg.Signer.LogID(),
	}, nil
}

// TransparencyLog is the log's place in a trust root.
func (s *Service) TransparencyLog() sigbox.TransparencyLog { return s.trust }

// Add logs e and returns it with its proof once it is durable. An entry that was
// logged before gets its first index and a fresh proof, and its signature is not
// checked again: the leaf holds the signature, so that a leaf in the log is one
// whose signature was found good.
//
// Errors are of kind Invalid or NotVerified for the entry, Frozen for a log that is
// sealed, Unavailable when it is overloaded, and Fatal when it has stopped.
func (s *Service) Add(ctx context.Context, e sigbox.Entry) (sigbox.LogEntry, error) {
	leaf, err := entry.Leaf(e)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	r, err := s.cfg.Log.Add(ctx, s.leaf(leaf, e))
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	return s.logEntry(&r), nil
}

// leaf gives what the engine logs for an entry.
func (s *Service) leaf(leaf []byte, e sigbox.Entry) tlog.Leaf {
	l := tlog.Leaf{Key: sha256.Sum256(leaf), Data: leaf, Check: func() error { return entry.Verify(e) }}
	if s.cfg.Rows == nil {
		return l
	}
	var rows func(uint64) []store.Pair // made by Check, before the leaf is queued
	l.Check = func() error {
		if err := entry.Verify(e); err != nil {
			return err
		}
		rows = s.cfg.Rows(&entry.Body{
			Kind: entry.KindHashedRekord, Version: entry.Version002, Digest: e.Digest,
			Signatures: []entry.BodySignature{{Signature: e.Signature, PublicKey: e.PublicKey, Certificate: e.Certificate, Details: e.Details}},
		}, nil)
		return nil
	}
	l.Rows = func(index uint64) []store.Pair { return rows(index) }
	return l
}

// ByIndex finds the entry with an index, and proves it. The error is of kind
// NotFound beyond the end.
func (s *Service) ByIndex(ctx context.Context, index uint64) (sigbox.LogEntry, error) {
	h := s.cfg.Log.Head()
	body, at, err := s.cfg.Log.Entry(ctx, index)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	proof, err := s.cfg.Log.Inclusion(ctx, index, h.Size)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	return s.logEntry(&tlog.Receipt{Index: index, Time: at, Size: h.Size, Root: h.Root, Proof: proof, Checkpoint: h.Checkpoint, Entry: body}), nil
}

// logEntry gives a receipt the form of an answer: the log states no time (v2),
// and its ID is the whole key-ID hash.
func (s *Service) logEntry(r *tlog.Receipt) sigbox.LogEntry {
	hashes := make([][]byte, len(r.Proof))
	for i := range r.Proof {
		hashes[i] = r.Proof[i][:]
	}
	index, size := int64(r.Index), int64(r.Size) // #nosec G115 -- the engine's sizes stay below 2^62
	return sigbox.LogEntry{
		LogIndex: index, LogID: s.logID, Kind: entry.KindHashedRekord, Version: entry.Version002, Body: r.Entry,
		Inclusion: &sigbox.Inclusion{LogIndex: index, TreeSize: size, RootHash: r.Root[:], Hashes: hashes, Checkpoint: r.Checkpoint},
	}
}

// Checkpoint gives the signed note of the latest tree.
func (s *Service) Checkpoint() string { return s.cfg.Log.Head().Checkpoint }

// Tile gives a tile of hashes, of width 1 to 256, as C2SP tlog-tiles serves it.
// The error is of kind NotFound beyond the tree.
func (s *Service) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	return s.cfg.Log.Tile(ctx, level, index, width)
}

// Entries gives an entry bundle, of width 1 to 256, as C2SP tlog-tiles serves it.
// The error is of kind NotFound beyond the tree.
func (s *Service) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	return s.cfg.Log.Entries(ctx, index, width)
}
