package tlog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	xtlog "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// truth is what a log of test leaves must answer.
type truth struct {
	o    *oracle
	size uint64
}

// readAll reads around some indexes all that a log has, and fails on anything that
// is neither right nor an error that names damage. It reports whether there was
// such an error.
func (tr truth) readAll(t testing.TB, l *Log, indexes ...uint64) (damage bool) {
	t.Helper()
	bad := func(err error) bool {
		t.Helper()
		d, ok := errors.AsType[*Damage](err)
		if err != nil && (!ok || d.Name == "") {
			t.Fatalf("an error that names no damage: %v", err)
		}
		damage = damage || ok
		return ok
	}
	for lv := 0; tr.size>>(8*lv) > 0; lv++ {
		for _, i := range indexes {
			n, hashes := i>>(8*(lv+1)), tr.size>>(8*lv)
			w := int(min(256, hashes-n*256))
			b, err := l.Tile(t.Context(), lv, n, w)
			if bad(err) {
				continue
			}
			want, err := xtlog.ReadTileData(xtlog.Tile{H: 8, L: lv, N: int64(n), W: w}, tr.o)
			must(t, err)
			if !bytes.Equal(b, want) {
				t.Fatalf("tile %d/%d is wrong", lv, n)
			}
		}
	}
	for _, i := range indexes {
		tr.readIndex(t, l, i, bad)
	}
	return damage
}

func (tr truth) readIndex(t testing.TB, l *Log, i uint64, bad func(error) bool) {
	t.Helper()
	w := int(min(256, tr.size-i&^255))
	if b, err := l.Entries(t.Context(), i>>8, w); !bad(err) {
		var want []byte
		for j := range uint64(w) {
			want = l.cfg.appendBundled(want, testLeaf(i&^255+j))
		}
		if !bytes.Equal(b, want) {
			t.Fatalf("bundle %d is wrong", i>>8)
		}
	}
	if e, _, err := l.Entry(t.Context(), i); !bad(err) && !bytes.Equal(e, testLeaf(i)) {
		t.Fatalf("entry %d is wrong", i)
	}
	leaf := LeafHash(testLeaf(i))
	if r, found, err := l.Lookup(t.Context(), leaf); !bad(err) && found {
		checkReceipt(t, r, testLeaf(i))
	}
	if n, err := l.LeafIndex(t.Context(), leaf); !bad(err) && n != i {
		t.Fatalf("leaf %d is said to be at %d", i, n)
	}
	if r, err := l.Add(t.Context(), Leaf{Data: testLeaf(i)}); !bad(err) {
		checkReceipt(t, r, testLeaf(i))
	}
	for _, n := range []uint64{i + 1, (tr.size + i + 1) / 2, tr.size} {
		if p, err := l.Inclusion(t.Context(), i, n); !bad(err) {
			must(t, xtlog.CheckRecord(fromHashes(p), int64(n), xtlog.Hash(tr.o.root(t, n)), int64(i), xtlog.RecordHash(testLeaf(i))))
		}
		if p, err := l.Consistency(t.Context(), i+1, n); !bad(err) && i+1 < n {
			must(t, xtlog.CheckTree(fromHashes(p), int64(n), xtlog.Hash(tr.o.root(t, n)), int64(i+1), xtlog.Hash(tr.o.root(t, i+1))))
		}
	}
}

// damagedRun opens a log whose stores are damaged and reads it.
func damagedRun(t testing.TB, cfg Config, tr truth, indexes ...uint64) (damage bool) {
	t.Helper()
	l, err := Open(t.Context(), cfg)
	if err != nil {
		if _, ok := errors.AsType[*Damage](err); !ok && !strings.Contains(err.Error(), "not signed by its key") {
			t.Fatalf("not opened, and no damage is named: %v", err)
		}
		return true
	}
	defer closeLog(t, l)
	return tr.readAll(t, l, indexes...)
}

// One bit is flipped, in each file and each row in turn. What the log answers is
// right, or it is an error that names the place.
func TestFlippedBits(t *testing.T) {
	cfg := testConfig(t)
	cfg.IndexLeaves = true
	tr := truth{&oracle{}, 2*256 + 3}
	l := openLog(t, cfg)
	fill(t, l, tr.o, 2*256)
	settleTiles(t, l)
	fill(t, l, tr.o, tr.size)
	closeLog(t, l)
	indexes := []uint64{0, 3, 255, 256, 300, 511, 512, 514}
	if damagedRun(t, cfg, tr, indexes...) {
		t.Fatal("damage where there is none")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	blob := cfg.Blob.(store.Publisher)
	for _, name := range blobNames(t, blob) {
		if name == "checkpoint" || strings.Contains(name, ".p/") {
			continue // published, never read back but to be compared
		}
		right, err := blob.Get(t.Context(), name, maxBlob)
		must(t, err)
		must(t, blob.Replace(t.Context(), name, flip(rng, right)))
		if !damagedRun(t, cfg, tr, indexes...) {
			t.Errorf("%s: nobody noticed", name)
		}
		must(t, blob.Replace(t.Context(), name, right))
	}
	found := 0
	for _, row := range rows(t, cfg.KV) {
		first := 0
		switch row.Key[0] {
		case rowTimes:
			continue // nothing but the kv store's own checksums tells
		case rowEntry:
			first = 8 // the same holds for the time
		case rowDedup, rowLeaf:
			if rng.IntN(20) > 0 {
				continue
			}
		}
		value := append(slices.Clone(row.Value[:first]), flip(rng, row.Value[first:])...)
		must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: row.Key, Value: value}}}))
		if damagedRun(t, cfg, tr, indexes...) {
			found++
		} else if c := row.Key[0]; c != rowDedup && c != rowLeaf && (c != rowHead) {
			t.Errorf("%s: nobody noticed", rowName(row.Key))
		}
		must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{row}}))
	}
	if found < 5 {
		t.Errorf("only %d rows were seen to be damaged", found)
	}
}

// A tile high up is checked, and what stands on it; other parts of the log can be
// read.
func TestFlippedHighTile(t *testing.T) {
	cfg := testConfig(t)
	cfg.IndexLeaves = true
	tr := truth{&oracle{}, 256*256 + 300}
	l := openLog(t, cfg)
	fill(t, l, tr.o, tr.size)
	settleTiles(t, l)
	closeLog(t, l)
	if r := mustCheck(t, cfg); !r.OK() || r.Entries != tr.size {
		t.Fatalf("found %+v", r)
	}
	blob := cfg.Blob.(store.Publisher)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"tile/0/017", "tile/entries/017"} {
		right, err := blob.Get(t.Context(), name, maxBlob)
		must(t, err)
		must(t, blob.Replace(t.Context(), name, flip(rng, right)))
		if !damagedRun(t, cfg, tr, 17*256+5) {
			t.Errorf("%s: nobody noticed", name)
		}
		if damagedRun(t, cfg, tr, 20*256, 65535, 65536+17, tr.size-1) {
			t.Errorf("%s: damage elsewhere", name)
		}
		must(t, blob.Replace(t.Context(), name, right))
	}
	// The right edge stands on the full tile of level 1: that is seen at the start.
	right, err := blob.Get(t.Context(), "tile/1/000", maxBlob)
	must(t, err)
	must(t, blob.Replace(t.Context(), "tile/1/000", flip(rng, right)))
	_, err = Open(t.Context(), cfg)
	expectKind(t, err, sigbox.Fatal)
	if d, ok := errors.AsType[*Damage](err); !ok || d.Name != "tile/1/000" {
		t.Errorf("expected damage of tile/1/000, found %v", err)
	}
}

// The mover does not publish what is damaged, and does not let go of it.
func TestDamageIsNotMoved(t *testing.T) {
	cfg := testConfig(t)
	l := openLog(t, cfg)
	fill(t, l, nil, 255)
	key := numberKey(rowEntry, 7)
	v, err := cfg.KV.Get(t.Context(), key)
	must(t, err)
	bad := bytes.Clone(v)
	bad[len(bad)-1] ^= 1
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: key, Value: bad}}}))
	fill(t, l, nil, 256)
	err = l.round(true)
	if d, ok := errors.AsType[*Damage](err); !ok || d.Name != rowName(key) {
		t.Fatalf("expected damage of %s, found %v", rowName(key), err)
	}
	if names := blobNames(t, cfg.Blob); slices.Contains(names, "tile/entries/000") {
		t.Fatalf("it was published: %v", names)
	}
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: key, Value: v}}}))
	must(t, l.round(true))
	must(t, l.Err())
}

// flip gives data with one bit changed.
func flip(rng *rand.Rand, data []byte) []byte {
	out := bytes.Clone(data)
	out[rng.IntN(len(out))] ^= 1 << rng.IntN(8)
	return out
}

func blobNames(t testing.TB, blob store.Blob) (names []string) {
	t.Helper()
	for name, err := range blob.List(t.Context(), "") {
		must(t, err)
		names = append(names, name)
	}
	return names
}

func rows(t testing.TB, kv store.KV) (rows []store.Pair) {
	t.Helper()
	for row, err := range kv.Scan(t.Context(), []byte{' '}, nil) {
		must(t, err)
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		t.Fatal("no rows")
	}
	return rows
}
