package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/unprivileged"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A symbolic link is no value and leads nowhere.
func TestSymlinks(t *testing.T) {
	path, outside := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	b := open(t, path)
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(path, "link")))
	must(t, os.Symlink(outside, filepath.Join(path, "dir")))
	for _, name := range []string{"link", "dir/secret"} {
		if v, err := b.Get(t.Context(), name, 100); err == nil {
			t.Errorf("Get of %s: found %q", name, v)
		}
	}
	for name, err := range b.List(t.Context(), "") {
		t.Errorf("listed %q, %v", name, err)
	}
	if err := b.Put(t.Context(), "dir/new", []byte("1")); err == nil {
		t.Error("Put through a link out of the directory succeeded")
	}
	if _, err := os.Stat(filepath.Join(outside, "new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written outside: %v", err)
	}
}

// What a crash has left behind is not a value, and goes.
func TestLeftovers(t *testing.T) {
	path := t.TempDir()
	must(t, open(t, path).Put(t.Context(), "a", []byte("1")))
	left := filepath.Join(path, "+tmp", "7")
	must(t, os.WriteFile(left, []byte("half"), 0o600))
	b := open(t, path)
	for name, err := range b.List(t.Context(), "") {
		if name != "a" || err != nil {
			t.Errorf("listed %q, %v", name, err)
		}
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// A directory that was emptied from outside is made again.
func TestDirectoryGone(t *testing.T) {
	path := t.TempDir()
	b := open(t, path)
	must(t, b.Put(t.Context(), "x/y/a", []byte("1")))
	must(t, os.RemoveAll(filepath.Join(path, "x", "y")))
	must(t, b.Put(t.Context(), "x/y/b", []byte("1")))
}

func TestReadOnly(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	path := t.TempDir()
	must(t, os.Chmod(path, 0o500))
	_, err := dir.Open(path)
	if err == nil || sigbox.KindOf(err) != sigbox.Denied || !strings.Contains(err.Error(), path) {
		t.Fatalf("expected kind denied and the path, found %v", err)
	}
}

func TestNotADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := dir.Open(path); err == nil {
		t.Fatal("a file was opened as a directory")
	}
	b := open(t, t.TempDir())
	must(t, b.Put(t.Context(), "a", []byte("1")))
	if err := b.Put(t.Context(), "a/b", []byte("1")); err == nil {
		t.Fatal("a value was put below a value")
	}
	if _, err := b.Get(t.Context(), "a/b", 1); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("expected ErrNotFound, found %v", err)
	}
}

func BenchmarkPut(b *testing.B) {
	blob := open(b, b.TempDir())
	data := make([]byte, 200<<10)
	n := 0
	for b.Loop() {
		n++
		must(b, blob.Put(context.Background(), fmt.Sprintf("tile/%d/%d", n/1000, n), data))
	}
}
