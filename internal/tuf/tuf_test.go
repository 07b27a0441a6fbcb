package tuf_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tuf"
)

const day = 24 * time.Hour

// clock is a clock that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC)} }

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newConfig(t testing.TB, c *clock) tuf.Config {
	t.Helper()
	return tuf.Config{Dir: filepath.Join(t.TempDir(), "tuf"), RootKeys: []crypto.Signer{newKey(t)}, OnlineKey: newKey(t), Targets: targets("1"), Now: c.Now}
}

func targets(version string) map[string][]byte {
	return map[string][]byte{"trusted_root.json": []byte(`{"root":` + version + `}`), "signing_config.v0.2.json": []byte(`{}`)}
}

func open(t testing.TB, cfg tuf.Config) *tuf.Repository {
	t.Helper()
	r, err := tuf.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// client follows a repository from root on, as TUF clients do, and gives the
// trusted_root.json that it arrives at and the versions that it saw.
func client(r *tuf.Repository, root []byte, now time.Time) (target []byte, versions [4]int64, err error) {
	set, err := trustedmetadata.New(root)
	if err != nil {
		return nil, versions, err
	}
	set.RefTime = now
	for {
		next, err := r.Get(fmt.Sprintf("%d.root.json", set.Root.Signed.Version+1))
		if err != nil {
			if sigbox.KindOf(err) != sigbox.NotFound {
				return nil, versions, err
			}
			break
		}
		if _, err := set.UpdateRoot(next); err != nil {
			return nil, versions, err
		}
	}
	get := func(format string, args ...any) (b []byte) {
		if err == nil {
			b, err = r.Get(fmt.Sprintf(format, args...))
		}
		return b
	}
	if _, e := set.UpdateTimestamp(get("timestamp.json")); e != nil {
		return nil, versions, errors.Join(err, e)
	}
	if _, e := set.UpdateSnapshot(get("%d.snapshot.json", set.Timestamp.Signed.Meta["snapshot.json"].Version), false); e != nil {
		return nil, versions, errors.Join(err, e)
	}
	if _, e := set.UpdateTargets(get("%d.targets.json", set.Snapshot.Signed.Meta["targets.json"].Version)); e != nil {
		return nil, versions, errors.Join(err, e)
	}
	listed := set.Targets["targets"].Signed
	file := listed.Targets["trusted_root.json"]
	if file == nil {
		return nil, versions, errors.New("no trusted_root.json")
	}
	target = get("targets/%x.trusted_root.json", []byte(file.Hashes["sha256"]))
	if e := file.VerifyLengthHashes(target); e != nil {
		return nil, versions, errors.Join(err, e)
	}
	return target, [4]int64{set.Root.Signed.Version, listed.Version, set.Snapshot.Signed.Version, set.Timestamp.Signed.Version}, err
}

// expect follows the repository and compares target and versions.
func expect(t *testing.T, r *tuf.Repository, root []byte, now time.Time, target string, versions [4]int64) {
	t.Helper()
	got, v, err := client(r, root, now)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != target {
		t.Errorf("expected target %s, found %s", target, got)
	}
	if v != versions {
		t.Errorf("expected versions %v of root, targets, snapshot and timestamp, found %v", versions, v)
	}
}

func TestPublishAndContinue(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	r := open(t, cfg)
	root := r.Root()
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})

	// Opened again, nothing has changed and nothing is written.
	before := listing(t, cfg.Dir)
	r = open(t, cfg)
	if after := listing(t, cfg.Dir); !slices.Equal(before, after) {
		t.Errorf("opening changed files:\n%v\n%v", before, after)
	}
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})

	// Other targets are a new version, also while it runs.
	cfg.Targets = targets("2")
	r = open(t, cfg)
	expect(t, r, root, c.now, `{"root":2}`, [4]int64{1, 2, 2, 2})
	if err := r.SetTargets(targets("3")); err != nil {
		t.Fatal(err)
	}
	expect(t, r, root, c.now, `{"root":3}`, [4]int64{1, 3, 3, 3})
	if err := r.SetTargets(targets("3")); err != nil {
		t.Fatal(err)
	}
	expect(t, r, root, c.now, `{"root":3}`, [4]int64{1, 3, 3, 3})
}

func listing(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, e := os.ReadFile(path)
			sum := sha256.Sum256(b)
			files, err = append(files, strings.TrimPrefix(path, dir)+" "+hex.EncodeToString(sum[:4])), e
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The periods are those of the public-good instance, and end at whole seconds.
func TestPeriods(t *testing.T) {
	c := newClock()
	r := open(t, newConfig(t, c))
	for name, d := range map[string]time.Duration{"1.root.json": 197 * day, "1.targets.json": 3650 * day, "1.snapshot.json": 3650 * day, "timestamp.json": 7 * day} {
		b, err := r.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := `"expires": "` + c.now.Truncate(time.Second).Add(d).Format("2006-01-02T15:04:05Z") + `"`; !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: expected %s in %s", name, want, b)
		}
	}
}

// A machine that was off for long comes back with everything expired.
func TestAfterALongPause(t *testing.T) {
	for _, pause := range []time.Duration{8 * day, 300 * day, 4000 * day} {
		c := newClock()
		cfg := newConfig(t, c)
		r := open(t, cfg)
		root := r.Root()
		c.now = c.now.Add(pause)
		if r.Err() == nil {
			t.Error("expired metadata is not reported")
		}
		r = open(t, cfg)
		if _, _, err := client(r, root, c.now); err != nil {
			t.Errorf("after %v: %v", pause, err)
		}
		if err := r.Err(); err != nil {
			t.Error(err)
		}
	}
}

// Run signs by itself, and goes on after failures.
func TestRun(t *testing.T) {
	cfg := newConfig(t, newClock())
	synctest.Test(t, func(t *testing.T) {
		cfg.Now = nil // the bubble's
		r := open(t, cfg)
		root := r.Root()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(20 * day)
		if _, v, err := client(r, root, time.Now()); err != nil || v[3] < 19 {
			t.Errorf("versions %v, error %v", v, err)
		}
		moved := cfg.Dir + ".away"
		if err := os.Rename(cfg.Dir, moved); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * day)
		if err := r.Err(); err != nil || r.Notice() == nil {
			t.Errorf("a repository that cannot write, and is still good, says %v and %v", err, r.Notice())
		}
		time.Sleep(3 * day)
		if r.Err() == nil {
			t.Error("a repository that has expired says that it is well")
		}
		if err := os.Rename(moved, cfg.Dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(day)
		if err := r.Err(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A crash between any two writes leaves a repository that opens, that clients can
// follow from the first root on, and whose versions never go back.
func TestCrashAtEveryStep(t *testing.T) {
	for _, event := range []string{"new targets", "root due", "new online key", "root signed elsewhere", "root signed elsewhere, new online key"} {
		for step := 0; ; step++ {
			c := newClock()
			cfg := newConfig(t, c)
			r := open(t, cfg)
			root := r.Root()
			old := snapshotOf(t, cfg.Dir)
			switch event {
			case "new targets":
				cfg.Targets = targets("2")
			case "root due":
				c.now = c.now.Add(120 * day)
			case "new online key":
				cfg.OnlineKey = newKey(t)
			}
			open(t, cfg)
			if strings.HasPrefix(event, "root signed elsewhere") {
				rootKey := cfg.RootKeys[0]
				cfg.RootKeys = nil
				r = open(t, cfg)
				var online crypto.Signer
				if strings.HasSuffix(event, "new online key") {
					online = newKey(t)
					cfg.Others = []crypto.Signer{online}
				}
				next := signedElsewhere(t, r.Root(), only(t, rootKey), cmp.Or(online, cfg.OnlineKey), c.now.Add(300*day), rootKey)
				if err := r.Accept(next, online); err != nil {
					t.Fatal(err)
				}
			}
			written := order(t, old, snapshotOf(t, cfg.Dir))
			if step > len(written) {
				break
			}
			// As if only the first step files had been written.
			dir := filepath.Join(t.TempDir(), "tuf")
			restore(t, dir, old)
			for _, name := range written[:step] {
				copyFile(t, filepath.Join(cfg.Dir, name), filepath.Join(dir, name))
			}
			cfg.Dir = dir
			r, err := tuf.Open(cfg)
			if err != nil {
				t.Fatalf("%s, after %d of %v: %v", event, step, written, err)
			}
			if _, v, err := client(r, root, c.now); err != nil || step > 0 && v[0] < 2 && v[3] < 2 {
				t.Errorf("%s, after %d of %v: versions %v, error %v", event, step, written, v, err)
			}
			open(t, cfg)
		}
	}
}

// A crash during the very first start.
func TestCrashAtFirstStart(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	open(t, cfg)
	files := order(t, nil, snapshotOf(t, cfg.Dir))
	for step := range len(files) {
		again := cfg
		again.Dir = filepath.Join(t.TempDir(), "tuf")
		restore(t, again.Dir, nil)
		for _, name := range files[:step] {
			copyFile(t, filepath.Join(cfg.Dir, name), filepath.Join(again.Dir, name))
		}
		r, err := tuf.Open(again)
		if err != nil {
			t.Fatalf("after %v: %v", files[:step], err)
		}
		if _, _, err := client(r, r.Root(), c.now); err != nil {
			t.Errorf("after %v: %v", files[:step], err)
		}
	}
}

// order gives the files that differ, in the order in which they are written.
func order(t *testing.T, old, now map[string]string) (names []string) {
	t.Helper()
	for name, data := range now {
		if old[name] != data {
			names = append(names, name)
		}
	}
	rank := func(name string) int {
		for i, part := range []string{".root.json", "targets/", ".targets.json", ".snapshot.json", "timestamp.json"} {
			if strings.Contains(name, part) {
				return i
			}
		}
		t.Fatal("unexpected file ", name)
		return 0
	}
	slices.SortFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, line := range listing(t, dir) {
		name, _, _ := strings.Cut(line, " ")
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.ToSlash(name)] = string(b)
	}
	return all
}

func restore(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "targets"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What a crash cannot leave behind is not repaired in silence: a repository that
// begins anew would be refused by every client as a rollback.
func TestDamageIsFatal(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	open(t, cfg)
	cfg.Targets = targets("2")
	open(t, cfg)
	good := snapshotOf(t, cfg.Dir)
	for name := range good {
		if strings.HasPrefix(name, "/1.") && name != "/1.root.json" || strings.Contains(name, targetHash("1")) {
			continue // no longer published
		}
		for what, data := range map[string]string{"missing": "", "empty": " ", "cut": good[name][:len(good[name])/2], "changed": strings.Replace(good[name], "2", "3", 1)} {
			t.Run(name+" "+what, func(t *testing.T) {
				if data == good[name] {
					t.Skip("no such change")
				}
				bad := cfg
				bad.Dir = filepath.Join(t.TempDir(), "tuf")
				restore(t, bad.Dir, good)
				path := filepath.Join(bad.Dir, name)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if data != "" {
					if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				_, err := tuf.Open(bad)
				if err == nil || sigbox.KindOf(err) != sigbox.Fatal {
					t.Errorf("expected a fatal error, found %v", err)
				}
			})
		}
	}
}

func targetHash(version string) string {
	sum := sha256.Sum256(targets(version)["trusted_root.json"])
	return hex.EncodeToString(sum[:])
}

func TestKeys(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg.RootKeys, cfg.OnlineKey = []crypto.Signer{ed}, ed
	r := open(t, cfg)
	root := r.Root()
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})

	// Another online key is named by a new root, and signs everything again.
	cfg.OnlineKey = newKey(t)
	r = open(t, cfg)
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{2, 2, 2, 2})

	// Without the root key all goes on, but another online key cannot be named.
	offline := cfg
	offline.RootKeys = nil
	c.now = c.now.Add(120 * day)
	r = open(t, offline)
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{2, 2, 2, 3})
	offline.OnlineKey = newKey(t)
	if _, err := tuf.Open(offline); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected Invalid, found %v", err)
	}

	// A root key that the root does not name is refused at once.
	other := cfg
	other.RootKeys = []crypto.Signer{newKey(t)}
	if _, err := tuf.Open(other); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected Invalid, found %v", err)
	}

	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []crypto.Signer{nil, p384} {
		cfg := newConfig(t, c)
		cfg.OnlineKey = bad
		if _, err := tuf.Open(cfg); err == nil {
			t.Errorf("key %T was accepted", bad)
		}
	}
	cfg = newConfig(t, c)
	cfg.RootKeys = nil
	if _, err := tuf.Open(cfg); err == nil {
		t.Error("a repository began without a root key")
	}
}

// awayKey is a key that is kept elsewhere, and cannot be asked while it is away.
type awayKey struct {
	crypto.Signer
	away bool
}

func (k *awayKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.away {
		return nil, sigbox.Errorf(sigbox.Unavailable, "the key is away")
	}
	return k.Signer.Sign(random, digest, opts)
}

// TestKeysThatAreAway: what was published is served while a key cannot be asked, also
// after a start, and what is due or new follows when it is back. The root's key keeps
// nothing else from being signed.
func TestKeysThatAreAway(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	online, rootKey := &awayKey{Signer: cfg.OnlineKey}, &awayKey{Signer: cfg.RootKeys[0]}
	cfg.OnlineKey, cfg.RootKeys = online, []crypto.Signer{rootKey}
	fresh := cfg
	fresh.Dir = filepath.Join(t.TempDir(), "tuf")
	online.away = true
	if _, err := tuf.Open(fresh); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("a repository without anything: found %v", err)
	}
	online.away = false
	root := open(t, cfg).Root()

	online.away = true
	c.now = c.now.Add(2 * day)
	cfg.Targets = targets("2")
	r := open(t, cfg)
	expect(t, r, root, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})
	if err := r.Renew(); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v", err)
	}
	online.away = false
	if err := r.Renew(); err != nil {
		t.Fatal(err)
	}
	expect(t, r, root, c.now, `{"root":2}`, [4]int64{1, 2, 2, 2})

	rootKey.away = true
	c.now = c.now.Add(110 * day) // half of the root's time is over
	r = open(t, cfg)
	expect(t, r, root, c.now, `{"root":2}`, [4]int64{1, 2, 2, 3})
	rootKey.away = false
	if err := r.Renew(); err != nil {
		t.Fatal(err)
	}
	expect(t, r, root, c.now, `{"root":2}`, [4]int64{2, 2, 2, 3})
}

// sigstore GHSA-fcv2-xgw5-pqxf, go-tuf GHSA-jqc5-w2xx-5vq4: names of targets that
// are paths. None is published, and none is found.
func TestGHSAfcv2Paths(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	r := open(t, cfg)
	for _, name := range []string{"", "..", "../x", "a/b", ".hidden", "a b", "a%2fb", `a\b`, strings.Repeat("a", 200), "ü"} {
		if err := r.SetTargets(map[string][]byte{name: nil}); err == nil {
			t.Errorf("%q was published", name)
		}
	}
	secret := filepath.Join(filepath.Dir(cfg.Dir), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../secret", "targets/../../secret", secret, "./timestamp.json", "targets", "2.root.json", "0.root.json", "01.root.json"} {
		if _, err := r.Get(name); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%q: expected NotFound, found %v", name, err)
		}
	}
	expect(t, r, r.Root(), c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})
}

// A directory that cannot be written leaves what is published as it is.
func TestWriteFails(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	r := open(t, cfg)
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := r.SetTargets(targets("2")); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Fatalf("expected Unavailable, found %v", err)
	}
	expect(t, r, r.Root(), c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})
}
