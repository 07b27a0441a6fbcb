package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox/internal/atomicfile"
)

func TestCreateKeepsWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := atomicfile.Create(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Create(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second Create: expected fs.ErrExist, found %v", err)
	}
	expect(t, path, "first", 0o600)
}

func TestCreateAtOnceSucceedsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if atomicfile.Create(path, []byte{byte('a' + i)}, 0o600) == nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("expected one winner, found %d", won.Load())
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, s := range []string{"first", "second"} {
		if err := atomicfile.Replace(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		expect(t, path, s, 0o644)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "is-a-directory")
	if err := os.MkdirAll(filepath.Join(target, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Replace(target, []byte("x"), 0o600); err == nil {
		t.Fatal("a directory was replaced by a file")
	}
	if err := atomicfile.Create(target, []byte("x"), 0o600); err == nil {
		t.Fatal("a directory was taken for free")
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("expected the directory alone, found %v (%v)", names, err)
	}
}

func expect(t *testing.T, path, content string, perm fs.FileMode) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != content {
		t.Fatalf("expected %q, found %q (%v)", content, b, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != perm {
		t.Fatalf("expected mode %v, found %v (%v)", perm, info.Mode().Perm(), err)
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	for _, name := range []string{"key.pem", ".key.pem.tmp-1", ".hidden", "a.tmp-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, path + ".none"} {
		if err := atomicfile.Clean(d); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("expected all but the temporary file, found %v (%v)", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".key.pem.tmp-1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary file is still there (%v)", err)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Fatalf("found %v (%v)", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "c"), ""} {
		if err := atomicfile.MkdirAll(path, 0o700); err == nil {
			t.Errorf("%q was made", path)
		}
	}
}

// TestRehearse: what Replace cannot write to is told before, and nothing is left.
func TestRehearse(t *testing.T) {
	dir := t.TempDir()
	if err := atomicfile.Replace(filepath.Join(dir, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, possible := range map[string]bool{"new": true, "old": true, "gone/new": false, "old/new": false, strings.Repeat("n", 255): false} {
		path := filepath.Join(dir, name)
		rehearsed := atomicfile.Rehearse(path)
		if entries, readErr := os.ReadDir(dir); readErr != nil || len(entries) != 1 {
			t.Errorf("%.10s: left behind: %v, %v", name, entries, readErr)
		}
		if err := atomicfile.Replace(path, []byte("x"), 0o600); (err == nil) != possible || (rehearsed == nil) != possible {
			t.Errorf("%.10s: rehearsed %v, then %v, expected %t", name, rehearsed, err, possible)
		}
		if name == "new" {
			_ = os.Remove(path)
		}
	}
	expect(t, filepath.Join(dir, "old"), "x", 0o600)
}
