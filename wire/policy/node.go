package policy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox"
)

// maxDepth bounds how deep lists and objects lie in each other. A policy is half
// as deep.
const maxDepth = 8

// kind is what a value is, in JSON or in YAML.
type kind uint8

const (
	object kind = iota + 1
	list
	text
	number
	boolean
	// moment is what YAML takes for a time, if it has no quotes.
	moment
	nothing
)

// node is a value, and where it stands.
type node struct {
	kind kind
	// text is a text as it is to be read, and another scalar as it is written.
	text string
	// names are those of an object's members, as they stand, one for each value.
	names []*node
	// values of an object or a list.
	values []*node
	// line and column count characters from 1.
	line, column int
}

// describe says for people what n is.
func (n *node) describe() string {
	switch n.kind {
	case object:
		return "an object"
	case list:
		return "a list"
	case text:
		return fmt.Sprintf("%.60q", n.text)
	case number:
		return "the number " + cut(n.text)
	case boolean:
		return "the boolean " + cut(n.text)
	case moment:
		return "the time " + cut(n.text)
	}
	return "nothing"
}

// cut keeps the sender's text short.
func cut(s string) string { return fmt.Sprintf("%.40s", s) }

// child gives the member or element of that name or number, or nil.
func (n *node) child(name string) *node {
	if n.kind == list {
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.values) {
			return n.values[i]
		}
		return nil
	}
	for i, m := range n.names {
		if m.text == name {
			return n.values[i]
		}
	}
	return nil
}

// at gives the node that a path leads to, or the last one on the way there.
func (n *node) at(path string) *node {
	for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		next := n.child(part)
		if next == nil {
			break
		}
		n = next
	}
	return n
}

// locate puts n's line and column into an error.
func (n *node) locate(e *sigbox.Error) *sigbox.Error {
	c := *e
	c.Msg = fmt.Sprintf("policy: line %d, column %d: %s", n.line, n.column, strings.TrimPrefix(e.Msg, "policy: "))
	return &c
}

// errorf makes an error about n, which stands at a path.
func (n *node) errorf(path, format string, args ...any) *sigbox.Error {
	e := sigbox.Errorf(sigbox.Invalid, format, args...)
	if path != "" {
		e.Msg = path + ": " + e.Msg
	}
	return n.locate(e)
}

// tooDeep reports a value that lies deeper than any policy does.
func (n *node) tooDeep() error {
	e := n.errorf("", "more than %d lists and objects in each other", maxDepth)
	e.Kind = sigbox.TooLarge
	return e
}
