// Package gate bounds how much of one kind of work is done at once, and how long callers
// wait for their turn:
//
//	leave, err := g.Enter(ctx)
//	if err != nil {
//		return err // too much to do: try again in a second
//	}
//	defer leave()
//
// A burst waits, an overload does not. As long as the queue has been empty within the
// last tenth of a second, callers wait for up to that long. When it has not, more comes
// than can be done, and a long queue would only make everybody late: then who has waited
// for more than twenty milliseconds is refused, and who comes to a full queue at once.
// What is answered is answered soon, and as much as can be is. These two bounds are
// "controlled delay" for servers (B. Maurer, Fail at Scale, ACM Queue 13(8), 2015).
//
// Callers that only compute do not queue here but for a processor: [Gate.Knock] refuses
// a share of them, before anything was computed, as [Pressure] has it.
package gate

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	// burst is how long callers wait while the queue is emptied now and then.
	burst = 100 * time.Millisecond
	// standing is how long they wait when it is not.
	standing = 20 * time.Millisecond
)

// Config is what a Gate needs.
type Config struct {
	// What names the work in errors, as in "the certificate authority". Required.
	What string
	// Slots is how many callers are let in at once, at least 1.
	Slots int
	// Pressure is that on the processors, which all gates share; nil is none.
	Pressure *Pressure
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Gate lets callers in, the first first. Its methods are safe for concurrent use. A nil
// Gate lets everybody in.
type Gate struct {
	cfg Config

	mu      sync.Mutex
	inside  int       // guarded by mu; at most cfg.Slots
	queue   list.List // guarded by mu; of *waiter, empty while there is room inside
	emptied time.Time // guarded by mu; when the queue was last seen empty
	refused uint64    // guarded by mu
}

// waiter is a caller in the queue.
type waiter struct {
	since time.Time
	let   chan bool // one slot: whether it was let in
}

// New makes a Gate.
func New(c Config) *Gate {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Slots = max(c.Slots, 1)
	return &Gate{cfg: c, emptied: c.Now()}
}

// Enter waits for the caller's turn, and gives what is to be called when the work is
// done. Errors are of kind Unavailable: there is too much to do, or ctx has ended.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	place, err := g.line()
	if err != nil || place == nil {
		return g.leave, err
	}
	w := place.Value.(*waiter)
	patience := time.NewTimer(burst)
	defer patience.Stop()
	var let bool
	select {
	case let = <-w.let:
	case <-patience.C:
		let = g.giveUp(place)
	case <-ctx.Done():
		let = g.giveUp(place)
	}
	if !let {
		return nil, g.busy(context.Cause(ctx))
	}
	return g.leave, nil
}

// Knock refuses a caller, with an error of kind Unavailable, when the processors have too
// much to do already.
func (g *Gate) Knock() error {
	if g == nil || g.cfg.Pressure.admits() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused++
	return g.busy(nil)
}

// Refused is how many callers were refused since the start.
func (g *Gate) Refused() uint64 {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// line lets the caller in, which is nil, or into the queue.
func (g *Gate) line() (*list.Element, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	if g.queue.Len() == 0 {
		g.emptied = now
		if g.inside < g.cfg.Slots {
			g.inside++
			return nil, nil
		}
	}
	if g.overloaded(now) && g.queue.Len() >= g.cfg.Slots {
		g.refused++
		return nil, g.busy(nil)
	}
	return g.queue.PushBack(&waiter{now, make(chan bool, 1)}), nil
}

// overloaded says whether the queue stands. The caller holds mu.
func (g *Gate) overloaded(now time.Time) bool { return now.Sub(g.emptied) > burst }

// leave makes room for the first in the queue that has not waited for too long.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.cfg.Now()
	bound := burst
	if g.overloaded(now) {
		bound = standing
	}
	for e := g.queue.Front(); e != nil; e = g.queue.Front() {
		w := g.queue.Remove(e).(*waiter)
		in := now.Sub(w.since) <= bound
		if w.let <- in; in {
			g.noteEmpty(now)
			return // with the slot of who leaves
		}
		g.refused++
	}
	g.noteEmpty(now)
	g.inside--
}

// noteEmpty notes when there was nobody left to wait. The caller holds mu.
func (g *Gate) noteEmpty(now time.Time) {
	if g.queue.Len() == 0 {
		g.emptied = now
	}
}

// giveUp takes a caller out of the queue, unless it was let in or refused meanwhile,
// which it then says.
func (g *Gate) giveUp(place *list.Element) (let bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := place.Value.(*waiter)
	select {
	case let = <-w.let:
		return let
	default:
	}
	g.queue.Remove(place)
	g.refused++
	return false
}

func (g *Gate) busy(cause error) error {
	e := sigbox.Errorf(sigbox.Unavailable, "%s has more to do than it can", g.cfg.What).WithHint("try again in a second")
	if cause != nil {
		e = e.WithCause(cause)
	}
	return e
}
