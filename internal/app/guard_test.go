package app_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// startIn starts an instance and stops it after f, which may be nil.
func startIn(t *testing.T, cfg app.Config, f func(*app.App)) error {
	t.Helper()
	cfg.Flags.Listen = "127.0.0.1:0"
	a, err := app.Start(t.Context(), cfg)
	if err != nil {
		return err
	}
	if f != nil {
		f(a)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	return a.Close(ctx)
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "admin.sock")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func mustStart(t *testing.T, cfg app.Config, f func(*app.App)) {
	t.Helper()
	if err := startIn(t, cfg, f); err != nil {
		t.Fatal(err)
	}
}

// logOne logs an entry and reports whether the log took it.
func logOne(t *testing.T, a *app.App, text string) error {
	t.Helper()
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		t.Fatal(err)
	}
	request, err := signedEntry(key, text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = post(t.Context(), a.URL(), request)
	return err
}

// A copy of a data directory does not start, and nor does the directory on another
// machine, until an operator answers for it. A directory that is renamed does.
func TestCopiedDirectory(t *testing.T) {
	top := t.TempDir()
	machine := filepath.Join(top, "machine-id")
	write := func(id string) {
		if err := os.WriteFile(machine, []byte(id+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	cfg := app.Config{Data: filepath.Join(top, "data"), MachineID: machine}
	mustStart(t, cfg, nil)
	mustStart(t, cfg, nil)

	clone := cfg
	clone.Data = filepath.Join(top, "copy")
	copyDir(t, cfg.Data, clone.Data)
	err := startIn(t, clone, nil)
	if err == nil || sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), "--accept move") {
		t.Fatalf("a copy: %v", err)
	}
	clone.Accept.Move = true
	mustStart(t, clone, nil)
	clone.Accept.Move = false
	mustStart(t, clone, nil) // once is enough

	renamed := cfg
	renamed.Data = filepath.Join(top, "renamed")
	if err := os.Rename(cfg.Data, renamed.Data); err != nil {
		t.Fatal(err)
	}
	mustStart(t, renamed, nil)
	write("two")
	if err := startIn(t, renamed, nil); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Fatalf("another machine: %v", err)
	}
	if err := os.Remove(machine); err != nil { // as in containers
		t.Fatal(err)
	}
	mustStart(t, renamed, nil)
}

// A backup of everything is restored: the logs stay shut for writing until an
// operator has decided.
func TestRestoredBackup(t *testing.T) {
	top := t.TempDir()
	anchor := filepath.Join(top, "anchor")
	cfg := app.Config{Data: filepath.Join(top, "data"), Flags: app.Settings{Anchor: anchor}}
	if err := startIn(t, cfg, nil); err == nil {
		t.Fatal("it started without the anchor's disk")
	}
	if err := os.Mkdir(anchor, 0o755); err != nil {
		t.Fatal(err)
	}
	cfg.Data = filepath.Join(top, "again")
	logged, first := newLogLines(), cfg
	first.Logger = slog.New(slog.NewTextHandler(logged, nil))
	mustStart(t, first, func(a *app.App) {
		if err := logOne(t, a, "in the backup"); err != nil {
			t.Fatal(err)
		}
	})
	logged.wait(t, "the anchor is on the file system of the data")
	backup := filepath.Join(top, "backup")
	copyDir(t, cfg.Data, backup)
	mustStart(t, cfg, func(a *app.App) {
		if err := logOne(t, a, "after the backup"); err != nil {
			t.Fatal(err)
		}
	})
	restored := cfg
	restored.Data, restored.Accept.Move = backup, true
	mustStart(t, restored, func(a *app.App) {
		if err := logOne(t, a, "a fork"); err == nil {
			t.Fatal("the restored log took an entry")
		}
		status, err := a.Admin().Status(t.Context())
		if err != nil || status.Ready {
			t.Fatalf("it says that it is ready: %+v, %v", status, err)
		}
		if !strings.Contains(services(status), "shut for writing") {
			t.Errorf("it does not say why: %+v", status.Services)
		}
	})
	forgotten := restored // as on the command line of another machine
	forgotten.Flags.Anchor = ""
	mustStart(t, forgotten, func(a *app.App) {
		if err := logOne(t, a, "a fork"); err == nil {
			t.Fatal("the restored log took an entry")
		}
		status, err := a.Admin().Status(t.Context())
		if err != nil || strings.Count(services(status), "had an anchor, and none is set now") != 3 {
			t.Errorf("it does not say why: %+v, %v", status.Services, err)
		}
	})
	restored.Accept.Anchor = true
	mustStart(t, restored, func(a *app.App) {
		if err := logOne(t, a, "a fork, on purpose"); err != nil {
			t.Fatal(err)
		}
	})

	inside := cfg
	inside.Flags.Anchor = filepath.Join(cfg.Data, "anchor")
	if err := startIn(t, inside, nil); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Fatalf("an anchor in the data directory: %v", err)
	}
	link := filepath.Join(top, "link")
	if err := os.Mkdir(inside.Flags.Anchor, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(inside.Flags.Anchor, link); err != nil {
		t.Fatal(err)
	}
	inside.Flags.Anchor = link
	if err := startIn(t, inside, nil); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Fatalf("a link to one in the data directory: %v", err)
	}
	// The data's own name is a link, and the anchor is not there yet.
	named := filepath.Join(top, "named")
	if err := os.Symlink(cfg.Data, named); err != nil {
		t.Fatal(err)
	}
	inside.Data, inside.Flags.Anchor = named, filepath.Join(named, "not", "there")
	if err := startIn(t, inside, nil); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Fatalf("one that will be in the data directory: %v", err)
	}
}

func services(s app.Status) string {
	var b strings.Builder
	for _, s := range s.Services {
		b.WriteString(s.Name + ": " + s.Error + "\n")
	}
	return b.String()
}

// The logs of a stopped instance are checked and repaired.
func TestCheckLogs(t *testing.T) {
	cfg := app.Config{Data: filepath.Join(t.TempDir(), "data")}
	_, err := app.CheckLogs(t.Context(), cfg, app.CheckLogsOptions{})
	if err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Fatalf("expected kind not found, found %v", err)
	}
	mustStart(t, cfg, func(a *app.App) {
		for _, text := range []string{"a", "b", "c"} {
			if err := logOne(t, a, text); err != nil {
				t.Fatal(err)
			}
		}
		_, err := app.CheckLogs(t.Context(), cfg, app.CheckLogsOptions{})
		if err == nil || sigbox.KindOf(err) != sigbox.Conflict {
			t.Fatalf("beside a server: expected kind conflict, found %v", err)
		}
	})
	check := func(o app.CheckLogsOptions, ok bool) {
		t.Helper()
		reports, err := app.CheckLogs(t.Context(), cfg, o)
		if err != nil || len(reports) == 0 {
			t.Fatal(reports, err)
		}
		for _, r := range reports {
			if r.OK() != ok && (!ok && r.Published > 2) {
				t.Fatalf("found %+v", r)
			}
			if looked := r.Signed + r.Hashed; looked != r.Entries && !o.SkipContents || o.SkipContents && looked > 0 {
				t.Fatalf("%s: looked at %d of %d entries", r.Name, looked, r.Entries)
			}
		}
	}
	check(app.CheckLogsOptions{}, true)
	check(app.CheckLogsOptions{SkipContents: true}, true)
	partial := filepath.Join(cfg.Data, "tiles", "rekor2", "tile", "0", "000.p", "4")
	if err := os.WriteFile(partial, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(app.CheckLogsOptions{Log: "rekor2"}, false)
	check(app.CheckLogsOptions{Log: "rekor2", Repair: true}, true)
	check(app.CheckLogsOptions{}, true)
	if _, err := app.CheckLogs(t.Context(), cfg, app.CheckLogsOptions{Log: "none"}); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Fatalf("expected kind not found, found %v", err)
	}
}

// Entries that a log would not have taken are found by what they say, although the
// tree and all rows are as they must be.
func TestCheckLogsContents(t *testing.T) {
	cfg := app.Config{Data: filepath.Join(t.TempDir(), "data")}
	host := ""
	mustStart(t, cfg, func(a *app.App) {
		s, err := a.Admin().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		host = s.LogHostname
	})
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	other := sha256.Sum256([]byte("another artifact"))
	sig, err := key.Sign(rand.Reader, other[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	forged := sigbox.Entry{Digest: sigbox.SHA256.Sum([]byte("artifact")), Signature: sig, PublicKey: der, Details: sigbox.ECDSAP256SHA256}
	v2, err := entry.Leaf(forged)
	if err != nil {
		t.Fatal(err)
	}
	for name, leaf := range map[string][]byte{"rekor2": v2, "rekor1": entry.AppendProposal(nil, forged)} {
		appendTo(t, cfg.Data, name, host, leaf)
		for skip, ok := range map[bool]bool{false: false, true: true} {
			reports, err := app.CheckLogs(t.Context(), cfg, app.CheckLogsOptions{Log: name, SkipContents: skip})
			if err != nil || len(reports) != 1 || reports[0].OK() != ok {
				t.Fatalf("%s: %+v, %v", name, reports, err)
			}
			if r := reports[0]; !ok && (r.Found != 1 || r.Findings[0].What != tlog.FoundContent || r.Findings[0].Derived || r.Signed != r.Entries-1) {
				t.Errorf("%s: %+v %+v", name, r, r.Report)
			}
		}
	}
}

// appendTo adds a leaf to a log of a stopped instance, and its rows, unseen.
func appendTo(t *testing.T, data, name, host string, leaf []byte) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	kv, err := pebble.Open(t.Context(), filepath.Join(data, "db"), pebble.Options{})
	must(err)
	blob, err := dir.Open(filepath.Join(data, "tiles"))
	must(err)
	key, err := keys.Load(filepath.Join(data, "keys", name+".pem"), nil)
	must(err)
	signer, err := note.NewSigner(host, key)
	must(err)
	cfg := rekor.LogConfig(signer)
	if name == "rekor1" {
		cfg, err = rekor1.LogConfig("v1."+host, key)
		must(err)
	}
	cfg.KV, cfg.Blob = store.WithPrefix(kv, name+"/"), store.Sub(blob, name+"/")
	log, err := tlog.Open(t.Context(), cfg)
	must(err)
	body, err := entry.ParseBody(leaf)
	must(err)
	k, err := cfg.KeyOf(leaf)
	must(err)
	_, err = log.Add(t.Context(), tlog.Leaf{Key: k, Data: leaf, Rows: search.Rows(body, nil)})
	must(err)
	must(log.Close(t.Context()))
	must(blob.Close())
	must(kv.Close())
}
