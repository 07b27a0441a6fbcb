package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// material writes what the program bench makes, on a small scale.
func material(t *testing.T) string {
	t.Helper()
	dir, w := t.TempDir(), sigboxtest.New(t)
	write := func(name string, b []byte) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	write("trusted_root.json", root)
	id := sigboxtest.DefaultIdentity()
	write("identity", []byte(id.Subject+"\n"+id.Issuer+"\n"))
	for _, folder := range []string{"one", "many", "statement"} {
		for i := range 3 {
			artifact := fmt.Appendf(nil, "%s %d", folder, i)
			var b *sigbox.Bundle
			if folder == "statement" {
				b = w.Attest(sigboxtest.Statement("https://example.com/p/v1", artifact), sigboxtest.Options{})
			} else {
				b = w.Sign(artifact, sigboxtest.Options{})
			}
			text, err := bundle.Append(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			write(fmt.Sprintf("%s/%d.bin", folder, i), artifact)
			write(fmt.Sprintf("%s/%d.bin.sigstore.json", folder, i), text)
		}
	}
	return dir
}

// TestRun measures everything, once: both libraries accept, and refuse another
// artifact.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(options{material: material(t), rounds: 1}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| own instance | cold | 7 in ", "| own instance | warm | 5 in ", "| own instance | seen | 2 in ",
		"| statement of 100 KB | warm | 5 in ", "| 3 under one certificate, each | ", "| 3 under a certificate each, each | ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestChecks: a signature that does not verify is no check, and each counts once.
func TestChecks(t *testing.T) {
	w := sigboxtest.New(t)
	b := w.Sign([]byte("artifact"), sigboxtest.Options{})
	g := newGatherer(w.Root())
	for range 2 {
		if err := g.bundle(b, []byte("artifact")); err != nil {
			t.Fatal(err)
		}
	}
	if cold, warm, again := len(g.needed(cold)), len(g.needed(warm)), len(g.needed(seen)); cold != 7 || warm != 5 || again != 2 {
		t.Errorf("found %d, %d and %d checks, expected 7, 5 and 2", cold, warm, again)
	}
	if err := g.bundle(b, []byte("another")); err == nil {
		t.Error("another artifact's signature was taken for a check")
	}
}

func TestHeld(t *testing.T) {
	for _, test := range []struct {
		value, goal float64
		least       bool
		want        string
	}{
		{1.2, 1.25, false, "1.20"}, {1.25, 1.25, false, "1.25"}, {1.3, 1.25, false, "1.30, missed"},
		{1.9, 1.8, true, "1.90"}, {1.7, 1.8, true, "1.70, missed"},
	} {
		if found := held(test.value, test.goal, test.least); found != test.want {
			t.Errorf("%v of %v: found %q, expected %q", test.value, test.goal, found, test.want)
		}
	}
}
