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

// drills gives the commands of the drills in docs/operations.md, the last of which
// need root.
func drills(t *testing.T) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Drills\n")
	if !found {
		t.Fatal("docs/operations.md has no drills")
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()

	line := []string{"unshare", "-m"}
	mounts := exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", t.TempDir()).Run() == nil
	if !mounts {
		line = nil
	}
	script := "set -eu\ntrap 'kill $pid 2>/dev/null || true' EXIT\n"
	for _, block := range drills(t) {
		if strings.Contains(block, "mount -t") && !mounts {
			t.Log("the disk is not filled: this user may not mount one")
			continue
		}
		script += block
	}
	dir := t.TempDir()
	line = append(line, "sh", "-xc", script)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LISTEN="+addr, "SIGBOX_HOME="+filepath.Join(dir, "home"), "GORACE="+gorace)
	if out, err := cmd.CombinedOutput(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		t.Fatalf("%v\n%s\nthe log of the instance:\n%s", err, lastLines(string(out), 40), lastLines(string(log), 20))
	}
}

// lastLines gives the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
