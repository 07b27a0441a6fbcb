package tlog

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	xtlog "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/store/storetest"
	"github.com/sigbox/sigbox/wire/note"
)

// witness remembers what a log has promised.
type witness struct {
	mu       sync.Mutex
	receipts map[string]Receipt // by leaf
	heads    map[uint64]Hash    // root by size, of every checkpoint handed out
	opened   map[string]bool    // checkpoints whose signature was checked
}

func newWitness() *witness {
	return &witness{receipts: map[string]Receipt{}, heads: map[uint64]Hash{}, opened: map[string]bool{}}
}

// saw takes a receipt.
func (w *witness) saw(t testing.TB, leaf string, r Receipt) {
	t.Helper()
	checkProof(t, r, []byte(leaf))
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened[r.Checkpoint] {
		checkCheckpoint(t, r)
		w.opened[r.Checkpoint] = true
	}
	if old, ok := w.receipts[leaf]; ok && old.Index != r.Index {
		t.Errorf("leaf %s moved from index %d to %d", leaf, old.Index, r.Index)
	}
	if _, ok := w.receipts[leaf]; !ok || !r.Existing {
		w.receipts[leaf] = r
	}
	w.sawHead(t, r.Size, r.Root)
}

// sawHead takes a head. w.mu is held.
func (w *witness) sawHead(t testing.TB, size uint64, root Hash) {
	t.Helper()
	if old, ok := w.heads[size]; ok && old != root {
		t.Errorf("two roots at size %d", size)
	}
	w.heads[size] = root
}

// check makes sure that a log keeps all promises: no entry lost, moved or
// doubled, and every head a prefix of the tree.
func (w *witness) check(t testing.TB, l *Log) {
	t.Helper()
	must(t, l.Err())
	h := l.Head()
	leaves := map[string]uint64{}
	o := &oracle{}
	for n := uint64(0); n*TileWidth < h.Size; n++ {
		b, err := l.Entries(t.Context(), n, int(min(TileWidth, h.Size-n*TileWidth)))
		must(t, err)
		entries, err := splitPrefixed(b)
		must(t, err)
		for i, e := range entries {
			if _, twice := leaves[string(e)]; twice {
				t.Errorf("leaf %s is there twice", e)
			}
			leaves[string(e)] = n*TileWidth + uint64(i)
			o.append(t, e)
		}
	}
	if root := o.root(t, h.Size); root != h.Root {
		t.Fatalf("the entries do not give the root at size %d", h.Size)
	}
	for leaf, r := range w.receipts {
		if i, ok := leaves[leaf]; !ok || i != r.Index {
			t.Errorf("leaf %s: expected at %d, found %v at %d", leaf, r.Index, ok, i)
		}
		if r.Index%16 != 0 && r.Index%256 < 250 {
			continue // a part of them is enough for what follows
		}
		again, err := l.Add(t.Context(), Leaf{Data: []byte(leaf)})
		must(t, err)
		there, _, err := l.Lookup(t.Context(), LeafHash([]byte(leaf)))
		must(t, err)
		if !again.Existing || again.Index != r.Index || there.Index != r.Index || !r.Time.IsZero() && !there.Time.Equal(r.Time) {
			t.Errorf("leaf %s: expected index %d at %v, found %+v and %+v", leaf, r.Index, r.Time, again, there)
		}
	}
	for size, root := range w.heads {
		proof, err := l.Consistency(t.Context(), size, h.Size)
		must(t, err)
		if size > 0 {
			if err := xtlog.CheckTree(fromHashes(proof), int64(h.Size), xtlog.Hash(h.Root), int64(size), xtlog.Hash(root)); err != nil {
				t.Errorf("the head at %d is no prefix: %v", size, err)
			}
		}
	}
}

// crashLoad adds leaves, one after the other, whatever happens to the log.
func crashLoad(t testing.TB, l *Log, w *witness, from, to int) {
	for i := from; i < to; i++ {
		leaf := strconv.Itoa(i)
		if r, err := l.Add(context.Background(), Leaf{Data: []byte(leaf)}); err == nil {
			w.saw(t, leaf, r)
		}
	}
}

// crashBatch adds leaves that are new, in one batch.
func crashBatch(t testing.TB, l *Log, w *witness, from, to int) {
	var b *batch
	var requests []*request
	for i := from; i < to; i++ {
		r, err := l.request(Leaf{Data: []byte(strconv.Itoa(i))})
		must(t, err)
		l.queue.reserve(r)
		b, err = l.queue.put(r)
		must(t, err)
		requests = append(requests, r)
	}
	<-b.done
	for _, r := range requests {
		if r.err != nil {
			continue
		}
		if rc, err := l.receipt(context.Background(), r, false); err == nil {
			w.saw(t, string(r.leaf.Data), rc)
		}
	}
}

// crashRound has the mover do its work, whatever happens to the log.
func crashRound(t testing.TB, l *Log) {
	if err := l.round(true); err != nil && l.Err() == nil && !crashed(err) {
		t.Error(err)
	}
}

func crashed(err error) bool {
	return errors.Is(err, storetest.ErrCrashed) || errors.Is(err, store.ErrUnknown) || sigbox.KindOf(err) == sigbox.Unavailable
}

// The process dies, or its stores fail, at each of their writes in turn: commits,
// puts of tiles and bundles, removals, the published checkpoint, the watermark.
// After each, the log is opened again and keeps its promises.
func TestFaultAtEveryWrite(t *testing.T) {
	f := &storetest.Faults{}
	crashRun(t, f) // without faults, there are so many writes
	total := f.Writes()
	t.Logf("%d writes", total)
	for fault := storetest.Refused; fault <= storetest.CrashAfter; fault++ {
		for at := 1; at <= total; at++ {
			crashRun(t, &storetest.Faults{Next: func(n int) storetest.Fault {
				if n == at {
					return fault
				}
				return storetest.None
			}})
			if t.Failed() {
				t.Fatalf("with fault %d at write %d", fault, at)
			}
		}
	}
}

// crashRun loads a log whose stores fail as told, and checks it afterwards with
// stores that do not fail.
func crashRun(t *testing.T, f *storetest.Faults) {
	t.Helper()
	cfg := testConfig(t)
	kv, blob := cfg.KV, cfg.Blob.(store.Publisher)
	w := newWitness()
	faulty := cfg
	faulty.KV, faulty.Blob = f.KV(kv), f.Blob(blob)
	if l, err := Open(t.Context(), faulty); err == nil {
		crashLoad(t, l, w, 0, 3)
		crashRound(t, l)
		crashBatch(t, l, w, 3, 254)
		crashLoad(t, l, w, 252, 258) // over the end of a bundle
		crashRound(t, l)
		crashBatch(t, l, w, 258, 700)
		crashRound(t, l)
		crashRound(t, l)
		// The last round may fail with the store; what matters is what was stored.
		_ = l.Close(context.Background())
	}
	l, err := Open(t.Context(), cfg)
	must(t, err)
	w.check(t, l)
	crashLoad(t, l, w, 690, 780)
	must(t, l.round(true))
	w.check(t, l)
	checkPublished(t, l, blob)
	closeLog(t, l)
}

// checkPublished makes sure that the published checkpoint has all its tiles.
func checkPublished(t testing.TB, l *Log, blob store.Blob) {
	t.Helper()
	text, err := blob.Get(t.Context(), "checkpoint", note.MaxSize)
	must(t, err)
	cp, _, err := note.Parse(string(text))
	must(t, err)
	if cp.Size > l.Head().Size {
		t.Fatalf("the published checkpoint of size %d is ahead", cp.Size)
	}
	for lv := uint(0); cp.Size>>(8*lv) > 0; lv++ {
		for i := range cp.Size >> (8 * lv) >> 8 {
			published(t, blob, tilePath(lv, i))
		}
		if w := width(cp.Size, lv); w > 0 {
			published(t, blob, partialPath(tilePath(lv, tileIndex(cp.Size, lv)), w))
		}
	}
	for i := range cp.Size >> 8 {
		published(t, blob, l.cfg.bundlePath(i))
	}
}

func published(t testing.TB, blob store.Blob, name string) {
	t.Helper()
	if _, err := blob.Get(t.Context(), name, maxBlob); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// Random faults under a load of several callers, several lives long.
func TestRandomFaults(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		cfg := testConfig(t)
		kv, blob := memory.NewKV(), memory.NewBlob()
		w := newWitness()
		for life := range 5 {
			f := &storetest.Faults{}
			f.Next = func(n int) storetest.Fault {
				if n > 3 && rng.IntN(60) == 0 {
					return storetest.Fault(1 + rng.IntN(int(storetest.CrashAfter)))
				}
				return storetest.None
			}
			cfg.KV, cfg.Blob = f.KV(kv), f.Blob(blob)
			l, err := Open(t.Context(), cfg)
			if f.Crashed() {
				continue
			}
			must(t, err)
			var wg sync.WaitGroup
			for c := range 4 {
				wg.Go(func() {
					for i := range 4 {
						from := life*150 + c*37 + i*50
						crashLoad(t, l, w, from, from+50)
						if c == 0 {
							crashRound(t, l)
						}
					}
				})
			}
			wg.Wait()
			_ = l.Close(context.Background()) // it may have crashed
		}
		cfg.KV, cfg.Blob = kv, blob
		l, err := Open(t.Context(), cfg)
		must(t, err)
		w.check(t, l)
		closeLog(t, l)
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// A failed fsync stops the log, reads go on, and nothing is acknowledged that a
// restart does not find.
func TestFailedSync(t *testing.T) {
	cfg := testConfig(t)
	f := &storetest.Faults{}
	kv := cfg.KV
	cfg.KV = f.KV(kv)
	l := openLog(t, cfg)
	w := newWitness()
	crashLoad(t, l, w, 0, 10)
	f.Next = func(int) storetest.Fault { return storetest.CrashAfter }
	_, err := l.Add(t.Context(), Leaf{Data: []byte("lost")})
	expectKind(t, err, sigbox.Unavailable)
	if strings.Contains(err.(*sigbox.Error).Public(), "crashed") {
		t.Errorf("the cause is shown to callers: %v", err)
	}
	expectKind(t, l.Err(), sigbox.Fatal)
	if n := l.Head().Size; n != 10 {
		t.Fatalf("a checkpoint of size %d was handed out", n)
	}
	if _, err := l.Tile(t.Context(), 0, 0, 10); err != nil {
		t.Fatalf("reads do not go on: %v", err)
	}
	cfg.KV = kv
	l = openLog(t, cfg)
	w.check(t, l)
}

// The child of TestKill: a log over Pebble and a directory that is loaded until
// the process is killed. It prints each leaf that was acknowledged.
func TestKillChild(t *testing.T) {
	path := os.Getenv("SIGBOX_TEST_KILL_DIR")
	if path == "" {
		t.Skip("it is the child of TestKill")
	}
	l, _ := openDurable(t, path)
	life := os.Getenv("SIGBOX_TEST_KILL_LIFE")
	var mu sync.Mutex
	out := bufio.NewWriter(os.Stdout)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				leaf := fmt.Sprintf("%s/%d/%d", life, c, i)
				r, err := l.Add(context.Background(), Leaf{Data: []byte(leaf)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				fmt.Fprintf(out, "ack %s %d %d %x\n", leaf, r.Index, r.Size, r.Root)
				if err := out.Flush(); err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func openDir(t testing.TB, path string) *dir.Blob {
	t.Helper()
	blob, err := dir.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = blob.Close() })
	return blob
}

func openDurable(t testing.TB, path string) (*Log, func()) {
	t.Helper()
	kv, err := pebble.Open(t.Context(), filepath.Join(path, "db"), pebble.Options{MinFree: 1 << 20})
	must(t, err)
	blob, err := dir.Open(filepath.Join(path, "tiles"))
	must(t, err)
	cfg := testConfig(t)
	cfg.KV, cfg.Blob, cfg.PublishInterval = kv, blob, 20*time.Millisecond
	l, err := Open(t.Context(), cfg)
	must(t, err)
	return l, func() {
		closeLog(t, l)
		must(t, kv.Close())
		must(t, blob.Close())
	}
}

// A process that is killed under load loses nothing that it has acknowledged.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	path := t.TempDir()
	acked := map[string]uint64{}
	heads := map[uint64]Hash{}
	for life := range 3 {
		killedLife(t, path, life, acked, heads)
		l, closeAll := openDurable(t, path)
		w := newWitness()
		w.heads = heads
		w.check(t, l)
		for leaf, index := range acked {
			r, err := l.Add(t.Context(), Leaf{Data: []byte(leaf)})
			must(t, err)
			if !r.Existing || r.Index != index {
				t.Fatalf("life %d: leaf %s was acknowledged at %d, found %+v", life, leaf, index, r)
			}
		}
		must(t, l.round(true))
		checkPublished(t, l, l.cfg.Blob)
		closeAll()
	}
}

// killedLife runs the child until it has acknowledged some leaves, and kills it.
func killedLife(t *testing.T, path string, life int, acked map[string]uint64, heads map[uint64]Hash) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillChild$", "-test.v")
	cmd.Env = append(os.Environ(), "SIGBOX_TEST_KILL_DIR="+path, "SIGBOX_TEST_KILL_LIFE="+strconv.Itoa(life))
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	for n := 0; ; {
		text, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) || n == 0 {
				t.Errorf("after %d leaves: %v", n, err)
			}
			break
		}
		var leaf string
		var index, size uint64
		var root []byte
		if _, err := fmt.Sscanf(text, "ack %s %d %d %x\n", &leaf, &index, &size, &root); err != nil || len(root) != sha256.Size {
			continue // what the test framework says, or a line that was cut
		}
		acked[leaf], heads[size] = index, Hash(root)
		if n++; n == 400+life*200 {
			must(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // it was killed
}
