package entry

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// reader walks one JSON document member by member and builds no tree. Duplicate
// names, unknown names, invalid UTF-8 and trailing data are errors.
type reader struct {
	dec *jsontext.Decoder
	// proto accepts a member's snake_case name beside its lowerCamelCase one and
	// both base64 alphabets, as protojson does.
	proto bool
}

// read walks document, of at most limit bytes, with value, which must consume
// exactly the top-level value.
func read(document []byte, limit int, proto bool, value func(r *reader) error) error {
	if len(document) > limit {
		return sigbox.Errorf(sigbox.TooLarge, "a document of %d bytes: at most %d are read", len(document), limit)
	}
	r := &reader{dec: jsontext.NewDecoder(bytes.NewBuffer(document)), proto: proto}
	if err := value(r); err != nil {
		return err
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return sigbox.Errorf(sigbox.Invalid, "unexpected data after the JSON value")
	}
	return nil
}

// object reads an object whose members may be names, in lowerCamelCase. For each
// one found it calls member with its name from the list; member must read the
// value. A null stands for an absent member, as in protojson.
func (r *reader) object(names []string, member func(name string) error) error {
	if err := r.open('{', "an object"); err != nil {
		return err
	}
	var seen uint64
	for r.dec.PeekKind() != '}' {
		raw, err := r.dec.ReadValue()
		if err != nil {
			return r.syntax(err)
		}
		i := r.find(names, raw)
		if i < 0 {
			return r.fail("unknown member")
		}
		if seen&(1<<i) != 0 {
			return r.fail("the member stands there twice")
		}
		seen |= 1 << i
		if r.dec.PeekKind() == 'n' {
			err = r.close() // consumes the null
		} else {
			err = member(names[i])
		}
		if err != nil {
			return err
		}
	}
	return r.close()
}

// array reads an array of at most limit elements, each by element.
func (r *reader) array(limit int, element func() error) error {
	if err := r.open('[', "an array"); err != nil {
		return err
	}
	for n := 0; r.dec.PeekKind() != ']'; n++ {
		if n == limit {
			return r.fail("more than %d elements", limit)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return r.close()
}

func (r *reader) open(kind jsontext.Kind, want string) error {
	tok, err := r.dec.ReadToken()
	if err != nil {
		return r.syntax(err)
	}
	if tok.Kind() != kind {
		return r.fail("expected %s, found %s", want, describe(tok.Kind()))
	}
	return nil
}

func (r *reader) close() error {
	if _, err := r.dec.ReadToken(); err != nil {
		return r.syntax(err)
	}
	return nil
}

// text reads a string; the result is valid until the next read.
func (r *reader) text() ([]byte, error) {
	if k := r.dec.PeekKind(); k != '"' && k != 0 {
		return nil, r.fail("expected a string, found %s", describe(k))
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return nil, r.syntax(err)
	}
	return unquote(raw), nil
}

// string reads a string of at most limit bytes into dst.
func (r *reader) string(dst *string, limit int) error {
	s, err := r.text()
	if err != nil {
		return err
	}
	if len(s) > limit {
		return r.fail("a string of %d bytes: at most %d are read", len(s), limit)
	}
	*dst = string(s)
	return nil
}

// bytes reads a base64 string into dst.
func (r *reader) bytes(dst *[]byte) error {
	s, err := r.text()
	if err != nil {
		return err
	}
	b, err := decodeBase64(s, r.proto)
	if err != nil {
		return r.fail("expected base64: %v", err)
	}
	*dst = b
	return nil
}

// hash32 reads base64 of exactly 32 bytes into dst.
func (r *reader) hash32(dst *[]byte) error {
	if err := r.bytes(dst); err != nil {
		return err
	}
	if len(*dst) != 32 {
		return r.fail("expected 32 bytes, found %d", len(*dst))
	}
	return nil
}

// natural reads an int64 that is not negative, as a number or as a string.
func (r *reader) natural(dst *int64) error {
	k := r.dec.PeekKind()
	if k != '"' && k != '0' && k != 0 {
		return r.fail("expected an integer, found %s", describe(k))
	}
	raw, err := r.dec.ReadValue()
	if err != nil {
		return r.syntax(err)
	}
	if k == '"' {
		raw = unquote(raw)
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != string(raw) {
		return r.fail("expected an integer from 0 to 2^63-1, found %.40q", raw)
	}
	*dst = n
	return nil
}

// syntax wraps an error of the decoder. Its text names the place and is cut,
// since the place may be a long name of the sender's choice.
func (r *reader) syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return sigbox.Errorf(sigbox.Invalid, "the JSON ends early, after %d bytes", r.dec.InputOffset())
	}
	return sigbox.Errorf(sigbox.Invalid, "not valid JSON: %.160s", err.Error()).WithCause(err)
}

// fail says what is wrong with the value read last.
func (r *reader) fail(format string, args ...any) error {
	e := sigbox.Errorf(sigbox.Invalid, format, args...)
	if at := string(r.dec.StackPointer()); at != "" {
		e.Msg = strconv.QuoteToGraphic(cut(at, 120)) + ": " + e.Msg
	}
	return e
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// find gives the place of a quoted name in names, or -1.
func (r *reader) find(names []string, raw []byte) int {
	name := unquote(raw)
	for i, n := range names {
		if string(name) == n || (r.proto && isSnake(name, n)) {
			return i
		}
	}
	return -1
}

// isSnake reports whether name is the snake_case form of camel.
func isSnake(name []byte, camel string) bool {
	i := 0
	for j := range len(camel) {
		c := camel[j]
		if 'A' <= c && c <= 'Z' {
			if i >= len(name) || name[i] != '_' {
				return false
			}
			i++
			c += 'a' - 'A'
		}
		if i >= len(name) || name[i] != c {
			return false
		}
		i++
	}
	return i == len(name)
}

// unquote gives the text of a valid JSON string, without a copy where there is
// no escape in it.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return nil // cannot be: the decoder has read raw as a string
	}
	return b
}

func describe(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{', '}':
		return "an object"
	case '[', ']':
		return "an array"
	}
	return "no value"
}

// The alphabets of protojson: standard or URL, padded or not. Strict: the unused
// bits at the end are zero, so that one value has one text.
var (
	stdPadded = base64.StdEncoding.Strict()
	stdRaw    = base64.RawStdEncoding.Strict()
	urlPadded = base64.URLEncoding.Strict()
	urlRaw    = base64.RawURLEncoding.Strict()
)

var errLineBreak = errors.New("there is a line break in it")

// decodeBase64 decodes s. With anyAlphabet it follows protojson, else it takes
// the padded standard alphabet alone.
func decodeBase64(s []byte, anyAlphabet bool) ([]byte, error) {
	enc := stdPadded
	if anyAlphabet {
		isURL := bytes.IndexByte(s, '-') >= 0 || bytes.IndexByte(s, '_') >= 0
		isRaw := len(s)%4 != 0
		switch {
		case isURL && isRaw:
			enc = urlRaw
		case isURL:
			enc = urlPadded
		case isRaw:
			enc = stdRaw
		}
	}
	// encoding/base64 skips line breaks; here they are an error.
	if bytes.IndexByte(s, '\n') >= 0 || bytes.IndexByte(s, '\r') >= 0 {
		return nil, errLineBreak
	}
	b := make([]byte, enc.DecodedLen(len(s)))
	n, err := enc.Decode(b, s)
	if err != nil {
		return nil, err
	}
	return b[:n:n], nil
}

// appendBase64 appends b in the padded standard alphabet, in quotes.
func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendText appends s as a JSON string as RFC 8785 §3.2.2.2 writes it. Invalid
// UTF-8 becomes U+FFFD.
func appendText[T string | []byte](dst []byte, s T) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error says that there was a U+FFFD
	return dst
}
