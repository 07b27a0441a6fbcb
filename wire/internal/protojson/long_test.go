package protojson

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// unseen is what is said otherwise of what is no JSON without a long string: names of
// that length.
var unseen = regexp.MustCompile(`/.*: not valid`)

// FuzzLong: documents are read as without looking for a long string, and refused
// with the same words. A tilde stands for one, a bar for as many spaces, and a caret
// for as many numbers.
func FuzzLong(f *testing.F) {
	for _, in := range []string{
		`{"someText":"a","bytes":"~","number":7}`, `{"bytes":"~","list":["~"]}`, `{"bytes":"~="}`, `{"bytes":"~A"}`, `{"bytes":"~A=="}`, `{"bytes":"~AA=="}`,
		`{"bytes":"~-_"}`, `{"bytes":"\n~"}`, `{"bytes":"~\n"}`, "{\"bytes\":\"~\xff\"}", "{\"bytes\":\"~\n\"}", `{"bytes":"~~"}`, `{"bytes":"\"~"}`, `{"bytes":"~\""}`,
		`{"someText":"~"}`, `{"someText":"\"~"}`, `{"list":["a","~"]}`, `{"number":"~"}`, `{"time":"~"}`, `{"list":"~"}`, `{"bytes":["~"]}`, `{"bytes":null,"list":["~",null]}`,
		`{"~":1}`, `{"\"~":1}`, `{"bytes"~"":1}`, `{"bytes":""~"}`, `{"bytes":"\ud83d\ud83"~"}`, `{"bytes":"~`, `{"bytes":"~"`, `{"bytes":"~",}`, `{"bytes":"~"}}`, `{"bytes":"~"}"~"`, `{}"~"`, `{"list":|["a"],"bytes":"AAAA"}`, `{"bytes":"|"}`, `{"list":[^],"bytes":"AAAA"}`, `{"list":["a"^,"b"]}`, `{"bytes"^"AAAA"}`, `{"bytes":"^"}`, `"~"`, `"a"~"b"`, `~`, `~"`, `"~`,
	} {
		f.Add([]byte(in))
	}
	stands := strings.NewReplacer("~", strings.Repeat("Tm8+", minLong/4), "|", strings.Repeat(" ", minLong), "^", strings.Repeat(",123", minLong/4))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<10 || strings.Count(string(in), "~")+strings.Count(string(in), "|")+strings.Count(string(in), "^") > 4 {
			return
		}
		doc := []byte(stands.Replace(string(in)))
		given := bytes.Clone(doc)
		got, err := readMessage(doc)
		want, wrong := readAround(doc, long{})
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: found %+v, expected %+v", in, got, want)
		}
		if said, expected := saying(err), saying(wrong); said != expected {
			t.Fatalf("%s: found %s, expected %s", in, said, expected)
		}
		if !bytes.Equal(doc, given) {
			t.Fatalf("%s was changed", in)
		}
	})
}

func saying(err error) string {
	if err == nil {
		return ""
	}
	return sigbox.KindOf(err).String() + ": " + unseen.ReplaceAllString(err.Error(), "")
}

// TestLong: a long string is found where it is plain text, and left out.
func TestLong(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("Tm8+", minLong/4)
	for doc, found := range map[string]bool{
		`{"bytes":"` + text + `"}`: true, `{"someText":"` + text[:8] + `","bytes":"` + text + `","list":["AAAA"]}`: true, `"` + text + `"`: true,
		`"` + text[1:] + `", "` + text + `", "` + text[1:] + `"`: true, `"` + text[1:] + `"`: false, text + `"`: false, `"` + text: false,
		`"` + text + `\n"`: false, `"` + text + "\n\"": false, `"` + text + `é"`: false, "": false, `"`: false,
		`["a",` + strings.Repeat("1,", minLong) + `"b"]`: false, `["a",` + strings.Repeat(" ", minLong) + `"b"]`: false,
	} {
		l := findLong([]byte(doc))
		if (l.end > 0) != found || found && doc[l.start-head-1:l.end+1] != `"`+text+`"` {
			t.Errorf("%.40s: found %d to %d", doc, l.start, l.end)
		}
		if short := l.without([]byte(doc)); string(short) != doc[:l.start]+doc[l.end:] {
			t.Errorf("%.40s: %d bytes are left", doc, len(short))
		}
	}
}

// decodeSlowly is DecodeBase64 by package base64 alone.
func decodeSlowly(s []byte) ([]byte, bool) {
	if bytes.ContainsAny(s, "\r\n") {
		return nil, false
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := e.Strict().DecodeString(string(s)); err == nil {
			return b, true
		}
	}
	return nil, false
}

// FuzzBase64: package base64 reads the same.
func FuzzBase64(f *testing.F) {
	text := strings.Repeat(alphabets[:64], 2)
	for _, s := range []string{"", "AA", "AA==", text, text + "AA==", text + "AB", text + "A", text[:31], text + "-_-_", "-_-_" + text, strings.NewReplacer("+", "-", "/", "_").Replace(text)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got, err := DecodeBase64(s)
		want, ok := decodeSlowly(s)
		if (err == nil) != ok || !bytes.Equal(got, want) {
			t.Fatalf("%q: found %x, %v, package base64 %x, %v", s, got, err, want, ok)
		}
	})
}

// TestForeign: each byte at each place of a block is a letter to package base64 too.
func TestForeign(t *testing.T) {
	t.Parallel()
	for at := range block {
		for c := range 256 {
			s := []byte(alphabets[:3*block])
			s[at] = byte(c)
			letter := strings.IndexByte(alphabets[:64], byte(c)) >= 0
			if done := decodeBlocks(make([]byte, 3*block), s); letter && done != 2*block || !letter && done != 0 {
				t.Errorf("byte %d at %d: %d letters are read", c, at, done)
			}
			got, err := DecodeBase64(s)
			if want, ok := decodeSlowly(s); (err == nil) != ok || !bytes.Equal(got, want) {
				t.Errorf("byte %d at %d: found %x, %v, package base64 %x, %v", c, at, got, err, want, ok)
			}
		}
	}
}
