package strictjson_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox/wire/internal/strictjson"
)

// wide bounds nothing.
var wide = strictjson.Bounds{Name: 1 << 30, Names: 1 << 30}

// members reads an object by package jsontext.
func members(doc []byte) (list []string, ok bool) {
	if v := jsontext.Value(doc); v.Kind() != '{' || !v.IsValid() {
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(doc))
	_, _ = dec.ReadToken()
	for dec.PeekKind() == '"' {
		name, _ := dec.ReadToken()
		list = append(list, name.String())
		value, _ := dec.ReadValue()
		list = append(list, string(value))
	}
	return list, true
}

// agree holds what is found against package jsontext.
func agree(t *testing.T, doc []byte) {
	t.Helper()
	var got []string
	ok := strictjson.Object(doc, wide, func(name, value []byte) { got = append(got, string(name), string(value)) })
	want, valid := members(doc)
	if ok != valid {
		t.Fatalf("%.200q: found %v, jsontext %v", doc, ok, valid)
	}
	if ok && fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%.200q: found %q, jsontext %q", doc, got, want)
	}
}

// values are good and bad ones.
var values = []string{
	`null`, `true`, `false`, `nul`, `nulll`, `True`, `tru`, `"true`, ``, `,`, `:`, `{}`, `[]`, `{`, `[`, `}`, `]`, `[1,]`, `[,1]`, `[1 2]`, `[1:2]`, `[1}`, `{"a":1]`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a",1}`, `{a:1}`, `{1:1}`, `{"a":1 "b":1}`,
	` [ 1 , 2 ] `, "\t{\n\"a\"\r: 1\t}", "\v1", "\f1", "\u00a01", `{"a":1,"b":2,"a":3}`, `{"a":1,"\u0061":2}`, `{"a":{"a":1},"b":[{"a":1},{"a":1}]}`, `{"a":{"b":1,"b":1}}`, `{"\n":1,"\u000A":2}`, `{"\n":1,"n":2}`, `{"":1,"":2}`, `{"é":1,"\u00e9":2}`,
	`{"12345678":1,"12345678":2}`, `{"1234567":1,"12345678":2,"123456789":3}`, `{"a\":1}`, `{"\x":1}`, `{"\ud800":1}`, "{\"\xff\":1}",
	`0`, `-0`, `00`, `01`, `-01`, `-`, `+1`, `1.`, `.1`, `1.5`, `1.50`, `-1.5e3`, `1e`, `1e+`, `1e-`, `1e5`, `1E5`, `1E+05`, `1e-5`, `1e5.5`, `1ee5`, `0e0`, `0.0`, `0x1`, `1-1`, `--1`, `1_0`, `Infinity`, `NaN`, `1a`, "1\x00", strings.Repeat("9", 400),
	`""`, `"a`, `"`, `"12345678"`, `"1234567"`, `"123456789abcdef0"`, `"\"\\\/\b\f\n\r\t"`, `"\a"`, `"\'"`, `"\`, `"\"`, `"\\"`, `"\\\"`, `"1234567\"8"`, `"\u00e9"`, `"\u00E9"`, `"\u00g9"`, `"\u00e"`, `"\u"`, `"\U00e9"`,
	`"\ud83d\ude00"`, `"\uD83D\uDE00"`, `"\ud83d"`, `"\ude00"`, `"\ude00\ud83d"`, `"\ud83d\ud83d"`, `"\ud83d\u0041"`, `"\ud83dx"`, `"\ud83d\n"`, `"\ud83d\ude0"`, `"\ud83d\ude0g"`, `"\ud83d\u"`, `"\ud83d\`, `"\ufffd"`, `"\ufffe"`, `"\u0000"`, `"\u001f"`,
	`"é"`, `"€😀"`, "\"\u007f\"", "\"\ufffd\"", "\"\xff\"", "\"\xc3\"", "\"\xc3", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"1234567\x801\"", "\"\x1f\"", "\"\n\"", "\"1234\n5678\"", "\"\x00\"", "\xef\xbb\xbf1",
}

// TestObject: each value at places where words of eight bytes begin and end, and
// around it what may be there and what may not.
func TestObject(t *testing.T) {
	t.Parallel()
	for _, v := range values {
		for n := range 10 {
			for _, around := range []string{`{"%s":%s}`, ` {"a":"%s","b":%s,"c":[]} `, `{"a":["%s",%s]}`, `{"%s":{"x":%s}}`, `{"%s":1}%s`, `{"%s":1,%s}`} {
				agree(t, fmt.Appendf(nil, around, strings.Repeat("x", n), v))
			}
		}
		agree(t, []byte(v))
		for n := range len(v) + 1 {
			agree(t, []byte(`{"a":`+v[:n]))
		}
	}
}

// TestStrings: each byte at each place of a string that is longer than a word.
func TestStrings(t *testing.T) {
	t.Parallel()
	for at := range 19 {
		for c := range 256 {
			s := bytes.Repeat([]byte("x"), 19)
			s[at] = byte(c)
			agree(t, fmt.Appendf(nil, `{"a":"%s"}`, s))
			agree(t, fmt.Appendf(nil, `{"%s":"xx"}`, s))
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for _, n := range []int{100, 9999, 10000, 10001} {
		agree(t, []byte(strings.Repeat(`{"a":`, n-1)+`{}`+strings.Repeat(`}`, n-1)))
		agree(t, []byte(strings.Repeat(`{"a":`, n)+`1`+strings.Repeat(`}`, n)))
		agree(t, []byte(`{"a":`+strings.Repeat(`[`, n-1)+strings.Repeat(`]`, n-1)+`}`))
		agree(t, []byte(`{"a":`+strings.Repeat(`[`, n-1)+`1`+strings.Repeat(`]`, n-1)+`}`))
	}
}

// TestManyNames: one stands twice among few and among many, next to the other and far
// from it.
func TestManyNames(t *testing.T) {
	t.Parallel()
	for n := 1; n < 40; n++ {
		for twice := -1; twice < n; twice++ {
			doc := []byte(`{"o":{`)
			for i := range n {
				doc = fmt.Appendf(doc, `"%d":{"a":1,"b":2},`, i*7%n*n)
			}
			if twice >= 0 {
				doc = fmt.Appendf(doc, `"%d":1,`, twice*7%n*n)
			}
			agree(t, append(doc, `"last":1},"p":{}}`...))
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	bounds := strictjson.Bounds{Name: 4, Names: 3}
	for doc, want := range map[string]bool{
		`{"ab":1}`: true, `{"abc":1}`: false, `{"a":{"abc":1}}`: false, `{"é":1}`: true, `{"é1":1}`: false, `{"a":"abcdefgh"}`: true,
		`{"a":1,"b":2,"c":3}`: true, `{"a":1,"b":2,"c":3,"d":4}`: false, `{"a":1,"b":2,"c":{}}`: true, `{"a":1,"b":2,"c":{"d":4}}`: false,
		`{"a":{"b":{"c":1}},"d":{"e":{"f":1}},"g":[{"h":1},{"i":1}]}`: false, `{"a":{"b":1,"c":1},"d":{"e":1},"g":[{},{}]}`: true,
	} {
		if got := strictjson.Object([]byte(doc), bounds, func(_, _ []byte) {}); got != want {
			t.Errorf("%s: found %v", doc, got)
		}
	}
}

// TestShared: what is told is of the document, and has no room behind it.
func TestShared(t *testing.T) {
	t.Parallel()
	doc := []byte(`{"a": [1] }`)
	strictjson.Object(doc, wide, func(_, value []byte) {
		if &value[0] != &doc[6] || cap(value) != 3 {
			t.Errorf("found %q with room for %d", value, cap(value))
		}
	})
}

// FuzzObject: package jsontext judges the same, and finds the same members.
func FuzzObject(f *testing.F) {
	for _, v := range values {
		f.Add(fmt.Appendf(nil, `{"a":%s}`, v))
	}
	f.Fuzz(func(t *testing.T, doc []byte) { agree(t, doc) })
}
