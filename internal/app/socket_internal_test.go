package app

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSocketOfSomebodyElse: a socket that is closed takes its own file away, and leaves
// one that another process has put in the place.
func TestSocketOfSomebodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	first, err := placeSocket(t.Context(), path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := placeSocket(t.Context(), path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if !answers(t.Context(), path) {
		t.Error("the second socket is not answered on")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second socket is gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("a socket is left behind: %v", err)
	}
}
