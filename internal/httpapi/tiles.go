package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
)

const (
	// fullTile is the width of a full tile, in hashes or entries.
	fullTile = 256

	// A tile never changes: tlog-tiles wants long-lived caching. At the place of the
	// shard that takes entries it is another log's one day. A checkpoint is replaced all
	// the time.
	tileCaching       = "public, max-age=31536000, immutable"
	shardCaching      = "public, max-age=60"
	checkpointCaching = "public, max-age=1"

	checkpointType = "text/plain; charset=utf-8"
	tileType       = "application/octet-stream"
)

// tilePath is what a path below /tile/ names.
type tilePath struct {
	// kind is "" for a tile of hashes, or what stands in the level's place:
	// "entries" in tlog-tiles, "data" and "names" in static-ct-api.
	kind  string
	level int
	index uint64
	width int // 1 to 255, or fullTile
}

// parseTilePath reads <L>/<N>[.p/<W>], or with a kind of kinds in the place of L.
// A tile has one path: leading zeros and needless groups are no path at all.
//
// Source: C2SP tlog-tiles, "Merkle Tree" and "Log entries".
func parseTilePath(path string, kinds ...string) (tilePath, bool) {
	t := tilePath{width: fullTile}
	first, rest, _ := strings.Cut(path, "/")
	if !t.parseLevel(first, kinds) {
		return t, false
	}
	if index, width, partial := strings.Cut(rest, ".p/"); partial {
		w, ok := decimal(width, fullTile-1)
		if !ok || w == 0 {
			return t, false
		}
		t.width, rest = int(w), index // #nosec G115 -- at most 255
	}
	var ok bool
	t.index, ok = parseTileIndex(rest)
	return t, ok
}

func (t *tilePath) parseLevel(s string, kinds []string) bool {
	for _, k := range kinds {
		if s == k {
			t.kind = k
			return true
		}
	}
	level, ok := decimal(s, 63)
	t.level = int(level) // #nosec G115 -- at most 63
	return ok
}

// parseTileIndex reads groups of three digits, all but the last with an x before
// them: x001/x234/067 is 1234067. Six groups reach beyond any tree that fits
// into int64.
func parseTileIndex(s string) (uint64, bool) {
	groups := strings.Split(s, "/")
	if len(groups) > 6 || (len(groups) > 1 && groups[0] == "x000") {
		return 0, false
	}
	var n uint64
	for i, g := range groups {
		if i < len(groups)-1 {
			var ok bool
			if g, ok = strings.CutPrefix(g, "x"); !ok {
				return 0, false
			}
		}
		if len(g) != 3 || !digits(g) {
			return 0, false
		}
		n = n*1000 + uint64(g[0]-'0')*100 + uint64(g[1]-'0')*10 + uint64(g[2]-'0')
	}
	return n, true
}

// decimal reads a number of at most limit without leading zeros.
func decimal(s string, limit uint64) (uint64, bool) {
	if len(s) == 0 || len(s) > 3 || !digits(s) || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return n, err == nil && n <= limit
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// tileOf reads the tile that the rest of a request's path names. The error is of
// kind NotFound: a path that is not canonical names nothing.
func tileOf(r *http.Request, rest string, kinds ...string) (tilePath, error) {
	if r.URL.RawPath != "" { // a canonical path has no escapes
		return tilePath{}, noTile(rest)
	}
	return parseTile(rest, kinds...)
}

// parseTile is parseTilePath with an error of kind NotFound.
func parseTile(path string, kinds ...string) (tilePath, error) {
	t, ok := parseTilePath(path, kinds...)
	if !ok {
		return t, noTile(path)
	}
	return t, nil
}

func noTile(path string) error {
	return sigbox.Errorf(sigbox.NotFound, "no tile has the path %.80q", path).
		WithHint("paths are as in C2SP tlog-tiles: tile/0/x001/234 or tile/0/x001/234.p/7")
}

// tiles answers for the tiles and bundles of a log, whose path below /tile/ is the
// request's {path...}.
type tiles struct {
	// kind stands in the level's place for bundles.
	kind    string
	log     tileLog
	caching string // for how long answers hold
	logger  *slog.Logger

	reading chan struct{} // an element for each bundle that is being read
	zip     zipper
}

// tileLog is a log that reads by tiles.
type tileLog struct {
	hashes func(ctx context.Context, level int, index uint64, width int) ([]byte, error)
	bundle func(ctx context.Context, index uint64, width int) ([]byte, error)
}

// registerTiles adds the checkpoint and the tiles of a log to mux, below a prefix; kind
// is what its bundles are called.
func registerTiles(mux *http.ServeMux, prefix, kind string, log ReadLog, caching string, logger *slog.Logger) *tiles {
	mux.HandleFunc("GET "+prefix+"/checkpoint", func(w http.ResponseWriter, _ *http.Request) {
		writeCheckpoint(w, log.Checkpoint())
	})
	t := newTiles(kind, tileLog{log.Tile, log.Entries}, caching, logger)
	mux.Handle("GET "+prefix+"/tile/{path...}", t)
	return t
}

// maxReading is how many bundles of a log are read, and compressed, at once. The
// largest has 16 MiB, which nobody knows before.
const maxReading = 8

func newTiles(kind string, log tileLog, caching string, logger *slog.Logger) *tiles {
	return &tiles{kind: kind, log: log, caching: caching, logger: logger, reading: make(chan struct{}, maxReading)}
}

func (h *tiles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, err := tileOf(r, r.PathValue("path"), h.kind)
	var data []byte
	switch {
	case err != nil:
	case t.kind == "":
		data, err = h.log.hashes(r.Context(), t.level, t.index, t.width)
	default:
		w.Header().Set("Vary", "Accept-Encoding")
		packed := acceptsGzip(r)
		if data, err = h.bundle(r.Context(), w, t, packed, 1); err == nil && packed {
			w.Header().Set("Content-Encoding", "gzip")
		}
	}
	if err != nil {
		writeError(w, r, h.logger, err)
		return
	}
	writeTile(w, data, h.caching)
}

// bundle reads an entry bundle for an answer on w, if there is room for it and its
// copies.
func (h *tiles) bundle(ctx context.Context, w http.ResponseWriter, t tilePath, packed bool, copies int) ([]byte, error) {
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	case <-ctx.Done():
		return nil, sigbox.Errorf(sigbox.Unavailable, "the request ended").WithCause(ctx.Err())
	}
	data, err := h.log.bundle(ctx, t.index, t.width)
	if err != nil {
		return nil, err
	}
	if packed {
		data = h.zip.pack(data)
	}
	return data, holdAnswer(w, copies*len(data))
}

// writeTile answers with a tile of hashes or a bundle.
func writeTile(w http.ResponseWriter, tile []byte, caching string) {
	h := w.Header()
	h.Set("Cache-Control", caching)
	h.Set("Content-Length", strconv.Itoa(len(tile)))
	writeBytes(w, http.StatusOK, tileType, tile)
}

// writeCheckpoint answers with a signed note.
func writeCheckpoint(w http.ResponseWriter, note string) {
	w.Header().Set("Cache-Control", checkpointCaching)
	writeBytes(w, http.StatusOK, checkpointType, []byte(note))
}

// zipper compresses entry bundles, which tlog-tiles asks for. The zero value is
// ready; it keeps compressors, which are large, from one answer to the next, and
// none while an answer waits for its client.
type zipper struct{ pool sync.Pool }

// pack compresses a bundle.
func (z *zipper) pack(bundle []byte) []byte {
	gz, ok := z.pool.Get().(*gzip.Writer)
	if !ok {
		gz = gzip.NewWriter(nil)
	}
	defer z.pool.Put(gz)
	var b bytes.Buffer
	gz.Reset(&b)
	_, _ = gz.Write(bundle) // a buffer takes all
	_ = gz.Close()
	gz.Reset(nil) // the pool is not to keep the answer
	return b.Bytes()
}

// acceptsGzip reports whether gzip is among the accepted encodings, and not with
// a quality of 0 (RFC 9110 §12.5.3).
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			quality := strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				return quality == "" || strings.Trim(quality, "0.") != ""
			}
		}
	}
	return false
}
