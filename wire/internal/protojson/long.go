package protojson

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// minLong is how long a string is, in bytes, that is worth a look for it.
const minLong = 8 << 10

// head is how many letters of a long string the general decoder sees, so that it says
// of what is no JSON what it would say of the document: it quotes no more than two
// escapes, of six characters each.
const head = 12

// long is where most of a document's longest string stands, from behind its head to
// its quote, if it looks like base64: a payload is nearly all of its bundle. The
// general decoder would take its time with each letter, so that it is given the
// document without them. Both ends are 0 if there is no such string.
type long struct{ start, end int }

// findLong looks for the longest text between two quotes. It is taken if it may stand
// in a string as it is, and begins as base64 does.
//
// To leave out what is behind its head does not change whether a document is JSON.
// Where the quote ahead of it opens a string, or stands in one as an escape, a shorter
// string is left; and where that closes one, no letter may follow.
func findLong(doc []byte) (l long) {
	for at := 0; len(doc) >= minLong; {
		n := bytes.IndexByte(doc[at:], '"')
		if n < 0 {
			break
		}
		if at > 0 && n > l.len() {
			l = long{at, at + n}
		}
		at += n + 1
	}
	text := doc[l.start:l.end]
	if len(text) < minLong || strings.IndexByte(alphabets, text[0]) < 0 || bytes.IndexByte(text, '\\') >= 0 || !printable(text) {
		return long{}
	}
	return long{l.start + head, l.end}
}

func (l long) len() int { return l.end - l.start }

// without gives the document without the string, which stays as it is.
func (l long) without(doc []byte) []byte {
	if l.len() == 0 {
		return doc
	}
	short := make([]byte, 0, len(doc)-l.len())
	return append(append(short, doc[:l.start]...), doc[l.end:]...)
}

// restore gives a value as it stands in the document; end is where it ends without
// the string.
func (l long) restore(doc []byte, v jsontext.Value, end int64) jsontext.Value {
	to := int(end)
	if from := to - len(v); from < l.start && l.start < to {
		return doc[from : to+l.len()]
	}
	return v
}

// move has an error of the general decoder's count what it did not see.
func (l long) move(err error) error {
	s, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok || s.ByteOffset <= int64(l.start) {
		return err
	}
	moved := *s
	moved.ByteOffset += int64(l.len())
	return &moved
}
