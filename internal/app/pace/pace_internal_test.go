package pace

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

// Memory is held where it is to be held, and garbage keeps its least share, whatever
// is in use.
func TestPercent(t *testing.T) {
	for inUse, want := range map[uint64]int{
		0: 150, 4 << 20: 150, 70 << 20: 150, 71 << 20: 147, 88 << 20: 100, 100 << 20: 76, 101 << 20: 75, 117 << 20: 75,
		most - 1: 75, most: 75, most + 1: 75, 1 << 40: 75, 1<<64 - 1: 75,
	} {
		if got := percent(inUse); got != want {
			t.Errorf("%d bytes in use: expected %d %%, found %d", inUse, want, got)
		}
	}
}

// What is set follows what is in use, until it is stopped; what the environment has set
// stays.
func TestServer(t *testing.T) {
	procs, before := runtime.GOMAXPROCS(0), debug.SetGCPercent(70)
	defer func() {
		runtime.GOMAXPROCS(procs)
		debug.SetGCPercent(before)
	}()
	Server(func(string) string { return "1" })()
	if p, n := set(), runtime.GOMAXPROCS(0); p != 70 || n != procs {
		t.Errorf("the environment's was replaced: %d %%, %d schedulers", p, n)
	}

	stop := Server(func(string) string { return "" })
	if p, n := set(), runtime.GOMAXPROCS(0); p != mostPercent || n != 2*procs {
		t.Errorf("expected %d %%, %d schedulers, found %d and %d", mostPercent, 2*procs, p, n)
	}
	large := make([]byte, most)
	await(leastPercent)
	runtime.KeepAlive(large)
	await(mostPercent)
	stop()
}

// After the end nothing is set any more.
func TestStop(t *testing.T) {
	before := debug.SetGCPercent(70)
	defer debug.SetGCPercent(before)
	c := new(collector)
	c.stopped.Store(true)
	c.collected()
	if p := set(); p != 70 {
		t.Errorf("expected 70 %%, found %d", p)
	}
}

// await collects garbage until a percentage is set: who is told of a collection hears of
// it a little later.
func await(percent int) {
	for set() != percent {
		runtime.GC()
	}
}

// set is the percentage that is set.
func set() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}
