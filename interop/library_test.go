package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLibrary builds the README's program in a module of its own and has it verify
// a file, and refuse it when it was changed.
func TestLibrary(t *testing.T) {
	source, err := os.ReadFile("library/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(source)+"```\n") {
		t.Error("the README's program is not interop/library/main.go")
	}

	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "library"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	if err := os.CopyFS(dir, os.DirFS("../docs/verification")); err != nil {
		t.Fatal(err)
	}
	run := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), program)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run()
	if want := "signed by ada@example.com at 2026-11-21 23:32:38 +0000 UTC\n"; err != nil || out != want {
		t.Errorf("expected %q, found %q, %v", want, out, err)
	}

	if err := os.WriteFile(filepath.Join(dir, "hello.txt"), []byte("Hello, forger.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = run()
	if err == nil || !strings.Contains(out, "the artifact is not the one that was signed") {
		t.Errorf("a changed file: expected to be refused, found %q, %v", out, err)
	}
}
