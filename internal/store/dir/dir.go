// Package dir is the [store.Publisher] of a directory: a value is a file, and a
// static web server can hand it out as it lies there.
//
// A value is written to a temporary file, synced, linked to its name, which fails
// if the name exists, and the directory is synced. Files are reached through an
// [os.Root], so that no symbolic link leads out of the directory; what is not a
// regular file is not a value.
package dir

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/store"
)

const (
	// tempDir holds files that are being written. No value's name has a plus.
	tempDir = "+tmp"
	// Values are public: whoever serves them may read them.
	dirMode, fileMode = 0o755, 0o644
)

// Blob is a directory of values. It is safe for concurrent use in one process.
type Blob struct {
	path   string
	root   *os.Root
	writes Writes
	temp   atomic.Uint64                // number of the last temporary file
	broken atomic.Pointer[sigbox.Error] // set once: nothing is written any more

	mu    sync.Mutex
	known map[string]bool // guarded by mu; directories that are durable
}

var (
	_ store.Publisher = (*Blob)(nil)
	_ store.Ranger    = (*Blob)(nil)
)

// Options change how a directory is opened. The zero value is for use.
type Options struct {
	// Writes gives what changes the directory, made of what would; nil is that itself.
	Writes func(Writes) Writes
}

// Open opens the directory at path, or makes it. It belongs to this process.
func Open(path string) (*Blob, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with options.
func OpenWith(path string, o Options) (*Blob, error) {
	if err := atomicfile.MkdirAll(path, dirMode); err != nil {
		return nil, failed(path, err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, failed(path, err)
	}
	b := &Blob{path: path, root: root, writes: rooted{root}, known: map[string]bool{".": true}}
	if o.Writes != nil {
		b.writes = o.Writes(b.writes)
	}
	// What a crash has left was never a value.
	if err := b.writes.RemoveAll(tempDir); err != nil {
		return nil, errors.Join(failed(path, err), root.Close())
	}
	if err := b.writes.Mkdir(tempDir); err != nil {
		return nil, errors.Join(failed(path, err), root.Close())
	}
	return b, nil
}

// Close frees the directory.
func (b *Blob) Close() error { return b.root.Close() }

// Put implements [store.Blob].
func (b *Blob) Put(ctx context.Context, name string, data []byte) error {
	if err := b.checkWrite(ctx, name); err != nil {
		return err
	}
	if same, err := b.has(name, data); err != nil || same {
		return err
	}
	err := b.write(name, data, func(temp string) error {
		if err := b.writes.Link(temp, name); err != nil {
			return err
		}
		return b.writes.Remove(temp)
	})
	if errors.Is(err, fs.ErrExist) { // somebody was first
		if same, err := b.has(name, data); err != nil || same {
			return err
		}
	}
	return err
}

// has says whether name holds data already and durably. Other data gives
// ErrExists.
func (b *Blob) has(name string, data []byte) (bool, error) {
	have, err := b.read(name, int64(len(data)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil && sigbox.KindOf(err) != sigbox.TooLarge:
		return false, err
	case err != nil || !bytes.Equal(have, data):
		return false, store.ErrExists
	}
	return true, b.sync(path.Dir(name))
}

// Replace implements [store.Publisher].
func (b *Blob) Replace(ctx context.Context, name string, data []byte) error {
	if err := b.checkWrite(ctx, name); err != nil {
		return err
	}
	return b.write(name, data, func(temp string) error { return b.writes.Rename(temp, name) })
}

// write brings data to a temporary file and has it put in place.
func (b *Blob) write(name string, data []byte, place func(temp string) error) error {
	temp := path.Join(tempDir, strconv.FormatUint(b.temp.Add(1), 10))
	err := b.writeTemp(temp, data)
	if err == nil {
		err = b.placeIn(path.Dir(name), func() error { return place(temp) })
	}
	if err == nil {
		err = b.sync(path.Dir(name))
	}
	if err != nil {
		_ = b.writes.Remove(temp) // if it is there; the next Open removes it too
		return failed(path.Join(b.path, name), err)
	}
	return nil
}

func (b *Blob) writeTemp(temp string, data []byte) error {
	f, err := b.writes.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// placeIn runs place when a directory is there. A directory may go between the
// two, when its last value is removed; then it is made again.
func (b *Blob) placeIn(dir string, place func() error) error {
	for attempt := 0; ; attempt++ {
		if err := b.ensure(dir); err != nil {
			return err
		}
		err := place()
		if attempt == 2 || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		b.forget(dir)
	}
}

// ensure makes a directory, with those above it, durable.
func (b *Blob) ensure(dir string) error {
	b.mu.Lock()
	known := b.known[dir]
	b.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	if err := b.ensure(parent); err != nil {
		return err
	}
	if err := b.writes.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := b.sync(parent); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[dir] = true
	return nil
}

func (b *Blob) forget(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, dir)
}

// sync makes the names in a directory durable. When that fails, nobody knows which
// of them are, and a second try would say yes to what the kernel has let go of:
// nothing is written any more until the directory is opened again. One that cannot be
// opened now can be synced later.
func (b *Blob) sync(dir string) error {
	d, err := b.writes.OpenDir(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		b.broken.CompareAndSwap(nil, sigbox.Errorf(sigbox.Fatal, "the directory %s could not be synced: nothing is written to it any more", path.Join(b.path, dir)).
			WithHint("look for disk errors in the system's log, then restart").WithCause(err))
		return errors.Join(err, d.Close())
	}
	return d.Close()
}

// Get implements [store.Blob].
func (b *Blob) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	return b.read(name, limit)
}

// GetRange implements [store.Ranger].
func (b *Blob) GetRange(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	f, err := b.open(name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, length)
	n, err := f.ReadAt(data, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, failed(path.Join(b.path, name), err)
	}
	return data[:n], nil
}

func (b *Blob) read(name string, limit int64) ([]byte, error) {
	f, err := b.open(name)
	if err != nil {
		return nil, err
	}
	data, err := readAll(f, limit)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, failed(path.Join(b.path, name), err)
	}
	if int64(len(data)) > limit {
		return nil, store.TooLong(name, limit)
	}
	return data, nil
}

// open opens a value's file, or gives ErrNotFound.
func (b *Blob) open(name string) (*os.File, error) {
	info, err := b.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || (err == nil && !info.Mode().IsRegular()) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, failed(path.Join(b.path, name), err)
	}
	f, err := b.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, store.ErrNotFound // removed meanwhile
	}
	if err != nil {
		return nil, failed(path.Join(b.path, name), err)
	}
	return f, nil
}

// readAll reads a file, at most one byte more than limit.
func readAll(f *os.File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	_, err = buf.ReadFrom(io.LimitReader(f, limit+1))
	return buf.Bytes(), err
}

// Remove implements [store.Publisher]. A directory goes with its last value.
func (b *Blob) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := b.checkWrite(ctx, name); err != nil {
			return err
		}
		if err := b.writes.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failed(path.Join(b.path, name), err)
		}
		if dir := path.Dir(name); dir != "." && b.writes.Remove(dir) == nil {
			b.forget(dir)
		}
	}
	return nil
}

// List implements [store.Blob].
func (b *Blob) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		dir := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if dir != "" && store.CheckName(strings.TrimSuffix(dir, "/")) != nil {
			return // no value has such a name
		}
		b.walk(ctx, dir, prefix, yield)
	}
}

// walk yields the values below dir, which is empty or ends in a slash, in the
// order of their names; false if it was told to stop.
func (b *Blob) walk(ctx context.Context, dir, prefix string, yield func(string, error) bool) bool {
	if err := ctx.Err(); err != nil {
		yield("", err)
		return false
	}
	entries, err := fs.ReadDir(b.root.FS(), path.Clean("./"+dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true
	}
	if err != nil {
		yield("", failed(path.Join(b.path, dir), err))
		return false
	}
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return cmp.Compare(sortName(x), sortName(y)) })
	for _, e := range entries {
		name := dir + e.Name()
		switch {
		case store.CheckName(e.Name()) != nil:
			continue
		case e.IsDir():
			if inside := name + "/"; strings.HasPrefix(inside, prefix) || strings.HasPrefix(prefix, inside) {
				if !b.walk(ctx, inside, prefix, yield) {
					return false
				}
			}
		case e.Type().IsRegular() && strings.HasPrefix(name, prefix):
			if !yield(name, nil) {
				return false
			}
		}
	}
	return true
}

// sortName is what a directory entry is sorted by, so that whole names come in
// the order of their bytes.
func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckName(name)
}

// checkWrite is check for what changes the directory.
func (b *Blob) checkWrite(ctx context.Context, name string) error {
	if err := b.broken.Load(); err != nil {
		return err
	}
	return check(ctx, name)
}

// failed gives the error for something that the file system refused.
func failed(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return sigbox.Errorf(sigbox.Unavailable, "no space is left to write %s", path).WithHint("make room on that disk").WithCause(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return sigbox.Errorf(sigbox.Denied, "%s cannot be written or read", path).WithHint("check the owner and the permissions of the directory").WithCause(err)
	}
	return sigbox.Errorf(sigbox.Internal, "file %s", path).WithCause(err)
}
