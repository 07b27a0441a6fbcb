package remote

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
)

// LogCheck changes what [LogReader.Check] does. The zero value is for use.
type LogCheck struct {
	// Progress, if not nil, is told how many entries are through.
	Progress func(done, total uint64)
	// Entry, if not nil, looks at what an entry says; its error becomes a finding.
	Entry func(index uint64, leaf []byte) error
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
}

// LogReport is what a check has seen.
type LogReport struct {
	Entries, Bytes, Tiles uint64
	Findings              []LogFinding
	Found                 uint64 // also those that are not listed
}

// Check reads all of a log and compares: each entry with the tile that has its hash,
// each tile with those below it, and the root with the signed head. Memory is
// bounded, whatever the log's size. An error means that the log could not be read;
// what is wrong with it stands in the report.
func (r *LogReader) Check(ctx context.Context, o LogCheck) (*LogReport, error) {
	if err := r.needTiles(); err != nil {
		return nil, err
	}
	c := &logCheck{log: r, o: o, report: new(LogReport)}
	if r.head.Size == 0 {
		return c.report, nil
	}
	if err := inOrder(ctx, 0, (r.head.Size-1)/tileWidth+1, c.fetch, func(n uint64, got checkedBundle) error {
		return c.bundle(ctx, n, got)
	}); err != nil {
		return nil, err
	}
	if err := c.finish(ctx); err != nil {
		return nil, err
	}
	return c.report, nil
}

// logCheck is one check. All but fetch runs in one goroutine.
type logCheck struct {
	log    *LogReader
	o      LogCheck
	report *LogReport
	// levels are the hashes above the leaves of which no tile is full yet.
	levels [][]tlog.Hash
	counts []uint64 // full tiles of each level
	last   []tlog.Hash
}

// checkedBundle is a bundle and its tile of level 0, as they came; an error of
// their content or absence is kept.
type checkedBundle struct {
	entries  [][]byte
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
		if got.entries, err = c.log.fetchBundle(gctx, n, width); broken(err) {
			got.entryErr, err = err, nil
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

func (c *logCheck) find(what, name, want, got string) {
	c.report.Found++
	if len(c.report.Findings) < maxLogFindings {
		c.report.Findings = append(c.report.Findings, LogFinding{what, name, want, got})
	}
}

// bundle compares entries with their tile, and goes on with the hashes of the one
// that is right.
func (c *logCheck) bundle(ctx context.Context, n uint64, got checkedBundle) error {
	width := widthOf(n, c.log.head.Size)
	bundleName, tileName := "tile/entries/"+tileIndex(n), "tile/0/"+tileIndex(n)
	if got.entryErr != nil {
		c.find(BadEntry, bundleName, fmt.Sprintf("%d entries", width), got.entryErr.Error())
	}
	if got.tileErr != nil {
		c.find(BadTile, tileName, fmt.Sprintf("%d hashes", width), got.tileErr.Error())
	}
	c.report.Tiles++
	hashes, leaves := make([]tlog.Hash, width), make([]tlog.Hash, len(got.entries))
	for i, leaf := range got.entries {
		leaves[i] = tlog.RecordHash(leaf)
	}
	copy(hashes, leaves)
	if got.tileErr == nil {
		for i := range hashes {
			hashes[i] = tlog.Hash(got.tile[i*tlog.HashSize:])
		}
		right, err := c.judge(ctx, n, bundleName, tileName, hashes, leaves)
		if err != nil {
			return err
		}
		hashes = right
	}
	for i, leaf := range got.entries {
		if leaves[i] == hashes[i] {
			c.entry(n*tileWidth+uint64(i), leaf) // #nosec G115 -- not negative
		}
	}
	if c.o.Progress != nil {
		c.o.Progress(n*tileWidth+uint64(width), c.log.head.Size) // #nosec G115 -- not negative
	}
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
		switch {
		case tile[i] == leaves[i]:
		case err == nil:
			c.find(BadEntry, fmt.Sprintf("%s, entry %d", bundleName, n*tileWidth+uint64(i)), tile[i].String(), leaves[i].String()) // #nosec G115 -- not negative
		default:
			c.find(BadTile, fmt.Sprintf("%s, hash %d", tileName, i), leaves[i].String(), tile[i].String())
		}
	}
	if err == nil {
		return tile, nil
	}
	return leaves, nil
}

// entry counts an entry that is in the tree, and looks at what it says.
func (c *logCheck) entry(index uint64, leaf []byte) {
	c.report.Entries++
	c.report.Bytes += uint64(len(leaf))
	if c.o.Entry == nil {
		return
	}
	if err := c.o.Entry(index, leaf); err != nil {
		c.find(BadContent, fmt.Sprintf("entry %d", index), "an entry of the log's kind", err.Error())
	}
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
	c.counts[level]++
	return c.up(ctx, level+1, subtree(full))
}

// compare fetches the tile of a level that comes next, and compares it with the
// hashes that follow from below.
func (c *logCheck) compare(ctx context.Context, level int, want []tlog.Hash) error {
	n := c.counts[level]
	name := fmt.Sprintf("tile/%d/%s", level, tileIndex(n))
	tile, err := c.log.fetchTile(ctx, tlog.Tile{H: tileHeight, L: level, N: int64(n), W: len(want)}) // #nosec G115 -- 63 bits
	switch {
	case broken(err):
		c.find(BadTile, name, fmt.Sprintf("%d hashes", len(want)), err.Error())
		return nil
	case err != nil:
		return err
	}
	c.report.Tiles++
	for i, h := range want {
		if got := tile[i*tlog.HashSize : (i+1)*tlog.HashSize]; !bytes.Equal(h[:], got) {
			c.find(BadTile, fmt.Sprintf("%s, hash %d", name, i), hex.EncodeToString(h[:]), hex.EncodeToString(got))
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
		c.find(BadRoot, "checkpoint", hex.EncodeToString(c.log.head.Root[:]), hex.EncodeToString(root[:]))
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
