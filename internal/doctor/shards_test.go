package doctor_test

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/doctor"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/wire/trust"
)

// logOne logs an entry in the logs of both versions.
func logOne(t *testing.T, a *app.App, text string) {
	t.Helper()
	for _, log := range []sigbox.Log{client().Log(a.URL()), client().LogV1(a.URL())} {
		if _, err := log.Add(t.Context(), fixture.Entry(t, fixture.Key(t), []byte(text))); err != nil {
			t.Fatal(err)
		}
	}
}

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

// seal has the keys of all logs replaced at once.
func seal(t *testing.T, a *app.App) {
	t.Helper()
	now := rotation.Span(0)
	for _, role := range []string{"rekor2", "rekor1", "ctlog"} {
		if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: role, SwitchAfter: &now}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSealedLogs: logs of before are read from their checkpoints to their entries, and
// have to be in the trust root; one whose files are gone is told of.
func TestSealedLogs(t *testing.T) {
	a := apptest.Start(t)
	key := fixture.Key(t)
	for i := range 300 { // more than a tile
		if _, err := client().Log(a.URL()).Add(t.Context(), fixture.Entry(t, key, []byte(strconv.Itoa(i)))); err != nil {
			t.Fatal(err)
		}
	}
	seal(t, a)
	run := func() doctor.Report { return doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()}) }
	r := run()
	for _, text := range []string{"can be read: 301 entries", "can be read: 1 entries", "can be read: 0 entries"} {
		want(t, r, doctor.OK, text, "")
	}
	if err := os.RemoveAll(filepath.Join(a.Data(), "tiles", "rekor2", "tile")); err != nil {
		t.Fatal(err)
	}
	want(t, run(), doctor.Problem, "the sealed log", "")
}

// TestSealedLogsOfAServerThatLies: what a server says of a log that it has sealed is
// compared with what the log's key has signed, and with the trust root.
func TestSealedLogsOfAServerThatLies(t *testing.T) {
	a := apptest.Start(t)
	seal(t, a)
	var from, to string
	front := proxied(t, a, func(path string, status *int, body []byte) []byte {
		switch {
		case path == "/api/shards" && from != "":
			return []byte(strings.Replace(string(body), from, to, 1))
		case path == "/api/shards" && to == "none":
			return []byte(`{"shards":[{"name":"x","phase":"active","url":"` + a.URL() + `/shards/x"}]}`)
		}
		return body
	})
	for name, tt := range map[string]struct{ from, to, found string }{
		"its length":   {`"treeSize":1`, `"treeSize":7`, "and its server says 7"},
		"its key":      {`"logId":"`, `"logId":"AAAA`, "is not in the trust root"},
		"its name":     {`"origin":"`, "\"origin\":\"\\u001b[2J", "and its server says"},
		"its place":    {`/shards/`, `/nothing/`, "the sealed log"},
		"its server":   {`"url":"http://`, `"url":"http://elsewhere.`, "says that it has the log"},
		"none of them": {"", "none", "is listed nowhere"},
	} {
		from, to = tt.from, tt.to
		later := func() time.Time { return time.Now().Add(time.Hour) } // when what was sealed has ended
		r := doctor.Run(t.Context(), doctor.Config{
			URL: front.URL, Mirror: front.URL + "/tuf", Now: later, Client: remote.New(remote.Config{Retries: -1, Now: later, Transport: redirected(front.URL)}),
		})
		found := false
		for _, f := range r.Findings {
			if strings.ContainsRune(f.Found, '\x1b') {
				t.Errorf("%s: a terminal's escape in %q", name, f.Found)
			}
			found = found || f.Check == "sealed logs" && f.Level != doctor.OK && strings.Contains(f.Found, tt.found) && f.Do != ""
		}
		if !found {
			t.Errorf("%s: no finding with %q: %+v", name, tt.found, r.Findings)
		}
	}
}

// redirected sends requests to another server than the one that they are for.
type redirected string

func (r redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	at, err := url.Parse(string(r))
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.URL.Host = at.Host
	return http.DefaultTransport.RoundTrip(req)
}

// copyDir copies a directory as a backup does.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "admin.sock")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// see remembers the log's checkpoint as clients do.
func see(t *testing.T, a *app.App, memory string) {
	t.Helper()
	root, err := os.ReadFile(a.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	target, err := client().TUF(remote.TUFConfig{Mirror: a.URL() + "/tuf", Root: root, Dir: t.TempDir()}).Target(t.Context(), remote.TrustedRootTarget)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := trust.ParseRoot(target.Data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client().OpenLog(t.Context(), remote.LogConfig{URL: a.URL(), Version: 2, Keys: remote.LogKeys([]*sigbox.TrustedRoot{parsed}), Memory: memory}); err != nil {
		t.Fatal(err)
	}
}

// TestAForkedLog: a log that shows another tree of the same size than was seen of it, or a
// smaller one, is found; the advice names both checkpoints, where they are to stay.
func TestAForkedLog(t *testing.T) {
	dir, older, memory := t.TempDir(), filepath.Join(t.TempDir(), "copy"), t.TempDir()
	a := apptest.Start(t, apptest.In(dir))
	address := strings.TrimPrefix(a.URL(), "http://")
	logOne(t, a, "both")
	apptest.Stop(t, a)
	copyDir(t, dir, older)
	a = apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Flags.Listen = address })
	logOne(t, a, "one")
	see(t, a, memory)
	apptest.Stop(t, a)

	a = apptest.Start(t, apptest.In(older), func(c *app.Config) { c.Flags.Listen, c.Accept.Move = address, true })
	run := func() doctor.Report {
		return doctor.Run(t.Context(), doctor.Config{Data: older, Client: client(), Logs: memory})
	}
	want(t, run(), doctor.Problem, "has gone back", memory)
	logOne(t, a, "another")
	r := run()
	want(t, r, doctor.Problem, "has forked", memory)
	for _, do := range []string{"keep both checkpoints", "the new one is", "When log and anchor disagree"} {
		want(t, r, doctor.Problem, "has forked", do)
	}
	logOne(t, a, "yet another")
	want(t, run(), doctor.Problem, "has forked", memory)
}

// TestSplitListeners: a server with roles at addresses of their own is examined by its
// directory as any other; one on a socket alone is found to run, and what is at its URL is
// looked at from there.
func TestSplitListeners(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) {
		c.Flags.Listeners = []app.Listener{
			{Address: freePort(t), Roles: []app.Role{app.RoleCA, app.RoleTSA}},
			{Address: freePort(t), Roles: []app.Role{app.RoleMetrics, app.RoleHealth}},
		}
	})
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	only(t, r, "roots' keys", "in the clear", "no anchor", "NTP", "are free for")
	want(t, r, doctor.OK, "speaks HTTP/2 and gRPC", "")
}

func TestUnixSocketAlone(t *testing.T) {
	dir := t.TempDir()
	a := apptest.Start(t, apptest.In(dir), func(c *app.Config) {
		c.Flags.Listen, c.Flags.URL = "unix:"+filepath.Join(dir, "http.sock"), "http://127.0.0.1:1" // the proxy is away
	})
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client(), Timeout: 5 * time.Second})
	want(t, r, doctor.OK, "serves "+dir, "")
	want(t, r, doctor.Problem, "cannot reach the instance", "proxies")
}
