// Package rekor1 is the transparency log of signatures with Rekor v1's rules: what
// is proposed is verified and logged as canonical JSON, the log promises it with a
// signed entry timestamp, and entries go by the hash of their leaf.
//
//	cfg, err := rekor1.LogConfig("v1.log.example.com", key)
//	cfg.KV, cfg.Blob = …
//	log, err := tlog.Open(ctx, cfg)
//	service, err := rekor1.New(rekor1.Config{Log: log, Key: key, Host: "v1.log.example.com"})
//
// It is a tree of its own, with a key of its own, beside that of Rekor v2: v1
// clients take a checkpoint with one ECDSA signature and no other.
//
// Source: rekor-spec.md of sigstore/architecture-docs; openapi.yaml of
// sigstore/rekor.
package rekor1

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// Config is what the service needs. Log, Key and Host are required.
type Config struct {
	// Log is the log, opened with what LogConfig gives. Whoever opened it closes it.
	Log *tlog.Log
	// Key signs the promises, the same as LogConfig's.
	Key crypto.Signer
	// Host is the log's name, the same as LogConfig's.
	Host string
	// Since is when the log began: verifiers trust its key from then on.
	Since time.Time
	// Operator says who runs the log; may be empty.
	Operator string
	// Rows, if not nil, gives what tlog.Leaf.Rows is to be for an entry; the payload
	// is that of its envelope. RowBytes bounds what they take, for tlog.Leaf.RowBytes.
	Rows     func(b *entry.Body, payload []byte) func(index uint64) []store.Pair
	RowBytes func(payload []byte) int
	// Rand is for the promises' signatures. nil has a key in memory sign without
	// randomness (RFC 6979), so that an entry's promise is always the same.
	Rand io.Reader
}

// LogConfig gives what is particular to a v1 log in the engine's configuration. The
// origin of its checkpoints is the host and the tree's ID, the signer's name the
// host alone; neither must ever change. The key is of ECDSA P-256. What is left to
// set is KV, Blob and what the engine has defaults for.
func LogConfig(host string, key crypto.Signer) (tlog.Config, error) {
	if err := checkKey(key); err != nil {
		return tlog.Config{}, err
	}
	signer, err := note.NewSigner(host, key)
	if err != nil {
		return tlog.Config{}, err
	}
	origin := fmt.Sprintf("%s - %d", host, treeID(signer.LogID()))
	return tlog.Config{Origin: origin, Signers: []*note.Signer{signer}, KeyOf: tlog.LeafKey}, nil
}

func checkKey(key crypto.Signer) error {
	if key != nil {
		if pub, ok := key.Public().(*ecdsa.PublicKey); ok && pub.Curve == elliptic.P256() {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "the v1 log's key: expected ECDSA P-256")
}

// treeID gives the ID of the tree that a key signs: 63 bits of the log ID, never 0.
// Rekor draws it at random; this one needs no place to be kept in.
func treeID(logID []byte) uint64 { return binary.BigEndian.Uint64(logID)>>1 | 1 }

// CheckLeaf checks a leaf of the log by itself, as far as it shows what the log
// checked before it took it. signed says that all signatures are good; of an
// envelope the log holds the hash alone, and its signatures cannot be checked again.
func CheckLeaf(leaf []byte) (signed bool, err error) {
	b, signed, err := entry.VerifyLogged(leaf)
	switch {
	case err != nil:
		return false, err
	case b.Kind == entry.KindRFC3161:
		err = timestamp.CheckSigned(b.Timestamp)
		return err == nil, err
	case b.Version == entry.Version001 && b.Kind != entry.KindInToto, b.Version == entry.Version002 && b.Kind == entry.KindInToto:
		return signed, nil
	}
	return false, sigbox.Errorf(sigbox.Invalid, "an entry of kind %s %s: a v1 log does not take them", b.Kind, b.Version)
}

// Service is a Rekor v1 log. It is safe for concurrent use.
type Service struct {
	cfg  Config
	tree uint64
	// before is how many entries the shards before this one have: the log counts on.
	before atomic.Uint64
	trust  sigbox.TransparencyLog
	pem    []byte
}

// New makes the service over an open log.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil || cfg.Host == "" {
		return nil, sigbox.Errorf(sigbox.Internal, "a v1 log needs a log and its host")
	}
	if err := checkKey(cfg.Key); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(cfg.Key.Public())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "v1 log's key: %w", err)
	}
	id := sha256.Sum256(der)
	return &Service{
		cfg: cfg, tree: treeID(id[:]), pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		trust: sigbox.TransparencyLog{
			BaseURL: "https://" + cfg.Host, Operator: cfg.Operator, HashAlgorithm: sigbox.SHA256,
			PublicKey: der, Details: sigbox.ECDSAP256SHA256, ValidFor: sigbox.TimeRange{Start: cfg.Since}, LogID: id[:],
		},
	}, nil
}

// TransparencyLog is the log's place in a trust root. The base URL is its host as a
// URL, whatever address it is reached at.
func (s *Service) TransparencyLog() sigbox.TransparencyLog { return s.trust }

// Entry is an entry with its promise and its proof.
type Entry struct {
	ID entry.ID
	sigbox.LogEntry
}

// Add logs p and returns the entry with its proof once it is durable. When the log
// had it before, added is false and of the entry the ID alone is there.
//
// Errors are of kind Invalid or NotVerified for the entry, Frozen for a log that is
// sealed, Unavailable when it is overloaded, and Fatal when it has stopped.
func (s *Service) Add(ctx context.Context, p *entry.Proposal) (e Entry, added bool, err error) {
	r, err := s.cfg.Log.Add(ctx, s.leaf(p))
	if err != nil {
		return Entry{}, false, err
	}
	if r.Existing {
		return Entry{ID: s.id(r.Entry)}, false, nil
	}
	e, err = s.entry(&r)
	return e, true, err
}

// leaf gives what the engine logs for a proposal.
func (s *Service) leaf(p *entry.Proposal) tlog.Leaf {
	l := tlog.Leaf{Data: p.Leaf(), Check: func() error { return verify(p) }}
	if s.cfg.Rows == nil {
		return l
	}
	if s.cfg.RowBytes != nil {
		l.RowBytes = s.cfg.RowBytes(p.Payload)
	}
	var rows func(uint64) []store.Pair // made by Check, before the leaf is queued
	l.Check = func() error {
		if err := verify(p); err != nil {
			return err
		}
		rows = s.cfg.Rows(&p.Body, p.Payload)
		return nil
	}
	l.Rows = func(index uint64) []store.Pair { return rows(index) }
	return l
}

// verify checks what a proposal's signatures are worth, dear as it is.
func verify(p *entry.Proposal) error {
	if p.Kind != entry.KindRFC3161 {
		return p.Verify()
	}
	err := timestamp.CheckSigned(p.Timestamp)
	if sigbox.KindOf(err) == sigbox.Denied { // by the authority, not by the log
		return sigbox.Errorf(sigbox.Invalid, "%w", err)
	}
	return err
}

func (s *Service) id(leaf []byte) entry.ID { return entry.ID{Tree: s.tree, Leaf: tlog.LeafHash(leaf)} }

// entry gives a receipt the form of an answer. The promise is made anew each time:
// keeping it would cost more.
func (s *Service) entry(r *tlog.Receipt) (Entry, error) {
	hashes := make([][]byte, len(r.Proof))
	for i := range r.Proof {
		hashes[i] = r.Proof[i][:]
	}
	index, size := int64(r.Index), int64(r.Size) // #nosec G115 -- the engine's sizes stay below 2^62
	counted := int64(s.before.Load() + r.Index)  // #nosec G115 -- so do their sums
	e := Entry{s.id(r.Entry), sigbox.LogEntry{
		LogIndex: counted, LogID: s.trust.LogID, IntegratedTime: r.Time.Unix(), Body: r.Entry,
		Inclusion: &sigbox.Inclusion{LogIndex: index, TreeSize: size, RootHash: r.Root[:], Hashes: hashes, Checkpoint: r.Checkpoint},
	}}
	digest := sha256.Sum256(entry.SETPayload(&e.LogEntry))
	var err error
	if e.SignedEntryTimestamp, err = s.cfg.Key.Sign(s.cfg.Rand, digest[:], crypto.SHA256); err != nil {
		return Entry{}, sigbox.Errorf(sigbox.KindOf(err), "the log's key does not sign the entry's timestamp").WithCause(err)
	}
	return e, nil
}

// ByIndex finds the entry with an index in the tree. The error is of kind NotFound beyond
// the end.
func (s *Service) ByIndex(ctx context.Context, i uint64) (Entry, error) {
	h := s.cfg.Log.Head()
	body, at, err := s.cfg.Log.Entry(ctx, i)
	if err != nil {
		return Entry{}, err
	}
	proof, err := s.cfg.Log.Inclusion(ctx, i, h.Size)
	if err != nil {
		return Entry{}, err
	}
	return s.entry(&tlog.Receipt{Index: i, Time: at, Size: h.Size, Root: h.Root, Proof: proof, Checkpoint: h.Checkpoint, Entry: body})
}

// ByID finds the entry that an ID names. The error is of kind NotFound when there is
// none, or when it names another tree.
func (s *Service) ByID(ctx context.Context, id entry.ID) (Entry, error) {
	if id.Tree != 0 && id.Tree != s.tree {
		return Entry{}, sigbox.Errorf(sigbox.NotFound, "entry %s is of another tree than %d", id, s.tree)
	}
	r, found, err := s.cfg.Log.Lookup(ctx, id.Leaf)
	if err != nil {
		return Entry{}, err
	}
	if !found {
		return Entry{}, sigbox.Errorf(sigbox.NotFound, "the log has no entry %s", id)
	}
	return s.entry(&r)
}

// Info is the state of a shard.
type Info struct {
	Tree       uint64
	Size       uint64
	Root       tlog.Hash
	Checkpoint string
}

// Info gives the state of the log.
func (s *Service) Info() Info {
	h := s.cfg.Log.Head()
	return Info{s.tree, h.Size, h.Root, h.Checkpoint}
}

// Consistency is a proof that the tree with a root hash has a smaller one as its
// beginning (RFC 6962 §2.1.2).
type Consistency struct {
	Root   tlog.Hash
	Hashes []tlog.Hash
}

// Consistency proves that the tree of size last begins with that of size first. Errors
// are of kind Invalid for sizes that the log does not have.
func (s *Service) Consistency(ctx context.Context, first, last uint64) (c Consistency, err error) {
	size := s.cfg.Log.Head().Size
	switch {
	case first < 1 || first > last:
		return c, sigbox.Errorf(sigbox.Invalid, "firstSize(%d) must be at least 1 and not greater than lastSize(%d)", first, last)
	case last > size:
		return c, sigbox.Errorf(sigbox.Invalid, "the tree size requested(%d) was greater than what is currently observable(%d)", last, size)
	}
	if c.Root, err = s.cfg.Log.Root(ctx, last); err == nil {
		c.Hashes, err = s.cfg.Log.Consistency(ctx, first, last)
	}
	return c, err
}

// PublicKey gives the log's key, a SubjectPublicKeyInfo in PEM.
func (s *Service) PublicKey() []byte { return s.pem }

// Checkpoint gives the signed note of the latest tree.
func (s *Service) Checkpoint() string { return s.cfg.Log.Head().Checkpoint }

// Tile gives a tile of hashes, of width 1 to 256, as C2SP tlog-tiles serves it. The
// error is of kind NotFound beyond the tree.
func (s *Service) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	return s.cfg.Log.Tile(ctx, level, index, width)
}

// Entries gives an entry bundle, of width 1 to 256, as C2SP tlog-tiles serves it. The
// error is of kind NotFound beyond the tree.
func (s *Service) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	return s.cfg.Log.Entries(ctx, index, width)
}
