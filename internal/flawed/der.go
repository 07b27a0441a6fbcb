package flawed

import (
	"strconv"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Element is a DER element, with its parts if it is constructed. It can be changed.
type Element struct {
	Tag      asn1.Tag
	Parts    []*Element
	Contents []byte // of an element that is not constructed
}

const constructed = 0x20

// ParseDER reads one element.
func ParseDER(tb testing.TB, der []byte) *Element {
	tb.Helper()
	s := cryptobyte.String(der)
	all := parseAll(tb, &s)
	if len(all) != 1 {
		tb.Fatalf("expected one DER element, found %d", len(all))
	}
	return all[0]
}

func parseAll(tb testing.TB, s *cryptobyte.String) []*Element {
	tb.Helper()
	var all []*Element
	for !s.Empty() {
		var contents cryptobyte.String
		e := new(Element)
		if !s.ReadAnyASN1(&contents, &e.Tag) {
			tb.Fatal("not DER")
		}
		if e.Tag&constructed != 0 {
			e.Parts = parseAll(tb, &contents)
		} else {
			e.Contents = contents
		}
		all = append(all, e)
	}
	return all
}

// Bytes encodes e.
func (e *Element) Bytes() []byte {
	var b cryptobyte.Builder
	b.AddASN1(e.Tag, func(b *cryptobyte.Builder) {
		b.AddBytes(e.Contents)
		for _, p := range e.Parts {
			b.AddBytes(p.Bytes())
		}
	})
	return b.BytesOrPanic()
}

// TestDER has try read e with each flaw: what is wrong must be refused unless its
// name is among those that may be. A name is the way to the element, by number, and
// what is wrong there; * in it stands for anything. Try encodes what it needs of e,
// and may sign it anew; what e's owner changes besides is for try to mend.
func TestDER(t *testing.T, e *Element, try func() error, may ...string) {
	t.Helper()
	if err := try(); err != nil {
		t.Fatal("without a flaw:", err)
	}
	a := newAccepted(may)
	e.flaws("", func(name string) { a.check(t, name, try()) })
	a.finish(t)
}

// flaws makes each flaw in turn, calls try and mends it.
func (e *Element) flaws(place string, try func(name string)) {
	whole := *e
	with := func(what string, other Element) {
		*e = other
		try(place + ": " + what)
		*e = whole
	}
	with("of another type", Element{Tag: e.Tag ^ 1, Contents: e.Contents, Parts: e.Parts})
	with("empty", Element{Tag: e.Tag})
	if len(e.Contents) > 0 {
		with("cut", Element{Tag: e.Tag, Contents: e.Contents[:len(e.Contents)-1]})
	}
	if e.Tag&constructed == 0 {
		with("longer", Element{Tag: e.Tag, Contents: append(e.Contents[:len(e.Contents):len(e.Contents)], 0)})
		return
	}
	null := &Element{Tag: asn1.NULL}
	with("more behind", Element{Tag: e.Tag, Parts: append(whole.Parts[:len(whole.Parts):len(whole.Parts)], null)})
	for i, p := range whole.Parts {
		at := place + "/" + strconv.Itoa(i)
		e.Parts = without(whole.Parts, i)
		try(at + ": missing")
		e.Parts = append(append(whole.Parts[:i:i], p), whole.Parts[i:]...)
		try(at + ": twice")
		*e = whole
		p.flaws(at, try)
	}
}

// without is list without its element i, in a place of its own.
func without[T any](list []T, i int) []T {
	return append(list[:i:i], list[i+1:]...)
}
