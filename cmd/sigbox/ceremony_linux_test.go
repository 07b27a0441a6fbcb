package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestCeremonyWithoutNetwork runs all that is done at the roots in a network namespace that
// has nothing in it, not even a loopback interface that is up: what would speak to anybody,
// this machine included, fails there.
func TestCeremonyWithoutNetwork(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "sigbox") // by this name the test is the command
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "SIGBOX_HOME="+dir, "GORACE="+gorace)
		return cmd
	}
	alone := func(name string, args ...string) ([]byte, error) {
		cmd := command(name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		return cmd.CombinedOutput()
	}
	must := func(out []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}

	links, err := alone("/bin/cat", "/proc/net/dev", "/proc/net/route")
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		t.Skipf("this machine makes no network namespaces for its users: %v", err)
	}
	must(links, err)
	if n := strings.Count(string(links), ":"); n != 1 || !strings.Contains(string(links), "lo:") {
		t.Fatalf("expected nothing but a loopback interface, found:\n%s", links)
	}
	if out, err := alone(program, "instance", "add", "it", "http://127.0.0.1:9", "--yes"); err == nil || !strings.Contains(string(out), "network is unreachable") {
		t.Fatalf("expected no network at all: %v\n%s", err, out)
	}

	must(alone(program, "ceremony", "init", "--dir", "bob", "--keys", "tuf-root", "--join"))
	must(alone(program, "ceremony", "init", "--dir", "ada", "--with", "bob/public/tuf-root.pem", "--threshold", "2"))
	must(command(program, "ceremony", "request", "--data", "data", "--url", "http://127.0.0.1:8080", "--out", "request.json").CombinedOutput())
	must(alone(program, "ceremony", "sign", "request.json", "--dir", "ada", "--out", "answer.json", "--yes"))
	must(alone(program, "ceremony", "sign", "answer.json", "--dir", "bob", "--out", "whole.json", "--yes"))
	must(alone(program, "ceremony", "show", "--dir", "ada"))
	must(alone(program, "ceremony", "policy", "--dir", "ada", "--threshold", "1"))
	answer, err := os.ReadFile(filepath.Join(dir, "whole.txt"))
	if err != nil || !strings.Contains(string(answer), "Still lacking\n  nothing") {
		t.Errorf("the answer is not whole: %v\n%s", err, answer)
	}
}
