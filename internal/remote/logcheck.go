package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
)

// LogCheck changes what [LogReader.Check] does. The zero value is for use.
type LogCheck struct {
	// From and To bound the entries that are checked, To is left out; 0 is the log's
	// end.
	From, To uint64
	// Progress, if not nil, is told how many of the entries are through. It is called
	// by one goroutine at a time.
	Progress func(done, total uint64)
	// Entry, if not nil, looks at what an entry says; its error becomes a finding. It
	// is called by as many goroutines as there are processors.
	Entry func(ctx context.Context, index uint64, leaf *Leaf) error
}

// What a [LogFinding] is about.
const (
	BadEntry   = "entry"   // an entry, or a bundle of them
	BadContent = "content" // what an entry says
	BadTile    = "tile"    // a tile of hashes
	BadRoot    = "root"    // the tree as a whole
)

// maxLogFindings bounds the findings that are listed; all are counted.
const maxLogFindings = 1000

// LogFinding is something that is not as it must be.
type LogFinding struct {
	What string // one of the constants
	Name string // of a file below the log's prefix, or of an entry
	Want string
	Got  string

	at uint64 // index of the entry, or of the first one
}

// LogReport is what a check has seen.
type LogReport struct {
	// From and To are the entries that were to be checked. What is before Done was
	// compared with the signed tree, or is among the findings: To, unless the log
	// could not be read to the end. Read is how far it was read.
	From, To, Done, Read uint64

	Entries, Bytes, Tiles uint64
	Findings              []LogFinding
	Found                 uint64 // also those that are not listed
}

// Check reads a log and compares what is there with its signed head. Of a log with
// tiles that is checked as a whole, each entry is compared with the tile that has
// its hash, each tile with those below it, and the root with the head. Of any other,
// each entry is proven to be in the head's tree. Memory is bounded, whatever the
// log's size.
//
// An error means that the log could not be read to the end; the report, which is
// there too, says how far it went. What is wrong with the log stands in the report.
func (r *LogReader) Check(ctx context.Context, o LogCheck) (*LogReport, error) {
	if o.To == 0 || o.To > r.head.Size {
		o.To = r.head.Size
	}
	if o.From > o.To {
		return nil, sigbox.Errorf(sigbox.NotFound, "the log %.100q has no entry %d: its size is %d", r.head.Origin, o.From, r.head.Size)
	}
	c := &logCheck{log: r, o: o, missed: o.To, report: &LogReport{From: o.From, To: o.To, Done: o.From, Read: o.From}}
	c.looks.SetLimit(runtime.GOMAXPROCS(0))
	var err error
	switch {
	case o.From == o.To:
	case r.tiles != "" && o.From == 0 && o.To == r.head.Size:
		err = c.whole(ctx)
	default:
		err = c.parts(ctx)
	}
	if err = errors.Join(err, c.looks.Wait()); err == nil {
		c.report.Done = o.To
	} else {
		c.report.Done = max(o.From, min(c.report.Done, c.missed))
	}
	slices.SortStableFunc(c.report.Findings, func(a, b LogFinding) int { return cmp.Compare(a.at, b.at) })
	return c.report, err
}

// logCheck is one check. Only fetch and look run in several goroutines.
type logCheck struct {
	log   *LogReader
	o     LogCheck
	looks errgroup.Group
	// levels are the hashes above the leaves of which no tile is full yet.
	levels [][]tlog.Hash
	counts []uint64 // full tiles of each level
	last   []tlog.Hash

	mu     sync.Mutex
	report *LogReport // guarded by mu while entries are looked at
	missed uint64     // guarded by mu; the first entry that could not be looked at, or To
}

// whole checks a log with tiles.
func (c *logCheck) whole(ctx context.Context) error {
	err := inOrder(ctx, 0, (c.o.To-1)/tileWidth+1, c.fetch, func(n uint64, got checkedBundle) error {
		return c.bundle(ctx, n, got)
	})
	if err != nil {
		return err
	}
	return c.finish(ctx)
}

// provenPart is a part of a log, or what is wrong with it.
type provenPart struct {
	leaves []Leaf
	err    error
}

// parts proves part after part.
func (c *logCheck) parts(ctx context.Context) error {
	size := c.log.partSize()
	get := func(ctx context.Context, n uint64) (p provenPart, err error) {
		if p.leaves, err = c.log.part(ctx, n); broken(err) {
			p.err, err = err, nil
		}
		return p, err
	}
	return inOrder(ctx, c.o.From/size, (c.o.To-1)/size+1, get, func(n uint64, p provenPart) error {
		from, to := max(n*size, c.o.From), min((n+1)*size, c.o.To)
		if p.err != nil {
			c.find(from, BadEntry, fmt.Sprintf("entries %d to %d", n*size, min((n+1)*size, c.log.head.Size)-1), "entries of the signed tree", p.err.Error())
		} else {
			c.look(ctx, from, p.leaves[from-n*size:to-n*size])
		}
		c.through(to)
		c.report.Done = to
		return nil
	})
}

// through notes that all is read up to an index.
func (c *logCheck) through(to uint64) {
	c.report.Read = to
	if c.o.Progress != nil {
		c.o.Progress(to-c.o.From, c.o.To-c.o.From)
	}
}

// checkedBundle is a bundle and its tile of level 0, as they came; an error of
// their content or absence is kept.
type checkedBundle struct {
	leaves   []Leaf
	hashes   []tlog.Hash // of leaves
	tile     []byte
	entryErr error
	tileErr  error
}

// broken reports whether an error says of the log that it is not whole; others say
// that it could not be read.
func broken(err error) bool {
	switch sigbox.KindOf(err) {
	case sigbox.NotFound, sigbox.NotVerified, sigbox.TooLarge, sigbox.Invalid:
		return err != nil
	}
	return false
}

func (c *logCheck) fetch(ctx context.Context, n uint64) (got checkedBundle, err error) {
	width := widthOf(n, c.log.head.Size)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if got.leaves, err = c.log.fetchBundle(gctx, n, width); broken(err) {
			got.entryErr, err = err, nil
		}
		got.hashes = make([]tlog.Hash, len(got.leaves))
		for i := range got.leaves {
			got.hashes[i] = got.leaves[i].hash()
		}
		return err
	})
	group.Go(func() (err error) {
		if got.tile, err = c.log.fetchTile(gctx, tlog.Tile{H: tileHeight, L: 0, N: int64(n), W: width}); broken(err) { // #nosec G115 -- 63 bits
			got.tileErr, err = err, nil
		}
		return err
	})
	return got, group.Wait()
}

func (c *logCheck) find(at uint64, what, name, want, got string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Found++
	if len(c.report.Findings) < maxLogFindings {
		c.report.Findings = append(c.report.Findings, LogFinding{what, name, want, got, at})
	}
}

// bundle compares entries with their tile, and goes on with the hashes of the one
// that is right.
func (c *logCheck) bundle(ctx context.Context, n uint64, got checkedBundle) error {
	width, from := widthOf(n, c.log.head.Size), n*tileWidth
	bundleName, tileName := c.log.bundlePath(n), "tile/0/"+tileIndex(n)
	if got.entryErr != nil {
		c.find(from, BadEntry, bundleName, fmt.Sprintf("%d entries", width), got.entryErr.Error())
	}
	if got.tileErr != nil {
		c.find(from, BadTile, tileName, fmt.Sprintf("%d hashes", width), got.tileErr.Error())
	}
	c.report.Tiles++
	hashes := make([]tlog.Hash, width)
	copy(hashes, got.hashes)
	if got.tileErr == nil {
		for i := range hashes {
			hashes[i] = tlog.Hash(got.tile[i*tlog.HashSize:])
		}
		right, err := c.judge(ctx, n, bundleName, tileName, hashes, got.hashes)
		if err != nil {
			return err
		}
		hashes = right
	}
	if got.entryErr == nil && slices.Equal(hashes, got.hashes) {
		c.look(ctx, from, got.leaves)
	} else {
		for i := range got.leaves {
			if got.hashes[i] == hashes[i] {
				c.look(ctx, from+uint64(i), got.leaves[i:i+1]) // #nosec G115 -- not negative
			}
		}
	}
	c.through(from + uint64(width)) // #nosec G115 -- not negative
	if width < tileWidth {
		c.last = hashes
		return nil
	}
	return c.up(ctx, 1, subtree(hashes))
}

// judge gives the hashes of a tile, or those of the entries when the two differ and
// the signed tree does not have the tile's. leaves is empty when there are no
// entries.
func (c *logCheck) judge(ctx context.Context, n uint64, bundleName, tileName string, tile, leaves []tlog.Hash) ([]tlog.Hash, error) {
	if len(leaves) == 0 || slices.Equal(tile, leaves) {
		return tile, nil
	}
	_, err := c.log.hashes(ctx, c.log.head).ReadHashes([]int64{tlog.StoredHashIndex(0, int64(n*tileWidth))}) // #nosec G115 -- 63 bits
	if err = tileError(err); err != nil && !broken(err) {
		return nil, err
	}
	for i := range tile {
		index := n*tileWidth + uint64(i) // #nosec G115 -- not negative
		switch {
		case tile[i] == leaves[i]:
		case err == nil:
			c.find(index, BadEntry, fmt.Sprintf("%s, entry %d", bundleName, index), tile[i].String(), leaves[i].String())
		default:
			c.find(index, BadTile, fmt.Sprintf("%s, hash %d", tileName, i), leaves[i].String(), tile[i].String())
		}
	}
	if err == nil {
		return tile, nil
	}
	return leaves, nil
}

// look counts entries that are in the tree, and has what they say looked at while
// the next ones are read.
func (c *logCheck) look(ctx context.Context, from uint64, leaves []Leaf) {
	c.mu.Lock()
	c.report.Entries += uint64(len(leaves))
	for i := range leaves {
		c.report.Bytes += uint64(len(leaves[i].Data))
	}
	c.mu.Unlock()
	if c.o.Entry == nil {
		return
	}
	c.looks.Go(func() error {
		for i := range leaves {
			index := from + uint64(i) // #nosec G115 -- not negative
			err := c.o.Entry(ctx, index, &leaves[i])
			if k := sigbox.KindOf(err); err != nil && (k == sigbox.Unavailable || ctx.Err() != nil) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.missed = min(c.missed, index)
				return err
			}
			if err != nil {
				c.find(index, BadContent, fmt.Sprintf("entry %d", index), "an entry that the log may have taken", err.Error())
			}
		}
		return nil
	})
}

// up adds the root of a full tile to the level above it.
func (c *logCheck) up(ctx context.Context, level int, h tlog.Hash) error {
	for len(c.levels) <= level {
		c.levels, c.counts = append(c.levels, nil), append(c.counts, 0)
	}
	c.levels[level] = append(c.levels[level], h)
	if len(c.levels[level]) < tileWidth {
		return nil
	}
	full := c.levels[level]
	c.levels[level] = nil
	if err := c.compare(ctx, level, full); err != nil {
		return err
	}
	root := subtree(full)
	if level == 1 {
		if err := c.prove(ctx, c.counts[level], root); err != nil {
			return err
		}
	}
	c.counts[level]++
	return c.up(ctx, level+1, root)
}

// provenAtOnce is how many entries a tile of level 1 stands for: as many of a log that
// is read as a whole are compared with the signed tree at once, so that a check that
// is ended need not begin anew.
const provenAtOnce = tileWidth * tileWidth

// prove compares the root of a full tile of level 1 with the signed tree. Where that
// has another one, the end of the check will show what is wrong.
func (c *logCheck) prove(ctx context.Context, n uint64, root tlog.Hash) error {
	at := tlog.StoredHashIndex(2*tileHeight, int64(n)) // #nosec G115 -- 63 bits
	signed, err := c.log.hashes(ctx, c.log.head).ReadHashes([]int64{at})
	if err = tileError(err); err != nil && !broken(err) {
		return err
	}
	if err == nil && signed[0] == root && c.report.Done == n*provenAtOnce {
		c.report.Done += provenAtOnce
	}
	return nil
}

// compare fetches the tile of a level that comes next, and compares it with the
// hashes that follow from below.
func (c *logCheck) compare(ctx context.Context, level int, want []tlog.Hash) error {
	n, at := c.counts[level], c.report.Read
	name := fmt.Sprintf("tile/%d/%s", level, tileIndex(n))
	tile, err := c.log.fetchTile(ctx, tlog.Tile{H: tileHeight, L: level, N: int64(n), W: len(want)}) // #nosec G115 -- 63 bits
	switch {
	case broken(err):
		c.find(at, BadTile, name, fmt.Sprintf("%d hashes", len(want)), err.Error())
		return nil
	case err != nil:
		return err
	}
	c.report.Tiles++
	for i, h := range want {
		if got := tile[i*tlog.HashSize : (i+1)*tlog.HashSize]; !bytes.Equal(h[:], got) {
			c.find(at, BadTile, fmt.Sprintf("%s, hash %d", name, i), hex.EncodeToString(h[:]), hex.EncodeToString(got))
		}
	}
	return nil
}

// finish compares the partial tiles, and the root with the signed one: the peaks of
// the tree are folded from the right (RFC 6962 §2.1).
func (c *logCheck) finish(ctx context.Context) error {
	var root tlog.Hash
	any := false
	fold := func(hashes []tlog.Hash) {
		for len(hashes) > 0 {
			n := hashes[len(hashes)-lowest(len(hashes)):]
			hashes = hashes[:len(hashes)-len(n)]
			if h := subtree(n); any {
				root = tlog.NodeHash(h, root)
			} else {
				root, any = h, true
			}
		}
	}
	fold(c.last)
	for level := 1; level < len(c.levels); level++ {
		if len(c.levels[level]) > 0 {
			if err := c.compare(ctx, level, c.levels[level]); err != nil {
				return err
			}
		}
		fold(c.levels[level])
	}
	if root != c.log.head.Root {
		c.find(c.o.To, BadRoot, "checkpoint", hex.EncodeToString(c.log.head.Root[:]), hex.EncodeToString(root[:]))
	}
	return nil
}

// lowest gives the lowest bit that is set: how many of n hashes make the last of the
// full subtrees.
func lowest(n int) int { return n & -n }

// subtree gives the root of a full subtree, of a power of two of hashes.
func subtree(hashes []tlog.Hash) tlog.Hash {
	row := append([]tlog.Hash(nil), hashes...)
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}
