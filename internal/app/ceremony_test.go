package app_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/ceremony"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/wire/trust"
)

// roots is where the roots of instances are kept.
type roots struct {
	t    *testing.T
	dir  string
	keys *app.DeskKeys
}

func newRoots(t *testing.T) *roots {
	t.Helper()
	r := &roots{t: t, dir: t.TempDir()}
	r.keys = app.NewDeskKeys(r.dir)
	t.Cleanup(func() {
		if err := r.keys.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err := ceremony.Create(t.Context(), r.dir, ceremony.NewDesk{Keys: []ceremony.Key{{Name: "ca-root"}, {Name: "tsa-root"}, {Name: "tuf-root"}}}, r.keys.Open)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sign answers a request.
func (r *roots) sign(request []byte, now time.Time) []byte {
	r.t.Helper()
	desk, err := ceremony.Open(r.dir, r.keys.Open)
	if err != nil {
		r.t.Fatal(err)
	}
	plan, err := desk.Plan(request, now, ceremony.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	signed, err := plan.Sign(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return signed.Answer
}

// instant is a clock that tests set.
type instant struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (c *instant) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *instant) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func offlineConfig(dir string, clock *instant) app.Config {
	return app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0", URL: "http://127.0.0.1:8080"}, Now: clock.Now}
}

// admin does something with the instance in a directory.
func admin(t *testing.T, cfg app.Config, do func(app.Admin) error) error {
	t.Helper()
	a, err := app.OpenAdmin(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return errors.Join(do(a), a.Close())
}

func requestOf(t *testing.T, cfg app.Config, names ...string) (request []byte) {
	t.Helper()
	if err := admin(t, cfg, func(a app.Admin) (err error) {
		request, err = a.CeremonyRequest(t.Context(), names)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return request
}

func accept(t *testing.T, cfg app.Config, answer []byte) (accepted app.CeremonyAccepted, err error) {
	t.Helper()
	return accepted, admin(t, cfg, func(a app.Admin) (err error) {
		accepted, err = a.CeremonyAccept(t.Context(), answer)
		return err
	})
}

// TestOfflineRoots: an instance whose roots were never here is made, waits for the
// ceremony's answer, serves, and takes the next root and the next keys, whether a server
// runs or not.
func TestOfflineRoots(t *testing.T) {
	desk, clock := newRoots(t), &instant{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	cfg := offlineConfig(filepath.Join(t.TempDir(), "data"), clock)
	if _, err := app.BeginCeremony(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := app.Start(t.Context(), cfg); err == nil || sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), "waits for the answer") {
		t.Fatalf("an instance without its roots: %v", err)
	}
	request := requestOf(t, cfg) // again, with the same keys
	accepted, err := accept(t, cfg, desk.sign(request, clock.now))
	if err != nil || len(accepted.Keys) != 2 || accepted.RootVersion != 1 {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	in := func(c *app.Config) { *c = cfg }
	a := apptest.Start(t, in)
	for _, name := range []string{"ca-root", "tsa-root", "tuf-root"} {
		if _, err := os.Lstat(filepath.Join(cfg.Data, "keys", name+".pem")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is here: %v", name, err)
		}
	}
	first, err := os.ReadFile(a.RootFile())
	if err != nil {
		t.Fatal(err)
	}

	// While it runs: the root's end is told of, and the next one is taken.
	apptest.Stop(t, a)
	clock.pass(120 * 24 * time.Hour)
	a = apptest.Start(t, in)
	if s, err := a.Admin().Status(t.Context()); err != nil || notice(s, "TUF repository") == "" {
		t.Errorf("nothing is said of a root that ends: %+v, %v", s.Services, err)
	}
	accepted, err = accept(t, cfg, desk.sign(requestOf(t, cfg), clock.now))
	if err != nil || accepted.RootVersion != 2 {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	accepted, err = accept(t, cfg, desk.sign(requestOf(t, cfg, "ca"), clock.now))
	if err != nil || len(accepted.Keys) != 1 || accepted.Keys[0] != "ca.2" {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	if s, err := a.Admin().Status(t.Context()); err != nil || notice(s, "TUF repository") != "" {
		t.Errorf("after the new root: %+v, %v", s.Services, err)
	}
	if got := authorities(t, cfg.Data, first, clock); got != 2 {
		t.Errorf("clients trust %d certificate authorities, expected both", got)
	}

	// Another key for TUF's other metadata, while it runs and without a server.
	if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: "tuf"}); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("a key that no root names: %v", err)
	}
	for version := int64(3); version < 5; version++ {
		clock.pass(time.Hour)
		accepted, err = accept(t, cfg, desk.sign(requestOf(t, cfg, "tuf-key"), clock.now))
		if err != nil || accepted.RootVersion != version {
			t.Fatalf("found %+v, %v", accepted, err)
		}
		if version == 3 {
			if got := signingKey(t, a.Admin(), "tuf"); got != "tuf.2" {
				t.Errorf("%s signs", got)
			}
			apptest.Stop(t, a)
		}
	}
	clock.pass(time.Hour)
	a = apptest.Start(t, in)
	authorities(t, cfg.Data, first, clock)
	apptest.Stop(t, a)

	// Without a server.
	clock.pass(time.Hour)
	accepted, err = accept(t, cfg, desk.sign(requestOf(t, cfg, "tuf", "tsa"), clock.now))
	if err != nil || accepted.RootVersion != 5 || len(accepted.Keys) != 1 {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	a = apptest.Start(t, in)
	defer apptest.Stop(t, a)
	if got := authorities(t, cfg.Data, first, clock); got != 2 {
		t.Errorf("clients trust %d certificate authorities, expected both", got)
	}
	handed, err := os.ReadFile(a.RootFile())
	if err != nil || !bytes.Contains(handed, []byte(`"version": 5`)) {
		t.Errorf("the root to hand out is not the newest, %v", err)
	}
}

// signingKey names the key of a role that signs.
func signingKey(t *testing.T, admin app.Admin, role string) string {
	t.Helper()
	all, err := admin.Rotations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		for _, k := range r.Keys {
			if r.Role == role && k.Phase == rotation.Signing {
				return k.Name
			}
		}
	}
	return ""
}

// notice gives what a service has to say.
func notice(s app.Status, name string) string {
	for _, service := range s.Services {
		if service.Name == name {
			return service.Notice
		}
	}
	return ""
}

// authorities counts the CAs that a client trusts which begins at root.
func authorities(t *testing.T, data string, root []byte, clock *instant) int {
	t.Helper()
	mirror, err := remote.FileMirror(filepath.Join(data, "tuf"))
	if err != nil {
		t.Fatal(err)
	}
	repository, err := remote.New(remote.Config{Now: clock.Now}).TUF(remote.TUFConfig{Mirror: mirror, Root: root}).Repository(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := trust.ParseRoot(repository.Targets["trusted_root.json"])
	if err != nil {
		t.Fatal(err)
	}
	return len(trusted.CertificateAuthorities)
}

// TestCeremoniesAtOnce: answers that are taken and requests that are made at the same time
// lose nothing: the answer was taken or is refused, and the last request waits.
func TestCeremoniesAtOnce(t *testing.T) {
	desk, clock := newRoots(t), &instant{now: time.Now().UTC()}
	cfg := offlineConfig(filepath.Join(t.TempDir(), "data"), clock)
	request, err := app.BeginCeremony(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accept(t, cfg, desk.sign(request, clock.Now())); err != nil {
		t.Fatal(err)
	}
	a := apptest.Start(t, func(c *app.Config) { *c = cfg })
	for range 5 {
		clock.pass(time.Second) // requests differ in it
		before, err := a.Admin().CeremonyRequest(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer := desk.sign(before, clock.Now())
		clock.pass(time.Second)
		var group sync.WaitGroup
		var requests [4][]byte
		for i := range requests {
			group.Go(func() {
				var err error
				if requests[i], err = a.Admin().CeremonyRequest(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				if _, err := a.Admin().CeremonyAccept(t.Context(), answer); err != nil && sigbox.KindOf(err) != sigbox.Conflict && sigbox.KindOf(err) != sigbox.NotFound {
					t.Error(err)
				}
			})
		}
		group.Wait()
		waiting := string(readFile(t, filepath.Join(a.Data(), "ceremony.request.json")))
		if !slices.ContainsFunc(requests[:], func(r []byte) bool { return string(r) == waiting }) {
			t.Error("another request waits than those that were made last")
		}
	}
}

// TestCeremonyRefused: what is not the whole and right answer to the last request is not
// taken, and changes nothing.
func TestCeremonyRefused(t *testing.T) {
	desk, other := newRoots(t), newRoots(t)
	clock := &instant{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	cfg := offlineConfig(filepath.Join(t.TempDir(), "data"), clock)
	if _, err := app.BeginCeremony(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	old := other.sign(requestOf(t, cfg), clock.now)
	clock.pass(time.Minute)
	request := requestOf(t, cfg)
	early := newRoots(t).sign(request, clock.now.Add(8*time.Minute))
	for what, tt := range map[string]struct {
		answer []byte
		kind   sigbox.Kind
	}{
		"the answer to another request": {old, sigbox.Conflict},
		"from a clock that is ahead":    {early, sigbox.Invalid},
		"the request itself":            {request, sigbox.Invalid},
		"nothing":                       {nil, sigbox.Invalid},
	} {
		if _, err := accept(t, cfg, tt.answer); err == nil || sigbox.KindOf(err) != tt.kind {
			t.Errorf("%s: expected %v, found %v", what, tt.kind, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(cfg.Data, "certs")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("certificates were taken: %v", err)
	}
	answer := desk.sign(request, clock.now)
	if _, err := accept(t, cfg, answer); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(t, cfg, answer); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("an answer was taken twice: %v", err)
	}

	// A root that clients would not go on to.
	a := apptest.Start(t, func(c *app.Config) { *c = cfg })
	defer apptest.Stop(t, a)
	clock.pass(time.Hour)
	if _, err := a.Admin().CeremonyRequest(t.Context(), []string{"oidc"}); err == nil {
		t.Error("a request for a key that no root signs for")
	}
	d, err := ceremony.Open(other.dir, other.keys.Open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Plan(requestOf(t, cfg), clock.now, ceremony.Options{}); err == nil {
		t.Error("a desk that has nothing to do with the instance would sign its root")
	}

	// An instance with roots of its own is not made into another.
	own := apptest.Start(t)
	if _, err := app.BeginCeremony(t.Context(), offlineConfig(own.Data(), clock)); err == nil || sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("expected Conflict, found %v", err)
	}
}

// TestRootsMoveAway: an instance that was made with its roots goes on without their keys
// when those are brought to a desk, also after the key of TUF's metadata was replaced.
func TestRootsMoveAway(t *testing.T) {
	clock := &instant{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	dir := t.TempDir()
	in := func(c *app.Config) { *c = offlineConfig(dir, clock) }
	a := apptest.Start(t, in)
	if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: "tuf"}); err != nil {
		t.Fatal(err)
	}
	apptest.Stop(t, a)
	away := t.TempDir()
	if err := os.Mkdir(filepath.Join(away, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	var all []ceremony.Key
	for _, name := range []string{"ca-root", "tsa-root", "tuf-root"} {
		if err := os.Rename(filepath.Join(dir, "keys", name+".pem"), filepath.Join(away, "keys", name+".pem")); err != nil {
			t.Fatal(err)
		}
		all = append(all, ceremony.Key{Name: name})
	}
	desk := &roots{t: t, dir: away, keys: app.NewDeskKeys(away)}
	if _, err := ceremony.Create(t.Context(), away, ceremony.NewDesk{Keys: all}, desk.keys.Open); err != nil {
		t.Fatal(err)
	}
	a = apptest.Start(t, in)
	cfg := offlineConfig(dir, clock)
	accepted, err := accept(t, cfg, desk.sign(requestOf(t, cfg), clock.now))
	if err != nil || accepted.RootVersion != 3 {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	apptest.Stop(t, a)
	clock.pass(time.Hour) // and without a server
	accepted, err = accept(t, cfg, desk.sign(requestOf(t, cfg), clock.now))
	if err != nil || accepted.RootVersion != 4 {
		t.Fatalf("found %+v, %v", accepted, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tuf", "4.root.json")); err != nil {
		t.Error(err)
	}
}

// TestDeskKeys: keys of a desk have passphrases of their own, and are where they were put.
func TestDeskKeys(t *testing.T) {
	t.Setenv("ONE", "correct horse")
	t.Setenv("TWO", "battery staple")
	dir := t.TempDir()
	d := app.NewDeskKeys(dir)
	one, two := ceremony.Key{Name: "ca-root", Passphrase: "env:ONE"}, ceremony.Key{Name: "tuf-root", Passphrase: "env:TWO"}
	for _, k := range []ceremony.Key{one, two} {
		if _, err := d.Open(t.Context(), k, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		key ceremony.Key
		ok  bool
	}{
		{one, true}, {two, true}, {ceremony.Key{Name: "ca-root", Passphrase: "env:TWO"}, false}, {ceremony.Key{Name: "ca-root"}, false},
		{ceremony.Key{Name: "tsa-root"}, false}, {ceremony.Key{Name: "ca-root", Place: "nowhere"}, false},
	} {
		key, err := d.Open(t.Context(), tt.key, false)
		if (err == nil) != tt.ok || (key != nil) != tt.ok {
			t.Errorf("%+v: found %v, %v", tt.key, key, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestOldRootRequest: an answer for a key that signs no longer begins no rotation.
func TestOldRootRequest(t *testing.T) {
	clock := &instant{now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	cfg := offlineConfig(t.TempDir(), clock)
	a := apptest.Start(t, func(c *app.Config) { *c = cfg })
	defer apptest.Stop(t, a)
	copies := t.TempDir()
	if err := os.Mkdir(filepath.Join(copies, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copies, "keys", "tuf-root.pem"), readFile(t, filepath.Join(cfg.Data, "keys", "tuf-root.pem")), 0o600); err != nil {
		t.Fatal(err)
	}
	desk := &roots{t: t, dir: copies, keys: app.NewDeskKeys(copies)}
	if _, err := ceremony.Create(t.Context(), copies, ceremony.NewDesk{Keys: []ceremony.Key{{Name: "tuf-root"}}}, desk.keys.Open); err != nil {
		t.Fatal(err)
	}
	request := requestOf(t, cfg, "tuf")
	if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: "tuf"}); err != nil {
		t.Fatal(err)
	}
	if _, err := accept(t, cfg, desk.sign(request, clock.now)); sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("expected Conflict, found %v", err)
	}
	if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: "tuf", Abandon: true}); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("another rotation was begun: %v", err)
	}
}
