package oidc_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/web"
)

const callback = "http://localhost:34567/auth/callback"

// world is a provider behind real HTTP, with one user.
type world struct {
	*testing.T
	provider *oidc.Provider
	clock    *fixture.Clock
	url      string // of the server
	issuer   string
	log      *strings.Builder // guarded by the server's end
}

func newWorld(t *testing.T, changes ...func(*world, *oidc.Config)) *world {
	t.Helper()
	w := &world{T: t, clock: fixture.NewClock(time.Unix(1_700_000_000, 0)), log: new(strings.Builder)}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.url, w.issuer = server.URL, server.URL+"/oidc"
	users := oidc.NewUsers(oidc.UsersConfig{KV: memory.NewKV(), Now: w.clock.Now})
	if err := users.Add(t.Context(), alice, password, "Alice"); err != nil {
		t.Fatal(err)
	}
	cfg := oidc.Config{
		Issuer: w.issuer, AllowHTTP: true, Key: key(t), Users: users, Pages: web.New("test"),
		Clients: []string{"sigstore", "other"}, Now: w.clock.Now,
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, change := range changes {
		change(w, &cfg)
	}
	var err error
	if w.provider, err = oidc.New(cfg); err != nil {
		t.Fatal(err)
	}
	mux.Handle("/oidc/", w.provider.Handler())
	return w
}

// browser has cookies, and does not follow redirects.
func (w *world) browser() *browser {
	w.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.Fatal(err)
	}
	return &browser{w: w, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type browser struct {
	w      *world
	client *http.Client
}

// page is an answer that a browser got.
type page struct {
	status   int
	header   http.Header
	body     string
	location *url.URL // of a redirect
}

func (b *browser) do(req *http.Request) page {
	b.w.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.w.Fatal(err)
	}
	p := page{status: resp.StatusCode, header: resp.Header, body: string(body)}
	p.location, _ = resp.Location()
	return p
}

func (b *browser) get(addr string) page {
	b.w.Helper()
	req, err := http.NewRequestWithContext(b.w.Context(), http.MethodGet, addr, nil)
	if err != nil {
		b.w.Fatal(err)
	}
	return b.do(req)
}

func (b *browser) post(addr string, form url.Values) page {
	b.w.Helper()
	req, err := http.NewRequestWithContext(b.w.Context(), http.MethodPost, addr, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(req)
}

// submit fills in the form of a page and sends it.
func (b *browser) submit(p page, fields ...string) page {
	b.w.Helper()
	form := p.form()
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	action := regexp.MustCompile(`<form method="post" action="([^"]*)"`).FindStringSubmatch(p.body)
	if action == nil {
		b.w.Fatalf("no form in %s", p.body)
	}
	return b.post(b.w.url+action[1], form)
}

// form gives the hidden fields.
func (p page) form() url.Values {
	form := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	return form
}

// pkce makes a verifier and its challenge.
func pkce() (verifier, challenge string) {
	verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

// authParams are those of a correct authorization request, changed by pairs; ""
// takes one away.
func authParams(challenge string, changes ...string) url.Values {
	v := url.Values{
		"response_type": {"code"}, "client_id": {"sigstore"}, "redirect_uri": {callback}, "scope": {"openid email"},
		"state": {"the state"}, "nonce": {"the nonce"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
		"access_type": {"online"},
	}
	for i := 0; i < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			v.Del(changes[i])
		}
	}
	return v
}

// loginPage follows a correct authorization request to the login page.
func (b *browser) loginPage(params url.Values) page {
	b.w.Helper()
	p := b.get(b.w.issuer + "/authorize?" + params.Encode())
	if p.status != http.StatusFound || !strings.HasPrefix(p.location.String(), b.w.issuer+"/login?id=") {
		b.w.Fatalf("authorize: status %d, location %v: %s", p.status, p.location, p.body)
	}
	p = b.get(p.location.String())
	if p.status != http.StatusOK {
		b.w.Fatalf("login page: status %d: %s", p.status, p.body)
	}
	return p
}

// signIn goes from the authorization request to the program's redirect.
func (b *browser) signIn(params url.Values) url.Values {
	b.w.Helper()
	p := b.submit(b.loginPage(params), "email", alice, "password", password, "action", "allow")
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.location.String(), callback+"?") {
		b.w.Fatalf("after the login: status %d, location %v: %s", p.status, p.location, p.body)
	}
	return p.location.Query()
}

// tokens is an answer of the token endpoint.
type tokens struct {
	status                      int
	AccessToken, IDToken, Error string
	ExpiresIn                   float64
	header                      http.Header
}

func (w *world) token(form url.Values, basic ...string) tokens {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.issuer+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(basic) == 2 {
		req.SetBasicAuth(basic[0], basic[1])
	}
	p := w.browser().do(req)
	var m map[string]any
	if err := json.Unmarshal([]byte(p.body), &m); err != nil {
		w.Fatalf("token endpoint: %v in %q", err, p.body)
	}
	t := tokens{status: p.status, header: p.header}
	t.AccessToken, _ = m["access_token"].(string)
	t.IDToken, _ = m["id_token"].(string)
	t.Error, _ = m["error"].(string)
	t.ExpiresIn, _ = m["expires_in"].(float64)
	return t
}

func codeForm(code, verifier string, changes ...string) url.Values {
	v := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"sigstore"}, "redirect_uri": {callback},
		"code": {code}, "code_verifier": {verifier},
	}
	for i := 0; i < len(changes); i += 2 {
		v.Set(changes[i], changes[i+1])
	}
	return v
}

func TestDiscovery(t *testing.T) {
	w := newWorld(t)
	p := w.browser().get(w.issuer + "/.well-known/openid-configuration")
	var d map[string]any
	if err := json.Unmarshal([]byte(p.body), &d); err != nil || p.status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", p.status, err, p.body)
	}
	for name, want := range map[string]string{
		"issuer":                        w.issuer,
		"authorization_endpoint":        w.issuer + "/authorize",
		"token_endpoint":                w.issuer + "/token",
		"userinfo_endpoint":             w.issuer + "/userinfo",
		"device_authorization_endpoint": w.issuer + "/device_authorization",
		"jwks_uri":                      w.issuer + "/keys",
	} {
		if d[name] != want {
			t.Errorf("%s is %v, want %s", name, d[name], want)
		}
	}
	for name, want := range map[string]string{
		"code_challenge_methods_supported":      "S256",
		"id_token_signing_alg_values_supported": "RS256",
		"response_types_supported":              "code",
	} {
		if list, _ := d[name].([]any); len(list) != 1 || list[0] != want {
			t.Errorf("%s is %v, want [%s]", name, d[name], want)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/keys", "/authorize", "/login", "/token", "/device"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.issuer+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://evil.example")
		if cors := w.browser().do(req).header.Get("Access-Control-Allow-Origin"); cors != "" {
			t.Errorf("%s is open to the origin %q", path, cors)
		}
	}
}

func TestCodeFlow(t *testing.T) {
	w := newWorld(t)
	verifier, challenge := pkce()
	back := w.browser().signIn(authParams(challenge))
	if back.Get("state") != "the state" || back.Get("iss") != w.issuer || back.Get("error") != "" {
		t.Errorf("the program gets %v", back)
	}
	tok := w.token(codeForm(back.Get("code"), verifier))
	if tok.status != http.StatusOK || tok.ExpiresIn != 600 || tok.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("tokens: %+v", tok)
	}
	for _, raw := range []string{tok.IDToken, tok.AccessToken} {
		_, claims := open(t, w.provider.Keys(), raw)
		for name, want := range map[string]any{
			"iss": w.issuer, "sub": alice, "email": alice, "email_verified": true, "aud": "sigstore", "nonce": "the nonce",
			"iat": 1.7e9, "nbf": 1.7e9 - 5, "exp": 1.7e9 + 600, "auth_time": 1.7e9, "name": "Alice",
		} {
			if claims[name] != want {
				t.Errorf("claim %s is %v, want %v", name, claims[name], want)
			}
		}
	}
	_, claims := open(t, w.provider.Keys(), tok.IDToken)
	sum := sha256.Sum256([]byte(tok.AccessToken))
	if want := base64.RawURLEncoding.EncodeToString(sum[:16]); claims["at_hash"] != want {
		t.Errorf("at_hash is %v, want %s", claims["at_hash"], want)
	}

	userinfo := func() page {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.issuer+"/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tok.AccessToken)
		return w.browser().do(req)
	}
	if p := userinfo(); p.status != http.StatusOK || !strings.Contains(p.body, `"email":"`+alice+`"`) {
		t.Errorf("userinfo: %d %s", p.status, p.body)
	}
	w.clock.Add(11 * time.Minute)
	if p := userinfo(); p.status != http.StatusUnauthorized {
		t.Errorf("userinfo with an expired token: %d %s", p.status, p.body)
	}
	for _, secret := range []string{password, verifier, back.Get("code"), tok.IDToken, tok.AccessToken} {
		if strings.Contains(w.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// sigstore-python sends its client ID and an empty secret with Basic
// authentication, and Go's oauth2 does so at its first try.
func TestCodeFlowWithBasicAuthentication(t *testing.T) {
	w := newWorld(t)
	verifier, challenge := pkce()
	form := codeForm(w.browser().signIn(authParams(challenge)).Get("code"), verifier)
	form.Del("client_id")
	if tok := w.token(form, "sigstore", ""); tok.status != http.StatusOK {
		t.Errorf("tokens: %+v", tok)
	}
	if tok := w.token(form, "sigstore", "guess"); tok.status != http.StatusUnauthorized || tok.Error != "invalid_client" {
		t.Errorf("with a secret: %+v", tok)
	}
}

func TestOutOfBandFlow(t *testing.T) {
	w := newWorld(t)
	const oob = "urn:ietf:wg:oauth:2.0:oob"
	verifier, challenge := pkce()
	b := w.browser()
	p := b.submit(b.loginPage(authParams(challenge, "redirect_uri", oob)), "email", alice, "password", password, "action", "allow")
	code := regexp.MustCompile(`<p class="code long">([^<]*)</p>`).FindStringSubmatch(p.body)
	if p.status != http.StatusOK || code == nil {
		t.Fatalf("status %d: %s", p.status, p.body)
	}
	if tok := w.token(codeForm(code[1], verifier, "redirect_uri", oob)); tok.status != http.StatusOK {
		t.Errorf("tokens: %+v", tok)
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	// What cannot be sent to the program is shown to the person.
	for name, changes := range map[string][]string{
		"foreign redirect":     {"redirect_uri", "https://evil.example/callback"},
		"lookalike redirect":   {"redirect_uri", "http://localhost.evil.example/callback"},
		"userinfo redirect":    {"redirect_uri", "http://localhost:1@evil.example/"},
		"https redirect":       {"redirect_uri", "https://localhost:1/"},
		"no redirect":          {"redirect_uri", ""},
		"unknown client":       {"client_id", "stranger"},
		"no client":            {"client_id", ""},
		"out of band, no PKCE": {"redirect_uri", "urn:ietf:wg:oauth:2.0:oob", "code_challenge", ""},
		"oversize query":       {"state", strings.Repeat("s", 9<<10)},
	} {
		p := w.browser().get(w.issuer + "/authorize?" + authParams(challenge, changes...).Encode())
		if p.status < 400 || p.status > 499 || p.location != nil || !strings.Contains(p.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: status %d, location %v, %s", name, p.status, p.location, p.header.Get("Content-Type"))
		}
	}
	// The rest goes to the program, with its state.
	for name, c := range map[string][]string{
		"no PKCE":            {"invalid_request", "code_challenge", ""},
		"plain PKCE":         {"invalid_request", "code_challenge_method", "plain"},
		"no PKCE method":     {"invalid_request", "code_challenge_method", ""},
		"short challenge":    {"invalid_request", "code_challenge", "abc"},
		"implicit flow":      {"unauthorized_client", "response_type", "id_token token"},
		"no response type":   {"invalid_request", "response_type", ""},
		"form post":          {"invalid_request", "response_mode", "form_post"},
		"fragment":           {"invalid_request", "response_mode", "fragment"},
		"no scope":           {"invalid_scope", "scope", ""},
		"no openid":          {"invalid_scope", "scope", "email"},
		"long nonce":         {"invalid_request", "nonce", strings.Repeat("n", 2000)},
		"request object":     {"request_not_supported", "request", "x.y.z"},
		"request URI":        {"request_not_supported", "request_uri", "https://evil.example"},
		"without a person":   {"login_required", "prompt", "none"},
		"broken maximum age": {"invalid_request", "max_age", "-1"},
	} {
		p := w.browser().get(w.issuer + "/authorize?" + authParams(challenge, c[1:]...).Encode())
		if p.status != http.StatusSeeOther || !strings.HasPrefix(p.location.String(), callback+"?") {
			t.Errorf("%s: status %d, location %v: %s", name, p.status, p.location, p.body)
			continue
		}
		if q := p.location.Query(); q.Get("error") != c[0] || q.Get("state") != "the state" || q.Get("code") != "" {
			t.Errorf("%s: the program gets %v", name, q)
		}
	}
	twice := authParams(challenge)
	twice.Add("redirect_uri", "http://localhost:2/")
	if p := w.browser().get(w.issuer + "/authorize?" + twice.Encode()); p.status != http.StatusBadRequest {
		t.Errorf("a parameter twice: status %d", p.status)
	}
}

func TestCodeIsBound(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	otherVerifier, _ := pkce()
	for name, changes := range map[string][]string{
		"another verifier":   {"code_verifier", otherVerifier},
		"no verifier":        {"code_verifier", ""},
		"challenge as plain": {"code_verifier", "challenge"},
		"another redirect":   {"redirect_uri", "http://localhost:1/auth/callback"},
		"another client":     {"client_id", "other"},
	} {
		verifier, challenge := pkce()
		code := b.signIn(authParams(challenge)).Get("code")
		if changes[1] == "challenge" {
			changes[1] = challenge
		}
		if tok := w.token(codeForm(code, verifier, changes...)); tok.status != http.StatusBadRequest || tok.Error != "invalid_grant" {
			t.Errorf("%s: %+v", name, tok)
		}
		if tok := w.token(codeForm(code, verifier)); tok.Error != "invalid_grant" {
			t.Errorf("%s: the code is still good after a wrong try: %+v", name, tok)
		}
	}
}

func TestCodeIsGoodOnceAndShortly(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	verifier, challenge := pkce()
	code := b.signIn(authParams(challenge)).Get("code")
	var wg sync.WaitGroup
	got := make([]tokens, 8)
	for i := range got {
		wg.Go(func() { got[i] = w.token(codeForm(code, verifier)) })
	}
	wg.Wait()
	var good int
	for _, tok := range got {
		if tok.status == http.StatusOK {
			good++
		}
	}
	if good != 1 {
		t.Errorf("a code was good %d times", good)
	}

	code = b.signIn(authParams(challenge)).Get("code")
	w.clock.Add(2 * time.Minute)
	if tok := w.token(codeForm(code, verifier)); tok.Error != "invalid_grant" {
		t.Errorf("an old code: %+v", tok)
	}

	code = b.signIn(authParams(challenge)).Get("code")
	if err := w.provider.Users().Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if tok := w.token(codeForm(code, verifier)); tok.Error != "invalid_grant" {
		t.Errorf("a user who is gone: %+v", tok)
	}
}

// Dex let whoever knew a request's ID collect the code once somebody else had
// signed in for it (GHSA-vh7g-p26c-j2cw): an attacker began a login with his own
// verifier and led a victim into the middle of it. Here the ID is worthless in
// another browser, before the login and after it, and a code leaves only in the
// answer to the form.
func TestGHSAvh7gp26cj2cwAuthorizationCodeTheft(t *testing.T) {
	w := newWorld(t)
	attacker, victim := w.browser(), w.browser()
	_, challenge := pkce()

	// The attacker begins, and leads the victim to his login page.
	page := attacker.loginPage(authParams(challenge))
	id := page.form().Get("id")
	if p := victim.get(w.issuer + "/login?id=" + id); p.status != http.StatusForbidden || strings.Contains(p.body, "password") {
		t.Errorf("the victim is asked for the password: %d %s", p.status, p.body)
	}
	// A victim with a login of his own is no better: cookie and ID do not fit.
	victim.loginPage(authParams(challenge))
	if p := victim.submit(page, "email", alice, "password", password, "action", "allow"); p.status != http.StatusForbidden || p.location != nil {
		t.Errorf("the victim's password ends the attacker's login: %d %v", p.status, p.location)
	}

	// The victim begins, and the attacker learns the ID.
	page = victim.loginPage(authParams(challenge))
	id = page.form().Get("id")
	if p := victim.submit(page, "email", alice, "password", password, "action", "allow"); p.location == nil || p.location.Query().Get("code") == "" {
		t.Fatalf("the victim cannot sign in: %d", p.status)
	}
	for _, path := range []string{"/login?id=" + id, "/authorize/callback?id=" + id, "/callback?id=" + id, "/approval?req=" + id} {
		for _, b := range []*browser{attacker, victim} {
			p := b.get(w.issuer + path)
			if p.status < 400 || p.location != nil {
				t.Errorf("%s leads on: %d %v", path, p.status, p.location)
			}
		}
	}
	if p := victim.submit(page, "email", alice, "password", password, "action", "allow"); p.status != http.StatusGone {
		t.Errorf("the same form again: %d %v", p.status, p.location)
	}
}

// The program checks the state (sigstore-python GHSA-hm8f-75xx-w2vr did not); the
// provider must hand it back untouched in each answer.
func TestGHSAhm8f75xxw2vrStateIsHandedBack(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	for _, state := range []string{"", "x", "a b&c=d#e%2f+ü\"<>", strings.Repeat("s", 1024)} {
		b := w.browser()
		if got := b.signIn(authParams(challenge, "state", state)); got.Get("state") != state {
			t.Errorf("state %q comes back as %q", state, got.Get("state"))
		}
		p := b.submit(b.loginPage(authParams(challenge, "state", state)), "action", "deny")
		if q := p.location.Query(); q.Get("state") != state || q.Get("error") != "access_denied" || q.Get("code") != "" {
			t.Errorf("denied with state %q: %v", state, q)
		}
	}
}

func TestLoginFormIsGuarded(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	b := w.browser()
	page := b.loginPage(authParams(challenge))
	good := []string{"email", alice, "password", password, "action", "allow"}

	for name, csrf := range map[string]string{"no": "", "a wrong": "AAAA", "another login's": b.loginPage(authParams(challenge)).form().Get("csrf")} {
		if p := b.submit(page, append(good, "csrf", csrf)...); p.status != http.StatusForbidden || p.location != nil {
			t.Errorf("with %s CSRF token: status %d", name, p.status)
		}
	}
	form := page.form()
	for i := 0; i < len(good); i += 2 {
		form.Set(good[i], good[i+1])
	}
	if p := w.browser().post(w.issuer+"/login", form); p.status != http.StatusForbidden {
		t.Errorf("without cookies: status %d", p.status)
	}
	for name, value := range map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.issuer+"/login", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set(name, value)
		if p := b.do(req); p.status != http.StatusForbidden || !strings.Contains(p.body, "another site") {
			t.Errorf("from another site by %s: status %d", name, p.status)
		}
	}
	form.Set("padding", strings.Repeat("x", 9<<10))
	if p := b.post(w.issuer+"/login", form); p.status != http.StatusRequestEntityTooLarge {
		t.Errorf("oversize: status %d", p.status)
	}
	if p := b.submit(page, "action", "whatever"); p.status != http.StatusBadRequest {
		t.Errorf("an unknown button: status %d", p.status)
	}
	if p := b.submit(page, good...); p.status != http.StatusSeeOther {
		t.Errorf("the form itself: status %d", p.status)
	}
}

func TestLoginCookie(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	p := w.browser().get(w.issuer + "/authorize?" + authParams(challenge).Encode())
	for _, want := range []string{"sigbox-login=", "HttpOnly", "SameSite=Lax", "Path=/"} {
		if cookie := p.header.Get("Set-Cookie"); !strings.Contains(cookie, want) || strings.Contains(cookie, "Secure") {
			t.Errorf("over plain HTTP: cookie %q, want %s", cookie, want)
		}
	}

	secure, err := oidc.New(oidc.Config{
		Issuer: "https://sigbox.example/oidc", Key: key(t), Users: w.provider.Users(), Pages: web.New("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	secure.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/oidc/authorize?"+authParams(challenge).Encode(), nil))
	for _, want := range []string{"__Host-sigbox-login=", "HttpOnly", "SameSite=Lax", "Path=/", "Secure"} {
		if cookie := rec.Header().Get("Set-Cookie"); !strings.Contains(cookie, want) {
			t.Errorf("over TLS: cookie %q, want %s", cookie, want)
		}
	}
}

func TestLoginTriesAreLimited(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	b := w.browser()
	page := b.loginPage(authParams(challenge))
	try := func(email, password string) outcome {
		p := b.submit(page, "email", email, "password", password, "action", "allow")
		return outcome{p.status, p.header.Get("Retry-After"), strings.Contains(p.body, "wrong.</p>")}
	}
	wrong, unknown := try(alice, "wrong password"), try("nobody@example.org", "wrong password")
	if wrong != unknown || wrong.status != http.StatusForbidden || !wrong.says {
		t.Errorf("wrong password: %+v; unknown user: %+v", wrong, unknown)
	}
	for range 9 {
		try(alice, "wrong password")
	}
	if got := try(strings.ToLower(alice), password); got.status != http.StatusTooManyRequests || got.retry == "" {
		t.Errorf("after ten wrong passwords: %+v", got)
	}
	w.clock.Add(31 * time.Second)
	if got := try(alice, password); got.status != http.StatusSeeOther {
		t.Errorf("half a minute later: %+v", got)
	}
}

// outcome is what counts of an answer to a try.
type outcome struct {
	status int
	retry  string
	says   bool
}

func TestLoginExpires(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	b := w.browser()
	page := b.loginPage(authParams(challenge))
	w.clock.Add(11 * time.Minute)
	if p := b.submit(page, "email", alice, "password", password, "action", "allow"); p.status != http.StatusGone {
		t.Errorf("an old login: status %d", p.status)
	}
	if p := b.get(w.issuer + "/login?id=unknown"); p.status != http.StatusGone {
		t.Errorf("an unknown login: status %d", p.status)
	}
}

func TestStartsAreLimited(t *testing.T) {
	w := newWorld(t)
	_, challenge := pkce()
	b := w.browser()
	for range 100 {
		b.get(w.issuer + "/authorize?" + authParams(challenge).Encode())
	}
	if p := b.get(w.issuer + "/authorize?" + authParams(challenge).Encode()); p.status != http.StatusTooManyRequests {
		t.Errorf("after a hundred: status %d", p.status)
	}
	if p := b.post(w.issuer+"/device_authorization", deviceForm("")); p.status != http.StatusTooManyRequests {
		t.Errorf("device authorization after a hundred: status %d", p.status)
	}
}

func TestTokenEndpointRefuses(t *testing.T) {
	w := newWorld(t)
	verifier, _ := pkce()
	for name, c := range map[string]struct {
		form url.Values
		want string
	}{
		"nothing":            {url.Values{}, "invalid_request"},
		"unknown code":       {codeForm("code", verifier), "invalid_grant"},
		"no code":            {codeForm("", verifier), "invalid_request"},
		"no client":          {codeForm("code", verifier, "client_id", ""), "invalid_request"},
		"unknown client":     {codeForm("code", verifier, "client_id", "stranger"), "invalid_client"},
		"refresh token":      {codeForm("code", verifier, "grant_type", "refresh_token"), "unauthorized_client"},
		"client credentials": {codeForm("code", verifier, "grant_type", "client_credentials"), "unauthorized_client"},
		"token exchange":     {codeForm("code", verifier, "grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), "unauthorized_client"},
		"JWT bearer":         {codeForm("code", verifier, "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion", "x"), "unsupported_grant_type"},
		"password":           {codeForm("code", verifier, "grant_type", "password"), "unsupported_grant_type"},
		"client assertion":   {codeForm("code", verifier, "client_assertion", "x", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), "invalid_client"},
		"oversize":           {codeForm("code", verifier, "padding", strings.Repeat("x", 9<<10)), "invalid_request"},
		"a parameter twice":  {url.Values{"grant_type": {"authorization_code", "authorization_code"}}, "invalid_request"},
	} {
		if tok := w.token(c.form); tok.status < 400 || tok.status > 499 || tok.Error != c.want || tok.IDToken != "" {
			t.Errorf("%s: status %d, error %q; want %q", name, tok.status, tok.Error, c.want)
		}
	}
	if p := w.browser().get(w.issuer + "/token?" + codeForm("code", verifier).Encode()); p.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", p.status)
	}
	if p := w.browser().post(w.issuer+"/token?code=code", codeForm("code", verifier)); p.status != http.StatusBadRequest {
		t.Errorf("a code in the URL: status %d", p.status)
	}
	if p := w.browser().get(w.issuer + "/userinfo"); p.status != http.StatusUnauthorized {
		t.Errorf("userinfo without a token: status %d", p.status)
	}
	for _, path := range []string{"/", "/nowhere", "/healthz", "/ready", "/introspect", "/revoke", "/end_session"} {
		if p := w.browser().get(w.issuer + path); p.status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, p.status)
		}
	}
}
