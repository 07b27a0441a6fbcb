package app

import (
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox"
)

func TestParseSettings(t *testing.T) {
	s, err := ParseSettings([]byte(`
listen: 127.0.0.1:9000
url: https://sigstore.example.com
tls: {cert: cert.pem, key: key.pem}
insecure-http: true
passphrase: env:SECRET
issuers:
- url: https://token.actions.githubusercontent.com
  type: ci-provider
  ci-provider: github-workflow
limits: {requests: 10, body-bytes: 1000}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:9000" || s.TLS.Key != "key.pem" || !s.InsecureHTTP || len(s.Issuers) != 1 || s.Issuers[0].Type != "ci-provider" || s.Limits.Requests != 10 {
		t.Errorf("found %+v", s)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n"} {
		if _, err := ParseSettings([]byte(empty)); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestParseSettingsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"lisen: a":                     "line 1: unknown field lisen",
		"url: a\nissuers:\n- ur: b":    "line 3: unknown field ur",
		"url: a\nurl: b":               "line 2",
		"issuers: 1":                   "line 1",
		"issuers: [[a], [b]]":          "cannot unmarshal !!seq there",
		"a\n b:\n\tc":                  "line",
		"url: a\n---\nurl: b":          "one YAML document",
		"tls: {cert: a}":               "belong together",
		"limits: {requests: -1}":       "0 and more",
		"limits: {requests: 1e99}":     "line 1",
		"a: &a [*a]":                   "",
		strings.Repeat("#", 2<<20):     "more than",
		strings.Repeat("[", 100_000):   "",
		"url: \"\\ud800\"":             "",
		"x: &x [1,1]\ny: [*x,*x,*x]\n": "unknown field",
	} {
		_, err := ParseSettings([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "app.") || strings.Contains(err.Error(), "ca.") {
			t.Errorf("%.40q: expected an error with %q, found %v", text, want, err)
		}
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add([]byte("issuers:\n- url: https://a.example\n  type: email\n"))
	f.Add([]byte("limits: {requests: 1}\ntls: {cert: a, key: b}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseSettings(b); err != nil && sigbox.KindOf(err) == sigbox.Internal {
			t.Errorf("not an error of the input: %v", err)
		}
	})
}

func TestFlagsGoBeforeSettings(t *testing.T) {
	file := Settings{Listen: "a", URL: "b", Limits: Limits{Requests: 1}}
	if s := file.over(Settings{URL: "c"}); s.Listen != "a" || s.URL != "c" || s.Limits.Requests != 1 {
		t.Errorf("found %+v", s)
	}
	if s := (Settings{}).over(Settings{}); s.Listen != DefaultListen {
		t.Errorf("found %+v", s)
	}
}

func TestDiskErrorsSayWhatToDo(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.EROFS:  "read-only",
		syscall.EACCES: "may write",
		syscall.ENOSPC: "the disk is full",
		syscall.EDQUOT: "the disk is full",
	} {
		err := diskError("/data", fmt.Errorf("open: %w", &fs.PathError{Op: "open", Path: "/data/x", Err: cause}))
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: expected %q, found %v", cause, want, err)
		}
	}
}

// TestDocumentedSettings holds docs/config.yaml to what is read, and an instance
// takes the issuers that it shows.
func TestDocumentedSettings(t *testing.T) {
	s, err := LoadSettings("../../docs/config.yaml", false)
	if err != nil {
		t.Fatal(err)
	}
	// None of its fields is left at the zero value, so that all are documented.
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "InsecureHTTP" {
			t.Errorf("%s is not documented", name)
		}
	}
	a, err := Start(t.Context(), Config{Data: t.TempDir(), Flags: Settings{Listen: "127.0.0.1:0", Issuers: s.Issuers}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
