package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// laboratory tries mutants.
type laboratory struct {
	dir           string
	packages      []*pkg
	jobs          int
	skip, only    *regexp.Regexp
	exceptions    *exceptions
	allAdvisories bool // every test of an advisory that can notice a mutant is run

	tests []*test
	tried []*site
	mu    sync.Mutex // guards the killers of all sites while tests are proved
}

// test is one top-level test.
type test struct {
	pkg      *pkg
	binary   string
	rapid    bool // the binary has rapid's flags
	name     string
	advisory bool
	took     time.Duration
	notices  []bool // by number of site
}

func (t *test) String() string { return t.pkg.path + " " + t.name }

var advisoryName = regexp.MustCompile(`^Test(GHSA|CVE)_`)

func (l *laboratory) sites() int {
	last := l.packages[len(l.packages)-1]
	return last.first + len(last.sites) - 1
}

// build compiles each package's tests against all mutated packages.
func (l *laboratory) build(ctx context.Context) error {
	over, err := overlay(l.dir, l.packages)
	if err != nil {
		return err
	}
	for i, p := range l.packages {
		binary := filepath.Join(l.dir, fmt.Sprintf("%d.test", i))
		if _, err := output(ctx, "go", "test", "-c", "-vet=off", "-overlay="+over, "-o", binary, p.dir); err != nil {
			return err
		}
		if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
			continue // it has no tests
		}
		if err := l.listTests(ctx, p, binary); err != nil {
			return err
		}
	}
	return nil
}

func (l *laboratory) listTests(ctx context.Context, p *pkg, binary string) error {
	names, err := output(ctx, binary, "-test.list=.")
	if err != nil {
		return err
	}
	usage, _ := exec.CommandContext(ctx, binary, "-help").CombinedOutput() // its status says nothing
	for _, name := range strings.Fields(string(names)) {
		t := &test{pkg: p, binary: binary, name: name, advisory: advisoryName.MatchString(name)}
		t.rapid = bytes.Contains(usage, []byte("-rapid.seed"))
		if strings.HasPrefix(name, "Benchmark") || l.skip.MatchString(name) || !p.judged && !t.advisory {
			continue
		}
		l.tests = append(l.tests, t)
	}
	return nil
}

// Limits on a test that is run with a mutant. A mutant may loop, or take memory
// without end.
const (
	patience  = 20 * time.Second // beyond five times what it took without
	maxMemory = 6 << 20          // KiB of address space
)

// run runs one test alone, and reports whether it passes.
func (t *test) run(ctx context.Context, env ...string) (passed bool, output []byte) {
	ctx, stop := context.WithTimeout(ctx, 5*t.took+patience)
	defer stop()
	args := []string{
		"-c", "ulimit -v " + strconv.Itoa(maxMemory) + `; exec "$@"`, "sh",
		t.binary, "-test.run=^" + t.name + "$", "-test.short", "-test.failfast", "-test.count=1",
	}
	if t.rapid {
		args = append(args, "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=0s")
	}
	cmd := exec.CommandContext(ctx, "sh", args...) // #nosec G204 -- tests that were built here
	cmd.Dir, cmd.Env = t.pkg.dir, append(os.Environ(), env...)
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	return err == nil, output
}

// trace runs each test without a mutant and records what it would notice.
func (l *laboratory) trace(ctx context.Context) error {
	return each(ctx, l.jobs, l.tests, func(t *test) error {
		f, err := os.CreateTemp(l.dir, "trace")
		if err != nil {
			return err
		}
		defer func() { _, _ = f.Close(), os.Remove(f.Name()) }() // it has been read
		if err := f.Truncate(int64(l.sites()) + 1); err != nil {
			return err
		}
		var passed bool
		var out []byte
		for range 2 { // once more, where it is the machine that failed
			start := time.Now()
			passed, out = t.run(ctx, "MUTANT_TRACE="+f.Name())
			t.took = time.Since(start)
			if passed || ctx.Err() != nil {
				break
			}
			say("%v failed without any mutant, once:\n%s", t, out)
		}
		if !passed {
			return fmt.Errorf("%v fails without any mutant:\n%s", t, out)
		}
		seen, err := os.ReadFile(f.Name())
		if err != nil {
			return err
		}
		t.notices = make([]bool, len(seen))
		for i, b := range seen {
			t.notices[i] = b != 0
		}
		return nil
	})
}

// tryAll runs the mutants, and tells of those that survive.
func (l *laboratory) tryAll(ctx context.Context) error {
	for _, p := range l.packages {
		for _, s := range p.sites {
			x := l.exceptions.of(s)
			if x != nil && x.whole {
				x.stands = true
				continue
			}
			if l.only.MatchString(s.String()) {
				l.tried = append(l.tried, s)
			}
		}
	}
	err := each(ctx, l.jobs, l.tried, func(s *site) error {
		l.choose(s)
		survives := func() bool { return len(s.killers) == 0 && ctx.Err() == nil }
		l.try(ctx, s)
		if !s.judged || l.exceptions.of(s) != nil {
			return ctx.Err()
		}
		for n := 0; n < draws && survives(); n++ {
			if l.try(ctx, s); len(s.killers) > 0 {
				say("%s: a test misses it, but not each time: %s%s", s.place(), s, tests(s.killers))
			}
		}
		if survives() {
			fmt.Printf("%s: no test misses it: %s%s\n", s.place(), s, tests(s.tests))
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return each(ctx, l.jobs, l.tests, func(t *test) error {
		l.prove(ctx, t)
		return ctx.Err()
	})
}

// prove finds a mutant for the test of an advisory that others were quicker to
// notice all mutants of.
func (l *laboratory) prove(ctx context.Context, t *test) {
	if !t.advisory || l.hasKill(t) {
		return
	}
	for _, s := range l.tried {
		if !t.notices[s.number] {
			continue
		}
		if passed, _ := t.run(ctx, "MUTANT="+strconv.Itoa(s.number)); !passed {
			l.mu.Lock()
			s.killers = append(s.killers, t)
			l.mu.Unlock()
			return
		}
	}
}

func (l *laboratory) hasKill(t *test) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.tried, func(s *site) bool { return slices.Contains(s.killers, t) })
}

// draws is how often tests are run again that miss nothing: some draw what they try.
const draws = 2

// choose finds the tests that would notice a mutant: those of advisories first, then
// quick ones.
func (l *laboratory) choose(s *site) {
	for _, t := range l.tests {
		if t.notices[s.number] && (s.judged || t.advisory) {
			s.tests = append(s.tests, t)
		}
	}
	slices.SortFunc(s.tests, func(a, b *test) int {
		if a.advisory != b.advisory {
			return map[bool]int{true: -1, false: 1}[a.advisory]
		}
		return cmp.Compare(a.took, b.took)
	})
}

// try runs tests against a mutant until one fails.
func (l *laboratory) try(ctx context.Context, s *site) {
	for _, t := range s.tests {
		if len(s.killers) > 0 && !(l.allAdvisories && t.advisory) {
			return
		}
		if passed, _ := t.run(ctx, "MUTANT="+strconv.Itoa(s.number)); !passed {
			s.killers = append(s.killers, t)
		}
	}
}

// each calls do for each of all, some at the same time, until one fails.
func each[T any](ctx context.Context, jobs int, all []T, do func(T) error) error {
	work := make(chan T)
	failed := make(chan error, jobs)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for one := range work {
				if err := do(one); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	var err error
send:
	for _, one := range all {
		select {
		case work <- one:
		case err = <-failed:
			break send
		case <-ctx.Done():
			break send
		}
	}
	close(work)
	workers.Wait()
	close(failed)
	return errors.Join(err, ctx.Err(), <-failed)
}
