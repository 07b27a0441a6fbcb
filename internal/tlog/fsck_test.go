package tlog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// rowsOf gives two rows for each entry, as a search index would.
func rowsOf(index uint64, _ time.Time, entry []byte) ([]store.Pair, error) {
	return []store.Pair{
		{Key: fmt.Appendf(nil, "by-text/%x/%d", entry, index), Value: []byte{1}},
		{Key: fmt.Appendf(nil, "by-index/%d", index), Value: entry},
	}, nil
}

// checkedConfig is a log in memory all of whose rows follow from its entries.
func checkedConfig(t testing.TB) Config {
	cfg := testConfig(t)
	cfg.IndexLeaves, cfg.RowsOf = true, rowsOf
	return cfg
}

// leafWithRows is a leaf with the rows of rowsOf.
func leafWithRows(data []byte) Leaf {
	return Leaf{Data: data, Rows: func(index uint64) []store.Pair {
		rows, _ := rowsOf(index, time.Time{}, data)
		return rows
	}}
}

// fillRows is fill with rows.
func fillRows(t testing.TB, l *Log, n uint64) {
	t.Helper()
	for from := l.Head().Size; from < n; from = l.Head().Size {
		var b *batch
		for i := from; i < min(n, from+maxBatch); i++ {
			r, err := l.request(leafWithRows(testLeaf(i)))
			must(t, err)
			l.queue.reserve(r)
			b, err = l.queue.put(r)
			must(t, err)
		}
		<-b.done
	}
}

func mustCheck(t testing.TB, cfg Config) *Report {
	t.Helper()
	r, err := Check(t.Context(), cfg, CheckOptions{})
	must(t, err)
	return r
}

func TestCheckSound(t *testing.T) {
	cfg := checkedConfig(t)
	for _, size := range []uint64{0, 1, 255, 256, 257, 512, 1000} {
		l, err := Open(t.Context(), cfg)
		must(t, err)
		fillRows(t, l, size)
		if size != 512 { // there, all but what was published before stays in the kv store
			settleTiles(t, l)
			must(t, l.Close(t.Context()))
		} else {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = l.Close(ctx)
		}
		var done, total uint64
		r, err := Check(t.Context(), cfg, CheckOptions{Progress: func(_ Phase, d, n uint64) { done, total = d, n }})
		must(t, err)
		if !r.OK() || r.Size != size || r.Entries != size || done != size || total != size && size > 0 || !bytes.Equal(r.Root, l.head.Load().Root[:]) {
			t.Fatalf("at size %d: %d of %d, %+v", size, done, total, r)
		}
	}
}

// What entries say is looked at, once for each that is in the tree, wherever it is.
func TestCheckLooksAtEntries(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	const size, bad = 1000, 7
	fillRows(t, l, size)
	settleTiles(t, l)
	closeLog(t, l)
	blob := cfg.Blob.(store.Publisher)
	b, err := blob.Get(t.Context(), "tile/entries/001", maxBlob)
	must(t, err)
	b[len(b)-1] ^= 1 // of entry 511
	must(t, blob.Replace(t.Context(), "tile/entries/001", b))

	var mu sync.Mutex
	seen := map[uint64]int{}
	r, err := Check(t.Context(), cfg, CheckOptions{Entry: func(index uint64, logged time.Time, entry []byte) error {
		mu.Lock()
		defer mu.Unlock()
		seen[index]++
		if !bytes.Equal(entry, testLeaf(index)) || logged.IsZero() {
			t.Errorf("entry %d is %q of %s", index, entry, logged)
		}
		if index == bad || index == size-bad {
			return fmt.Errorf("%d is bad", index)
		}
		return nil
	}})
	must(t, err)
	for i := range uint64(size) {
		if want := map[bool]int{true: 1}[i != 511]; seen[i] != want {
			t.Errorf("entry %d was looked at %d times", i, seen[i])
		}
	}
	var content []string
	for _, f := range r.Findings {
		if f.What == FoundContent {
			content = append(content, f.Name+": "+f.Got)
		}
	}
	if d := cmp.Diff([]string{"entry 7: 7 is bad", "entry 993: 993 is bad"}, content); d != "" || r.Lost < 3 {
		t.Errorf("%s\n%+v", d, r)
	}
}

// Whatever one flipped bit hits is found; what follows from entries is repaired to
// what it was, and nothing else is touched.
func TestCheckFindsFlippedBits(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	fillRows(t, l, 256+100)
	settleTiles(t, l)
	fillRows(t, l, 2*256+3)
	settleTiles(t, l)
	closeLog(t, l)
	blob := cfg.Blob.(store.Publisher)
	rng := rand.New(rand.NewPCG(5, 6))
	try := func(name string, derived bool, set func(data []byte), get func() []byte) {
		t.Helper()
		right := get()
		set(flip(rng, right))
		r := mustCheck(t, cfg)
		if r.OK() || derived != (r.Lost == 0) {
			t.Errorf("%s: found %+v", name, r)
		}
		before := get()
		r, err := Repair(t.Context(), cfg, CheckOptions{})
		must(t, err)
		if r.OK() != derived {
			t.Errorf("%s: repair found %+v", name, r)
		}
		if derived && !bytes.Equal(get(), right) {
			t.Errorf("%s: not what it was", name)
		}
		if !derived && !bytes.Equal(get(), before) {
			t.Errorf("%s: it was touched", name)
		}
		set(right)
		if r := mustCheck(t, cfg); !r.OK() {
			t.Fatalf("%s: not sound after it was put right: %+v", name, r)
		}
	}
	for _, name := range blobNames(t, blob) {
		entries := strings.HasPrefix(name, "tile/entries/") && !strings.Contains(name, ".p/")
		try(name, !entries, func(b []byte) { must(t, blob.Replace(t.Context(), name, b)) }, func() []byte {
			b, err := blob.Get(t.Context(), name, maxBlob)
			must(t, err)
			return b
		})
	}
	for _, row := range rows(t, cfg.KV) {
		kind := row.Key[0]
		first := 0
		switch kind {
		case rowHead:
			continue // its batch ID and time are nobody's to check
		case rowEntry:
			first = 8
		case rowTimes:
			continue // not each other time is a wrong one
		case rowDedup, rowLeaf, rowOther:
			if rng.IntN(40) > 0 {
				continue
			}
		}
		derived := kind != rowEntry && kind != rowMoved
		try(rowName(row.Key), derived, func(b []byte) {
			value := slices.Concat(row.Value[:first], b)
			must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: row.Key, Value: value}}}))
		}, func() []byte {
			v, err := cfg.KV.Get(t.Context(), row.Key)
			must(t, err)
			return v[first:]
		})
	}
}

// Whole kinds of derived things can be lost, and are there again after a repair.
func TestRepairAll(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	const size = 20*256 + 300
	fillRows(t, l, size)
	settleTiles(t, l)
	closeLog(t, l)
	before := rows(t, cfg.KV)
	blob := cfg.Blob.(store.Publisher)
	for _, name := range blobNames(t, blob) {
		if !strings.HasPrefix(name, "tile/entries/") {
			must(t, blob.Remove(t.Context(), name))
		}
	}
	var b store.Batch
	for _, kind := range []byte{rowDedup, rowLeaf, rowOther, rowTile} {
		b.Deletes = append(b.Deletes, store.Range{From: []byte{kind}, To: []byte{kind + 1}})
	}
	b.Writes = []store.Pair{ // and strays
		{Key: hashKey(rowDedup, &Hash{1}), Value: make([]byte, 8)},
		{Key: []byte("xstray"), Value: nil},
		{Key: numberKey(rowEntry, 3), Value: appendEntry(nil, 1, (*Hash)(leafSum(3)), testLeaf(3))},
	}
	must(t, cfg.KV.Commit(t.Context(), b))
	r, err := Repair(t.Context(), cfg, CheckOptions{MaxFindings: 10})
	must(t, err)
	if !r.OK() || r.Lost > 0 || len(r.Findings) != 10 {
		t.Fatalf("%+v", r)
	}
	if r := mustCheck(t, cfg); !r.OK() {
		t.Fatalf("after the repair: %+v", r)
	}
	after := rows(t, cfg.KV)
	if d := cmp.Diff(len(before), len(after)); d != "" {
		t.Fatalf("rows (-want +got):\n%s", d)
	}
	for i := range before {
		if !bytes.Equal(before[i].Key, after[i].Key) || !bytes.Equal(before[i].Value, after[i].Value) {
			t.Fatalf("row %x differs", before[i].Key)
		}
	}
	l = openLog(t, cfg)
	settleTiles(t, l)
	if r := add(t, l, string(testLeaf(70))); r.Index != 70 || !r.Existing {
		t.Fatalf("found %+v", r)
	}
}

func leafSum(i uint64) []byte {
	h := LeafHash(testLeaf(i))
	return h[:]
}

// Two entries are swapped, with their hashes: the tiles give another root.
func TestCheckFindsOtherEntries(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	fillRows(t, l, 600)
	settleTiles(t, l)
	closeLog(t, l)
	blob := cfg.Blob.(store.Publisher)
	for _, name := range []string{"tile/entries/000", "tile/0/000"} { // bundle 0 in the place of bundle 1
		b, err := blob.Get(t.Context(), name, maxBlob)
		must(t, err)
		must(t, blob.Replace(t.Context(), name[:len(name)-1]+"1", b))
	}
	r := mustCheck(t, cfg)
	if r.OK() || r.Lost == 0 || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.What == FoundRoot }) {
		t.Fatalf("found %+v", r)
	}
}

// Times that go back, checkpoints that are ahead or forked, and lost heads are
// found, and no repair covers them up.
func TestCheckRefusesToRepair(t *testing.T) {
	sign := func(t *testing.T, size uint64, root Hash) []byte {
		text, err := note.Sign(sigbox.Checkpoint{Origin: origin, Size: size, Root: root}, testSigner(t, "key"))
		must(t, err)
		return []byte(text)
	}
	commit := func(t *testing.T, cfg Config, b store.Batch) { must(t, cfg.KV.Commit(t.Context(), b)) }
	for name, tt := range map[string]struct {
		what  string
		spoil func(t *testing.T, cfg Config)
	}{
		"time goes back": {FoundTime, func(t *testing.T, cfg Config) {
			p := new(places)
			for i := range p.times {
				p.times[i], p.lengths[i] = 1_700_000_000_000-int64(i), uint32(len(testLeaf(0)))
			}
			commit(t, cfg, store.Batch{Writes: []store.Pair{{Key: numberKey(rowTimes, 0), Value: p.append(nil)}}})
		}},
		"times lost": {FoundTime, func(t *testing.T, cfg Config) {
			commit(t, cfg, store.Batch{Deletes: []store.Range{{From: numberKey(rowTimes, 1), To: numberKey(rowTimes, 2)}}})
		}},
		"entry lost": {FoundEntry, func(t *testing.T, cfg Config) {
			commit(t, cfg, store.Batch{Deletes: []store.Range{{From: numberKey(rowEntry, 520), To: numberKey(rowEntry, 521)}}})
		}},
		"bundle lost": {FoundEntry, func(t *testing.T, cfg Config) {
			must(t, cfg.Blob.(store.Publisher).Remove(t.Context(), "tile/entries/001"))
		}},
		"head lost": {FoundHead, func(t *testing.T, cfg Config) {
			commit(t, cfg, store.Batch{Deletes: []store.Range{{From: []byte{rowHead}, To: []byte{rowHead + 1}}}})
		}},
		"forked": {FoundCheckpoint, func(t *testing.T, cfg Config) {
			must(t, cfg.Blob.(store.Publisher).Replace(t.Context(), checkpointPath, sign(t, 300, Hash{1})))
		}},
		"behind what is published": {FoundCheckpoint, func(t *testing.T, cfg Config) {
			must(t, cfg.Blob.(store.Publisher).Replace(t.Context(), checkpointPath, sign(t, 700, Hash{1})))
		}},
		"behind a tile": {FoundAhead, func(t *testing.T, cfg Config) {
			must(t, cfg.Blob.Put(t.Context(), "tile/0/002", make([]byte, fullTile)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := checkedConfig(t)
			l := openLog(t, cfg)
			fillRows(t, l, 600)
			settleTiles(t, l)
			closeLog(t, l)
			tt.spoil(t, cfg)
			r, err := Repair(t.Context(), cfg, CheckOptions{})
			must(t, err)
			if r.OK() || r.Lost == 0 || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.What == tt.what && !f.Derived }) {
				t.Fatalf("found %+v", r)
			}
		})
	}
}

// A log is checked while it grows.
func TestCheckBesideWriters(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	fillRows(t, l, 1)
	must(t, l.round(true)) // a log that stands still in its first round is taken for one without a checkpoint
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := l.Add(context.Background(), leafWithRows(fmt.Appendf(nil, "%d/%d", c, i))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := l.round(true); err != nil {
				t.Error(err)
			}
		}
	})
	for i := 0; i < 20 || l.Head().Size < 2000; i++ {
		if r := mustCheck(t, cfg); !r.OK() {
			t.Errorf("found %+v", r)
			break
		}
		// The slow way, too, as if sums had differed.
		c := &checker{cfg: cfg, o: CheckOptions{MaxFindings: 10}, report: &Report{}}
		c.cfg.defaults()
		var err error
		c.headRow, err = cfg.KV.Get(t.Context(), []byte{rowHead})
		must(t, err)
		c.head, err = parseHead(c.headRow)
		must(t, err)
		for _, kind := range []byte{rowDedup, rowLeaf, rowOther} {
			must(t, c.compareRows(t.Context(), rowKind{kind, "", ""}, 0, 2))
		}
		if c.report.Found > 0 {
			t.Errorf("found %+v", c.report)
			break
		}
	}
	stop()
	wg.Wait()
}

// A repair does not write below an instance that runs.
func TestRepairBesideWriter(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	fillRows(t, l, 300)
	row := store.Range{From: []byte{rowDedup}, To: []byte{rowDedup + 1}}
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Deletes: []store.Range{row}}))
	_, err := Repair(t.Context(), cfg, CheckOptions{Entry: func(index uint64, _ time.Time, _ []byte) error {
		if index == 299 {
			add(t, l, "meanwhile")
		}
		return nil
	}})
	expectKind(t, err, sigbox.Conflict)
}

func TestCheckStops(t *testing.T) {
	cfg := checkedConfig(t)
	_, err := Check(t.Context(), cfg, CheckOptions{})
	expectKind(t, err, sigbox.NotFound)
	openLog(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Check(ctx, cfg, CheckOptions{})
	expectKind(t, err, sigbox.Unavailable)
	cfg.Signers = nil
	_, err = Check(t.Context(), cfg, CheckOptions{})
	expectKind(t, err, sigbox.Invalid)
	cfg.Verifiers = []*note.Verifier{testSigner(t, "key").Verifier()}
	if r := mustCheck(t, cfg); !r.OK() {
		t.Fatalf("found %+v", r)
	}
}

// A published checkpoint that is gone is found, and made anew: nobody can read the
// folder without.
func TestCheckpointIsGone(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	closeLog(t, l)
	if r := mustCheck(t, cfg); !r.OK() {
		t.Fatalf("an empty log: %+v", r)
	}
	l = openLog(t, cfg)
	fill(t, l, nil, 300)
	closeLog(t, l)
	p := cfg.Blob.(store.Publisher)
	must(t, p.Remove(t.Context(), checkpointPath))
	r := mustCheck(t, cfg)
	if r.OK() || r.Lost > 0 || r.Findings[0].What != FoundCheckpoint || r.Findings[0].Got != "none" {
		t.Fatalf("found %+v", r)
	}
	r, err := Repair(t.Context(), cfg, CheckOptions{})
	must(t, err)
	if !r.OK() {
		t.Fatalf("found %+v", r)
	}
	cp, err := cfg.Blob.Get(t.Context(), checkpointPath, note.MaxSize)
	must(t, err)
	if string(cp) != l.Head().Checkpoint {
		t.Errorf("it was made anew as %q", cp)
	}
}
