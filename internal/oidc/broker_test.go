package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/oidc"
)

// TestConnectorFlow: from the program to the provider and back, with all that makes an
// answer ours; the token says whose the address is, by the settings and not by what the
// provider says.
func TestConnectorFlow(t *testing.T) {
	i := newIDP(t)
	i.discovery["authorization_response_iss_parameter_supported"] = true
	i.back.Set("iss", i.URL)
	w := brokered(t, alone(i.connector("idp")), i)
	verifier, challenge := pkce()
	b := w.browser()
	p := b.elsewhere(authParams(challenge, "login_hint", bob), "idp")
	if !strings.Contains(p.body, bob) || !strings.Contains(p.body, "The idp") || !strings.Contains(p.body, "localhost:34567") || strings.Contains(p.body, "password") {
		t.Errorf("the page for the consent: %s", p.body)
	}
	for name, want := range map[string]string{
		"tenant": "1", "response_type": "code", "client_id": idpClient, "redirect_uri": w.issuer + "/callback/idp", "scope": "openid email",
		"code_challenge_method": "S256", "login_hint": bob, "client_secret": "", "code_verifier": "",
	} {
		if got := i.auth.Get(name); got != want {
			t.Errorf("the provider was asked with %s=%q, want %q", name, got, want)
		}
	}
	sum := sha256.Sum256([]byte(i.exchange.Get("code_verifier")))
	if i.auth.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Error("the verifier does not fit the challenge")
	}
	if len(i.auth.Get("state")) < 43 || len(i.auth.Get("nonce")) < 43 || i.auth.Get("state") == "the state" || i.auth.Get("nonce") == "the nonce" {
		t.Errorf("state %q and nonce %q are not secrets of our own", i.auth.Get("state"), i.auth.Get("nonce"))
	}
	if i.exchange.Get("code") != "the code" || i.exchange.Get("redirect_uri") != w.issuer+"/callback/idp" || i.exchange.Has("client_secret") {
		t.Errorf("the code was redeemed with %v", i.exchange)
	}
	if want := url.QueryEscape(idpClient) + ":" + url.QueryEscape(idpSecret); i.basic != want {
		t.Errorf("the client was %q, want %q", i.basic, want)
	}

	tok := w.token(codeForm(b.consent(p).Get("code"), verifier))
	for _, raw := range []string{tok.IDToken, tok.AccessToken} {
		_, claims := open(t, w.provider.Keys(), raw)
		for name, want := range map[string]any{"iss": w.issuer, "sub": bob, "email": bob, "email_verified": true, "aud": "sigstore", "nonce": "the nonce"} {
			if claims[name] != want {
				t.Errorf("claim %s is %v, want %v", name, claims[name], want)
			}
		}
		if f := fmt.Sprint(claims["federated_claims"]); f != "map[connector_id:"+i.URL+" user_id:person 7]" {
			t.Errorf("federated_claims is %s", f)
		}
	}
	for _, secret := range []string{idpSecret, url.QueryEscape(idpSecret), "the access token", "the code", i.auth.Get("state"), i.auth.Get("nonce"), i.exchange.Get("code_verifier")} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestLocalIssuer: the token of a local account names this provider in the same place.
func TestLocalIssuer(t *testing.T) {
	w := newWorld(t)
	verifier, challenge := pkce()
	tok := w.token(codeForm(w.browser().signIn(authParams(challenge)).Get("code"), verifier))
	_, claims := open(t, w.provider.Keys(), tok.IDToken)
	if f := fmt.Sprint(claims["federated_claims"]); f != "map[connector_id:"+w.issuer+" user_id:"+alice+"]" {
		t.Errorf("federated_claims is %s", f)
	}
}

// TestConnectorChoice: where there is a choice there is a page with it.
func TestConnectorChoice(t *testing.T) {
	one, two := newIDP(t), newIDP(t)
	two.claims["email"] = "carol@example.com"
	both := []oidc.Connector{one.connector("one"), two.connector("two", func(c *oidc.Connector) { c.Domains = []string{"EXAMPLE.com"} })}
	for name, logins := range map[string]oidc.Logins{
		"with accounts":    {Connectors: both},
		"without accounts": {LocalAccounts: new(bool), Connectors: both},
	} {
		t.Run(name, func(t *testing.T) {
			w := brokered(t, logins, one, two)
			verifier, challenge := pkce()
			b := w.browser()
			p := b.loginPage(authParams(challenge))
			if accounts := logins.LocalAccounts == nil; strings.Contains(p.body, `name="password"`) != accounts || p.link("one") == "" || p.link("two") == "" {
				t.Errorf("the page: %s", p.body)
			}
			if logins.LocalAccounts != nil {
				if p := b.submit(p, "email", alice, "password", password, "action", "allow"); p.status != http.StatusForbidden {
					t.Errorf("an account signs in where there are none: %d", p.status)
				}
			}
			tok := w.token(codeForm(b.consent(b.follow(b.get(w.url+p.link("two")))).Get("code"), verifier))
			if _, claims := open(t, w.provider.Keys(), tok.IDToken); claims["email"] != "carol@example.com" {
				t.Errorf("claims: %v", claims)
			}
			if p := b.submit(b.loginPage(authParams(challenge)), "action", "deny"); p.location.Query().Get("error") != "access_denied" {
				t.Errorf("denied: %d %v", p.status, p.location)
			}
		})
	}
}

func TestConnectorDeviceFlow(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	verifier, challenge := pkce()
	d := w.device(challenge)
	b := w.browser()
	p := b.follow(b.submit(b.get(d.VerificationURI), "user_code", d.UserCode))
	if !strings.Contains(p.body, d.UserCode) || !strings.Contains(p.body, bob) {
		t.Errorf("nobody is asked whether they began this: %s", p.body)
	}
	if tok := w.poll(d, verifier); tok.Error != "authorization_pending" {
		t.Errorf("before the consent: %+v", tok)
	}
	if p := b.submit(p, "action", "allow"); p.status != http.StatusOK || !strings.Contains(p.body, bob) {
		t.Errorf("after the consent: %d %s", p.status, p.body)
	}
	w.clock.Add(5 * time.Second)
	if _, claims := open(t, w.provider.Keys(), w.poll(d, verifier).IDToken); claims["email"] != bob {
		t.Errorf("claims: %v", claims)
	}
	d = w.device(challenge)
	b.submit(b.follow(b.submit(b.get(d.VerificationURI), "user_code", d.UserCode)), "action", "deny")
	if tok := w.poll(d, verifier); tok.Error != "access_denied" {
		t.Errorf("denied: %+v", tok)
	}
}

func TestConnectorOutOfBand(t *testing.T) {
	const outOfBand = "urn:ietf:wg:oauth:2.0:oob"
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	verifier, challenge := pkce()
	b := w.browser()
	p := b.submit(b.elsewhere(authParams(challenge, "redirect_uri", outOfBand), "idp"), "action", "allow")
	_, rest, _ := strings.Cut(p.body, `<p class="code long">`)
	code, _, _ := strings.Cut(rest, "<")
	tok := w.token(codeForm(code, verifier, "redirect_uri", outOfBand))
	if _, claims := open(t, w.provider.Keys(), tok.IDToken); claims["email"] != bob {
		t.Errorf("claims: %v", claims)
	}
}

// endless answers without end.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat(" ", 1<<16)); err != nil {
			return
		}
	}
}

// hangs answers never.
func hangs(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when nobody waits any more
	<-r.Context().Done()
}

// TestHostileProviders: whatever a provider answers, nobody is signed in by it, the
// person sees a page of ours with nothing of its, and the log says what was wrong.
func TestHostileProviders(t *testing.T) {
	const script = `<script>alert(1)</script>`
	huge := func(w http.ResponseWriter, _ *http.Request) {
		reply(w, map[string]any{"keys": []string{}, "issuer": strings.Repeat("x", 1<<20)})
	}
	elsewhere := newIDP(t)
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
	}
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	const discovery = "/.well-known/openid-configuration"
	for name, tt := range map[string]struct {
		hostile func(i *idp)
		status  int
		log     string
	}{
		"endless discovery":    {func(i *idp) { i.answers[discovery] = endless }, 502, "more than 65536 bytes"},
		"huge discovery":       {func(i *idp) { i.answers[discovery] = huge }, 502, "more than 65536 bytes"},
		"no discovery":         {func(i *idp) { i.answers[discovery] = says(404, script) }, 503, "the status 404"},
		"discovery hangs":      {func(i *idp) { i.answers[discovery] = hangs }, 503, "cannot reach"},
		"discovery is a page":  {func(i *idp) { i.answers[discovery] = says(200, script) }, 503, "no JSON"},
		"discovery redirects":  {func(i *idp) { i.answers[discovery] = redirect(elsewhere.URL + discovery) }, 503, "the status 307"},
		"another issuer":       {func(i *idp) { i.discovery["issuer"] = elsewhere.URL }, 502, "of another issuer"},
		"issuer with a slash":  {func(i *idp) { i.discovery["issuer"] = i.URL + "/" }, 502, "of another issuer"},
		"no issuer":            {func(i *idp) { i.discovery["issuer"] = nil }, 502, "of another issuer"},
		"script for people":    {func(i *idp) { i.discovery["authorization_endpoint"] = "javascript:alert(1)" }, 502, "authorization_endpoint"},
		"asks at no host":      {func(i *idp) { i.discovery["authorization_endpoint"] = "/auth" }, 502, "authorization_endpoint"},
		"asks with a fragment": {func(i *idp) { i.discovery["authorization_endpoint"] = i.URL + "/auth?a#b" }, 502, "authorization_endpoint"},
		"redeems at a file":    {func(i *idp) { i.discovery["token_endpoint"] = "file:///etc/passwd" }, 502, "token_endpoint"},
		"tells at a user's":    {func(i *idp) { i.discovery["userinfo_endpoint"] = "http://a:b@127.0.0.1/" }, 502, "userinfo_endpoint"},
		"endless token":        {func(i *idp) { i.answers["/token"] = endless }, 502, "more than 65536 bytes"},
		"huge token":           {func(i *idp) { i.answers["/token"] = huge }, 502, "more than 65536 bytes"},
		"token hangs":          {func(i *idp) { i.answers["/token"] = hangs }, 503, "cannot reach"},
		"token redirects":      {func(i *idp) { i.answers["/token"] = redirect(elsewhere.URL + "/token") }, 503, "no JSON"},
		"token is refused": {func(i *idp) {
			i.answers["/token"] = says(400, `{"error":"invalid_grant","error_description":"`+script+`"}`)
		}, 502, "invalid_grant"},
		"token with the wrong":   {func(i *idp) { i.answers["/token"] = says(500, `{"id_token":"x"}`) }, 503, "the status 500"},
		"token twice":            {func(i *idp) { i.answers["/token"] = says(200, `{"id_token":"x","id_token":"y"}`) }, 503, "no JSON"},
		"no ID token":            {func(i *idp) { i.answers["/token"] = says(200, `{"access_token":"x"}`) }, 502, "gave no ID token"},
		"endless keys":           {func(i *idp) { i.answers["/keys"] = endless }, 503, "cannot be fetched"},
		"huge keys":              {func(i *idp) { i.answers["/keys"] = huge }, 503, "cannot be fetched"},
		"keys redirect":          {func(i *idp) { i.answers["/keys"] = redirect(elsewhere.URL + "/keys") }, 503, "cannot be fetched"},
		"no keys":                {func(i *idp) { i.answers["/keys"] = says(200, `{"keys":[]}`) }, 503, "cannot be fetched"},
		"alg none":               {func(i *idp) { i.sign = unsigned(i) }, 502, "algorithm"},
		"alg HS256":              {func(i *idp) { i.sign = hmac(i) }, 502, "algorithm"},
		"alg not announced":      {func(i *idp) { i.sign = func(c map[string]any) string { return i.token(jose.PS256, key(t), "k1", c) } }, 502, "does not use"},
		"a stranger's key":       {func(i *idp) { i.sign = stranger(i, "k1") }, 502, "does not verify"},
		"an unknown key":         {func(i *idp) { i.sign = stranger(i, "k2") }, 502, "does not publish"},
		"token of another":       {func(i *idp) { i.claims["iss"] = elsewhere.URL }, 502, "not accepted here"},
		"for another client":     {func(i *idp) { i.claims["aud"] = "sigstore" }, 502, "another audience"},
		"for many clients":       {func(i *idp) { i.claims["aud"] = []string{idpClient, "other"} }, 502, "azp"},
		"made for another":       {func(i *idp) { i.claims["azp"] = "other" }, 502, "azp"},
		"no nonce":               {func(i *idp) { i.claims["nonce"] = nil }, 502, "nonce"},
		"an old nonce":           {func(i *idp) { i.claims["nonce"] = "the nonce" }, 502, "nonce"},
		"a nonce that is a list": {func(i *idp) { i.claims["nonce"] = []string{"x"} }, 502, "nonce"},
		"expired":                {func(i *idp) { i.claims["exp"] = 1_600_000_000 }, 502, "expired"},
		"never expires":          {func(i *idp) { i.claims["exp"] = nil }, 502, "exp"},
		"from the future":        {func(i *idp) { i.claims["iat"] = 1_800_000_000 }, 502, "not valid before"},
		"of no time":             {func(i *idp) { i.claims["iat"] = nil }, 502, "iat"},
		"nobody":                 {func(i *idp) { i.claims["sub"] = nil }, 502, "sub"},
		"somebody very long":     {func(i *idp) { i.claims["sub"] = strings.Repeat("x", 300) }, 502, "no usable name"},
		"an address with HTML":   {func(i *idp) { i.claims["email"] = script + "@example.net" }, 403, "cannot stand in a certificate"},
		"an address of two":      {func(i *idp) { i.claims["email"] = "a@example.net,b@example.org" }, 403, "cannot stand in a certificate"},
		"an address with a NUL":  {func(i *idp) { i.claims["email"] = "root@example.org\x00@example.net" }, 403, "cannot stand in a certificate"},
		"addresses as a list":    {func(i *idp) { i.claims["email"] = []string{bob} }, 403, "does not tell"},
		"another's domain":       {func(i *idp) { i.claims["email"] = "bob@example.org" }, 403, "addresses of example.org"},
		"a domain below":         {func(i *idp) { i.claims["email"] = "bob@mail.example.net" }, 403, "addresses of mail.example.net"},
		"a domain that ends so":  {func(i *idp) { i.claims["email"] = "bob@evilexample.net" }, 403, "addresses of evilexample.net"},
		"not verified":           {func(i *idp) { i.claims["email_verified"] = false }, 403, "has verified"},
		"not verified, as text":  {func(i *idp) { i.claims["email_verified"] = "false" }, 403, "has verified"},
		"verified by a number":   {func(i *idp) { i.claims["email_verified"] = 1 }, 403, "has verified"},
		"another's answer":       {func(i *idp) { i.back.Set("iss", elsewhere.URL) }, 502, "another provider (iss)"},
		"an answer of nobody":    {func(i *idp) { i.discovery["authorization_response_iss_parameter_supported"] = true }, 502, "another provider (iss)"},
		"neither code nor error": {func(i *idp) { i.back.Set("code", "") }, 502, "neither a code nor an error"},
		"an error with HTML":     {func(i *idp) { i.back = url.Values{"error": {script}, "error_description": {script}} }, 403, "did not sign"},
		"an error with a letter": {func(i *idp) {
			i.back = url.Values{"error": {"access_denied"}, "error_description": {"Call 0800 " + script}}
		}, 403, "access_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIDP(t)
			tt.hostile(i)
			w := brokered(t, alone(i.connector("idp")), i)
			_, challenge := pkce()
			b := w.browser()
			p := b.elsewhere(authParams(challenge), "")
			if p.status != tt.status || p.location != nil {
				t.Errorf("status %d, want %d: %s", p.status, tt.status, p.body)
			}
			if strings.Contains(p.body, "<script") || strings.Contains(p.body, "0800") || !strings.Contains(p.body, `class="problem"`) || p.link("idp") == "" {
				t.Errorf("the page: %s", p.body)
			}
			if !strings.Contains(w.log.String(), tt.log) {
				t.Errorf("the log does not say %q: %s", tt.log, w.log)
			}
			for _, path := range elsewhere.asks() {
				t.Errorf("somebody else was asked for %s", path)
			}
			if strings.Contains(p.body, "signed in with") || strings.Contains(w.log.String(), idpSecret) {
				t.Errorf("the page: %s", p.body)
			}
		})
	}
}

func unsigned(*idp) func(map[string]any) string {
	return func(claims map[string]any) string {
		payload, _ := json.Marshal(claims)
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
}

// hmac signs with the client's secret, as OpenID Connect Core §10.1 would allow.
func hmac(i *idp) func(map[string]any) string {
	return func(claims map[string]any) string {
		return i.token(jose.HS256, []byte(strings.Repeat(idpSecret, 4)), "k1", claims)
	}
}

func stranger(i *idp, kid string) func(map[string]any) string {
	return func(claims map[string]any) string {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			i.Fatal(err)
		}
		return i.token(jose.RS256, k, kid, claims)
	}
}

// TestVerifiedAddresses: what counts as having been verified.
func TestVerifiedAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		claims map[string]any
		change func(*oidc.Connector)
	}{
		"bool":                 {map[string]any{"email_verified": true}, nil},
		"text":                 {map[string]any{"email_verified": "true"}, nil},
		"nothing, by settings": {map[string]any{"email_verified": nil}, func(c *oidc.Connector) { c.SkipEmailVerification = true }},
		"another letter case":  {map[string]any{"email": "Bob@EXAMPLE.net"}, nil},
		"any domain":           {map[string]any{"email": "bob@example.org"}, func(c *oidc.Connector) { c.Domains = []string{"*"} }},
		"a claim":              {map[string]any{"hd": "example.net"}, func(c *oidc.Connector) { c.RequiredClaims = map[string]string{"hd": "example.net"} }},
		"one of a list":        {map[string]any{"groups": []string{"a", "signers"}}, func(c *oidc.Connector) { c.RequiredClaims = map[string]string{"groups": "signers"} }},
		"several audiences":    {map[string]any{"aud": []string{idpClient, "other"}, "azp": idpClient}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			i.claims = tt.claims
			c := i.connector("idp")
			if tt.change != nil {
				tt.change(&c)
			}
			w := brokered(t, alone(c), i)
			_, challenge := pkce()
			b := w.browser()
			b.consent(b.elsewhere(authParams(challenge), ""))
		})
	}
	for name, claims := range map[string]map[string]any{
		"no claim": {}, "another value": {"groups": "users"}, "a list without": {"groups": []string{"signers2"}}, "an object": {"groups": map[string]string{"signers": "signers"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			i.claims, i.discovery["userinfo_endpoint"] = claims, nil
			w := brokered(t, alone(i.connector("idp", func(c *oidc.Connector) { c.RequiredClaims = map[string]string{"groups": "signers"} })), i)
			_, challenge := pkce()
			if p := w.browser().elsewhere(authParams(challenge), ""); p.status != http.StatusForbidden || !strings.Contains(p.body, "not among those") {
				t.Errorf("status %d: %s", p.status, p.body)
			}
		})
	}
}

// TestUserInfo: an ID token may leave out the address, and the provider tells it about
// the same person elsewhere.
func TestUserInfo(t *testing.T) {
	for name, tt := range map[string]struct {
		info   map[string]any
		status int
	}{
		"the same person":      {map[string]any{"sub": "person 7", "email": bob, "email_verified": true}, http.StatusOK},
		"another person":       {map[string]any{"sub": "person 8", "email": bob, "email_verified": true}, http.StatusBadGateway},
		"nobody":               {map[string]any{"email": bob, "email_verified": true}, http.StatusBadGateway},
		"not verified there":   {map[string]any{"sub": "person 7", "email": bob, "email_verified": false}, http.StatusForbidden},
		"not what was claimed": {map[string]any{"sub": "person 7", "email": "carol@example.net", "email_verified": true, "iss": "x"}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			i.claims["email"], i.claims["email_verified"] = nil, nil
			i.answers["/userinfo"] = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer the access token" {
					t.Error("asked without the token")
				}
				reply(w, tt.info)
			}
			w := brokered(t, alone(i.connector("idp")), i)
			_, challenge := pkce()
			if p := w.browser().elsewhere(authParams(challenge), ""); p.status != tt.status || p.status == http.StatusOK && !strings.Contains(p.body, tt.info["email"].(string)) {
				t.Errorf("status %d, want %d: %s", p.status, tt.status, p.body)
			}
		})
	}
}

// TestAuthMethods: a client proves to be itself in the way that the provider knows.
func TestAuthMethods(t *testing.T) {
	for name, tt := range map[string]struct {
		methods      any
		secret       string
		basic, param string // the secret as it was sent
	}{
		"not said":  {nil, "secret:idp", url.QueryEscape(idpSecret), ""},
		"header":    {[]string{"client_secret_post", "client_secret_basic"}, "secret:idp", url.QueryEscape(idpSecret), ""},
		"parameter": {[]string{"client_secret_post"}, "secret:idp", "", idpSecret},
		"no secret": {nil, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			i.discovery["token_endpoint_auth_methods_supported"] = tt.methods
			w := brokered(t, alone(i.connector("idp", func(c *oidc.Connector) { c.ClientSecret = tt.secret })), i)
			_, challenge := pkce()
			b := w.browser()
			b.consent(b.elsewhere(authParams(challenge), ""))
			if _, basic, _ := strings.Cut(i.basic, ":"); basic != tt.basic || i.exchange.Get("client_secret") != tt.param || i.exchange.Has("client_id") != (tt.basic == "") {
				t.Errorf("header %q, form %v", i.basic, i.exchange)
			}
		})
	}
}

// TestVerifiedElsewhere: that one address is verified says nothing of another, in the ID
// token or beside it.
func TestVerifiedElsewhere(t *testing.T) {
	for name, tt := range map[string]struct {
		token, info map[string]any
		status      int
	}{
		"the same":              {map[string]any{"email_verified": nil}, map[string]any{"email": bob, "email_verified": true}, http.StatusOK},
		"another one there":     {map[string]any{"email_verified": nil}, map[string]any{"email": "mallory@example.net", "email_verified": true}, http.StatusBadGateway},
		"none there":            {map[string]any{"email_verified": nil}, map[string]any{"email_verified": true}, http.StatusForbidden},
		"none in the ID token":  {map[string]any{"email": nil}, map[string]any{"email": bob}, http.StatusForbidden},
		"and not verified":      {map[string]any{"email": nil}, map[string]any{"email": bob, "email_verified": false}, http.StatusForbidden},
		"verified in its place": {map[string]any{"email": nil, "email_verified": false}, map[string]any{"email": bob, "email_verified": true}, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			i.claims = tt.token
			i.answers["/userinfo"] = func(w http.ResponseWriter, _ *http.Request) {
				tt.info["sub"] = "person 7"
				reply(w, tt.info)
			}
			w := brokered(t, alone(i.connector("idp")), i)
			_, challenge := pkce()
			if p := w.browser().elsewhere(authParams(challenge), ""); p.status != tt.status {
				t.Errorf("status %d, want %d: %s", p.status, tt.status, p.body)
			}
		})
	}
}

// TestReloadedLoginPage: where there is nothing to choose, loading the login page again
// and again is bounded as the link to a connector is, so that one browser does not push
// out the attempts of all others.
func TestReloadedLoginPage(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	b := w.browser()
	at := b.get(w.issuer + "/authorize?" + authParams(challenge).Encode()).location.String()
	for range 200 {
		if b.get(at).status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("nothing bounds how often somebody is sent to a provider")
}
