package dir

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// badFile is a file that fails.
type badFile struct {
	File
	short           int // bytes that are written before err, if err is not nil
	write, sync, at error
}

func (f *badFile) Write(p []byte) (int, error) {
	if f.write == nil {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:min(f.short, len(p))])
	return n, errors.Join(err, f.write)
}

func (f *badFile) Sync() error  { return errors.Join(f.File.Sync(), f.sync) }
func (f *badFile) Close() error { return errors.Join(f.File.Close(), f.at) }

// badWrites makes files that fail.
type badWrites struct {
	Writes
	bad badFile
}

func (w badWrites) Create(name string) (File, error) {
	f, err := w.Writes.Create(name)
	bad := w.bad
	bad.File = f
	return &bad, err
}

// badDirs is a directory that fails once: its names cannot be made durable, or it
// cannot be opened for that.
type badDirs struct {
	Writes
	sync, open *bool // set: it will fail
}

func (w badDirs) OpenDir(name string) (Dir, error) {
	if *w.open {
		*w.open = false
		return nil, syscall.EMFILE
	}
	d, err := w.Writes.OpenDir(name)
	return badDir{d, w.sync}, err
}

type badDir struct {
	Dir
	sync *bool
}

func (d badDir) Sync() error {
	if *d.sync {
		*d.sync = false
		return syscall.EIO
	}
	return d.Dir.Sync()
}

// After a directory could not be synced, nothing is said to be durable in it, and
// what is there can be read.
func TestFailedDirectorySync(t *testing.T) {
	path := t.TempDir()
	var sync, open bool
	b, err := OpenWith(path, Options{Writes: func(w Writes) Writes { return badDirs{w, &sync, &open} }})
	must(t, err)
	must(t, b.Put(t.Context(), "before", []byte("1")))
	// A directory that could not be opened is synced the next time.
	open = true
	if err := b.Put(t.Context(), "later", []byte("1")); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("expected EMFILE, found %v", err)
	}
	must(t, b.Put(t.Context(), "later", []byte("1")))
	sync = true
	if err := b.Put(t.Context(), "a", []byte("1")); err == nil || sigbox.KindOf(err) != sigbox.Internal {
		t.Fatalf("expected kind internal, found %v", err)
	}
	for what, err := range map[string]error{
		"put":     b.Put(t.Context(), "a", []byte("1")),
		"replace": b.Replace(t.Context(), "a", []byte("2")),
		"remove":  b.Remove(t.Context(), "a"),
	} {
		if err == nil || sigbox.KindOf(err) != sigbox.Fatal {
			t.Errorf("%s: expected kind fatal, found %v", what, err)
		}
	}
	if v, err := b.Get(t.Context(), "before", 1); err != nil || string(v) != "1" {
		t.Errorf("found %q, %v", v, err)
	}
	must(t, b.Close())
	b, err = Open(path)
	must(t, err)
	must(t, b.Put(t.Context(), "a", []byte("1")))
	must(t, b.Close())
}

// A value that could not be written whole and durably is not there, whatever was
// there before it stays, and the next try is a fresh one.
func TestFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		bad  badFile
		kind sigbox.Kind
	}{
		"short write":  {badFile{short: 5, write: io.ErrShortWrite}, sigbox.Internal},
		"full disk":    {badFile{short: 3, write: syscall.ENOSPC}, sigbox.Unavailable},
		"quota":        {badFile{write: syscall.EDQUOT}, sigbox.Unavailable},
		"I/O error":    {badFile{write: syscall.EIO}, sigbox.Internal},
		"failed fsync": {badFile{sync: syscall.EIO}, sigbox.Internal},
		"late error":   {badFile{at: syscall.ENOSPC}, sigbox.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			b, err := Open(path)
			must(t, err)
			must(t, b.Replace(t.Context(), "checkpoint", []byte("old")))
			b.writes = badWrites{b.writes, tt.bad}
			for what, err := range map[string]error{
				"put":     b.Put(t.Context(), "tile/0/000", []byte("a tile of some length")),
				"replace": b.Replace(t.Context(), "checkpoint", []byte("a new checkpoint")),
			} {
				if err == nil || sigbox.KindOf(err) != tt.kind {
					t.Errorf("%s: expected kind %v, found %v", what, tt.kind, err)
				}
			}
			checkOld(t, b)
			must(t, b.Close())
			b, err = Open(path)
			must(t, err)
			checkOld(t, b)
			must(t, b.Put(t.Context(), "tile/0/000", []byte("a tile")))
			must(t, b.Close())
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func checkOld(t *testing.T, b *Blob) {
	t.Helper()
	if v, err := b.Get(t.Context(), "checkpoint", 100); err != nil || string(v) != "old" {
		t.Errorf("checkpoint: found %q, %v", v, err)
	}
	if v, err := b.Get(t.Context(), "tile/0/000", 100); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("tile: found %q, %v", v, err)
	}
	for name, err := range b.List(t.Context(), "") {
		if must(t, err); strings.Contains(name, "tmp") || name != "checkpoint" {
			t.Errorf("%s is there", name)
		}
	}
}
