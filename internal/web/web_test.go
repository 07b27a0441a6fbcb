package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/web"
)

func newPages(t *testing.T) *web.Pages {
	t.Helper()
	pages, err := web.New(`<b>name</b>`)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// all draws every page in every variety, with hostile input.
func all(t *testing.T) map[string]*httptest.ResponseRecorder {
	t.Helper()
	const evil = `"><script>alert(1)</script>`
	pages := newPages(t)
	login := oidc.LoginView{Action: "/oidc/login", ID: "id", CSRF: "csrf", Email: evil, Client: evil, Problem: evil}
	listening, device := login, login
	listening.Redirect = "http://localhost:1234/callback"
	device.Device = &oidc.DeviceRequest{UserCode: "BCDF-GHJK", Address: evil, Age: 3 * time.Second}
	draw := make(map[string]*httptest.ResponseRecorder)
	record := func(name string) *httptest.ResponseRecorder {
		draw[name] = httptest.NewRecorder()
		return draw[name]
	}
	pages.Login(record("out of band"), http.StatusOK, login)
	pages.Login(record("listening"), http.StatusOK, listening)
	pages.Login(record("device login"), http.StatusOK, device)
	pages.Login(record("empty login"), http.StatusOK, oidc.LoginView{})
	pages.Device(record("device"), http.StatusOK, oidc.DeviceView{Action: "/oidc/device", CSRF: "csrf", UserCode: evil, Problem: evil})
	pages.Message(record("message"), http.StatusOK, oidc.MessageView{Title: evil, Text: evil, Code: evil, Bad: true})
	pages.Front(record("front"), web.FrontView{URL: "http://localhost:8080/" + evil, RootSHA256: evil})
	return draw
}

func TestPagesAreGuarded(t *testing.T) {
	for name, rec := range all(t) {
		body, h := rec.Body.String(), rec.Header()
		if rec.Code != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
			t.Errorf("%s: status %d, page %q", name, rec.Code, body)
		}
		if strings.Contains(body, "<script") || strings.Contains(body, "<b>name</b>") || strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%s: input is not escaped: %s", name, body)
		}
		_, rest, _ := strings.Cut(body, "<style>")
		style, _, ok := strings.Cut(rest, "</style>")
		hash := sha256.Sum256([]byte(style))
		csp := h.Get("Content-Security-Policy")
		if !ok || !strings.Contains(csp, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'") {
			t.Errorf("%s: the policy %q forbids the page's own style", name, csp)
		}
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action '"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %s", name, csp, want)
			}
		}
		if h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: headers %v", name, h)
		}
	}
}

func TestFormActionFollowsTheRedirect(t *testing.T) {
	pages := newPages(t)
	for redirect, want := range map[string]string{
		"":                               "form-action 'self'",
		"http://localhost:1234/callback": "form-action 'self' http://localhost:1234",
		"http://127.0.0.1/":              "form-action 'self' http://127.0.0.1",
		"http://[::1]:1234/":             "form-action 'self' http:",
	} {
		rec := httptest.NewRecorder()
		pages.Login(rec, http.StatusForbidden, oidc.LoginView{Redirect: redirect})
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, want) || rec.Code != http.StatusForbidden {
			t.Errorf("redirect %q: status %d, policy %q, want %q", redirect, rec.Code, csp, want)
		}
	}
}
