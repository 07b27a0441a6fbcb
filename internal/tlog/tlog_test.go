package tlog

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	xtlog "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/store/storetest"
	"github.com/sigbox/sigbox/wire/note"
)

const origin = "log.example.com"

// testSigner gives a signer; the same one for the same seed.
func testSigner(t testing.TB, seed string) *note.Signer {
	t.Helper()
	h := sha256.Sum256([]byte(seed))
	s, err := note.NewSigner(origin, ed25519.NewKeyFromSeed(h[:]))
	must(t, err)
	return s
}

// testConfig is a log in memory that publishes only when it is told to.
func testConfig(t testing.TB) Config {
	t.Helper()
	return Config{
		Origin: origin, KV: memory.NewKV(), Blob: memory.NewBlob(), Signers: []*note.Signer{testSigner(t, "key")},
		PublishInterval: time.Hour, KeyOf: LeafKey,
	}
}

func openLog(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() { closeLog(t, l) })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	must(t, l.Close(context.Background()))
}

func add(t testing.TB, l *Log, data string) Receipt {
	t.Helper()
	r, err := l.Add(t.Context(), Leaf{Data: []byte(data)})
	must(t, err)
	return r
}

// checkReceipt verifies the proof and the checkpoint.
func checkReceipt(t testing.TB, r Receipt, leaf []byte) {
	t.Helper()
	checkCheckpoint(t, r)
	checkProof(t, r, leaf)
}

func checkCheckpoint(t testing.TB, r Receipt) {
	t.Helper()
	cp, err := note.Open(r.Checkpoint, testSigner(t, "key").Verifier())
	must(t, err)
	if cp.Origin != origin || cp.Size != r.Size || cp.Root != r.Root {
		t.Fatalf("the checkpoint %+v is not that of size %d and root %x", cp, r.Size, r.Root)
	}
}

func checkProof(t testing.TB, r Receipt, leaf []byte) {
	t.Helper()
	if err := xtlog.CheckRecord(fromHashes(r.Proof), int64(r.Size), xtlog.Hash(r.Root), int64(r.Index), xtlog.RecordHash(leaf)); err != nil {
		t.Fatalf("proof of %d in %d: %v", r.Index, r.Size, err)
	}
}

// expectKind fails unless err is of a kind.
func expectKind(t testing.TB, err error, kind sigbox.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("expected an error of kind %v, found none", kind)
	}
	if got := sigbox.KindOf(err); got != kind {
		t.Fatalf("expected an error of kind %v, found %v: %v", kind, got, err)
	}
}

// settleTiles has the mover do its work now.
func settleTiles(t testing.TB, l *Log) {
	t.Helper()
	must(t, l.round(true))
}

func TestAdd(t *testing.T) {
	l := openLog(t, testConfig(t))
	if h := l.Head(); h.Size != 0 || h.Root != sha256.Sum256(nil) {
		t.Fatalf("an empty log has the head %+v", h)
	}
	for i := range uint64(600) {
		leaf := fmt.Sprintf("entry %d", i)
		r := add(t, l, leaf)
		if r.Index != i || r.Size != i+1 || r.Existing || string(r.Entry) != leaf {
			t.Fatalf("entry %d: found %+v", i, r)
		}
		checkReceipt(t, r, []byte(leaf))
	}
	if h := l.Head(); h.Size != 600 {
		t.Fatalf("expected size 600, found %d", h.Size)
	}
}

func TestAddRefuses(t *testing.T) {
	l := openLog(t, testConfig(t))
	if _, err := l.Add(t.Context(), Leaf{Data: make([]byte, MaxEntry)}); err != nil {
		t.Fatal(err)
	}
	_, err := l.Add(t.Context(), Leaf{Data: make([]byte, MaxEntry+1)})
	expectKind(t, err, sigbox.Invalid)
	if !strings.Contains(err.Error(), "65535") {
		t.Errorf("the bound is not in %q", err)
	}
	_, err = l.Add(t.Context(), Leaf{Make: func(uint64, time.Time) ([]byte, []byte) { return nil, nil }})
	expectKind(t, err, sigbox.Internal)

	// One that turns out to be too long gets its error, and no index.
	long := Leaf{Key: Hash{1}, Make: func(uint64, time.Time) ([]byte, []byte) { return nil, make([]byte, MaxEntry+1) }}
	_, err = l.Add(t.Context(), long)
	expectKind(t, err, sigbox.Invalid)
	if r := add(t, l, "next"); r.Index != 1 {
		t.Fatalf("expected index 1, found %d", r.Index)
	}
}

func TestDuplicates(t *testing.T) {
	cfg := testConfig(t)
	now := time.UnixMilli(1_700_000_000_000).UTC()
	cfg.Now = func() time.Time { return now }
	l := openLog(t, cfg)
	first := add(t, l, "a")
	now = now.Add(time.Minute)
	for i := range 300 {
		add(t, l, fmt.Sprint(i))
	}
	check := func(l *Log) {
		t.Helper()
		r := add(t, l, "a")
		if r.Index != first.Index || !r.Existing || !r.Time.IsZero() || string(r.Entry) != "a" || r.Size != 301 {
			t.Fatalf("expected %+v, found %+v", first, r)
		}
		checkReceipt(t, r, []byte("a"))
		r, found, err := l.Lookup(t.Context(), LeafHash([]byte("a")))
		must(t, err)
		if !found || r.Index != first.Index || !r.Time.Equal(first.Time) || string(r.Entry) != "a" {
			t.Fatalf("lookup: found %v, %+v", found, r)
		}
		checkReceipt(t, r, []byte("a"))
	}
	check(l)
	settleTiles(t, l)
	check(l) // from the blob store
	closeLog(t, l)
	check(openLog(t, cfg)) // after a restart

	l = openLog(t, cfg)
	if _, found, err := l.Lookup(t.Context(), Hash{}); found || err != nil {
		t.Fatalf("lookup of nothing: found %v, %v", found, err)
	}
}

// Many callers add the same few leaves at once; each leaf is logged once.
func TestDuplicatesInFlight(t *testing.T) {
	l := openLog(t, testConfig(t))
	var wg sync.WaitGroup
	var mu sync.Mutex
	index := map[string]uint64{}
	var made atomic.Int64
	for range 32 {
		wg.Go(func() {
			for i := range 40 {
				leaf := fmt.Sprint(i)
				r, err := l.Add(context.Background(), Leaf{Data: []byte(leaf)})
				if err != nil {
					t.Error(err)
					return
				}
				if !r.Existing {
					made.Add(1)
				}
				mu.Lock()
				if old, ok := index[leaf]; ok && old != r.Index {
					t.Errorf("leaf %s: index %d and %d", leaf, old, r.Index)
				}
				index[leaf] = r.Index
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if h := l.Head(); h.Size != 40 || made.Load() != 40 {
		t.Fatalf("expected 40 entries, found %d, of which %d are new", h.Size, made.Load())
	}
}

// A caller who goes away leaves no trace to those who wait for the same key.
func TestAbandonedLeader(t *testing.T) {
	reading, goOn := make(chan struct{}), make(chan struct{})
	l := openLog(t, testConfig(t))
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := l.Add(ctx, Leaf{Data: []byte("a"), Check: func() error {
			close(reading)
			<-goOn
			return cancelled(ctx)
		}})
		errs <- err
	}()
	<-reading // the leader's entry is checked
	follower := make(chan Receipt, 1)
	go func() {
		r, err := l.Add(context.Background(), Leaf{Data: []byte("a")})
		if err != nil {
			t.Error(err)
		}
		follower <- r
	}()
	for !l.hasFollower(LeafHash([]byte("a"))) {
		time.Sleep(time.Millisecond) // nothing tells when a call has begun to wait
	}
	cancel()
	close(goOn)
	expectKind(t, <-errs, sigbox.Unavailable)
	r := <-follower
	checkReceipt(t, r, []byte("a"))
	if r.Existing {
		t.Fatal("the follower was told that the entry exists")
	}
}

func (l *Log) hasFollower(key Hash) bool {
	l.queue.mu.Lock()
	defer l.queue.mu.Unlock()
	r := l.queue.keys[key]
	return r != nil && r.followers != nil
}

func TestMakeAndRows(t *testing.T) {
	cfg := testConfig(t)
	cfg.IndexLeaves, cfg.KeyOf = true, nil
	var leafBytes []byte
	cfg.LeafOf = func(entry []byte) ([]byte, error) {
		if string(entry) == "entry 1" {
			return leafBytes, nil
		}
		return entry, nil
	}
	l := openLog(t, cfg)
	add(t, l, "before")
	leaf := Leaf{
		Key: Hash{7},
		Make: func(index uint64, now time.Time) ([]byte, []byte) {
			leafBytes = fmt.Appendf(nil, "leaf %d %d", index, now.UnixMilli())
			return leafBytes, fmt.Appendf(nil, "entry %d", index)
		},
		Rows: func(index uint64) []store.Pair {
			return []store.Pair{{Key: []byte("name/a"), Value: fmt.Append(nil, index)}, {Key: []byte("name/b"), Value: nil}}
		},
	}
	r, err := l.Add(t.Context(), leaf)
	must(t, err)
	checkReceipt(t, r, leafBytes)
	if string(r.Entry) != "entry 1" || r.Index != 1 {
		t.Fatalf("found %+v", r)
	}
	again, err := l.Add(t.Context(), leaf)
	must(t, err)
	if !again.Existing || string(again.Entry) != "entry 1" {
		t.Fatalf("found %+v", again)
	}
	if i, err := l.LeafIndex(t.Context(), LeafHash(leafBytes)); err != nil || i != 1 {
		t.Fatalf("leaf index: expected 1, found %d, %v", i, err)
	}
	_, err = l.LeafIndex(t.Context(), Hash{})
	expectKind(t, err, sigbox.NotFound)
	if v, err := l.Row(t.Context(), []byte("name/a")); err != nil || string(v) != "1" {
		t.Fatalf("row: found %q, %v", v, err)
	}
	var keys []string
	for row, err := range l.Rows(t.Context(), []byte("name/"), nil) {
		must(t, err)
		keys = append(keys, string(row.Key))
	}
	if d := cmp.Diff([]string{"name/a", "name/b"}, keys); d != "" {
		t.Fatalf("rows (-want +got):\n%s", d)
	}
}

// Tiles and bundles are those of the specification, hot, cold and truncated.
func TestTilesAndEntries(t *testing.T) {
	cfg := testConfig(t)
	l := openLog(t, cfg)
	const size = 256*257 + 17
	o := &oracle{}
	fill(t, l, o, size)
	check := func(l *Log) {
		t.Helper()
		for _, tt := range []struct {
			level int
			index uint64
			width int
		}{{0, 0, 256}, {0, 0, 1}, {0, 0, 255}, {0, 100, 256}, {0, 256, 256}, {0, 257, 17}, {0, 257, 3}, {1, 0, 256}, {1, 0, 9}, {1, 1, 1}, {2, 0, 1}} {
			b, err := l.Tile(t.Context(), tt.level, tt.index, tt.width)
			must(t, err)
			want, err := xtlog.ReadTileData(xtlog.Tile{H: 8, L: tt.level, N: int64(tt.index), W: tt.width}, o)
			must(t, err)
			if string(b) != string(want) {
				t.Fatalf("tile %+v is not the oracle's", tt)
			}
		}
		for _, tt := range []struct {
			level int
			index uint64
			width int
		}{{0, 257, 18}, {0, 258, 1}, {1, 1, 2}, {2, 0, 2}, {3, 0, 1}, {0, 0, 0}, {0, 0, 257}, {-1, 0, 1}, {64, 0, 1}, {0, 1 << 60, 1}, {0, 1<<64 - 1, 256}} {
			_, err := l.Tile(t.Context(), tt.level, tt.index, tt.width)
			expectKind(t, err, sigbox.NotFound)
		}
		for _, tt := range []struct {
			index uint64
			width int
		}{{0, 256}, {0, 1}, {3, 200}, {256, 256}, {257, 17}, {257, 1}} {
			b, err := l.Entries(t.Context(), tt.index, tt.width)
			must(t, err)
			entries, err := splitPrefixed(b)
			must(t, err)
			if len(entries) != tt.width {
				t.Fatalf("bundle %+v has %d entries", tt, len(entries))
			}
			for i, e := range entries {
				if string(e) != string(testLeaf(tt.index*256+uint64(i))) {
					t.Fatalf("bundle %+v, entry %d: found %q", tt, i, e)
				}
			}
		}
		for _, index := range []uint64{258, 1 << 60, 1<<64 - 1} {
			_, err := l.Entries(t.Context(), index, 1)
			expectKind(t, err, sigbox.NotFound)
		}
		for _, i := range []uint64{0, 255, 256, 1000, size - 1} {
			e, at, err := l.Entry(t.Context(), i)
			must(t, err)
			if string(e) != string(testLeaf(i)) || at.IsZero() {
				t.Fatalf("entry %d: found %q at %v", i, e, at)
			}
		}
		_, _, err := l.Entry(t.Context(), size)
		expectKind(t, err, sigbox.NotFound)
		checkProofs(t, l, o, size)
	}
	settleTiles(t, l)
	check(l)
	closeLog(t, l)
	check(openLog(t, cfg))
}

// fill adds n test leaves, many at a time.
func fill(t testing.TB, l *Log, o *oracle, n uint64) {
	t.Helper()
	for from := l.Head().Size; from < n; from = l.Head().Size {
		reqs := make([]*request, 0, maxBatch)
		for i := from; i < min(n, from+maxBatch); i++ {
			r, err := l.request(Leaf{Data: testLeaf(i)})
			must(t, err)
			l.queue.reserve(r)
			reqs = append(reqs, r)
		}
		var b *batch
		for _, r := range reqs {
			var err error
			b, err = l.queue.put(r)
			must(t, err)
		}
		<-b.done
		for _, r := range reqs {
			must(t, r.err)
		}
	}
	for o != nil && o.size < int64(n) {
		o.append(t, testLeaf(uint64(o.size)))
	}
}

func checkProofs(t *testing.T, l *Log, o *oracle, size uint64) {
	t.Helper()
	for _, n := range []uint64{1, 2, 255, 256, 257, 65_535, 65_536, 65_537, size - 1, size} {
		for _, i := range []uint64{0, 1, 254, 255, 256, 65_535, 65_536, n / 2, n - 1} {
			if i >= n {
				continue
			}
			p, err := l.Inclusion(t.Context(), i, n)
			must(t, err)
			if err := xtlog.CheckRecord(fromHashes(p), int64(n), xtlog.Hash(o.root(t, n)), int64(i), xtlog.RecordHash(testLeaf(i))); err != nil {
				t.Fatalf("proof of %d in %d: %v", i, n, err)
			}
			if i == 0 {
				continue
			}
			p, err = l.Consistency(t.Context(), i, n)
			must(t, err)
			if err := xtlog.CheckTree(fromHashes(p), int64(n), xtlog.Hash(o.root(t, n)), int64(i), xtlog.Hash(o.root(t, i))); err != nil {
				t.Fatalf("consistency from %d to %d: %v", i, n, err)
			}
		}
		root, err := l.Root(t.Context(), n)
		must(t, err)
		if root != o.root(t, n) {
			t.Fatalf("root at %d is not the oracle's", n)
		}
	}
	for _, bad := range [][2]uint64{{0, size + 1}, {size, size}, {5, 5}, {1 << 63, 1 << 63}} {
		_, err := l.Inclusion(t.Context(), bad[0], bad[1])
		expectKind(t, err, sigbox.NotFound)
	}
	_, err := l.Consistency(t.Context(), 2, 1)
	expectKind(t, err, sigbox.NotFound)
	_, err = l.Consistency(t.Context(), 1, size+1)
	expectKind(t, err, sigbox.NotFound)
	_, err = l.Root(t.Context(), size+1)
	expectKind(t, err, sigbox.NotFound)
}

// What is published can be served as it lies there, and holds what it must.
func TestPublished(t *testing.T) {
	cfg := testConfig(t)
	blob := cfg.Blob
	l := openLog(t, cfg)
	names := func() (out []string) {
		for name, err := range blob.List(t.Context(), "") {
			must(t, err)
			out = append(out, name)
		}
		return out
	}
	fill(t, l, nil, 3)
	settleTiles(t, l)
	want := []string{"checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"}
	if d := cmp.Diff(want, names()); d != "" {
		t.Fatalf("published at 3 (-want +got):\n%s", d)
	}
	fill(t, l, nil, 5)
	settleTiles(t, l)
	want = []string{"checkpoint", "tile/0/000.p/3", "tile/0/000.p/5", "tile/entries/000.p/3", "tile/entries/000.p/5"}
	if d := cmp.Diff(want, names()); d != "" {
		t.Fatalf("published at 5 (-want +got):\n%s", d)
	}
	fill(t, l, nil, 256+2)
	settleTiles(t, l)
	want = []string{"checkpoint", "tile/0/000", "tile/0/001.p/2", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/2"}
	if d := cmp.Diff(want, names()); d != "" {
		t.Fatalf("published at 258 (-want +got):\n%s", d)
	}
	cp, err := blob.Get(t.Context(), "checkpoint", note.MaxSize)
	must(t, err)
	if string(cp) != l.Head().Checkpoint {
		t.Fatalf("expected the checkpoint %q, found %q", l.Head().Checkpoint, cp)
	}
	// What has moved is in the kv store no more.
	for p, err := range cfg.KV.Scan(t.Context(), []byte{rowEntry}, numberKey(rowEntry, 256)) {
		must(t, err)
		t.Fatalf("key %x is still there", p.Key)
	}
}

// TestDamagedPublished: a bundle that lost its end on the disk is not handed out as
// one that may be kept for ever.
func TestDamagedPublished(t *testing.T) {
	cfg := testConfig(t)
	l := openLog(t, cfg)
	fill(t, l, nil, 2*256)
	settleTiles(t, l)
	const name = "tile/entries/000"
	b, err := cfg.Blob.Get(t.Context(), name, 1<<20)
	must(t, err)
	must(t, cfg.Blob.(store.Publisher).Replace(t.Context(), name, b[:len(b)-100]))
	for _, width := range []int{TileWidth, TileWidth - 1} {
		_, err := l.Entries(t.Context(), 0, width)
		expectKind(t, err, sigbox.Fatal)
	}
	_, _, err = l.Entry(t.Context(), 255)
	expectKind(t, err, sigbox.Fatal)
	if e, _, err := l.Entry(t.Context(), 3); err != nil || string(e) != string(testLeaf(3)) {
		t.Errorf("an entry before the damage: found %q, %v", e, err)
	}
	if _, err := l.Entries(t.Context(), 1, TileWidth); err != nil {
		t.Errorf("another bundle cannot be read: %v", err)
	}
}

func TestRawEntries(t *testing.T) {
	cfg := testConfig(t)
	cfg.RawEntries, cfg.BundleDir = true, "data"
	entry := func(i int) []byte { return append([]byte{byte(i % 200)}, make([]byte, i%200)...) }
	cfg.LeafOf = func(b []byte) ([]byte, error) { return b[:1], nil }
	cfg.KeyOf = nil
	_, err := Open(t.Context(), cfg)
	expectKind(t, err, sigbox.Invalid)
	cfg.SplitEntries = func(b []byte) ([][]byte, error) {
		var out [][]byte
		for len(b) > 0 {
			n := 1 + int(b[0])
			if n > len(b) {
				return nil, errors.New("broken")
			}
			out = append(out, b[:n])
			b = b[n:]
		}
		return out, nil
	}
	l := openLog(t, cfg)
	for i := range 300 {
		_, err := l.Add(t.Context(), Leaf{Key: Hash{byte(i), byte(i >> 8), 1}, Make: func(uint64, time.Time) ([]byte, []byte) { return entry(i)[:1], entry(i) }})
		must(t, err)
	}
	settleTiles(t, l)
	for _, w := range []int{256, 100} {
		b, err := l.Entries(t.Context(), 0, w)
		must(t, err)
		var want []byte
		for i := range w {
			want = append(want, entry(i)...)
		}
		if string(b) != string(want) {
			t.Fatalf("bundle of %d: found %d bytes, expected %d", w, len(b), len(want))
		}
	}
	if e, _, err := l.Entry(t.Context(), 7); err != nil || string(e) != string(entry(7)) {
		t.Fatalf("entry 7: found %x, %v", e, err)
	}
	if _, err := cfg.Blob.Get(t.Context(), "tile/data/000", maxBlob); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	openLog(t, cfg)
}

func TestOverload(t *testing.T) {
	cfg := testConfig(t)
	cfg.MaxPending = 3
	gate := &gatedKV{KV: cfg.KV, commits: make(chan struct{}), may: make(chan struct{})}
	cfg.KV = gate
	l := openLog(t, cfg)
	gate.on.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { add(t, l, "first") })
	<-gate.commits // the sequencer is busy with it
	for i := range 3 {
		wg.Go(func() { add(t, l, fmt.Sprint(i)) })
	}
	for l.queue.pending() < 3 {
		time.Sleep(time.Millisecond) // nothing tells when a call is queued
	}
	_, err := l.Add(t.Context(), Leaf{Data: []byte("one too many")})
	expectKind(t, err, sigbox.Unavailable)

	// A caller may go away; the entry is logged all the same.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = l.Add(ctx, Leaf{Data: []byte("cancelled")})
	expectKind(t, err, sigbox.Unavailable)

	gate.on.Store(false)
	close(gate.may)
	wg.Wait()
	if n := l.Head().Size; n != 4 {
		t.Fatalf("expected 4 entries, found %d", n)
	}
}

// gatedKV stops commits while it is on.
type gatedKV struct {
	store.KV
	on           atomic.Bool
	commits, may chan struct{}
}

func (g *gatedKV) Commit(ctx context.Context, b store.Batch) error {
	if g.on.Load() {
		g.commits <- struct{}{}
		<-g.may
	}
	return g.KV.Commit(ctx, b)
}

func TestClock(t *testing.T) {
	cfg := testConfig(t)
	now := time.UnixMilli(1_700_000_000_500).UTC()
	cfg.Now = func() time.Time { return now }
	l := openLog(t, cfg)
	first := add(t, l, "a")
	if !first.Time.Equal(now) {
		t.Fatalf("expected %v, found %v", now, first.Time)
	}
	now = now.Add(-999 * time.Millisecond)
	if r := add(t, l, "b"); !r.Time.Equal(first.Time) {
		t.Fatalf("a small step back: expected %v, found %v", first.Time, r.Time)
	}
	now = now.Add(-2 * time.Second)
	_, err := l.Add(t.Context(), Leaf{Data: []byte("c")})
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Unavailable)
	if r := add(t, l, "a"); r.Index != 0 {
		t.Fatalf("what is there is not found: %+v", r)
	}
	now = now.Add(5 * time.Second)
	must(t, l.Err()) // nobody has to write for that
	if r := add(t, l, "c"); !r.Time.Equal(now) || r.Index != 2 {
		t.Fatalf("after the clock was set right: found %+v", r)
	}

	now = now.Add(-time.Hour)
	expectKind(t, l.Err(), sigbox.Unavailable)
	closeLog(t, l)
	expectKind(t, openLog(t, cfg).Err(), sigbox.Unavailable) // also after a restart
}

func TestClose(t *testing.T) {
	cfg := testConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	closeLog(t, l)
	closeLog(t, l)
	_, err := l.Add(t.Context(), Leaf{Data: []byte("b")})
	expectKind(t, err, sigbox.Unavailable)
	if _, _, err := l.Entry(t.Context(), 0); err != nil {
		t.Fatalf("reads do not go on: %v", err)
	}
	cp, err := cfg.Blob.Get(t.Context(), "checkpoint", note.MaxSize)
	must(t, err)
	if string(cp) != l.Head().Checkpoint {
		t.Fatal("the last checkpoint was not published")
	}
}

func TestCloseGivesUp(t *testing.T) {
	cfg := testConfig(t)
	gate := &gatedKV{KV: cfg.KV, commits: make(chan struct{}), may: make(chan struct{})}
	cfg.KV = gate
	l, err := Open(t.Context(), cfg)
	must(t, err)
	gate.on.Store(true)
	errs := make(chan error, 1)
	go func() {
		_, err := l.Add(context.Background(), Leaf{Data: []byte("a")})
		errs <- err
	}()
	<-gate.commits
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	gate.on.Store(false)
	close(gate.may)
	if err := l.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	<-errs // it has an answer, whichever
}

// Two engines on one store: the one that comes second follows the first, and
// nothing is logged twice.
func TestTwoWriters(t *testing.T) {
	cfg := testConfig(t)
	a, b := openLog(t, cfg), openLog(t, cfg)
	var wg sync.WaitGroup
	var mu sync.Mutex
	receipts := map[string][]Receipt{}
	for w := range 8 {
		l := []*Log{a, b}[w%2]
		wg.Go(func() {
			for i := range 100 {
				leaf := fmt.Sprint(i * (1 + w/4)) // half of them the same everywhere
				r, err := l.Add(context.Background(), Leaf{Data: []byte(leaf)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				receipts[leaf] = append(receipts[leaf], r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	settleTiles(t, a)
	settleTiles(t, b)
	size := max(a.Head().Size, b.Head().Size)
	if size != uint64(len(receipts)) {
		t.Fatalf("expected %d entries, found %d", len(receipts), size)
	}
	for leaf, rs := range receipts {
		for _, r := range rs {
			checkReceipt(t, r, []byte(leaf))
			if r.Index != rs[0].Index {
				t.Fatalf("leaf %s: index %d and %d", leaf, rs[0].Index, r.Index)
			}
		}
	}
	must(t, a.Err())
	must(t, b.Err())
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	cfg := testConfig(t)
	cfg.Metrics = reg
	l := openLog(t, cfg)
	add(t, l, "a")
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Fatal("two logs of one origin share their metrics")
	}
	families, err := reg.Gather()
	must(t, err)
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, want := range []string{"sigbox_log_entries_total", "sigbox_log_size", "sigbox_log_commit_seconds"} {
		if !slices.Contains(names, want) {
			t.Errorf("no metric %s in %v", want, names)
		}
	}
	closeLog(t, l)
	openLog(t, cfg)
}

// A damaged or foreign store is refused with the reason.
func TestOpenRefuses(t *testing.T) {
	write := func(key, value []byte) func(testing.TB, *Config) {
		return func(t testing.TB, cfg *Config) {
			must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: key, Value: value}}}))
		}
	}
	remove := func(key []byte) func(testing.TB, *Config) {
		return func(t testing.TB, cfg *Config) {
			must(t, cfg.KV.Commit(t.Context(), store.Batch{Deletes: []store.Range{{From: key, To: append(slices.Clone(key), 0)}}}))
		}
	}
	publish := func(name string, data func(testing.TB) string) func(testing.TB, *Config) {
		return func(t testing.TB, cfg *Config) {
			must(t, cfg.Blob.(store.Publisher).Replace(t.Context(), name, []byte(data(t))))
		}
	}
	unpublish := func(name string) func(testing.TB, *Config) {
		return func(t testing.TB, cfg *Config) { must(t, cfg.Blob.(store.Publisher).Remove(t.Context(), name)) }
	}
	checkpoint := func(size uint64, root Hash) func(testing.TB) string {
		return func(t testing.TB) string {
			text, err := note.Sign(sigbox.Checkpoint{Origin: origin, Size: size, Root: root}, testSigner(t, "key"))
			must(t, err)
			return text
		}
	}
	for name, tt := range map[string]struct {
		spoil func(testing.TB, *Config)
		say   string
	}{
		"head too short":            {write([]byte{rowHead}, []byte("x")), "damaged"},
		"entry missing":             {remove(numberKey(rowEntry, 516)), "damaged"},
		"entry changed":             {write(numberKey(rowEntry, 516), appendEntry(nil, 1, &Hash{}, []byte("x"))), "damaged"},
		"entry too short":           {write(numberKey(rowEntry, 516), []byte("x")), "damaged"},
		"tile missing":              {remove(tileKey(1, 0)), "damaged"},
		"tile changed":              {write(tileKey(1, 0), make([]byte, 64)), "damaged"},
		"tile too short":            {write(tileKey(1, 0), make([]byte, 63)), "damaged"},
		"watermark beyond the head": {write([]byte{rowMoved}, make([]byte, 8, 9)[:8:8]), ""},
		"watermark damaged":         {write([]byte{rowMoved}, []byte{1}), "damaged"},
		"watermark too high":        {write([]byte{rowMoved}, []byte{0, 0, 0, 0, 0, 0, 0, 3}), "damaged"},
		"another key":               {func(t testing.TB, c *Config) { c.Signers = []*note.Signer{testSigner(t, "other")} }, "not signed by its key"},
		"another origin":            {func(_ testing.TB, c *Config) { c.Origin = "other.example.com" }, "holds another log"},
		"tile ahead":                {publish("tile/0/002", func(testing.TB) string { return "x" }), "lost entries"},
		"bundle ahead":              {publish("tile/entries/002", func(testing.TB) string { return "x" }), "lost entries"},
		"checkpoint ahead":          {publish("checkpoint", checkpoint(518, Hash{})), "lost entries"},
		"checkpoint forked":         {publish("checkpoint", checkpoint(517, Hash{})), "forked"},
		"old checkpoint forked":     {publish("checkpoint", checkpoint(300, Hash{})), "forked"},
		"checkpoint foreign":        {publish("checkpoint", func(testing.TB) string { return "x" }), "not one of the log"},
		"tiles lost":                {func(_ testing.TB, c *Config) { c.Blob = memory.NewBlob() }, "is gone"},
		"last tile lost":            {unpublish("tile/0/001"), "is gone"},
		"last bundle lost":          {unpublish("tile/entries/001"), "is gone"},
		"kv lost":                   {func(_ testing.TB, c *Config) { c.KV = memory.NewKV() }, "lost entries"},
		"no signer":                 {func(_ testing.TB, c *Config) { c.Signers = nil }, "needs"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			l := openLog(t, cfg)
			fill(t, l, nil, 517)
			closeLog(t, l)
			tt.spoil(t, &cfg)
			l, err := Open(t.Context(), cfg)
			if tt.say == "" {
				must(t, err)
				closeLog(t, l)
				return
			}
			if err == nil {
				t.Fatal("it was opened")
			}
			if k := sigbox.KindOf(err); k != sigbox.Fatal && k != sigbox.Invalid {
				t.Errorf("expected kind fatal, found %v", k)
			}
			if !strings.Contains(err.Error(), tt.say) {
				t.Errorf("expected %q in %q", tt.say, err)
			}
		})
	}
}

// A store that is restored to an older state under a running log stops it.
func TestRolledBackWhileRunning(t *testing.T) {
	cfg := testConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	old, err := cfg.KV.Get(t.Context(), []byte{rowHead})
	must(t, err)
	add(t, l, "b")
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: []byte{rowHead}, Value: old}}}))
	_, err = l.Add(t.Context(), Leaf{Data: []byte("c")})
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Fatal)
	if _, _, err := l.Entry(t.Context(), 1); err != nil {
		t.Fatalf("reads do not go on: %v", err)
	}
}

// The fate of a commit that nobody can tell is found out.
func TestUnknownOutcome(t *testing.T) {
	for _, fault := range []storetest.Fault{storetest.LostBefore, storetest.LostAfter} {
		cfg := testConfig(t)
		faults := &storetest.Faults{}
		cfg.KV = faults.KV(cfg.KV)
		l := openLog(t, cfg)
		add(t, l, "a")
		n := faults.Writes()
		faults.Next = func(write int) storetest.Fault {
			if write == n+1 || write == n+2 { // the commit, and the first question
				return fault
			}
			return storetest.None
		}
		r := add(t, l, "b")
		checkReceipt(t, r, []byte("b"))
		if r.Index != 1 {
			t.Fatalf("fault %d: expected index 1, found %d", fault, r.Index)
		}
		if r := add(t, l, "c"); r.Index != 2 {
			t.Fatalf("fault %d: expected index 2, found %d", fault, r.Index)
		}
		must(t, l.Err())
	}
}

func TestRefusedCommit(t *testing.T) {
	cfg := testConfig(t)
	faults := &storetest.Faults{}
	cfg.KV = faults.KV(cfg.KV)
	l := openLog(t, cfg)
	add(t, l, "a")
	faults.Next = func(int) storetest.Fault { return storetest.Refused }
	_, err := l.Add(t.Context(), Leaf{Data: []byte("b")})
	expectKind(t, err, sigbox.Unavailable)
	must(t, l.Err()) // there may be room again
	faults.Next = nil
	if r := add(t, l, "b"); r.Index != 1 {
		t.Fatalf("expected index 1, found %d", r.Index)
	}
}
