//go:build unix

package audit

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// lockEnv names the log that this program, run anew, is to hold.
const lockEnv = "SIGBOX_TEST_AUDIT_LOG"

// TestHold is the other process of [TestLock].
func TestHold(t *testing.T) {
	path := os.Getenv(lockEnv)
	if path == "" {
		return // nobody has asked for it
	}
	add(t, open(t, Config{Path: path}), "theirs")
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until it is killed
}

// TestLock: a log that another process writes is refused, and untouched; the process is
// named, and when it is killed the log is free.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHold$")
	other.Env = append(os.Environ(), lockEnv+"="+path)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("found %q, %v", line, err)
	}
	before := read(t, path)
	_, err = Open(Config{Path: path})
	if sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), "process "+strconv.Itoa(other.Process.Pid)) || !strings.Contains(err.Error(), path) {
		t.Errorf("found %v", err)
	}
	if got := read(t, path); got != before {
		t.Errorf("it was changed: %q", got)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // it was killed
	add(t, open(t, Config{Path: path}), "ours")
	whole(t, read(t, path), 2)
}

// TestLockHeld: the lock stays when the log is renamed by itself or by others, is taken
// anew when its file is gone, and ends when the log is closed.
func TestLockHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{Path: path, MaxBytes: 1})
	refused := func() {
		t.Helper()
		if _, err := Open(Config{Path: path}); sigbox.KindOf(err) != sigbox.Conflict {
			t.Errorf("found %v", err)
		}
	}
	refused()
	add(t, l, "first", "second") // in two files
	refused()
	if err := os.Remove(l.lock.path); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	add(t, l, "third")
	refused()
	if err := os.Truncate(l.lock.path, 0); err != nil {
		t.Fatal(err)
	}
	refused()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, open(t, Config{Path: path}), "fourth")
}
