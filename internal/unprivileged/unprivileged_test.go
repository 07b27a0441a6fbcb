package unprivileged

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestElsewhere: whoever gets here is denied what a file's permissions deny.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	if Elsewhere(t) {
		return
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("secret"), 0o200); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read %q, %v", b, err)
	}
}
