package doctor_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/clock/clocktest"
	"github.com/sigbox/sigbox/internal/doctor"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// certificate makes TLS files for names, good for a time, and the pool that trusts them.
func certificate(t *testing.T, lifetime time.Duration, names ...string) (app.TLSFiles, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		DNSNames: names, IsCA: true, BasicConstraintsValid: true,
	}
	if len(names) == 0 {
		c.IPAddresses = []net.IP{net.ParseIP("127.0.0.1")}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := app.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	write(t, files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return files, pool
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLS(t *testing.T) {
	for name, tt := range map[string]struct {
		names    []string
		lifetime time.Duration
		trusted  bool
		level    doctor.Level
		found    string
		do       string
	}{
		"good":              {nil, 60 * 24 * time.Hour, true, doctor.OK, "and is trusted here (TLS 1.3, HTTP/2)", ""},
		"ends soon":         {nil, 20 * 24 * time.Hour, true, doctor.Warning, "expires in 19 days", "renew"},
		"ends at once":      {nil, 6 * 24 * time.Hour, true, doctor.Problem, "expires in 5 days", "renew"},
		"another name":      {[]string{"other.example"}, 60 * 24 * time.Hour, true, doctor.Problem, `is for other names: "other.example"`, "host name of url:"},
		"unknown authority": {nil, 60 * 24 * time.Hour, false, doctor.Problem, "an authority that is not known here", "NODE_EXTRA_CA_CERTS"},
	} {
		t.Run(name, func(t *testing.T) {
			files, pool := certificate(t, tt.lifetime, tt.names...)
			if !tt.trusted {
				pool = x509.NewCertPool()
			}
			a := apptest.Start(t, func(c *app.Config) { c.Flags.TLS = files })
			r := doctor.Run(t.Context(), doctor.Config{URL: a.URL(), Mirror: a.URL() + "/tuf", Client: client(), Roots: pool})
			want(t, r, tt.level, tt.found, tt.do)
		})
	}
}

func TestTLSFilesThatCannotBeUsed(t *testing.T) {
	a := apptest.Start(t)
	files, _ := certificate(t, 3*24*time.Hour)
	settings := "tls: {cert: " + files.Cert + ", key: " + files.Key + "}\n"
	write(t, filepath.Join(a.Data(), "config.yaml"), []byte(settings))
	want(t, doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()}), doctor.Problem, "the TLS certificate in "+files.Cert+": expires in 2 days", "renew")
	write(t, files.Cert, []byte("nonsense"))
	want(t, doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()}), doctor.Problem, "cannot use the TLS certificate", "")
}

// proxied is an instance with something in front that changes what comes back.
func proxied(t *testing.T, a *app.App, change func(path string, status *int, body []byte) []byte) *httptest.Server {
	t.Helper()
	target, err := url.Parse(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		proxy.ServeHTTP(rec, r)
		status := rec.Code
		body := change(r.URL.Path, &status, rec.Body.Bytes())
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.WriteHeader(status)
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// What stands in front loses HTTP/2: sigstore-java cannot sign.
func TestNoHTTP2(t *testing.T) {
	a := apptest.Start(t)
	front := proxied(t, a, func(_ string, _ *int, body []byte) []byte { return body })
	if err := client().ProbeGRPC(t.Context(), front.URL); err == nil {
		t.Error("the proxy speaks HTTP/1.1")
	}
	if err := client().ProbeGRPC(t.Context(), a.URL()); err != nil {
		t.Error(err)
	}
	if err := client().ProbeGRPC(t.Context(), a.URL()+"/nothing"); err == nil {
		t.Error("nothing is there")
	}
}

func TestServicesThatAreDown(t *testing.T) {
	a := apptest.Start(t)
	down := ""
	front := proxied(t, a, func(path string, status *int, body []byte) []byte {
		if strings.HasPrefix(path, down) {
			*status, body = http.StatusBadGateway, nil
		}
		return bytes.ReplaceAll(body, []byte("!"), []byte("!"))
	})
	for path, found := range map[string]string{
		"/readyz":             "the instance at",
		"/tuf/timestamp.json": "no usable timestamp.json",
		"/tuf/targets/":       "trusted_root.json",
	} {
		down = path
		r := doctor.Run(t.Context(), doctor.Config{URL: front.URL, Mirror: front.URL + "/tuf", Client: client()})
		want(t, r, doctor.Problem, found, "")
	}
}

// A service's own word of what is wrong is told: a log that is shut, a clock that is wrong.
func TestALogThatIsShut(t *testing.T) {
	anchor, dir := t.TempDir(), t.TempDir()
	a := apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Flags.Anchor = anchor })
	apptest.Stop(t, a)
	entries, err := os.ReadDir(anchor)
	if err != nil || len(entries) == 0 {
		t.Fatalf("nothing was anchored (%v)", err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(anchor, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	a = apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Flags.Anchor = anchor })
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, "had an anchor, and it is gone", "When something breaks")
}

func TestAWrongClock(t *testing.T) {
	server := clocktest.Serve(t, func(r []byte) [][]byte { return [][]byte{clocktest.Good(r, time.Minute)} })
	a := apptest.Start(t, func(c *app.Config) { c.Flags.Time = app.TimeSettings{Servers: []string{server}, Samples: 1} })
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, "the clock is not to be trusted: it is 1m0", "")
}

func TestNTPServersThatAreAway(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) { c.Flags.Time = app.TimeSettings{Servers: []string{"127.0.0.1:1"}, Samples: 1} })
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Warning, "the NTP servers do not answer", "sigbox status")
}

func TestVersionSkew(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) { c.Version = "v1.0.0" })
	run := func(version string) doctor.Report {
		return doctor.Run(t.Context(), doctor.Config{URL: a.URL(), Mirror: a.URL() + "/tuf", Client: client(), Version: version})
	}
	want(t, run("v1.0.0"), doctor.OK, "are both sigbox v1.0.0", "")
	want(t, run("v1.1.0"), doctor.Warning, "the server is sigbox v1.0.0, and this is v1.1.0", "the same version")
}

// What was seen of logs before is read, and not written to.
func TestTheMemoryOfLogsIsRead(t *testing.T) {
	dir, memory := t.TempDir(), t.TempDir()
	a := apptest.Start(t, apptest.In(dir))
	c := doctor.Config{Data: dir, Client: client(), Logs: memory}
	want(t, doctor.Run(t.Context(), c), doctor.OK, "(v2) has 1 entries", "")
	entries, err := os.ReadDir(memory)
	if err != nil || len(entries) != 0 {
		t.Errorf("the memory of logs was written to: %v (%v)", entries, err)
	}
	root, err := os.ReadFile(a.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	tuf := client().TUF(remote.TUFConfig{Mirror: a.URL() + "/tuf", Root: root, Dir: t.TempDir()})
	target, err := tuf.Target(t.Context(), remote.TrustedRootTarget)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := trust.ParseRoot(target.Data)
	if err != nil {
		t.Fatal(err)
	}
	keys := remote.LogKeys([]*sigbox.TrustedRoot{parsed})
	if _, err := client().OpenLog(t.Context(), remote.LogConfig{URL: a.URL(), Version: 2, Keys: keys, Memory: memory}); err != nil {
		t.Fatal(err)
	}
	want(t, doctor.Run(t.Context(), c), doctor.OK, "continues what was seen", "")
}

// A host that leaves the trust root to another one is examined by that one's; it has no
// logs, and needs no anchor for them.
func TestHostWithoutTUF(t *testing.T) {
	only := func(roles ...app.Role) func(*app.Config) { return func(c *app.Config) { c.Flags.Only = roles } }
	publisher := apptest.Start(t, only(app.RoleTSA, app.RoleTUF, app.RoleCTLog, app.RoleLog))
	a := apptest.Start(t, only(app.RoleCA, app.RoleOIDC))
	examine := func() doctor.Report {
		return doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	}
	want(t, examine(), doctor.Unknown, "does not know where they get the trust root", `"hosts"`)

	for _, mirror := range []string{publisher.URL() + "/tuf", filepath.Join(publisher.Data(), "tuf")} {
		settings := "published: {mirror: " + mirror + ", root: " + filepath.Join(publisher.Data(), "root.json") + "}\n"
		write(t, filepath.Join(a.Data(), "config.yaml"), []byte(settings))
		r := examine()
		want(t, r, doctor.OK, "leads from the root that is trusted", "")
		for _, f := range r.Findings {
			if f.Level != doctor.OK && (f.Check == "trust root" || f.Check == "TUF metadata" || f.Check == "anchor") {
				t.Errorf("with %s: a finding that nobody needs: %+v", mirror, f)
			}
		}
	}
}

// A service whose address leads to something else says what to do about it, as does
// everything that is wrong.
func TestServiceAstray(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "ca.sock")
	a := apptest.Start(t)
	url := a.URL()
	apptest.Stop(t, a)
	a = apptest.Start(t, apptest.In(a.Data()), func(c *app.Config) {
		c.Flags.Listen, c.Flags.URL = strings.TrimPrefix(url, "http://"), url
		c.Flags.Listeners = []app.Listener{{Address: "unix:" + socket, Roles: []app.Role{app.RoleCA}, URL: url}}
	})
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, "/api/v2/trustBundle answered with status 404", "listeners:")
	want(t, r, doctor.Warning, "/api/v2/configuration answered with status 404", "listeners:")
	for _, f := range r.Findings {
		if f.Level != doctor.OK && f.Do == "" {
			t.Errorf("nothing is to be done about %+v", f)
		}
	}
}
