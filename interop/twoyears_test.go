package interop

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestTwoYears has python-tuf's client, with the clock of each time, follow a repository
// through two years: its own first root and each later one leads to what is published, and
// nothing of it has expired.
func TestTwoYears(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "twoyears")
	compile := exec.Command("go", "build", "-o", program, "./internal/tuf/twoyears")
	compile.Dir = ".."
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	published := filepath.Join(dir, "published")
	if out, err := exec.Command(program, published).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(tools(t, "python", "bin", "python"), filepath.Join("python", "twoyears.py"), published).CombinedOutput()
	if err != nil {
		t.Fatalf("python-tuf: %v\n%s", err, out)
	}
	var points, root, timestamp, snapshot, targets int
	if _, err := fmt.Sscan(string(out), &points, &root, &timestamp, &snapshot, &targets); err != nil || points < 50 || root < 5 || timestamp < 500 {
		t.Errorf("expected two years with some roots and a timestamp for each day, found %q, %v", out, err)
	}
}
