package tlog

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	xtlog "golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// oracle is a tree of golang.org/x/mod/sumdb/tlog, kept in memory.
type oracle struct {
	hashes []xtlog.Hash
	size   int64
}

func (o *oracle) ReadHashes(indexes []int64) ([]xtlog.Hash, error) {
	out := make([]xtlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = o.hashes[x]
	}
	return out, nil
}

func (o *oracle) append(t testing.TB, leaf []byte) {
	t.Helper()
	hs, err := xtlog.StoredHashes(o.size, leaf, o)
	must(t, err)
	o.hashes = append(o.hashes, hs...)
	o.size++
}

func (o *oracle) root(t testing.TB, n uint64) Hash {
	t.Helper()
	h, err := xtlog.TreeHash(int64(n), o)
	must(t, err)
	if n == 0 {
		return sha256.Sum256(nil)
	}
	return Hash(h)
}

func (o *oracle) inclusion(t testing.TB, n, i uint64) []Hash {
	t.Helper()
	p, err := xtlog.ProveRecord(int64(n), int64(i), o)
	must(t, err)
	return toHashes(p)
}

func (o *oracle) consistency(t testing.TB, n, m uint64) []Hash {
	t.Helper()
	if m == 0 {
		return nil
	}
	p, err := xtlog.ProveTree(int64(n), int64(m), o)
	must(t, err)
	return toHashes(p)
}

func toHashes(in []xtlog.Hash) []Hash {
	var out []Hash
	for _, h := range in {
		out = append(out, Hash(h))
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testLeaf(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte("leaf "), i) }

// wholeTree keeps all tiles, as a log would in its stores.
type wholeTree struct {
	*tree
	stored map[tileID]*tile
}

func (w *wholeTree) node(h uint, i uint64) (Hash, error) {
	if n := w.tree.node(h, i); n != nil {
		return *n, nil
	}
	return *w.stored[tileID{h / 8, i >> (8 - h%8)}].at(h%8, i&(256>>(h%8)-1)), nil
}

func (w *wholeTree) grow(n uint64) {
	next := w.tree.grow()
	for range n {
		next.append(LeafHash(testLeaf(next.size)))
	}
	next.seal()
	for l, lv := range next.levels {
		for j, t := range lv.tiles {
			w.stored[tileID{uint(l), lv.first + uint64(j)}] = t
		}
	}
	w.tree = next
}

func newWholeTree() *wholeTree {
	t := new(tree)
	t.seal()
	return &wholeTree{t, map[tileID]*tile{}}
}

// Roots and proofs of batches of any size are those of the oracle.
func TestTree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, o := newWholeTree(), &oracle{}
		for range rapid.IntRange(1, 6).Draw(rt, "batches") {
			before := w.size
			n := rapid.OneOf(rapid.Uint64Range(1, 5), rapid.Uint64Range(250, 260), rapid.Uint64Range(1, 1500)).Draw(rt, "leaves")
			w.grow(n)
			for o.size < int64(w.size) {
				o.append(t, testLeaf(uint64(o.size)))
			}
			if want := o.root(t, w.size); w.root != want {
				rt.Fatalf("root at %d: expected %x, found %x", w.size, want, w.root)
			}
			// A leaf of this batch needs nothing but memory.
			i := rapid.Uint64Range(before, w.size-1).Draw(rt, "index")
			got, err := prove(i, w.size, &w.ragged, func(h uint, i uint64) (Hash, error) { return *w.tree.node(h, i), nil })
			must(t, err)
			if d := cmp.Diff(o.inclusion(t, w.size, i), got); d != "" && len(got)+int(w.size) > 1 {
				rt.Fatalf("proof of %d in %d (-want +got):\n%s", i, w.size, d)
			}
		}
		checkAnySize(t, rt, w, o)
	})
}

func checkAnySize(t *testing.T, rt *rapid.T, w *wholeTree, o *oracle) {
	n := rapid.Uint64Range(1, w.size).Draw(rt, "size")
	m := rapid.Uint64Range(0, n).Draw(rt, "older size")
	i := rapid.Uint64Range(0, n-1).Draw(rt, "index")
	var ragged [64]Hash
	root, err := foldRight(n, &ragged, w.node)
	must(t, err)
	if want := o.root(t, n); root != want {
		rt.Fatalf("root at %d: expected %x, found %x", n, want, root)
	}
	got, err := prove(i, n, &ragged, w.node)
	must(t, err)
	if d := cmp.Diff(o.inclusion(t, n, i), got); d != "" && n > 1 {
		rt.Fatalf("proof of %d in %d (-want +got):\n%s", i, n, d)
	}
	got, err = proveConsistency(m, n, w.node)
	must(t, err)
	want := o.consistency(t, n, m)
	if len(want)+len(got) > 0 {
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("consistency from %d to %d (-want +got):\n%s", m, n, d)
		}
	}
}

// Every index in every small tree, and around the edges of tiles.
func TestTreeEverySize(t *testing.T) {
	w, o := newWholeTree(), &oracle{}
	check := func(n uint64) {
		var ragged [64]Hash
		_, err := foldRight(n, &ragged, w.node)
		must(t, err)
		for i := range n {
			if n > 64 && i%97 != 0 && i+2 < n {
				continue
			}
			got, err := prove(i, n, &ragged, w.node)
			must(t, err)
			if err := xtlog.CheckRecord(fromHashes(got), int64(n), xtlog.Hash(o.root(t, n)), int64(i), xtlog.RecordHash(testLeaf(i))); err != nil {
				t.Fatalf("proof of %d in %d: %v", i, n, err)
			}
			got, err = proveConsistency(i, n, w.node)
			must(t, err)
			if i > 0 {
				if err := xtlog.CheckTree(fromHashes(got), int64(n), xtlog.Hash(o.root(t, n)), int64(i), xtlog.Hash(o.root(t, i))); err != nil {
					t.Fatalf("consistency from %d to %d: %v", i, n, err)
				}
			}
		}
	}
	for w.size < 66_000 {
		step := uint64(1)
		switch {
		case w.size >= 65_530 && w.size < 65_540:
		case w.size >= 530:
			step = 9_999
			if w.size+step > 65_530 {
				step = 65_530 - w.size
			}
			if w.size >= 65_540 {
				step = 460
			}
		}
		w.grow(step)
		for o.size < int64(w.size) {
			o.append(t, testLeaf(uint64(o.size)))
		}
		check(w.size)
	}
}

func fromHashes(in []Hash) []xtlog.Hash {
	out := make([]xtlog.Hash, len(in))
	for i, h := range in {
		out[i] = xtlog.Hash(h)
	}
	return out
}

// A batch that is thrown away leaves no trace in the next one.
func TestTreeRetry(t *testing.T) {
	w, o := newWholeTree(), &oracle{}
	for _, n := range []uint64{3, 300, 255, 1, 700} {
		lost := w.tree.grow()
		for range n + 77 {
			lost.append(LeafHash([]byte("lost")))
		}
		lost.seal()
		w.grow(n)
		for o.size < int64(w.size) {
			o.append(t, testLeaf(uint64(o.size)))
		}
		if want := o.root(t, w.size); w.root != want {
			t.Fatalf("root at %d: expected %x, found %x", w.size, want, w.root)
		}
	}
}

func TestPaths(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "000", 5: "005", 999: "999", 1000: "x001/000", 1234067: "x001/x234/067", 1e9: "x001/x000/x000/000",
	} {
		if got := string(appendIndex(nil, n)); got != want {
			t.Errorf("%d: expected %s, found %s", n, want, got)
		}
	}
}

func FuzzSplitPrefixed(f *testing.F) {
	f.Add([]byte{0, 1, 'a', 0, 0, 0, 2, 'b', 'c'})
	f.Add([]byte{0, 9, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := splitPrefixed(b)
		if err != nil {
			return
		}
		var back []byte
		for _, e := range entries {
			back = new(Config).appendBundled(back, e)
		}
		if string(back) != string(b) {
			t.Fatalf("read %x, wrote %x", b, back)
		}
	})
}
