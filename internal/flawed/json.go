package flawed

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// Sizes of what is too long: texts in bytes, lists in elements.
const (
	longText = 128 << 10
	longList = 1 << 10
)

// value is a JSON value in a document. The order of members is kept.
type value struct {
	raw   string // of a value without parts
	open  byte   // '{' or '[', 0 otherwise
	names []string
	parts []*value
}

func parseJSON(d *jsontext.Decoder) (*value, error) {
	switch k := d.PeekKind(); k {
	case '{', '[':
		v := &value{open: byte(k)}
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		for d.PeekKind() != '}' && d.PeekKind() != ']' {
			if k == '{' {
				name, err := d.ReadToken()
				if err != nil {
					return nil, err
				}
				v.names = append(v.names, name.String())
			}
			part, err := parseJSON(d)
			if err != nil {
				return nil, err
			}
			v.parts = append(v.parts, part)
		}
		_, err := d.ReadToken()
		return v, err
	}
	raw, err := d.ReadValue()
	return &value{raw: raw.String()}, err
}

func (v *value) append(b []byte) []byte {
	switch v.open {
	case '{':
		b = append(b, '{')
		for i, p := range v.parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(strconv.AppendQuote(b, v.names[i]), ':')
			b = p.append(b)
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, p := range v.parts {
			if i > 0 {
				b = append(b, ',')
			}
			b = p.append(b)
		}
		return append(b, ']')
	}
	return append(b, v.raw...)
}

// TestJSON has a document read, which must be good, and then with each flaw: a value
// of another kind, a member that is unknown or stands twice, a text or list that is
// too long, an early end. All must be refused but those named: by the place (RFC
// 6901) and what is wrong there, as in "/age: a number"; * stands for anything.
func TestJSON(t *testing.T, read func([]byte) error, good string, may ...string) {
	t.Helper()
	if err := read([]byte(good)); err != nil {
		t.Fatal("without a flaw:", err)
	}
	doc, err := parseJSON(jsontext.NewDecoder(bytes.NewReader([]byte(good))))
	if err != nil {
		t.Fatal(err)
	}
	a := newAccepted(may)
	doc.flaws("", func(name string) { a.check(t, name, read(doc.append(nil))) })
	for i := range len(good) - 1 {
		if err := read([]byte(good[:i+1])); err == nil {
			t.Errorf("accepted when cut after %s", good[:i+1])
		}
	}
	a.finish(t)
}

// flaws makes each flaw in turn, calls try and mends it.
func (v *value) flaws(place string, try func(name string)) {
	whole := *v
	with := func(what string, other value) {
		*v = other
		try(place + ": " + what)
		*v = whole
	}
	for what, raw := range map[string]string{
		"an object": "{}", "a list": "[]", "a text": `"x"`, "a number": "7", "a fraction": "7.5", "true": "true", "a list of null": "[null]",
	} {
		first := whole.append(nil)[0]
		if raw[0] != first && !(what == "a number" && '0' <= first && first <= '9') {
			with(what, value{raw: raw})
		}
	}
	switch {
	case v.open == '{':
		with("an unknown member", value{open: '{', names: append([]string{"unknown"}, v.names...), parts: append([]*value{{raw: "1"}}, v.parts...)})
		for i, name := range whole.names {
			with(name+" stands twice", value{open: '{', names: append(whole.names[:i+1:i+1], whole.names[i:]...), parts: append(whole.parts[:i+1:i+1], whole.parts[i:]...)})
		}
	case v.open == '[' && len(v.parts) > 0:
		many := make([]*value, longList)
		for i := range many {
			many[i] = v.parts[i%len(v.parts)]
		}
		with("long", value{open: '[', parts: many})
	case strings.HasPrefix(v.raw, `"`):
		with("long", value{raw: `"` + strings.Repeat("A", longText) + `"`})
	}
	for i, p := range whole.parts {
		name := strconv.Itoa(i)
		if v.open == '{' {
			name = v.names[i]
		}
		p.flaws(place+"/"+name, try)
	}
}
