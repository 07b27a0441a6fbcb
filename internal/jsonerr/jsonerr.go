// Package jsonerr says for people what is wrong with JSON: what package json and
// jsontext say of it names types of Go, and differs from run to run. It says where,
// by RFC 6901 or by offset, and what was found there:
//
//	statement: /subject: expected a list, found a string
//	policy: not valid JSON, at byte 7: invalid character 'x' at start of value
package jsonerr

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// Of gives the error for a document called what, from what package json or jsontext
// refused it with: of kind Invalid, or what an unmarshaler of our own said.
func Of(what string, err error) *sigbox.Error {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return syntax(what, err)
	}
	if ours, ok := errors.AsType[*sigbox.Error](semantic.Err); ok {
		return sigbox.Errorf(ours.Kind, "%s: %w", At(what, semantic.JSONPointer), ours)
	}
	if _, ok := errors.AsType[*jsontext.SyntacticError](semantic.Err); ok || ended(semantic.Err) {
		return syntax(what, semantic.Err)
	}
	at := At(what, semantic.JSONPointer)
	if errors.Is(semantic.Err, json.ErrUnknownName) {
		return sigbox.Errorf(sigbox.Invalid, "%s: unknown member", at)
	}
	return sigbox.Errorf(sigbox.Invalid, "%s: expected %s, found %s", at, expected(semantic.GoType), found(semantic))
}

// syntax is Of for what is no JSON.
func syntax(what string, err error) *sigbox.Error {
	pointer, why, offset := Syntax(err)
	switch {
	case ended(err):
		return sigbox.Errorf(sigbox.Invalid, "%s: the JSON ends early%s", what, after(offset))
	case errors.Is(err, jsontext.ErrDuplicateName):
		return sigbox.Errorf(sigbox.Invalid, "%s: the member stands twice", At(what, pointer))
	}
	return sigbox.Errorf(sigbox.Invalid, "%s: not valid JSON, at byte %d: %s", At(what, pointer), offset, why)
}

func after(offset int64) string {
	if offset == 0 {
		return ""
	}
	return fmt.Sprintf(", after %d bytes", offset)
}

// Syntax gives the place at which text is no JSON, and why.
func Syntax(err error) (at jsontext.Pointer, why string, offset int64) {
	const most = 160 // bytes of the reason
	why = err.Error()
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at, why, offset = s.JSONPointer, s.Err.Error(), s.ByteOffset
	}
	why = strings.TrimPrefix(why, "jsontext: ")
	if len(why) > most {
		why = strings.ToValidUTF8(why[:most], "") + "…"
	}
	return at, why, offset
}

// ended reports whether JSON ends before it is complete.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// At names a place in a document. Names in it are the sender's: they are cut and
// quoted.
func At(what string, pointer jsontext.Pointer) string {
	const most = 160 // bytes
	at := string(pointer)
	if len(at) > most {
		at = strings.ToValidUTF8(at[:most], "") + "…"
	}
	if at == "" {
		return what
	}
	at = strconv.QuoteToGraphic(at)
	return what + ": " + at[1:len(at)-1]
}

// expected names what a type of Go stands for in JSON.
func expected(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "a time as in 2026-01-31T12:00:00Z"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a string of base64"
		}
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Pointer:
		return expected(t.Elem())
	}
	return "a value of another type"
}

// found names the value that was not expected.
func found(e *json.SemanticError) string {
	const most = 40 // bytes of it
	switch v := e.JSONValue; {
	case len(v) > most:
		return Kind(e.JSONKind) + ", " + strings.ToValidUTF8(string(v[:most]), "") + "…"
	case len(v) > 0:
		return Kind(e.JSONKind) + ", " + string(v)
	}
	return Kind(e.JSONKind)
}

// Kind names a kind of JSON value.
func Kind(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '}', ']':
		return "its end"
	}
	return "nothing"
}
