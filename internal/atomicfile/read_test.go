//go:build unix

package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("four"), 0o640); err != nil {
		t.Fatal(err)
	}
	b, info, err := atomicfile.Read(path, 4)
	if err != nil || string(b) != "four" || info.Mode().Perm() != 0o640 {
		t.Errorf("found %q, %v, %v", b, info, err)
	}
	if _, _, err := atomicfile.Read(path, 3); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("too large: found %v", err)
	}
	if _, _, err := atomicfile.Read(filepath.Join(dir, "none"), 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: found %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} { // a pipe that nobody writes to is not waited for
		if _, _, err := atomicfile.Read(path, 4); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", path, err)
		}
	}
}
