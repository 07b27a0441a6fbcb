package ctlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

// MaxEntries is how many entries Entries gives at once; RFC 6962 §4.6 lets a log
// answer with fewer than were asked for.
const MaxEntries = 256

// SignedTreeHead is RFC 6962 §3.5.
type SignedTreeHead struct {
	Size uint64
	Root tlog.Hash
	Time time.Time
	// Signature is a TLS digitally-signed struct.
	Signature []byte
}

// TreeHead gives the latest signed tree head.
func (s *Service) TreeHead() (SignedTreeHead, error) {
	head := s.log.Head()
	_, sigs, err := note.Parse(head.Checkpoint)
	if err != nil || len(sigs) == 0 {
		return SignedTreeHead{}, sigbox.Errorf(sigbox.Internal, "the CT log's checkpoint cannot be read").WithCause(err)
	}
	th, err := note.ParseTreeHead(sigs[0].Bytes)
	if err != nil {
		return SignedTreeHead{}, sigbox.Errorf(sigbox.Internal, "the CT log's checkpoint has no tree head").WithCause(err)
	}
	return SignedTreeHead{head.Size, head.Root, th.Time, th.AppendSigned(nil)}, nil
}

// Checkpoint gives the signed note of the latest tree (static-ct-api).
func (s *Service) Checkpoint() string { return s.log.Head().Checkpoint }

// Tile gives a tile of hashes, of width 1 to 256, NotFound beyond the tree.
func (s *Service) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	return s.log.Tile(ctx, level, index, width)
}

// Data gives a data tile of static-ct-api, of width 1 to 256, NotFound beyond the
// tree.
func (s *Service) Data(ctx context.Context, index uint64, width int) ([]byte, error) {
	return s.log.Entries(ctx, index, width)
}

// Roots gives the root certificates that chains may end in, DER.
func (s *Service) Roots() [][]byte { return slices.Clone(s.authorities.Load().roots) }

// Issuer gives the certificate of an issuer in a logged chain by its SHA-256, DER.
// NotFound if there is none.
func (s *Service) Issuer(ctx context.Context, fp [32]byte) ([]byte, error) {
	if a := s.authorities.Load().issued[fp]; a != nil {
		return a.cert.Raw, nil
	}
	der, err := s.log.Row(ctx, issuerKey(fp))
	if errors.Is(err, store.ErrNotFound) {
		return nil, sigbox.Errorf(sigbox.NotFound, "the CT log has no issuer with the fingerprint %x", fp)
	}
	if err != nil {
		return nil, err
	}
	if err := checkFingerprint(fp, der); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return der, nil
}

// PublishIssuers writes the certificates of all issuers to Config.Files, where any web
// server can serve them with the log's tiles (static-ct-api, Issuers): those that are
// not there, or not whole. Those of later entries are written as they come. A log that
// takes nothing publishes nothing: they are written before its next entry.
func (s *Service) PublishIssuers(ctx context.Context) error {
	if s.log.Err() != nil {
		s.unpublished.Store(true)
		return nil //nolint:nilerr // it is no failure of this
	}
	var errs []error
	for _, a := range s.authorities.Load().issued {
		errs = append(errs, s.publishIssuer(ctx, a.cert.Raw))
	}
	for row, err := range s.log.Rows(ctx, []byte(issuerPart), []byte("issuer0")) { // 0 follows /
		if err == nil {
			_, _, err = issuerFileOf(row.Key, row.Value)
		}
		if err == nil {
			err = s.publishIssuer(ctx, row.Value)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// publishNew writes the certificates of issuers that an entry is the first to name,
// before the entry is logged. Those of the log's authorities have been written, or can
// wait until they can be.
func (s *Service) publishNew(ctx context.Context, rows []store.Pair) error {
	if s.log.Err() != nil {
		return nil //nolint:nilerr // the log says so when it is asked to take the entry
	}
	if s.unpublished.CompareAndSwap(true, false) {
		if err := s.PublishIssuers(ctx); err != nil {
			s.unpublished.Store(true)
			return sigbox.Errorf(sigbox.Unavailable, "the CT log cannot publish its issuers' certificates at present").WithHint("try again later").WithCause(err)
		}
	}
	for _, row := range rows {
		if s.authorities.Load().issued[sha256.Sum256(row.Value)] != nil {
			continue
		}
		if err := s.publishIssuer(ctx, row.Value); err != nil {
			return sigbox.Errorf(sigbox.Unavailable, "the CT log cannot publish an issuer's certificate at present").WithHint("try again later").WithCause(err)
		}
	}
	return nil
}

// publishIssuer writes the certificate of an issuer. The file's name says what it has
// to hold: where it holds something else, it is damaged.
func (s *Service) publishIssuer(ctx context.Context, der []byte) error {
	if s.files == nil {
		return nil
	}
	name := issuerFile(sha256.Sum256(der))
	err := s.files.Put(ctx, name, der)
	if p, ok := s.files.(store.Publisher); ok && errors.Is(err, store.ErrExists) {
		return p.Replace(ctx, name, der)
	}
	return err
}

func issuerFile(fp fingerprint) string { return fmt.Sprintf("issuer/%x", fp) }

// issuerFileOf gives the file that is published of a row of an issuer.
func issuerFileOf(key, der []byte) (name string, data []byte, err error) {
	id, ok := bytes.CutPrefix(key, []byte(issuerPart))
	if !ok || len(id) != len(fingerprint{}) {
		return "", nil, sigbox.Errorf(sigbox.Invalid, "CT log: a row that is none of an issuer")
	}
	fp := fingerprint(id)
	return issuerFile(fp), der, checkFingerprint(fp, der)
}

// Consistency proves that one tree is the beginning of another (RFC 6962 §2.1.2). The
// empty tree is that of every one, without a proof.
func (s *Service) Consistency(ctx context.Context, first, second uint64) ([]tlog.Hash, error) {
	if first > second {
		return nil, sigbox.Errorf(sigbox.Invalid, "consistency proof from size %d to %d: expected first <= second", first, second)
	}
	return s.log.Consistency(ctx, first, second)
}

// ProofByHash finds a leaf by its hash and proves it in the tree of a size.
func (s *Service) ProofByHash(ctx context.Context, leaf tlog.Hash, size uint64) (index uint64, proof []tlog.Hash, err error) {
	if index, err = s.log.LeafIndex(ctx, leaf); err != nil {
		return 0, nil, err
	}
	proof, err = s.log.Inclusion(ctx, index, size)
	return index, proof, err
}

// Entry is a logged entry as RFC 6962 §4.6 answers it.
type Entry struct {
	// LeafInput is the MerkleTreeLeaf, ExtraData the chain.
	LeafInput, ExtraData []byte
}

// Entries gives the entries from start to end, both included, but no more than
// MaxEntries and none behind the end of the log. NotFound if start is there.
func (s *Service) Entries(ctx context.Context, start, end uint64) ([]Entry, error) {
	size := s.log.Head().Size
	if start > end {
		return nil, sigbox.Errorf(sigbox.Invalid, "entries from %d to %d: expected start <= end", start, end)
	}
	if start >= size {
		return nil, sigbox.Errorf(sigbox.NotFound, "entries from %d: the log has %d", start, size)
	}
	end = min(end, size-1, start+MaxEntries-1)
	var out []Entry
	for n := start / tlog.TileWidth; n <= end/tlog.TileWidth; n++ {
		first, last := max(start, n*tlog.TileWidth), min(end, n*tlog.TileWidth+tlog.TileWidth-1)
		part, err := s.bundle(ctx, n, first%tlog.TileWidth, last%tlog.TileWidth)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// bundle gives the entries from first to last of a data tile.
func (s *Service) bundle(ctx context.Context, n, first, last uint64) ([]Entry, error) {
	data, err := s.log.Entries(ctx, n, int(last)+1) //nolint:gosec // at most 256
	if err != nil {
		return nil, err
	}
	raw, err := cert.SplitTile(data)
	if err != nil {
		return nil, err
	}
	out := make([]Entry, 0, last-first+1)
	for _, r := range raw[first:] {
		e, err := s.entry(ctx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// EntryAndProof gives an entry with its proof in the tree of a size (RFC 6962
// §4.8).
func (s *Service) EntryAndProof(ctx context.Context, index, size uint64) (Entry, []tlog.Hash, error) {
	proof, err := s.log.Inclusion(ctx, index, size)
	if err != nil {
		return Entry{}, nil, err
	}
	raw, _, err := s.log.Entry(ctx, index)
	if err != nil {
		return Entry{}, nil, err
	}
	e, err := s.entry(ctx, raw)
	return e, proof, err
}

// entry turns an entry of a data tile into RFC 6962's form: the leaf, and beside
// it the chain in full.
func (s *Service) entry(ctx context.Context, raw []byte) (Entry, error) {
	e, _, err := cert.ParseTileLeaf(raw)
	if err != nil {
		return Entry{}, err
	}
	chain := make([][]byte, len(e.Chain))
	for i, fp := range e.Chain {
		if chain[i], err = s.Issuer(ctx, fp); err != nil {
			return Entry{}, err
		}
	}
	return Entry{e.MerkleTreeLeaf(), e.ExtraData(chain)}, nil
}
