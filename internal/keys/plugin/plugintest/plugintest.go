// Package plugintest has plugins for tests: a program that keeps keys in files, by the
// protocol of cosign's plugins, and that can be told to do wrong.
package plugintest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Faults that the program can be told of.
const (
	// Away has it fail as one whose service cannot be reached.
	Away = "away"
	// Wrong has it sign with a key that is not the one asked for.
	Wrong = "wrong"
	// Other has it give the public half of another key.
	Other = "other"
	// Hang has it never end.
	Hang = "hang"
	// Orphan has it hang in a process of its own, with its output open.
	Orphan = "orphan"
	// Endless has it write without end.
	Endless = "endless"
	// Nonsense has it write something that is no answer, and exit with status 0.
	Nonsense = "nonsense"
	// Crash has it write nothing but a message, and exit with status 3.
	Crash = "crash"
	// Secret has it tell the value of KMS_TOKEN in an error.
	Secret = "secret"
	// Late has it answer, and exit with status 1.
	Late = "late"
)

// Files is a directory of keys behind a plugin.
type Files struct {
	// Path is the directory of the program: what PATH has to list.
	Path string
	// Dir is the directory of the keys.
	Dir string
}

// New builds the program sigstore-kms-files into a directory of the test's.
func New(t testing.TB) Files {
	t.Helper()
	f := Files{Path: t.TempDir(), Dir: t.TempDir()}
	program := filepath.Join(f.Path, "sigstore-kms-files")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, // #nosec G204 -- a test's
		"github.com/sigbox/sigbox/internal/keys/plugin/plugintest/files")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the plugin: %v\n%s", err, out)
	}
	return f
}

// URI names a key.
func (f Files) URI(name string) string { return "files://" + filepath.Join(f.Dir, name) }

// Break has the program do wrong from now on, with "" no more. The switch is a file
// that is there or not, renamed into its place, so that a call sees one or the other.
func (f Files) Break(t testing.TB, fault string) {
	t.Helper()
	path := filepath.Join(f.Dir, "fault")
	if fault == "" {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(path+".new", []byte(fault), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
