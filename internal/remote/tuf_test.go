package remote

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tuf"
)

const tufDay = 24 * time.Hour

// tufRepo is a repository made by hand, so that it can misbehave.
type tufRepo struct {
	t     testing.TB
	key   ed25519.PrivateKey
	keyID string

	mu     sync.Mutex
	now    time.Time         // of everybody's clock
	files  map[string][]byte // what is served
	asked  []string          // what was asked for
	status int               // instead of an answer, when not 0
}

type object = map[string]any

func newTUFRepo(t testing.TB) *tufRepo {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &tufRepo{t: t, key: key, now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC), files: map[string][]byte{}}
	id := sha256.Sum256(r.canonical(r.publicKey()))
	r.keyID = hex.EncodeToString(id[:])
	r.put("1.root.json", r.sign(r.root(1)))
	r.publish(1, "one")
	return r
}

func (r *tufRepo) canonical(v any) []byte {
	b, err := cjson.EncodeCanonical(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *tufRepo) publicKey() object {
	return object{"keytype": "ed25519", "scheme": "ed25519", "keyval": object{"public": hex.EncodeToString(r.key.Public().(ed25519.PublicKey))}}
}

// sign wraps signed into metadata.
func (r *tufRepo) sign(signed object) []byte {
	sig := object{"keyid": r.keyID, "sig": hex.EncodeToString(ed25519.Sign(r.key, r.canonical(signed)))}
	b, err := json.Marshal(object{"signed": signed, "signatures": []any{sig}})
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *tufRepo) signed(role string, version int, more object) object {
	o := object{"_type": role, "spec_version": "1.0.31", "version": version, "expires": r.now.Add(7 * tufDay).Format(time.RFC3339)}
	maps.Copy(o, more)
	return o
}

func (r *tufRepo) root(version int) object {
	role := func() object { return object{"keyids": []string{r.keyID}, "threshold": 1} }
	return r.signed("root", version, object{
		"consistent_snapshot": true, "keys": object{r.keyID: r.publicKey()},
		"roles": object{"root": role(), "targets": role(), "snapshot": role(), "timestamp": role()},
	})
}

// publish makes a version of everything but the root, with one target.
func (r *tufRepo) publish(version int, content string) {
	sum := sha256.Sum256([]byte(content))
	hash := hex.EncodeToString(sum[:])
	targets := r.signed("targets", version, object{"targets": object{TrustedRootTarget: object{"length": len(content), "hashes": object{"sha256": hash}}}})
	r.put("targets/"+hash+"."+TrustedRootTarget, []byte(content))
	r.publishTargets(version, targets)
}

func (r *tufRepo) publishTargets(version int, targets object) {
	r.put(fmt.Sprintf("%d.targets.json", version), r.sign(targets))
	r.put(fmt.Sprintf("%d.snapshot.json", version), r.sign(r.signed("snapshot", version, object{"meta": object{"targets.json": object{"version": version}}})))
	r.put("timestamp.json", r.sign(r.signed("timestamp", version, object{"meta": object{"snapshot.json": object{"version": version}}})))
}

func (r *tufRepo) put(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = data
}

func (r *tufRepo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimPrefix(req.URL.Path, "/tuf/")
	r.asked = append(r.asked, name)
	data, ok := r.files[name]
	switch {
	case r.status != 0:
		w.WriteHeader(r.status)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(data)
	}
}

// requests gives what was asked for since the last call.
func (r *tufRepo) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

func (r *tufRepo) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *tufRepo) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *tufRepo) fail(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// follow makes a client with a cache of its own.
func (r *tufRepo) follow(dir string) *TUFClient {
	server := httptest.NewServer(r)
	r.t.Cleanup(server.Close)
	c := New(Config{Now: r.clock, Retries: -1})
	return c.TUF(TUFConfig{Mirror: server.URL + "/tuf/", Root: r.files["1.root.json"], Dir: dir})
}

func wantTarget(t *testing.T, got Target, err error, content string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Data) != content {
		t.Errorf("expected target %q, found %q", content, got.Data)
	}
}

func TestTUFTarget(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(filepath.Join(t.TempDir(), "a", "b"))
	_, err := c.Cached(TrustedRootTarget)
	wantError(t, err, sigbox.NotFound)
	got, err := c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if want := r.clock().Add(7 * tufDay); !got.Expires.Equal(want) || !got.Refreshed.Equal(r.clock()) || got.Expired || got.Offline != nil {
		t.Errorf("unexpected target %+v", got)
	}
	if n := len(r.requests()); n != 5 {
		t.Errorf("expected 5 requests, found %d", n)
	}
	_, err = c.Target(t.Context(), SigningConfigTarget)
	wantError(t, err, sigbox.NotFound)

	// Within a day nothing is asked; after it the timestamp, and only what is new.
	r.pass(23 * time.Hour)
	r.publish(2, "two")
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if asked := r.requests(); len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
	r.pass(2 * time.Hour)
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "two")
	r.requests()
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked := fmt.Sprint(r.requests()); asked != "[2.root.json timestamp.json]" {
		t.Errorf("asked for %v", asked)
	}
}

// Without a network the cache will do until its metadata expires; then only who
// asks for it gets it, and is told.
func TestTUFOffline(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(t.TempDir())
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.fail(http.StatusBadGateway)
	r.pass(2 * tufDay)
	got, err := c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if got.Offline == nil || got.Expired {
		t.Errorf("unexpected target %+v", got)
	}
	r.pass(6 * tufDay)
	_, err = c.Target(t.Context(), TrustedRootTarget)
	wantError(t, err, sigbox.Unavailable)
	got, err = c.Cached(TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if !got.Expired {
		t.Error("an expired target is not called expired")
	}
	// A clock that went back does not make an old cache young.
	r.fail(0)
	r.now = r.now.Add(-30 * tufDay)
	r.requests()
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if len(r.requests()) == 0 {
		t.Error("a refresh from the future was relied on")
	}
}

func TestTUFSeed(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(t.TempDir())
	c.cfg.Seed = map[string][]byte{TrustedRootTarget: []byte("seed")}
	got, err := c.Cached(TrustedRootTarget)
	wantTarget(t, got, err, "seed")
	r.fail(http.StatusServiceUnavailable)
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "seed")
	if got.Offline == nil {
		t.Error("nobody is told that the repository could not be reached")
	}
	r.fail(0)
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	// A seed that is current is not asked for.
	c = r.follow(t.TempDir())
	c.cfg.Seed = map[string][]byte{TrustedRootTarget: []byte("one")}
	r.requests()
	got, err = c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
	if n := len(r.requests()); n != 4 {
		t.Errorf("expected 4 requests, found %d", n)
	}
}

// TestTUFReadOnly: where nothing can be written, what is here has to do.
func TestTUFReadOnly(t *testing.T) {
	r := newTUFRepo(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := r.follow(filepath.Join(file, "dir"))
	if _, err := c.Target(t.Context(), TrustedRootTarget); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v, expected the directory to be out of reach", err)
	}
	c.cfg.Seed = map[string][]byte{TrustedRootTarget: []byte("seed")}
	got, err := c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "seed")
	if got.Offline == nil {
		t.Error("nobody is told that the cache cannot be written")
	}
}

// Roots are walked over one by one, and another trusted root begins anew.
func TestTUFRoots(t *testing.T) {
	r := newTUFRepo(t)
	dir := t.TempDir()
	c := r.follow(dir)
	for v := 2; v <= 4; v++ {
		r.put(fmt.Sprintf("%d.root.json", v), r.sign(r.root(v)))
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.requests()
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked := r.requests(); asked[0] != "5.root.json" {
		t.Errorf("the newest root was not kept: %v", asked)
	}
	other := newTUFRepo(t)
	c = other.follow(dir)
	_, err := c.Cached(TrustedRootTarget)
	wantError(t, err, sigbox.NotFound)
	got, err := c.Target(t.Context(), TrustedRootTarget)
	wantTarget(t, got, err, "one")
}

// A repository may rotate the keys of the timestamp and begin its versions anew.
func TestTUFFastForwardRecovery(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(t.TempDir())
	r.publish(1000, "hijacked")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := newTUFRepo(t)
	root := r.root(2)
	root["keys"] = object{r.keyID: r.publicKey(), next.keyID: next.publicKey()}
	for _, role := range []string{"targets", "snapshot", "timestamp"} {
		root["roles"].(object)[role] = object{"keyids": []string{next.keyID}, "threshold": 1}
	}
	r.put("2.root.json", r.sign(root))
	r.key, r.keyID = next.key, next.keyID
	r.publish(2, "recovered")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := c.Cached(TrustedRootTarget)
	wantTarget(t, got, err, "recovered")
}

// second publishes a second version.
func second(r *tufRepo) { r.publish(2, "two") }

// edit is a second version of which one file is changed, and signed again.
func edit(name string, change func(object)) func(*tufRepo) {
	return func(r *tufRepo) {
		second(r)
		var m struct{ Signed object }
		if err := json.Unmarshal(r.files[name], &m); err != nil {
			r.t.Fatal(err)
		}
		change(m.Signed)
		r.put(name, r.sign(m.Signed))
	}
}

// nextRoot is a second root that is changed before it is signed.
func nextRoot(change func(object)) func(*tufRepo) {
	return func(r *tufRepo) {
		o := r.root(2)
		change(o)
		r.put("2.root.json", r.sign(o))
	}
}

// roleOf gives a role of a root.
func roleOf(o object, name string) object { return o["roles"].(object)[name].(object) }

// What a repository must not say. After each, the cache is what it was.
func TestTUFRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		misbehave func(*tufRepo)
		kind      sigbox.Kind
	}{
		"a threshold beyond the keys": {nextRoot(func(o object) { roleOf(o, "timestamp")["threshold"] = 2 }), sigbox.NotVerified},
		"a member twice": {func(r *tufRepo) {
			second(r)
			r.put("timestamp.json", []byte(strings.Replace(string(r.files["timestamp.json"]), `"version":2`, `"version":2,"version":3`, 1)))
		}, sigbox.NotVerified},
		"a root of another number":                     {func(r *tufRepo) { r.put("2.root.json", r.sign(r.root(3))) }, sigbox.NotVerified},
		"a root that the one before did not sign":      {func(r *tufRepo) { o := newTUFRepo(r.t); r.put("2.root.json", o.sign(o.root(2))) }, sigbox.NotVerified},
		"a timestamp that the root's key did not sign": {func(r *tufRepo) { r.put("timestamp.json", newTUFRepo(r.t).files["timestamp.json"]) }, sigbox.NotVerified},
		"one role in the place of another":             {func(r *tufRepo) { second(r); r.put("timestamp.json", r.files["2.snapshot.json"]) }, sigbox.NotVerified},
		"an expired timestamp":                         {edit("timestamp.json", func(o object) { o["expires"] = "2026-05-06T07:08:08Z" }), sigbox.NotVerified},
		"an expired snapshot":                          {edit("2.snapshot.json", func(o object) { o["expires"] = "2026-05-06T07:08:08Z" }), sigbox.NotVerified},
		"expired targets":                              {edit("2.targets.json", func(o object) { o["expires"] = "2026-05-06T07:08:08Z" }), sigbox.NotVerified},
		"an expired root":                              {nextRoot(func(o object) { o["expires"] = "2026-05-06T07:08:08Z" }), sigbox.NotVerified},
		"a target that is not what it should be":       {func(r *tufRepo) { second(r); replaceTarget(r, "two", "owt") }, sigbox.NotVerified},
		"a target that is longer than it should be":    {func(r *tufRepo) { second(r); replaceTarget(r, "two", "two, and more") }, sigbox.TooLarge},
		"a target that claims to be huge":              {edit("2.targets.json", func(o object) { o["targets"].(object)[TrustedRootTarget].(object)["length"] = 1 << 40 }), sigbox.TooLarge},
		"an endless timestamp":                         {func(r *tufRepo) { r.put("timestamp.json", make([]byte, 1<<20)) }, sigbox.TooLarge},
		"an endless root":                              {func(r *tufRepo) { r.put("2.root.json", make([]byte, 1<<20)) }, sigbox.TooLarge},
		"a snapshot that is missing":                   {func(r *tufRepo) { second(r); delete(r.files, "2.snapshot.json") }, sigbox.Unavailable},
		"another site":                                 {func(r *tufRepo) { clear(r.files) }, sigbox.Unavailable},
		"403 where 404 belongs":                        {func(r *tufRepo) { r.fail(http.StatusForbidden) }, sigbox.Denied},
	} {
		t.Run(name, func(t *testing.T) { newTUFRepo(t).misbehaves(c.misbehave, c.kind) })
	}
}

// misbehaves wants the repository to be refused that was good before, and the cache
// to be what it was.
func (r *tufRepo) misbehaves(misbehave func(*tufRepo), kind sigbox.Kind) {
	r.t.Helper()
	client := r.follow(r.t.TempDir())
	if err := client.Refresh(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(client.cfg.Dir, cacheFile))
	if err != nil {
		r.t.Fatal(err)
	}
	misbehave(r)
	wantError(r.t, client.Refresh(r.t.Context()), kind)
	after, err := os.ReadFile(filepath.Join(client.cfg.Dir, cacheFile))
	if err != nil || string(after) != string(before) {
		r.t.Error("the cache has changed", err)
	}
}

func replaceTarget(r *tufRepo, content, with string) {
	sum := sha256.Sum256([]byte(content))
	r.put("targets/"+hex.EncodeToString(sum[:])+"."+TrustedRootTarget, []byte(with))
}

// A walk over roots that does not end is ended.
func TestTUFBoundsRoots(t *testing.T) {
	r := newTUFRepo(t)
	for v := 2; v <= maxTUFRoots+1; v++ {
		r.put(fmt.Sprintf("%d.root.json", v), r.sign(r.root(v)))
	}
	wantError(t, r.follow(t.TempDir()).Refresh(t.Context()), sigbox.TooLarge)
}

// sigstore GHSA-fcv2-xgw5-pqxf: names of targets that are paths wrote outside the
// cache.
func TestGHSA_fcv2_xgw5_pqxf(t *testing.T) {
	refusedTargets(t, "../x", "a/../../x", "/etc/x", `..\x`, "", ".", "..")
}

// go-tuf GHSA-jqc5-w2xx-5vq4: the same, by names that become paths on the way.
func TestGHSA_jqc5_w2xx_5vq4(t *testing.T) {
	refusedTargets(t, "a/b", `a\b`, "%2e%2e", "x?y", "x\x00", "c:x", "a..b", strings.Repeat("x", 200))
}

func refusedTargets(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		r := newTUFRepo(t)
		sum := sha256.Sum256(nil)
		r.publishTargets(1, r.signed("targets", 1, object{"targets": object{name: object{"length": 0, "hashes": object{"sha256": hex.EncodeToString(sum[:])}}}}))
		c := r.follow(filepath.Join(t.TempDir(), "cache"))
		c.cfg.Targets = []string{name}
		wantError(t, c.Refresh(t.Context()), sigbox.Invalid)
		files, err := os.ReadDir(filepath.Dir(c.cfg.Dir))
		if err != nil || len(files) != 1 {
			t.Errorf("%q: %v %v", name, files, err)
		}
		// Names that nobody asked for are of no consequence.
		c = r.follow(t.TempDir())
		if err := c.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// go-tuf GHSA-4f8r-qqr9-fq8j: delegations were followed in the wrong order. Here
// they are not followed: the top-level role alone speaks for the trust root.
func TestGHSA_4f8r_qqr9_fq8j(t *testing.T) {
	r := newTUFRepo(t)
	r.publishTargets(1, r.signed("targets", 1, object{"targets": object{}, "delegations": object{
		"keys":  object{r.keyID: r.publicKey()},
		"roles": []any{object{"name": "evil", "keyids": []string{r.keyID}, "threshold": 1, "terminating": true, "paths": []string{"*"}}},
	}}))
	c := r.follow(t.TempDir())
	_, err := c.Target(t.Context(), TrustedRootTarget)
	wantError(t, err, sigbox.NotFound)
	for _, name := range r.requests() {
		if strings.Contains(name, "evil") {
			t.Error("asked for", name)
		}
	}
}

func TestTUFDamagedCache(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(t.TempDir())
	for _, damage := range []string{"", "x", "{}", "null", `{"pinned":"x"}`} {
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.cfg.Dir, cacheFile), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := c.Target(t.Context(), TrustedRootTarget)
		wantTarget(t, got, err, "one")
	}
}

// TestTUFNoSilentRollback: the seed does not take the place of a newer cache that
// cannot be read.
func TestTUFNoSilentRollback(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(path string) error
		kind  sigbox.Kind
		heals bool // by a refresh
	}{
		"damaged":    {func(path string) error { return os.WriteFile(path, []byte(`{"pinned":`), 0o600) }, sigbox.Unavailable, true},
		"empty":      {func(path string) error { return os.Truncate(path, 0) }, sigbox.Unavailable, true},
		"huge":       {func(path string) error { return os.Truncate(path, maxCache+1) }, sigbox.Unavailable, true},
		"unreadable": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, sigbox.Internal, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newTUFRepo(t)
			c := r.follow(t.TempDir())
			c.cfg.Seed = map[string][]byte{TrustedRootTarget: []byte("seed")}
			if err := c.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(filepath.Join(c.cfg.Dir, cacheFile)); err != nil {
				t.Fatal(err)
			}
			_, err := c.Cached(TrustedRootTarget)
			wantError(t, err, tt.kind, "the trust data of", "remove")
			r.fail(http.StatusServiceUnavailable)
			_, err = c.Target(t.Context(), TrustedRootTarget)
			wantError(t, err, tt.kind, "the trust data of")
			r.fail(0)
			got, err := c.Target(t.Context(), TrustedRootTarget)
			if tt.heals {
				wantTarget(t, got, err, "one")
				return
			}
			wantError(t, err, tt.kind, "the trust data of")
		})
	}
}

// Many processes at once, while the repository moves on: none sees half a state.
func TestTUFSharedCache(t *testing.T) {
	r := newTUFRepo(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		c := r.follow(dir)
		c.cfg.MaxAge = -1
		wg.Go(func() {
			for range 5 {
				got, err := c.Target(t.Context(), TrustedRootTarget)
				if err != nil {
					t.Error(err)
				} else if !strings.HasPrefix(string(got.Data), "state ") && string(got.Data) != "one" {
					t.Errorf("half a state: %q", got.Data)
				}
			}
		})
	}
	for v := 2; v < 12; v++ {
		r.publish(v, fmt.Sprint("state ", v))
	}
	wg.Wait()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("expected cache and lock, found %v, %v", files, err)
	}
}

func TestTUFLockIsWaitedFor(t *testing.T) {
	r := newTUFRepo(t)
	c := r.follow(t.TempDir())
	unlock, err := lock(t.Context(), filepath.Join(c.cfg.Dir, lockFile), sleep)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.client.sleep = func(context.Context, time.Duration) error { cancel(); return ctx.Err() }
	wantError(t, c.Refresh(ctx), sigbox.Unavailable)
	unlock()
	if err := c.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// The client follows the repository of an instance through its life.
func TestTUFOfAnInstance(t *testing.T) {
	r := newTUFRepo(t)
	cfg := tuf.Config{Dir: t.TempDir(), RootKeys: []crypto.Signer{r.key}, OnlineKey: r.key, Now: r.clock, Targets: map[string][]byte{TrustedRootTarget: []byte("one"), SigningConfigTarget: []byte("config")}}
	repo, err := tuf.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.StripPrefix("/tuf/", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := repo.Get(req.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(b)
	})))
	defer server.Close()
	c := New(Config{Now: r.clock}).TUF(TUFConfig{Mirror: server.URL + "/tuf", Root: repo.Root(), Dir: t.TempDir()})
	for year := range 3 {
		want := fmt.Sprint("year ", year)
		if err := repo.SetTargets(map[string][]byte{TrustedRootTarget: []byte(want)}); err != nil {
			t.Fatal(err)
		}
		got, err := c.Target(t.Context(), TrustedRootTarget)
		wantTarget(t, got, err, want)
		for range 12 {
			r.pass(30 * tufDay)
			if err := repo.Renew(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Whatever the shape check lets through does not bring the library down.
func FuzzTUFRoot(f *testing.F) {
	r := newTUFRepo(f)
	for _, name := range []string{"1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"} {
		f.Add(r.files[name])
	}
	f.Add([]byte(`{"signatures":[{"keyid":"a","sig":"00"}],"signed":{"_type":"root","version":1,"expires":"2026-05-06T07:08:09Z","keys":{"a":{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp256","keyval":{"public":"-----BEGIN PUBLIC KEY-----"}}},"roles":{"root":{"keyids":["a"],"threshold":1},"targets":{"keyids":["a"],"threshold":1},"snapshot":{"keyids":["a"],"threshold":1},"timestamp":{"keyids":["a"],"threshold":1}}}}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		for _, role := range []string{"timestamp", "snapshot", "targets"} {
			_ = checkTUF(b, role)
		}
		if checkTUF(b, "root") == nil {
			_, _ = trustedmetadata.New(b)
		}
	})
}
