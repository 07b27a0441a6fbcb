package app_test

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// reloaded is an instance with a settings file and an audit log.
type reloaded struct {
	*app.App
	dir, file, audit string
	log              *logLines
}

func startReloaded(t *testing.T, settings string) *reloaded {
	t.Helper()
	dir := t.TempDir()
	r := &reloaded{dir: dir, file: filepath.Join(dir, "settings.yaml"), audit: filepath.Join(dir, "audit", "audit.jsonl"), log: newLogLines()}
	if err := os.Mkdir(filepath.Dir(r.audit), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, r.file, r.required()+settings)
	r.App = apptest.Start(t, func(c *app.Config) {
		c.File, c.Logger = r.file, slog.New(slog.NewTextHandler(r.log, nil))
		c.Poll = 1 << 40 // nobody reloads but the test
	})
	return r
}

func (r *reloaded) required() string { return "audit: {file: " + r.audit + ", required: true}\n" }

// reload has other settings read, besides those of the audit log, and gives what is logged.
func (r *reloaded) reload(t *testing.T, settings string) string {
	t.Helper()
	writeFile(t, r.file, r.required()+settings)
	r.log.take()
	r.Reload()
	return r.log.take()
}

// from asks for something as a proxy does for a client, and gives the status.
func (r *reloaded) from(t *testing.T, client string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL()+"/api/v2/checkpoint", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := readAll(t, resp)
	return status
}

// TestReloadLimits: limits and proxies change while the instance runs, and a rate that did
// not change goes on with what was counted.
func TestReloadLimits(t *testing.T) {
	r := startReloaded(t, "")
	const proxied = "proxies: {trusted: [127.0.0.1]}\n"
	if said := r.reload(t, proxied+"limits: {per-address: 1/h}\n"); !strings.Contains(said, `"limits, proxies"`) && !strings.Contains(said, `"proxies, limits"`) {
		t.Errorf("the log says %s", said)
	}
	expect := func(client string, want int) {
		t.Helper()
		if got := r.from(t, client); got != want {
			t.Errorf("%s: expected %d, found %d", client, want, got)
		}
	}
	expect("192.0.2.1", http.StatusOK)
	expect("192.0.2.1", http.StatusTooManyRequests)
	expect("192.0.2.2", http.StatusOK)
	r.reload(t, proxied+"limits: {per-address: 1/h, requests: 100, connections-per-address: 100}\n")
	expect("192.0.2.1", http.StatusTooManyRequests)
	r.reload(t, "limits: {per-address: 1/h}\n") // the proxy is nobody's any more
	expect("192.0.2.3", http.StatusOK)
	expect("192.0.2.4", http.StatusTooManyRequests)
	r.reload(t, "")
	expect("192.0.2.1", http.StatusOK)
	expect("192.0.2.1", http.StatusOK)
}

// TestReloadIsWhole: a file in which one thing is wrong changes nothing, and the log and
// the audit log say that it was refused.
func TestReloadIsWhole(t *testing.T) {
	r := startReloaded(t, "")
	damaged := filepath.Join(r.dir, "part.json")
	writeFile(t, damaged, "{")
	const other = "limits: {per-address: 1/h}\nissuers: [{url: 'https://issuer.example.com', type: email}]\n"
	for name, wrong := range map[string]string{
		"YAML":     "[",
		"proxies":  "proxies: {trusted: [proxy]}\n",
		"provider": "ci-providers: {mine: {subject: '{'}}\n",
		"login":    "login: {connectors: [{id: a}]}\n",
		"part":     "parts: [" + damaged + "]\n",
	} {
		if said := r.reload(t, other+wrong); !strings.Contains(said, "the old ones stay") {
			t.Errorf("%s: the log says %s", name, said)
		}
		for range 2 {
			if status := r.from(t, "192.0.2.1"); status != http.StatusOK {
				t.Errorf("%s: found %d", name, status)
			}
		}
		if _, body := get(t, r.App, "/api/v2/configuration"); strings.Contains(body, "issuer.example.com") {
			t.Errorf("%s: the issuer is known", name)
		}
		list := events(t, r.audit)
		if last := list[len(list)-1]; last.Event != "settings.refused" || last.Outcome != "invalid" || last.By == "" {
			t.Errorf("%s: the audit log says %+v", name, last)
		}
	}
}

// TestReloadThatNeedsARestart: what cannot change while the instance runs is named, in the
// log, in the audit log and in the status, until it is as it was.
func TestReloadThatNeedsARestart(t *testing.T) {
	r := startReloaded(t, "")
	said := r.reload(t, "limits: {requests: 7}\nlisteners: [{address: '127.0.0.1:0', roles: [metrics]}]\ntls: {cert: a, key: b}\n")
	if !strings.Contains(said, "after a restart") || !strings.Contains(said, `settings="listeners, tls"`) {
		t.Errorf("the log says %s", said)
	}
	list := events(t, r.audit)
	if last := list[len(list)-1]; last.Event != "settings.reloaded" || last.Detail["changed"] != "limits" || last.Detail["restart"] != "listeners, tls" {
		t.Errorf("the audit log says %+v", last)
	}
	status := func() app.Status {
		t.Helper()
		s, err := r.Admin().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := status(); strings.Join(s.Restart, " ") != "listeners tls" || s.Limits.Requests != 7 {
		t.Errorf("found %+v, %+v", s.Restart, s.Limits)
	}
	r.reload(t, "")
	if s := status(); len(s.Restart) != 0 {
		t.Errorf("found %+v", s.Restart)
	}
}

// TestReloadRequiresTheAuditLog: settings that cannot be written down are not taken up; a
// TLS certificate that was renewed is.
func TestReloadRequiresTheAuditLog(t *testing.T) {
	files := app.TLSFiles{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	writeCertificate(t, files, 1)
	settings := "tls: {cert: " + files.Cert + ", key: " + files.Key + "}\n"
	r := startReloaded(t, settings)
	if err := os.RemoveAll(filepath.Dir(r.audit)); err != nil {
		t.Fatal(err)
	}
	writeCertificate(t, files, 2)
	if said := r.reload(t, settings+"limits: {requests: 7}\n"); !strings.Contains(said, "the old ones stay: the audit log is required") {
		t.Errorf("the log says %s", said)
	}
	s, err := r.Admin().Status(t.Context())
	if err != nil || s.Limits.Requests == 7 {
		t.Errorf("the settings are in force: %+v, %v", s.Limits, err)
	}
	if serial, _ := hello(t, r.App); serial != 2 {
		t.Errorf("the certificate was not renewed: %d", serial)
	}
	if err := os.Mkdir(filepath.Dir(r.audit), 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestReloadOtherCertificate: the settings may name other files for the TLS certificate;
// those that cannot be used are refused with all else.
func TestReloadOtherCertificate(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) app.TLSFiles {
		return app.TLSFiles{Cert: filepath.Join(dir, n+".crt"), Key: filepath.Join(dir, n+".key")}
	}
	setting := func(f app.TLSFiles) string { return "tls: {cert: " + f.Cert + ", key: " + f.Key + "}\n" }
	writeCertificate(t, name("a"), 1)
	writeCertificate(t, name("b"), 2)
	r := startReloaded(t, setting(name("a")))
	if said := r.reload(t, setting(name("c"))); !strings.Contains(said, "the old ones stay") {
		t.Errorf("the log says %s", said)
	}
	if serial, _ := hello(t, r.App); serial != 1 {
		t.Errorf("found the certificate %d", serial)
	}
	r.reload(t, setting(name("b")))
	if serial, _ := hello(t, r.App); serial != 2 {
		t.Errorf("found the certificate %d", serial)
	}
	if said := r.reload(t, ""); !strings.Contains(said, "after a restart") {
		t.Errorf("the log says %s", said)
	}
	if serial, _ := hello(t, r.App); serial != 2 {
		t.Errorf("found the certificate %d", serial)
	}
}
