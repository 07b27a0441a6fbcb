package main

import (
	"runtime/debug"
	"sync"
)

const (
	// hurriedPercent is how much the heap of a short run may grow before it is
	// collected, in percent of what is in use: a run of a thousand artifacts, which
	// leave little behind, is collected twice and not ten times.
	hurriedPercent = 400
	// hurriedMemory is where collecting becomes eager again, in bytes.
	hurriedMemory = 128 << 20
	// hurriedArtifacts is for how many that is worth it: the results of more are
	// themselves a large heap.
	hurriedArtifacts = 10_000
)

// hurry has the collector of garbage do less, and gives what undoes it. Who runs the
// program has the last word, by $GOGC and $GOMEMLIMIT.
func (e *env) hurry() (undo func()) {
	if e.getenv("GOGC") != "" || e.getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(hurriedPercent), debug.SetMemoryLimit(hurriedMemory)
	return sync.OnceFunc(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
}
