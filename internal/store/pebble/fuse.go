package pebble

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fuse is a file system that is not written to any more once its store has failed.
//
// Pebble ends the process when it cannot write its metadata or begin a new log file,
// since what it would write afterwards would stand on what may not be there: a table
// could be removed that a lost record has let go of. Behind a blown fuse nothing
// follows, so that the process can stay and serve reads.
//
// It also makes names durable in the order in which they need each other. Pebble
// syncs the directory once for a new MANIFEST, the marker that names it and the
// removal of the last marker; a file system that kept only a part of these, after a
// power cut, would have a store that cannot be found again.
type fuse struct {
	vfs.FS
	kv *KV
}

// errBlown is what writes give after the store has failed.
var errBlown = &fs.PathError{Op: "write", Path: "store", Err: os.ErrClosed}

// do does what changes files.
func (f fuse) do(op func() error) error {
	err := error(errBlown)
	if !f.kv.blown.Load() {
		err = op()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		f.kv.stopPebble(err)
	}
	return err
}

func (f fuse) open(name string, op func() (vfs.File, error)) (file vfs.File, err error) {
	err = f.do(func() (err error) {
		file, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return fusedFile{file, f, strings.HasSuffix(name, ".log")}, nil
}

func (f fuse) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.isManifest(name) {
		return f.createManifest(name, c)
	}
	return f.create(name, c)
}

func (f fuse) create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// syncDirOf makes the names beside name durable.
func (f fuse) syncDirOf(name string) error {
	dir, err := f.OpenDir(f.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f fuse) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f fuse) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open(to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// OpenDir gives a directory, which is opened to sync it.
func (f fuse) OpenDir(name string) (vfs.File, error) {
	return f.open(name, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

func (f fuse) Link(from, to string) error {
	return f.do(func() error { return f.FS.Link(from, to) })
}

func (f fuse) Remove(name string) error {
	if strings.HasPrefix(f.PathBase(name), "marker.") { // after the one that follows it
		if err := f.syncDirOf(name); err != nil {
			return err
		}
	}
	if f.isManifest(name) {
		if err := f.Remove(name + syncedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.do(func() error { return f.FS.Remove(name) })
}

func (f fuse) RemoveAll(name string) error {
	return f.do(func() error { return f.FS.RemoveAll(name) })
}

func (f fuse) Rename(from, to string) error {
	return f.do(func() error { return f.FS.Rename(from, to) })
}

func (f fuse) MkdirAll(dir string, perm os.FileMode) error {
	return f.do(func() error { return f.FS.MkdirAll(dir, perm) })
}

func (f fuse) Unwrap() vfs.FS { return f.FS }

// fusedFile is a file behind a fuse.
type fusedFile struct {
	vfs.File
	fuse fuse
	log  bool // it is one of the write-ahead log: what it does not take is lost
}

func (f fusedFile) do(op func() error) error {
	return f.fuse.do(func() error {
		err := op()
		if err != nil && f.log {
			_ = f.fuse.kv.breakDown(err) // whose commit it was hears of err itself
		}
		return err
	})
}

func (f fusedFile) Write(p []byte) (n int, err error) {
	err = f.do(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f fusedFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.do(func() (err error) {
		n, err = f.File.WriteAt(p, at)
		return err
	})
	return n, err
}

func (f fusedFile) Sync() error     { return f.do(f.File.Sync) }
func (f fusedFile) SyncData() error { return f.do(f.File.SyncData) }

func (f fusedFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

func (f fusedFile) Close() error {
	if f.fuse.kv.blown.Load() {
		f.fuse.kv.stopPebble(errBlown)
	}
	return f.File.Close()
}

// stopPebble does not return to Pebble where it would end the process because of err:
// where it exchanges its log file or its manifest, it panics, in part without the
// lock that its callers then give back; where it opens a store, it cleans up below
// work that goes on. None of these holds a lock that readers need.
func (kv *KV) stopPebble(err error) {
	if kv.opened.Load() && !rotating() {
		return
	}
	_ = kv.wedge(err) // the call of ours that waits for this gives it
	select {}
}

// rotating reports whether Pebble is exchanging its log file or its manifest.
func rotating() bool {
	return slices.ContainsFunc(stack(), func(f string) bool {
		return f == theirs+"(*DB).rotateWAL" || strings.HasSuffix(f, "/atomicfs.(*Marker).Move")
	})
}

// called reports whether a call of this package is on the stack, below Pebble: else
// the goroutine is one of Pebble's own.
func called() bool {
	inPebble := false
	for _, f := range stack() {
		inPebble = inPebble || strings.HasPrefix(f, theirs)
		if inPebble && strings.HasPrefix(f, ours) {
			return true
		}
	}
	return false
}

// What the names of Pebble's functions begin with, and those of this package.
const (
	theirs = "github.com/cockroachdb/pebble/v2."
	ours   = "github.com/sigbox/sigbox/internal/store/pebble."
)

// stack names the functions under way, the innermost first.
func stack() (names []string) {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		names = append(names, f.Function)
		if !more {
			return names
		}
	}
}
