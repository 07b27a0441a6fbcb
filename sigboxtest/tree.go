package sigboxtest

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// tree is a JSON value that keeps what decoding loses: the order of members,
// repeated names, and how numbers and strings are written.
type tree struct {
	kind  jsontext.Kind // '{', '[', '"', '0', or 't', 'f', 'n'
	text  string        // a scalar as it stands
	names []string      // of an object's members, as they stand
	items []*tree       // members, or elements
}

// parseTree reads one JSON document.
func parseTree(b []byte) (*tree, error) {
	d := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	t, err := readTree(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more after the end")
	}
	return t, nil
}

func readTree(d *jsontext.Decoder) (*tree, error) {
	t := &tree{kind: d.PeekKind()}
	if t.kind != '{' && t.kind != '[' {
		text, err := d.ReadValue()
		t.text = string(text)
		return t, err
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	for d.PeekKind() != '}' && d.PeekKind() != ']' {
		if t.kind == '{' {
			name, err := d.ReadValue()
			if err != nil {
				return nil, err
			}
			t.names = append(t.names, string(name))
		}
		item, err := readTree(d)
		if err != nil {
			return nil, err
		}
		t.items = append(t.items, item)
	}
	_, err := d.ReadToken()
	return t, err
}

// append writes t without white space.
func (t *tree) append(dst []byte) []byte {
	if t.kind != '{' && t.kind != '[' {
		return append(dst, t.text...)
	}
	dst = append(dst, byte(t.kind))
	for i, item := range t.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if t.kind == '{' {
			dst = append(append(dst, t.names[i]...), ':')
		}
		dst = item.append(dst)
	}
	return append(dst, byte(t.kind)+2) // '}' or ']'
}

// scalar is a value as it stands.
func scalar(text string) tree {
	return tree{kind: jsontext.Value(text).Kind(), text: text}
}

// quoted is a string.
func quoted(s string) tree {
	text, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		text = strconv.AppendQuote(nil, s) // not UTF-8: as it is, more or less
	}
	return tree{kind: '"', text: string(text)}
}

// unquoted gives a string's content, and "" for what is no string.
func (t *tree) unquoted() string {
	if t.kind != '"' {
		return ""
	}
	return unquote(t.text)
}

func unquote(text string) string {
	s, err := jsontext.AppendUnquote(nil, text)
	if err != nil {
		return ""
	}
	return string(s)
}
