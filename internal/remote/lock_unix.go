//go:build unix

package remote

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/sigbox/sigbox"
)

// lockPoll is how often a lock that somebody else holds is tried.
const lockPoll = 20 * time.Millisecond

// lock waits for an advisory lock on a file, which it makes. The lock ends with
// unlock or with the process.
func lock(ctx context.Context, path string, sleep func(context.Context, time.Duration) error) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unavailable, "cannot make the lock on trust data: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = sleep(ctx, lockPoll)
			if err == nil {
				continue
			}
		}
		if err != nil {
			_ = f.Close() // nothing was written
			return nil, sigbox.Errorf(sigbox.Unavailable, "cannot lock %s: %w", path, err)
		}
		return func() { _ = f.Close() }, nil // closing gives the lock back
	}
}
