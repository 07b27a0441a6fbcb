package protojson

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Encoder appends one JSON document. Field names are written as given; an empty
// field name is for the elements of a list.
type Encoder struct{ buf []byte }

// NewEncoder appends to dst.
func NewEncoder(dst []byte) *Encoder { return &Encoder{dst} }

// Done gives what was written, behind what was there.
func (e *Encoder) Done() []byte { return e.buf }

// field writes a comma where one is due, and the name.
func (e *Encoder) field(name string) {
	if n := len(e.buf); n > 0 {
		switch e.buf[n-1] {
		case '{', '[':
		default:
			e.buf = append(e.buf, ',')
		}
	}
	if name != "" {
		e.quote(name)
		e.buf = append(e.buf, ':')
	}
}

// quote writes s as a JSON string; invalid UTF-8 becomes U+FFFD.
func (e *Encoder) quote(s string) {
	// AppendQuote reports invalid UTF-8 and has replaced it by then.
	e.buf, _ = jsontext.AppendQuote(e.buf, s)
}

// Document writes the outermost object.
func (e *Encoder) Document(members func()) {
	e.buf = append(e.buf, '{')
	members()
	e.buf = append(e.buf, '}')
}

// Object writes an object.
func (e *Encoder) Object(field string, members func()) {
	e.field(field)
	e.Document(members)
}

// Array writes a list.
func (e *Encoder) Array(field string, elements func()) {
	e.field(field)
	e.buf = append(e.buf, '[')
	elements()
	e.buf = append(e.buf, ']')
}

// String writes a string.
func (e *Encoder) String(field, v string) {
	e.field(field)
	e.quote(v)
}

// Raw writes v, a JSON value, as it stands.
func (e *Encoder) Raw(field string, v []byte) {
	e.field(field)
	e.buf = append(e.buf, v...)
}

// Bytes writes v in standard base64.
func (e *Encoder) Bytes(field string, v []byte) {
	e.field(field)
	e.buf = append(e.buf, '"')
	e.buf = base64.StdEncoding.AppendEncode(e.buf, v)
	e.buf = append(e.buf, '"')
}

// Int64 writes an int64, which is a string in this JSON.
func (e *Encoder) Int64(field string, v int64) {
	e.field(field)
	e.buf = append(e.buf, '"')
	e.buf = strconv.AppendInt(e.buf, v, 10)
	e.buf = append(e.buf, '"')
}

// Int writes an int32 or uint32, which is a number in this JSON.
func (e *Encoder) Int(field string, v int) {
	e.field(field)
	e.buf = strconv.AppendInt(e.buf, int64(v), 10)
}

// Time writes a google.protobuf.Timestamp.
func (e *Encoder) Time(field string, t time.Time) {
	e.field(field)
	e.buf = append(e.buf, '"')
	e.buf = t.UTC().AppendFormat(e.buf, time.RFC3339Nano)
	e.buf = append(e.buf, '"')
}
