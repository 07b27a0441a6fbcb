// Package flawed makes documents that are wrong in one place, at each of their
// places in turn, and holds parsers to refusing them. It is for tests:
//
//	flawed.TestJSON(t, parse, good, "/name: empty") // what may be so is listed
package flawed

import (
	"regexp"
	"strings"
	"testing"
)

// accepted are patterns of the names of flaws that are none: * stands for anything.
type accepted struct {
	patterns []*regexp.Regexp
	used     []bool
}

func newAccepted(names []string) *accepted {
	a := &accepted{used: make([]bool, len(names))}
	for _, n := range names {
		n = strings.ReplaceAll(regexp.QuoteMeta(n), `\*`, `.*`)
		a.patterns = append(a.patterns, regexp.MustCompile("^"+n+"$"))
	}
	return a
}

// check holds the answer to one flaw against what is accepted.
func (a *accepted) check(t *testing.T, name string, err error) {
	t.Helper()
	for i, p := range a.patterns {
		if p.MatchString(name) {
			a.used[i] = a.used[i] || err == nil
			return
		}
	}
	if err == nil {
		t.Errorf("%s: accepted", name)
	}
}

// finish reports patterns of what is in truth refused.
func (a *accepted) finish(t *testing.T) {
	t.Helper()
	for i, used := range a.used {
		if !used {
			t.Errorf("nothing like %s is accepted", a.patterns[i])
		}
	}
}
