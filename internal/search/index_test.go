package search

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/store/storetest"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// numbered is the leaf of the n-th entry: its digest is n's, its key one of two.
func numbered(t testing.TB, n int) []byte {
	t.Helper()
	return leafV2(t, sigbox.Entry{Digest: numberedDigest(n), PublicKey: []byte{byte(n % 2)}})
}

func numberedDigest(n int) sigbox.Digest { return sigbox.SHA256.Sum(fmt.Append(nil, n)) }

// checkNumbered makes sure that each numbered entry from an index on is found.
func checkNumbered(t testing.TB, x *Index, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if d := cmp.Diff([]uint64{uint64(n)}, all(t, x, where(t, by(ByHash, numberedDigest(n).String())), 10)); d != "" {
			t.Fatalf("entry %d (-want +got):\n%s", n, d)
		}
	}
}

// sound checks a log with its rows, as far as it is indexed.
func (l *testLog) sound(t testing.TB) {
	t.Helper()
	cfg := l.cfg
	var err error
	cfg.RowsOf, err = RowsFrom(t.Context(), cfg.KV)
	must(t, err)
	report, err := tlog.Check(t.Context(), cfg, tlog.CheckOptions{})
	must(t, err)
	if !report.OK() {
		t.Fatalf("%+v", report.Findings)
	}
}

// Entries from before the index get their rows, also when that is interrupted; until
// then the index says from where on it is complete.
func TestBackfill(t *testing.T) {
	l := newLog(t)
	const old, more = 600, 10
	for n := range old {
		l.addBare(t, numbered(t, n))
	}
	l.sound(t) // without an index
	l.reopen(t)
	x := l.index(t)
	for n := range more {
		l.add(t, numbered(t, old+n), nil)
	}
	for _, want := range []uint64{600, 512, 256, 0} {
		if x.CompleteFrom() != want {
			t.Fatalf("complete from %d on: expected %d", x.CompleteFrom(), want)
		}
		checkNumbered(t, x, int(want), old+more)
		if want > 0 {
			if found := all(t, x, where(t, by(ByHash, numberedDigest(int(want)-1).String())), 1); found != nil {
				t.Fatalf("entry %d has rows", want-1)
			}
			must(t, x.backfill(t.Context(), want))
		}
		l.sound(t)
		l.reopen(t)
		x = l.index(t)
	}
	must(t, x.Run(t.Context())) // there is nothing left to do
}

func TestRunEnds(t *testing.T) {
	l := newLog(t)
	for n := range 10 {
		l.addBare(t, numbered(t, n))
	}
	x := l.index(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	must(t, x.Run(t.Context()))
	checkNumbered(t, x, 0, 10)
}

// A log that a version without an index has gone on with is indexed again, and so is
// one whose mark is damaged.
func TestIndexedAgain(t *testing.T) {
	l := newLog(t)
	l.index(t)
	for n := range 300 {
		l.add(t, numbered(t, n), nil)
	}
	l.reopen(t)
	x := l.index(t)
	if x.CompleteFrom() != 0 {
		t.Fatalf("complete from %d on", x.CompleteFrom())
	}
	for n := range 10 {
		l.addBare(t, numbered(t, 300+n))
	}
	l.reopen(t)
	if x = l.index(t); x.CompleteFrom() != 310 {
		t.Fatalf("complete from %d on", x.CompleteFrom())
	}
	must(t, x.Run(t.Context()))
	checkNumbered(t, x, 0, 310)
	for _, mark := range [][]byte{{1}, binary.BigEndian.AppendUint64(nil, 311)} {
		must(t, l.PutRows(t.Context(), []store.Pair{{Key: fromKey(), Value: mark}}))
		if x = l.index(t); x.CompleteFrom() != 310 {
			t.Fatalf("%x: complete from %d on", mark, x.CompleteFrom())
		}
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("an index without a log was opened")
	}
}

// Whatever write fails, and however: each entry that the log has is found, and each
// row leads to one.
func TestCrash(t *testing.T) {
	const entries = 40
	for _, fault := range []storetest.Fault{storetest.Refused, storetest.LostBefore, storetest.LostAfter, storetest.CrashBefore, storetest.CrashAfter} {
		for at := 1; at < 24; at++ {
			l := newLog(t)
			for n := range 5 {
				l.addBare(t, numbered(t, n))
			}
			must(t, l.Close(t.Context()))
			kv := l.cfg.KV
			faults := &storetest.Faults{Next: func(n int) storetest.Fault {
				if n == at {
					return fault
				}
				return storetest.None
			}}
			l.cfg.KV = faults.KV(kv)
			acknowledged := crashing(t, l, entries)
			l.cfg.KV = kv
			l.open(t)
			x := l.index(t)
			must(t, x.Run(t.Context()))
			l.sound(t)
			size := int(l.Head().Size)
			for n := range size {
				leaf, _, err := l.Entry(t.Context(), uint64(n))
				must(t, err)
				b, err := entry.ParseBody(leaf)
				must(t, err)
				if d := cmp.Diff([]uint64{uint64(n)}, all(t, x, where(t, by(ByHash, b.Digest.String())), 10)); d != "" {
					t.Fatalf("fault %d at %d, entry %d (-want +got):\n%s", fault, at, n, d)
				}
			}
			for _, digest := range acknowledged {
				if found := all(t, x, where(t, by(ByHash, digest)), 1); len(found) != 1 {
					t.Fatalf("fault %d at %d: an entry was acknowledged and is not found", fault, at)
				}
			}
		}
	}
}

// crashing adds entries, and gives the digests of those that were acknowledged. Each
// of them is found at once, unless the store is gone.
func crashing(t *testing.T, l *testLog, entries int) (acknowledged []string) {
	log, err := tlog.Open(t.Context(), l.cfg)
	if err != nil {
		return nil
	}
	l.Log = log
	defer func() { _ = log.Close(context.Background()) }()
	x, err := Open(t.Context(), Config{Log: log})
	if err != nil {
		return nil
	}
	if from := x.CompleteFrom(); from > 0 {
		_ = x.backfill(t.Context(), from)
	}
	for n := range entries {
		leaf := numbered(t, 100+n)
		b, err := entry.ParseBody(leaf)
		must(t, err)
		if _, err := log.Add(t.Context(), tlog.Leaf{Data: leaf, Rows: Rows(b, nil)}); err != nil {
			continue
		}
		digest := b.Digest.String()
		f, err := x.Find(t.Context(), where(t, by(ByHash, digest)), Newest, 10)
		if err == nil && len(f.Indexes) != 1 {
			t.Fatalf("an entry was acknowledged and is found at %v", f.Indexes)
		}
		acknowledged = append(acknowledged, digest)
	}
	return acknowledged
}

// countingKV counts the rows that are read, and the places that are gone to.
type countingKV struct {
	store.KV
	rows, places int
}

func (k *countingKV) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	k.places++
	return func(yield func(store.Pair, error) bool) {
		for row, err := range k.KV.Scan(ctx, from, to) {
			k.rows++
			if !yield(row, err) {
				return
			}
		}
	}
}

// A search that finds nothing reads no more than it may, and the next one goes on
// where it stopped.
func TestBoundedWork(t *testing.T) {
	l := newLog(t)
	must(t, l.Close(t.Context()))
	kv := &countingKV{KV: memory.NewKV()}
	l.cfg.KV = kv
	l.open(t)
	x := l.index(t)
	const size = 3000
	for n := range size { // even entries have one key, odd ones the other
		l.add(t, numbered(t, n), nil)
	}
	key := func(n byte) func() (Condition, error) { return by(ByKey, hexSum([]byte{n})) }
	for name, q := range map[string]Query{
		"both keys": where(t, key(0), key(1)),
		// One list always has an answer, the other is spent at once.
		"a key of a kind or another": {All: []Condition{slices.Concat(where(t, key(0)).All[0], where(t, key(1)).All[0])}, Kind: entry.KindDSSE},
		"another kind":               {All: where(t, key(0)).All, Kind: entry.KindDSSE},
		"a kind of many":             {Kind: entry.KindDSSE},
	} {
		x.work = 1200
		rounds := 0
		for below := uint64(Newest); below > 0; rounds++ {
			kv.rows, kv.places = 0, 0
			f, err := x.Find(t.Context(), q, below, 10)
			must(t, err)
			if len(f.Indexes) > 0 || f.Next >= below {
				t.Fatalf("%s: %+v below %d", name, f, below)
			}
			if spent := kv.rows + seekCost*kv.places; spent > x.work {
				t.Fatalf("%s: %d rows and %d places, which cost %d", name, kv.rows, kv.places, spent)
			}
			below = f.Next
		}
		if rounds < 2 {
			t.Errorf("%s: it took %d round", name, rounds)
		}
	}
}

// A list that is spent does not keep a search from taking what another one has: all
// lists are spent again with each search, and it would never get on.
func TestUnionGetsOn(t *testing.T) {
	spent := func(at uint64) list { return fixed{at, errSpent} }
	for _, tt := range []struct {
		u     union
		index uint64
		err   error
	}{
		{union{fixed{9, nil}, spent(5)}, 9, nil},
		{union{spent(9), fixed{9, nil}}, 9, nil},
		{union{spent(9), fixed{8, nil}}, 9, errSpent},
		{union{spent(3), spent(5), fixed{4, nil}}, 5, errSpent},
		{union{spent(0)}, 0, errSpent},
	} {
		index, found, err := tt.u.seek(9)
		if index != tt.index || !found || !errors.Is(err, tt.err) {
			t.Errorf("%+v: %d, %v, %v", tt.u, index, found, err)
		}
	}
	broken := errors.New("broken")
	if _, _, err := (union{fixed{9, nil}, fixed{0, broken}, spent(9)}).seek(9); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// fixed is a list with one answer.
type fixed struct {
	index uint64
	err   error
}

func (f fixed) seek(uint64) (uint64, bool, error) { return f.index, true, f.err }

// Entries that are damaged stop the index from being completed, and no more.
func TestBackfillDamaged(t *testing.T) {
	l := newLog(t)
	for n := range 300 {
		l.addBare(t, numbered(t, n))
	}
	x := l.index(t)
	row := store.Pair{Key: binary.BigEndian.AppendUint64([]byte{'e'}, 290), Value: bytes.Repeat([]byte{1}, 100)}
	must(t, l.cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{row}}))
	if err := x.backfill(t.Context(), 300); err == nil || x.CompleteFrom() != 300 {
		t.Errorf("complete from %d on, %v", x.CompleteFrom(), err)
	}
	l.add(t, numbered(t, 300), nil)
	checkNumbered(t, x, 300, 301)
}

// Facts and leaf hashes are those of the entries.
func TestFacts(t *testing.T) {
	l := newLog(t)
	x := l.index(t)
	for n := range 600 {
		l.add(t, numbered(t, n), nil)
	}
	der := newCertificate(t, builder("some/thing"))
	l.add(t, leafDSSE(numberedDigest(1), numberedDigest(2), der), nil)
	f, err := x.Facts(t.Context(), 600)
	must(t, err)
	want := Facts{
		Index: 600, Logged: l.now.UTC(), Leaf: f.Leaf, Kind: "dsse", Version: "0.0.1", Digests: []string{numberedDigest(2).String(), numberedDigest(1).String()},
		Signers: []Signer{signerOf(&entry.BodySignature{Certificate: der})},
	}
	if d := cmp.Diff(want, f, cmp.AllowUnexported(Signer{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	indexes := []uint64{600, 599, 513, 512, 511, 300, 255, 0}
	leaves, err := x.Leaves(t.Context(), indexes)
	must(t, err)
	for i, index := range indexes {
		leaf, _, err := l.Entry(t.Context(), index)
		must(t, err)
		if leaves[i] != tlog.LeafHash(leaf) {
			t.Errorf("entry %d: leaf hash %x", index, leaves[i])
		}
	}
	slices.Reverse(indexes)
	if _, err := x.Leaves(t.Context(), indexes); err != nil {
		t.Errorf("in rising order: %v", err)
	}
	if _, err := x.Facts(t.Context(), 601); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("beyond the end: %v", err)
	}
	if _, err := x.Leaves(t.Context(), []uint64{601}); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("beyond the end: %v", err)
	}
}
