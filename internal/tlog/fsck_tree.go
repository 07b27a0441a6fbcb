package tlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sigbox/sigbox/internal/store"
)

// checkedTree is the tree that a check has come to: all hashes above the leaves,
// and the leaf hashes of the open bundle.
type checkedTree struct {
	size   uint64
	levels [][]Hash // of level 1 up
	edge   []Hash   // leaf hashes of the last, open bundle
}

// newCheckedTree makes the levels above the roots of the full bundles.
func newCheckedTree(size uint64, tops, edge []Hash) checkedTree {
	t := checkedTree{size: size, edge: edge}
	for len(tops) > 0 {
		t.levels = append(t.levels, tops)
		var above []Hash
		for i := TileWidth; i <= len(tops); i += TileWidth {
			above = append(above, topOf(tops[i-TileWidth:i]))
		}
		tops = above
	}
	return t
}

// hashes gives the hashes of a tile, full or of the right edge, but for full ones
// of level 0.
func (t *checkedTree) hashes(lv uint, index uint64) []Hash {
	if lv == 0 {
		if index == t.size>>tileHeight {
			return t.edge
		}
		return nil
	}
	if lv > uint(len(t.levels)) {
		return nil
	}
	all := t.levels[lv-1]
	if index*TileWidth >= uint64(len(all)) {
		return nil
	}
	return all[index*TileWidth : min(uint64(len(all)), (index+1)*TileWidth)]
}

// rootAt gives the root at a size whose leaf hashes of the last, open bundle are
// edge.
func (t *checkedTree) rootAt(size uint64, edge []Hash) (Hash, error) {
	var unused [64]Hash
	var last *tile
	var lastID tileID
	return foldRight(size, &unused, func(h uint, i uint64) (Hash, error) {
		lv, r := h/tileHeight, h%tileHeight
		id := tileID{lv, i >> (tileHeight - r)}
		if last == nil || lastID != id {
			hashes := edge
			if lv > 0 {
				hashes = t.hashes(lv, id.index)
			}
			last, lastID = newTile(flat(hashes)), id
		}
		return *last.at(r, i&(TileWidth>>r-1)), nil
	})
}

func (t *checkedTree) root() (Hash, error) { return t.rootAt(t.size, t.edge) }

// checkTree compares the tree that the entries give with the head and with all
// tiles. Where a bundle and its tile differ, the head tells which of them is right.
func (c *checker) checkTree(ctx context.Context) error {
	if err := c.settle(ctx); err != nil {
		return err
	}
	for lv := range c.tree.levels {
		if err := c.checkLevel(ctx, uint(lv)+1); err != nil { // #nosec G115 -- not negative
			return err
		}
	}
	return nil
}

// settle decides about the bundles that differ from their tiles.
func (c *checker) settle(ctx context.Context) error {
	var edge []Hash
	if p := c.hot[c.head.Size>>tileHeight]; p != nil {
		edge = p.hashes
	}
	if w := int(width(c.head.Size, 0)); len(edge) != w { // #nosec G115 -- below 256
		edge = append(edge, make([]Hash, TileWidth)...)[:w]
	}
	var good func(*tileDiff) (entries bool, err error)
	for _, try := range []func(*tileDiff) (bool, error){
		c.parentSays(ctx),
		func(d *tileDiff) (bool, error) { return d.entriesOK, nil },
		func(d *tileDiff) (bool, error) { return !d.storedOK, nil },
	} {
		for _, d := range c.diffs {
			entries, err := try(d)
			if err != nil {
				return err
			}
			if c.tops[d.n] = d.stored; entries {
				c.tops[d.n] = d.entries
			}
		}
		c.tree = newCheckedTree(c.head.Size, c.tops, edge)
		root, err := c.tree.root()
		if err != nil {
			return err
		}
		if root == c.head.Root {
			good = try
			break
		}
	}
	if good == nil {
		return c.noRoot()
	}
	for _, d := range c.diffs {
		if err := c.settled(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// parentSays goes by the tile above a bundle's.
func (c *checker) parentSays(ctx context.Context) func(*tileDiff) (bool, error) {
	var parent []byte
	at := uint64(1<<64 - 1)
	return func(d *tileDiff) (bool, error) {
		if !d.entriesOK || !d.storedOK {
			return d.entriesOK, nil
		}
		if n := d.n / TileWidth; n != at {
			b, err := c.storedTile(ctx, 1, n)
			if _, ok := errors.AsType[*Damage](err); err != nil && !ok {
				return false, err
			}
			parent, at = b, n
		}
		i := d.n % TileWidth * sha256.Size
		return i+sha256.Size > uint64(len(parent)) || d.entries == Hash(parent[i:]) || d.stored != Hash(parent[i:]), nil
	}
}

// noRoot notes that no choice between entries and tiles gives the head's root.
func (c *checker) noRoot() error {
	root, err := c.tree.root()
	if err != nil {
		return err
	}
	err = c.find(Finding{What: FoundRoot, Name: rowName([]byte{rowHead}), Want: fmt.Sprintf("entries that give the root %x", c.head.Root), Got: fmt.Sprintf("%x", root)}, nil)
	for _, d := range c.diffs {
		err = errors.Join(err, c.diffFindings(d))
	}
	return errors.Join(err, errHopeless)
}

// diffFindings notes what is wrong with a bundle, its tile or both.
func (c *checker) diffFindings(d *tileDiff) error {
	if !d.entriesOK {
		return c.find(Finding{What: FoundEntry, Name: c.cfg.bundlePath(d.n), Want: "a bundle of 256 entries", Got: d.gotBundle}, nil)
	}
	var err error
	for _, f := range d.entriesDamage {
		err = errors.Join(err, c.find(f, nil))
	}
	return err
}

// settled notes what is damaged of a bundle and its tile, now that the root of
// their hashes is known.
func (c *checker) settled(ctx context.Context, d *tileDiff) error {
	right := c.tops[d.n]
	if !d.entriesOK || d.entries != right {
		c.lost[d.n] = true
		if err := c.diffFindings(d); err != nil {
			return err
		}
	}
	if d.storedOK && d.stored == right {
		return nil
	}
	f := Finding{What: FoundTile, Name: tilePath(0, d.n), Want: fmt.Sprintf("the root %x", right), Got: d.gotTile}
	if d.storedOK {
		f.Got = fmt.Sprintf("%x", d.stored)
	}
	if !d.entriesOK {
		return c.find(f, nil)
	}
	return c.find(f, func() error { return c.mendZero(ctx, d.n) })
}

// mendZero writes a tile of level 0 anew, from its entries.
func (c *checker) mendZero(ctx context.Context, n uint64) error {
	hashes, err := c.leafHashes(ctx, n, TileWidth)
	if err != nil {
		return err
	}
	return c.putTile(ctx, 0, n, flat(hashes))
}

// leafHashes reads the first w entries of a bundle again, for their hashes.
func (c *checker) leafHashes(ctx context.Context, n, w uint64) ([]Hash, error) {
	var hashes []Hash
	err := c.eachOf(ctx, n, w, func(e checkedEntry) error {
		h, err := c.cfg.leafHash(e.entry)
		hashes = append(hashes, h)
		return err
	})
	return hashes, err
}

// storedTile reads a tile of level 1 or higher from where it is; damage if it is
// not there.
func (c *checker) storedTile(ctx context.Context, lv uint, index uint64) ([]byte, error) {
	if c.tileMoved(lv, index) {
		return c.read(ctx, tilePath(lv, index))
	}
	if b := c.tileRows[tileID{lv, index}]; b != nil {
		return b, nil
	}
	return nil, damaged(rowName(tileKey(lv, index)), "a tile", "none")
}

// tileMoved says whether a tile is full and in the blob store.
func (c *checker) tileMoved(lv uint, index uint64) bool { return lastBundle(lv, index) < c.moved }

// putTile writes a tile to where it belongs.
func (c *checker) putTile(ctx context.Context, lv uint, index uint64, data []byte) error {
	if c.tileMoved(lv, index) {
		return c.replace(ctx, tilePath(lv, index), data)
	}
	return c.commit(ctx, []store.Pair{{Key: tileKey(lv, index), Value: data}})
}

// replace writes a file anew.
func (c *checker) replace(ctx context.Context, name string, data []byte) error {
	p, ok := c.cfg.Blob.(store.Publisher)
	if !ok {
		return damaged(name, "a store whose files can be replaced", "one whose cannot")
	}
	return p.Replace(ctx, name, data)
}

// checkLevel compares the tiles of a level, of 1 or higher, with what is below
// them.
func (c *checker) checkLevel(ctx context.Context, lv uint) error {
	count := uint64(len(c.tree.levels[lv-1]))
	for index := range (count + TileWidth - 1) / TileWidth {
		want := flat(c.tree.hashes(lv, index))
		got, err := c.storedTile(ctx, lv, index)
		if err == nil && bytes.Equal(want, got) {
			c.report.Tiles++
			delete(c.tileRows, tileID{lv, index})
			continue
		}
		f := Finding{What: FoundTile, Name: tilePath(lv, index), Want: "the hashes of the tiles below", Got: "others"}
		if d, ok := errors.AsType[*Damage](err); ok {
			f.Want, f.Got = d.Want, d.Got
		} else if err != nil {
			return err
		}
		if err := c.find(f, func() error { return c.putTile(ctx, lv, index, want) }); err != nil {
			return err
		}
	}
	return nil
}
