package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/audit"
	"github.com/sigbox/sigbox/internal/fixture"
)

// events reads an audit log, which has to be whole.
func events(t *testing.T, path string) (list []audit.Event) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(strings.NewReader(string(b)), ""); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(b)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestAuditLog: what is issued and done is written down, with whom and where it came
// from, also what is done while no server runs; refusals of strangers are counted; no
// token is in it.
func TestAuditLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cfg := app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0", Audit: app.AuditSettings{File: path, Required: true}}}
	change := func(c *app.Config) { *c = cfg }
	a := apptest.Start(t, change)
	h := &hosts{ca: a}
	status, _, _ := h.issue(t)
	if status != http.StatusOK {
		t.Fatalf("found %d", status)
	}
	for range 3 {
		body := certificateRequest(t, sigbox.CertificateRequest{Token: "a.b.c", PublicKey: fixture.Key(t).Public(), Proof: []byte("proof")})
		resp, err := http.Post(a.URL()+"/api/v2/signingCert", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if status, body := readAll(t, resp); status != http.StatusBadRequest {
			t.Errorf("found %d %s", status, body)
		}
	}
	admin, err := app.OpenAdmin(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	user := app.NewUser{Email: "grace@example.com", Password: "correct horse battery"}
	if err := admin.AddUser(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	expectKind(t, admin.AddUser(t.Context(), user), sigbox.Conflict)
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	if admin, err = app.OpenAdmin(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Rotate(t.Context(), app.RotateRequest{Role: "oidc"}); err != nil {
		t.Error(err)
	}
	if _, err := admin.CeremonyRequest(t.Context(), []string{"oidc"}); err == nil {
		t.Error("a request for a role without a root")
	}
	if _, err := admin.CeremonyAccept(t.Context(), []byte("{}")); err == nil {
		t.Error("an answer to nothing")
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}
	a.Reload()
	apptest.Stop(t, a)
	if admin, err = app.OpenAdmin(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := admin.RemoveUser(t.Context(), user.Email); err != nil {
		t.Fatal(err)
	}
	token, err := admin.Token(t.Context(), app.TokenRequest{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Close(); err != nil {
		t.Fatal(err)
	}

	var names []string
	for _, e := range events(t, path) {
		names = append(names, strings.TrimSpace(e.Event+" "+e.Outcome))
		me := "uid " + strconv.Itoa(os.Getuid()) + ", process " + strconv.Itoa(os.Getpid())
		switch e.Event {
		case "certificate":
			claim := sha256.Sum256([]byte("ada@example.com"))
			if e.Subject != "ada@example.com" || e.Issuer != a.URL()+"/oidc" || e.IssuerType != "email" || e.Address != "127.0.0.1" || e.Request == "" ||
				len(e.Serial) < 30 || len(e.Key) != 64 || len(e.Token) != 64 || e.CTIndex == nil || *e.CTIndex != 0 || e.Claim != hex.EncodeToString(claim[:]) {
				t.Errorf("found %+v", e)
			}
		case "refusals":
			if e.Count != 3 {
				t.Errorf("found %+v", e)
			}
		case "rotate.step":
			if e.Detail["step"] != "publish" || e.Detail["key"] != "oidc.2" {
				t.Errorf("found %+v", e)
			}
		case "user.add", "user.remove", "token.mint":
			if e.By != me || e.Detail["email"] == "" || e.Detail["password"] != "" {
				t.Errorf("found %+v, expected by %s", e, me)
			}
		}
	}
	want := "start, certificate, user.add, user.add, user.add conflict, rotate, rotate.step, ceremony.request, ceremony.request invalid, ceremony.accept, ceremony.accept invalid, settings.reloaded, stop, refusals token, user.remove, token.mint"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("expected %s\nfound %s", want, got)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), token[:20]) || strings.Contains(string(text), "horse") {
		t.Error("there are secrets in it")
	}
}

// TestAuditLogRequired: what cannot be written down does not happen, if that is wanted,
// and does otherwise.
func TestAuditLogRequired(t *testing.T) {
	for _, required := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "log")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		a := apptest.Start(t, func(c *app.Config) {
			c.Flags.Audit = app.AuditSettings{File: filepath.Join(dir, "audit.jsonl"), Required: required}
		})
		h := &hosts{ca: a}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		a.Reload() // as after SIGHUP
		want := http.StatusOK
		if required {
			want = http.StatusServiceUnavailable
		}
		if status, _, body := h.issue(t); status != want || strings.Contains(body, dir) {
			t.Errorf("required: %t: expected %d, found %d %s", required, want, status, body)
		}
		if status, body := get(t, a, "/readyz"); status != want {
			t.Errorf("required: %t: /readyz: expected %d, found %d %s", required, want, status, body)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if status, _, body := h.issue(t); status != http.StatusOK {
			t.Errorf("required: %t: again: found %d %s", required, status, body)
		}
	}
	for want, s := range map[string]app.AuditSettings{
		"there is no file": {Required: true}, "up to 1000 files": {File: "a", Keep: 1001}, "0 and more": {File: "a", MaxBytes: -1},
		"cannot open the audit log": {File: filepath.Join(t.TempDir(), "a", "b")},
	} {
		_, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0", Audit: s}})
		expectKind(t, err, sigbox.Invalid)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}
