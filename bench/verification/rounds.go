package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// cost is what one verification takes. Time is the processor's, so that it is not
// of others who share the machine; where all cores work it is the clock's.
type cost struct{ micros, allocations, bytes float64 }

// batch is n verifications in a row, prepared so that only they are measured.
type batch func() error

// preparer prepares a batch. What it does is not measured.
type preparer func(n int) (batch, error)

// spend runs a batch and gives what one of its n verifications took, as told by
// now.
func spend(p preparer, n int, now func() time.Duration) (cost, error) {
	b, err := p(n)
	if err != nil {
		return cost{}, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := now()
	err = b()
	took := now() - start
	runtime.ReadMemStats(&after)
	per := float64(n)
	return cost{
		micros:      float64(took) / 1e3 / per,
		allocations: float64(after.Mallocs-before.Mallocs) / per,
		bytes:       float64(after.TotalAlloc-before.TotalAlloc) / per,
	}, err
}

// processor is the time that this process has spent on processors, the garbage
// collector's included.
func processor() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail for oneself
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// compare measures several in turn, round after round, so that what else the
// machine does hits all alike. It gives each one's costs, a round each.
func compare(rounds, n int, now func() time.Duration, of ...preparer) ([][]cost, error) {
	out := make([][]cost, len(of))
	for r := range rounds {
		for i := range of {
			at := (i + r) % len(of) // nobody is always the first
			c, err := spend(of[at], n, now)
			if err != nil {
				return nil, err
			}
			out[at] = append(out[at], c)
		}
	}
	return out, nil
}

// middle gives the median of a quantity.
func middle(costs []cost, of func(cost) float64) float64 {
	v := make([]float64, len(costs))
	for i, c := range costs {
		v[i] = of(c)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// medians takes each quantity's own.
func medians(costs []cost) cost {
	return cost{
		micros:      middle(costs, func(c cost) float64 { return c.micros }),
		allocations: middle(costs, func(c cost) float64 { return c.allocations }),
		bytes:       middle(costs, func(c cost) float64 { return c.bytes }),
	}
}

// ratio is the median of the rounds' own ratios of time.
func ratio(a, b []cost) float64 {
	v := make([]cost, len(a))
	for i := range a {
		v[i].micros = a[i].micros / b[i].micros
	}
	return middle(v, func(c cost) float64 { return c.micros })
}

func (c cost) String() string {
	return fmt.Sprintf("**%s**, %s allocations, %.1f KB", micros(c.micros), thousands(c.allocations), c.bytes/1e3)
}

func micros(f float64) string { return thousands(f) + " µs" }

// thousands writes 8712.3 as "8,712".
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
