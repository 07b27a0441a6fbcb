package dir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
)

func TestAnchor(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	path := filepath.Join(disk, "log.checkpoint")
	a := dir.NewAnchor(path)
	if _, err := a.Load(t.Context()); err == nil || errors.Is(err, store.ErrNotFound) || sigbox.KindOf(err) != sigbox.Invalid {
		t.Fatalf("a disk that is not there: %v", err)
	}
	if err := a.Store(t.Context(), "x"); err == nil {
		t.Fatal("it was stored on a disk that is not there")
	}
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Load(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("expected ErrNotFound, found %v", err)
	}
	for _, text := range []string{"one", "another", strings.Repeat("x", 60<<10)} {
		if err := a.Store(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Load(t.Context()); err != nil || got != text {
			t.Fatalf("expected %.20q, found %.20q, %v", text, got, err)
		}
		if got, err := dir.NewAnchor(path).Load(t.Context()); err != nil || got != text {
			t.Fatalf("expected %.20q, found %.20q, %v", text, got, err)
		}
	}
	if err := os.WriteFile(path, make([]byte, 65<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Load(t.Context()); err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
		t.Fatalf("expected kind too large, found %v", err)
	}
}

// An anchor takes the place of what it has read, and of nothing else.
func TestAnchorConflict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.checkpoint")
	a, b := dir.NewAnchor(path), dir.NewAnchor(path)
	for _, anchor := range []*dir.Anchor{a, b} {
		if _, err := anchor.Load(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if err := a.Store(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := b.Store(t.Context(), "b"); !errors.Is(err, store.ErrConflict) || sigbox.KindOf(err) != sigbox.Conflict {
		t.Fatalf("expected a conflict, found %v", err)
	}
	if got, err := b.Load(t.Context()); err != nil || got != "a" {
		t.Fatalf("found %q, %v", got, err)
	}
	if err := b.Store(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := a.Store(t.Context(), "c"); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("expected a conflict, found %v", err)
	}
}

// Of many that have read the same, one writes.
func TestAnchorIsOneStep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.checkpoint")
	const writers = 8
	anchors := make([]*dir.Anchor, writers)
	for i := range anchors { // all find nothing
		anchors[i] = dir.NewAnchor(path)
		if _, err := anchors[i].Load(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	errs := make(chan error, writers)
	for i, a := range anchors {
		go func() { errs <- a.Store(t.Context(), strings.Repeat("x", i+1)) }()
	}
	written := 0
	for range writers {
		if err := <-errs; err == nil {
			written++
		} else if !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
	}
	if written != 1 {
		t.Errorf("%d have written", written)
	}
}
