package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin/plugintest"
	"github.com/sigbox/sigbox/internal/rotation"
)

// outsideRoles are the roles of which a source holds the keys in these tests.
func outsideRoles() []string { return []string{"ca", "tsa", "tuf", "ctlog", "rekor2", "rekor1"} }

// startOutside is an instance with a clock whose keys are behind a plugin.
func startOutside(t *testing.T) (plugintest.Files, *rotated) {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs a program for each signature")
	}
	files, outside := outside(t)
	return files, startRotated(t, outside)
}

// TestRotateOutside goes the whole way with keys behind a plugin: new ones are made where
// the old ones are, under their own names, and the old ones are left to their owner.
func TestRotateOutside(t *testing.T) {
	files, r := startOutside(t)
	r.sign(t, "at first")
	for _, role := range outsideRoles() {
		r.rotate(t, app.RotateRequest{Role: role})
	}
	r.sign(t, "published")
	r.pass(t, 8*day)
	r.sign(t, "switched")
	r.pass(t, day)
	r.sign(t, "retired")
	for _, role := range outsideRoles() {
		r.expect(t, role, role+" retired, "+role+".2 signing")
		for _, name := range []string{role, role + ".2"} {
			if _, err := os.Stat(filepath.Join(files.Dir, name)); err != nil || r.keyFile(t, name) {
				t.Errorf("the key %s is not where it was, or here as well: %v", name, err)
			}
		}
	}
	r.restart(t, func(string) { // their owner destroys them, but for the one that signs promises anew
		for _, role := range outsideRoles() {
			if err := os.Remove(filepath.Join(files.Dir, role)); role != "rekor1" && err != nil {
				t.Fatal(err)
			}
		}
	})
	r.sign(t, "after a restart")
}

// TestRotateOutsideAway: while the source is away nothing begins, and what has begun waits
// with the present key, and goes on when the source is back.
func TestRotateOutsideAway(t *testing.T) {
	files, r := startOutside(t)
	state := func() string { return string(readFile(t, filepath.Join(r.Data(), "instance.json"))) }
	r.sign(t, "at first")

	before := state()
	files.Break(t, plugintest.Away)
	for _, role := range outsideRoles() {
		if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: role}); sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("%s: expected it to be unavailable, found %v", role, err)
		}
	}
	if state() != before {
		t.Error("something was recorded of rotations that did not begin")
	}
	files.Break(t, "")
	ready(t, r.App)
	for _, role := range outsideRoles() {
		r.rotate(t, app.RotateRequest{Role: role})
	}
	r.sign(t, "published")

	files.Break(t, plugintest.Away)
	r.clock.Add(9 * day)
	if err := r.CatchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "the service cannot be reached") {
		t.Errorf("expected the switch to wait, found %v", err)
	}
	for _, role := range []string{"ca", "tsa", "ctlog", "rekor2", "rekor1"} {
		r.expect(t, role, role+" signing, "+role+".2 published")
	}
	files.Break(t, "")
	r.catchUp(t)
	r.sign(t, "switched")
	r.pass(t, day)
	for _, role := range outsideRoles() {
		r.expect(t, role, role+" retired, "+role+".2 signing")
	}
}

// catchUp does what is due when the source is back, which the instance finds out by itself.
func (r *rotated) catchUp(t *testing.T) {
	t.Helper()
	var err error
	for range 600 {
		if err = r.CatchUp(t.Context()); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("it does not go on after a minute: %v", err)
}

// TestRotateOutsideOffline: rotations that wait for their instance do not keep it from
// starting while the source is away.
func TestRotateOutsideOffline(t *testing.T) {
	files, r := startOutside(t)
	r.sign(t, "at first")
	roles := slices.DeleteFunc(outsideRoles(), func(role string) bool { return role == "tuf" })
	r.restart(t, func(dir string) {
		cfg := app.Config{Now: r.clock.Now}
		r.change(&cfg)
		admin, err := app.OpenAdmin(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range roles {
			if keys, err := admin.Rotate(t.Context(), app.RotateRequest{Role: role}); err != nil || !strings.HasSuffix(phases(keys), role+".2 made") {
				t.Fatalf("%s: %s, %v", role, phases(keys), err)
			}
		}
		files.Break(t, plugintest.Away)
	})
	files.Break(t, "")
	r.catchUp(t)
	for _, role := range roles {
		r.expect(t, role, role+" signing, "+role+".2 published")
	}
	r.pass(t, 8*day)
	r.sign(t, "switched")
}

// TestRotateOutsideAttempt: an attempt that failed after its key was made does not bind the
// next one to it, and a key that the instance has is not taken for a new one.
func TestRotateOutsideAttempt(t *testing.T) {
	files, r := startOutside(t)
	root := filepath.Join(files.Dir, "ca-root")
	there := func(name string) string { return filepath.Join(files.Dir, name) }
	if err := os.Rename(root, root+".safe"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ca"}); err == nil {
		t.Fatal("it was certified without the root")
	}
	if err := os.Rename(root+".safe", root); err != nil {
		t.Fatal(err)
	}
	first := readFile(t, there("ca.2"))

	if err := os.WriteFile(there("ca.2"), readFile(t, there("ca")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ca"})
	fixture.WantError(t, err, sigbox.Invalid, "the key ca.2 is the same as ca,")
	if err := os.Remove(there("ca.2")); err != nil {
		t.Fatal(err)
	}
	zero := rotation.Span(0)
	if got := r.rotate(t, app.RotateRequest{Role: "ca", SwitchAfter: &zero}); got != "ca ending, ca.2 signing" {
		t.Errorf("found %s", got)
	}
	if string(readFile(t, there("ca.2"))) == string(first) {
		t.Error("the key that was destroyed is back")
	}
	r.sign(t, "afterwards")

	// One that is there already is used.
	if _, err := keys.LoadOrCreate(there("tsa.2"), sigbox.ECDSAP256SHA256, nil); err != nil {
		t.Fatal(err)
	}
	own := readFile(t, there("tsa.2"))
	r.rotate(t, app.RotateRequest{Role: "tsa", SwitchAfter: &zero})
	if string(readFile(t, there("tsa.2"))) != string(own) {
		t.Error("the operator's own key was replaced")
	}
	r.sign(t, "with the operator's own key")

	// One place for two keys is none for the second.
	r.restart(t, func(string) {
		change := r.change
		r.change = func(c *app.Config) {
			change(c)
			c.Flags.Keys["ctlog"] = files.URI("ctlog")
		}
	})
	_, err = r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ctlog"})
	fixture.WantError(t, err, sigbox.Invalid, "ctlog and ctlog.2 are in the same place")
}
