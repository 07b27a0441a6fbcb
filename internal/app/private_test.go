package app_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// TestPrivate: what holds secrets is closed to others, also in a directory that is
// open to them, as one that a web server hands tiles out of.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- that is the test
		t.Fatal(err)
	}
	apptest.Start(t, apptest.In(dir))
	for name, want := range map[string]fs.FileMode{
		"db": 0o700, "keys": 0o700, "keys/ca.pem": 0o600, "instance.json": 0o600, "admin.sock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: expected mode %o, found %o", name, want, got)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// TestLeftovers: a process that was killed while it wrote a key leaves a copy.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
	left := filepath.Join(dir, "keys", ".ca.pem.tmp-123")
	writeFile(t, left, "secret")
	apptest.Start(t, apptest.In(dir))
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", left, err)
	}
}

// TestClockBehindAfterARestart: timestamps are not issued for a time before entries
// that are in the log.
func TestClockBehindAfterARestart(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
	var clock testClock
	clock.shift(-2 * time.Minute)
	a := apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Now = clock.now })
	if status, body := get(t, a, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("found %d %s", status, body)
	}
	stamp(t, a, http.StatusServiceUnavailable)
	clock.shift(2 * time.Minute)
	stamp(t, a, http.StatusOK)
	if status, body := get(t, a, "/readyz"); status != http.StatusOK {
		t.Errorf("found %d %s", status, body)
	}
}
