package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/rotation"
)

// restart stops a host, has f do something to its directory, and starts it again at its
// address.
func (h *hosts) restart(t *testing.T, which **app.App, f func(dir string)) {
	t.Helper()
	a := *which
	roles := map[**app.App][]app.Role{&h.ca: {app.RoleCA, app.RoleOIDC}, &h.logs: {app.RoleCTLog, app.RoleLog, app.RoleLogV1}, &h.trust: {app.RoleTSA, app.RoleTUF}}[which]
	apptest.Stop(t, a)
	f(a.Data())
	at := strings.TrimPrefix(a.URL(), "http://")
	*which = apptest.Start(t, apptest.In(a.Data()), host(nil, roles...), func(c *app.Config) { c.Flags.Listen = at })
}

// rotateAt has a host replace a key at once, and gives the phases of its keys.
func rotateAt(t *testing.T, a *app.App, req app.RotateRequest) app.RoleKeys {
	t.Helper()
	keys, err := a.Admin().Rotate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// keysAt gives the keys of a role.
func keysAt(t *testing.T, a *app.App, role string) app.RoleKeys {
	t.Helper()
	all, err := a.Admin().Rotations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range all {
		if keys.Role == role {
			return keys
		}
	}
	t.Fatalf("there is no role %s", role)
	return app.RoleKeys{}
}

// catchUp does what is due at a host.
func catchUp(t *testing.T, a *app.App) {
	t.Helper()
	if err := a.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestHostsRotate replaces keys of hosts that stand apart: a new key signs only once the
// trust root that clients get has it, which the host looks at itself and waits for; and
// the authority knows the logs that follow before they do.
func TestHostsRotate(t *testing.T) {
	h := startAsking(t)
	h.sign(t)
	at := strings.TrimPrefix(h.trust.URL(), "http://")
	apptest.Stop(t, h.trust)
	zero := rotation.Span(0)
	for _, x := range []struct {
		host *app.App
		role string
	}{{h.ca, "ca"}, {h.logs, "ctlog"}, {h.logs, "rekor2"}, {h.logs, "rekor1"}} {
		keys := rotateAt(t, x.host, app.RotateRequest{Role: x.role, SwitchAfter: &zero})
		if want := x.role + " signing, " + x.role + ".2 made"; phases(keys) != want || !strings.Contains(keys.Waiting, "not known whether clients are told") {
			t.Errorf("expected %s, found %s: %s", want, phases(keys), keys.Waiting)
		}
		catchUp(t, x.host)
		if status, body := get(t, x.host, "/readyz"); status != 200 || !strings.Contains(body, "the rotation of ") {
			t.Errorf("%s: nobody is told that it waits: %d %s", x.role, status, body)
		}
	}
	h.trust = apptest.Start(t, apptest.In(h.trust.Data()), host(nil, app.RoleTSA, app.RoleTUF), func(c *app.Config) { c.Flags.Listen = at })
	h.ask(t)
	catchUp(t, h.logs) // the CT log goes on in another one, and the authority is not told
	h.sign(t)
	catchUp(t, h.ca)
	h.logs.AskHosts(t.Context())
	h.ca.AskHosts(t.Context())
	for _, x := range []struct {
		host *app.App
		role string
	}{{h.ca, "ca"}, {h.logs, "ctlog"}, {h.logs, "rekor2"}, {h.logs, "rekor1"}} {
		if keys := keysAt(t, x.host, x.role); phases(keys) != x.role+" ending, "+x.role+".2 signing" || keys.Waiting != "" {
			t.Errorf("found %s: %s", phases(keys), keys.Waiting)
		}
	}
	h.sign(t)
	h.ask(t)
	h.sign(t)
	rotateAt(t, h.trust, app.RotateRequest{Role: "tsa", SwitchAfter: &zero})
	rotateAt(t, h.trust, app.RotateRequest{Role: "tuf"})
	h.ask(t)
	h.sign(t)
	if keys := rotateAt(t, h.ca, app.RotateRequest{Role: "ca", Compromised: true}); phases(keys) != "ca retired, ca.2 retired, ca.3 signing" && phases(keys) != "ca ending, ca.2 retired, ca.3 signing" {
		t.Errorf("a stolen key has to wait: %s: %s", phases(keys), keys.Waiting)
	}
}

// TestHostsRotateKilled ends a host after each step of a rotation was written down and
// before it was done.
func TestHostsRotateKilled(t *testing.T) {
	h := startAsking(t)
	for _, x := range []struct {
		host **app.App
		role string
	}{{&h.ca, "ca"}, {&h.logs, "ctlog"}, {&h.logs, "rekor2"}, {&h.logs, "rekor1"}} {
		h.restart(t, x.host, func(dir string) {
			admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := admin.Rotate(t.Context(), app.RotateRequest{Role: x.role}); err != nil {
				t.Fatal(err)
			}
		})
		h.sign(t)
		h.ask(t)
		catchUp(t, *x.host)
		if keys := keysAt(t, *x.host, x.role); phases(keys) != x.role+" signing, "+x.role+".2 published" {
			t.Fatalf("found %s: %s", phases(keys), keys.Waiting)
		}
		for _, want := range []string{"ending", "retired"} {
			h.restart(t, x.host, func(dir string) {
				if err := app.RecordStep(dir, x.role, time.Now()); err != nil {
					t.Fatal(err)
				}
			})
			if keys := keysAt(t, *x.host, x.role); phases(keys) != x.role+" "+want+", "+x.role+".2 signing" {
				t.Errorf("found %s: %s", phases(keys), keys.Waiting)
			}
			ready(t, h.ca)
			h.sign(t) // others have what they had
			h.ask(t)
			h.sign(t)
		}
	}
}

// TestLostNextKey: a key that was lost before it signs keeps the host from starting, which
// says the way out; taken back, it is wanted no more.
func TestLostNextKey(t *testing.T) {
	for _, role := range []string{"ca", "tsa", "oidc", "tuf", "rekor2", "rekor1", "ctlog"} {
		t.Run(role, func(t *testing.T) {
			r := startRotated(t)
			r.restart(t, func(dir string) {
				admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir, Now: r.clock.Now})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := admin.Rotate(t.Context(), app.RotateRequest{Role: role}); err != nil {
					t.Fatal(err)
				}
				key := filepath.Join(dir, "keys", role+".2.pem")
				if err := os.Rename(key, key+".lost"); err != nil {
					t.Fatal(err)
				}
				refused(t, dir, sigbox.Fatal, "sigbox rotate "+role+" --abandon")
				if _, err := admin.Rotate(t.Context(), app.RotateRequest{Role: role, Abandon: true}); err != nil {
					t.Fatal(err)
				}
			})
			r.sign(t, "afterwards")
			ready(t, r.App)
			if got := r.rotate(t, app.RotateRequest{Role: role}); !strings.Contains(got, role+".2 abandoned, "+role+".3 ") {
				t.Errorf("found %s", got)
			}
		})
	}
}

// TestStolenLogThatFails: the key of a log that takes nothing, here since its anchor is
// gone, is replaced when it was stolen, and only then.
func TestStolenLogThatFails(t *testing.T) {
	for _, role := range app.LogRoles() {
		t.Run(role, func(t *testing.T) {
			anchor := t.TempDir()
			anchored := true
			r := startRotated(t, func(c *app.Config) {
				c.Flags.Anchor = anchor
				if !anchored {
					c.Flags.Anchor = ""
				}
			})
			r.signed = append(r.signed, r.mustSign(t, role, "before"))
			anchored = false
			r.restart(t, func(string) {})
			if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: role, SwitchAfter: new(rotation.Span)}); err == nil {
				t.Error("a log that is to be mended is left behind")
			}
			if got := r.rotate(t, app.RotateRequest{Role: role, Compromised: true}); !strings.HasSuffix(got, role+".2 signing") {
				t.Errorf("found %s", got)
			}
			shards := shardsOf(t, r.App)
			if a, b := shards[role].Phase, shards[role+".2"].Phase; a != httpapi.ShardSealed || b != httpapi.ShardActive {
				t.Errorf("the logs are %s and %s", a, b)
			}
		})
	}
}

// TestHostsRotateByHand: where somebody brings the parts, a key waits as well, until the
// repository that the settings name has it, which may be a copy in a directory.
func TestHostsRotateByHand(t *testing.T) {
	h := startHosts(t)
	h.meet(t)
	h.sign(t)
	zero := rotation.Span(0)
	rotate := func(role string) string {
		t.Helper()
		return rotateAt(t, h.logs, app.RotateRequest{Role: role, SwitchAfter: &zero}).Waiting
	}
	if why := rotate("ctlog"); !strings.Contains(why, "does not know where they get the trust root") || !strings.Contains(why, `"published"`) {
		t.Errorf("it waits: %s", why)
	}
	mirror := filepath.Join(t.TempDir(), "mirror")
	for _, settings := range []string{
		"published: {mirror: " + mirror + ", root: " + h.trust.RootFile() + "}\n", // not there yet
		"published: {mirror: " + h.trust.URL() + "/tuf, root: " + h.trust.RootFile() + "}\n",
	} {
		writeFile(t, filepath.Join(h.logs.Data(), "config.yaml"), settings)
		h.logs.Reload()
		catchUp(t, h.logs)
		if keys := keysAt(t, h.logs, "ctlog"); phases(keys) != "ctlog signing, ctlog.2 made" || keys.Waiting == "" {
			t.Errorf("found %s: %s", phases(keys), keys.Waiting)
		}
	}
	h.meet(t)
	catchUp(t, h.logs)
	h.sign(t)
	if err := os.CopyFS(mirror, os.DirFS(filepath.Join(h.trust.Data(), "tuf"))); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(h.logs.Data(), "config.yaml"), "published: {mirror: "+mirror+", root: "+h.trust.RootFile()+"}\n")
	h.logs.Reload()
	if why := rotate("rekor2"); !strings.Contains(why, "has not yet the log https://log") {
		t.Errorf("it waits: %s", why)
	}
	h.meet(t)
	if err := os.RemoveAll(mirror); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(mirror, os.DirFS(filepath.Join(h.trust.Data(), "tuf"))); err != nil {
		t.Fatal(err)
	}
	catchUp(t, h.logs)
	for _, role := range []string{"ctlog", "rekor2"} {
		if keys := keysAt(t, h.logs, role); phases(keys) != role+" ending, "+role+".2 signing" {
			t.Errorf("found %s: %s", phases(keys), keys.Waiting)
		}
	}
	h.meet(t)
	h.sign(t)
	for _, bad := range []app.Published{{Mirror: "https://tuf.example"}, {Mirror: "tuf", Root: "root.json"}, {Mirror: "file:///tuf", Root: "root.json"}} {
		_, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0", Published: bad}})
		expectKind(t, err, sigbox.Invalid)
	}
}
