package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestHurry: the collector is as before afterwards, and what was asked for is kept.
func TestHurry(t *testing.T) {
	settings := func() [2]int64 {
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return [2]int64{int64(percent), debug.SetMemoryLimit(-1)}
	}
	before := settings()
	t.Cleanup(func() {
		debug.SetGCPercent(int(before[0]))
		debug.SetMemoryLimit(before[1])
	})
	set := [2]int64{100, math.MaxInt64}
	debug.SetGCPercent(int(set[0]))
	debug.SetMemoryLimit(set[1])
	for asked, during := range map[string][2]int64{"": {hurriedPercent, hurriedMemory}, "GOGC": set, "GOMEMLIMIT": set} {
		e := &env{getenv: func(name string) string {
			if name == asked {
				return "100" // also what would be so without
			}
			return ""
		}}
		undo := e.hurry()
		if got := settings(); got != during {
			t.Errorf("%q: during %d, want %d", asked, got, during)
		}
		undo()
		undo()
		if got := settings(); got != set {
			t.Errorf("%q: afterwards %d", asked, got)
		}
	}
}
