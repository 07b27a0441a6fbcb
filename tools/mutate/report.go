package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// exceptions are mutants that may survive, with the reason.
type exceptions struct {
	path string
	all  []*exception
}

type exception struct {
	mutant  string
	pattern *regexp.Regexp
	// whole is for what is no part of the verification: the mutants are not tried.
	whole  bool
	stands bool // there is such a mutant
	needed bool // and no test missed it
}

// readExceptions reads lines of "mutant // reason". An ellipsis in a mutant's name
// stands for anything; one that stands for all mutants of a function leaves them
// out.
func readExceptions(path string) (*exceptions, error) {
	known := &exceptions{path: path}
	if path == "" {
		return known, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		mutant, reason, ok := strings.Cut(line, " // ")
		mutant = strings.TrimSpace(mutant)
		if !ok || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: expected a mutant, two slashes and the reason", path, n)
		}
		pattern, err := regexp.Compile("^" + strings.ReplaceAll(regexp.QuoteMeta(mutant), "…", ".*") + "$")
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		known.all = append(known.all, &exception{
			mutant: mutant, pattern: pattern, whole: strings.HasSuffix(mutant, ": …"),
		})
	}
	return known, lines.Err()
}

// of gives the exception for a mutant, nil if there is none.
func (e *exceptions) of(s *site) *exception {
	for _, x := range e.all {
		if x.pattern.MatchString(s.String()) {
			return x
		}
	}
	return nil
}

// unused are lines that explain what is not there. A line whose mutant a test missed
// this time is only told of: tests draw what they try, and a mutant without a bound may
// end with the machine's memory.
func (e *exceptions) unused() error {
	var failures []error
	for _, x := range e.all {
		switch {
		case !x.stands:
			failures = append(failures, fmt.Errorf("%s: there is no such mutant: %s", e.path, x.mutant))
		case !x.needed && !x.whole:
			say("%s: was not needed this time: %s", e.path, x.mutant)
		}
	}
	return errors.Join(failures...)
}

// report says how the mutants fared. With complete, all of them were tried, and an
// exception for none of them is an error.
func (l *laboratory) report(complete bool) error {
	var tried, missed, explained, survive int
	for _, s := range l.tried {
		if !s.judged {
			continue
		}
		tried++
		x := l.exceptions.of(s)
		if x != nil {
			x.stands = true
		}
		switch {
		case len(s.killers) > 0:
			missed++
		case x != nil:
			explained++
			x.needed = true
		default:
			survive++
		}
	}
	say("%d checks taken out: %d missed by a test, %d with a reason why not, %d survive", tried, missed, explained, survive)
	var failures []error
	if survive > 0 {
		failures = append(failures, fmt.Errorf("%d checks can be taken out and no test fails", survive))
	}
	if l.allAdvisories {
		l.listAdvisories()
	}
	if complete {
		failures = append(failures, l.exceptions.unused(), l.checkAdvisories())
	}
	return errors.Join(failures...)
}

func tests(of []*test) string {
	if len(of) == 0 {
		return " (no test gets there)"
	}
	names := make([]string, 0, len(of))
	for _, t := range of {
		names = append(names, t.String())
	}
	return " (tried " + strings.Join(names, ", ") + ")"
}

// listAdvisories says which checks the tests of advisories miss.
func (l *laboratory) listAdvisories() {
	for _, t := range l.tests {
		if !t.advisory {
			continue
		}
		fmt.Printf("%v misses\n", t)
		for _, s := range l.tried {
			if slices.Contains(s.killers, t) {
				fmt.Printf("\t%s: %s\n", s.place(), s)
			}
		}
	}
}

// checkAdvisories wants the test of each advisory to miss something.
func (l *laboratory) checkAdvisories() error {
	var failures []error
	for _, t := range l.tests {
		if t.advisory && !l.hasKill(t) {
			failures = append(failures, fmt.Errorf("%v misses no check", t))
		}
	}
	return errors.Join(failures...)
}
