// Package limit bounds how often somebody may do something, in memory that does not
// grow with how many they are; and how much somebody may hold ([Shares]).
//
//	l := limit.New(limit.Rate{Events: 100, Per: time.Minute}, nil)
//	err := l.Allow("192.0.2.7") // *limit.Exceeded after a hundred in a minute
//
// A limiter is a sketch: each key has one cell in each of a few rows, at places that
// depend on a secret of the process, and counts as the least of its cells. So a key is
// never taken for less busy than it is, however many there are: a flood of addresses
// makes nobody unlimited. It is taken for busier only if all of its cells are shared
// with busy ones: for that a flood has to fill most of the sketch, each address of it at
// the limit.
//
// A cell is the generic cell rate algorithm's theoretical arrival time.
package limit

import (
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	rows  = 4
	cells = 1 << 15 // of a row; 1 MiB for all
)

// Rate is how many events there may be in a span of time. All of them may come at once;
// then they come back evenly. The zero value is no limit.
type Rate struct {
	Events int64
	Per    time.Duration
}

// IsZero reports whether r is no limit.
func (r Rate) IsZero() bool { return r.Events == 0 }

// String writes r as [ParseRate] reads it.
func (r Rate) String() string {
	for unit, d := range units() {
		if r.Per == d {
			return fmt.Sprintf("%d/%s", r.Events, unit)
		}
	}
	return fmt.Sprintf("%d/%s", r.Events, r.Per)
}

func units() map[string]time.Duration {
	return map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
}

// ParseRate reads a rate such as 100/s: a number of events, and s, m, h or d.
func ParseRate(text string) (Rate, error) {
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseInt(number, 10, 32)
	per, ok := units()[unit]
	if err != nil || n < 1 || !ok {
		return Rate{}, sigbox.Mismatch(sigbox.Invalid, "a rate", "a number, a slash, and s, m, h or d, as in 100/m", strconv.Quote(text[:min(len(text), 40)]))
	}
	return Rate{n, per}, nil
}

// UnmarshalText reads a rate; see [ParseRate].
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// Exceeded says that a limit was reached, and after how long the next event is allowed.
type Exceeded struct {
	Rate  Rate
	After time.Duration
}

// RetryAfter is After in whole seconds, and at most a day.
func (e *Exceeded) RetryAfter() time.Duration {
	return min((e.After + time.Second - 1).Truncate(time.Second), 24*time.Hour)
}

func (e *Exceeded) Error() string { return fmt.Sprintf("more than %s", e.Rate) }

// Limiter holds keys to a rate. It is safe for concurrent use.
type Limiter struct {
	rate Rate
	step time.Duration // from one event to the next, at the rate
	now  func() time.Time
	seed [rows]maphash.Seed

	mu     sync.Mutex
	arrive [rows][cells]int64 // theoretical arrival times, ns since 1970; guarded by mu
}

// New makes a limiter; nil for a rate that is no limit, and a nil Limiter allows
// everything. A nil now is time.Now.
func New(rate Rate, now func() time.Time) *Limiter {
	if rate.IsZero() {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	l := &Limiter{rate: rate, step: max(rate.Per/time.Duration(rate.Events), 1), now: now}
	for i := range l.seed {
		l.seed[i] = maphash.MakeSeed()
	}
	return l
}

// Allow counts an event of a key. The error is an [*Exceeded], and the event does not
// count.
func (l *Limiter) Allow(key string) error {
	if l == nil {
		return nil
	}
	var at [rows]uint64
	for i := range at {
		at[i] = maphash.String(l.seed[i], key) % cells
	}
	now := l.now().UnixNano()
	l.mu.Lock()
	defer l.mu.Unlock()
	least := int64(math.MaxInt64)
	for i, c := range at {
		least = min(least, l.arrive[i][c])
	}
	room := int64(l.step) * l.rate.Events
	next := min(max(least, now), now+room) + int64(l.step) // more is of a clock that has stepped back
	if over := time.Duration(next - now - room); over > 0 {
		return &Exceeded{l.rate, over}
	}
	for i, c := range at { // no more than what is known of this key
		l.arrive[i][c] = max(l.arrive[i][c], next)
	}
	return nil
}

// AddressKey is the key of an address: of IPv6 the network of 64 bits, of which whoever
// has one address has all.
func AddressKey(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr().String() + "/64"
		}
	}
	return a.String()
}
