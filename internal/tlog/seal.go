package tlog

import (
	"context"
	"errors"

	"github.com/sigbox/sigbox"
)

// ErrSealed is in the chain of the error of a log that takes no entries for good.
var ErrSealed = errors.New("the log is sealed")

// Seal has the log take no more entries. It returns the last head when all that waited
// have their outcome; reading goes on. The head is then published, and brought to the
// anchor, beside everything else; after that the log does nothing by itself any more,
// and holds no more than what is read of it. A log is sealed until it is closed: one that
// is to stay so is opened with Config.Sealed.
//
// The error is of kind Unavailable when ctx ends, or the log is closed, before that.
func (l *Log) Seal(ctx context.Context) (Head, error) {
	l.sealed.Store(true)
	l.queue.close(l.sealedError())
	select {
	case <-l.sequenced:
		return l.Head(), nil
	case <-ctx.Done():
		return Head{}, sigbox.Errorf(sigbox.Unavailable, "the log %s is sealed, and entries are still on their way", l.cfg.Origin).WithCause(context.Cause(ctx))
	}
}

// sealedError is what callers get who come too late.
func (l *Log) sealedError() *sigbox.Error {
	return sigbox.Errorf(sigbox.Frozen, "the log %s takes no further entries", l.cfg.Origin).
		WithHint("refresh the trust root and use its successor").WithCause(ErrSealed)
}

// finished reports whether the log is sealed and its last entry has been taken.
func (l *Log) finished() bool {
	if !l.sealed.Load() {
		return false
	}
	select {
	case <-l.sequenced:
		return true
	default:
		return false
	}
}
