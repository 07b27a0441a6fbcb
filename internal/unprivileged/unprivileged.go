// Package unprivileged has tests about permissions run by somebody who lacks them.
// It is for tests:
//
//	func TestUnreadable(t *testing.T) {
//		if unprivileged.Elsewhere(t) {
//			return
//		}
//		…
package unprivileged

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// nobody is the user and the group that root's tests are run as: who owns nothing, on
// every system that has such a number.
const nobody = 65534

// mark is in the environment of a test that is run as nobody.
const mark = "SIGBOX_TEST_UNPRIVILEGED"

// Elsewhere has the calling test run again as another user, in a process of its own,
// when it is root who runs it: no permission binds root. It reports whether it did; the
// test then has nothing left to do, and has failed if the other did. The test begins
// with it, stands on the top level, and needs no files but those it makes.
func Elsewhere(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	if os.Getenv(mark) != "" {
		t.Fatal("this process was to be of another user, and is root's")
	}
	dir, err := os.MkdirTemp("", "unprivileged")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	out, err := again(t, dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatalf("as user %d: %v\n%s", nobody, err, out)
	}
	return true
}

// again is the process of the other: this program with one test, which finds a
// directory of its own for all that it writes.
func again(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.count=1"}
	if deadline, ok := t.Deadline(); ok {
		args = append(args, "-test.timeout="+time.Until(deadline).String())
	}
	self, err := program(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...) // #nosec G204 -- this program
	cmd.Env = append(os.Environ(), mark+"=1", "TMPDIR="+dir, "HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	become(cmd, nobody)
	return cmd
}

// program gives this one a name in a directory that the other may look into. Those that
// the go command makes are closed.
func program(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, filepath.Base(self))
	if os.Link(self, name) == nil {
		return name, nil
	}
	b, err := os.ReadFile(self) // #nosec G304 -- this program
	if err != nil {
		return "", err
	}
	return name, os.WriteFile(name, b, 0o755) // #nosec G306 -- to be run
}
