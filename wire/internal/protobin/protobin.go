// Package protobin reads and writes protocol buffers' binary form as Sigstore's
// messages use it, without the messages' descriptors. It reads as strictly as package
// protojson does: no field that the message does not have, and no field twice.
// Generated code would take both, and bring along protobuf's runtime, with which a
// program that verifies has nothing to do.
//
// Source: https://protobuf.dev/programming-guides/encoding/
package protobin

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

// Kind is a wire type.
type Kind uint64

// The wire types of the fields that there are.
const (
	Varint Kind = 0
	Bytes  Kind = 2
)

// Field is a field that a message may have.
type Field struct {
	Number   uint64
	Name     string
	Kind     Kind
	Repeated bool
}

// Value is what a field holds: a number, or bytes of the document.
type Value struct {
	Number uint64
	Bytes  []byte
}

// Read walks the fields of a message, of which there are at most 64, and hands each to
// value. Errors are of kind Invalid, or what value says.
func Read(message string, b []byte, fields []Field, value func(name string, v Value) error) error {
	seen := uint64(0) // a bit for each of fields
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return broken(message)
		}
		b = b[n:]
		number, kind := tag>>3, Kind(tag&7)
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Number == number })
		if i < 0 {
			return sigbox.Errorf(sigbox.Invalid, "%s: unknown field %d", message, number)
		}
		f := fields[i]
		if f.Kind != kind {
			return sigbox.Errorf(sigbox.Invalid, "%s: %s has wire type %d, expected %d", message, f.Name, kind, f.Kind)
		}
		if seen&(1<<i) != 0 && !f.Repeated {
			return sigbox.Errorf(sigbox.Invalid, "%s: %s stands twice", message, f.Name)
		}
		seen |= 1 << i
		v, rest, ok := cut(kind, b)
		if !ok {
			return broken(message)
		}
		b = rest
		if err := value(f.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// cut takes a value of a wire type off b.
func cut(kind Kind, b []byte) (v Value, rest []byte, ok bool) {
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return v, nil, false
	}
	b = b[n:]
	if kind == Varint {
		return Value{Number: number}, b, true
	}
	if number > uint64(len(b)) {
		return v, nil, false
	}
	return Value{Bytes: b[:number]}, b[number:], true
}

func broken(message string) error {
	return sigbox.Errorf(sigbox.Invalid, "%s: not protobuf's binary form: a number or a field ends beyond it", message)
}

// Text reads a string of at most limit bytes.
func Text(message, name string, b []byte, limit int) (string, error) {
	switch {
	case len(b) > limit:
		return "", sigbox.Errorf(sigbox.TooLarge, "%s: %s of %d bytes, at most %d are read", message, name, len(b), limit)
	case !utf8.Valid(b):
		return "", sigbox.Errorf(sigbox.Invalid, "%s: %s is not UTF-8", message, name)
	}
	return string(b), nil
}

// AppendMessage appends a field that is there, even if it is empty.
func AppendMessage(dst []byte, number uint64, b []byte) []byte {
	dst = binary.AppendUvarint(dst, number<<3|uint64(Bytes))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// AppendBytes appends bytes or text; what is empty is left out.
func AppendBytes[T []byte | string](dst []byte, number uint64, b T) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, number<<3|uint64(Bytes))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// AppendNumber appends a number; 0 is left out.
func AppendNumber(dst []byte, number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, number<<3|uint64(Varint)), v)
}
