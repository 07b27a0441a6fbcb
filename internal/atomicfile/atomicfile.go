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

// temporary writes data to a new file beside path and syncs it.
func temporary(path string, data []byte, perm fs.FileMode) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp-")
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
