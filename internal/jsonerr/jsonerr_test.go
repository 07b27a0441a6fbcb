package jsonerr_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// document has a member of each kind.
type document struct {
	Text     string            `json:"text"`
	Bool     bool              `json:"bool"`
	Int      int               `json:"int"`
	Natural  uint32            `json:"natural"`
	Bytes    []byte            `json:"bytes"`
	List     []string          `json:"list"`
	Map      map[string]string `json:"map"`
	Pointer  *bool             `json:"pointer"`
	Inner    struct{ A int }   `json:"inner"`
	Time     time.Time         `json:"time"`
	Float    float64           `json:"float"`
	Demanded demanding         `json:"demanded"`
}

// demanding has an unmarshaler of our own.
type demanding struct{}

func (demanding) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if err := dec.SkipValue(); err != nil {
		return err
	}
	return sigbox.Errorf(sigbox.TooLarge, "more than 0 of these")
}

func TestOf(t *testing.T) {
	long, ones := strings.Repeat("é", 200), strings.Repeat("1", 50)
	for in, want := range map[string]string{
		``:                         "thing: the JSON ends early",
		`{"text":`:                 "thing: the JSON ends early, after 8 bytes",
		`{"list":["a",`:            "thing: the JSON ends early, after 13 bytes",
		`{"text":"`:                "thing: the JSON ends early, after 9 bytes",
		`hello`:                    "thing: not valid JSON, at byte 0: invalid character 'h' at start of value",
		`{"list":[1x]}`:            `thing: /list/0: expected a string, found a number`,
		`{"list":["a" x]}`:         `thing: /list: not valid JSON, at byte 13: invalid character 'x' after array element (expecting ',' or ']')`,
		"{\"text\":\"\xff\"}":      `thing: /text: not valid JSON, at byte 9: invalid UTF-8`,
		`{} {}`:                    `thing: not valid JSON, at byte 3: invalid character '{' after top-level value`,
		`{"text":"a","text":"b"}`:  "thing: /text: the member stands twice",
		`{"other":1}`:              "thing: /other: unknown member",
		`{"inner":{"\u001b":1}}`:   `thing: /inner/\x1b: unknown member`,
		`{"` + long + `":1}`:       "thing: /" + strings.Repeat("é", 79) + "…: unknown member",
		`[]`:                       "thing: expected an object, found a list",
		`{"text":7}`:               "thing: /text: expected a string, found a number",
		`{"text":null,"bool":"x"}`: `thing: /bool: expected a boolean, found a string`,
		`{"int":1.5}`:              "thing: /int: expected an integer, found a number, 1.5",
		`{"natural":-1}`:           "thing: /natural: expected an integer that is not negative, found a number, -1",
		`{"int":` + ones + `}`:     "thing: /int: expected an integer, found a number, " + ones[:40] + "…",
		`{"bytes":"!"}`:            `thing: /bytes: expected a string of base64, found a string`,
		`{"list":{}}`:              "thing: /list: expected a list, found an object",
		`{"map":[]}`:               "thing: /map: expected an object, found a list",
		`{"pointer":[]}`:           "thing: /pointer: expected a boolean, found a list",
		`{"inner":true}`:           "thing: /inner: expected an object, found a boolean",
		`{"time":7}`:               "thing: /time: expected a time as in 2026-01-31T12:00:00Z, found a number",
		`{"float":"x"}`:            `thing: /float: expected a number, found a string`,
		`{"demanded":[]}`:          "thing: /demanded: more than 0 of these",
		`{"demanded":[`:            "thing: the JSON ends early, after 13 bytes",
	} {
		err := json.Unmarshal([]byte(in), new(document), json.RejectUnknownMembers(true))
		if err == nil {
			t.Errorf("%s: accepted", in)
			continue
		}
		got := jsonerr.Of("thing", err)
		if got.Error() != want {
			t.Errorf("%s:\nfound    %s\nexpected %s", in, got, want)
		}
		if kind := sigbox.KindOf(got); (kind == sigbox.TooLarge) != strings.HasPrefix(in, `{"demanded":[]`) || kind != sigbox.TooLarge && kind != sigbox.Invalid {
			t.Errorf("%s: %v", in, kind)
		}
	}
}

// TestOfReader: a decoder that reads tokens says less.
func TestOfReader(t *testing.T) {
	d := jsontext.NewDecoder(bytes.NewBufferString(""))
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) || jsonerr.Of("thing", err).Error() != "thing: the JSON ends early" {
		t.Error(err)
	}
	if got := jsonerr.Of("thing", errors.New("jsontext: "+strings.Repeat("é", 200))).Error(); got != "thing: not valid JSON, at byte 0: "+strings.Repeat("é", 80)+"…" {
		t.Error(got)
	}
	if got := jsonerr.Of("thing", &json.SemanticError{JSONKind: 'n'}).Error(); got != "thing: expected something else, found null" {
		t.Error(got)
	}
	for kind, want := range map[jsontext.Kind]string{'}': "its end", ']': "its end", 'f': "a boolean", 0: "nothing"} {
		if got := jsonerr.Kind(kind); got != want {
			t.Errorf("%v: %s", kind, got)
		}
	}
}
