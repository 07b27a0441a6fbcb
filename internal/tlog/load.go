package tlog

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// begin writes the head of an empty log, with a checkpoint of size 0. If another
// process is first, its head is taken.
func (l *Log) begin(ctx context.Context) (*snapshot, error) {
	t := new(tree)
	t.seal()
	snap, err := l.seal(t, l.cfg.Now().UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, err
	}
	if err := l.checkPublished(ctx, snap); err != nil {
		return nil, err // the kv store is new, the blob store is not
	}
	err = l.cfg.KV.Commit(ctx, store.Batch{
		Checks: []store.Check{{Key: []byte{rowHead}}},
		Writes: []store.Pair{{Key: []byte{rowHead}, Value: snap.row}},
	})
	if errors.Is(err, store.ErrConflict) {
		return l.load(ctx)
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "cannot begin the log %s", l.cfg.Origin).WithCause(err)
	}
	return snap, nil
}

// load reads the head and the right edge of the tree, and checks that they agree
// and that the checkpoint is ours. It gives nil when there is no head.
func (l *Log) load(ctx context.Context) (*snapshot, error) {
	var last []byte
	for {
		row, err := l.cfg.KV.Get(ctx, []byte{rowHead})
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, l.readError(ctx, err)
		}
		snap, err := l.loadAt(ctx, row)
		// What is missing may have moved since, if another process is at work; then
		// the head is another one too.
		if _, gone := errors.AsType[*missingError](err); !gone || bytes.Equal(row, last) {
			return snap, err
		}
		last = row
	}
}

// loadAt loads what belongs to a head.
func (l *Log) loadAt(ctx context.Context, row []byte) (*snapshot, error) {
	h, err := parseHead(row)
	if err != nil {
		return nil, err
	}
	if err := l.loadMoved(ctx, h.Size); err != nil {
		return nil, err
	}
	t, err := l.loadTree(ctx, h.Size)
	if err != nil {
		return nil, err
	}
	if t.root != h.Root {
		return nil, damaged("right edge of the tree", "hashes that give the root of the head", "others at size %d", h.Size)
	}
	if err := l.checkCheckpoint(h); err != nil {
		return nil, err
	}
	return &snapshot{h, row, t}, nil
}

// checkCheckpoint makes sure that each signer has signed the head's checkpoint.
func (l *Log) checkCheckpoint(h Head) error {
	for _, s := range l.cfg.Signers {
		cp, err := note.Open(h.Checkpoint, s.Verifier())
		if err != nil {
			return sigbox.Errorf(sigbox.Fatal, "the checkpoint in the store of log %s is not signed by its key", l.cfg.Origin).
				WithHint("were keys replaced, or is this another instance's store?").WithCause(err)
		}
		if cp.Origin != l.cfg.Origin {
			return sigbox.Mismatch(sigbox.Fatal, "the store holds another log", l.cfg.Origin, cp.Origin).
				WithHint("a log's name is fixed when it is begun")
		}
		if cp.Size != h.Size || cp.Root != h.Root {
			return damaged(rowName([]byte{rowHead}), "a checkpoint of the head", "one of size %d at size %d", cp.Size, h.Size)
		}
	}
	return nil
}

// loadMoved reads the watermark. It never goes back.
func (l *Log) loadMoved(ctx context.Context, size uint64) error {
	v, err := l.cfg.KV.Get(ctx, []byte{rowMoved})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return l.readError(ctx, err)
	}
	moved, err := parseNumber([]byte{rowMoved}, v)
	if err != nil {
		return err
	}
	if moved > size>>tileHeight { // or another process has gone on since the head was read
		return &missingError{damaged(rowName([]byte{rowMoved}), "at most the full bundles to have been moved", "%d moved at size %d", moved, size)}
	}
	l.raiseMoved(moved)
	return nil
}

// raiseMoved sets the watermark unless it is higher already.
func (l *Log) raiseMoved(moved uint64) {
	for {
		have := l.moved.Load()
		if have >= moved || l.moved.CompareAndSwap(have, moved) {
			return
		}
	}
}

// loadTree reads the right edge: leaf hashes from the entries of the last, open
// bundle, the levels above from their partial tiles.
func (l *Log) loadTree(ctx context.Context, size uint64) (*tree, error) {
	t := &tree{size: size}
	for i := uint(0); size>>(tileHeight*i) > 0; i++ {
		lv := level{first: tileIndex(size, i)}
		if w := width(size, i); w > 0 {
			hashes, err := l.edgeHashes(ctx, i, lv.first, w)
			if err != nil {
				return nil, err
			}
			lv.tiles = []*tile{newTile(hashes)}
		}
		t.levels = append(t.levels, lv)
	}
	t.seal()
	return t, nil
}

// edgeHashes reads the first w hashes of a partial tile from the kv store.
func (l *Log) edgeHashes(ctx context.Context, lv uint, index, w uint64) ([]byte, error) {
	if lv > 0 {
		v, err := l.get(ctx, tileKey(lv, index))
		if err != nil {
			return nil, err
		}
		return tileBytes(rowName(tileKey(lv, index)), v, w)
	}
	out := make([]byte, 0, w*uint64(len(Hash{})))
	err := l.scanEntries(ctx, index*TileWidth, index*TileWidth+w, func(at uint64, row entryRow) error {
		if err := l.cfg.checkLeaf("", at, row.entry, row.leaf); err != nil {
			return err
		}
		out = append(out, row.leaf[:]...)
		return nil
	})
	return out, err
}

// scanEntries calls f for each entry in [from, to) in the kv store, where none
// may be missing; errMissing says that one is.
func (l *Log) scanEntries(ctx context.Context, from, to uint64, f func(index uint64, row entryRow) error) error {
	next := from
	for pair, err := range l.cfg.KV.Scan(ctx, numberKey(rowEntry, from), numberKey(rowEntry, to)) {
		if err != nil {
			return l.readError(ctx, err)
		}
		if string(pair.Key) != string(numberKey(rowEntry, next)) {
			break
		}
		row, err := parseEntry(pair.Key, pair.Value)
		if err != nil {
			return err
		}
		if err := f(next, row); err != nil {
			return err
		}
		next++
	}
	if next != to {
		return &missingError{damaged(rowName(numberKey(rowEntry, next)), "an entry", "none")}
	}
	return nil
}

// missingError says that something is not in the kv store with the head that was
// read. It may have moved.
type missingError struct{ err *sigbox.Error }

func (e *missingError) Error() string { return e.err.Error() }
func (e *missingError) Unwrap() error { return e.err }

// checkPublished makes sure that nothing published is ahead of the head, and that
// what is published is a prefix of the tree.
func (l *Log) checkPublished(ctx context.Context, snap *snapshot) error {
	next := snap.Size >> tileHeight
	for _, name := range []string{tilePath(0, next), l.cfg.bundlePath(next)} {
		_, err := l.cfg.Blob.Get(ctx, name, maxBlob)
		if err == nil {
			return sigbox.Errorf(sigbox.Fatal, "the log %s has %d entries, and %s was published already: its store has lost entries", l.cfg.Origin, snap.Size, name).
				WithHint("restore the newest backup; a log must never go back")
		}
		if !errors.Is(err, store.ErrNotFound) {
			return sigbox.Errorf(sigbox.KindOf(err), "cannot read what the log %s has published", l.cfg.Origin).WithCause(err)
		}
	}
	cp, found, err := l.publishedCheckpoint(ctx)
	if err != nil || !found {
		return err
	}
	if cp.Size > snap.Size {
		return sigbox.Errorf(sigbox.Fatal, "the log %s has %d entries, and a checkpoint of %d was published: its store has lost entries", l.cfg.Origin, snap.Size, cp.Size).
			WithHint("restore the newest backup; a log must never go back")
	}
	root, err := l.rootAt(ctx, snap, cp.Size)
	if err != nil {
		return err
	}
	if root != cp.Root {
		return sigbox.Errorf(sigbox.Fatal, "the log %s differs from what it has published at size %d: it was forked", l.cfg.Origin, cp.Size).
			WithHint("do not use this store; restore the one that goes with what was published")
	}
	return nil
}

// checkMoved makes sure that the blob store has what the kv store let go of last,
// and that it goes with the tree: a log without its tiles would go on and prove
// nothing of what is older. What is older still is checked when it is read.
func (l *Log) checkMoved(ctx context.Context, snap *snapshot) error {
	moved := l.moved.Load()
	for lv := uint(0); moved>>(tileHeight*lv) > 0; lv++ {
		last := moved>>(tileHeight*lv) - 1
		if _, err := l.fullTileOf(ctx, snap, lv, last); err != nil {
			return l.movedError(err)
		}
	}
	if moved > 0 {
		if _, err := l.bundleOf(ctx, snap, moved-1, TileWidth); err != nil {
			return l.movedError(err)
		}
	}
	return nil
}

// movedError says that the log's files do not go with its store.
func (l *Log) movedError(err error) error {
	if d, ok := errors.AsType[*Damage](err); ok && sigbox.KindOf(err) == sigbox.Fatal {
		return sigbox.Errorf(sigbox.Fatal, "the log %s keeps its first %d entries as files, and %s is gone or damaged", l.cfg.Origin, l.moved.Load()*TileWidth, d.Name).
			WithHint("restore the tiles, which go with the log's store; sigbox log fsck says what is damaged, and --repair makes tiles anew from entries").WithCause(err)
	}
	return sigbox.Errorf(sigbox.KindOf(err), "cannot read the tiles of the log %s", l.cfg.Origin).WithCause(err)
}

// publishedCheckpoint reads the checkpoint that was published last, if there is
// one.
func (l *Log) publishedCheckpoint(ctx context.Context) (cp sigbox.Checkpoint, found bool, err error) {
	text, err := l.cfg.Blob.Get(ctx, checkpointPath, note.MaxSize)
	if errors.Is(err, store.ErrNotFound) {
		return cp, false, nil
	}
	if err != nil {
		return cp, false, sigbox.Errorf(sigbox.KindOf(err), "cannot read the published checkpoint of the log %s", l.cfg.Origin).WithCause(err)
	}
	cp, err = note.Open(string(text), l.cfg.Signers[0].Verifier())
	if err != nil || cp.Origin != l.cfg.Origin {
		return cp, false, sigbox.Errorf(sigbox.Fatal, "the published checkpoint is not one of the log %s", l.cfg.Origin).
			WithHint("were keys replaced, or is this another instance's directory?").WithCause(err)
	}
	return cp, true, nil
}
