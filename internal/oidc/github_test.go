package oidc_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/oidc"
)

// enterprise makes a provider answer as a GitHub Enterprise Server does.
func enterprise(i *idp) {
	i.answers["/login/oauth/authorize"] = func(w http.ResponseWriter, r *http.Request) {
		i.auth = r.URL.Query()
		http.Redirect(w, r, i.auth.Get("redirect_uri")+"?code=the+code&state="+i.auth.Get("state"), http.StatusFound)
	}
	i.answers["/login/oauth/access_token"] = func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		if i.exchange = r.PostForm; r.Header.Get("Accept") != "application/json" {
			i.Error("it would not answer with JSON")
		}
		reply(w, map[string]any{"access_token": "the access token", "token_type": "bearer", "scope": "user:email"})
	}
	for path, answer := range map[string]any{
		"/api/v3/":            map[string]any{"current_user_url": "x"},
		"/api/v3/user":        map[string]any{"id": 583231, "login": "bob"},
		"/api/v3/user/emails": []any{address("old@example.net", false, true), address(bob, true, true)},
		"/api/v3/user/memberships/orgs": []any{
			map[string]any{"state": "pending", "organization": map[string]any{"login": "invited"}},
			map[string]any{"state": "active", "organization": map[string]any{"login": "Example"}},
		},
	} {
		i.answers[path] = func(w http.ResponseWriter, r *http.Request) {
			if path != "/api/v3/" && r.Header.Get("Authorization") != "Bearer the access token" {
				i.Errorf("%s was asked for without the token", path)
			}
			reply(w, answer)
		}
	}
}

func address(email string, primary, verified bool) map[string]any {
	return map[string]any{"email": email, "primary": primary, "verified": verified}
}

func hub(i *idp, orgs ...string) oidc.Connector {
	return i.connector("hub", func(c *oidc.Connector) { c.Type, c.URL, c.Organizations = oidc.TypeGitHub, i.URL+"/", orgs })
}

func TestGitHub(t *testing.T) {
	i := newIDP(t)
	enterprise(i)
	w := brokered(t, alone(hub(i, "other", "example")), i)
	verifier, challenge := pkce()
	b := w.browser()
	tok := w.token(codeForm(b.consent(b.elsewhere(authParams(challenge), "")).Get("code"), verifier))
	_, claims := open(t, w.provider.Keys(), tok.IDToken)
	if f := fmt.Sprint(claims["federated_claims"]); claims["email"] != bob || f != "map[connector_id:"+i.URL+"/login/oauth user_id:583231]" {
		t.Errorf("claims: %v", claims)
	}
	if i.auth.Get("scope") != "user:email read:org" || i.auth.Get("code_challenge") == "" || i.auth.Has("client_secret") || i.exchange.Get("client_secret") != idpSecret || i.exchange.Get("code_verifier") == "" {
		t.Errorf("asked with %v, redeemed with %v", i.auth, i.exchange)
	}
	if checks := w.check(hub(i)); checks[0].Err != nil {
		t.Errorf("check: %v", checks[0].Err)
	}
	if strings.Contains(w.log.String(), "the access token") || strings.Contains(w.log.String(), idpSecret) {
		t.Error("a secret is in the log")
	}
}

func TestGitHubRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		path   string
		answer any
		orgs   []string
		status int
		log    string
	}{
		"not verified":         {"/api/v3/user/emails", []any{address(bob, true, false)}, nil, 403, "has not verified"},
		"not the primary one":  {"/api/v3/user/emails", []any{address(bob, false, true)}, nil, 403, "no primary"},
		"another domain":       {"/api/v3/user/emails", []any{address("bob@example.org", true, true)}, nil, 403, "addresses of example.org"},
		"an odd address":       {"/api/v3/user/emails", []any{address("bob <b@example.net>", true, true)}, nil, 403, "cannot stand"},
		"not addresses":        {"/api/v3/user/emails", map[string]any{"message": "Not Found"}, nil, 503, "no JSON"},
		"nobody":               {"/api/v3/user", map[string]any{"login": "bob"}, nil, 502, "does not say who"},
		"a member of others":   {"", nil, []string{"invited", "elsewhere"}, 403, "not among those"},
		"a code that is used":  {"/login/oauth/access_token", map[string]any{"error": "bad_verification_code"}, nil, 502, "bad_verification_code"},
		"no token":             {"/login/oauth/access_token", map[string]any{}, nil, 502, "no access token"},
		"memberships that end": {"/api/v3/user/memberships/orgs", []any{}, []string{"example"}, 403, "not among those"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			enterprise(i)
			if tt.path != "" {
				i.answers[tt.path] = func(w http.ResponseWriter, _ *http.Request) { reply(w, tt.answer) }
			}
			w := brokered(t, alone(hub(i, tt.orgs...)), i)
			_, challenge := pkce()
			p := w.browser().elsewhere(authParams(challenge), "")
			if p.status != tt.status || !strings.Contains(w.log.String(), tt.log) {
				t.Errorf("status %d, want %d; log %s", p.status, tt.status, w.log)
			}
		})
	}
}

// TestGitHubPages: a person is found in an organization on whatever page of theirs it is,
// and pages without end are not read.
func TestGitHubPages(t *testing.T) {
	full := make([]any, 20)
	for i := range full { // as long as GitHub's, which are mostly URLs
		full[i] = map[string]any{"state": "active", "organization": map[string]any{"login": fmt.Sprint("org", i)}, "user": strings.Repeat("u", 2800)}
	}
	for name, tt := range map[string]struct{ member, pages, status int }{
		"on the third of three": {3, 3, http.StatusOK},
		"on none of two":        {0, 2, http.StatusForbidden},
		"pages without end":     {0, 1 << 20, http.StatusForbidden},
	} {
		i := newIDP(t)
		enterprise(i)
		i.answers["/api/v3/user/memberships/orgs"] = func(w http.ResponseWriter, r *http.Request) {
			page, err := strconv.Atoi(r.URL.Query().Get("page"))
			switch {
			case err != nil || r.URL.Query().Get("per_page") != strconv.Itoa(len(full)):
				t.Errorf("%s: asked for %s", name, r.URL.RawQuery)
			case page == tt.member:
				reply(w, []any{map[string]any{"state": "active", "organization": map[string]any{"login": "example"}}})
				return
			case page >= tt.pages:
				reply(w, full[1:])
				return
			}
			reply(w, full)
		}
		w := brokered(t, alone(hub(i, "example")), i)
		_, challenge := pkce()
		if p := w.browser().elsewhere(authParams(challenge), ""); p.status != tt.status {
			t.Errorf("%s: status %d, expected %d: %s", name, p.status, tt.status, w.log)
		}
		pages := 0
		for _, path := range i.asks() {
			if path == "/api/v3/user/memberships/orgs" {
				pages++
			}
		}
		if want := min(tt.pages, 50); pages != want {
			t.Errorf("%s: %d pages were read, expected %d", name, pages, want)
		}
	}
}
