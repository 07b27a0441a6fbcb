package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/rotation"
)

// counted is an instance behind a proxy that counts how often its trust is asked for.
type counted struct {
	*app.App
	url   string
	asked atomic.Int32
	away  atomic.Bool
}

func newCounted(t *testing.T) *counted {
	t.Helper()
	c := &counted{App: apptest.Start(t)}
	target, err := url.Parse(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/timestamp.json") {
			c.asked.Add(1)
		}
		if c.away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// client is a person who trusts the instance, and has the trust root as it is now.
func (c *counted) client(t *testing.T, clock *atomic.Int64) *bench {
	t.Helper()
	b := newBench(t)
	b.env.now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	b.must("instance", "add", "box", c.url, "--root", c.RootFile(), "--yes")
	return b
}

func (c *counted) signed(t *testing.T, b *bench, name string) string {
	t.Helper()
	file := b.file(name, name)
	b.must("sign", "--instance", "box", "--identity-token", apptest.Token(t, c.App, "ada@example.com"), file)
	return file
}

func (c *counted) verify(more ...string) []string {
	return append([]string{"verify", "--certificate-identity", "ada@example.com", "--certificate-oidc-issuer", c.URL() + "/oidc"}, more...)
}

// TestRenewal: whoever has the trust root of a while ago signs and verifies with keys that
// began to sign since, asking for the newer one once.
func TestRenewal(t *testing.T) {
	c := newCounted(t)
	var clock atomic.Int64
	signer, verifier := c.client(t, &clock), c.client(t, &clock)
	zero := rotation.Span(0)
	for name, request := range map[string]app.RotateRequest{
		"stolen-ca": {Role: "ca", Compromised: true}, "stolen-tsa": {Role: "tsa", Compromised: true},
		"log": {Role: "rekor2", SwitchAfter: &zero}, "ct": {Role: "ctlog", SwitchAfter: &zero},
	} {
		clock.Add(int64(2 * renewalPause))
		if _, err := c.Admin().Rotate(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		before := c.asked.Load()
		file := c.signed(t, signer, name)
		again := c.signed(t, signer, name+" again")
		verifier.must(c.verify("--instance", "box", file, again)...)
		if n := c.asked.Load() - before; n != 2 {
			t.Errorf("%s: signer and verifier asked %d times", name, n)
		}
	}
}

// TestRenewalRefuses: what strangers have signed is refused as before, and asked for once
// in a while, never for a trust root that is pinned nor offline.
func TestRenewalRefuses(t *testing.T) {
	c, stranger := newCounted(t), newCounted(t)
	var clock atomic.Int64
	b := c.client(t, &clock)
	other := stranger.client(t, &clock)
	var files []string
	for _, name := range []string{"one", "two", "three"} {
		files = append(files, stranger.signed(t, other, name))
	}
	pinned := filepath.Join(t.TempDir(), "trusted_root.json")
	b.must("trust", "export", "--instance", "box", "--out", filepath.Dir(pinned))
	if _, err := os.Stat(pinned); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what  string
		wait  time.Duration
		away  bool
		args  []string
		says  string
		asked int32
	}{
		{"at first", 0, false, []string{"--instance", "box"}, "the newest one, of just now, does not list it either", 1},
		{"again", renewalPause / 2, false, []string{"--instance", "box"}, "a newer one was asked for a short while ago", 0},
		{"offline", renewalPause, false, []string{"--instance", "box", "--offline"}, "--offline: a newer one may", 0},
		{"pinned", renewalPause, false, []string{"--trusted-root", pinned}, "does not list", 0},
		{"later", renewalPause, false, []string{"--instance", "box"}, "the newest one, of just now, does not list it either", 1},
		{"away", 2 * renewalPause, true, []string{"--instance", "box"}, "a newer one could not be fetched", 0},
		{"away, again", 2 * renewalPause, true, []string{"--instance", "box"}, "its repository could not be reached a short while ago", 0},
	} {
		clock.Add(int64(step.wait))
		c.away.Store(step.away)
		before := c.asked.Load()
		args := append(stranger.verify(files...), step.args...)
		if status := b.run(args...); status != exitNotVerified {
			t.Errorf("%s: status %d: %s", step.what, status, &b.stderr)
		}
		if out := b.stdout.String() + b.stderr.String(); !strings.Contains(out, step.says) {
			t.Errorf("%s: expected %q, found:\n%s", step.what, step.says, out)
		}
		if n := c.asked.Load() - before; n != step.asked {
			t.Errorf("%s: asked %d times, expected %d", step.what, n, step.asked)
		}
	}
	b.env.stdin = strings.NewReader("one")
	if status := b.run(stranger.verify("--instance", "box", "--bundle", files[0]+".sigstore.json", "-")...); status != exitNotVerified {
		t.Errorf("standard input: status %d: %s", status, &b.stderr)
	}
	if out := b.stdout.String() + b.stderr.String(); !strings.Contains(out, "sigbox instance refresh box fetches it") {
		t.Errorf("standard input: found:\n%s", out)
	}
}
