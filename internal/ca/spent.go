package ca

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// ticket stands for a token: when it ends, in seconds since 1970 (8 bytes, big-endian),
// and the SHA-256 of what its signature is over. The signature is no part of it: of one
// by ECDSA anybody can make a second one.
type ticket [8 + sha256.Size]byte

func newTicket(token string, until time.Time) (t ticket) {
	signed, _, _ := strings.Cut(token[strings.IndexByte(token, '.')+1:], ".")
	input := token[:strings.IndexByte(token, '.')+1+len(signed)]
	sum := sha256.Sum256([]byte(input))
	binary.BigEndian.PutUint64(t[:8], uint64(max(until.Unix(), 0))) // #nosec G115 -- not negative
	copy(t[8:], sum[:])
	return t
}

// sweepEvery is the time between two occasions at which tokens are forgotten that have
// expired.
const sweepEvery = time.Minute

// keepFor is how much longer they are remembered than they are accepted: a clock may be
// set back.
const keepFor = time.Hour

// spent remembers the tokens that were used, until they have expired anyway.
type spent struct {
	kv    store.KV
	now   func() time.Time
	swept atomic.Int64 // seconds since 1970
}

// check refuses a token that was used.
func (s *spent) check(ctx context.Context, t ticket) error {
	switch _, err := s.kv.Get(ctx, t[:]); {
	case err == nil:
		return usedBefore()
	case errors.Is(err, store.ErrNotFound):
		return nil
	default:
		return sigbox.Errorf(sigbox.Unavailable, "whether the identity token was used before cannot be said: %w", err)
	}
}

// spend uses a token: of all who do, one succeeds, also after a crash.
func (s *spent) spend(ctx context.Context, t ticket) error {
	b := store.Batch{Checks: []store.Check{{Key: t[:]}}, Writes: []store.Pair{{Key: t[:], Value: []byte{}}}}
	now := s.now()
	if last := s.swept.Load(); now.Sub(time.Unix(last, 0)) >= sweepEvery && s.swept.CompareAndSwap(last, now.Unix()) {
		end := newTicket("..", now.Add(-skew-keepFor))
		b.Deletes = []store.Range{{From: []byte{}, To: end[:8]}}
	}
	err := s.kv.Commit(ctx, b)
	switch {
	case errors.Is(err, store.ErrConflict):
		return usedBefore()
	case err != nil:
		return sigbox.Errorf(sigbox.Unavailable, "the identity token cannot be marked as used: %w", err)
	}
	return nil
}

func usedBefore() error {
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token was used before: each is good for one certificate").WithHint("get a new one")
}
