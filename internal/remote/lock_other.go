//go:build !unix

package remote

import (
	"context"
	"time"
)

// lock does nothing: two processes may then refresh at the same time, each for
// itself. The cache stays whole, since it is one file that is replaced.
func lock(context.Context, string, func(context.Context, time.Duration) error) (unlock func(), err error) {
	return func() {}, nil
}
