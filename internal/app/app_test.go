package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/wire/entry"
)

func TestFromAnEmptyDirectory(t *testing.T) {
	a := apptest.Start(t)
	for path, want := range map[string]string{
		"/healthz":                               `{"status":"SERVING"}`,
		"/readyz":                                `"SERVING"`,
		"/metrics":                               "sigbox_http_requests_in_flight",
		"/root.json":                             `"root"`,
		"/tuf/1.root.json":                       `"root"`,
		"/tuf/timestamp.json":                    `"timestamp"`,
		"/api/v2/checkpoint":                     "log",
		"/api/v1/timestamp/certchain":            "BEGIN CERTIFICATE",
		"/api/v1/rootCert":                       "BEGIN CERTIFICATE",
		"/api/v2/trustBundle":                    "BEGIN CERTIFICATE",
		"/oidc/.well-known/openid-configuration": a.URL() + "/oidc",
		"/":                                      "sigbox",
	} {
		if status, body := get(t, a, path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: expected 200 with %q, found %d %.200s", path, want, status, body)
		}
	}
	for _, path := range []string{"/nothing", "/tuf/2.root.json", "/api/v2/tile/0/000"} {
		if status, body := get(t, a, path); status != http.StatusNotFound {
			t.Errorf("GET %s: expected 404, found %d %.200s", path, status, body)
		}
	}
	handed, err := os.ReadFile(a.RootFile())
	if _, served := get(t, a, "/root.json"); err != nil || served != string(handed) {
		t.Errorf("root.json in the directory is not the one that is served (%v)", err)
	}
}

func TestRestartKeepsWhoItIs(t *testing.T) {
	dir := t.TempDir()
	identity := func(a *app.App) string {
		s, err := a.Admin().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, root := get(t, a, "/root.json")
		_, chain := get(t, a, "/api/v1/rootCert")
		_, stamps := get(t, a, "/api/v1/timestamp/certchain")
		return strings.Join([]string{s.LogHostname, root, chain, stamps}, "\n")
	}
	first := apptest.Start(t, apptest.In(dir))
	before := identity(first)
	apptest.Stop(t, first)
	// Another port is another URL, which changes nothing of this.
	if after := identity(apptest.Start(t, apptest.In(dir))); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestLogHostname(t *testing.T) {
	hostname := func(url string) string {
		a := apptest.Start(t, func(c *app.Config) { c.Flags.URL = url })
		s, err := a.Admin().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.LogHostname
	}
	if h := hostname("https://sigstore.example.com"); !strings.HasPrefix(h, "log2") || !strings.HasSuffix(h, "-1.sigstore.example.com") {
		t.Errorf("found %s", h)
	}
	if a, b := hostname(""), hostname(""); a == b {
		t.Errorf("two logs without a name of their own are both called %s", a)
	}
}

func TestStartRefused(t *testing.T) {
	running := apptest.Start(t)
	taken := strings.TrimPrefix(running.URL(), "http://")
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	odd := func(content string) string {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "instance.json"), content)
		return dir
	}
	for name, c := range map[string]struct {
		change func(*app.Config)
		kind   sigbox.Kind
		want   string
	}{
		"the same directory":      {apptest.In(running.Data()), sigbox.Conflict, "another sigbox is running"},
		"the same port":           {func(c *app.Config) { c.Flags.Listen = taken }, sigbox.Conflict, "in use"},
		"a file for a directory":  {apptest.In(file), sigbox.Internal, "is a file"},
		"below a file":            {apptest.In(file + "/data"), sigbox.Internal, "is a file"},
		"beyond loopback":         {func(c *app.Config) { c.Flags.Listen = "0.0.0.0:0" }, sigbox.Denied, "--insecure-http"},
		"every address, no URL":   {func(c *app.Config) { c.Flags.Listen, c.Flags.InsecureHTTP = ":0", true }, sigbox.Invalid, "--url"},
		"a URL with a path":       {func(c *app.Config) { c.Flags.URL = "https://example.com/sigstore" }, sigbox.Invalid, "without a path"},
		"a URL without a scheme":  {func(c *app.Config) { c.Flags.URL = "example.com" }, sigbox.Invalid, "http or https"},
		"no address":              {func(c *app.Config) { c.Flags.Listen = "nonsense" }, sigbox.Invalid, "HOST:PORT"},
		"a missing settings file": {func(c *app.Config) { c.File = file + ".yaml" }, sigbox.Invalid, "cannot read the settings"},
		"a missing certificate":   {func(c *app.Config) { c.Flags.TLS = app.TLSFiles{Cert: file + ".crt", Key: file + ".key"} }, sigbox.Invalid, "--tls-cert"},
		"half a certificate":      {func(c *app.Config) { c.Flags.TLS = app.TLSFiles{Cert: file} }, sigbox.Invalid, "belong together"},
		"an empty certificate":    {func(c *app.Config) { c.Flags.TLS = app.TLSFiles{Cert: file, Key: file} }, sigbox.Invalid, "cannot use the TLS certificate"},
		"no passphrase":           {func(c *app.Config) { c.Flags.Passphrase = "env:SIGBOX_TEST_UNSET" }, sigbox.Unauthenticated, "not set"},
		"a newer schema":          {apptest.In(odd(`{"schema":99,"logHostname":"a","validFrom":"2026-01-01T00:00:00Z","url":"http://a"}`)), sigbox.Invalid, "newer sigbox"},
		"a damaged state":         {apptest.In(odd(`{"schema":`)), sigbox.Invalid, "damaged"},
		"an empty state":          {apptest.In(odd(`{}`)), sigbox.Invalid, "damaged"},
		"an unusable issuer":      {func(c *app.Config) { c.Flags.Issuers = []ca.Issuer{{}} }, sigbox.Invalid, "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0"}}
			c.change(&cfg)
			a, err := app.Start(t.Context(), cfg)
			if err == nil {
				apptest.Stop(t, a)
				t.Fatal("it started")
			}
			if sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Errorf("expected kind %q with %q, found kind %q: %v", c.kind, c.want, sigbox.KindOf(err), err)
			}
		})
	}
	if status, _ := get(t, running, "/readyz"); status != http.StatusOK {
		t.Errorf("the running instance is not well any more: %d", status)
	}
}

func TestAFailedStartLeavesTheDirectoryFree(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "config.yaml")
	writeFile(t, settings, "issuers: [{url: nonsense, type: nonsense}]")
	if _, err := app.Start(t.Context(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}}); err == nil {
		t.Fatal("it started")
	}
	writeFile(t, settings, "")
	apptest.Start(t, apptest.In(dir))
}

func TestBeyondLoopbackWhenAsked(t *testing.T) {
	apptest.Start(t, func(c *app.Config) {
		c.Flags.Listen, c.Flags.InsecureHTTP, c.Flags.URL = "0.0.0.0:0", true, "https://sigstore.example.com"
	})
}

func TestDataPathLongerThanASocketAddress(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	a := apptest.Start(t, apptest.In(dir))
	admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if s, err := admin.Status(t.Context()); err != nil || !s.Running || s.URL != a.URL() {
		t.Errorf("found %+v (%v)", s, err)
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "config.yaml")
	log := newLogLines()
	a := apptest.Start(t, apptest.In(dir), func(c *app.Config) {
		c.Logger, c.Poll = slog.New(slog.NewTextHandler(log, nil)), time.Millisecond
	})
	known := func() bool {
		_, body := get(t, a, "/api/v2/configuration")
		return strings.Contains(body, "https://issuer.example.com")
	}
	if known() {
		t.Fatal("the issuer is known already")
	}
	writeFile(t, settings, "issuers:\n- url: https://issuer.example.com\n  type: email\n")
	log.wait(t, "settings reloaded")
	if !known() {
		t.Error("the new issuer is not known")
	}
	writeFile(t, settings, "issuers: [}")
	log.wait(t, "not reloaded")
	writeFile(t, settings, "issuers: [{url: 'https://issuer.example.com', type: nonsense}]")
	log.wait(t, "not reloaded")
	if !known() {
		t.Error("damaged settings took the issuer away")
	}
	writeFile(t, settings, "url: https://other.example.com\n")
	log.wait(t, "after a restart of sigbox")
	if known() {
		t.Error("the issuer is still known")
	}
}

func TestReadyzSaysThatTheClockWentBack(t *testing.T) {
	var clock testClock
	a := apptest.Start(t, func(c *app.Config) { c.Now = clock.now })
	stamp(t, a, http.StatusOK)
	clock.shift(-time.Hour)
	stamp(t, a, http.StatusServiceUnavailable)
	status, body := get(t, a, "/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "clock") {
		t.Errorf("expected 503 and a word of the clock, found %d %s", status, body)
	}
	clock.shift(time.Hour)
	stamp(t, a, http.StatusOK)
}

func TestCloseEndsInBoundedTime(t *testing.T) {
	a, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	// A connection that never sends a whole request must not hold it up for ever.
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	get(t, a, "/healthz") // the server has come to the first one by now, or will be idle
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
	if _, err := os.Stat(filepath.Join(a.Data(), "admin.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func get(t *testing.T, a *app.App, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(a.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	return readAll(t, resp)
}

func readAll(t *testing.T, resp *http.Response) (int, string) {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// stamp asks for a timestamp.
func stamp(t *testing.T, a *app.App, want int) {
	t.Helper()
	body := `{"artifactHash":"n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=","hashAlgorithm":"sha256","certificates":true}`
	resp, err := http.Post(a.URL()+"/api/v1/timestamp", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if status, text := readAll(t, resp); status != want {
		t.Errorf("timestamp: expected %d, found %d %.200q", want, status, text)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := atomicfile.Replace(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// testClock is the machine's clock with an error.
type testClock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *testClock) shift(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// logLines is a log that can be waited on.
type logLines struct {
	mu   sync.Mutex
	more *sync.Cond
	text bytes.Buffer
}

func newLogLines() *logLines {
	l := &logLines{}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more.Broadcast()
	return l.text.Write(b)
}

// take gives what was logged since the last time.
func (l *logLines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// wait returns once text was logged, and forgets all that was logged until then.
func (l *logLines) wait(t *testing.T, text string) {
	t.Helper()
	stop := context.AfterFunc(t.Context(), func() { l.more.Broadcast() })
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for !strings.Contains(l.text.String(), text) {
		if t.Context().Err() != nil {
			t.Fatalf("%q was never logged", text)
		}
		l.more.Wait()
	}
	l.text.Reset()
}

func TestAnotherURLChangesWhereSignersGoAlone(t *testing.T) {
	dir := t.TempDir()
	published := func(url string) (root, config string) {
		a := apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Flags.URL = url })
		defer apptest.Stop(t, a)
		names, err := os.ReadDir(filepath.Join(dir, "tuf", "targets"))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(filepath.Join(dir, "tuf", "targets", n.Name()))
			if err != nil {
				t.Fatal(err)
			}
			switch text := string(b); {
			case !strings.Contains(text, url):
			case strings.HasSuffix(n.Name(), ".trusted_root.json"):
				root = text
			case strings.HasSuffix(n.Name(), ".signing_config.v0.2.json"):
				config = text
			}
		}
		return root, config
	}
	oldRoot, oldConfig := published("https://old.example.com")
	newRoot, newConfig := published("https://new.example.com")
	if strings.ReplaceAll(oldConfig, "old.", "new.") != newConfig {
		t.Errorf("signing config before: %s\nafter: %s", oldConfig, newConfig)
	}
	logs := func(root string) string {
		_, after, _ := strings.Cut(root, `"tlogs"`)
		before, _, _ := strings.Cut(after, `"certificateAuthorities"`)
		return before
	}
	if logs(newRoot) != logs(oldRoot) || !strings.Contains(logs(newRoot), "-1.old.example.com") {
		t.Errorf("the log before: %s\nafter: %s", logs(oldRoot), logs(newRoot))
	}
}

// TestLostKeys: a key that is gone must not be replaced in silence, since clients
// trust the old one.
func TestLostKeys(t *testing.T) {
	for _, name := range []string{"ca", "ctlog", "rekor2", "tsa", "tuf", "oidc"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
			path := filepath.Join(dir, "keys", name+".pem")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			a, err := app.Start(t.Context(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}})
			if err == nil {
				apptest.Stop(t, a)
				t.Fatal("it started with another key")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the key: %v", err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("another key is in its place (%v)", err)
			}
		})
	}
}

// TestLostFiles: what clients know an instance by is not made anew when it is gone,
// and nothing is put in its place that a restored file would have to replace.
func TestLostFiles(t *testing.T) {
	for _, name := range []string{"instance.json", "certs/ca.pem", "certs/tsa.pem"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
			path := filepath.Join(dir, name)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			refused(t, dir, sigbox.Fatal, path)
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("another is in its place (%v)", err)
			}
			writeFile(t, path, string(content))
			apptest.Start(t, apptest.In(dir))
		})
	}
}

// TestDamagedFiles: the error names the file and says where to get another.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
	for _, name := range []string{"keys/ca.pem", "keys/oidc.pem", "certs/ca.pem", "certs/tsa.pem"} {
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Clone(content)
		changed[len(changed)/2] = '!'
		for _, damaged := range [][]byte{nil, content[:len(content)/2], changed} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			err := refused(t, dir, sigbox.Invalid, path)
			if e, ok := errors.AsType[*sigbox.Error](err); !ok || !strings.Contains(e.Hint, "backup") {
				t.Errorf("%s: no next step: %v", name, err)
			}
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apptest.Start(t, apptest.In(dir))
}

// refused wants the start on a directory to fail, and gives the error.
func refused(t *testing.T, dir string, kind sigbox.Kind, want string) error {
	t.Helper()
	a, err := app.Start(t.Context(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}})
	if err == nil {
		apptest.Stop(t, a)
		t.Fatal("it started")
	}
	if sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), want) {
		t.Errorf("expected kind %q with %q, found kind %q: %v", kind, want, sigbox.KindOf(err), err)
	}
	return err
}

func TestRootKeysMayBeElsewhere(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
	for _, name := range []string{"ca-root", "tsa-root", "tuf-root"} {
		if err := os.Remove(filepath.Join(dir, "keys", name+".pem")); err != nil {
			t.Fatal(err)
		}
	}
	a := apptest.Start(t, apptest.In(dir))
	if status, body := get(t, a, "/readyz"); status != http.StatusOK {
		t.Errorf("found %d %s", status, body)
	}
}

func TestTheRootIsOnRecordFirst(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // a restart adds nothing
		a := apptest.Start(t, apptest.In(dir))
		status, bundle := get(t, a, "/api/v2/tile/entries/000.p/1")
		if status != http.StatusOK || len(bundle) < 2 {
			t.Fatalf("the log's first entry: status %d, %d bytes", status, len(bundle))
		}
		body, err := entry.ParseBody([]byte(bundle[2:])) // after its length
		if err != nil {
			t.Fatal(err)
		}
		root, err := os.ReadFile(a.RootFile())
		if err != nil {
			t.Fatal(err)
		}
		if want := sigbox.SHA256.Sum(root); !body.Digest.Equal(want) {
			t.Errorf("the first entry is over %s, expected the TUF root, %s", body.Digest, want)
		}
		if _, checkpoint := get(t, a, "/api/v2/checkpoint"); strings.Split(checkpoint, "\n")[1] != "1" {
			t.Errorf("expected a log of one entry, found the checkpoint\n%s", checkpoint)
		}
		apptest.Stop(t, a)
	}
}
