package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

const (
	// tileHeight and tileWidth are those of tlog-tiles.
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// maxBundle bounds an entry bundle: 256 entries of two bytes of length and at
	// most 65,535 bytes. Data tiles of certificate logs have no bound of their own;
	// that of 64 KiB for each entry is ten times what they have.
	maxBundle = tileWidth * (2 + 1<<16 - 1)
	// maxCachedTiles bounds the tiles that a reader keeps, of 8 kB each.
	maxCachedTiles = 512
	// parallelReads is how many files of a log are asked for at once.
	parallelReads = 8
)

// tileCache keeps tiles that were found to belong to a signed tree.
type tileCache struct {
	mu    sync.Mutex
	tiles map[tlog.Tile][]byte // guarded by mu; their bytes never change
}

func (c *tileCache) get(t tlog.Tile) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tiles[t]
}

func (c *tileCache) put(tiles []tlog.Tile, data [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tiles == nil || len(c.tiles)+len(tiles) > maxCachedTiles {
		c.tiles = make(map[tlog.Tile][]byte)
	}
	for i, t := range tiles {
		c.tiles[t] = data[i]
	}
}

// hashes reads the hashes of a signed tree; what does not belong to it is an error.
func (r *LogReader) hashes(ctx context.Context, tree sigbox.Checkpoint) tlog.HashReader {
	return tlog.TileHashReader(tlog.Tree{N: int64(tree.Size), Hash: tree.Root}, &tileReader{ctx, r}) // #nosec G115 -- 63 bits
}

// tileReader is the tlog.TileReader of one call.
type tileReader struct {
	ctx context.Context //nolint:containedctx // tlog's interface has no place for it
	log *LogReader
}

func (*tileReader) Height() int { return tileHeight }

func (t *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	group, ctx := errgroup.WithContext(t.ctx)
	group.SetLimit(parallelReads)
	for i, tile := range tiles {
		if data[i] = t.log.cache.get(tile); data[i] != nil {
			continue
		}
		group.Go(func() (err error) {
			data[i], err = t.log.fetchTile(ctx, tile)
			return err
		})
	}
	return data, group.Wait()
}

// SaveTiles is called with tiles that have been authenticated.
func (t *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) { t.log.cache.put(tiles, data) }

// tileError gives what package tlog says of tiles a kind.
func tileError(err error) error {
	if _, ours := errors.AsType[*sigbox.Error](err); err == nil || ours {
		return err
	}
	return sigbox.Errorf(sigbox.NotVerified, "the log's tiles do not lead to its signed root").
		WithHint("the server has sent something else than what the log signed; sigbox log fsck says where").WithCause(err)
}

// fetchTile gets a tile of hashes. Nothing of it has been checked but its length.
func (r *LogReader) fetchTile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	path := fmt.Sprintf("tile/%d/%s", t.L, tileIndex(uint64(t.N))) // #nosec G115 -- not negative
	data, err := r.fetchPart(ctx, path, t.W, tileWidth*tlog.HashSize)
	if err != nil {
		return nil, err
	}
	want := t.W * tlog.HashSize
	if len(data) < want {
		return nil, sigbox.Mismatch(sigbox.NotVerified, "length of the tile "+path, want, len(data))
	}
	return data[:want], nil
}

// fetchPart gets a tile or bundle of a width. A partial one that is no longer there
// has become part of the full one (tlog-tiles, Partial Tiles).
func (r *LogReader) fetchPart(ctx context.Context, path string, width int, limit int64) ([]byte, error) {
	full := request{service: logService, method: http.MethodGet, url: r.tiles + "/" + path, limit: limit}
	if width == tileWidth {
		resp, err := r.client.expect(ctx, full, http.StatusOK)
		return resp.body, err
	}
	part := full
	part.url = fmt.Sprintf("%s.p/%d", full.url, width)
	resp, err := r.client.expect(ctx, part, http.StatusOK)
	if err != nil && sigbox.KindOf(err) == sigbox.NotFound {
		if other, ferr := r.client.expect(ctx, full, http.StatusOK); ferr == nil {
			return other.body, nil
		}
	}
	return resp.body, err
}

// tileIndex writes a tile's index: x001/x234/067 (tlog-tiles, Merkle Tree).
func tileIndex(n uint64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}

// widthOf is the width that a bundle has in a tree.
func widthOf(bundle, size uint64) int {
	return int(min(size-bundle*tileWidth, tileWidth)) // #nosec G115 -- at most 256
}

// bundlePath is where the entries of a tile are: tlog-tiles has them in "entries",
// static-ct-api in "data".
func (r *LogReader) bundlePath(n uint64) string {
	if r.key.ct {
		return "tile/data/" + tileIndex(n)
	}
	return "tile/entries/" + tileIndex(n)
}

// fetchBundle gets the leaves of a bundle. Nothing of them has been checked but
// that the bundle has as many as it must.
func (r *LogReader) fetchBundle(ctx context.Context, n uint64, width int) ([]Leaf, error) {
	path := r.bundlePath(n)
	data, err := r.fetchPart(ctx, path, width, maxBundle)
	if err != nil {
		return nil, err
	}
	split := splitBundle
	if r.key.ct {
		split = splitData
	}
	leaves, ok := split(data, width)
	if !ok {
		return nil, sigbox.Mismatch(sigbox.NotVerified, "the entry bundle "+path,
			fmt.Sprintf("%d entries, one after the other", width), fmt.Sprintf("%d bytes of another form", len(data)))
	}
	return leaves, nil
}

// splitBundle takes a bundle apart: each entry stands after its length in two bytes
// (tlog-tiles, Log Entries). A fuller bundle than the wanted one is read as far as
// needed.
func splitBundle(data []byte, width int) (leaves []Leaf, ok bool) {
	leaves = make([]Leaf, 0, width)
	for len(leaves) < width {
		if len(data) < 2 {
			return nil, false
		}
		n := 2 + int(binary.BigEndian.Uint16(data))
		if len(data) < n {
			return nil, false
		}
		leaves, data = append(leaves, Leaf{Data: data[2:n:n]}), data[n:]
	}
	return leaves, width < tileWidth || len(data) == 0
}

// splitData takes a data tile apart (static-ct-api, Log Entries), as splitBundle
// does.
func splitData(data []byte, width int) (leaves []Leaf, ok bool) {
	leaves = make([]Leaf, 0, width)
	for len(leaves) < width {
		e, rest, err := cert.ParseTileLeaf(data)
		if err != nil {
			return nil, false
		}
		leaves, data = append(leaves, Leaf{Data: e.MerkleTreeLeaf(), Time: timeCT(&e), Certificate: &e}), rest
	}
	return leaves, width < tileWidth || len(data) == 0
}

// bundle gives the leaves of a bundle, each as the head has it.
func (r *LogReader) bundle(ctx context.Context, n uint64) ([]Leaf, error) {
	width := widthOf(n, r.head.Size)
	var leaves []Leaf
	var want []tlog.Hash
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		leaves, err = r.fetchBundle(gctx, n, width)
		return err
	})
	group.Go(func() (err error) {
		at := make([]int64, width)
		for i := range at {
			at[i] = tlog.StoredHashIndex(0, int64(n*tileWidth)+int64(i)) // #nosec G115 -- 63 bits
		}
		want, err = r.hashes(gctx, r.head).ReadHashes(at)
		return tileError(err)
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i := range leaves {
		if got := leaves[i].hash(); got != want[i] {
			return nil, sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("entry %d of the log", n*tileWidth+uint64(i)), // #nosec G115 -- not negative
				"leaf hash "+want[i].String(), got.String())
		}
	}
	return leaves, nil
}

// inOrder calls get for the numbers from one up to another, several at once, and
// use with what they give, one after another.
func inOrder[T any](ctx context.Context, from, to uint64, get func(context.Context, uint64) (T, error), use func(uint64, T) error) error {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan chan result, parallelReads-1)
	go func() {
		defer close(results)
		for n := from; n < to; n++ {
			one := make(chan result, 1)
			select {
			case results <- one:
			case <-ctx.Done():
				return
			}
			go func() {
				v, err := get(ctx, n)
				one <- result{v, err}
			}()
		}
	}()
	n := from
	for one := range results {
		got := <-one
		if got.err != nil {
			return got.err
		}
		if err := use(n, got.value); err != nil {
			return err
		}
		n++
	}
	if n < to { // the producer has given up
		return sigbox.Errorf(sigbox.Unavailable, "reading the log was ended").WithCause(context.Cause(ctx))
	}
	return nil
}
