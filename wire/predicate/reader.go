package predicate

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// Bounds on a predicate.
const (
	// MaxSize in bytes. Few SBOMs have a tenth of it.
	MaxSize = 16 << 20
	// MaxDepth of lists and objects in each other: readers of protobuf's JSON stop
	// there.
	MaxDepth = 100
	// maxNames is how many names of members may be open at a time: they are
	// remembered, so that none stands twice.
	maxNames = 1 << 16
	// maxName bounds a name, in bytes.
	maxName = 4096
)

// reader goes through JSON once, token by token. Errors name the place by RFC 6901.
type reader struct {
	dec *jsontext.Decoder
	// what is read, for errors.
	what string
	// names are how many members of the objects that are open were read.
	names int
	// unset is whether null stands for a member that is not there.
	unset bool
	// last is the text that was read last.
	last string
}

// rule reads one value and says what is wrong with it.
type rule func(r *reader) error

// read holds a document by a rule.
func read(what string, document []byte, is rule, unset bool) error {
	if len(document) > MaxSize {
		return sigbox.Errorf(sigbox.TooLarge, "%s of %d bytes: at most %d are read", what, len(document), MaxSize)
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(document)), what: what, unset: unset}
	if err := is(r); err != nil {
		return err
	}
	_, err := r.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return jsonerr.Of(what, err)
	}
	return sigbox.Errorf(sigbox.Invalid, "%s: more after the end of the JSON", what)
}

// at names the value that was read last, or a member of it.
func (r *reader) at(member string) string {
	p := r.dec.StackPointer()
	if member != "" {
		p = p.AppendToken(member)
	}
	return jsonerr.At(r.what, p)
}

// wrong is the error for the value that was read last.
func (r *reader) wrong(want, got string) error {
	return sigbox.Mismatch(sigbox.Invalid, r.at(""), want, got)
}

// refuse is the error for the value that was read last, or a member of it.
func (r *reader) refuse(member, format string, args ...any) error {
	return sigbox.Errorf(sigbox.Invalid, "%s: "+format, append([]any{r.at(member)}, args...)...)
}

// token reads the next token, which is to be of a kind.
func (r *reader) token(kind jsontext.Kind) (jsontext.Token, error) {
	if kind == '{' || kind == '[' {
		if next := r.dec.PeekKind(); next == kind && r.dec.StackDepth() >= MaxDepth {
			return jsontext.Token{}, sigbox.Errorf(sigbox.TooLarge, "%s: lists and objects lie deeper in each other than %d", r.at(""), MaxDepth)
		}
	}
	t, err := r.dec.ReadToken()
	switch {
	case err != nil:
		return t, jsonerr.Of(r.what, err)
	case t.Kind() != kind:
		return t, r.wrong(jsonerr.Kind(kind), found(t))
	}
	return t, nil
}

// found describes a token.
func found(t jsontext.Token) string {
	switch t.Kind() {
	case '"':
		return quote(t.String())
	case '0', 't', 'f':
		return cut(t.String())
	}
	return jsonerr.Kind(t.Kind())
}

// quote and cut keep the sender's text short.
func quote(s string) string { return strconv.QuoteToGraphic(cut(s)) }

func cut(s string) string {
	const most = 60 // characters
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "…"
		}
	}
	return s
}

// name reads the name of a member: what is between its quotes, until the next read.
func (r *reader) name() ([]byte, error) {
	v, err := r.dec.ReadValue()
	if err != nil {
		return nil, jsonerr.Of(r.what, err)
	}
	switch r.names++; {
	case len(v) > maxName:
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s has a name of %d bytes: at most %d are read", r.what, len(v), maxName)
	case r.names > maxNames:
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s has an object of more than %d members", r.what, maxNames)
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1], nil
	}
	plain, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil, jsonerr.Of(r.what, err)
	}
	return plain, nil
}

// elements reads a list whose values the rule reads, and counts them.
func (r *reader) elements(value rule) (n int, err error) {
	if _, err := r.token('['); err != nil {
		return 0, err
	}
	for ; r.dec.PeekKind() != ']'; n++ {
		if err := value(r); err != nil {
			return n, err
		}
	}
	_, err = r.token(']')
	return n, err
}

// dictionary reads an object whose values the rule reads, whatever their names.
func (r *reader) dictionary(value rule) error {
	if _, err := r.token('{'); err != nil {
		return err
	}
	above := r.names
	for r.dec.PeekKind() != '}' {
		if _, err := r.name(); err != nil {
			return err
		}
		if err := value(r); err != nil {
			return err
		}
	}
	r.names = above
	_, err := r.token('}')
	return err
}

// anything passes over any value.
func anything(r *reader) error {
	switch r.dec.PeekKind() {
	case '{':
		return r.dictionary(anything)
	case '[':
		_, err := r.elements(anything)
		return err
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return jsonerr.Of(r.what, err)
	}
	return nil
}
