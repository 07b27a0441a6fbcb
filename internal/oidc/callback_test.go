package oidc_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/oidc"
)

// answer goes to the provider and stops before the answer that the provider sends back.
func (b *browser) answer(params url.Values, connector string) *url.URL {
	b.w.Helper()
	p := b.get(b.w.issuer + "/authorize?" + params.Encode())
	p = b.get(p.location.String())
	if link := p.link(connector); link != "" {
		p = b.get(b.w.url + link)
	}
	back := b.get(p.location.String()).location
	if back == nil || !strings.HasPrefix(back.String(), b.w.issuer+"/callback/"+connector+"?") {
		b.w.Fatalf("the provider sends to %v", back)
	}
	return back
}

// TestAdvisoryDexGHSA_vh7g_p26c_j2cw: an attacker begins a login and has somebody else
// sign in with it. The answer counts in the browser that began alone, and nobody else can
// wait for the code.
func TestAdvisoryDexGHSA_vh7g_p26c_j2cw(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	attacker, victim, busy := w.browser(), w.browser(), w.browser()
	busy.answer(authParams(challenge), "idp")
	back := attacker.answer(authParams(challenge), "idp")
	for name, b := range map[string]*browser{"a browser without cookies": victim, "one with a login of its own": busy} {
		if p := b.get(back.String()); p.status != http.StatusForbidden || !strings.Contains(p.body, "another browser") || p.location != nil {
			t.Errorf("%s: status %d: %s", name, p.status, p.body)
		}
	}
	if p := attacker.follow(attacker.get(back.String())); p.status != http.StatusOK {
		t.Errorf("whoever began cannot go on: %d", p.status)
	}
}

// TestAdvisorySigstorePythonGHSA_hm8f_75xx_w2vr: an answer with a state that is none of
// ours, or none, is nobody's.
func TestAdvisorySigstorePythonGHSA_hm8f_75xx_w2vr(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	for name, change := range map[string]func(url.Values){
		"no state":      func(q url.Values) { q.Del("state") },
		"empty state":   func(q url.Values) { q.Set("state", "") },
		"another state": func(q url.Values) { q.Set("state", strings.Repeat("A", 43)) },
		"our own state": func(q url.Values) { q.Set("state", "the state") },
		"two states":    func(q url.Values) { q.Add("state", q.Get("state")) },
	} {
		b := w.browser()
		back := b.answer(authParams(challenge), "idp")
		i.asks()
		q := back.Query()
		change(q)
		if p := b.get(w.issuer + "/callback/idp?" + q.Encode()); p.status != http.StatusGone && p.status != http.StatusBadRequest || p.location != nil {
			t.Errorf("%s: status %d: %s", name, p.status, p.body)
		}
		if len(i.asks()) > 0 {
			t.Errorf("%s: a code was redeemed", name)
		}
		// The right one still counts, once.
		if p := b.follow(b.get(back.String())); p.status != http.StatusOK {
			t.Errorf("%s: status %d: %s", name, p.status, p.body)
		}
		if p := b.get(back.String()); p.status != http.StatusGone {
			t.Errorf("%s, again: status %d: %s", name, p.status, p.body)
		}
	}
}

// TestMixedUpAnswers: the answer of one provider does not count for another, and its
// code is not sent there.
func TestMixedUpAnswers(t *testing.T) {
	honest, evil := newIDP(t), newIDP(t)
	w := brokered(t, oidc.Logins{Connectors: []oidc.Connector{
		honest.connector("honest"), evil.connector("evil", func(c *oidc.Connector) { c.Domains = []string{"evil.example"} }),
	}}, honest, evil)
	_, challenge := pkce()
	b := w.browser()
	back := b.answer(authParams(challenge), "honest")
	honest.asks()
	evil.asks()
	p := b.get(w.issuer + "/callback/evil?" + back.RawQuery)
	if asked := append(honest.asks(), evil.asks()...); p.status != http.StatusBadRequest || !strings.Contains(p.body, "another provider") || len(asked) > 0 {
		t.Errorf("status %d, asked %v: %s", p.status, asked, p.body)
	}
	if p := b.get(back.String()); p.status != http.StatusGone {
		t.Errorf("the state is good after that: %d", p.status)
	}
	if p := b.get(w.issuer + "/callback/none?" + back.RawQuery); p.status != http.StatusGone {
		t.Errorf("a connector that is none: %d", p.status)
	}
	// A link to a connector is good in its own browser alone.
	p = b.loginPage(authParams(challenge))
	if p := w.browser().get(w.url + p.link("honest")); p.status != http.StatusForbidden {
		t.Errorf("a link in another browser: %d", p.status)
	}
	if p := b.get(w.url + strings.Replace(p.link("honest"), "honest", "none", 1)); p.status != http.StatusNotFound {
		t.Errorf("a connector that is none: %d", p.status)
	}
}

// TestConsentIsAsked: without it nothing goes to the program, and nobody else can give it.
func TestConsentIsAsked(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	b := w.browser()
	p := b.elsewhere(authParams(challenge), "")
	for name, status := range map[string]int{
		"without the form's token": b.submit(p, "action", "allow", "csrf", "").status,
		"in another browser":       w.browser().submit(p, "action", "allow").status,
	} {
		if status != http.StatusForbidden {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if p := b.submit(p, "action", "allow", "email", "carol@example.net", "connector", "x"); p.status != http.StatusSeeOther {
		t.Errorf("status %d", p.status)
	}
	if p := b.submit(b.elsewhere(authParams(challenge), ""), "action", "deny"); p.location.Query().Get("error") != "access_denied" {
		t.Errorf("denied: %v", p.location)
	}
}

// TestStrangersNextToAccounts: an address has one owner. Local accounts come first, then
// the connector of the domain, then the one of any.
func TestStrangersNextToAccounts(t *testing.T) {
	i, wide := newIDP(t), newIDP(t)
	connectors := []oidc.Connector{i.connector("idp"), wide.connector("wide", func(c *oidc.Connector) { c.Domains = []string{"*"} })}
	for name, tt := range map[string]struct {
		issuer, email string
		off           bool // no local accounts
		says          string
	}{
		"somebody new":               {"", "carol@example.com", false, ""},
		"a local account":            {"", alice, false, "has an account of this instance"},
		"in other letters":           {"", strings.ToUpper(alice), false, "has an account of this instance"},
		"an account that is off":     {"", alice, true, ""},
		"a domain of another":        {"", bob, false, "sign in here with The idp"},
		"in other letters, too":      {"", "bob@EXAMPLE.NET", false, "sign in here with The idp"},
		"two issuers":                {oidc.IssuerConnector, bob, false, ""},
		"two issuers and an account": {oidc.IssuerConnector, alice, false, "has an account of this instance"},
	} {
		t.Run(name, func(t *testing.T) {
			logins := oidc.Logins{CertificateIssuer: tt.issuer, Connectors: connectors}
			if tt.off {
				logins.LocalAccounts = new(bool)
			}
			w := brokered(t, logins, i, wide)
			wide.claims["email"] = tt.email
			_, challenge := pkce()
			p := w.browser().elsewhere(authParams(challenge), "wide")
			if tt.says == "" && p.status != http.StatusOK || tt.says != "" && (p.status != http.StatusForbidden || !strings.Contains(p.body, tt.says)) {
				t.Errorf("status %d: %s", p.status, p.body)
			}
		})
	}
}

// TestOwnerChanges: between the consent and the token the address got an account, or the
// connector went away.
func TestOwnerChanges(t *testing.T) {
	for name, change := range map[string]func(*world, oidc.Connector) error{
		"an account": func(w *world, _ oidc.Connector) error {
			return w.provider.Users().Add(w.Context(), bob, password, "")
		},
		"another domain": func(w *world, c oidc.Connector) error {
			c.Domains = []string{"example.org"}
			return w.set(oidc.Logins{Connectors: []oidc.Connector{c}})
		},
		"another provider by the same ID": func(w *world, c oidc.Connector) error {
			c.URL = newIDP(w.T).URL
			return w.set(oidc.Logins{Connectors: []oidc.Connector{c}})
		},
		"no connector": func(w *world, _ oidc.Connector) error { return w.set(oidc.Logins{}) },
	} {
		t.Run(name, func(t *testing.T) {
			i := newIDP(t)
			w := brokered(t, oidc.Logins{Connectors: []oidc.Connector{i.connector("idp")}}, i)
			verifier, challenge := pkce()
			b := w.browser()
			code := b.consent(b.elsewhere(authParams(challenge), "idp")).Get("code")
			if err := change(w, i.connector("idp")); err != nil {
				t.Fatal(err)
			}
			if tok := w.token(codeForm(code, verifier)); tok.Error != "invalid_grant" || tok.IDToken != "" {
				t.Errorf("tokens: %+v", tok)
			}
		})
	}
}

// set changes how people sign in.
func (w *world) set(l oidc.Logins) error {
	apply, err := w.provider.SetLogins(l)
	if err == nil {
		apply()
	}
	return err
}

// check asks how connectors are.
func (w *world) check(connectors ...oidc.Connector) []oidc.ConnectorCheck {
	var c oidc.Config
	outside(w, &c)
	return oidc.CheckConnectors(w.Context(), oidc.Logins{Connectors: connectors}, c.Outside, c.Secrets)
}

// TestSettingsChangeMeanwhile: who is at a provider while the settings change comes back
// to a connector that is still the same, and to no other.
func TestSettingsChangeMeanwhile(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	b := w.browser()
	back := b.answer(authParams(challenge), "idp")
	if err := w.set(oidc.Logins{Connectors: []oidc.Connector{i.connector("idp")}}); err != nil {
		t.Fatal(err)
	}
	if p := b.follow(b.get(back.String())); p.status != http.StatusOK || !strings.Contains(p.body, bob) {
		t.Errorf("status %d: %s", p.status, p.body)
	}
	back = b.answer(authParams(challenge), "idp")
	if err := w.set(alone(i.connector("idp", func(c *oidc.Connector) { c.ClientID = "new" }))); err != nil {
		t.Fatal(err)
	}
	if p := b.get(back.String()); p.status != http.StatusGone || !strings.Contains(p.body, "settings") {
		t.Errorf("status %d: %s", p.status, p.body)
	}
	if err := w.set(alone(i.connector("IDP"))); err == nil {
		t.Error("settings with a fault are taken")
	}
	if checks := w.check(i.connector("idp")); len(checks) != 1 || checks[0].ID != "idp" || checks[0].Issuer != i.URL || checks[0].Err != nil {
		t.Errorf("checks: %+v", checks)
	}
}

// TestProviderIsDown: people who sign in otherwise do not notice, those who would there
// are told, and it goes on when it is back.
func TestProviderIsDown(t *testing.T) {
	up, down := newIDP(t), newIDP(t)
	up.claims["email"] = "carol@example.com"
	gone := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	down.answers["/.well-known/openid-configuration"] = gone
	w := brokered(t, oidc.Logins{Connectors: []oidc.Connector{down.connector("down"), up.connector("up", func(c *oidc.Connector) { c.Domains = []string{"example.com"} })}}, up, down)
	_, challenge := pkce()
	b := w.browser()
	for range 3 {
		if p := b.elsewhere(authParams(challenge), "down"); p.status != http.StatusServiceUnavailable || !strings.Contains(p.body, "cannot be reached") || p.link("up") == "" {
			t.Errorf("status %d: %s", p.status, p.body)
		}
	}
	if n := len(down.asks()); n != 1 {
		t.Errorf("it was asked %d times at one moment", n)
	}
	b.consent(b.elsewhere(authParams(challenge), "up"))
	b.signIn(authParams(challenge))
	if checks := w.check(down.connector("down"), up.connector("up")); checks[0].Err == nil || checks[1].Err != nil || checks[0].Title != "The down" {
		t.Errorf("checks: %+v", checks)
	}

	delete(down.answers, "/.well-known/openid-configuration")
	w.clock.Add(2 * time.Second)
	b.consent(b.elsewhere(authParams(challenge), "down"))
	// What was found is kept, and good while the provider is away again.
	down.answers["/.well-known/openid-configuration"] = gone
	for _, later := range []time.Duration{time.Minute, time.Hour} {
		w.clock.Add(later)
		if p := b.elsewhere(authParams(challenge), "down"); p.status != http.StatusOK {
			t.Errorf("after %s: status %d: %s", later, p.status, p.body)
		}
	}
	w.clock.Add(25 * time.Hour)
	if p := b.elsewhere(authParams(challenge), "down"); p.status != http.StatusServiceUnavailable {
		t.Errorf("after a day: status %d", p.status)
	}
}

// denied is a line on which everything is refused to this server, as what is at a private
// address.
type denied struct{}

func (denied) Do(*http.Request, int64) (int, []byte, error) {
	return 0, nil, sigbox.Errorf(sigbox.Denied, "10.0.0.1 is at a private address")
}

func (denied) Verify(context.Context, string) ([]byte, error) {
	return nil, sigbox.Errorf(sigbox.Denied, "10.0.0.1 is at a private address")
}

// TestPrivateAddressIsForTheLog: a person is not told of addresses here, nor that the
// refusal is theirs.
func TestPrivateAddressIsForTheLog(t *testing.T) {
	for name, change := range map[string]func(*oidc.Config){
		"provider": func(c *oidc.Config) { c.Outside = func(oidc.Connector) oidc.Outside { return denied{} } },
		"keys": func(c *oidc.Config) {
			c.IDTokens = func(oidc.Connector) (oidc.IDTokens, error) { return denied{}, nil }
		},
	} {
		i := newIDP(t)
		w := newWorld(t, outside, func(_ *world, c *oidc.Config) { c.Logins = alone(i.connector("idp")); change(c) })
		i.clock = w.clock
		_, challenge := pkce()
		p := w.browser().elsewhere(authParams(challenge), "")
		if p.status != http.StatusServiceUnavailable || strings.Contains(p.body, "10.0.0.1") || !strings.Contains(p.body, "cannot be reached") {
			t.Errorf("%s: status %d: %s", name, p.status, p.body)
		}
		if !strings.Contains(w.log.String(), "10.0.0.1 is at a private address") {
			t.Errorf("%s: the log says %s", name, w.log)
		}
	}
}

// TestOneProviderByManyNames: a URL that leads to the same provider is the same, however
// it is written.
func TestOneProviderByManyNames(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, oidc.Logins{}, i)
	set := func(a, b string) error {
		named := func(id, url string) oidc.Connector {
			return i.connector(id, func(c *oidc.Connector) { c.URL, c.Domains = url, []string{id + ".example"} })
		}
		return w.set(oidc.Logins{Connectors: []oidc.Connector{named("a", a), named("b", b)}})
	}
	for _, same := range [][2]string{
		{"https://idp.example", "https://idp.example/"},
		{"https://idp.example/a", "https://idp.example/a//"},
		{"https://idp.example", "HTTPS://IDP.Example"},
		{"https://idp.example/a", "https://idp.example:443/a"},
		{"http://idp.example:80", "http://idp.example"},
		{"https://idp.example", "https://idp.example.:443"},
		{"https://[2001:DB8::1]", "https://[2001:db8::1]:443/"},
		{"https://idp.example/%61", "https://idp.example/a"},
	} {
		if err := set(same[0], same[1]); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%v: found %v", same, err)
		}
	}
	for _, other := range [][2]string{
		{"https://idp.example", "http://idp.example"},
		{"https://idp.example/a", "https://idp.example/A"},
		{"https://idp.example", "https://idp.example:8443"},
		{"https://idp.example/realms/a", "https://idp.example/realms/b"},
	} {
		if err := set(other[0], other[1]); err != nil {
			t.Errorf("%v: found %v", other, err)
		}
	}
}

// TestBusyProvider: a provider that is slow holds so many people's requests and no more.
func TestBusyProvider(t *testing.T) {
	const conversations = 16
	i := newIDP(t)
	reached, release := make(chan bool, conversations), make(chan bool)
	i.answers["/token"] = func(w http.ResponseWriter, _ *http.Request) {
		reached <- true
		<-release
		w.WriteHeader(http.StatusBadGateway)
	}
	w := brokered(t, alone(i.connector("idp")), i)
	_, challenge := pkce()
	done := make(chan int, conversations)
	for range conversations {
		b := w.browser()
		back := b.answer(authParams(challenge), "idp")
		go func() { done <- b.get(back.String()).status }()
	}
	for range conversations {
		<-reached
	}
	b := w.browser()
	if p := b.elsewhere(authParams(challenge), ""); p.status != http.StatusServiceUnavailable || p.header.Get("Retry-After") == "" || !strings.Contains(p.body, "Too many people") {
		t.Errorf("status %d: %s", p.status, p.body)
	}
	close(release)
	for range conversations {
		if status := <-done; status != http.StatusServiceUnavailable {
			t.Errorf("status %d", status)
		}
	}
	delete(i.answers, "/token")
	b.consent(b.elsewhere(authParams(challenge), ""))
}

// TestFaultyLogins: what cannot be meant is refused, with the field that is wrong.
func TestFaultyLogins(t *testing.T) {
	i := newIDP(t)
	w := brokered(t, oidc.Logins{}, i)
	with := func(change func(*oidc.Connector)) oidc.Logins {
		return oidc.Logins{Connectors: []oidc.Connector{i.connector("idp", change)}}
	}
	two := func(issuer string, change func(*oidc.Connector)) oidc.Logins {
		l := with(func(c *oidc.Connector) {
			c.ID, c.URL, c.Domains = "other", "https://idp.example", []string{"example.com"}
		})
		l.Connectors = append(l.Connectors, i.connector("idp", change))
		l.CertificateIssuer = issuer
		return l
	}
	github := func(change func(*oidc.Connector)) oidc.Logins {
		return with(func(c *oidc.Connector) { c.Type, c.URL = oidc.TypeGitHub, ""; change(c) })
	}
	for says, l := range map[string]oidc.Logins{
		"certificate-issuer":        {CertificateIssuer: "somebody"},
		"nobody could sign in":      {LocalAccounts: new(bool)},
		"33 connectors":             {Connectors: make([]oidc.Connector, 33)},
		"id: expected":              with(func(c *oidc.Connector) { c.ID = "../x" }),
		"title:":                    with(func(c *oidc.Connector) { c.Title = "a\nb" }),
		`type: expected oidc or`:    with(func(c *oidc.Connector) { c.Type = "saml" }),
		"client-id:":                with(func(c *oidc.Connector) { c.ClientID = "" }),
		"no such secret":            with(func(c *oidc.Connector) { c.ClientSecret = "secret:other" }),
		"scopes:":                   with(func(c *oidc.Connector) { c.Scopes = []string{"email"} }),
		"domains: it is missing":    with(func(c *oidc.Connector) { c.Domains = nil }),
		"domains: expected":         with(func(c *oidc.Connector) { c.Domains = []string{"*.example.com"} }),
		"or * alone":                with(func(c *oidc.Connector) { c.Domains = []string{"*", "example.com"} }),
		"organizations: not":        with(func(c *oidc.Connector) { c.Organizations = []string{"x"} }),
		"url: this cannot be asked": with(func(c *oidc.Connector) { c.AllowPrivate = false }),
		"with a query":              with(func(c *oidc.Connector) { c.URL += "?a=b" }),
		"own provider":              with(func(c *oidc.Connector) { c.URL = w.issuer }),
		"client-secret: it is":      github(func(c *oidc.Connector) { c.ClientSecret = "" }),
		"required-claims and":       github(func(c *oidc.Connector) { c.SkipEmailVerification = true }),
		"not the name of one":       github(func(c *oidc.Connector) { c.Organizations = []string{"a/b"} }),
		`id: "other" is that of`:    two("", func(c *oidc.Connector) { c.ID = "other" }),
		`url: "https://idp.example`: two(oidc.IssuerConnector, func(c *oidc.Connector) { c.URL = "https://idp.example" }),
		"would not tell whose":      two("", func(c *oidc.Connector) { c.Domains = []string{"EXAMPLE.com"} }),
	} {
		if says == "with a query" {
			says = "this cannot be asked"
		}
		err := w.set(l)
		if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(fmt.Sprint(err), says) || strings.Contains(fmt.Sprint(err), idpSecret) {
			t.Errorf("want %q, found %v", says, err)
		}
	}
	for name, l := range map[string]oidc.Logins{
		"two issuers":                 two(oidc.IssuerConnector, func(c *oidc.Connector) { c.Domains = []string{"example.com"} }),
		"one domain each":             two("", func(*oidc.Connector) {}),
		"any domain, and one of them": two("", func(c *oidc.Connector) { c.Domains = []string{"*"} }),
		"github.com":                  github(func(*oidc.Connector) {}),
	} {
		if err := w.set(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
