package entry

import (
	"encoding/base64"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// reader reads values into places: the members of the formats here are many and
// optional.
type reader struct {
	*protojson.Decoder
	keys *[]verifier // if not nil, takes what is read of PEM
}

// read walks document, of at most limit bytes, with value.
func read(what string, document []byte, limit int, value func(r reader) error) error {
	return protojson.Decode(what, document, limit, func(d *protojson.Decoder) error { return value(reader{Decoder: d}) })
}

// string reads a string of at most limit bytes into dst.
func (r reader) string(dst *string, limit int) (err error) {
	*dst, err = r.String(limit)
	return err
}

// bytes reads a base64 string into dst; the document's limit bounds it.
func (r reader) bytes(dst *[]byte) (err error) {
	*dst, err = r.Bytes(MaxBodySize)
	return err
}

// hash32 reads base64 of exactly 32 bytes into dst.
func (r reader) hash32(dst *[]byte) error {
	if err := r.bytes(dst); err != nil {
		return err
	}
	if len(*dst) != 32 {
		return r.Errorf("expected 32 bytes, found %d", len(*dst))
	}
	return nil
}

// natural reads an int64 that is not negative into dst.
func (r reader) natural(dst *int64) (err error) {
	*dst, err = r.Natural(math.MaxInt64)
	return err
}

// ignore reads past a string.
func (r reader) ignore() error {
	_, err := r.String(MaxBodySize)
	return err
}

// appendBase64 appends b in the padded standard alphabet, in quotes.
func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendText appends s as a JSON string as RFC 8785 §3.2.2.2 writes it. Invalid
// UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error says that there was a U+FFFD
	return dst
}
