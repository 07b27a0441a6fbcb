package oidc_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/remote"
)

const (
	idpClient = "box at idp"
	idpSecret = "a secret + more"
	bob       = "bob@example.net"
)

// idp is an outside provider that signs everybody in at once, as one where they have a
// session already. Each of its answers can be another one.
type idp struct {
	*httptest.Server
	*testing.T
	clock *fixture.Clock
	// answers stand in the place of its own, by path.
	answers map[string]http.HandlerFunc
	// discovery and claims are what it says besides, or instead; nil takes away.
	discovery, claims map[string]any
	// back is what it sends the browser back with besides, or instead.
	back url.Values
	sign func(claims map[string]any) string
	// What it was asked.
	auth, exchange url.Values
	basic          string // client ID and secret of the Authorization header
	mu             sync.Mutex
	asked          []string // guarded by mu
}

// asks gives the paths that were asked for since the last call.
func (i *idp) asks() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.asked
	i.asked = nil
	return all
}

func (i *idp) note(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, path)
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	i := &idp{T: t, answers: map[string]http.HandlerFunc{}, discovery: map[string]any{}, claims: map[string]any{}, back: url.Values{}}
	i.sign = func(claims map[string]any) string { return i.token(jose.RS256, key(t), "k1", claims) }
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func (i *idp) serve(w http.ResponseWriter, r *http.Request) {
	i.note(r.URL.Path)
	if answer := i.answers[r.URL.Path]; answer != nil {
		answer(w, r)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		reply(w, i.with(map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/auth?tenant=1", "token_endpoint": i.URL + "/token",
			"userinfo_endpoint": i.URL + "/userinfo", "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
		}, i.discovery))
	case "/keys":
		reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key(i.T).Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}})
	case "/auth":
		i.auth = r.URL.Query()
		back := url.Values{"code": {"the code"}, "state": {i.auth.Get("state")}, "session_state": {"x"}}
		maps.Copy(back, i.back)
		http.Redirect(w, r, i.auth.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	case "/token":
		_ = r.ParseForm()
		i.exchange = r.PostForm
		id, secret, _ := r.BasicAuth()
		i.basic = id + ":" + secret
		reply(w, map[string]any{"access_token": "the access token", "token_type": "Bearer", "id_token": i.sign(i.idToken())})
	default:
		http.NotFound(w, r)
	}
}

// idToken are the claims of a correct ID token, changed as is wanted.
func (i *idp) idToken() map[string]any {
	now := i.clock.Now()
	return i.with(map[string]any{
		"iss": i.URL, "sub": "person 7", "aud": idpClient, "nonce": i.auth.Get("nonce"), "email": bob, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"federated_claims": map[string]string{"connector_id": "https://accounts.google.com", "user_id": "1"},
	}, i.claims)
}

func (i *idp) with(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// token signs claims with any key.
func (i *idp) token(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	i.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
	if err != nil {
		i.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		i.Fatal(err)
	}
	return token
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// connector are settings for the provider.
func (i *idp) connector(id string, changes ...func(*oidc.Connector)) oidc.Connector {
	c := oidc.Connector{
		ID: id, Title: "The " + id, Type: oidc.TypeOIDC, URL: i.URL, ClientID: idpClient, ClientSecret: "secret:idp",
		Domains: []string{"example.net"}, AllowPrivate: true,
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

// outside gives a provider what it needs to have connectors.
func outside(w *world, c *oidc.Config) {
	issuers := remote.NewIssuerKeys(remote.IssuerKeysConfig{Timeout: 2 * time.Second})
	c.Outside = func(c oidc.Connector) oidc.Outside {
		return issuers.Issuer(ca.KeyRequest{Issuer: c.URL, AllowPrivate: c.AllowPrivate})
	}
	c.IDTokens = func(in oidc.Connector) (oidc.IDTokens, error) {
		return ca.NewTokens(ca.TokensConfig{
			Issuers: []ca.Issuer{{URL: in.URL, Type: ca.Email, Audience: in.ClientID, AllowPrivate: in.AllowPrivate}},
			Keys:    issuers, Now: w.clock.Now, Logger: c.Logger,
		})
	}
	c.Secrets = func(source string) (string, error) {
		if source != "secret:idp" {
			return "", sigbox.Errorf(sigbox.Invalid, "%s: there is no such secret", source)
		}
		return idpSecret, nil
	}
}

// brokered is a world with connectors.
func brokered(t *testing.T, logins oidc.Logins, idps ...*idp) *world {
	t.Helper()
	w := newWorld(t, outside, func(_ *world, c *oidc.Config) { c.Logins = logins })
	for _, i := range idps {
		i.clock = w.clock
	}
	return w
}

// alone are logins by one connector, without accounts.
func alone(c oidc.Connector) oidc.Logins {
	return oidc.Logins{LocalAccounts: new(bool), Connectors: []oidc.Connector{c}}
}

// follow goes where a page redirects to, as long as that is not the program.
func (b *browser) follow(p page) page {
	b.w.Helper()
	for range 10 {
		if p.location == nil || strings.HasPrefix(p.location.String(), callback) {
			return p
		}
		p = b.get(p.location.String())
	}
	b.w.Fatal("the redirects have no end")
	return page{}
}

// elsewhere begins a sign-in, follows the link to a connector if there is a choice, and
// comes back from it.
func (b *browser) elsewhere(params url.Values, connector string) page {
	b.w.Helper()
	p := b.follow(b.get(b.w.issuer + "/authorize?" + params.Encode()))
	if link := p.link(connector); link != "" {
		p = b.follow(b.get(b.w.url + link))
	}
	return p
}

// link gives the path that a page offers for a connector, "" if it does not.
func (p page) link(connector string) string {
	_, rest, ok := strings.Cut(p.body, `href="/oidc/login/`+connector+"?id=")
	id, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed {
		return ""
	}
	return fmt.Sprintf("/oidc/login/%s?id=%s", connector, id)
}

// consent says yes on the last page, and gives what the program gets.
func (b *browser) consent(p page) url.Values {
	b.w.Helper()
	if p.status != http.StatusOK || !strings.Contains(p.body, "signed in with") {
		b.w.Fatalf("no page asks for consent: status %d: %s", p.status, p.body)
	}
	p = b.submit(p, "action", "allow")
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.location.String(), callback+"?") {
		b.w.Fatalf("after the consent: status %d, location %v: %s", p.status, p.location, p.body)
	}
	return p.location.Query()
}
