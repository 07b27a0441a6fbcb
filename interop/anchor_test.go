package interop

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bucket starts a server that speaks S3, with an empty bucket, and sets what programs
// need to use it. It gives the bucket's directory and the URL for --anchor.
func bucket(t *testing.T) (dir, anchor string) {
	t.Helper()
	root, side := t.TempDir(), t.TempDir()
	dir = filepath.Join(root, "anchors")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	var log bytes.Buffer
	cmd := exec.Command(tools(t, "bin", "versitygw"), "--port", addr, "posix", "--sidecar", side, root)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY=test", "ROOT_SECRET_KEY=testsecret")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 100 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Setenv("AWS_ACCESS_KEY_ID", "test")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
			t.Setenv("AWS_REGION", "us-east-1")
			return dir, "s3://anchors/here?endpoint=http://" + addr
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("versitygw does not listen:\n%s", &log)
	return "", ""
}

// TestAnchorInBucket restores a backup of an instance whose anchor is in a bucket: its
// logs are shut for writing, and the newest copy's are not.
func TestAnchorInBucket(t *testing.T) {
	dir, anchor := bucket(t)
	binary := build(t)
	data := filepath.Join(t.TempDir(), "data")
	backup := data + "-copy"

	run := func(data string, f func(url string), flags ...string) (said string) {
		t.Helper()
		addr := freeAddr(t)
		var log bytes.Buffer
		cmd := exec.Command(binary, append([]string{"serve", "--data", data, "--listen", addr, "--anchor", anchor, "--accept", "move"}, flags...)...)
		cmd.Stdout, cmd.Stderr = io.Discard, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("serve ended with %v\n%s", err, &log)
			}
			said = log.String()
		}()
		for range 300 {
			if resp, err := http.Get("http://" + addr + "/healthz"); err == nil {
				resp.Body.Close()
				f("http://" + addr)
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("serve is not up\n%s", &log)
		return
	}
	ready := func(url string) (int, string) {
		t.Helper()
		resp, err := http.Get(url + "/readyz")
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

	run(data, func(string) {}) // its first entry is its TUF root
	files, err := filepath.Glob(filepath.Join(dir, "here", "rekor2.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("in the bucket: %v, %v", files, err)
	}
	if out, err := exec.Command("cp", "-a", data, backup).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	run(data, func(url string) {
		postEntry(t, &instance{url: url}, http.DefaultClient, newLogKey(t).request(t, "after the backup"))
	})
	after, err := os.ReadFile(files[0])
	if err != nil || bytes.Equal(before, after) {
		t.Fatalf("the head did not come to the bucket: %q, %v", after, err)
	}
	run(backup, func(url string) {
		if status, why := ready(url); status != http.StatusServiceUnavailable || !strings.Contains(why, "it is an older copy") {
			t.Errorf("the backup: status %d: %s", status, why)
		}
	})
	run(data, func(url string) {
		if status, why := ready(url); status != http.StatusOK {
			t.Errorf("the newest copy: status %d: %s", status, why)
		}
	})
	if still, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(still, after) {
		t.Errorf("the backup has changed the anchor: %q, %v", still, err)
	}
	anchor = strings.Replace(anchor, "/here", "/elsewhere", 1)
	run(data, func(url string) {
		if status, why := ready(url); status != http.StatusServiceUnavailable || !strings.Contains(why, "it is gone") {
			t.Errorf("another anchor: status %d: %s", status, why)
		}
	})
	if said := run(data, func(url string) {
		if status, why := ready(url); status != http.StatusOK {
			t.Errorf("accepted: status %d: %s", status, why)
		}
	}, "--accept", "anchor"); !strings.Contains(said, "takes the anchor's place") {
		t.Errorf("the log does not say what was accepted:\n%s", said)
	}
}
