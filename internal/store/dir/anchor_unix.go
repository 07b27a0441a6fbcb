//go:build unix

package dir

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// openAtOnce has a file opened without waiting for whoever is at its other end.
const openAtOnce = syscall.O_NONBLOCK

// lockFile waits for an advisory lock on a file, which it makes. The lock ends with
// unlock or with the process. A file system that has no locks gives none, and no
// error.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|openAtOnce, fileMode)
	if err != nil {
		return nil, err
	}
	unlock = func() { _ = f.Close() } // nothing was written
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil, errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return unlock, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			unlock()
			return nil, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			unlock()
			return nil, ctx.Err()
		}
	}
}
