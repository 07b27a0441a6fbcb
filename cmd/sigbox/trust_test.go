package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/remote"
)

// TestUnreachableIsLeftAlone: in a closed network not every verb waits for the
// time-out, and what is built in will do.
func TestUnreachableIsLeftAlone(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	b := newBench(t)
	now := time.Now()
	b.env.now = func() time.Time { return now }
	dir := filepath.Join(t.TempDir(), "cache")
	seed := instance.PublicGoodSeed()
	r := refresher{
		env: b.env, instance: instance.Instance{Name: "acme"}, mark: filepath.Join(dir, unreachableFile),
		client: remote.New(remote.Config{Retries: -1, Now: b.env.now}).TUF(remote.TUFConfig{
			Mirror: server.URL, Root: seed.Root, Dir: dir, Seed: map[string][]byte{remote.TrustedRootTarget: seed.TrustedRoot},
		}),
	}
	for i, step := range []struct {
		wait  time.Duration
		asked int32
	}{{0, 1}, {time.Minute, 1}, {30 * time.Minute, 1}, {30 * time.Minute, 2}, {time.Minute, 2}} {
		now = now.Add(step.wait)
		b.stderr.Reset()
		target, err := r.target(t.Context(), remote.TrustedRootTarget)
		if err != nil || string(target.Data) != string(seed.TrustedRoot) {
			t.Fatalf("step %d: %v", i, err)
		}
		if asked.Load() != step.asked {
			t.Errorf("step %d: asked %d times, want %d", i, asked.Load(), step.asked)
		}
		if told := b.stderr.Len() > 0; told != (i == 0 || i == 3) {
			t.Errorf("step %d: said %q", i, &b.stderr)
		}
	}
	if !strings.Contains(r.env.freshness(remote.Target{}), "built into this program") {
		t.Error(r.env.freshness(remote.Target{}))
	}
}

func TestOfflineNeverAsks(t *testing.T) {
	b := newBench(t)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL) }))
	defer server.Close()
	store, err := b.env.openInstances()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Add(instance.Instance{Name: "acme", URL: server.URL, Mirror: server.URL}, instance.PublicGoodSeed().Root, ""); err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--offline", "--certificate-identity", "a", "--certificate-oidc-issuer", "b", b.file("f", "x")}
	for _, name := range []string{"acme", instance.PublicGood} {
		if status := b.run(append(args, "--instance", name)...); status == exitOK {
			t.Errorf("%s: verified", name)
		}
	}
}

func TestTrustFiles(t *testing.T) {
	b := newBench(t)
	root := b.file("root.json", string(instance.PublicGoodSeed().TrustedRoot))
	config := b.file("config.json", string(instance.PublicGoodSeed().SigningConfig))
	got, err := b.env.loadTrust(t.Context(), trustFlags{trustedRoots: []string{root}, signingConfig: config}, forSigning)
	if err != nil || len(got.roots) != 1 || got.config == nil || got.name != "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := b.env.loadTrust(t.Context(), trustFlags{trustedRoots: []string{config}}, forVerifying); err == nil {
		t.Error("a signing config was taken for a trusted root")
	}
	if _, err := os.Stat(b.vars["SIGBOX_HOME"] + "/instances"); err == nil {
		t.Error("files were given, and the store was touched")
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 0: "just now", time.Minute: "1 minute ago", 90 * time.Minute: "1 hour ago", 47 * time.Hour: "47 hours ago", 72 * time.Hour: "3 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
