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
	for _, tt := range []struct{ set, during [2]int64 }{
		{[2]int64{100, math.MaxInt64}, [2]int64{hurriedPercent, hurriedMemory}},
		{[2]int64{50, math.MaxInt64}, [2]int64{50, math.MaxInt64}},
		{[2]int64{-1, math.MaxInt64}, [2]int64{-1, math.MaxInt64}},
		{[2]int64{100, 1 << 30}, [2]int64{100, 1 << 30}},
	} {
		debug.SetGCPercent(int(tt.set[0]))
		debug.SetMemoryLimit(tt.set[1])
		undo := hurry()
		if got := settings(); got != tt.during {
			t.Errorf("%d: during %d, want %d", tt.set, got, tt.during)
		}
		undo()
		undo()
		if got := settings(); got != tt.set {
			t.Errorf("%d: afterwards %d", tt.set, got)
		}
	}
}
