package gate

import (
	"math/rand/v2"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sampled is how often the processors' queue is looked at.
	sampled = 50 * time.Millisecond
	// leastShare is the share of callers that are let in however long the queue is.
	leastShare = 0.05
	// crowd is how many goroutines have to wait for a processor, for their wait to be
	// this process's own doing: on a machine that is busy with other things a few wait
	// for long, and to refuse some helps nobody.
	crowd = 64
	// regained is by how much the share grows with each look at a short queue.
	regained = 0.02
)

// Pressure says how much more there is to do than the processors can. Work that only
// computes queues nowhere but in the scheduler, where each request has waited before its
// first line runs; what the runtime tells of those waits is what there is to go by. Its
// methods are safe for concurrent use; a nil Pressure never presses.
type Pressure struct {
	now   func() time.Time
	delay func() time.Duration // of the typical wait since it was last called; not concurrently

	looking sync.Mutex // held while share is computed
	next    atomic.Int64
	share   atomic.Int64 // of callers let in, in millionths
}

// whole is all of something, in millionths.
const whole = 1_000_000

// NewPressure makes a Pressure of this process's scheduler. A nil clock is time.Now.
func NewPressure(now func() time.Time) *Pressure { return newPressure(now, schedulerDelay()) }

func newPressure(now func() time.Time, delay func() time.Duration) *Pressure {
	if now == nil {
		now = time.Now
	}
	p := &Pressure{now: now, delay: delay}
	p.share.Store(whole)
	return p
}

// admits draws whether a caller is let in.
func (p *Pressure) admits() bool {
	if p == nil {
		return true
	}
	if now := p.now().UnixNano(); now >= p.next.Load() && p.looking.TryLock() {
		p.next.Store(now + int64(sampled))
		p.share.Store(nextShare(p.share.Load(), p.delay()))
		p.looking.Unlock()
	}
	share := p.share.Load()
	return share == whole || rand.Int64N(whole) < share // #nosec G404 -- no secret
}

// nextShare gives how many are let in after a look at the queue: fewer in proportion to
// how much too long it is, but not less than half as many as before; and slowly more
// when it is not.
func nextShare(share int64, delay time.Duration) int64 {
	if delay <= standing {
		return min(whole, share+regained*whole)
	}
	less := share * int64(standing) / int64(delay)
	return max(less, share/2, leastShare*whole)
}

// schedulerDelay gives a function that tells the median time that goroutines were
// ready to run and did not, since it was last called; 0 if there is no crowd of them.
func schedulerDelay() func() time.Duration {
	samples := []metrics.Sample{{Name: "/sched/latencies:seconds"}, {Name: "/sched/goroutines/runnable:goroutines"}}
	var before []uint64
	return func() time.Duration {
		metrics.Read(samples)
		if samples[0].Value.Kind() != metrics.KindFloat64Histogram || samples[1].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that does not tell
		}
		h := samples[0].Value.Float64Histogram()
		since := make([]uint64, len(h.Counts))
		for i, n := range h.Counts {
			if since[i] = n; len(before) == len(h.Counts) {
				since[i] -= before[i]
			}
		}
		before = append(before[:0], h.Counts...)
		if samples[1].Value.Uint64() < crowd {
			return 0
		}
		return time.Duration(median(since, h.Buckets) * float64(time.Second))
	}
}

// median gives the lower bound of the bucket in which the middle of counts is; bucket i
// is from bounds[i] to bounds[i+1].
func median(counts []uint64, bounds []float64) float64 {
	var all uint64
	for _, n := range counts {
		all += n
	}
	var below uint64
	for i, n := range counts {
		if below += n; n > 0 && 2*below >= all {
			return max(bounds[i], 0) // the first may begin at minus infinity
		}
	}
	return 0
}
