package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// measureScaling verifies directories with one core and with all of them, by one
// verifier.
func measureScaling(w io.Writer, cases []subject, rounds int) error {
	began := time.Now()
	clock := func() time.Duration { return time.Since(began) }
	cores := min(2, runtime.NumCPU())
	if cores < 2 {
		return nil
	}
	for i := range cases {
		s := &cases[i]
		if len(s.list) == 1 {
			continue
		}
		ours, err := sigboxLibrary(s.root)
		if err != nil {
			return err
		}
		costs, err := compare(max(1, rounds/3), 1, clock, s.parallel(ours, 1), s.parallel(ours, cores))
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "\n%s: %s on one core, %s on two, × %s (goal 1.80)\n", s.name,
			micros(medians(costs[0]).over(float64(len(s.list))).micros), micros(medians(costs[1]).over(float64(len(s.list))).micros),
			held(ratio(costs[0], costs[1]), goalScaling, true)); err != nil {
			return err
		}
	}
	return nil
}

// parallel verifies all bundles with as many goroutines as cores.
func (s *subject) parallel(c contender, cores int) preparer {
	return func(int) (batch, error) {
		return func() error {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			j, err := c()
			if err != nil {
				return err
			}
			var next atomic.Int64
			errs := make([]error, cores)
			var group sync.WaitGroup
			for g := range cores {
				group.Go(func() {
					for {
						i := int(next.Add(1)) - 1
						if i >= len(s.list) || errs[g] != nil {
							return
						}
						errs[g] = j(&s.list[i])
					}
				})
			}
			group.Wait()
			return errors.Join(errs...)
		}, nil
	}
}

// profile verifies with sigbox alone, a few seconds for each bundle and state.
func profile(o options, cases []subject) error {
	for i := range cases {
		s := &cases[i]
		ours, err := sigboxLibrary(s.root)
		if err != nil {
			return err
		}
		for _, st := range s.states() {
			if !strings.Contains(s.name+" "+st.String(), o.only) {
				continue
			}
			if err := profileOne(filepath.Join(o.profile, strings.ReplaceAll(s.name, " ", "-")+"-"+st.String()), s.prepare(ours, st), st == seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// profileOne writes the profiles of a batch; again has the same one run over and
// over, without what prepares it.
func profileOne(name string, p preparer, again bool) error {
	cpu, err := os.Create(name + ".cpu")
	if err != nil {
		return err
	}
	defer func() { _ = cpu.Close() }() // a profile
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	var run batch
	for start := time.Now(); time.Since(start) < 3*time.Second; {
		if run == nil || !again {
			if run, err = p(1); err != nil {
				return err
			}
		}
		if err := run(); err != nil {
			return err
		}
	}
	pprof.StopCPUProfile()
	mem, err := os.Create(name + ".mem")
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	return pprof.Lookup("allocs").WriteTo(mem, 0)
}
