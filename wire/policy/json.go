package policy

import (
	"bytes"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// jsonReader makes nodes of one JSON document.
type jsonReader struct {
	text []byte
	dec  *jsontext.Decoder
	// seen is how much of text line and column stand for.
	seen, line, column int
}

func fromJSON(b []byte) (*node, error) {
	r := &jsonReader{
		text: b,
		// Names that stand twice are found by read, for YAML too.
		dec:  jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true)),
		line: 1, column: 1,
	}
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, r.mark(r.dec.InputOffset()).errorf("", "more after the end of the JSON")
	}
	return n, nil
}

// mark gives a node without content for an offset that is not before the last.
func (r *jsonReader) mark(offset int64) *node {
	end := max(r.seen, min(int(offset), len(r.text)))
	passed := r.text[r.seen:end]
	if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
		r.line += bytes.Count(passed, []byte("\n"))
		r.column = 1
		passed = passed[i+1:]
	}
	r.column += utf8.RuneCount(passed)
	r.seen = end
	return &node{line: r.line, column: r.column}
}

func (r *jsonReader) syntax(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return r.mark(int64(len(r.text))).errorf("", "the JSON ends early")
	}
	_, why, offset := jsonerr.Syntax(err)
	return r.mark(max(offset, r.dec.InputOffset())).errorf("", "not valid JSON: %s", why)
}

func (r *jsonReader) value(depth int) (*node, error) {
	switch r.dec.PeekKind() {
	case '{', '[':
		return r.composite(depth)
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.syntax(err)
	}
	n := r.mark(r.dec.InputOffset() - int64(len(raw)))
	n.text = string(raw)
	switch raw.Kind() {
	case '"':
		n.kind = text
		plain, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			_, why, _ := jsonerr.Syntax(err)
			return nil, n.errorf("", "not valid JSON: %s", why)
		}
		n.text = string(plain)
	case '0':
		n.kind = number
	case 't', 'f':
		n.kind = boolean
	default:
		n.kind = nothing
	}
	return n, nil
}

func (r *jsonReader) composite(depth int) (*node, error) {
	open, err := r.dec.ReadToken()
	if err != nil {
		return nil, r.syntax(err)
	}
	n := r.mark(r.dec.InputOffset() - 1)
	n.kind = list
	if open.Kind() == '{' {
		n.kind = object
	}
	if depth == maxDepth {
		return nil, n.tooDeep()
	}
	for k := r.dec.PeekKind(); k != '}' && k != ']'; k = r.dec.PeekKind() {
		if n.kind == object {
			name, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			n.names = append(n.names, name)
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.values = append(n.values, v)
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, r.syntax(err)
	}
	return n, nil
}

// marshal writes p, which is a policy that makes sense.
func marshal(p sigbox.Policy) ([]byte, error) {
	utc := json.MarshalToFunc(func(e *jsontext.Encoder, t time.Time) error {
		return e.WriteToken(jsontext.String(t.UTC().Format(time.RFC3339Nano)))
	})
	text, err := json.Marshal(p, json.WithMarshalers(utc), jsontext.WithIndent("  "))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "policy: it cannot be written").WithCause(err)
	}
	return append(text, '\n'), nil
}
