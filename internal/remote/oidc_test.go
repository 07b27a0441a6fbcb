package remote

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
)

// fakeProvider is an OpenID provider that answers as its fields say.
type fakeProvider struct {
	t      *testing.T
	url    string
	issuer string // as stated; "" is url
	// token changes the ID token's claims.
	token func(claims map[string]any)
	// namesIssuer is what the discovery document says of RFC 9207.
	namesIssuer bool
	// poll answers device polls before the token is given.
	poll []string
	// seen are the forms that the token endpoint got.
	seen []url.Values
	// challenge and nonce are what the login URL carried.
	challenge, nonce string
	device           string // body of the device endpoint's answer
}

func newProvider(t *testing.T) *fakeProvider {
	p := &fakeProvider{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("POST /token", p.answerToken)
	mux.HandleFunc("POST /device", p.answerDevice)
	p.url = serve(t, mux.ServeHTTP)
	p.device = `{"device_code":"dc","user_code":"ABCD-EFGH","verification_uri":"` + p.url + `/go","expires_in":600,"interval":1}`
	return p
}

func (p *fakeProvider) discovery(w http.ResponseWriter, _ *http.Request) {
	issuer := p.issuer
	if issuer == "" {
		issuer = p.url
	}
	p.write(w, map[string]any{
		"issuer": issuer, "authorization_endpoint": p.url + "/login", "token_endpoint": p.url + "/token",
		"device_authorization_endpoint": p.url + "/device", "authorization_response_iss_parameter_supported": p.namesIssuer,
	})
}

func (p *fakeProvider) write(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		p.t.Error(err)
	}
	_, _ = w.Write(b)
}

func (p *fakeProvider) answerDevice(w http.ResponseWriter, r *http.Request) {
	p.challenge = r.PostFormValue("code_challenge")
	_, _ = io.WriteString(w, p.device)
}

func (p *fakeProvider) answerToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.seen = append(p.seen, r.PostForm)
	if len(p.poll) > 0 {
		code := p.poll[0]
		p.poll = p.poll[1:]
		w.WriteHeader(http.StatusBadRequest)
		p.write(w, map[string]string{"error": code})
		return
	}
	if p.challenge != "" && challenge(r.PostForm.Get("code_verifier")) != p.challenge {
		w.WriteHeader(http.StatusBadRequest)
		p.write(w, map[string]string{"error": "invalid_grant", "error_description": "PKCE"})
		return
	}
	claims := map[string]any{
		"iss": p.url, "sub": "s", "email": "ada@example.com", "aud": "sigstore", "nonce": p.nonce,
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	if p.token != nil {
		p.token(claims)
	}
	b, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	jwt := "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(b) + ".c2ln"
	p.write(w, map[string]string{"id_token": jwt})
}

// browse plays the browser: it takes the login URL and calls back with what
// change makes of a correct answer.
func (p *fakeProvider) browse(change func(url.Values)) func(string) error {
	return func(login string) error {
		u, err := url.Parse(login)
		if err != nil {
			return err
		}
		q := u.Query()
		p.challenge, p.nonce = q.Get("code_challenge"), q.Get("nonce")
		back := url.Values{"code": {"the-code"}, "state": {q.Get("state")}}
		if change != nil {
			change(back)
		}
		target := strings.Replace(q.Get("redirect_uri"), "localhost", "127.0.0.1", 1)
		resp, err := http.Get(target + "?" + back.Encode())
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
}

func (p *fakeProvider) login(change func(url.Values)) Login {
	return Login{Issuer: p.url, Open: p.browse(change)}
}

func TestBrowserLogin(t *testing.T) {
	p := newProvider(t)
	token, err := client(t).Browser(t.Context(), p.login(nil))
	if err != nil || !strings.HasPrefix(token, "eyJ") {
		t.Fatal(token, err)
	}
	form := p.seen[0]
	if form.Get("code") != "the-code" || form.Get("grant_type") != "authorization_code" || form.Get("client_id") != "sigstore" ||
		!strings.HasPrefix(form.Get("redirect_uri"), "http://localhost:") {
		t.Errorf("the exchange was %v", form)
	}
}

// sigstore-python GHSA-hm8f-75xx-w2vr: an authorization answer that does not bear
// our state must not log us in, whoever sends it.
func TestGHSA_hm8f_75xx_w2vr(t *testing.T) {
	for name, change := range map[string]func(url.Values){
		"no state":    func(v url.Values) { v.Del("state") },
		"empty state": func(v url.Values) { v.Set("state", "") },
		"other state": func(v url.Values) { v.Set("state", secret()) },
		"error alone": func(v url.Values) { v.Del("state"); v.Set("error", "access_denied") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			open := p.browse(change)
			_, err := client(t).Browser(ctx, Login{Issuer: p.url, Open: func(login string) error {
				defer cancel() // the person gives up
				return open(login)
			}})
			wantError(t, err, sigbox.Unavailable, "interrupted")
			if len(p.seen) != 0 {
				t.Error("the forged answer's code was used")
			}
		})
	}
}

// TestForgedAnswerDoesNotEndLogin: the true answer still counts after a forged one.
func TestForgedAnswerDoesNotEndLogin(t *testing.T) {
	p := newProvider(t)
	forged, honest := p.browse(func(v url.Values) { v.Set("state", "guess"); v.Set("code", "evil") }), p.browse(nil)
	_, err := client(t).Browser(t.Context(), Login{Issuer: p.url, Open: func(login string) error {
		if err := forged(login); err != nil {
			return err
		}
		return honest(login)
	}})
	if err != nil || len(p.seen) != 1 || p.seen[0].Get("code") != "the-code" {
		t.Errorf("%v, %v", p.seen, err)
	}
}

func TestBrowserLoginRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(url.Values)
		token  func(map[string]any)
		issuer string
		says   string
		kind   sigbox.Kind
	}{
		"by the person":    {change: func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }, says: "access_denied", kind: sigbox.Unauthenticated},
		"other nonce":      {token: func(c map[string]any) { c["nonce"] = "other" }, says: "nonce", kind: sigbox.Unauthenticated},
		"no nonce":         {token: func(c map[string]any) { delete(c, "nonce") }, says: "nonce", kind: sigbox.Unauthenticated},
		"other issuer":     {token: func(c map[string]any) { c["iss"] = "https://evil.example" }, says: "another issuer", kind: sigbox.Unauthenticated},
		"other audience":   {token: func(c map[string]any) { c["aud"] = []string{"web"} }, says: "another client", kind: sigbox.Unauthenticated},
		"other discovery":  {issuer: "https://evil.example", says: "calls itself another issuer", kind: sigbox.Invalid},
		"token of nothing": {token: func(c map[string]any) { delete(c, "sub") }, says: "no subject", kind: sigbox.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.token, p.issuer = tt.token, tt.issuer
			_, err := client(t).Browser(t.Context(), p.login(tt.change))
			wantError(t, err, tt.kind, tt.says)
		})
	}
}

// TestAnswerOfAnotherIssuer: a code that another provider issued, and that names
// it, is not sent to ours (RFC 9207).
func TestAnswerOfAnotherIssuer(t *testing.T) {
	for name, tt := range map[string]struct {
		namesIssuer bool
		iss         func(url string) []string
		ok          bool
	}{
		"ours":                    {iss: func(url string) []string { return []string{url} }, ok: true},
		"ours, as announced":      {namesIssuer: true, iss: func(url string) []string { return []string{url} }, ok: true},
		"another":                 {iss: func(string) []string { return []string{"https://evil.example"} }},
		"another with slash":      {iss: func(url string) []string { return []string{url + "/"} }},
		"empty":                   {iss: func(string) []string { return []string{""} }},
		"none":                    {iss: func(string) []string { return nil }, ok: true},
		"none although announced": {namesIssuer: true, iss: func(string) []string { return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.namesIssuer = tt.namesIssuer
			_, err := client(t).Browser(t.Context(), p.login(func(v url.Values) {
				if iss := tt.iss(p.url); iss != nil {
					v["iss"] = iss
				}
			}))
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, sigbox.Unauthenticated, "the answer comes from the issuer")
			if len(p.seen) != 0 {
				t.Error("the code was sent to the provider")
			}
		})
	}
}

func TestDeviceLogin(t *testing.T) {
	p := newProvider(t)
	p.poll = []string{"authorization_pending", "slow_down", "authorization_pending"}
	var told Prompt
	var waits []time.Duration
	c := New(Config{Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }})
	token, err := c.Device(t.Context(), Login{Issuer: p.url, Tell: func(p Prompt) { told = p }})
	if err != nil || token == "" {
		t.Fatal(token, err)
	}
	if told.Code != "ABCD-EFGH" || told.URL != p.url+"/go" || told.Expires.IsZero() {
		t.Errorf("told %+v", told)
	}
	want := []time.Duration{time.Second, time.Second, 6 * time.Second, 6 * time.Second}
	if len(waits) != len(want) {
		t.Fatalf("waited %v, want %v", waits, want)
	}
	for i := range want {
		if waits[i] != want[i] {
			t.Errorf("waited %v, want %v", waits, want)
		}
	}
	if g := p.seen[0].Get("grant_type"); g != deviceGrant {
		t.Errorf("grant %q", g)
	}
}

func TestDeviceLoginRefused(t *testing.T) {
	t.Run("denied", func(t *testing.T) {
		p := newProvider(t)
		p.poll = []string{"authorization_pending", "access_denied"}
		_, err := client(t).Device(t.Context(), Login{Issuer: p.url})
		wantError(t, err, sigbox.Unauthenticated, "access_denied")
	})
	t.Run("too late", func(t *testing.T) {
		p := newProvider(t)
		now := time.Now()
		c := New(Config{
			Now:   func() time.Time { return now },
			Sleep: func(_ context.Context, d time.Duration) error { now = now.Add(d); return nil },
		})
		for range 1000 {
			p.poll = append(p.poll, "authorization_pending")
		}
		_, err := c.Device(t.Context(), Login{Issuer: p.url})
		wantError(t, err, sigbox.Unauthenticated, "before the code ran out")
		if len(p.seen) > 601 {
			t.Errorf("asked %d times in 10 minutes", len(p.seen))
		}
	})
	for name, body := range map[string]string{
		"empty": "{}", "script URL": `{"device_code":"d","user_code":"u","verification_uri":"javascript:alert(1)"}`, "broken": "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.device = body
			_, err := client(t).Device(t.Context(), Login{Issuer: p.url})
			wantError(t, err, sigbox.Invalid, "did not answer with a device code")
		})
	}
}

func TestDeviceBounds(t *testing.T) {
	for _, tt := range []struct {
		d              deviceAnswer
		life, interval time.Duration
	}{
		{deviceAnswer{}, maxDeviceWait, 5 * time.Second},
		{deviceAnswer{ExpiresIn: -1, Interval: -1}, maxDeviceWait, 5 * time.Second},
		{deviceAnswer{ExpiresIn: 1 << 62, Interval: 1 << 62}, maxDeviceWait, maxInterval},
		{deviceAnswer{ExpiresIn: 60, Interval: 2}, time.Minute, 2 * time.Second},
	} {
		if tt.d.lifetime() != tt.life || tt.d.interval() != tt.interval {
			t.Errorf("%+v: %v and %v", tt.d, tt.d.lifetime(), tt.d.interval())
		}
	}
}

func TestClientCredentials(t *testing.T) {
	p := newProvider(t)
	_, err := client(t).ClientCredentials(t.Context(), Login{Issuer: p.url})
	wantError(t, err, sigbox.Unauthenticated, "secret")
	if _, err := client(t).ClientCredentials(t.Context(), Login{Issuer: p.url, ClientSecret: "hush"}); err != nil {
		t.Fatal(err)
	}
	if f := p.seen[0]; f.Get("client_secret") != "hush" || f.Get("grant_type") != "client_credentials" {
		t.Errorf("sent %v", f)
	}
}

// environment is an Ambient with these variables and no token file.
func environment(t *testing.T, vars map[string]string) Ambient {
	return Ambient{Getenv: func(name string) string { return vars[name] }, TokenFile: filepath.Join(t.TempDir(), "none")}
}

func TestAmbient(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/github" && r.URL.Query().Get("audience") == "sigstore" && r.URL.Query().Get("v") == "2" && r.Header.Get("Authorization") == "Bearer gh":
			_, _ = io.WriteString(w, `{"count":1,"value":"github-token"}`)
		case r.URL.Path == "/jobs/j-1/oidc/tokens" && r.Header.Get("Authorization") == "Token bk":
			_, _ = io.WriteString(w, `{"token":"buildkite-token"}`)
		case strings.HasPrefix(r.URL.Path, "/computeMetadata/v1/") && r.Header.Get("Metadata-Flavor") == "Google":
			_, _ = io.WriteString(w, "google-token\n")
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	for name, tt := range map[string]struct {
		vars        map[string]string
		token, from string
	}{
		"nothing":   {},
		"variable":  {map[string]string{"SIGSTORE_ID_TOKEN": " tok\n"}, "tok", "SIGSTORE_ID_TOKEN"},
		"github":    {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": url + "/github?v=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "gh"}, "github-token", "GitHub Actions"},
		"buildkite": {map[string]string{"BUILDKITE_AGENT_ACCESS_TOKEN": "bk", "BUILDKITE_JOB_ID": "j-1", "BUILDKITE_AGENT_ENDPOINT": url}, "buildkite-token", "Buildkite"},
		"google":    {map[string]string{"GCE_METADATA_HOST": strings.TrimPrefix(url, "http://")}, "google-token", "Google Cloud"},
	} {
		t.Run(name, func(t *testing.T) {
			token, from, err := environment(t, tt.vars).Token(t.Context(), client(t))
			if err != nil || token != tt.token || from != tt.from {
				t.Errorf("%q from %q, %v", token, from, err)
			}
		})
	}
	t.Run("file", func(t *testing.T) {
		a := environment(t, nil)
		if err := os.WriteFile(a.TokenFile, []byte("mounted\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if token, from, err := a.Token(t.Context(), client(t)); token != "mounted" || from != a.TokenFile || err != nil {
			t.Errorf("%q from %q, %v", token, from, err)
		}
	})
}

// TestAmbientFailureIsAnError: a place that is there and gives no token must not
// be passed over.
func TestAmbientFailureIsAnError(t *testing.T) {
	url := serve(t, answer(403, `{"message":"no"}`))
	for name, tt := range map[string]struct {
		vars map[string]string
		says string
	}{
		"github without permission": {map[string]string{"GITHUB_ACTIONS": "true"}, "id-token: write"},
		"github refuses":            {map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "gh"}, "403"},
		"gitlab without token":      {map[string]string{"GITLAB_CI": "true"}, "id_tokens"},
		"buildkite refuses":         {map[string]string{"BUILDKITE_AGENT_ACCESS_TOKEN": "bk", "BUILDKITE_JOB_ID": "../j", "BUILDKITE_AGENT_ENDPOINT": url}, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			token, _, err := environment(t, tt.vars).Token(t.Context(), client(t))
			if token != "" || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q, %v", token, err)
			}
		})
	}
	t.Run("empty file", func(t *testing.T) {
		a := environment(t, nil)
		if err := os.WriteFile(a.TokenFile, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := a.Token(t.Context(), client(t))
		wantError(t, err, sigbox.Unauthenticated, "no identity token in")
	})
	t.Run("huge file", func(t *testing.T) {
		a := environment(t, nil)
		if err := os.WriteFile(a.TokenFile, make([]byte, maxTokenFile+1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := a.Token(t.Context(), client(t))
		wantError(t, err, sigbox.Unauthenticated, "65536 bytes")
	})
}

// roundTrip answers requests in the process.
type roundTrip func(*http.Request) string

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(f(r))), Request: r}, nil
}

// TestProviderDoesNotLeaveTLS: codes, secrets and tokens do not go over plain HTTP
// because a discovery document says so.
func TestProviderDoesNotLeaveTLS(t *testing.T) {
	for _, endpoint := range []string{"authorization_endpoint", "token_endpoint", "device_authorization_endpoint"} {
		doc := map[string]string{
			"issuer": "https://id.example", "authorization_endpoint": "https://id.example/a",
			"token_endpoint": "https://id.example/t", "device_authorization_endpoint": "https://id.example/d",
		}
		doc[endpoint] = "http://id.example/x"
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		c := New(Config{Transport: roundTrip(func(*http.Request) string { return string(b) })})
		_, err = c.discover(t.Context(), "https://id.example")
		wantError(t, err, sigbox.Invalid, "https")
	}
}

// TestAmbientEmptyAnswer: an empty token is none, and no reason to look elsewhere.
func TestAmbientEmptyAnswer(t *testing.T) {
	url := serve(t, answer(200, `{}`))
	nothing := serve(t, answer(200, "\n"))
	for name, vars := range map[string]map[string]string{
		"github":    {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "gh"},
		"buildkite": {"BUILDKITE_AGENT_ACCESS_TOKEN": "bk", "BUILDKITE_JOB_ID": "j", "BUILDKITE_AGENT_ENDPOINT": url},
		"google":    {"GCE_METADATA_HOST": strings.TrimPrefix(nothing, "http://")},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := environment(t, vars).Token(t.Context(), client(t))
			wantError(t, err, sigbox.Invalid, "an identity token")
		})
	}
}
