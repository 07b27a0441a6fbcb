package app_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/limit"
	"github.com/sigbox/sigbox/wire/trust"
)

// freePort is an address that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestListeners: what has an address of its own is served there alone, and clients are
// told so.
func TestListeners(t *testing.T) {
	inside, authority := freePort(t), freePort(t)
	a := apptest.Start(t, func(c *app.Config) {
		c.Flags.Listeners = []app.Listener{
			{Address: inside, Roles: []app.Role{app.RoleMetrics, app.RoleHealth}},
			{Address: authority, Roles: []app.Role{app.RoleCA, app.RoleTSA}, URL: "https://ca.example.com"},
		}
	})
	status := func(at, path string) int {
		t.Helper()
		resp, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		code, _ := readAll(t, resp)
		return code
	}
	for path, at := range map[string]string{
		"/metrics": "http://" + inside, "/healthz": "http://" + inside, "/readyz": "http://" + inside,
		"/api/v2/trustBundle": "http://" + authority, "/api/v1/timestamp/certchain": "http://" + authority,
		"/api/v2/checkpoint": a.URL(), "/root.json": a.URL(), "/oidc/.well-known/openid-configuration": a.URL(), "/ctlog/checkpoint": a.URL(),
	} {
		for _, other := range []string{"http://" + inside, "http://" + authority, a.URL()} {
			want := http.StatusNotFound
			if other == at {
				want = http.StatusOK
			}
			if got := status(other, path); got != want {
				t.Errorf("%s%s: expected %d, found %d", other, path, want, got)
			}
		}
	}
	config, err := trust.ParseSigningConfig(published(t, a, "signing_config.v0.2.json"))
	if err != nil || config.CAs[0].URL != "https://ca.example.com" || config.TSAs[0].URL != "https://ca.example.com/api/v1/timestamp" || config.Logs[0].URL != a.URL() {
		t.Errorf("found %+v, %v", config, err)
	}
}

func TestListenersRefused(t *testing.T) {
	for want, flags := range map[string]app.Settings{
		"no role":                      {Listeners: []app.Listener{{Address: "127.0.0.1:0", Roles: []app.Role{"rekor"}}}},
		"expected an address":          {Listeners: []app.Listener{{Roles: []app.Role{"ca"}}}},
		"and the roles":                {Listeners: []app.Listener{{Address: "127.0.0.1:0"}}},
		"since that is its name":       {Listeners: []app.Listener{{Address: "127.0.0.1:0", Roles: []app.Role{"oidc"}}}},
		"expected one place":           {Listeners: []app.Listener{{Address: "127.0.0.1:0", Roles: []app.Role{"ca", "ca"}}}},
		"without a path":               {Listeners: []app.Listener{{Address: "127.0.0.1:0", Roles: []app.Role{"ca"}, URL: "https://a/b"}}},
		"at most":                      {Listeners: make([]app.Listener, 17)},
		"a mode in octal":              {Socket: app.Socket{Mode: "rw"}},
		"a trusted proxy":              {Proxies: app.ProxySettings{Trusted: []string{"proxy"}}},
		"x-forwarded-for or forwarded": {Proxies: app.ProxySettings{Trusted: []string{}, Header: "x-real-ip"}},
		"there is no group":            {Listen: "unix:" + filepath.Join(t.TempDir(), "s"), Socket: app.Socket{Group: "no such group"}},
		"its directory has to exist":   {Listen: "unix:" + filepath.Join(t.TempDir(), "a", "s")},
		"where clients reach it":       {Listen: "unix:" + filepath.Join(t.TempDir(), "s")},
	} {
		if flags.Listen == "" {
			flags.Listen = "127.0.0.1:0"
		}
		_, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: flags})
		expectKind(t, err, sigbox.Invalid)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}

// TestUnixSocket: an instance on a socket, which is its user's and its group's, is reached
// through a proxy; a socket that was left behind is replaced, one that is used is not.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "http.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	change := func(c *app.Config) {
		c.Flags.Listen, c.Flags.URL = "unix:"+path, "https://sigstore.example.com"
		c.Flags.Proxies = app.ProxySettings{Trusted: []string{"unix"}}
		c.Flags.Limits.PerAddress = limit.Rate{Events: 2, Per: time.Hour}
	}
	a := apptest.Start(t, change)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("found %v, %v", info.Mode(), err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	get := func(from string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://sigstore.example.com/api/v2/checkpoint", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", from)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := readAll(t, resp)
		return status
	}
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if got := get("192.0.2.1"); got != want {
			t.Errorf("request %d: expected %d, found %d", i, want, got)
		}
	}
	if got := get("192.0.2.2"); got != http.StatusOK {
		t.Errorf("another address: found %d", got)
	}
	other := app.Config{Data: t.TempDir()}
	change(&other)
	_, err = app.Start(t.Context(), other)
	expectKind(t, err, sigbox.Conflict)
	apptest.Stop(t, a)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	writeFile(t, path, "a file")
	_, err = app.Start(t.Context(), other)
	expectKind(t, err, sigbox.Conflict)
	if b, err := os.ReadFile(path); err != nil || string(b) != "a file" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

// TestCertificatesPerIdentity: one identity is certified as often as it may be, others
// are not bothered, and who has no token does not use up anybody's.
func TestCertificatesPerIdentity(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) { c.Flags.Limits.CertificatesPerIdentity = limit.Rate{Events: 2, Per: time.Hour} })
	h := &hosts{ca: a}
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		status, wait, body := h.issue(t)
		if status != want || (want != http.StatusOK) != (wait == "1800") {
			t.Errorf("certificate %d: expected %d, found %d, %q, %s", i, want, status, wait, body)
		}
	}
	_, metrics := get(t, a, "/metrics")
	for _, want := range []string{
		`sigbox_certificate_requests_total{issuer_type="email",outcome="issued"} 2`,
		`sigbox_certificate_requests_total{issuer_type="email",outcome="limited"} 1`,
		`sigbox_limited_total{limit="identity"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}

// TestDocumentedMetrics: docs/operations.md lists all of them, and none that there is not.
func TestDocumentedMetrics(t *testing.T) {
	files := app.TLSFiles{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	writeCertificate(t, files, 1)
	inside := freePort(t)
	a := apptest.Start(t, func(c *app.Config) {
		c.Flags.TLS, c.Flags.Anchor = files, t.TempDir()
		c.Flags.Listeners = []app.Listener{{Address: inside, Roles: []app.Role{app.RoleMetrics}, InsecureHTTP: true}}
	})
	hello(t, a)
	resp, err := http.Get("http://" + inside + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	_, text := readAll(t, resp)
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	name := regexp.MustCompile(`\bsigbox_[a-z_]+`)
	documented, found := map[string]bool{}, map[string]bool{}
	for _, n := range name.FindAllString(section, -1) {
		documented[n] = true
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok && strings.HasPrefix(rest, "sigbox_") {
			found[strings.Fields(rest)[0]] = true
		}
	}
	for _, n := range []string{ // from the first request on; with time servers
		"sigbox_certificate_requests_total",
		"sigbox_clock_trusted", "sigbox_clock_offset_seconds", "sigbox_clock_uncertainty_seconds", "sigbox_clock_last_success_timestamp_seconds",
	} {
		found[n] = true
	}
	for n := range found {
		if !documented[n] {
			t.Errorf("%s is not documented", n)
		}
	}
	for n := range documented {
		if !found[n] {
			t.Errorf("there is no %s", n)
		}
	}
}
