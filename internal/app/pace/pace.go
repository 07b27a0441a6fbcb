// Package pace sets Go's runtime for a server that waits for its disk, so that what
// is measured of a part of it runs as the whole does.
//
// With as many schedulers as processors, the commit that comes back from its fsync
// stands in line behind signature checks; with twice as many, the kernel lets it go
// first. Under load that is worth a tenth of what the log takes (bench/run -parts log).
//
// Garbage is collected a little less often than Go would while little is in use. What
// is in use has bounds, and most of it is the database's memory, which costs the
// collector next to nothing: what a server needs then hangs on how much garbage
// waits beside it. So that gets less as more is in use, down to three quarters of that.
// At half of it two thousand clients pay with a fifth of the processor's time; and a hard
// limit would have the server do nothing but collect when it has most to do.
package pace

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

const (
	// most is what heap and stacks may grow to before garbage is collected, in bytes, as
	// long as that leaves leastPercent of what is in use. Resident are some 50 MB more: the
	// program, what the runtime keeps for itself, and places on the heap that stay free.
	most = 176 << 20
	// mostPercent and leastPercent bound the garbage, in percent of what is in use.
	mostPercent, leastPercent = 150, 75
)

// Server sets what the environment does not, by $GOMAXPROCS and $GOGC, until stop is
// called.
func Server(getenv func(string) string) (stop func()) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
	if getenv("GOGC") != "" {
		return func() {}
	}
	debug.SetGCPercent(mostPercent)
	c := new(collector)
	c.percent.Store(mostPercent)
	c.await()
	return func() { c.stopped.Store(true) }
}

// collector is told each time that garbage was collected.
type collector struct {
	percent atomic.Int64 // as it was set last
	stopped atomic.Bool
}

// await has collected be called when garbage was next collected.
func (c *collector) await() {
	runtime.AddCleanup(new([64]byte), (*collector).collected, c)
}

func (c *collector) collected() {
	if c.stopped.Load() {
		return
	}
	if p := percent(inUse()); c.percent.Swap(int64(p)) != int64(p) {
		debug.SetGCPercent(p)
	}
	c.await()
}

// percent is how much garbage there may be before it is collected, in percent of what is
// in use.
func percent(inUse uint64) int {
	if inUse >= most {
		return leastPercent
	}
	p := (most - inUse) * 100 / max(inUse, 1)
	return int(max(leastPercent, min(mostPercent, p))) // #nosec G115 -- at most mostPercent
}

// inUse is what the last collection found to be in use, with what stacks take, in bytes.
func inUse() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() + s[1].Value.Uint64()
}
