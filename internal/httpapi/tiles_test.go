package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rekor1"
)

func TestParseTilePath(t *testing.T) {
	for path, want := range map[string]tilePath{
		"0/000":                          {"", 0, 0, 256},
		"63/999":                         {"", 63, 999, 256},
		"0/x001/x234/067":                {"", 0, 1234067, 256},
		"1/x001/000.p/255":               {"", 1, 1000, 255},
		"entries/000.p/1":                {"entries", 0, 0, 1},
		"entries/x123/x456/789":          {"entries", 0, 123456789, 256},
		"0/x999/x999/x999/x999/x999/999": {"", 0, 999999999999999999, 256},
	} {
		if got, ok := parseTilePath(path, "entries"); !ok || got != want {
			t.Errorf("%s: expected %+v, found %+v, %t", path, want, got, ok)
		}
	}
	for _, path := range []string{
		"", "/", "0", "0/", "0/0", "0/00", "0/0000", "0/00a", "0/-01", "0/+01", "0/ 01",
		"00/000", "01/000", "64/000", "-1/000", "x/000", "256/000",
		"0/x000/000", "0/x000/x001/000", "0/001/000", "0/x001", "0/x001/", "0/x001/x000", "0/x1/000", "0/x001//000", "0/X001/000",
		"0/000.p", "0/000.p/", "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/1/", "0/000.p/-1", "0/000.p/1.p/1", "0/x001.p/1/000", ".p/1",
		"0/x001/x001/x001/x001/x001/x001/000", "data/000", "Entries/000", "entries", "entries/", "entries/0/000",
		"0/\u0660\u0660\u0660", "0/000\x00", strings.Repeat("0/x001/", 1000) + "000",
	} {
		if got, ok := parseTilePath(path, "entries"); ok {
			t.Errorf("%q: accepted as %+v", path, got)
		}
	}
}

// path writes what parseTilePath reads.
func (t tilePath) path() string {
	s := fmt.Sprintf("%03d", t.index%1000)
	for n := t.index / 1000; n > 0; n /= 1000 {
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	if t.width < fullTile {
		s += fmt.Sprintf(".p/%d", t.width)
	}
	if t.kind != "" {
		return t.kind + "/" + s
	}
	return fmt.Sprintf("%d/%s", t.level, s)
}

func TestTilePathRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := tilePath{level: rapid.IntRange(0, 63).Draw(t, "level"), width: rapid.IntRange(1, 256).Draw(t, "width"),
			index: rapid.Uint64Range(0, 999999999999999999).Draw(t, "index")}
		if rapid.Bool().Draw(t, "entries") {
			want.kind, want.level = "entries", 0
		}
		if got, ok := parseTilePath(want.path(), "entries"); !ok || got != want {
			t.Fatalf("%s: expected %+v, found %+v, %t", want.path(), want, got, ok)
		}
	})
}

// FuzzTilePath: a path that is read is the only one of its tile.
func FuzzTilePath(f *testing.F) {
	f.Add("0/x001/x234/067.p/7")
	f.Add("entries/000")
	f.Fuzz(func(t *testing.T, path string) {
		if got, ok := parseTilePath(path, "entries"); ok && got.path() != path {
			t.Fatalf("%q is read as %+v, whose path is %q", path, got, got.path())
		}
	})
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "identity": false, "gzip, identity": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.000": false, "xgzip": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept-Encoding", header)
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: expected %t, found %t", header, want, got)
		}
	}
}

// TestTilesReading: of bundles, whose size nobody knows before, few are read at
// once, and those that wait end with their requests.
func TestTilesReading(t *testing.T) {
	reading, leave := make(chan struct{}), make(chan struct{})
	log := tileLog{bundle: func(context.Context, uint64, int) ([]byte, error) {
		reading <- struct{}{}
		<-leave
		return []byte("bundle"), nil
	}}
	h := newTiles("entries", log, tileCaching, slog.New(slog.DiscardHandler))
	get := func(ctx context.Context) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/tile/entries/000", nil)
		r.SetPathValue("path", "entries/000")
		h.ServeHTTP(w, r)
		return w
	}
	var all sync.WaitGroup
	for range maxReading {
		all.Go(func() {
			if w := get(t.Context()); w.Code != http.StatusOK || w.Body.String() != "bundle" {
				t.Errorf("%d: %s", w.Code, w.Body)
			}
		})
		<-reading
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := get(gone); w.Code != statusClientClosed {
		t.Errorf("one more: found %d", w.Code)
	}
	close(leave)
	all.Wait()
}

// TestAnswersAreCounted: every read of a log is in the bound of answers that wait,
// with the copies that are made of it.
func TestAnswersAreCounted(t *testing.T) {
	large := make([]byte, smallAnswer+1)
	log := tileLog{bundle: func(context.Context, uint64, int) ([]byte, error) { return large, nil }}
	h := newTiles("entries", log, tileCaching, slog.New(slog.DiscardHandler))
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) error
		held   int64 // at least
	}{
		"a bundle": {func(w http.ResponseWriter, r *http.Request) error {
			r.SetPathValue("path", "entries/000")
			h.ServeHTTP(w, r)
			if w := w.(*recorder); w.status != http.StatusOK {
				return sigbox.Errorf(sigbox.Unavailable, "status %d", w.status)
			}
			return nil
		}, int64(len(large))},
		"a bundle by gRPC": {func(w http.ResponseWriter, r *http.Request) error {
			ctx := context.WithValue(r.Context(), rpcExchangeKey{}, &rpcExchange{w: w, r: r})
			_, err := rekorCalls{tiles: h}.entryBundle(ctx, []byte("\x0a\x03000"))
			return err
		}, 3 * int64(len(large))},
		"an entry of v1": {func(w http.ResponseWriter, _ *http.Request) error {
			return readEntry(w, rekor1.Entry{LogEntry: sigbox.LogEntry{Body: large, Inclusion: new(sigbox.Inclusion)}}, nil)
		}, int64(len(large)) * 4 / 3},
	} {
		w := &recorder{ResponseWriter: httptest.NewRecorder(), guard: &guard{Guarded: new(Guarded)}}
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		w.request = r
		r.Pattern = "/x"
		if err := c.answer(w, r); err != nil || w.held < c.held {
			t.Errorf("%s: %d bytes are counted, expected %d: %v", name, w.held, c.held, err)
		}
		w.guard.answers.Store(maxAnswerBytes)
		w.status = 0
		if err := c.answer(w, r); sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("%s, without room: %v", name, err)
		}
	}
}
