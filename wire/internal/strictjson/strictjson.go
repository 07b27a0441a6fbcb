// Package strictjson reads JSON as strictly as package jsontext does by default, in about
// half of its time: valid UTF-8, no half of a surrogate pair, no name twice in one
// object. It says that a document is such, or that it is not; why it is not can be
// asked of jsontext, which is to judge all documents alike.
//
// Source: RFC 8259, and RFC 7493 §2 for what is stricter.
package strictjson

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth is how many objects and lists may be open at a time, as in jsontext.
const maxDepth = 10000

// Bounds are on what has to be remembered of a document.
type Bounds struct {
	Name  int // length of a name as it stands there, in bytes
	Names int // of all objects that are open at a time
}

// Object reads a document that is an object, and calls member for each of its
// members: with the name, and with the value as it stands there. Both are of the
// document's memory. It reports whether all of the document is strict JSON within the
// bounds; only then is what member was told worth anything.
func Object(doc []byte, bounds Bounds, member func(name, value []byte)) bool {
	s := scanner{doc: doc, bounds: bounds, member: member}
	at := s.space(0)
	if s.peek(at) != '{' {
		return false
	}
	at = s.value(at, 0)
	return at != refused && s.space(at) == len(doc)
}

// scanner walks over a document. Its methods take the place where something begins
// and give the one behind it, or refused.
type scanner struct {
	doc    []byte
	bounds Bounds
	member func(name, value []byte)
	names  [][]byte // of the open objects
}

const refused = -1

// peek gives the byte at a place, and behind the end 0, which stands nowhere in JSON.
func (s *scanner) peek(at int) byte {
	if at < len(s.doc) {
		return s.doc[at]
	}
	return 0
}

func (s *scanner) space(at int) int {
	for at < len(s.doc) && s.doc[at] <= ' ' && (s.doc[at] == ' ' || s.doc[at] == '\n' || s.doc[at] == '\t' || s.doc[at] == '\r') {
		at++
	}
	return at
}

// value passes over a value that has depth objects and lists around it.
func (s *scanner) value(at, depth int) int {
	switch s.peek(at) {
	case '"':
		return s.string(at + 1)
	case '{':
		return s.object(at, depth+1)
	case '[':
		return s.list(at, depth+1)
	case 't':
		return s.literal(at, "true")
	case 'f':
		return s.literal(at, "false")
	case 'n':
		return s.literal(at, "null")
	}
	return s.number(at)
}

func (s *scanner) literal(at int, text string) int {
	if end := at + len(text); end <= len(s.doc) && string(s.doc[at:end]) == text {
		return end
	}
	return refused
}

func (s *scanner) list(at, depth int) int {
	at = s.space(at + 1)
	switch {
	case depth > maxDepth:
		return refused
	case s.peek(at) == ']':
		return at + 1
	}
	for {
		if at = s.value(at, depth); at == refused {
			return refused
		}
		at = s.space(at)
		switch s.peek(at) {
		case ',':
			at = s.space(at + 1)
		case ']':
			return at + 1
		default:
			return refused
		}
	}
}

func (s *scanner) object(at, depth int) int {
	at = s.space(at + 1)
	switch {
	case depth > maxDepth:
		return refused
	case s.peek(at) == '}':
		return at + 1
	}
	above := len(s.names)
	for {
		start := s.name(at)
		if start == refused {
			return refused
		}
		if at = s.value(start, depth); at == refused {
			return refused
		}
		if depth == 1 {
			s.member(s.names[len(s.names)-1], s.doc[start:at:at])
		}
		at = s.space(at)
		switch s.peek(at) {
		case ',':
			at = s.space(at + 1)
		case '}':
			if !distinct(s.names[above:]) {
				return refused
			}
			s.names = s.names[:above]
			return at + 1
		default:
			return refused
		}
	}
}

// name passes over a name and its colon, to the value, and remembers the name.
func (s *scanner) name(at int) int {
	if s.peek(at) != '"' {
		return refused
	}
	end := s.plain(at + 1)
	name := s.doc[at+1 : end]
	if s.peek(end) == '"' {
		end++
	} else {
		if end = s.string(end); end == refused {
			return refused
		}
		name, _ = jsontext.AppendUnquote(nil, s.doc[at:end]) // is a string
	}
	if end-at > s.bounds.Name || len(s.names) == s.bounds.Names {
		return refused
	}
	s.names = append(s.names, name)
	if at = s.space(end); s.peek(at) != ':' {
		return refused
	}
	return s.space(at + 1)
}

// distinct reports whether none of the names stands twice. It puts them in order.
func distinct(names [][]byte) bool {
	const few = 16
	if len(names) > few {
		slices.SortFunc(names, bytes.Compare)
		for i := range names[1:] {
			if bytes.Equal(names[i], names[i+1]) {
				return false
			}
		}
		return true
	}
	for i, a := range names {
		for _, b := range names[:i] {
			if bytes.Equal(a, b) {
				return false
			}
		}
	}
	return true
}

// string passes over the rest of a string, up to and with the quote.
func (s *scanner) string(at int) int {
	for at != refused {
		at = s.plain(at)
		switch c := s.peek(at); {
		case c == '"':
			return at + 1
		case c == '\\':
			at = s.escaped(at)
		case c < ' ':
			return refused
		case c < utf8.RuneSelf: // one of the document's last few
			at++
		default:
			r, n := utf8.DecodeRune(s.doc[at:])
			if r == utf8.RuneError && n == 1 {
				return refused
			}
			at += n
		}
	}
	return refused
}

// plain passes over characters that a string stands for as they are, eight at a time:
// up to one that is odd, or up to the document's last few.
func (s *scanner) plain(at int) int {
	doc := s.doc
	for ; at <= len(doc)-8; at += 8 {
		if odd := odd(binary.LittleEndian.Uint64(doc[at : at+8 : at+8])); odd != 0 {
			return at + bits.TrailingZeros64(odd)/8
		}
	}
	return at
}

// odd marks bytes by their highest bit: all that are no ASCII, control characters,
// quotes and backslashes. Bytes above the first of them may be marked without cause.
//
// To take n from each byte marks those that are less, and borrows for them. With the
// second bit turned a quote is next to the control characters.
func odd(w uint64) uint64 {
	const each = 0x0101010101010101
	return (w | ((w ^ each*('"'^' ')) - each*(' '+1)) | ((w ^ each*'\\') - each)) & (each * 0x80)
}

// escaped passes over an escape (RFC 8259 §7).
func (s *scanner) escaped(at int) int {
	switch s.peek(at + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 2
	case 'u':
		switch r := s.hex(at + 2); {
		case r < 0:
			return refused
		case !utf16.IsSurrogate(r):
			return at + 6
		case s.peek(at+6) == '\\' && s.peek(at+7) == 'u' && utf16.DecodeRune(r, s.hex(at+8)) != utf8.RuneError:
			return at + 12
		}
	}
	return refused
}

// hex gives the value of four digits, or -1.
func (s *scanner) hex(at int) (r rune) {
	for i := range 4 {
		switch c := s.peek(at + i); {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// number passes over a number (RFC 8259 §6).
func (s *scanner) number(at int) int {
	if s.peek(at) == '-' {
		at++
	}
	if s.peek(at) == '0' {
		at++
	} else if at = s.digits(at); at == refused {
		return refused
	}
	if s.peek(at) == '.' {
		if at = s.digits(at + 1); at == refused {
			return refused
		}
	}
	if s.peek(at)|0x20 == 'e' {
		at++
		if c := s.peek(at); c == '+' || c == '-' {
			at++
		}
		return s.digits(at)
	}
	return at
}

// digits passes over at least one.
func (s *scanner) digits(at int) int {
	start := at
	for '0' <= s.peek(at) && s.peek(at) <= '9' {
		at++
	}
	if at == start {
		return refused
	}
	return at
}
