package tlog

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/store/pebble"
)

// roomy is a file system in memory that has room.
type roomy struct{ vfs.FS }

func (roomy) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: 1 << 40}, nil
}

// haltedBlob is a blob store of which a copy can be taken between two writes.
type haltedBlob struct {
	*memory.Blob
	mu sync.RWMutex // held for writing while a copy is taken
}

func (b *haltedBlob) Put(ctx context.Context, name string, data []byte) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.Blob.Put(ctx, name, data)
}

func (b *haltedBlob) Replace(ctx context.Context, name string, data []byte) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.Blob.Replace(ctx, name, data)
}

func (b *haltedBlob) Remove(ctx context.Context, names ...string) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.Blob.Remove(ctx, names...)
}

func (w *witness) clone() *witness {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &witness{receipts: maps.Clone(w.receipts), heads: maps.Clone(w.heads), opened: maps.Clone(w.opened)}
}

// The power is cut again and again while callers write: of what was not synced, a
// part is there and a part is not. What was acknowledged is there.
func TestPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	fs := vfs.NewCrashableMem()
	kv, err := pebble.Open(t.Context(), "db", pebble.Options{FS: roomy{fs}})
	must(t, err)
	blob := &haltedBlob{Blob: memory.NewBlob()}
	cfg := testConfig(t)
	cfg.KV, cfg.Blob = kv, blob
	l, err := Open(t.Context(), cfg)
	must(t, err)
	w := newWitness()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := c * 100_000; ctx.Err() == nil; i += 20 {
				crashLoad(t, l, w, i, i+20)
				if c == 0 {
					crashRound(t, l)
				}
			}
		})
	}
	for cut := range 12 {
		for l.Head().Size < uint64(cut)*150 { // the load goes on meanwhile
			if l.Err() != nil {
				t.Fatal(l.Err())
			}
		}
		promised := w.clone()
		blob.mu.Lock()
		disk := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		files := copyBlob(t, blob.Blob)
		blob.mu.Unlock()
		afterCut(t, cfg, disk, files, promised)
		if t.Failed() {
			t.Fatalf("after cut %d", cut)
		}
	}
	stop()
	wg.Wait()
	closeLog(t, l)
	must(t, kv.Close())
}

func copyBlob(t testing.TB, from *memory.Blob) *memory.Blob {
	t.Helper()
	to := memory.NewBlob()
	for _, name := range blobNames(t, from) {
		b, err := from.Get(t.Context(), name, maxBlob)
		must(t, err)
		must(t, to.Put(t.Context(), name, b))
	}
	return to
}

// afterCut opens what the disk has after the power was cut, checks it, and goes on
// with it.
func afterCut(t testing.TB, cfg Config, disk vfs.FS, files store.Blob, promised *witness) {
	t.Helper()
	kv, err := pebble.Open(t.Context(), "db", pebble.Options{FS: roomy{disk}})
	must(t, err)
	cfg.KV, cfg.Blob = kv, files
	l, err := Open(t.Context(), cfg)
	must(t, err)
	promised.check(t, l)
	crashLoad(t, l, promised, 1_000_000, 1_000_020)
	must(t, l.round(true))
	promised.check(t, l)
	closeLog(t, l)
	if r := mustCheck(t, cfg); !r.OK() {
		t.Errorf("found %+v", r)
	}
	must(t, kv.Close())
}

// A bit is flipped in the database's files of a log that was closed: it does not
// open, or it has all that it had.
func TestFlippedBitsBelow(t *testing.T) {
	path := t.TempDir()
	l, closeAll := openDurable(t, path)
	w := newWitness()
	crashBatch(t, l, w, 0, 700)
	closeAll()
	files, err := filepath.Glob(filepath.Join(path, "db", "*"))
	must(t, err)
	rng := rand.New(rand.NewPCG(9, 10))
	opened, refused := 0, 0
	for _, file := range files {
		right, err := os.ReadFile(file)
		must(t, err)
		if len(right) == 0 || strings.HasPrefix(filepath.Base(file), "OPTIONS") {
			continue
		}
		for range 3 {
			to := t.TempDir()
			must(t, os.CopyFS(to, os.DirFS(path)))
			must(t, os.WriteFile(filepath.Join(to, "db", filepath.Base(file)), flip(rng, right), 0o600))
			if damagedDurable(t, to, w) {
				refused++
			} else {
				opened++
			}
		}
	}
	if refused == 0 {
		t.Errorf("%d flips, and none was noticed", opened)
	}
}

// The newest log file of the database rots at its end: after a clean stop no bit of
// the last commits is lost unnoticed, since the checkpoint was published then.
func TestRotAfterCleanStop(t *testing.T) {
	path := t.TempDir()
	l, closeAll := openDurable(t, path)
	w := newWitness()
	crashBatch(t, l, w, 0, 20)
	add(t, l, "the last one")
	closeAll()
	logs, err := filepath.Glob(filepath.Join(path, "db", "*.log"))
	must(t, err)
	name := logs[len(logs)-1]
	right, err := os.ReadFile(name)
	must(t, err)
	at := bytes.LastIndex(right, []byte("the last one"))
	if at < 0 {
		t.Fatal("the last entry is not in the newest log file")
	}
	for i := at; i < at+len("the last one"); i += 3 {
		to := t.TempDir()
		must(t, os.CopyFS(to, os.DirFS(path)))
		b := bytes.Clone(right)
		b[i] ^= 1
		must(t, os.WriteFile(filepath.Join(to, "db", filepath.Base(name)), b, 0o600))
		if !damagedDurable(t, to, w) {
			t.Errorf("byte %d of the newest log file: a flipped bit was not noticed", i)
		}
	}
}

// damagedDurable opens a log whose files are damaged, and reports whether that was
// noticed; else all must be there.
func damagedDurable(t *testing.T, path string, w *witness) bool {
	t.Helper()
	kv, err := pebble.Open(t.Context(), filepath.Join(path, "db"), pebble.Options{MinFree: 1 << 20})
	if err != nil {
		return true
	}
	defer func() { _ = kv.Close() }() // it may have found damage
	cfg := testConfig(t)
	cfg.KV, cfg.Blob = kv, openDir(t, filepath.Join(path, "tiles"))
	l, err := Open(t.Context(), cfg)
	if err != nil {
		return true
	}
	defer func() { _ = l.Close(context.Background()) }()
	for leaf, r := range w.clone().receipts {
		again, found, err := l.Lookup(t.Context(), LeafHash([]byte(leaf)))
		if err != nil {
			if errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
			return true
		}
		if !found || again.Index != r.Index {
			t.Fatalf("leaf %s was at %d, and is now at %v %d", leaf, r.Index, found, again.Index)
		}
		checkReceipt(t, again, []byte(leaf))
	}
	return false
}

// A bit is flipped in the record of the last flush, at the end of the database's
// manifest, where it looks like a write that was torn. The database says so, whatever
// was committed since. If it did not, the published checkpoint or the anchor would.
func TestFlippedFlushRecord(t *testing.T) {
	path := t.TempDir()
	w := newWitness()
	for life, n := range []int{300, 40, 0} { // a life's rows are flushed when the next one begins
		l, closeAll := openDurable(t, path)
		if n > 0 {
			crashBatch(t, l, w, life*300, life*300+n)
		}
		closeAll()
		if life == 0 {
			continue
		}
		manifest := newestManifest(t, filepath.Join(path, "db"))
		right, err := os.ReadFile(manifest)
		must(t, err)
		for back := 1; back < 40; back += 6 {
			to := t.TempDir()
			must(t, os.CopyFS(to, os.DirFS(path)))
			b := bytes.Clone(right)
			b[len(b)-back] ^= 4
			must(t, os.WriteFile(filepath.Join(to, "db", filepath.Base(manifest)), b, 0o600))
			if !damagedDurable(t, to, w) {
				t.Errorf("life %d: a flipped bit %d bytes before the end was not noticed", life, back)
			}
		}
	}
}

func newestManifest(t testing.TB, db string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(db, "MANIFEST-??????"))
	must(t, err)
	return files[len(files)-1]
}

// The database has lost its last flush, and cannot tell: what is published and the
// anchor each show that the head went back, and nothing is written.
func TestLostFlush(t *testing.T) {
	path := t.TempDir()
	l, closeAll := openDurable(t, path)
	crashBatch(t, l, newWitness(), 0, 300)
	head := l.Head()
	closeAll()
	kv, err := pebble.Open(t.Context(), filepath.Join(path, "db"), pebble.Options{MinFree: 1 << 20})
	must(t, err)
	must(t, kv.Close()) // the rows were flushed
	manifest := newestManifest(t, filepath.Join(path, "db"))
	b, err := os.ReadFile(manifest)
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(manifest, b, 0o600))
	must(t, os.Remove(manifest+".synced"))

	kv, err = pebble.Open(t.Context(), filepath.Join(path, "db"), pebble.Options{MinFree: 1 << 20})
	must(t, err)
	defer func() { must(t, kv.Close()) }()
	cfg := testConfig(t)
	cfg.KV, cfg.Blob = kv, openDir(t, filepath.Join(path, "tiles"))
	if _, err := Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "its store has lost entries") {
		t.Errorf("what is published does not show it: %v", err)
	}
	cfg.Blob = memory.NewBlob() // nothing was published
	cfg.Anchor, cfg.AnchorInterval = &memoryAnchor{text: head.Checkpoint}, time.Hour
	expectShut(t, cfg, sigbox.Fatal, "it is an older copy")
}
