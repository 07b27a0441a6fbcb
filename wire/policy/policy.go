// Package policy reads policies from YAML or JSON and writes them. Both have the
// same shape and the same names, which docs/policy.md lists.
//
//	identities:
//	  - subject: ada@example.com
//	    issuer: https://accounts.google.com
//
// Reading is strict, since a part of a policy that is dropped or misread lets in
// what it was to keep out. Members that are unknown, repeated or empty are refused;
// so is whatever YAML's versions do not read alike (texts that look like numbers,
// booleans or times), its anchors, aliases, merge keys and tags, and, by
// [sigbox.Policy.Check], what cannot be meant.
//
// Source: https://yaml.org/spec/1.2.2/ and RFC 8259.
package policy

import (
	"bytes"
	"errors"
	"reflect"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

// MaxSize is the length of a policy that is read or written, in bytes. As YAML it
// takes several hundred times as much to read.
const MaxSize = 128 << 10

// Parse reads a policy: JSON if it begins with a brace, else YAML, of at most
// [MaxSize] bytes. Times are given in UTC. Errors are of kind Invalid or TooLarge;
// they name line, column and the place by its names.
func Parse(b []byte) (sigbox.Policy, error) {
	n, err := parse(b)
	if err != nil {
		return sigbox.Policy{}, err
	}
	var p sigbox.Policy
	if err := read(n, "", reflect.ValueOf(&p).Elem()); err != nil {
		return sigbox.Policy{}, err
	}
	if err := p.Check(); err != nil {
		return sigbox.Policy{}, locate(n, err)
	}
	return p, nil
}

func parse(b []byte) (*node, error) {
	switch {
	case len(b) > MaxSize:
		return nil, sigbox.Errorf(sigbox.TooLarge, "policy of %d bytes: at most %d are read", len(b), MaxSize)
	case !utf8.Valid(b):
		return nil, sigbox.Errorf(sigbox.Invalid, "policy: not UTF-8")
	case bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")):
		return fromJSON(b)
	}
	return fromYAML(b)
}

// locate gives an error of Check its line and column.
func locate(root *node, err error) error {
	e, ok := errors.AsType[*sigbox.Error](err)
	path, known := errors.AsType[sigbox.PolicyPath](err)
	if !ok || !known {
		return err
	}
	return root.at(string(path)).locate(e)
}

// Locate gives an error about a policy that was read, such as one of its conditions, the
// line and the column of its place in the text. It gives others, and nil, as they are.
func Locate(text []byte, err error) error {
	if err == nil {
		return nil
	}
	n, bad := parse(text)
	if bad != nil {
		return err
	}
	return locate(n, err)
}

// Append writes a policy as YAML. It fails on a policy that [Parse] would refuse.
func Append(dst []byte, p sigbox.Policy) ([]byte, error) {
	// By way of JSON: the names and what is left out are said once, by the tags.
	text, err := AppendJSON(nil, p)
	if err != nil {
		return nil, err
	}
	n, err := fromJSON(text)
	if err != nil {
		return nil, err
	}
	out, err := appendYAML(n)
	if err != nil {
		return nil, err
	}
	return appendBounded(dst, out)
}

// AppendJSON writes a policy as JSON of several lines. It fails on a policy that
// [Parse] would refuse.
func AppendJSON(dst []byte, p sigbox.Policy) ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	text, err := marshal(p)
	if err != nil {
		return nil, err
	}
	return appendBounded(dst, text)
}

func appendBounded(dst, text []byte) ([]byte, error) {
	if len(text) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "policy of %d bytes: at most %d are read", len(text), MaxSize)
	}
	return append(dst, text...), nil
}
