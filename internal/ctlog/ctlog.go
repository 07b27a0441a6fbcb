// Package ctlog is the Certificate Transparency log of an instance. It takes
// precertificates and certificates that this instance's authority has issued, and
// nothing else, and answers with an SCT once the entry is durable: there is no
// merge delay.
//
//	cfg, err := ctlog.LogConfig("ct.example.com/ctlog", key)
//	cfg.KV, cfg.Blob = …
//	log, err := tlog.Open(ctx, cfg)
//	service, err := ctlog.New(ctlog.Config{Log: log, Key: key, Chains: [][][]byte{chain}})
//
// It reads like a log of RFC 6962 and like one of static-ct-api, over the same
// tree. SCTs have the latter's leaf_index extension.
//
// Sources: RFC 6962, https://c2sp.org/static-ct-api.
package ctlog

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

// Config is what a Service needs. Log and Key are required.
type Config struct {
	// Log is the log, opened with what LogConfig gives. Whoever opened it closes
	// it.
	Log *tlog.Log
	// Key signs SCTs, the same as LogConfig's.
	Key crypto.Signer
	// Chains are the authorities whose certificates are logged, DER, the issuing
	// one first and the self-signed root last.
	Chains [][][]byte
	// Files takes the certificates of issuers, beside the log's tiles (static-ct-api,
	// Issuers); nil has none published.
	Files store.Blob
	// URL is the log's prefix, without a slash at its end: its routes begin with
	// URL + "/ct/v1/".
	URL string
	// Since is when the log began: verifiers trust its key from then on.
	Since time.Time
	// Operator says who runs the log; may be empty.
	Operator string
	// Rand is for signatures; nil is crypto/rand.
	Rand io.Reader
}

// LogConfig gives what is particular to a CT log in the engine's configuration.
// The origin is the log's prefix without its scheme (static-ct-api, Checkpoints);
// it must never change. The key is of ECDSA P-256 (RFC 6962 §2.1.4). What is left
// to set is KV, Blob and what the engine has defaults for.
func LogConfig(origin string, key crypto.Signer) (tlog.Config, error) {
	if err := checkKey(key); err != nil {
		return tlog.Config{}, err
	}
	signer, err := note.NewTreeHeadSigner(origin, key)
	if err != nil {
		return tlog.Config{}, err
	}
	return tlog.Config{
		Origin: origin, Signers: []*note.Signer{signer}, BundleDir: "data",
		RawEntries: true, SplitEntries: cert.SplitTile, IndexLeaves: true,
		LeafOf: leafOf, KeyOf: keyOf, FileOf: issuerFileOf,
	}, nil
}

// leafOf gives what the tree holds of an entry of a data tile.
func leafOf(b []byte) ([]byte, error) {
	e, rest, err := cert.ParseTileLeaf(b)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "CT log: %d bytes after an entry", len(rest))
	}
	return e.MerkleTreeLeaf(), nil
}

// keyOf gives the key that an entry of a data tile was added with.
func keyOf(b []byte) ([32]byte, error) {
	e, _, err := cert.ParseTileLeaf(b)
	return (&submission{entry: e}).key(), err
}

func checkKey(key crypto.Signer) error {
	if key != nil {
		if pub, ok := key.Public().(*ecdsa.PublicKey); ok && pub.Curve == elliptic.P256() {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "the CT log's key: expected ECDSA P-256")
}

// Service is a CT log. Its methods are safe for concurrent use.
type Service struct {
	log   *tlog.Log
	key   crypto.Signer
	rand  io.Reader
	id    [sha256.Size]byte
	trust sigbox.TransparencyLog
	files store.Blob
	// authorities are those of Config.Chains, or of SetChains.
	authorities atomic.Pointer[authorities]
	// unpublished: issuers are to be published before the next entry.
	unpublished atomic.Bool

	mu     sync.Mutex
	stored map[fingerprint]bool // issuers whose certificate is in the log's rows
}

type fingerprint = [sha256.Size]byte

var _ sigbox.CTLog = (*Service)(nil)

// New makes the service over an open log.
func New(c Config) (*Service, error) {
	if c.Log == nil {
		return nil, sigbox.Errorf(sigbox.Internal, "a CT log needs a log")
	}
	if err := checkKey(c.Key); err != nil {
		return nil, err
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	s := &Service{log: c.Log, key: c.Key, rand: c.Rand, files: c.Files, stored: map[fingerprint]bool{}}
	spki, err := x509.MarshalPKIXPublicKey(c.Key.Public())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "CT log's key: %w", err)
	}
	s.id = sha256.Sum256(spki)
	s.trust = sigbox.TransparencyLog{
		BaseURL: c.URL, Operator: c.Operator, HashAlgorithm: sigbox.SHA256,
		PublicKey: spki, Details: sigbox.ECDSAP256SHA256, ValidFor: sigbox.TimeRange{Start: c.Since}, LogID: s.id[:],
	}
	a, err := newAuthorities(c.Chains)
	if err != nil {
		return nil, err
	}
	s.authorities.Store(a)
	return s, nil
}

// SetChains replaces the authorities whose certificates are logged; see Config.Chains. A
// log that knows of none takes nothing. Nothing changes when one of them is none.
func (s *Service) SetChains(chains [][][]byte) error {
	a, err := newAuthorities(chains)
	if err != nil {
		return err
	}
	s.authorities.Store(a)
	s.unpublished.Store(true)
	return nil
}

// TransparencyLog is the log's place in a trust root.
func (s *Service) TransparencyLog() sigbox.TransparencyLog { return s.trust }

// Err says why the log takes nothing, nil if it does.
func (s *Service) Err() error { return s.log.Err() }

// AddPreChain logs a precertificate and returns the SCT; see [sigbox.CTLog].
// Errors are of kind Invalid for a chain that is not this instance's, Unavailable
// when the log takes nothing now.
func (s *Service) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	sct, err := s.Add(ctx, chain, true)
	if err != nil {
		return nil, err
	}
	return sct.Marshal()
}

// Add logs a chain that begins with a precertificate or with a certificate
// (RFC 6962 §4.1, §4.2). The same one again gets its first timestamp.
func (s *Service) Add(ctx context.Context, chain [][]byte, precert bool) (cert.SCT, error) {
	sub, err := s.check(chain, precert)
	if err != nil {
		return cert.SCT{}, err
	}
	rows := s.newIssuers(sub)
	if err := s.publishNew(ctx, rows); err != nil {
		return cert.SCT{}, err
	}
	receipt, err := s.log.Add(ctx, tlog.Leaf{Key: sub.key(), Make: sub.leaf, Rows: func(uint64) []store.Pair { return rows }})
	if err != nil {
		return cert.SCT{}, err
	}
	if !receipt.Existing { // one that was there may have had other issuers
		s.markStored(sub)
	}
	entry, _, err := cert.ParseTileLeaf(receipt.Entry)
	if err != nil {
		return cert.SCT{}, sigbox.Errorf(sigbox.Internal, "CT log entry %d cannot be read", receipt.Index).WithCause(err)
	}
	return s.sign(entry)
}

// sign makes the SCT of a logged entry (RFC 6962 §3.2).
func (s *Service) sign(e cert.Entry) (cert.SCT, error) {
	digest := sha256.Sum256(e.MerkleTreeLeaf())
	sig, err := s.key.Sign(s.rand, digest[:], crypto.SHA256)
	if err != nil {
		return cert.SCT{}, sigbox.Errorf(sigbox.KindOf(err), "the CT log's key does not sign").WithCause(err)
	}
	return cert.SCT{
		LogID: s.id, Timestamp: e.Timestamp, Extensions: e.Extensions,
		Algorithm: cert.SHA256WithECDSA, Signature: sig,
	}, nil
}

// newIssuers gives the rows that keep an entry's issuers, for those that are not
// kept yet. They are committed with the entry, so that no entry's issuer is unknown
// (static-ct-api, Issuers).
func (s *Service) newIssuers(sub *submission) (rows []store.Pair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, fp := range sub.entry.Chain {
		if !s.stored[fp] {
			rows = append(rows, store.Pair{Key: issuerKey(fp), Value: sub.issuers[i]})
		}
	}
	return rows
}

// markStored notes that the rows of an entry's issuers are durable. Issuers are
// intermediates of this instance: there are few.
func (s *Service) markStored(sub *submission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fp := range sub.entry.Chain {
		s.stored[fp] = true
	}
}

const issuerPart = "issuer/"

func issuerKey(fp fingerprint) []byte { return append([]byte(issuerPart), fp[:]...) }

// Active gives s: what [Shards] gives of several.
func (s *Service) Active() *Service { return s }
