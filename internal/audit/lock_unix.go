//go:build unix

package audit

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes an advisory lock that ends with f or with the process; held says that
// somebody else has it. On a file system without locks there is none, and no error.
func tryLock(f *os.File) (held bool, err error) {
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return true, nil
		case errors.Is(err, syscall.ENOLCK), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return false, nil
		}
		return false, err
	}
}
