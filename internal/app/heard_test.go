package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// TestHostNewPartKey: a host is given a new key for its part, as operations.md says, and
// the others, who are told of it while they run or before they start, hear it again.
func TestHostNewPartKey(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		h := startAsking(t)
		before := published(t, h.trust, "trusted_root.json")
		h.restart(t, &h.logs, func(dir string) {
			if err := os.Remove(filepath.Join(dir, "keys", "part.pem")); err != nil {
				t.Fatal(err)
			}
		})
		if stopped {
			h.restart(t, &h.trust, func(dir string) {
				settings := "hosts:\n"
				for _, a := range []*app.App{h.ca, h.logs} {
					settings += string(readFile(t, filepath.Join(a.Data(), "host.yaml")))
				}
				writeFile(t, filepath.Join(dir, "config.yaml"), settings)
			})
		}
		h.knowByName(t)
		if !slices.Equal(before, published(t, h.trust, "trusted_root.json")) {
			t.Error("clients are told to trust something else")
		}
		for _, a := range []*app.App{h.ca, h.logs, h.trust} {
			ready(t, a)
		}
		h.sign(t)
	}
}

// TestHostsHeardAnew: what a host has heard of others is lost, or is what was so before the
// trust root was published: it starts, clients lose nothing, and it asks again.
func TestHostsHeardAnew(t *testing.T) {
	h := startAsking(t)
	old := filepath.Join(t.TempDir(), "parts")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(h.trust.Data(), "parts"))); err != nil {
		t.Fatal(err)
	}
	rotateAt(t, h.logs, app.RotateRequest{Role: "ctlog"})
	h.ask(t)
	before := published(t, h.trust, "trusted_root.json")
	for name, put := range map[string]func(dir string) error{
		"lost":  func(string) error { return nil },
		"older": func(dir string) error { return os.CopyFS(dir, os.DirFS(old)) },
	} {
		h.restart(t, &h.trust, func(dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "parts")); err != nil {
				t.Fatal(err)
			}
			if err := put(filepath.Join(dir, "parts")); err != nil {
				t.Fatal(err)
			}
		})
		if _, body := get(t, h.trust, "/readyz"); !strings.Contains(body, "would lose their trust") {
			t.Errorf("%s: nobody is told: %s", name, body)
		}
		h.ask(t)
		if !slices.Equal(before, published(t, h.trust, "trusted_root.json")) {
			t.Errorf("%s: clients are told to trust something else", name)
		}
		ready(t, h.trust)
		if _, body := get(t, h.trust, "/readyz"); strings.Contains(body, "would lose their trust") {
			t.Errorf("%s: %s", name, body)
		}
		h.sign(t)
	}
	apptest.Stop(t, h.ca)
}
