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
	file
	short           int // bytes that are written before err, if err is not nil
	write, sync, at error
}

func (f *badFile) Write(p []byte) (int, error) {
	if f.write == nil {
		return f.file.Write(p)
	}
	n, err := f.file.Write(p[:min(f.short, len(p))])
	return n, errors.Join(err, f.write)
}

func (f *badFile) Sync() error  { return errors.Join(f.file.Sync(), f.sync) }
func (f *badFile) Close() error { return errors.Join(f.file.Close(), f.at) }

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
			create := b.create
			b.create = func(name string) (file, error) {
				f, err := create(name)
				bad := tt.bad
				bad.file = f
				return &bad, err
			}
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
