// Package gate bounds how much of one kind of work is done at once, and how long callers
// wait for their turn:
//
//	visit, err := g.Knock(ctx)
//	if err != nil {
//		return err // too much to do, or too late already
//	}
//	defer visit.End()
//	// find out whether this is a caller to let in
//	if err := visit.Enter(ctx); err != nil {
//		return err // too much to do
//	}
//
// A burst waits, an overload does not. As long as somebody has found nobody waiting
// within the last tenth of a second, callers wait for up to fifty milliseconds. When
// nobody has, more comes than can be done, and a long queue would only make everybody
// late: then who has waited for more than twenty milliseconds is refused, and who comes
// to a long queue at once. A few who come late are no overload: a process that was held
// up for a moment, as containers are that have used up their share of the processors,
// serves as many of them in a second as it lets in at once. What is answered is answered soon, and as much as can be is.
// These two bounds are "controlled delay" for servers (B. Maurer, Fail at Scale, ACM
// Queue 13(8), 2015).
//
// The wait begins when the request reached this machine ([WithWaited]): under overload
// most of it passes before the first line of the program sees the request.
package gate

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	// calmed is for how long nobody has found the queue empty, for it to stand.
	calmed = 100 * time.Millisecond
	// burst is how long callers wait while it does not.
	burst = 50 * time.Millisecond
	// standing is how long they wait when it does.
	standing = 20 * time.Millisecond
	// prompt is how long ago a request may have reached the machine, for its caller not
	// to have waited. The system tells it in steps, of four milliseconds mostly.
	prompt = 5 * time.Millisecond
	// retryFirst and retryLast are the bounds of when callers are asked to come again:
	// not all at once, as they came.
	retryFirst = 1 * time.Second
	retryLast  = 4 * time.Second
)

// Config is what a Gate needs.
type Config struct {
	// What names the work in errors, as in "the certificate authority". Required.
	What string
	// Slots is how many callers are let in at once, at least 1.
	Slots int
	// Overloaded, if not nil, is told of a refusal, at most once a minute.
	Overloaded func()
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Gate lets callers in, the first first. Its methods are safe for concurrent use. A nil
// Gate lets everybody in.
type Gate struct {
	cfg Config

	refused atomic.Uint64
	tellNot atomic.Int64 // until then Overloaded is not called, in Unix nanoseconds

	mu     sync.Mutex
	inside int       // guarded by mu; at most cfg.Slots
	coming list.List // guarded by mu; of *Visit, from Knock to Enter, for as long as a burst
	queue  list.List // guarded by mu; of *Visit, empty while there is room inside
	late   bool      // guarded by mu; whether the last caller had waited when it came
	spared time.Time // guarded by mu; up to when callers were let in who had waited for too long
	calm   time.Time // guarded by mu; when nobody was last seen to wait, here or on the way
	full   time.Time // guarded by mu; when the line was last too long for one more
}

type waitedKey struct{}

// WithWaited gives callers with ctx a function that tells how long ago their request
// reached this machine.
func WithWaited(ctx context.Context, f func() time.Duration) context.Context {
	return context.WithValue(ctx, waitedKey{}, f)
}

// waited is 0 for a caller without such a function.
func waited(ctx context.Context) time.Duration {
	if f, ok := ctx.Value(waitedKey{}).(func() time.Duration); ok {
		return f()
	}
	return 0
}

// Visit is a caller's way through a Gate. It is one goroutine's; that of a nil Gate is
// nil.
type Visit struct {
	gate   *Gate
	waited time.Duration // before it knocked
	since  time.Time     // when it began to wait, without the time from Knock to Enter once it is in the queue
	let    chan bool     // one slot: whether it was let in from the queue
	place  *list.Element // guarded by gate.mu; in coming, then in queue, or nil
	inside bool
}

// New makes a Gate.
func New(c Config) *Gate {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Slots = max(c.Slots, 1)
	return &Gate{cfg: c, calm: c.Now()}
}

// Knock begins a visit, which is to be ended, or refuses a caller before anything was
// done for it: one who has waited for too long already, or for whom the line is too
// long. The error is of kind Unavailable.
func (g *Gate) Knock(ctx context.Context) (*Visit, error) {
	if g == nil {
		return nil, nil
	}
	v := &Visit{gate: g, waited: waited(ctx)}
	if !g.knock(v) {
		return nil, g.busy(nil)
	}
	return v, nil
}

func (g *Gate) knock(v *Visit) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	g.late = v.waited > prompt
	g.noteCalm(now)
	for e := g.coming.Front(); e != nil && now.Sub(e.Value.(*Visit).since) > burst; e = g.coming.Front() {
		g.coming.Remove(e).(*Visit).place = nil // it is held up elsewhere
	}
	if v.waited > g.bound(now) && !g.spare(now) {
		return false
	}
	if g.coming.Len()+g.queue.Len() >= g.room(now) {
		g.full = now
		return false
	}
	v.since = now
	v.place = g.coming.PushBack(v)
	return true
}

// Enter waits for the caller's turn. Errors are of kind Unavailable: there is too much
// to do, or ctx has ended.
func (v *Visit) Enter(ctx context.Context) error {
	if v == nil {
		return nil
	}
	g := v.gate
	if v.inside = g.enter(v); v.inside {
		return nil
	}
	patience := time.NewTimer(burst - v.waited)
	defer patience.Stop()
	select {
	case v.inside = <-v.let:
	case <-patience.C:
		v.inside = g.giveUp(v)
	case <-ctx.Done():
		v.inside = g.giveUp(v)
	}
	if !v.inside {
		return g.busy(context.Cause(ctx))
	}
	return nil
}

// End ends a visit.
func (v *Visit) End() {
	if v == nil {
		return
	}
	g := v.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.inside {
		g.leave()
	} else if v.place != nil {
		g.coming.Remove(v.place)
	}
	v.inside, v.place = false, nil
}

// Refused is how many callers were refused since the start.
func (g *Gate) Refused() uint64 {
	if g == nil {
		return 0
	}
	return g.refused.Load()
}

// enter lets a caller in, or into the queue.
func (g *Gate) enter(v *Visit) (inside bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.place != nil {
		g.coming.Remove(v.place)
		v.place = nil
	}
	if g.queue.Len() == 0 && g.inside < g.cfg.Slots {
		g.inside++
		return true
	}
	v.let = make(chan bool, 1)
	v.since = g.cfg.Now().Add(-v.waited)
	v.place = g.queue.PushBack(v)
	return false
}

// stands says whether the queue does, or will again when those come back who were told
// to. The caller holds mu.
func (g *Gate) stands(now time.Time) bool {
	return now.Sub(g.calm) > calmed || now.Sub(g.full) < retryLast+time.Second
}

// bound is how long callers may wait. The caller holds mu.
func (g *Gate) bound(now time.Time) time.Duration {
	if g.stands(now) {
		return standing
	}
	return burst
}

// spare says whether one who is too late is let in: as many as there are slots are, each
// second. The caller holds mu.
func (g *Gate) spare(now time.Time) bool {
	at := g.spared
	if oldest := now.Add(-time.Second); at.Before(oldest) {
		at = oldest
	}
	at = at.Add(time.Second / time.Duration(g.cfg.Slots))
	if at.After(now) {
		return false
	}
	g.spared = at
	return true
}

// room is how many callers may be in line. The caller holds mu.
func (g *Gate) room(now time.Time) int {
	if g.stands(now) {
		return g.cfg.Slots
	}
	return 2 * g.cfg.Slots
}

// leave makes room for the first in the queue that has not waited for too long. The
// caller holds mu.
func (g *Gate) leave() {
	now := g.cfg.Now()
	bound := g.bound(now)
	for e := g.queue.Front(); e != nil; e = g.queue.Front() {
		v := g.queue.Remove(e).(*Visit)
		v.place = nil
		in := now.Sub(v.since) <= bound
		if v.let <- in; in {
			g.noteCalm(now)
			return // with the slot of who leaves
		}
	}
	g.noteCalm(now)
	g.inside--
}

// noteCalm notes when there was nobody who waits. The caller holds mu.
func (g *Gate) noteCalm(now time.Time) {
	if g.queue.Len() == 0 && !g.late {
		g.calm = now
	}
}

// giveUp takes a caller out of the queue, unless it was let in or refused meanwhile,
// which it then says.
func (g *Gate) giveUp(v *Visit) (let bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case let = <-v.let:
		return let
	default:
	}
	g.queue.Remove(v.place)
	v.place = nil
	return false
}

// busy counts a refusal and makes the error.
func (g *Gate) busy(cause error) error {
	g.refused.Add(1)
	now := g.cfg.Now().UnixNano()
	if not := g.tellNot.Load(); g.cfg.Overloaded != nil && now >= not && g.tellNot.CompareAndSwap(not, now+int64(time.Minute)) {
		g.cfg.Overloaded()
	}
	const steps = int64((retryLast - retryFirst) / time.Second)
	again := retryFirst + time.Duration(rand.Int64N(steps+1))*time.Second // #nosec G404 -- no secret
	return sigbox.Errorf(sigbox.Unavailable, "%s has more to do than it can", g.cfg.What).
		WithHint("try again when Retry-After says").WithCause(&Overload{again, cause})
}

// Overload is the cause of a gate's refusals.
type Overload struct {
	after time.Duration
	cause error // why the caller does not wait any more; nil is that it must not
}

func (o *Overload) Error() string {
	if o.cause != nil {
		return o.cause.Error()
	}
	return "come again in " + o.after.String()
}

// Unwrap gives why the caller does not wait any more, nil if it must not.
func (o *Overload) Unwrap() error { return o.cause }

// RetryAfter is when callers may come again.
func (o *Overload) RetryAfter() time.Duration { return o.after }
