package protobin_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protobin"
)

var fields = []protobin.Field{
	{Number: 1, Name: "text", Kind: protobin.Bytes},
	{Number: 2, Name: "number", Kind: protobin.Varint},
	{Number: 3, Name: "list", Kind: protobin.Bytes, Repeated: true},
	{Number: 1 << 20, Name: "numbers", Kind: protobin.Varint, Repeated: true},
}

// read gives what is found, a line for each field.
func read(b []byte) (found string, err error) {
	err = protobin.Read("Message", b, fields, func(name string, v protobin.Value) error {
		found += fmt.Sprintf("%s %d %q\n", name, v.Number, v.Bytes)
		return nil
	})
	return found, err
}

// expected is read by protobuf's own package.
func expected(b []byte) (found string, ok bool) {
	names := map[protowire.Number]protobin.Field{}
	for _, f := range fields {
		names[protowire.Number(f.Number)] = f
	}
	seen := map[protowire.Number]bool{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		f, known := names[number]
		if n < 0 || !known || kind != protowire.Type(f.Kind) || seen[number] && !f.Repeated {
			return "", false
		}
		seen[number] = true
		b = b[n:]
		var v protobin.Value
		if kind == protowire.VarintType {
			v.Number, n = protowire.ConsumeVarint(b)
		} else {
			v.Bytes, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			return "", false
		}
		found += fmt.Sprintf("%s %d %q\n", f.Name, v.Number, v.Bytes)
		b = b[n:]
	}
	return found, true
}

func FuzzRead(f *testing.F) {
	message := protobin.AppendNumber(protobin.AppendBytes(nil, 1, "a"), 2, 1<<64-1)
	message = protobin.AppendMessage(protobin.AppendMessage(message, 3, nil), 3, []byte("b"))
	message = protobin.AppendNumber(protobin.AppendNumber(message, 1<<20, 300), 1<<20, 1)
	for n := range len(message) + 1 {
		f.Add(message[:n])
	}
	f.Add(bytes.Repeat(message, 2))
	for _, b := range []string{"\x08\x01", "\x12\x00", "\x0b", "\x0c", "\x0d\x00\x00\x00\x00", "\x00", "\x20\x01", "\x8a\x00\x00", "\x0a\x80\x00", "\x10\x80\x00", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x10" + strings.Repeat("\x80", 10)} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := read(b)
		want, ok := expected(b)
		if (err == nil) != ok || ok && found != want {
			t.Fatalf("%q: found %s, %v, expected %s, %v", b, found, err, want, ok)
		}
		if err != nil && sigbox.KindOf(err) != sigbox.Invalid {
			t.Fatalf("%q: found %v", b, err)
		}
	})
}

// TestRead: what is wrong is said, and what value says is handed on.
func TestRead(t *testing.T) {
	t.Parallel()
	for b, about := range map[string]string{
		"\x0a\x01": "ends beyond", "\x80": "ends beyond", "\x10": "ends beyond", "\x22\x00": "unknown field 4", "\x08\x01": "text has wire type 0, expected 2",
		"\x0a\x00\x0a\x00": "text stands twice", "\x10\x01\x10\x01": "number stands twice",
	} {
		if _, err := read([]byte(b)); err == nil || !strings.Contains(err.Error(), "Message: ") || !strings.Contains(err.Error(), about) {
			t.Errorf("%q: found %v, expected %q", b, err, about)
		}
	}
	stop, calls := errors.New("stop"), 0
	err := protobin.Read("Message", []byte("\x1a\x00\x1a\x00"), fields, func(string, protobin.Value) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("found %v after %d calls", err, calls)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for b, kind := range map[string]sigbox.Kind{"é": 0, "éa": sigbox.TooLarge, "\xff": sigbox.Invalid, "\xff\xff\xff": sigbox.TooLarge} {
		found, err := protobin.Text("Message", "text", []byte(b), 2)
		if kind == 0 && (err != nil || found != b) || kind != 0 && sigbox.KindOf(err) != kind {
			t.Errorf("%q: found %q, %v", b, found, err)
		}
	}
}

// TestAppend: what is empty is left out, but for a message.
func TestAppend(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ found, want []byte }{
		{protobin.AppendBytes([]byte("x"), 1, ""), []byte("x")},
		{protobin.AppendBytes([]byte("x"), 1, []byte("ab")), []byte("x\x0a\x02ab")},
		{protobin.AppendMessage([]byte("x"), 16, nil), []byte("x\x82\x01\x00")},
		{protobin.AppendNumber([]byte("x"), 2, 0), []byte("x")},
		{protobin.AppendNumber([]byte("x"), 2, 300), []byte("x\x10\xac\x02")},
	} {
		if !bytes.Equal(c.found, c.want) {
			t.Errorf("found %q, expected %q", c.found, c.want)
		}
	}
}
