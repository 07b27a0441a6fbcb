package tlog

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
)

// disk is what a database and a directory stand on together. It counts what changes
// files, and fails at one of these operations. After a failed sync, the file is one
// whose unsynced part the kernel has let go of: later syncs succeed, and bring
// nothing.
type disk struct {
	mode diskMode
	at   int // the operation that fails, counted from 1; 0 is none

	mu      sync.Mutex
	count   int // guarded by mu
	failing bool
	ops     map[string]int // guarded by mu; how often there was what
}

// diskMode is how a disk fails.
type diskMode int

const (
	failsOnce diskMode = iota // and is well again
	failsEver                 // it and all that changes files after it
	fills                     // a part is written, and there is no space until the end
	diskModes
)

// err gives what goes wrong with one operation, nil for most.
func (d *disk) err(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if d.ops != nil {
		d.ops[op]++
	}
	if d.at == 0 || d.count < d.at || d.mode == failsOnce && d.count > d.at {
		return nil
	}
	d.failing = true
	if d.mode == fills {
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// do does one operation, or fails.
func (d *disk) do(op string, f func() error) error {
	if err := d.err(op); err != nil {
		return err
	}
	return f()
}

// write writes, or writes a part and fails.
func (d *disk) write(op string, f func([]byte) (int, error), p []byte) (int, error) {
	fault := d.err(op)
	if fault == nil {
		return f(p)
	}
	n := 0
	if d.mode != failsEver {
		n = len(p) / 2
	}
	n, err := f(p[:n])
	if err != nil {
		return n, err
	}
	return n, fault
}

// failed reports whether anything has failed.
func (d *disk) failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failing
}

// diskFS is the disk as Pebble sees it.
type diskFS struct {
	vfs.FS
	d *disk
}

func (f diskFS) file(op string, open func() (vfs.File, error)) (vfs.File, error) {
	if err := f.d.err(op); err != nil {
		return nil, err
	}
	file, err := open()
	if err != nil {
		return nil, err
	}
	return &diskFile{File: file, d: f.d}, nil
}

func (f diskFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("create", func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f diskFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.file("open", func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f diskFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.file("reuse", func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

func (f diskFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: file, d: f.d}, nil
}

func (f diskFS) Link(from, to string) error {
	return f.d.do("link", func() error { return f.FS.Link(from, to) })
}

func (f diskFS) Remove(name string) error {
	return f.d.do("remove", func() error { return f.FS.Remove(name) })
}

func (f diskFS) RemoveAll(name string) error {
	return f.d.do("remove all", func() error { return f.FS.RemoveAll(name) })
}

func (f diskFS) Rename(from, to string) error {
	return f.d.do("rename", func() error { return f.FS.Rename(from, to) })
}

func (f diskFS) MkdirAll(name string, perm os.FileMode) error {
	return f.d.do("mkdir", func() error { return f.FS.MkdirAll(name, perm) })
}

// diskFile is a file or directory of Pebble's.
type diskFile struct {
	vfs.File
	d *disk

	mu   sync.Mutex
	gone bool // guarded by mu; a sync has failed
}

func (f *diskFile) Write(p []byte) (int, error) { return f.d.write("write", f.File.Write, p) }

func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	return f.d.write("write", func(p []byte) (int, error) { return f.File.WriteAt(p, at) }, p)
}

func (f *diskFile) Sync() error     { return f.sync("sync", f.File.Sync) }
func (f *diskFile) SyncData() error { return f.sync("sync data", f.File.SyncData) }

func (f *diskFile) SyncTo(int64) (bool, error) { return false, nil } // it is a hint

func (f *diskFile) sync(op string, do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.d.err(op); err != nil {
		f.gone = true
		return err
	}
	if f.gone {
		return nil
	}
	return do()
}

// diskDir is the disk as the directory of tiles sees it: a real directory, of which
// cut takes away what was not synced.
type diskDir struct {
	dir.Writes
	d    *disk
	path string

	mu       sync.Mutex
	unsynced map[string][]func(*rand.Rand) // guarded by mu; by directory, what undoes its changes
	gone     map[string]bool               // guarded by mu; directories whose sync has failed
}

// undo notes what undoes a change of a directory.
func (w *diskDir) undo(name string, f func(*rand.Rand)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsynced[path.Dir(name)] = append(w.unsynced[path.Dir(name)], f)
}

// cut loses a part of what is not durable.
func (w *diskDir) cut(rng *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range slices.Sorted(maps.Keys(w.unsynced)) {
		for _, undo := range slices.Backward(w.unsynced[in]) {
			if rng.IntN(2) == 0 {
				undo(rng)
			}
		}
	}
}

func (w *diskDir) at(name string) string { return filepath.Join(w.path, filepath.FromSlash(name)) }

// before gives what brings a file back as it is now.
func (w *diskDir) before(name string) func(*rand.Rand) {
	b, err := os.ReadFile(w.at(name))
	return func(*rand.Rand) {
		_ = os.Remove(w.at(name))
		if err == nil && os.MkdirAll(filepath.Dir(w.at(name)), 0o755) == nil {
			_ = os.WriteFile(w.at(name), b, 0o644)
		}
	}
}

func (w *diskDir) Create(name string) (dir.File, error) {
	if err := w.d.err("create a file"); err != nil {
		return nil, err
	}
	f, err := w.Writes.Create(name)
	if err != nil {
		return nil, err
	}
	same, err := os.OpenFile(w.at(name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	file := &diskDirFile{File: f, w: w, same: same}
	w.undo("data/"+name, file.lose)
	return file, nil
}

func (w *diskDir) Mkdir(name string) error {
	return w.d.do("make a directory", func() error {
		if err := w.Writes.Mkdir(name); err != nil {
			return err
		}
		w.undo(name, func(*rand.Rand) { _ = os.RemoveAll(w.at(name)) })
		return nil
	})
}

func (w *diskDir) Link(old, name string) error {
	return w.d.do("link a file", func() error {
		if err := w.Writes.Link(old, name); err != nil {
			return err
		}
		w.undo(name, func(*rand.Rand) { _ = os.Remove(w.at(name)) })
		return nil
	})
}

func (w *diskDir) Rename(old, name string) error {
	return w.d.do("rename a file", func() error {
		w.undo(name, w.before(name))
		return w.Writes.Rename(old, name)
	})
}

func (w *diskDir) Remove(name string) error {
	return w.d.do("remove a file", func() error {
		if info, err := os.Lstat(w.at(name)); err == nil && info.Mode().IsRegular() {
			w.undo(name, w.before(name))
		}
		return w.Writes.Remove(name)
	})
}

func (w *diskDir) RemoveAll(name string) error {
	return w.d.do("remove a directory", func() error { return w.Writes.RemoveAll(name) })
}

func (w *diskDir) OpenDir(name string) (dir.Dir, error) {
	if err := w.d.err("open a directory"); err != nil {
		return nil, err
	}
	d, err := w.Writes.OpenDir(name)
	return diskDirOpen{d, w, name}, err
}

// diskDirOpen is a directory that is open.
type diskDirOpen struct {
	dir.Dir
	w    *diskDir
	name string
}

func (o diskDirOpen) Sync() error { return o.w.syncDir(o.name) }

func (w *diskDir) syncDir(name string) error {
	err := w.d.err("sync a directory") // a cut is what makes the difference
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.gone[name] = true
	} else if !w.gone[name] {
		delete(w.unsynced, name)
	}
	return err
}

// diskDirFile is a file that is being written to the directory.
type diskDirFile struct {
	dir.File
	w    *diskDir
	same *os.File // the same file, whatever it is called

	mu     sync.Mutex
	synced int64 // guarded by mu; bytes that are durable
	size   int64 // guarded by mu
	gone   bool  // guarded by mu
}

func (f *diskDirFile) Write(p []byte) (int, error) {
	n, err := f.w.d.write("write a file", f.File.Write, p)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.size += int64(n)
	return n, err
}

func (f *diskDirFile) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.w.d.err("sync a file"); err != nil {
		f.gone = true
		return err
	}
	if !f.gone {
		f.synced = f.size
	}
	return nil // a cut is what makes the difference
}

// lose takes away a part of what was not synced.
func (f *diskDirFile) lose(rng *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_ = f.same.Truncate(f.synced + rng.Int64N(f.size-f.synced+1))
}

func (f *diskDirFile) Close() error {
	if err := f.File.Close(); err != nil {
		return err
	}
	return f.w.d.err("close a file")
}

// machine is a log's stores, on one disk, from start to start.
type machine struct {
	t     *testing.T
	disk  *disk
	fs    *vfs.MemFS
	files *diskDir
	tiles string
	rng   *rand.Rand
}

func newMachine(t *testing.T, d *disk, seed uint64) *machine {
	return &machine{t: t, disk: d, fs: vfs.NewCrashableMem(), tiles: t.TempDir(), rng: rand.New(rand.NewPCG(seed, uint64(d.mode)))}
}

// open opens the stores; nil when they cannot be.
func (m *machine) open() (store.KV, *dir.Blob) {
	kv, err := pebble.Open(m.t.Context(), "db", pebble.Options{FS: diskFS{roomy{m.fs}, m.disk}, MinFree: 1})
	if err != nil {
		m.expectFault(err)
		return nil, nil
	}
	m.files = &diskDir{d: m.disk, path: m.tiles, unsynced: map[string][]func(*rand.Rand){}, gone: map[string]bool{}}
	blob, err := dir.OpenWith(m.tiles, dir.Options{Writes: func(w dir.Writes) dir.Writes {
		m.files.Writes = w
		return m.files
	}})
	if err != nil {
		m.expectFault(err)
		_ = kv.Close()
		return nil, nil
	}
	return kv, blob
}

// expectFault fails the test when there is an error and nothing was made to fail.
func (m *machine) expectFault(err error) {
	m.t.Helper()
	if err != nil && !m.disk.failed() {
		m.t.Fatal(err)
	}
}

// restart cuts the power, if anything has failed, and has a disk that is well.
func (m *machine) restart() {
	if !m.disk.failed() {
		return
	}
	m.fs = m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rng.IntN(101), RNG: m.rng})
	if m.files != nil {
		m.files.cut(m.rng)
		m.files = nil
	}
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	m.disk.at, m.disk.failing = 0, false
}

// life opens a log, has it used, and closes it, whatever happens.
func (m *machine) life(use func(l *Log)) {
	m.t.Helper()
	kv, blob := m.open()
	if kv == nil {
		return
	}
	cfg := testConfig(m.t)
	cfg.KV, cfg.Blob = kv, blob
	if l, err := Open(m.t.Context(), cfg); err == nil {
		use(l)
		if l.Err() == nil && m.disk.mode == failsEver && m.disk.failed() {
			if _, err := l.Add(m.t.Context(), Leaf{Data: []byte("to a disk that takes nothing")}); err == nil {
				m.t.Error("an entry was acknowledged that no disk has")
			}
		}
		if h := l.Head(); h.Size > 0 { // reads go on
			_, _, err := l.Entry(m.t.Context(), h.Size-1)
			must(m.t, err)
			_, err = l.Tile(m.t.Context(), 0, (h.Size-1)/TileWidth, int((h.Size-1)%TileWidth)+1)
			must(m.t, err)
		}
		must(m.t, l.Close(context.Background()))
	} else {
		m.expectFault(err)
	}
	m.expectFault(kv.Close())
	m.expectFault(blob.Close())
}

// wide is a leaf so large that some of them fill the database's first memory tables.
func wide(i int) string { return strconv.Itoa(i) + strings.Repeat(".", 40_000) }

// diskRun loads a log in two lives on a disk that fails, and checks it in a third
// one on a disk that is well.
func diskRun(t *testing.T, d *disk) {
	m := newMachine(t, d, uint64(d.at))
	w := newWitness()
	round := func(l *Log) {
		if err := l.round(true); err != nil {
			m.expectFault(err)
		}
	}
	m.life(func(l *Log) {
		crashLoad(t, l, w, 0, 2)
		crashBatch(t, l, w, 2, 240)
		for i := range 12 {
			if r, err := l.Add(context.Background(), Leaf{Data: []byte(wide(i % 10))}); err == nil {
				w.saw(t, wide(i%10), r)
			}
		}
		round(l)
		crashLoad(t, l, w, 238, 250)
	})
	m.restart()
	m.life(func(l *Log) {
		crashBatch(t, l, w, 300, 530)
		round(l)
		crashLoad(t, l, w, 528, 532)
	})
	m.restart()
	last := d.count
	d.at = 0
	m.life(func(l *Log) {
		w.check(t, l)
		must(t, l.round(true))
		checkPublished(t, l, l.cfg.Blob)
	})
	kv, blob := m.open()
	cfg := testConfig(t)
	cfg.KV, cfg.Blob = kv, blob
	for _, f := range mustCheck(t, cfg).Findings {
		if f.What != FoundLeftover || !strings.Contains(f.Name, ".p/") { // a partial tile that could not be removed is no harm
			t.Errorf("found %+v", f)
		}
	}
	must(t, kv.Close())
	must(t, blob.Close())
	d.count = last
}

// The disk below database and directory fails at each of the operations that change
// files, in turn: writes, syncs, and names that are made, changed and removed, while
// stores are opened, used and opened again. The log takes entries or refuses them,
// and serves reads; after a restart that loses a part of what was not synced, nothing
// that was acknowledged is missing, and all is as fsck wants it.
func TestFaultAtEveryFileOperation(t *testing.T) {
	all := &disk{ops: map[string]int{}}
	diskRun(t, all)
	t.Logf("%d operations: %v", all.count, all.ops)
	step := 1
	if testing.Short() || raceDetector {
		step = 12
	}
	var g errgroup.Group
	g.SetLimit(8) // they mostly wait
	for mode := range diskModes {
		if mode == failsEver {
			step *= 3 // most of what follows is the same as with one that fails once
		}
		for at := 1 + int(mode); at <= all.count; at += step {
			g.Go(func() error {
				t.Run(fmt.Sprintf("mode %d, operation %d", mode, at), func(t *testing.T) { diskRun(t, &disk{mode: mode, at: at}) })
				return nil
			})
		}
	}
	_ = g.Wait() // it is the tests that fail
}
