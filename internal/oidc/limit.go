package oidc

import (
	"hash/maphash"
	"sync"
	"time"
)

// limiterSlots is how many keys a limiter tells apart. Two keys may share a slot,
// which keyed hashing makes rare and nobody can aim for.
const limiterSlots = 4096

// limiter bounds how often something may be tried for a key (a user, an address):
// burst times at once, then once every interval. Its memory is fixed, however
// many keys there are. It is a generic cell rate algorithm: a slot holds the time
// at which it will have recovered.
type limiter struct {
	every time.Duration
	burst int
	seed  maphash.Seed

	mu    sync.Mutex
	slots []time.Time // guarded by mu
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{every: every, burst: burst, seed: maphash.MakeSeed(), slots: make([]time.Time, limiterSlots)}
}

// take counts one try. When there were too many it counts nothing and says how
// long to wait.
func (l *limiter) take(key string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slot(key)
	room := time.Duration(l.burst) * l.every
	debt := max(0, slot.Sub(now))
	debt = min(debt, room) // more can only come from a clock that jumped back
	if debt+l.every > room {
		return debt + l.every - room, false
	}
	*slot = now.Add(debt + l.every)
	return 0, true
}

// giveBack undoes one take, for a try that turned out to be fine.
func (l *limiter) giveBack(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slot := l.slot(key)
	*slot = slot.Add(-l.every)
}

// slot must be called with mu held.
func (l *limiter) slot(key string) *time.Time {
	return &l.slots[maphash.String(l.seed, key)%uint64(len(l.slots))]
}
