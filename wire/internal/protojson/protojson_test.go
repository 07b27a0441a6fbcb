package protojson

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
)

// member reads {"value": …} with read.
func member(in string, read func(d *Decoder) error) error {
	return Decode("test", []byte(in), 1<<10, func(d *Decoder) error {
		return d.Object(func(string) error { return read(d) }, "value", "otherValue2X")
	})
}

func TestInt64(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{
		`0`: 0, `"0"`: 0, `-7`: -7, `"-7"`: -7, `"9223372036854775807"`: math.MaxInt64, `-9223372036854775808`: math.MinInt64,
	} {
		var got int64
		err := member(`{"value":`+in+`}`, func(d *Decoder) (err error) { got, err = d.Int64(); return err })
		if err != nil || got != want {
			t.Errorf("%s: found %d, %v", in, got, err)
		}
	}
	for _, in := range []string{`1.0`, `1e3`, `"1e3"`, `"01"`, `"+1"`, `" 1"`, `""`, `9223372036854775808`, `true`, `[]`, `{}`, `-0`} {
		err := member(`{"value":`+in+`}`, func(d *Decoder) error { _, err := d.Int64(); return err })
		if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "/value") {
			t.Errorf("%s: found %v", in, err)
		}
	}
	for _, in := range []string{`-1`, `11`} {
		if err := member(`{"value":`+in+`}`, func(d *Decoder) error { _, err := d.Natural(10); return err }); err == nil {
			t.Errorf("%s: no error", in)
		}
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{`""`: "", `"+/8="`: "\xfb\xff", `"-_8="`: "\xfb\xff", `"-_8"`: "\xfb\xff", `"+\/8"`: "\xfb\xff"} {
		var got []byte
		err := member(`{"value":`+in+`}`, func(d *Decoder) (err error) { got, err = d.Bytes(2); return err })
		if err != nil || string(got) != want {
			t.Errorf("%s: found %x, %v", in, got, err)
		}
	}
	for _, in := range []string{`"+_8="`, `"AB="`, `"A"`, `"AA\n=="`, `"/\nw=="`, `"/w==\n"`, `"/w\r=="`, `"AA =="`, `7`, `"/w=="}`, `"/x=="`} {
		if err := member(`{"value":`+in+`}`, func(d *Decoder) error { _, err := d.Bytes(2); return err }); err == nil {
			t.Errorf("%s: no error", in)
		}
	}
	if err := member(`{"value":"AAAA"}`, func(d *Decoder) error { _, err := d.Bytes(2); return err }); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
	var got []byte
	err := member(`{"value":"+/\r\n8=\n"}`, func(d *Decoder) (err error) { got, err = d.Lines(2); return err })
	if err != nil || string(got) != "\xfb\xff" {
		t.Errorf("lines: found %x, %v", got, err)
	}
}

// TestNotBase64: the place is told, or what else is wrong.
func TestNotBase64(t *testing.T) {
	for in, want := range map[string]string{
		"!": `"!" at character 1 `, "A": "of 1 characters the last is one too many", "AB": "bits left over", "AB==": "bits left over", "====": "padding", "c2l n": `" " at character 4 `, "AA=A": `"=" at character 3 `,
		"AAAA=": "padding", "AA==AAAA": `"=" at character 3 `, "-+ln": "both alphabets", "c2ln\n": "line ends", "c2ln\nAA==": "line ends", "AAé": `"é" at character 3 `,
	} {
		if _, err := DecodeBase64([]byte(in)); err == nil || !strings.Contains(err.Error(), "not base64") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}

// TestNotJSON: text that begins like a value of JSON is not taken for that.
func TestNotJSON(t *testing.T) {
	for in, want := range map[string]string{"not JSON": "not valid JSON", "null": "expected an object, found null", "[": "expected an object, found a list", `"": `: "expected an object, found a string"} {
		err := Decode("d", []byte(in), 100, func(d *Decoder) error { return d.Object(nil) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	skip := func(d *Decoder) error { _, err := d.Raw(); return err }
	for _, in := range []string{`{}`, `{"value":1}`, `{"otherValue2X":1}`, `{"other_value2_x":1}`, `{"\u0076alue":1}`, `{"value":null}`} {
		if err := member(in, skip); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
	for _, in := range []string{
		`{"Value":1}`, `{"other_Value2_x":1}`, `{"other__value2_x":1}`, `{"othervalue2x":1}`, `{"_value":1}`, `{"value_":1}`,
		`{"value":1,"value":2}`, `{"value":null,"value":2}`, `{"otherValue2X":1,"other_value2_x":2}`,
		`{"value":1}{}`, `{"value":1`, `{value:1}`, `[]`, ``, `null`, "{\"value\":\"\xff\"}",
	} {
		if err := member(in, skip); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", in, err)
		}
	}
	if err := member(`{"`+strings.Repeat("x", 900)+`":1}`, skip); len(err.Error()) > 400 {
		t.Errorf("a name of the sender's fills the error: %d bytes", len(err.Error()))
	}
	if err := member(strings.Repeat(" ", 2<<10), skip); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
}

func TestArray(t *testing.T) {
	t.Parallel()
	list := func(d *Decoder) error {
		return d.Array(2, func() error { _, err := d.Int64(); return err })
	}
	for in, ok := range map[string]bool{`[]`: true, `[1,2]`: true, `[1,2,3]`: false, `{}`: false, `[1`: false, `[null]`: false} {
		if err := member(`{"value":`+in+`}`, list); (err == nil) != ok {
			t.Errorf("%s: found %v", in, err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		"2026-01-31T12:00:00Z": true, "2026-01-31T12:00:00.123456789Z": true, "2026-01-31T14:00:00+02:00": true,
		"2026-01-31": false, "2026-01-31 12:00:00Z": false, "0000-01-01T00:00:00Z": false, "0001-01-01T00:00:00Z": false, "0001-01-01T00:00:01Z": true, "2026-02-31T00:00:00Z": false, "2026-01-31T12:00:00,5Z": false,
		"9999-12-31T23:59:59Z": true, "9999-12-31T23:59:59-01:00": false, "0001-01-01T00:00:01+01:00": false,
	} {
		if err := member(`{"value":"`+in+`"}`, func(d *Decoder) error { _, err := d.Time(); return err }); (err == nil) != ok {
			t.Errorf("%s: found %v", in, err)
		}
	}
}

// TestRoundTrip: what the Encoder writes the Decoder reads.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, raw := rapid.String().Draw(t, "text"), rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		number, seconds := rapid.Int64().Draw(t, "number"), rapid.Int64Range(-62135596799, 253402300799).Draw(t, "seconds")
		e := NewEncoder(nil)
		e.Document(func() {
			e.String("text", text)
			e.Array("list", func() { e.Bytes("", raw); e.Bytes("", raw) })
			e.Object("object", func() { e.Int64("number", number) })
			e.Time("time", time.Unix(seconds, 0))
		})
		err := Decode("test", e.Done(), 1<<20, func(d *Decoder) error {
			return d.Object(func(field string) error {
				switch field {
				case "text":
					if s, err := d.String(1 << 16); err != nil || s != text {
						t.Fatalf("found %q, %v", s, err)
					}
				case "list":
					return d.Array(2, func() error {
						b, err := d.Bytes(1 << 16)
						if !bytes.Equal(b, raw) {
							t.Fatalf("found %x", b)
						}
						return err
					})
				case "object":
					return d.Object(func(string) error {
						n, err := d.Int64()
						if n != number {
							t.Fatalf("found %d", n)
						}
						return err
					}, "number")
				case "time":
					if at, err := d.Time(); err != nil || at.Unix() != seconds {
						t.Fatalf("found %v, %v", at, err)
					}
				}
				return nil
			}, "text", "list", "object", "time")
		})
		if err != nil {
			t.Fatalf("%v in %s", err, e.Done())
		}
	})
}

// TestLineEnds: package base64 passes over them, wherever they are.
func TestLineEnds(t *testing.T) {
	for _, text := range []string{"AAAA", "AAAAAAA", "AAAAAA", "AAAAAAA=", "AAAAAA==", "__8", "-_-_"} {
		for _, end := range []string{"", "\n", "\r", "\r\n", "\n\n", "\r\n\r", "\n\n\n\n"} {
			for at := range len(text) + 1 {
				b, err := DecodeBase64([]byte(text[:at] + end + text[at:]))
				if (err == nil) != (end == "") {
					t.Errorf("%q with %q at %d: found %v, %v", text, end, at, b, err)
				}
			}
		}
	}
}

// TestRaw: a value comes as it stands there, or with an error of its own.
func TestRaw(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{`[1, "a"]`: true, `"\n"`: true, `tru`: false, `[1`: false, ``: false} {
		_ = Decode("test", []byte(in), 100, func(d *Decoder) error {
			v, err := d.Raw()
			if (err == nil) != ok || ok && string(v) != in {
				t.Errorf("%s: found %s, %v", in, v, err)
			}
			return err
		})
	}
}
