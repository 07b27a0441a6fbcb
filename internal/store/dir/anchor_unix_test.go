//go:build unix

package dir_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store/dir"
)

// What is no regular file is not waited for.
func TestAnchorIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.checkpoint")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	a := dir.NewAnchor(path)
	if _, err := a.Load(t.Context()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected kind invalid, found %v", err)
	}
	if err := a.Store(t.Context(), "x"); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected kind invalid, found %v", err)
	}
}

// A call ends with its context while the file system does not answer, as one whose lock
// somebody else keeps, and the next one too.
func TestAnchorThatHangs(t *testing.T) {
	top := t.TempDir()
	held, err := os.Create(filepath.Join(top, ".log.checkpoint.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	a := dir.NewAnchor(filepath.Join(top, "log.checkpoint"))
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		if err := a.Store(ctx, "x"); sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("expected kind unavailable, found %v", err)
		}
		cancel()
	}
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if err := a.Store(t.Context(), "y"); err != nil {
		t.Error(err)
	}
	if got, err := a.Load(t.Context()); err != nil || got != "y" {
		t.Errorf("found %q, %v", got, err)
	}
}
