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
