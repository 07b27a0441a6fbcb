// Package atomicfile writes small files so that a crash leaves the old content
// or the new one, never a part, and so that what was written is durable when the
// call returns: a temporary file beside the target, fsync, link or rename, fsync
// of the directory.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Create writes data to a file that does not exist yet. When it does, the error
// is [fs.ErrExist] and the file stays as it is; of several callers at once
// exactly one succeeds.
func Create(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, os.Link)
}

// Replace writes data to path, in the place of what may be there.
func Replace(path string, data []byte, perm fs.FileMode) error {
	return write(path, data, perm, os.Rename)
}

// Rehearse fails when [Create] and [Replace] could not write to path, as far as that
// shows before there is data: it makes the temporary file, and removes it.
func Rehearse(path string) error {
	f, err := createTemporary(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// write makes a durable temporary file and gives it its name by publish.
func write(path string, data []byte, perm fs.FileMode, publish func(from, to string) error) error {
	tmp, err := temporary(path, data, perm)
	if err != nil {
		return err
	}
	err = publish(tmp, path)
	if rmErr := os.Remove(tmp); err == nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = rmErr
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// temporaryMark is what the names of temporary files have after the dot and the
// name of their target.
const temporaryMark = ".tmp-"

// Clean removes the temporary files that writers who were killed left in dir, which
// may hold secrets. Nobody may be writing there. A directory that does not exist is
// clean.
func Clean(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name[0] == '.' && strings.Contains(name, temporaryMark) && e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// MkdirAll is [os.MkdirAll], and makes what it made durable.
func MkdirAll(dir string, perm fs.FileMode) error {
	err := os.Mkdir(dir, perm)
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
		err = os.Mkdir(dir, perm)
	}
	if err == nil {
		return syncParent(parent)
	}
	switch info, statErr := os.Stat(dir); {
	case statErr != nil:
		return err
	case !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// syncParent is SyncDir for a directory of somebody else's, in which one may be
// allowed to make names and not to read them.
func syncParent(dir string) error {
	if err := SyncDir(dir); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func createTemporary(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+temporaryMark)
}

// temporary writes data to a new file beside path and syncs it.
func temporary(path string, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := createTemporary(path)
	if err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err = f.Chmod(perm); err != nil {
		return "", err
	}
	if _, err = f.Write(data); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

// SyncDir makes the names in a directory durable. Windows has no such call and
// needs none.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
