// Package protojson reads and writes protocol buffers' JSON as Sigstore's
// formats use it, without the messages' descriptors: the formats walk the input
// once and take what they know. It is stricter than the reference in what
// cannot be told apart afterwards: unknown and repeated members (also when
// repeated in the other spelling), invalid UTF-8 and loose base64 are refused.
//
// Source: https://protobuf.dev/programming-guides/json/
package protojson

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// Decoder walks one JSON document. Errors are of kind Invalid or TooLarge and
// name the place in the document (RFC 6901).
type Decoder struct {
	what string
	doc  []byte
	long long              // of doc, that dec does not see
	dec  *jsontext.Decoder // read is its ReadValue
}

// Decode reads b, of at most limit bytes, with read and makes sure that nothing
// follows. What names the document in errors.
func Decode(what string, b []byte, limit int, read func(*Decoder) error) error {
	if len(b) > limit {
		return sigbox.Errorf(sigbox.TooLarge, "%s of %d bytes: at most %d are read", what, len(b), limit)
	}
	return decode(what, b, findLong(b), read)
}

func decode(what string, b []byte, l long, read func(*Decoder) error) error {
	d := &Decoder{what, b, l, jsontext.NewDecoder(bytes.NewBuffer(l.without(b)), jsontext.AllowDuplicateNames(true))}
	if err := read(d); err != nil {
		return err
	}
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return d.Errorf("more after the end")
	}
	return nil
}

// Errorf makes an error of kind Invalid that names the place of what was read last.
func (d *Decoder) Errorf(format string, args ...any) error {
	e := sigbox.Errorf(sigbox.Invalid, format, args...)
	e.Msg = d.place() + ": " + e.Msg
	return e
}

// place names the document and the place in it.
func (d *Decoder) place() string { return jsonerr.At(d.what, d.dec.StackPointer()) }

// syntax reports JSON that cannot be read on.
func (d *Decoder) syntax(err error) error { return jsonerr.Of(d.what, d.long.move(err)) }

// read reads a value, good until the next read.
func (d *Decoder) read() (jsontext.Value, error) {
	v, err := d.dec.ReadValue()
	if err != nil {
		return nil, d.syntax(err)
	}
	return d.long.restore(d.doc, v, d.dec.InputOffset()), nil
}

// tooMany reports a list with more elements than the format allows.
func (d *Decoder) tooMany(limit int) error {
	return sigbox.Errorf(sigbox.TooLarge, "%s: more than %d elements", d.place(), limit)
}

// open reads the start of an object or list.
func (d *Decoder) open(kind jsontext.Kind, want string) error {
	switch found := d.dec.PeekKind(); found {
	case kind, 0:
	case '{', '[':
		return d.Errorf("expected %s, found %s", want, jsonerr.Kind(found))
	default: // what begins like null is perhaps no JSON
		return d.wrongKind(want)
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// maxName bounds a member's name as it stands there, in bytes. With each of its
// letters escaped a field's name is six times as long.
const maxName = 1 << 10

// Object reads an object. Member is called for each member that is not null,
// with its name as it stands in fields (lowerCamelCase), and must read its
// value. Fields are at most 32.
func (d *Decoder) Object(member func(field string) error, fields ...string) error {
	return d.object(true, member, fields)
}

// ObjectAsNamed is Object for a message that has its fields in lowerCamelCase in
// the .proto too: they have no spelling in snake_case.
func (d *Decoder) ObjectAsNamed(member func(field string) error, fields ...string) error {
	return d.object(false, member, fields)
}

func (d *Decoder) object(snake bool, member func(field string) error, fields []string) error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	var seen uint32
	for d.dec.PeekKind() != '}' {
		name, err := d.read()
		if err != nil {
			return err
		}
		if len(name) > maxName { // too long to be repeated in the place
			return sigbox.Errorf(sigbox.Invalid, "%s: unknown member, with a name of %d bytes", d.what, len(name))
		}
		i := find(fields, name, snake)
		if i < 0 {
			return d.Errorf("unknown member")
		}
		if seen&(1<<i) != 0 {
			return d.Errorf("the member stands twice")
		}
		seen |= 1 << i
		if err := d.value(fields[i], member); err != nil {
			return err
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// value reads the value of a field; null says as much as a missing member.
func (d *Decoder) value(field string, member func(field string) error) error {
	if d.dec.PeekKind() != 'n' {
		return member(field)
	}
	if err := d.dec.SkipValue(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// find gives the field that a quoted name stands for, or -1; in snake_case too, if
// snake is set.
func find(fields []string, name jsontext.Value, snake bool) int {
	if bytes.IndexByte(name, '\\') >= 0 {
		plain, err := jsontext.AppendUnquote(nil, name)
		if err != nil {
			return -1
		}
		name = plain
	} else {
		name = name[1 : len(name)-1]
	}
	for i, f := range fields {
		if f == string(name) || snake && spelled(f, name) {
			return i
		}
	}
	return -1
}

// spelled reports whether name is field's snake_case spelling.
func spelled(field string, name []byte) bool {
	if bytes.IndexByte(name, '_') < 0 {
		return false
	}
	j := 0
	for i := 0; i < len(name); i, j = i+1, j+1 {
		c := name[i]
		if c == '_' && i+1 < len(name) && 'a' <= name[i+1] && name[i+1] <= 'z' {
			i++
			c = name[i] - 'a' + 'A'
		} else if 'A' <= c && c <= 'Z' || c == '_' {
			return false
		}
		if j >= len(field) || field[j] != c {
			return false
		}
	}
	return j == len(field)
}

// Array reads a list of at most limit elements, each with element.
func (d *Decoder) Array(limit int, element func() error) error {
	if err := d.open('[', "a list"); err != nil {
		return err
	}
	for n := 0; d.dec.PeekKind() != ']'; n++ {
		if n == limit {
			return d.tooMany(limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	if _, err := d.dec.ReadToken(); err != nil {
		return d.syntax(err)
	}
	return nil
}

// Raw gives the next value's bytes, good until the next read.
func (d *Decoder) Raw() ([]byte, error) { return d.read() }

// text gives the content of the next value, a string, good until the next read.
func (d *Decoder) text() ([]byte, error) {
	if k := d.dec.PeekKind(); k != '"' && k != 0 {
		return nil, d.wrongKind("a string")
	}
	v, err := d.read()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	plain, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return nil, d.syntax(err)
	}
	return plain, nil
}

// wrongKind reads past the next value, so that the place is its own.
func (d *Decoder) wrongKind(want string) error {
	found := d.dec.PeekKind()
	if err := d.dec.SkipValue(); err != nil {
		return d.syntax(err)
	}
	return d.Errorf("expected %s, found %s", want, jsonerr.Kind(found))
}

// String reads a string of at most limit bytes.
func (d *Decoder) String(limit int) (string, error) {
	s, err := d.text()
	if err != nil {
		return "", err
	}
	if len(s) > limit {
		return "", d.tooLong(len(s), limit)
	}
	return string(s), nil
}

// Bytes reads a base64 string, of either alphabet, padded or not, that stands
// for at most limit bytes.
func (d *Decoder) Bytes(limit int) ([]byte, error) {
	s, err := d.text()
	if err != nil {
		return nil, err
	}
	return d.decode(s, limit)
}

// Lines is Bytes for base64 that may be broken into lines, as it is in some
// bundles and as most clients take it.
func (d *Decoder) Lines(limit int) ([]byte, error) {
	s, err := d.text()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(s, '\n') >= 0 { // it stood as an escape, so that s is a copy and ours
		s = slices.DeleteFunc(s, func(c byte) bool { return c == '\r' || c == '\n' })
	}
	return d.decode(s, limit)
}

func (d *Decoder) decode(s []byte, limit int) ([]byte, error) {
	if n := base64.RawStdEncoding.DecodedLen(len(s)); n > limit+2 {
		return nil, d.tooLong(n, limit)
	}
	b, err := DecodeBase64(s)
	if err != nil {
		return nil, d.Errorf("%w", err)
	}
	if len(b) > limit {
		return nil, d.tooLong(len(b), limit)
	}
	return b, nil
}

func (d *Decoder) tooLong(n, limit int) error {
	return sigbox.Errorf(sigbox.TooLarge, "%s: %d bytes, at most %d are read", d.place(), n, limit)
}

// maxInt64 is the length of the longest integer, in digits and a sign.
const maxInt64 = 20

// Int64 reads an integer, as a number or as a string of digits.
func (d *Decoder) Int64() (int64, error) {
	var text []byte
	var err error
	switch d.dec.PeekKind() {
	case '0':
		text, err = d.Raw()
	case '"':
		text, err = d.text()
	case 0:
		_, err = d.dec.ReadToken()
		return 0, d.syntax(err)
	default:
		return 0, d.wrongKind("an integer")
	}
	if err != nil {
		return 0, err
	}
	digits := string(text[:min(len(text), maxInt64)])
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(digits) < len(text) || strconv.FormatInt(v, 10) != digits {
		return 0, d.Errorf("expected an integer of 64 bits, found %.40q", digits)
	}
	return v, nil
}

// Natural reads an integer that is not negative and at most limit.
func (d *Decoder) Natural(limit int64) (int64, error) {
	v, err := d.Int64()
	if err != nil {
		return 0, err
	}
	if v < 0 || v > limit {
		return 0, d.Errorf("expected an integer from 0 to %d, found %d", limit, v)
	}
	return v, nil
}

// Enum reads an enum value by name or, when name is empty, by number.
func (d *Decoder) Enum() (name string, number int64, err error) {
	if d.dec.PeekKind() == '0' {
		number, err = d.Natural(1 << 16)
		return "", number, err
	}
	name, err = d.String(128)
	return name, 0, err
}

// Time reads a google.protobuf.Timestamp: RFC 3339, years 1 to 9999.
func (d *Decoder) Time() (time.Time, error) {
	s, err := d.String(64)
	if err != nil {
		return time.Time{}, err
	}
	t, _ := time.Parse(time.RFC3339Nano, s) // the zero time, if it is none
	t = t.UTC()                             // where its year counts
	if !t.After(time.Time{}) || t.Year() > 9999 || strings.Contains(s, ",") {
		return time.Time{}, d.Errorf("expected a time as in 2026-01-31T12:00:00Z, found %.40q", s)
	}
	return t, nil
}
