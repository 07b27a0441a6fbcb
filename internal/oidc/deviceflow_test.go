package oidc_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func deviceForm(challenge string) url.Values {
	v := url.Values{"client_id": {"sigstore"}, "scope": {"openid email"}}
	if challenge != "" {
		v.Set("code_challenge", challenge)
		v.Set("code_challenge_method", "S256")
	}
	return v
}

// deviceCodes is an answer of the device authorization endpoint.
type deviceCodes struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	Interval                int    `json:"interval"`
	ExpiresIn               int    `json:"expires_in"`
}

func (w *world) device(challenge string) (d deviceCodes) {
	w.Helper()
	p := w.browser().post(w.issuer+"/device_authorization", deviceForm(challenge))
	if err := json.Unmarshal([]byte(p.body), &d); err != nil || p.status != http.StatusOK {
		w.Fatalf("device authorization: %d, %v: %s", p.status, err, p.body)
	}
	return d
}

func (w *world) poll(d deviceCodes, verifier string, changes ...string) tokens {
	w.Helper()
	v := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {"sigstore"},
		"device_code": {d.DeviceCode}, "scope": {"openid email"}, "code_verifier": {verifier},
	}
	for i := 0; i < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
	}
	return w.token(v)
}

// enter goes from the page that the device shows to its login page.
func (b *browser) enter(d deviceCodes) page {
	b.w.Helper()
	p := b.submit(b.get(d.VerificationURI), "user_code", strings.ToLower(d.UserCode))
	if p.status != http.StatusSeeOther {
		b.w.Fatalf("user code: status %d: %s", p.status, p.body)
	}
	p = b.get(p.location.String())
	if p.status != http.StatusOK || !strings.Contains(p.body, d.UserCode) || !strings.Contains(p.body, "127.0.0.1") {
		b.w.Fatalf("login page: status %d: %s", p.status, p.body)
	}
	return p
}

func TestDeviceFlow(t *testing.T) {
	w := newWorld(t)
	verifier, challenge := pkce()
	d := w.device(challenge)
	if d.Interval != 5 || d.ExpiresIn != 600 || d.VerificationURI != w.issuer+"/device" ||
		d.VerificationURIComplete != w.issuer+"/device?user_code="+d.UserCode {
		t.Errorf("codes: %+v", d)
	}
	if tok := w.poll(d, verifier); tok.Error != "authorization_pending" || tok.status != http.StatusBadRequest {
		t.Errorf("before: %+v", tok)
	}
	if tok := w.poll(d, verifier); tok.Error != "slow_down" {
		t.Errorf("at once again: %+v", tok)
	}
	b := w.browser()
	if p := b.get(d.VerificationURIComplete); !strings.Contains(p.body, `value="`+d.UserCode+`"`) {
		t.Errorf("the link does not fill in the code: %s", p.body)
	}
	page := b.enter(d)
	if p := b.submit(page, "email", alice, "password", password, "action", "allow"); p.status != http.StatusOK || !strings.Contains(p.body, "signed in") {
		t.Fatalf("login: %d %s", p.status, p.body)
	}
	w.clock.Add(5 * time.Second)
	tok := w.poll(d, verifier)
	if tok.status != http.StatusOK {
		t.Fatalf("after: %+v", tok)
	}
	if _, claims := open(t, w.provider.Keys(), tok.IDToken); claims["email"] != alice || claims["aud"] != "sigstore" {
		t.Errorf("claims %v", claims)
	}
	w.clock.Add(5 * time.Second)
	if tok := w.poll(d, verifier); tok.Error != "expired_token" {
		t.Errorf("once more: %+v", tok)
	}
}

func TestDeviceFlowDenied(t *testing.T) {
	w := newWorld(t)
	d := w.device("")
	b := w.browser()
	page, second := b.enter(d), b.enter(d)
	if p := b.submit(page, "action", "deny"); p.status != http.StatusOK || !strings.Contains(p.body, "Denied") {
		t.Fatalf("deny: %d %s", p.status, p.body)
	}
	if tok := w.poll(d, ""); tok.Error != "access_denied" {
		t.Errorf("after: %+v", tok)
	}
	if p := b.submit(second, "email", alice, "password", password, "action", "allow"); p.status != http.StatusGone {
		t.Errorf("a yes after a no: status %d", p.status)
	}
	if tok := w.poll(d, ""); tok.Error != "access_denied" {
		t.Errorf("after a yes after a no: %+v", tok)
	}
}

func TestDeviceFlowRefuses(t *testing.T) {
	w := newWorld(t)
	verifier, challenge := pkce()
	other, _ := pkce()
	d := w.device(challenge)
	b := w.browser()
	if p := b.submit(b.enter(d), "email", alice, "password", password, "action", "allow"); p.status != http.StatusOK {
		t.Fatalf("login: %d", p.status)
	}
	if p := b.submit(b.get(d.VerificationURI), "user_code", d.UserCode); p.status != http.StatusBadRequest {
		t.Errorf("a user code that was used: status %d", p.status)
	}
	for name, c := range map[string]struct {
		verifier string
		changes  []string
		want     string
	}{
		"another verifier": {other, nil, "invalid_grant"},
		"no verifier":      {"", nil, "invalid_grant"},
		"another client":   {verifier, []string{"client_id", "other"}, "invalid_grant"},
		"unknown code":     {verifier, []string{"device_code", "AAAA"}, "expired_token"},
		"user code":        {verifier, []string{"device_code", d.UserCode}, "expired_token"},
	} {
		if tok := w.poll(d, c.verifier, c.changes...); tok.Error != c.want {
			t.Errorf("%s: %+v, want %s", name, tok, c.want)
		}
	}
	if tok := w.poll(d, verifier); tok.status != http.StatusOK {
		t.Errorf("the device itself: %+v", tok)
	}

	d = w.device("")
	page := b.enter(d)
	w.clock.Add(10 * time.Minute)
	if tok := w.poll(d, ""); tok.Error != "expired_token" {
		t.Errorf("an old device code: %+v", tok)
	}
	if p := b.submit(page, "email", alice, "password", password, "action", "allow"); p.status != http.StatusGone {
		t.Errorf("an old login: status %d", p.status)
	}
	for name, form := range map[string]url.Values{
		"no openid":       {"client_id": {"sigstore"}, "scope": {"email"}},
		"unknown client":  {"client_id": {"stranger"}, "scope": {"openid"}},
		"plain PKCE":      {"client_id": {"sigstore"}, "scope": {"openid"}, "code_challenge": {challenge}, "code_challenge_method": {"plain"}},
		"short challenge": {"client_id": {"sigstore"}, "scope": {"openid"}, "code_challenge": {"x"}, "code_challenge_method": {"S256"}},
		"oversize":        {"client_id": {"sigstore"}, "scope": {"openid"}, "padding": {strings.Repeat("x", 9<<10)}},
	} {
		if p := w.browser().post(w.issuer+"/device_authorization", form); p.status < 400 || p.status > 499 {
			t.Errorf("%s: status %d: %s", name, p.status, p.body)
		}
	}
}

func TestUserCodeTriesAreLimited(t *testing.T) {
	w := newWorld(t)
	d := w.device("")
	b := w.browser()
	page := b.get(d.VerificationURI)
	if p := b.submit(page, "csrf", "AAAA", "user_code", d.UserCode); p.status != http.StatusForbidden {
		t.Errorf("without the CSRF token: status %d", p.status)
	}
	if p := w.browser().post(w.issuer+"/device", url.Values{"user_code": {d.UserCode}}); p.status != http.StatusForbidden {
		t.Errorf("without a cookie: status %d", p.status)
	}
	for range 10 {
		if p := b.submit(page, "user_code", "BBBB-BBBB"); p.status != http.StatusBadRequest || !strings.Contains(p.body, "no such code") {
			t.Fatalf("a wrong code: status %d", p.status)
		}
	}
	if p := b.submit(page, "user_code", d.UserCode); p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") == "" {
		t.Errorf("after ten wrong codes: status %d", p.status)
	}
	w.clock.Add(31 * time.Second)
	if p := b.submit(page, "user_code", d.UserCode); p.status != http.StatusSeeOther {
		t.Errorf("half a minute later: status %d", p.status)
	}
}

// TestDeviceLoginsAreLimited: a program that has a good code of its own could else
// begin logins without end, and so push out everybody else's.
func TestDeviceLoginsAreLimited(t *testing.T) {
	w := newWorld(t)
	d := w.device("")
	b := w.browser()
	form := b.get(d.VerificationURI)
	for range 200 {
		if p := b.submit(form, "user_code", d.UserCode); p.status == http.StatusTooManyRequests {
			if p.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			return
		}
	}
	t.Error("200 logins began with one code")
}
