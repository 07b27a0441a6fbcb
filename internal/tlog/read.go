package tlog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

const (
	// maxBlob bounds what is read of a bundle, which may have 256 raw entries.
	maxBlob = TileWidth * (MaxRawEntry + 2)
	// fullTile is the length of a full tile in bytes.
	fullTile = TileWidth * sha256.Size
)

// Tile gives the first width hashes, of at most 256, of a tile (tlog-tiles,
// Merkle Tree). NotFound if the log does not have so many.
func (l *Log) Tile(ctx context.Context, lv int, index uint64, w int) ([]byte, error) {
	snap := l.head.Load()
	if lv < 0 || lv > 63 || w < 1 || w > TileWidth || !within(snap.Size, uint(lv), index, uint64(w)) {
		return nil, noTile()
	}
	level, n := uint(lv), uint64(w)
	t, err := l.tileOf(ctx, snap, level, index)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), t.hashes(n)...), nil
}

func noTile() error {
	return sigbox.Errorf(sigbox.NotFound, "the log has no such tile").WithHint("fetch the checkpoint: its size says which there are")
}

// within says whether a tree of size n has so many hashes in a tile.
func within(n uint64, lv uint, index, w uint64) bool {
	hashes := n >> (tileHeight * lv)
	return hashes >= w && index <= (hashes-w)/TileWidth
}

// Entries gives the first width entries, of at most 256, of an entry bundle
// (tlog-tiles, Log entries). NotFound if the log does not have so many.
func (l *Log) Entries(ctx context.Context, index uint64, w int) ([]byte, error) {
	snap := l.head.Load()
	if w < 1 || w > TileWidth || !within(snap.Size, 0, index, uint64(w)) {
		return nil, noTile()
	}
	return l.bundleOf(ctx, snap, index, uint64(w)) // #nosec G115 -- 1 to 256
}

// bundleOf reads the first w entries of a bundle and checks them against the tree
// of snap, which has so many.
func (l *Log) bundleOf(ctx context.Context, snap *snapshot, index, w uint64) ([]byte, error) {
	t, err := l.tileOf(ctx, snap, 0, index)
	if err != nil {
		return nil, err
	}
	b, err := movable(l.isMoved(index), func(moved bool) ([]byte, error) {
		if moved {
			return l.coldBundle(ctx, t, index, w)
		}
		return l.hotBundle(ctx, t, index, w)
	})
	return b, l.readError(ctx, err)
}

// coldBundle reads the first w entries of a bundle from the blob store, and checks
// them against their tile.
func (l *Log) coldBundle(ctx context.Context, t *tile, index, w uint64) ([]byte, error) {
	name := l.cfg.bundlePath(index)
	b, entries, err := l.splitBundle(ctx, name)
	if err != nil {
		return nil, err
	}
	end := 0
	for i, e := range entries[:w] {
		if err := l.cfg.checkLeaf(name, index*TileWidth+uint64(i), e, t.at(0, uint64(i))); err != nil { // #nosec G115 -- not negative
			return nil, err
		}
		end += l.cfg.bundledLen(e)
	}
	return b[:end:end], nil
}

// splitBundle reads a full bundle from the blob store and takes it apart.
func (l *Log) splitBundle(ctx context.Context, name string) (bundle []byte, entries [][]byte, err error) {
	if bundle, err = l.blob(ctx, name); err != nil {
		return nil, nil, err
	}
	if entries, err = l.cfg.split(name, bundle); err != nil {
		return nil, nil, err
	}
	if len(entries) != TileWidth {
		return nil, nil, damaged(name, "a bundle of 256 entries", "one of %d", len(entries))
	}
	return bundle, entries, nil
}

// hotBundle makes the first w entries of a bundle from the kv store, and checks
// them against their tile.
func (l *Log) hotBundle(ctx context.Context, t *tile, index, w uint64) ([]byte, error) {
	var out []byte
	err := l.scanEntries(ctx, index*TileWidth, index*TileWidth+w, func(at uint64, row entryRow) error {
		out = l.cfg.appendBundled(out, row.entry)
		return l.cfg.checkLeaf("", at, row.entry, t.at(0, at%TileWidth))
	})
	return out, err
}

// Entry gives an entry and when it was logged. NotFound beyond the end.
func (l *Log) Entry(ctx context.Context, index uint64) ([]byte, time.Time, error) {
	snap := l.head.Load()
	if index >= snap.Size {
		return nil, time.Time{}, sigbox.Errorf(sigbox.NotFound, "the log has no entry %d", index)
	}
	t, err := l.tileOf(ctx, snap, 0, index/TileWidth)
	if err != nil {
		return nil, time.Time{}, err
	}
	want := t.at(0, index%TileWidth)
	e, err := movable(l.isMoved(index/TileWidth), func(moved bool) (timedEntry, error) {
		if moved {
			return l.coldEntry(ctx, index, want)
		}
		return l.hotEntry(ctx, index, want)
	})
	return e.entry, e.time, l.readError(ctx, err)
}

// timedEntry is an entry and when it was logged.
type timedEntry struct {
	entry []byte
	time  time.Time
}

// hotEntry reads an entry from the kv store.
func (l *Log) hotEntry(ctx context.Context, index uint64, want *Hash) (timedEntry, error) {
	key := numberKey(rowEntry, index)
	v, err := l.get(ctx, key)
	if err != nil {
		return timedEntry{}, err
	}
	row, err := parseEntry(key, v)
	if err != nil {
		return timedEntry{}, err
	}
	return timedEntry{row.entry, row.time}, l.cfg.checkLeaf("", index, row.entry, want)
}

// coldEntry reads an entry that has moved.
func (l *Log) coldEntry(ctx context.Context, index uint64, want *Hash) (timedEntry, error) {
	name, i := l.cfg.bundlePath(index/TileWidth), index%TileWidth
	key := numberKey(rowTimes, index/TileWidth)
	v, err := l.get(ctx, key)
	if err != nil {
		return timedEntry{}, err
	}
	p, err := parsePlaces(key, v)
	if err != nil {
		return timedEntry{}, err
	}
	var e []byte
	if p.measured {
		offset, length := p.place(&l.cfg, i)
		e, err = l.found(ctx, name)(store.GetRange(ctx, l.cfg.Blob, name, offset, length, maxBlob))
	} else {
		var entries [][]byte
		if _, entries, err = l.splitBundle(ctx, name); err == nil {
			e = entries[i]
		}
	}
	if err != nil {
		return timedEntry{}, err
	}
	return timedEntry{e, p.time(i)}, l.cfg.checkLeaf(name, index, e, want)
}

// Inclusion proves that a tree of some size holds the entry with an index
// (RFC 6962 §2.1.1). NotFound if the log has no such size or index.
func (l *Log) Inclusion(ctx context.Context, index, size uint64) ([]Hash, error) {
	snap := l.head.Load()
	if size > snap.Size || index >= size {
		return nil, sigbox.Errorf(sigbox.NotFound, "no inclusion proof of entry %d in a tree of %d: the log has %d entries", index, size, snap.Size)
	}
	node := l.nodes(ctx, snap)
	if size == snap.Size {
		return prove(index, size, &snap.tree.ragged, node)
	}
	var ragged [64]Hash
	if _, err := foldRight(size, &ragged, node); err != nil {
		return nil, err
	}
	return prove(index, size, &ragged, node)
}

// Consistency proves that the tree of size older is a prefix of that of size
// newer (RFC 6962 §2.1.2). NotFound if the log has no such sizes.
func (l *Log) Consistency(ctx context.Context, older, newer uint64) ([]Hash, error) {
	snap := l.head.Load()
	if newer > snap.Size || older > newer {
		return nil, sigbox.Errorf(sigbox.NotFound, "no consistency proof from size %d to %d: the log has %d entries", older, newer, snap.Size)
	}
	return proveConsistency(older, newer, l.nodes(ctx, snap))
}

// Root gives the root of the tree at a size. NotFound beyond the end.
func (l *Log) Root(ctx context.Context, size uint64) (Hash, error) {
	snap := l.head.Load()
	if size > snap.Size {
		return Hash{}, sigbox.Errorf(sigbox.NotFound, "no root at size %d: the log has %d entries", size, snap.Size)
	}
	return l.rootAt(ctx, snap, size)
}

func (l *Log) rootAt(ctx context.Context, snap *snapshot, size uint64) (Hash, error) {
	if size == snap.Size {
		return snap.Root, nil
	}
	var unused [64]Hash
	return foldRight(size, &unused, l.nodes(ctx, snap))
}

// LeafIndex finds the index of a leaf by its hash; Config.IndexLeaves keeps what
// it needs. NotFound if there is none.
func (l *Log) LeafIndex(ctx context.Context, leaf Hash) (uint64, error) {
	key := hashKey(rowLeaf, &leaf)
	v, err := l.cfg.KV.Get(ctx, key)
	snap := l.head.Load()
	var index uint64
	if err == nil {
		index, err = parseNumber(key, v)
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && index >= snap.Size {
		return 0, sigbox.Errorf(sigbox.NotFound, "the log has no leaf with the hash %x", leaf)
	}
	if err != nil {
		return 0, l.readError(ctx, err)
	}
	t, err := l.tileOf(ctx, snap, 0, index/TileWidth)
	if err == nil && *t.at(0, index%TileWidth) != leaf {
		err = l.readError(ctx, damaged(rowName(key), "the index of that leaf", "%d, of another", index))
	}
	return index, err
}

// Row reads a row that Leaf.Rows gave; store.ErrNotFound if there is none. Rows
// may show a moment before the head does that they were committed with.
func (l *Log) Row(ctx context.Context, key []byte) ([]byte, error) {
	return l.cfg.KV.Get(ctx, otherKey(key))
}

// Rows walks the rows in [from, to); a nil to is the end.
func (l *Log) Rows(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	start := append([]byte{rowOther}, from...)
	return func(yield func(store.Pair, error) bool) {
		for row, err := range l.cfg.KV.Scan(ctx, start, otherKey(to)) {
			if err == nil {
				row.Key = row.Key[1:]
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// nodes gives the complete subtrees of a tree: from memory, else from its tiles.
func (l *Log) nodes(ctx context.Context, snap *snapshot) nodeFunc {
	return func(h uint, i uint64) (Hash, error) {
		if n := snap.tree.node(h, i); n != nil {
			return *n, nil
		}
		lv, r := h/tileHeight, h%tileHeight
		t, err := l.fullTileOf(ctx, snap, lv, i>>(tileHeight-r))
		if err != nil {
			return Hash{}, err
		}
		return *t.at(r, i&(TileWidth>>r-1)), nil
	}
}

// tileOf gives a tile of which snap's tree has some hashes or all; those are right.
func (l *Log) tileOf(ctx context.Context, snap *snapshot, lv uint, index uint64) (*tile, error) {
	if t := snap.tree.tile(lv, index); t != nil {
		return t, nil
	}
	return l.fullTileOf(ctx, snap, lv, index)
}

// fullTileOf gives a full tile of snap's tree, from the cache or from its store.
// One that is read is checked against the tile above it, up to the right edge,
// whose hashes were checked against the head when the log was opened.
func (l *Log) fullTileOf(ctx context.Context, snap *snapshot, lv uint, index uint64) (*tile, error) {
	id := tileID{lv, index}
	if t := l.tiles.get(id); t != nil {
		return t, nil
	}
	want, err := l.nodes(ctx, snap)(tileHeight*(lv+1), index)
	if err != nil {
		return nil, err
	}
	b, err := l.fullTile(ctx, lv, index)
	if err != nil {
		return nil, l.readError(ctx, err)
	}
	t := newTile(b)
	if top := t.top(); top != want {
		return nil, l.readError(ctx, damaged(tilePath(lv, index), fmt.Sprintf("a tile with the root %x", want), "one with %x", top))
	}
	l.tiles.add(id, t)
	return t, nil
}

// fullTile reads a full tile. Nobody has checked it.
func (l *Log) fullTile(ctx context.Context, lv uint, index uint64) ([]byte, error) {
	return movable(l.isMoved(lastBundle(lv, index)), func(moved bool) ([]byte, error) {
		var b []byte
		var err error
		if moved {
			b, err = l.blob(ctx, tilePath(lv, index))
		} else {
			b, err = l.get(ctx, tileKey(lv, index))
		}
		if err != nil {
			return nil, err
		}
		return tileBytes(tilePath(lv, index), b, TileWidth)
	})
}

// lastBundle gives the index of the last entry bundle below a tile: it is moved
// with it.
func lastBundle(lv uint, index uint64) uint64 {
	if lv >= 7 {
		return math.MaxUint64 // no log has so many entries
	}
	return (index+1)<<(tileHeight*lv) - 1
}

// tileBytes gives the first n hashes of a stored tile.
func tileBytes(name string, b []byte, n uint64) ([]byte, error) {
	if uint64(len(b)) < n*sha256.Size || len(b) > fullTile {
		return nil, damaged(name, fmt.Sprintf("a tile of at least %d hashes", n), "%d bytes", len(b))
	}
	return b[:n*sha256.Size], nil
}

func (l *Log) isMoved(bundle uint64) bool { return bundle < l.moved.Load() }

// movable reads what is in the kv store or, once it has moved, in the blob store.
// If it is not where it should be, it has just moved, here or in another process.
func movable[T any](moved bool, read func(moved bool) (T, error)) (T, error) {
	v, err := read(moved)
	if _, gone := errors.AsType[*missingError](err); !gone || moved {
		return v, err
	}
	return read(true)
}

// get reads a value that must be there.
func (l *Log) get(ctx context.Context, key []byte) ([]byte, error) {
	v, err := l.cfg.KV.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &missingError{damaged(rowName(key), "a row", "none")}
	}
	if err != nil {
		return nil, l.readError(ctx, err)
	}
	return v, nil
}

// blob reads a blob that must be there.
func (l *Log) blob(ctx context.Context, name string) ([]byte, error) {
	return l.found(ctx, name)(l.cfg.Blob.Get(ctx, name, maxBlob))
}

// found gives what was read of a blob that must be there.
func (l *Log) found(ctx context.Context, name string) func([]byte, error) ([]byte, error) {
	return func(b []byte, err error) ([]byte, error) {
		if errors.Is(err, store.ErrNotFound) {
			return nil, &missingError{damaged(name, "a file", "none")}
		}
		if err != nil {
			return nil, l.readError(ctx, err)
		}
		return b, nil
	}
}
