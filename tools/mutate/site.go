package main

import (
	"fmt"
	"go/token"
	"path/filepath"
)

// change is what a mutant does at its site.
type change string

const (
	never   change = "false" // a condition that never holds
	always  change = "true"  // a condition that always holds
	dropped change = "nil"   // an error that is forgotten
	endless change = "∞"     // a bound that bounds nothing
)

// site is a check that can be taken out. Its number is given when all packages
// are loaded; 0 is no mutant.
type site struct {
	number   int
	pkg      string // below the module, "." for its root
	function string
	text     string // of the source, in one line
	change   change
	file     string
	position token.Position

	judged  bool    // whether a survivor is an error
	tests   []*test // those that can notice the mutant
	killers []*test // those that failed with it
}

// String names the mutant without its line, which moves.
func (s *site) String() string {
	return fmt.Sprintf("%s %s: %s := %s", s.pkg, s.function, s.text, s.change)
}

func (s *site) place() string {
	return fmt.Sprintf("%s:%d", filepath.ToSlash(filepath.Join(s.pkg, filepath.Base(s.file))), s.position.Line)
}
