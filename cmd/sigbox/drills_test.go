package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commands gives those of a section of docs/operations.md, in their blocks.
func commands(t *testing.T, title string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+title+"\n")
	if !found {
		t.Fatalf("docs/operations.md has no section %s", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestDrills runs the drills as they stand in docs/operations.md.
func TestDrills(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	for _, program := range []string{"sh", "dd", "seq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the drills need %s", program)
		}
	}
	line := []string{"unshare", "-m"}
	mounts := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run() == nil
	if !mounts {
		line = nil
	}
	script := ""
	for _, block := range commands(t, "Drills") { // the last of which need root
		if strings.Contains(block, "mount -t") && !mounts {
			t.Log("the disk is not filled: this user may not mount one")
			continue
		}
		script += block
	}
	runShell(t, line, script)
}

// TestHostsApart runs the commands of that section.
func TestHostsApart(t *testing.T) {
	t.Setenv("CA", freeAddress(t))
	t.Setenv("LOGS", freeAddress(t))
	t.Setenv("TRUST", freeAddress(t))
	runSection(t, "Hosts apart", "sh", "curl")
}

// TestAuditLog runs the commands of that section.
func TestAuditLog(t *testing.T) { runSection(t, "Audit log", "sh", "sed") }

// TestLimits runs the commands of that section.
func TestLimits(t *testing.T) { runSection(t, "Limits", "sh", "sed", "curl") }

// TestHandingOutTrust runs the commands of that section of docs/operations.md.
func TestHandingOutTrust(t *testing.T) {
	runSection(t, "Handing out trust", "sh", "tar", "sha256sum")
}

// TestRotation runs the commands of that section.
func TestRotation(t *testing.T) { runSection(t, "Rotation", "sh", "date", "curl") }

// TestIsItWell runs the commands of that section.
func TestIsItWell(t *testing.T) { runSection(t, "Is it well?", "sh") }

// TestOfflineRoot runs the commands of that section of docs/operations.md.
func TestOfflineRoot(t *testing.T) {
	runSection(t, "Offline root", "sh", "sed", "head", "base64")
}

// runSection runs the commands of a section of docs/operations.md, one after the other,
// if there are the programs that they need.
func runSection(t *testing.T, title string, programs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the commands need %s", program)
		}
	}
	runShell(t, nil, strings.Join(commands(t, title), ""))
}

// runShell runs a script in an empty directory, as the argument of the command line.
// LISTEN is an address that is free.
func runShell(t *testing.T, line []string, script string) {
	t.Helper()
	addr := freeAddress(t)
	dir := t.TempDir()
	line = append(line, "sh", "-xc", "set -eu\ntrap 'kill $pid 2>/dev/null || true' EXIT\n"+script)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LISTEN="+addr, "SIGBOX_HOME="+filepath.Join(dir, "home"), "GORACE="+gorace)
	if out, err := cmd.CombinedOutput(); err != nil {
		logs, _ := filepath.Glob(filepath.Join(dir, "*log"))
		for _, path := range logs {
			log, _ := os.ReadFile(path)
			t.Logf("%s:\n%s", filepath.Base(path), lastLines(string(log), 20))
		}
		t.Fatalf("%v\n%s", err, lastLines(string(out), 40))
	}
}

// freeAddress is one that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// lastLines gives the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
