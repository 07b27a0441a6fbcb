package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":                "plain text",
		"Ümläut 漢字":                 "Ümläut 漢字",
		"\x1b[31mred":               `\x1b[31mred`,
		"bell\a null\x00":           `bell\a null\x00`,
		"line\nreturn\r tab\t":      `line\nreturn\r tab\t`,
		"\u202egnp.exe":             `\u202egnp.exe`, // right-to-left override
		"zero\u200bwidth":           `zero\u200bwidth`,
		"\u2028separator":           `\u2028separator`,
		"\u0085next\u009bcsi":       `\u0085next\u009bcsi`,
		"broken \xff\xc3":           `broken \xff\xc3`,
		"replacement \ufffd is":     "replacement \ufffd is",
		"no\u00a0break":             `no\u00a0break`,
		"a\u3164b\u2800":            `a\u3164b\u2800`, // letters without ink
		"cafe\u0301 \u0301":         "cafe\u0301 \u0301",
		"e\u0301\u0301\u0301\u0301": "e\u0301\u0301" + `\u0301\u0301`,
		"\u0301e":                   `\u0301e`,
		"\u05d0.exe":                `\u05d0.exe`, // Hebrew
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b]0;title\a\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := printable(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r != ' ' && unicode.IsSpace(r) {
				t.Errorf("%q became %q, with %U", s, got, r)
			}
		}
	})
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usage("x"), 2},
		{fmt.Errorf("wrapped: %w", usage("x")), 2},
		{silentError{1}, 1},
		{sigbox.Errorf(sigbox.NotVerified, "x"), 1},
		{sigbox.Errorf(sigbox.Invalid, "x"), 1},
		{sigbox.Errorf(sigbox.Unauthenticated, "x"), 1},
		{sigbox.Errorf(sigbox.Unavailable, "x"), 3},
		{sigbox.Errorf(sigbox.Internal, "x"), 3},
		{sigbox.Errorf(sigbox.Fatal, "x"), 3},
		{errors.New("anything else"), 3},
	} {
		if got := exitStatus(tt.err); got != tt.want {
			t.Errorf("%v: status %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestPrintError(t *testing.T) {
	inner := sigbox.Mismatch(sigbox.NotVerified, "identity", "ada", "eve\x1b[2J").WithHint("ask ada")
	for _, err := range []error{inner, fmt.Errorf("app.txt: %w", inner)} {
		var b strings.Builder
		printError(&b, &cobra.Command{Use: "sigbox"}, err)
		if got := b.String(); strings.Contains(got, "\x1b") || strings.Contains(got, "(ask ada)") || !strings.HasSuffix(got, "\n  next: ask ada\n") || !strings.Contains(got, `expected ada, found eve\x1b[2J`) {
			t.Errorf("printed %q", got)
		}
	}
}

func TestArtifactOf(t *testing.T) {
	for in, want := range map[string]string{
		"a.sigstore.json": "a", "a.sigstore": "a", "a.sigstore.jsonl": "a", "a.json": "a.json", "d/.sigstore.json": "d/.sigstore.json", ".sigstore": ".sigstore",
	} {
		if got := artifactOf(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	b := newBench(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		b.must("completion", shell)
		if b.stdout.Len() < 1000 {
			t.Errorf("%s: %d bytes", shell, b.stdout.Len())
		}
	}
	if status := b.run("completion", "dos"); status != exitUsage {
		t.Errorf("status %d", status)
	}
	b.must("__complete", "sign", "--instance", "")
	if !strings.Contains(b.stdout.String(), "public-good") {
		t.Errorf("completed %s", &b.stdout)
	}
	b.must("__complete", "verify", "--output", "")
	if !strings.Contains(b.stdout.String(), "json") {
		t.Errorf("completed %s", &b.stdout)
	}
}

// TestEveryVerbTellsOfItself: help is there, the same where the verb alone is made.
func TestEveryVerbTellsOfItself(t *testing.T) {
	b := newBench(t)
	all := newRootCommand(b.env, nil)
	if made := len(newRootCommand(b.env, []string{"--version", "sign"}).Commands()); made != len(all.Commands()) || made != len(verbs()) {
		t.Errorf("%d verbs are made, expected %d", made, len(verbs()))
	}
	for _, cmd := range all.Commands() {
		alone := newRootCommand(b.env, []string{cmd.Name(), "--help"}).Commands()
		if len(alone) != 1 || alone[0].Name() != cmd.Name() {
			t.Errorf("%s: %d verbs are made", cmd.Name(), len(alone))
		}
		b.must(cmd.Name(), "--help")
		help := b.stdout.String()
		if cmd.Short == "" || !strings.Contains(help, "Usage:") {
			t.Errorf("%s: %s", cmd.Name(), help)
		}
		b.must("help", cmd.Name()) // for which all are made
		if b.stdout.String() != help {
			t.Errorf("%s: help says %s", cmd.Name(), &b.stdout)
		}
	}
}

func TestListed(t *testing.T) {
	if got, want := listed([]string{"a", "b, c", `d "e"`}), `a, "b, c", "d \"e\""`; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

func TestFileName(t *testing.T) {
	seen := map[string]string{}
	for name, want := range map[string]string{"a": "a", "é\\xff": "é\\xff", "a\xff": `"a\xff"`, "a\ufffd": "a\ufffd", `"a\xff"`: `"\"a\\xff\""`} {
		got, err := fileName(name).MarshalText()
		if err != nil || string(got) != want || seen[want] != "" {
			t.Errorf("%q became %s, want %s", name, got, want)
		}
		seen[want] = name
	}
}

// TestSplitHint: the next step stands on a line of its own also when a cause knows it.
func TestSplitHint(t *testing.T) {
	cause := sigbox.Errorf(sigbox.Invalid, "no policy").WithHint("quote it")
	for _, tt := range []struct {
		err        error
		text, hint string
	}{
		{cause, "no policy", "quote it"},
		{fmt.Errorf("a.yaml: %w", cause), "a.yaml: no policy", "quote it"},
		{sigbox.Errorf(sigbox.Invalid, "a.yaml: %w", cause), "a.yaml: no policy", "quote it"},
		{sigbox.Errorf(sigbox.Invalid, "a.yaml").WithCause(cause), "a.yaml: no policy", "quote it"},
		{sigbox.Errorf(sigbox.Invalid, "a.yaml: %v", "no policy").WithCause(io.EOF), "a.yaml: no policy: EOF", ""},
		{sigbox.Errorf(sigbox.Invalid, "a.yaml: %w", cause).WithHint("see there"), "a.yaml: no policy (quote it)", "see there"},
		{io.EOF, "EOF", ""},
	} {
		if text, hint := splitHint(tt.err); text != tt.text || hint != tt.hint {
			t.Errorf("%v: %q, %q", tt.err, text, hint)
		}
	}
}

// TestVisibleJSON: what a terminal would act upon is escaped, and reads as before.
func TestVisibleJSON(t *testing.T) {
	for _, text := range []string{
		"plain <&> Ümläut 漢字", "\u009b[2J", "\x7f", "\x1b[2J", "\u202egnp.exe", "zero\u200bwidth", "\U000e0041tag", "line\n\ttab", "broken \xff",
	} {
		var out bytes.Buffer
		e := &env{stdout: &out}
		if err := e.printJSON(map[string]string{"a": text}); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && r != ' ' && !isVisible(r) {
				t.Errorf("%q: %U is printed", text, r)
			}
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["a"] != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q: read as %q, %v", text, back["a"], err)
		}
	}
}
