package interop

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// serveRetired runs an instance whose keys have come to their natural end before now, and
// gives the bundles that it has signed on the way.
func serveRetired(t *testing.T) (*instance, []rotatedBundle) {
	t.Helper()
	in := &instance{binary: build(t)}
	program := filepath.Join(t.TempDir(), "retired")
	compile := exec.Command("go", "build", "-o", program, "./internal/app/apptest/retired")
	compile.Dir = ".."
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir, addr := t.TempDir(), freeAddr(t)
	_, in.certificate, _ = trustedTLS(t, dir)
	in.url, in.data = "https://"+addr, filepath.Join(dir, "data")
	in.issuer, in.rootFile = in.url+"/oidc", filepath.Join(in.data, "root.json")
	file := write(t, filepath.Join(dir, "release"), "a release of ten days ago\n")

	var log bytes.Buffer
	cmd := exec.Command(program, dir, addr, email, file)
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v:\n%s", err, log.String())
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it is not ready: %q, %v", line, err)
	}
	var bundles []rotatedBundle
	for _, point := range []string{"before", "published", "switched", "retired"} {
		for _, log := range []string{"v1", "v2"} {
			bundles = append(bundles, rotatedBundle{filepath.Join(dir, point+"."+log+".json"), file, log})
		}
	}
	return in, bundles
}

// forgetful is a client that takes the keys of logs by the present time: what a log has
// that goes on in another one it refuses.
func forgetful(c client) bool {
	_, rs := c.(rsClient)
	return rs
}

// TestRetired: keys of the CA, the timestamp authority and the logs that were replaced in
// the ordinary way, and given up at their time, have signed what every client verifies
// afterwards.
func TestRetired(t *testing.T) {
	in, bundles := serveRetired(t)
	for _, key := range []string{"ca", "tsa", "ctlog", "rekor2"} {
		if _, err := os.Stat(filepath.Join(in.data, "keys", key+".pem")); err == nil {
			t.Errorf("the key %s is still there", key)
		}
	}
	for _, c := range clients(t, in) {
		t.Run(c.name(), func(t *testing.T) {
			if err := c.trust(in); err != nil {
				t.Fatal(err)
			}
			for _, b := range bundles {
				if l, ok := c.(limited); ok && l.lacks(b.log) != "" {
					continue
				}
				err := c.verify(in, b.file, b.path, email, in.issuer)
				if sealed := strings.Contains(b.path, "before.") || strings.Contains(b.path, "published."); sealed && forgetful(c) {
					if !refused(err) {
						t.Errorf("%s is taken, which docs/operations.md denies: %v", filepath.Base(b.path), err)
					}
				} else if err != nil {
					t.Errorf("%s is refused: %v", filepath.Base(b.path), err)
				}
			}
		})
	}
}
