package pebble_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/unprivileged"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, kv store.KV, key string) error {
	return kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: []byte(key), Value: []byte("1")}}})
}

// failing is a file system whose log files fail to sync, or to be written, while
// it is on.
func failing(op errorfs.OpKind, on *atomic.Bool) vfs.FS {
	return errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(o errorfs.Op) error {
		if on.Load() && o.Kind == op && strings.HasSuffix(o.Path, ".log") {
			return syscall.EIO
		}
		return nil
	}))
}

// After a failed fsync or write of the log, the outcome is unknown, and no later
// commit succeeds: the kernel may have dropped what it could not write.
func TestFailedLog(t *testing.T) {
	for name, op := range map[string]errorfs.OpKind{"sync": errorfs.OpFileSyncData, "write": errorfs.OpFileWrite} {
		t.Run(name, func(t *testing.T) {
			var on atomic.Bool
			dir := t.TempDir()
			kv, err := pebble.Open(t.Context(), dir, pebble.Options{FS: failing(op, &on)})
			must(t, err)
			must(t, put(t, kv, "before"))
			on.Store(true)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if err := put(t, kv, "lost"); !errors.Is(err, store.ErrUnknown) && (err == nil || sigbox.KindOf(err) != sigbox.Fatal) {
						t.Errorf("expected ErrUnknown or kind fatal, found %v", err)
					}
				})
			}
			wg.Wait()
			on.Store(false) // the disk is well again, but nobody knows what is on it
			if err := put(t, kv, "after"); err == nil || sigbox.KindOf(err) != sigbox.Fatal || errors.Is(err, store.ErrUnknown) {
				t.Fatalf("expected kind fatal, found %v", err)
			}
			if err := kv.Commit(t.Context(), store.Batch{Checks: []store.Check{{Key: []byte("lost"), Want: []byte("1")}}}); err == nil || errors.Is(err, store.ErrConflict) {
				t.Fatalf("a question was answered: %v", err)
			}
			if _, err := kv.Get(t.Context(), []byte("before")); err != nil {
				t.Fatalf("reads do not go on: %v", err)
			}
			_ = kv.Close() // it says again what failed
		})
	}
}

// Where Pebble would end the process, since it cannot write its metadata, begin a new
// log file or make a table, the store takes no more commits and serves reads.
func TestFailedMetadata(t *testing.T) {
	is := func(kind errorfs.OpKind, part string) func(errorfs.Op) bool {
		return func(o errorfs.Op) bool { return o.Kind == kind && strings.Contains(filepath.Base(o.Path), part) }
	}
	for name, fails := range map[string]func(errorfs.Op) bool{
		"manifest written":  is(errorfs.OpFileWrite, "MANIFEST"),
		"manifest synced":   is(errorfs.OpFileSync, "MANIFEST"),
		"log begun":         is(errorfs.OpCreate, ".log"),
		"log ended":         is(errorfs.OpFileSync, ".log"),
		"table made":        is(errorfs.OpCreate, ".sst"),
		"table written":     is(errorfs.OpFileWrite, ".sst"),
		"directory synced":  func(o errorfs.Op) bool { return o.Kind == errorfs.OpFileSync && filepath.Ext(o.Path) == "" },
		"anything removed":  is(errorfs.OpRemove, ""),
		"anything reopened": is(errorfs.OpReuseForWrite, ""),
	} {
		t.Run(name, func(t *testing.T) {
			var on, hit atomic.Bool
			fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(o errorfs.Op) error {
				if on.Load() && fails(o) {
					hit.Store(true)
					return syscall.EIO
				}
				return nil
			}))
			dir := t.TempDir()
			kv, err := pebble.Open(t.Context(), dir, pebble.Options{FS: fs})
			must(t, err)
			must(t, put(t, kv, "before"))
			on.Store(true)
			acknowledged := 0
			for ; acknowledged < 200 && kv.Err() == nil; acknowledged++ {
				if err := kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: key(acknowledged), Value: make([]byte, 100<<10)}}}); err != nil {
					break
				}
			}
			if hit.Load() && !strings.HasPrefix(name, "anything") && !comesTrue(func() bool { return kv.Err() != nil }) {
				t.Error("it takes commits")
			}
			if _, err := kv.Get(t.Context(), []byte("before")); err != nil {
				t.Errorf("reads do not go on: %v", err)
			}
			n := 0
			for _, err := range kv.Scan(t.Context(), nil, nil) {
				must(t, err)
				n++
			}
			if n < acknowledged {
				t.Errorf("%d rows, and %d commits were acknowledged", n, acknowledged)
			}
			_ = kv.Close() // it says again what failed
		})
	}
}

// noDirFS is a file system in which no directory can be opened while closed is set.
type noDirFS struct {
	vfs.FS
	closed bool
}

func (n *noDirFS) OpenDir(name string) (vfs.File, error) {
	if n.closed {
		return nil, syscall.EMFILE
	}
	return n.FS.OpenDir(name)
}

// TestUnreadableDirectory: a store of which nothing can be learned now is not opened,
// and not taken for one that is damaged.
func TestUnreadableDirectory(t *testing.T) {
	fs, dir := &noDirFS{FS: vfs.Default}, t.TempDir()
	kv, err := pebble.Open(t.Context(), dir, pebble.Options{FS: fs})
	must(t, err)
	must(t, put(t, kv, "a"))
	must(t, kv.Close())
	fs.closed = true
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{FS: fs}); err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("found %v, expected that it cannot be opened", err)
	}
	fs.closed = false
	kv, err = pebble.Open(t.Context(), dir, pebble.Options{FS: fs})
	must(t, err)
	must(t, kv.Close())
}

// comesTrue waits for what happens in the background.
func comesTrue(so func() bool) bool {
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// diskFS is a file system that shows as much free space as it is told to.
type diskFS struct {
	vfs.FS
	free atomic.Uint64
}

func (d *diskFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestNearlyFull(t *testing.T) {
	fs := &diskFS{FS: vfs.Default}
	fs.free.Store(1 << 30)
	kv, err := pebble.Open(t.Context(), t.TempDir(), pebble.Options{FS: fs})
	must(t, err)
	defer func() { must(t, kv.Close()) }()
	must(t, put(t, kv, "a"))
	fs.free.Store(1 << 20)
	if err := put(t, kv, "b"); err == nil || sigbox.KindOf(err) != sigbox.Unavailable || !strings.Contains(err.Error(), "nearly full") {
		t.Fatalf("expected kind unavailable, found %v", err)
	}
	if _, err := kv.Get(t.Context(), []byte("b")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("it was written: %v", err)
	}
	fs.free.Store(1 << 30)
	must(t, put(t, kv, "b"))
}

// TestFullBelowCommit fills the disk while a commit waits for what was committed before
// to be written out. It does not wait for ever: its outcome is unknown, the store takes
// nothing more, and what was acknowledged is there after a restart.
func TestFullBelowCommit(t *testing.T) {
	var full atomic.Bool
	flush := make(chan struct{}) // closed when tables may be written: the disk is full by then
	disk := &diskFS{}
	disk.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(o errorfs.Op) error {
		if strings.HasSuffix(o.Path, ".sst") && full.Load() {
			<-flush
			return syscall.ENOSPC
		}
		return nil
	}))
	disk.free.Store(1 << 30)
	waits := &heard{text: "a commit waits", yes: make(chan struct{})}
	dir := t.TempDir()
	kv, err := pebble.Open(t.Context(), dir, pebble.Options{FS: disk, MaxStall: time.Millisecond, Logger: slog.New(waits)})
	must(t, err)
	full.Store(true)
	outcome := make(chan error, 1)
	acknowledged := 0
	go func() {
		for {
			if err := kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: key(acknowledged), Value: make([]byte, 1<<20)}}}); err != nil {
				outcome <- err
				return
			}
			acknowledged++
		}
	}()
	<-waits.yes
	disk.free.Store(0)
	close(flush)
	if err := <-outcome; !errors.Is(err, store.ErrUnknown) || sigbox.KindOf(err) != sigbox.Fatal {
		t.Errorf("expected ErrUnknown of kind fatal, found %v", err)
	}
	if err := put(t, kv, "after"); err == nil || sigbox.KindOf(err) != sigbox.Fatal || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("expected kind fatal, found %v", err)
	}
	if _, err := kv.Get(t.Context(), key(0)); err != nil {
		t.Errorf("reads do not go on: %v", err)
	}
	disk.free.Store(1 << 30) // what waits in Pebble must not go on now
	full.Store(false)
	_ = kv.Close() // it says again what failed

	copied := filepath.Join(t.TempDir(), "copy") // as a new process sees it
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	again := open(t, copied)
	defer func() { must(t, again.Close()) }()
	for i := range acknowledged {
		if _, err := again.Get(t.Context(), key(i)); err != nil {
			t.Errorf("commit %d of %d: %v", i, acknowledged, err)
		}
	}
	must(t, put(t, again, "after"))
}

// heard takes messages until one has a text.
type heard struct {
	text string
	once sync.Once
	yes  chan struct{} // closed then
}

func (h *heard) Enabled(context.Context, slog.Level) bool { return true }
func (h *heard) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *heard) WithGroup(string) slog.Handler            { return h }
func (h *heard) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) {
		h.once.Do(func() { close(h.yes) })
	}
	return nil
}

// TestFullAtTheStart: Pebble would try for ever to write out what its log holds.
func TestFullAtTheStart(t *testing.T) {
	fs := &diskFS{FS: vfs.Default}
	fs.free.Store(1 << 30)
	dir := t.TempDir()
	kv, err := pebble.Open(t.Context(), dir, pebble.Options{FS: fs})
	must(t, err)
	must(t, put(t, kv, "a"))
	must(t, kv.Close())

	fs.free.Store(1 << 20)
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{FS: fs}); err == nil || sigbox.KindOf(err) != sigbox.Unavailable || !strings.Contains(err.Error(), "full") {
		t.Fatalf("expected kind unavailable, found %v", err)
	}
	fs.free.Store(100 << 20) // too little to write, enough to read
	kv, err = pebble.Open(t.Context(), dir, pebble.Options{FS: fs})
	must(t, err)
	defer func() { must(t, kv.Close()) }()
	if _, err := kv.Get(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
}

// A directory belongs to one process.
func TestSecondProcess(t *testing.T) {
	if dir := os.Getenv("SIGBOX_TEST_SECOND"); dir != "" {
		kv, err := pebble.Open(t.Context(), dir, pebble.Options{})
		if err == nil {
			t.Fatal("it was opened twice", kv.Close())
		}
		if sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), "another process") {
			t.Fatalf("expected kind conflict, found %v", err)
		}
		return
	}
	dir := t.TempDir()
	kv := open(t, dir)
	defer func() { must(t, kv.Close()) }()
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{}); err == nil || sigbox.KindOf(err) != sigbox.Conflict {
		t.Fatalf("in the same process: expected kind conflict, found %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSecondProcess$")
	cmd.Env = append(os.Environ(), "SIGBOX_TEST_SECOND="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestNewerStore(t *testing.T) {
	dir := t.TempDir()
	kv := open(t, dir)
	must(t, kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: []byte("\x00schema"), Value: []byte("999")}}}))
	must(t, kv.Close())
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{}); err == nil || !strings.Contains(err.Error(), "newer sigbox") {
		t.Fatalf("found %v", err)
	}
}

// A damaged store is refused, and nothing panics.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	kv := open(t, dir)
	must(t, put(t, kv, "a"))
	must(t, kv.Close())
	files, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	must(t, err)
	for _, f := range files {
		must(t, os.WriteFile(f, []byte("garbage"), 0o600))
	}
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{}); err == nil || sigbox.KindOf(err) != sigbox.Fatal {
		t.Fatalf("expected kind fatal, found %v", err)
	}
}

// A store whose marker is gone is not taken for a new one.
func TestNoMarker(t *testing.T) {
	dir := t.TempDir()
	kv := open(t, dir)
	must(t, put(t, kv, "a"))
	must(t, kv.Close())
	markers, err := filepath.Glob(filepath.Join(dir, "marker.manifest.*"))
	must(t, err)
	for _, m := range markers {
		must(t, os.Remove(m))
	}
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{}); err == nil || sigbox.KindOf(err) != sigbox.Fatal || !strings.Contains(err.Error(), "no manifest") {
		t.Fatalf("expected kind fatal, found %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o500))
	if _, err := pebble.Open(t.Context(), dir, pebble.Options{}); err == nil || sigbox.KindOf(err) != sigbox.Denied {
		t.Fatalf("expected kind denied, found %v", err)
	}
}

func BenchmarkGetMissing(b *testing.B) {
	kv := open(b, b.TempDir())
	defer func() { must(b, kv.Close()) }()
	for i := range 200 {
		var batch store.Batch
		for j := range 1000 {
			batch.Writes = append(batch.Writes, store.Pair{Key: key(i*1000 + j), Value: make([]byte, 8)})
		}
		must(b, kv.Commit(b.Context(), batch))
	}
	b.ReportAllocs()
	n := 1 << 30
	for b.Loop() {
		n++
		if _, err := kv.Get(b.Context(), key(n)); !errors.Is(err, store.ErrNotFound) {
			b.Fatal(err)
		}
	}
}

// key gives a key that is spread as hashes are.
func key(n int) []byte {
	h := sha256.Sum256([]byte(strconv.Itoa(n)))
	return h[:]
}
