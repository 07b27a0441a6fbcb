package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// source has a site of each kind.
const source = `package p

import "errors"

const maxSize = 8

func check(b []byte, ok bool) (int, error) {
	if len(b) > maxSize || !(ok && b != nil) {
		return 0, errors.New("one")
	}
	n, err := read(b)
	if err != nil {
		return 0, err
	}
	switch {
	case n == 0:
		return 0, nil
	case n < 0, n > 9:
		missing := "n"
		_ = missing
		return 0, Errorf("two")
	}
	if ok {
		return pass(b)
	}
	for range n {
		if b[0] == 1 {
			continue
		}
	}
	return n, read2(b, maxSize)
}

func equal(a, b []byte) bool { return len(a) == len(b) && a[0] == b[0] }

func known(a int) bool { return a == 1 }

func describe(a int) string {
	if a == 1 {
		return "one"
	}
	return "many"
}
`

func find(t *testing.T) (*pkg, string) {
	t.Helper()
	p := &pkg{path: "p", judged: true, first: 1}
	out, err := p.find("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return p, string(out)
}

func TestFind(t *testing.T) {
	p, out := find(t)
	var found []string
	for i, s := range p.sites {
		if s.number != i+1 {
			t.Errorf("%v has number %d, expected %d", s, s.number, i+1)
		}
		found = append(found, strings.TrimPrefix(s.String(), "p "))
	}
	want := []string{
		"check: len(b) > maxSize := false",
		"check: ok := true",
		"check: b != nil := true",
		"check: n, err := read(b); err != nil := false",
		"check: n == 0 := true",
		"check: n < 0 := false",
		"check: n > 9 := false",
		"check: ok := false",
		"check: return pass(b) := nil",
		"check: b[0] == 1 := false",
		"check: return n, read2(b, maxSize) := nil",
		"check: read2(… maxSize …) := ∞",
		"equal: return len(a) == len(b) := true",
		"equal: return a[0] == b[0] := true",
		"known: return a == 1 := true",
		"known: return a == 1 := false",
	}
	if !slices.Equal(found, want) {
		t.Errorf("found\n%s\nexpected\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", out, 0); err != nil {
		t.Errorf("%v in\n%s", err, out)
	}
	for _, piece := range []string{
		"if mutantNever(1, len(b) > maxSize) || !(mutantAlways(2, ok) && mutantAlways(3, b != nil)) {",
		"if mutantNever(4, err != nil) {",
		"{ mutantResult0, mutantErr :=  pass(b); return mutantResult0, mutantError(9, mutantErr) }",
		"return n, mutantError(11, read2(b, (maxSize<<mutantShift(12))))",
		"return mutantAlways(15, mutantNever(16, a == 1))",
	} {
		if !strings.Contains(out, piece) {
			t.Errorf("no %s in\n%s", piece, out)
		}
	}
}

func TestExceptions(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "exceptions.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	e, err := readExceptions(write("# a comment\n\np check: ok := true // because\np equal: … // no part of it\np check: n, err := read(…) := false // gone\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := find(t)
	var excepted []string
	for _, s := range p.sites {
		if x := e.of(s); x != nil {
			x.stands = true
			excepted = append(excepted, s.String())
			if x.whole != (s.function == "equal") {
				t.Errorf("%v: the whole function is %v", s, x.whole)
			}
		}
	}
	if len(excepted) != 3 {
		t.Errorf("found %q", excepted)
	}
	if err := e.unused(); err == nil || !strings.Contains(err.Error(), "read(…)") || strings.Contains(err.Error(), "equal") {
		t.Errorf("found %v, expected the line of no mutant", err)
	}
	for _, text := range []string{"p check: ok := true", "p check: ok := true // "} {
		if _, err := readExceptions(write(text)); err == nil {
			t.Errorf("%s: a reason is not missed", text)
		}
	}
}

// TestLaboratory mutates a module: one check that a test misses, one that none
// does, one that no test gets to.
func TestLaboratory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.com/m\n\ngo 1.26\n",
		"m.go": `package m

import "errors"

func Check(n int) error {
	switch {
	case n < 0:
		return errors.New("negative")
	case n > 9:
		return errors.New("large")
	case n == 5:
		return errors.New("five")
	}
	return nil
}
`,
		"m_test.go": `package m

import "testing"

func TestGHSA_1(t *testing.T) {
	if Check(-1) == nil {
		t.Error("negative")
	}
}

func TestNothing(*testing.T) { _ = Check(10) }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	packages, err := load(t.Context(), []string{"."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile("")
	l := &laboratory{dir: t.TempDir(), packages: packages, jobs: 2, skip: regexp.MustCompile("^$"), only: all, exceptions: &exceptions{}}
	for _, step := range []func() error{func() error { return l.build(t.Context()) }, func() error { return l.trace(t.Context()) }, func() error { return l.tryAll(t.Context()) }} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	fate := map[string]string{}
	for _, s := range l.tried {
		fate[s.text] = "survives" + tests(s.tests)
		if len(s.killers) > 0 {
			fate[s.text] = s.killers[0].String()
		}
	}
	for text, want := range map[string]string{"n < 0": ". TestGHSA_1", "n > 9": "survives (tried . TestNothing)", "n == 5": "survives (no test gets there)"} {
		if fate[text] != want {
			t.Errorf("%s: found %q, expected %q", text, fate[text], want)
		}
	}
	if err := l.report(true); err == nil || !strings.Contains(err.Error(), "2 checks can be taken out") {
		t.Errorf("found %v, expected two survivors", err)
	}
}
