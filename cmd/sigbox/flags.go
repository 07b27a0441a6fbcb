package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// strictFlags makes flags refuse what would silently weaken what was asked: an empty
// value, as of a shell's variable that is not set, and a second value that takes the
// place of the first. It also takes the backquotes out of their descriptions, which
// completion would show.
func strictFlags(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		named := namedValue{f.Value, f.Value.Type()}
		if name, text := pflag.UnquoteUsage(f); text != f.Usage {
			named.name, f.Usage = name, text
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			f.Value = filledList{named, list}
			f.DefValue = "" // and not an empty list in its help
		} else {
			f.Value = &onceOnly{Value: named}
		}
	})
}

// namedValue is a flag whose value has a name in its help.
type namedValue struct {
	pflag.Value
	name string
}

func (n namedValue) Type() string { return n.name }

var errEmptyFlag = errors.New("it is empty")

// filledList is a flag that may be repeated, and is never empty.
type filledList struct {
	pflag.Value
	pflag.SliceValue
}

func (l filledList) Set(s string) error {
	if s == "" {
		return errEmptyFlag
	}
	return l.Value.Set(s)
}

// onceOnly is a flag that is given once, and is never empty.
type onceOnly struct {
	pflag.Value
	given bool
}

func (o *onceOnly) Set(s string) error {
	switch {
	case s == "":
		return errEmptyFlag
	case o.given:
		return fmt.Errorf("it was given before, as %q", o.String())
	}
	o.given = true
	return o.Value.Set(s)
}
