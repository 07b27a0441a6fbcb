package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/remote"
)

// disk is a small file system of its own, in a mount namespace.
type disk struct {
	t    *testing.T
	path string   // within the namespace
	wrap []string // runs a program there
	seen string   // path, from outside
}

// newDisk makes a file system of so many bytes.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes")
	}
	for _, program := range []string{"unshare", "nsenter", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("a disk that is full needs %s", program)
		}
	}
	path := t.TempDir()
	holder := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat`, "sh", path, strconv.FormatInt(size, 10))
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); _ = holder.Wait() })
	said := make([]byte, len("mounted\n"))
	if _, err := io.ReadFull(out, said); err != nil {
		t.Skip("this user may not mount a file system in a namespace of its own")
	}
	pid := strconv.Itoa(holder.Process.Pid)
	return &disk{t: t, path: path, wrap: []string{"nsenter", "-t", pid, "-m"}, seen: filepath.Join("/proc", pid, "root", path)}
}

func (d *disk) free() int64 {
	d.t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.seen, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// fill writes a file until so many bytes are free, or fewer.
func (d *disk) fill(free int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.seen, "ballast"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for d.free() > free {
		if _, err := f.Write(make([]byte, min(1<<20, d.free()-free))); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				return
			}
			d.t.Fatal(err)
		}
	}
}

func (d *disk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.seen, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// client writes one entry after the other to a log.
type client struct {
	t   *testing.T
	log *wireLog
	w   *writer
	n   int
}

func newClient(t *testing.T) *client {
	t.Helper()
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t: t, log: wireLogs()[0], w: &writer{name: t.Name(), key: key, client: remote.New(remote.Config{Retries: -1})}}
}

// add logs the next entry, or gives the error.
func (c *client) add(s *server) error {
	c.n++
	a, checkpoint, err := c.log.add(c.t.Context(), s.url, c.w, c.n)
	if err == nil {
		c.log.saw(a, checkpoint)
	}
	return err
}

func (c *client) mustAdd(s *server, n int) {
	c.t.Helper()
	for range n {
		if err := c.add(s); err != nil {
			c.t.Fatal(err)
		}
	}
}

// expectStopped makes sure that the log takes nothing, says so, and serves reads.
func (c *client) expectStopped(s *server, say string) {
	c.t.Helper()
	if err := c.add(s); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		c.t.Fatalf("expected kind unavailable, found %v", err)
	}
	status, ready := answer(c.t, s.url+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(ready, say) {
		c.t.Fatalf("/readyz: expected 503 and %q, found %d: %s", say, status, ready)
	}
	c.log.check(c.t, s.url)
}

func answer(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const mib = 1 << 20

// TestFullDisk fills the disk below a server: it takes no entries and says why, reads
// go on, and when there is room it goes on by itself. Filled to the last byte under
// load it does the same, or goes on after a restart; nothing that was acknowledged is
// lost.
func TestFullDisk(t *testing.T) {
	d := newDisk(t, 256*mib)
	data := filepath.Join(d.path, "data")
	s := startServer(t, d.wrap, "--data", data)
	c := newClient(t)
	c.mustAdd(s, 3)

	d.fill(100 * mib)
	c.expectStopped(s, "nearly full")
	c.log.repeat(t, s.url) // what it has, it says
	d.empty()
	c.mustAdd(s, 3)

	// It fills up while somebody writes.
	ctx, cancel := context.WithCancel(t.Context())
	through := make(chan struct{})
	go func() {
		defer close(through)
		for ctx.Err() == nil {
			_ = c.add(s)
		}
	}()
	d.fill(0)
	cancel()
	<-through
	c.expectStopped(s, "full")
	s.stop(t)
	if !strings.Contains(s.stderr.String(), "nothing was written") {
		t.Errorf("the log does not say that it writes nothing:\n%s", s.stderr)
	}

	refused := exec.Command(d.wrap[0], append(d.wrap[1:], "sigbox", "serve", "--listen", "127.0.0.1:0", "--data", data)...)
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "the disk is full") {
		t.Errorf("on a full disk: %v\n%s", err, out)
	}
	d.empty()
	s = startServer(t, d.wrap, "--data", data)
	c.log.repeat(t, s.url)
	c.mustAdd(s, 3)
	c.log.check(t, s.url)
	s.stop(t)
}

// TestFailedFsync has the system refuse to sync, from some call on: the log stops,
// says why, and serves reads; after a restart on a disk that is well it goes on.
func TestFailedFsync(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace makes system calls fail")
	}
	for call, first := range map[string]int{"fdatasync": 30, "fsync,fdatasync": 40} { // of each thread
		t.Run(call, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			startServer(t, nil, "--data", data).stop(t)
			strace := []string{"strace", "-D", "-f", "-qqq", "-o", os.DevNull, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=EIO:when=%d+", call, first)}
			s := startServer(t, strace, "--data", data)
			c := newClient(t)
			failed := false
			for range 2000 {
				if err := c.add(s); err != nil {
					failed = true
					break
				}
			}
			if !failed || len(c.log.acks) == 0 {
				t.Fatalf("%d entries were taken, and the disk failed: %v", len(c.log.acks), failed)
			}
			c.expectStopped(s, "restart")
			s.kill()
			s = startServer(t, nil, "--data", data)
			c.log.repeat(t, s.url)
			c.mustAdd(s, 3)
			c.log.check(t, s.url)
			s.stop(t)
		})
	}
}
