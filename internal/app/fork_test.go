//go:build unix

package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
)

// A copy of an instance that is idle is started beside it and takes entries: the idle
// one stops, all of its logs do, and none contradicts what the copy has signed.
func TestIdleInstanceIsForked(t *testing.T) {
	top := t.TempDir()
	anchor := filepath.Join(top, "anchor")
	if err := os.Mkdir(anchor, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := app.Config{Data: filepath.Join(top, "data"), Flags: app.Settings{Anchor: anchor}}
	mustStart(t, cfg, nil)
	copied := cfg
	copied.Data, copied.Accept.Move = filepath.Join(top, "copy"), true
	copyDir(t, cfg.Data, copied.Data)
	mustStart(t, cfg, func(a *app.App) {
		mustStart(t, copied, func(b *app.App) {
			if err := logOne(t, b, "in the copy"); err != nil {
				t.Fatal(err)
			}
		})
		var said string
		for {
			status, err := a.Admin().Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if said = services(status); strings.Count(said, "is shut for writing") == 3 { // v2, v1 and CT
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-t.Context().Done():
				t.Fatalf("it says %s", said)
			}
		}
		if err := logOne(t, a, "a fork"); err == nil {
			t.Error("the log took a forked entry")
		}
	})
}

// What lies in an anchor's place and is no file holds up neither the start nor the end.
func TestAnchorIsAPipe(t *testing.T) {
	top := t.TempDir()
	anchor := filepath.Join(top, "anchor")
	if err := os.Mkdir(anchor, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := app.Config{Data: filepath.Join(top, "data"), Flags: app.Settings{Anchor: anchor}}
	mustStart(t, cfg, nil)
	files, err := filepath.Glob(filepath.Join(anchor, "*.internal"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Accept.Anchor = true // it was not read: there is nothing that could be accepted
	mustStart(t, cfg, func(a *app.App) {
		status, err := a.Admin().Status(t.Context())
		if err != nil || strings.Count(services(status), "cannot be read") != 3 {
			t.Errorf("it says %s, %v", services(status), err)
		}
		if err := logOne(t, a, "an entry"); err == nil {
			t.Error("the log took an entry")
		}
	})
	for _, name := range files {
		if info, err := os.Lstat(name); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
			t.Errorf("%s was replaced: %v, %v", name, info, err)
		}
	}
}
