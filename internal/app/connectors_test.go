package app_test

import (
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// loginPage is what a program's browser is shown first.
func loginPage(t *testing.T, a *app.App) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Jar: jar}).Get(a.URL() + "/oidc/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"sigstore"}, "redirect_uri": {"http://localhost:1/"}, "scope": {"openid"},
		"code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	_, page := readAll(t, resp)
	return page
}

// TestLoginsAreReloaded: how people sign in follows the file without a restart; one with a
// fault changes nothing.
func TestLoginsAreReloaded(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the client's secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := newLogLines()
	a := apptest.Start(t, apptest.In(dir), func(c *app.Config) {
		c.Logger, c.Poll = slog.New(slog.NewTextHandler(log, nil)), time.Millisecond
	})
	if page := loginPage(t, a); !strings.Contains(page, `name="password"`) || strings.Contains(page, "Sign in with") {
		t.Errorf("before: %s", page)
	}
	const settings = `login:
  local-accounts: false
  connectors:
    - {id: one, title: One, type: oidc, url: "https://one.example", client-id: sigbox, client-secret: "file:SECRET", domains: [one.example]}
    - {id: two, title: Two, type: github, client-id: sigbox, client-secret: "file:SECRET", domains: [two.example]}
`
	for _, tt := range []struct{ change, to, offered, said string }{
		{"", "", "Sign in with One", "settings reloaded"},
		{"domains: [two.example]", "domains: [one.example]", "Sign in with One", "would not tell whose"},
		{"file:SECRET", "file:NOWHERE", "Sign in with One", "client-secret file:NOWHERE"},
		{"title: One", "title: Uno", "Sign in with Uno", "settings reloaded"},
	} {
		text := strings.ReplaceAll(strings.Replace(settings, tt.change, tt.to, 1), "SECRET", secret)
		writeFile(t, filepath.Join(dir, "config.yaml"), text)
		log.wait(t, tt.said)
		if page := loginPage(t, a); !strings.Contains(page, tt.offered) || !strings.Contains(page, "Sign in with Two") || strings.Contains(page, `name="password"`) {
			t.Errorf("%q: the page: %s", tt.to, page)
		}
	}
}
