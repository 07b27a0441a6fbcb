package tlog

import (
	"context"
	"errors"
	"sync/atomic"
)

// Relay is a log that goes on in another one: of S, what takes entries at present is
// its leg. Calls that find a leg sealed go on to the next:
//
//	for leg := relay.Leg(); ; {
//		r, err := leg.Log.Add(ctx, entry)
//		next := leg.Next(ctx, err)
//		if next == nil {
//			return r, err
//		}
//		leg = next
//	}
type Relay[S any] struct{ leg atomic.Pointer[Leg[S]] }

// Leg is a log of a [Relay].
type Leg[S any] struct {
	Log S

	ending atomic.Bool   // another one will follow
	over   chan struct{} // closed when next is known, or that there will be none
	next   *Leg[S]       // set before over is closed
}

// NewRelay begins with a log.
func NewRelay[S any](first S) *Relay[S] {
	r := &Relay[S]{}
	r.leg.Store(newLeg(first))
	return r
}

func newLeg[S any](log S) *Leg[S] { return &Leg[S]{Log: log, over: make(chan struct{})} }

// Leg gives what takes entries at present.
func (r *Relay[S]) Leg() *Leg[S] { return r.leg.Load() }

// Now gives the log that takes entries at present.
func (r *Relay[S]) Now() S { return r.leg.Load().Log }

// Hand has next follow, once seal has come back, which has the present log take no
// more entries. Calls that meet the sealed log meanwhile wait. When seal fails they have
// its log's error. Only one call may be under way.
func (r *Relay[S]) Hand(next S, seal func() error) error {
	leg := r.leg.Load()
	leg.ending.Store(true)
	defer close(leg.over)
	if err := seal(); err != nil {
		r.leg.Store(newLeg(leg.Log))
		return err
	}
	leg.next = newLeg(next)
	r.leg.Store(leg.next)
	return nil
}

// Next gives the leg on which a call is to be made again that failed with err, once it
// is there; nil if err is its outcome.
func (g *Leg[S]) Next(ctx context.Context, err error) *Leg[S] {
	if err == nil || !errors.Is(err, ErrSealed) || !g.ending.Load() {
		return nil
	}
	select {
	case <-g.over:
		return g.next
	case <-ctx.Done():
		return nil
	}
}
