package tlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// checkPublished compares what a static web server hands out with the log: the
// checkpoint, its partial tiles, and that nothing is there that the log has not
// come to.
func (c *checker) checkPublished(ctx context.Context) error {
	if err := c.checkpoint(ctx); err != nil {
		return err
	}
	for name, err := range c.cfg.Blob.List(ctx, "tile/") {
		if err != nil {
			return err
		}
		if err := c.publishedFile(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// checkpoint checks the published checkpoint, and that its partial tiles are there.
func (c *checker) checkpoint(ctx context.Context) error {
	text, err := c.cfg.Blob.Get(ctx, checkpointPath, note.MaxSize)
	f := Finding{What: FoundCheckpoint, Name: checkpointPath, Want: "a checkpoint of this log", Got: "another"}
	again := func() error { return c.publishHead(ctx) }
	if errors.Is(err, store.ErrNotFound) {
		if due, err := c.published(ctx); err != nil || !due {
			return err
		}
		f.Got = "none"
		return c.find(f, again)
	}
	if err != nil {
		return err
	}
	cp, err := note.Open(string(text), c.cfg.Verifiers[0])
	if err != nil || cp.Origin != c.cfg.Origin {
		return c.find(f, again)
	}
	c.report.Published = cp.Size
	edge, err := c.compareHead(ctx, cp, f)
	if err != nil || edge == nil {
		return err
	}
	return c.partials(ctx, cp.Size, edge)
}

// compareHead compares a checkpoint of the log with the entries, and gives the leaf hashes
// of the open bundle at its size: nil if it is not one of these entries, which is found
// as f, or if that cannot be told.
func (c *checker) compareHead(ctx context.Context, cp sigbox.Checkpoint, f Finding) ([]Hash, error) {
	if cp.Size > c.head.Size {
		now, err := c.headNow(ctx)
		if err != nil || now.Size >= cp.Size {
			return nil, err // the log has gone on meanwhile
		}
		f.Want, f.Got = fmt.Sprintf("a checkpoint of at most %d entries", c.head.Size), fmt.Sprintf("one of %d: the log has lost entries", cp.Size)
		return nil, c.find(f, nil)
	}
	edge, err := c.edgeAt(ctx, cp.Size)
	if _, ok := errors.AsType[*Damage](err); ok {
		return nil, nil // its bundle was found to be damaged
	}
	if err != nil {
		return nil, err
	}
	root, err := c.tree.rootAt(cp.Size, edge)
	if err != nil {
		return nil, err
	}
	if root != cp.Root {
		f.Want, f.Got = fmt.Sprintf("the root %x at size %d", root, cp.Size), fmt.Sprintf("%x: the log was forked", cp.Root)
		return nil, c.find(f, nil)
	}
	if edge == nil {
		edge = []Hash{}
	}
	return edge, nil
}

// published reports whether there must be a published checkpoint: the log has had the
// time for it, or it stands still and has published partial tiles, which come before.
func (c *checker) published(ctx context.Context) (bool, error) {
	if c.cfg.PublishInterval < 0 || c.head.Size == 0 {
		return false, nil
	}
	if c.cfg.Now().Sub(c.head.Time) > 10*c.cfg.PublishInterval {
		return true, nil
	}
	for name, err := range c.cfg.Blob.List(ctx, "tile/") {
		if err != nil {
			return false, err
		}
		if strings.Contains(name, ".p/") {
			now, err := c.headNow(ctx)
			return err == nil && now.Size == c.head.Size, err
		}
	}
	return false, nil
}

// edgeAt gives the leaf hashes of the open bundle at a size.
func (c *checker) edgeAt(ctx context.Context, size uint64) ([]Hash, error) {
	if size == c.head.Size {
		return c.tree.edge, nil
	}
	return c.leafHashes(ctx, size>>tileHeight, width(size, 0))
}

// publishHead writes the checkpoint of the head where the published one is
// damaged, after its partial tiles.
func (c *checker) publishHead(ctx context.Context) error {
	for lv := uint(0); c.head.Size>>(tileHeight*lv) > 0; lv++ {
		w := width(c.head.Size, lv)
		if w == 0 {
			continue
		}
		index := tileIndex(c.head.Size, lv)
		if err := c.replace(ctx, partialPath(tilePath(lv, index), w), flat(c.tree.hashes(lv, index))); err != nil {
			return err
		}
	}
	if w := width(c.head.Size, 0); w > 0 {
		index := tileIndex(c.head.Size, 0)
		b, err := c.partialBundle(ctx, index, w)
		if err != nil {
			return err
		}
		if err := c.replace(ctx, partialPath(c.cfg.bundlePath(index), w), b); err != nil {
			return err
		}
	}
	return c.replace(ctx, checkpointPath, []byte(c.head.Checkpoint))
}

func (c *checker) partialBundle(ctx context.Context, index, w uint64) (b []byte, err error) {
	err = c.eachOf(ctx, index, w, func(e checkedEntry) error {
		b = c.cfg.appendBundled(b, e.entry)
		return nil
	})
	return b, err
}

// partials makes sure that the partial tiles of the published checkpoint are
// there, or the full ones in their place (tlog-tiles, Partial Tiles). What they
// hold is checked with all other files.
func (c *checker) partials(ctx context.Context, size uint64, edge []Hash) error {
	for lv := uint(0); size>>(tileHeight*lv) > 0; lv++ {
		w := width(size, lv)
		index := tileIndex(size, lv)
		if w == 0 || c.tileMoved(lv, index) {
			continue
		}
		hashes := edge
		if lv > 0 {
			hashes = c.tree.hashes(lv, index)[:w]
		}
		if err := c.present(ctx, partialPath(tilePath(lv, index), w), func() ([]byte, error) { return flat(hashes), nil }); err != nil {
			return err
		}
	}
	index, w := tileIndex(size, 0), width(size, 0)
	if w == 0 || index < c.moved {
		return nil
	}
	return c.present(ctx, partialPath(c.cfg.bundlePath(index), w), func() ([]byte, error) { return c.partialBundle(ctx, index, w) })
}

// present makes sure that a published file is there.
func (c *checker) present(ctx context.Context, name string, data func() ([]byte, error)) error {
	_, err := c.read(ctx, name)
	d, ok := errors.AsType[*Damage](err)
	if !ok {
		return err
	}
	full, _, _ := strings.Cut(name, ".p/")
	if _, err := c.read(ctx, full); err == nil {
		return nil // it has become full meanwhile
	}
	return c.find(Finding{What: FoundPartial, Name: name, Want: d.Want, Got: d.Got}, func() error {
		b, err := data()
		if err != nil {
			return err
		}
		return c.replace(ctx, name, b)
	})
}

// tileName is what the name of a published file says.
type tileName struct {
	bundle bool
	level  uint
	index  uint64
	width  uint64 // 0 for a full one
}

// parseName reads the name of a tile or bundle.
func (c *Config) parseName(name string) (t tileName, ok bool) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(name, "tile/"), "/")
	rest, partial, isPartial := strings.Cut(rest, ".p/")
	if isPartial {
		w, err := strconv.ParseUint(partial, 10, 8)
		if err != nil || w == 0 {
			return t, false
		}
		t.width = w
	}
	for group := range strings.SplitSeq(strings.ReplaceAll(rest, "x", ""), "/") {
		g, err := strconv.ParseUint(group, 10, 10)
		if err != nil || g > 999 || t.index >= 1<<50 {
			return t, false
		}
		t.index = t.index*1000 + g
	}
	full := ""
	if t.bundle = kind == c.BundleDir; t.bundle {
		full = c.bundlePath(t.index)
	} else {
		lv, err := strconv.ParseUint(kind, 10, 3)
		if err != nil {
			return t, false
		}
		t.level = uint(lv)
		full = tilePath(t.level, t.index)
	}
	if isPartial {
		full = partialPath(full, t.width)
	}
	return t, full == name
}

// publishedFile checks one published file: full ones that have moved were checked
// already.
func (c *checker) publishedFile(ctx context.Context, name string) error {
	t, ok := c.cfg.parseName(name)
	if !ok {
		return c.find(Finding{What: FoundLeftover, Name: name, Want: "the name of a tile", Got: "another"}, nil)
	}
	if t.width == 0 && c.tileMoved(t.level, t.index) {
		return nil
	}
	w := t.width
	if w == 0 {
		w = TileWidth
	}
	if !within(c.head.Size, t.level, t.index, w) {
		now, err := c.headNow(ctx)
		if err != nil || within(now.Size, t.level, t.index, w) {
			return err
		}
		return c.find(Finding{What: FoundAhead, Name: name, Want: fmt.Sprintf("what a log of %d entries has", c.head.Size), Got: "more: the log has lost entries"}, nil)
	}
	if t.width > 0 && c.tileMoved(t.level, t.index) {
		return c.leftover(ctx, name)
	}
	want, err := c.fileOf(ctx, t, w)
	if _, ok := errors.AsType[*Damage](err); ok {
		return nil // the entries were found to be damaged
	}
	if err != nil {
		return err
	}
	got, err := c.cfg.Blob.Get(ctx, name, maxBlob)
	if errors.Is(err, store.ErrNotFound) {
		return nil // removed meanwhile, which only partial ones are
	}
	if err == nil && bytes.Equal(got, want) {
		c.report.Tiles++
		return nil
	}
	f := Finding{What: FoundPartial, Name: name, Want: "what the log has", Got: "other bytes"}
	if err != nil {
		f.Got = err.Error()
	}
	return c.find(f, func() error { return c.replace(ctx, name, want) })
}

// leftover notes a partial file whose full one is there: the mover removes them
// before it lets go of the entries, so that there is none unless it was put back.
func (c *checker) leftover(ctx context.Context, name string) error {
	return c.find(Finding{What: FoundLeftover, Name: name, Want: "the full file alone", Got: "a partial one beside it"}, func() error {
		if p, ok := c.cfg.Blob.(store.Publisher); ok {
			return p.Remove(ctx, name)
		}
		return nil
	})
}

// fileOf gives what a published file has to hold.
func (c *checker) fileOf(ctx context.Context, t tileName, w uint64) ([]byte, error) {
	switch {
	case t.bundle:
		return c.partialBundle(ctx, t.index, w)
	case t.level > 0:
		return flat(c.tree.hashes(t.level, t.index)[:w]), nil
	case t.index == c.head.Size>>tileHeight:
		return flat(c.tree.edge[:w]), nil
	}
	hashes, err := c.leafHashes(ctx, t.index, w)
	return flat(hashes), err
}

// checkFileOf compares the file that is published of a service's row.
func (c *checker) checkFileOf(ctx context.Context, row store.Pair) error {
	if c.cfg.FileOf == nil {
		return nil
	}
	name, want, err := c.cfg.FileOf(row.Key[1:], row.Value)
	switch {
	case err != nil:
		return c.find(Finding{What: FoundRow, Name: rowName(row.Key), Want: "what its key says", Got: err.Error()}, nil)
	case name == "":
		return nil
	}
	got, err := c.cfg.Blob.Get(ctx, name, int64(len(want)))
	if err == nil && bytes.Equal(got, want) {
		return nil
	}
	f := Finding{What: FoundFile, Name: name, Want: "what is in the log's rows", Got: "other bytes"}
	if err != nil {
		f.Got = err.Error()
	}
	return c.find(f, func() error { return c.replace(ctx, name, want) })
}
