package app

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rotation"
)

// TestGenerations: an instance that was never rotated has one of each key; of others it
// has those that were not given up, and makes none of them anew.
func TestGenerations(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s, err := newState("https://sigstore.example.com", now)
	if err != nil {
		t.Fatal(err)
	}
	s.Complete, s.RekorV1 = true, s.ValidFrom
	if diff := cmp.Diff(keyKinds(), s.keyKinds(true)); diff != "" {
		t.Error(diff)
	}
	rules := rotation.Rules{Tail: time.Minute}
	gens, err := rotation.Begin(s.generations(caKey), rotation.Generation{Overlap: rotation.Span(36 * time.Hour)}, rules, now)
	if err != nil {
		t.Fatal(err)
	}
	before := s
	s.setGenerations(caKey, gens)
	if before.Generations != nil {
		t.Error("a state that was copied before has changed")
	}
	expectKeys(t, s, "ca ca.2")
	if s.fresh("ca.2") || s.fresh("ca") || s.fresh("ca.3") || s.fresh("tsa") {
		t.Error("a key that somebody may know would be made anew")
	}
	taken, err := rotation.Abandon(gens, now)
	if err != nil {
		t.Fatal(err)
	}
	s.setGenerations(caKey, taken)
	expectKeys(t, s, "ca")
	s.setGenerations(caKey, gens)
	for _, done := range []struct {
		action rotation.Action
		number int
		keys   string
	}{{rotation.Publish, 2, "ca ca.2"}, {rotation.Switch, 2, "ca ca.2"}, {rotation.Retire, 1, "ca.2"}} {
		s.setGenerations(caKey, rotation.Done(s.generations(caKey), rotation.Step{Action: done.action, Generation: done.number}, rules, now))
		expectKeys(t, s, done.keys)
		if s.fresh("ca.2") {
			t.Errorf("after %s the key may be made anew", done.action)
		}
	}
	dir := t.TempDir()
	if err := s.save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := loadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, again); diff != "" {
		t.Error(diff)
	}
}

// expectKeys compares the keys of the CA.
func expectKeys(t *testing.T, s state, want string) {
	t.Helper()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.keyKinds(true))) {
		if roleKey(name) == caKey {
			names = append(names, name)
		}
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("expected the keys %q, found %q", want, got)
	}
}

// TestGenerationsThatNoRotationMakes: such a file is damaged.
func TestGenerationsThatNoRotationMakes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stateFile)
	for _, generations := range []string{`{"car": [{"number": 1, "signing": "2026-01-01T00:00:00Z"}]}`, `{"ca": []}`, `{"ca": [{"number": 1}]}`} {
		text := `{"schema": 1, "logHostname": "log.example", "validFrom": "2026-01-01T00:00:00Z", "url": "http://127.0.0.1", "complete": true, "generations": ` + generations + `}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadState(dir)
		e, ok := errors.AsType[*sigbox.Error](err)
		if !ok || e.Kind != sigbox.Invalid || !strings.Contains(err.Error(), "instance.json is damaged: the generations of") {
			t.Errorf("%s: found %v", generations, err)
		}
	}
}
