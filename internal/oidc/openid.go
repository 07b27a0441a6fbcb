package oidc

import (
	"context"
	"crypto/subtle"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sigbox/sigbox"
)

const (
	// endpointsAge is how long a discovery document is kept, endpointsStale how long
	// while the provider cannot be asked again.
	endpointsAge   = 10 * time.Minute
	endpointsStale = 24 * time.Hour
	// discoveryPause is how long a provider that failed is not asked again.
	discoveryPause = 2 * time.Second
)

// openID signs people in at an OpenID provider, with the authorization code flow.
//
// Sources: OpenID Connect Core 1.0 §3.1, Discovery 1.0 §4, RFC 7636, RFC 9207.
type openID struct {
	Connector
	line   backchannel
	secret func() (string, error)
	tokens IDTokens
	now    func() time.Time

	turn  chan struct{} // holds a token while somebody is at what follows
	known endpoints
	at    time.Time // when known was fetched; zero: never
	tried time.Time // when that was last tried
	fault error     // of the last try
}

func newOpenID(c Connector, line backchannel, secret func() (string, error), tokens IDTokens, now func() time.Time) *openID {
	return &openID{Connector: c, line: line, secret: secret, tokens: tokens, now: now, turn: make(chan struct{}, 1)}
}

// endpoints is what is used of a discovery document.
type endpoints struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	UserInfo      string `json:"userinfo_endpoint"`
	// AuthMethods are how clients prove to be themselves.
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	// NamesIssuer says that each answer names the issuer (RFC 9207 §3).
	NamesIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

// discover gives the provider's endpoints: those that are known while they are
// young, or while the provider is away.
func (o *openID) discover(ctx context.Context) (endpoints, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return endpoints{}, ctx.Err()
	}
	age := o.now().Sub(o.at)
	if !o.at.IsZero() && age >= 0 && age < endpointsAge {
		return o.known, nil
	}
	if pause := o.now().Sub(o.tried); o.fault == nil || pause < 0 || pause >= discoveryPause {
		o.ask(ctx)
	}
	if o.fault != nil && (o.at.IsZero() || age >= endpointsStale) {
		return endpoints{}, o.fault
	}
	return o.known, nil
}

// ask fetches the endpoints, on behalf of all who wait, whoever goes away meanwhile.
func (o *openID) ask(ctx context.Context) {
	o.tried = o.now()
	found, err := o.fetch(context.WithoutCancel(ctx))
	if o.fault = err; err == nil {
		o.known, o.at = found, o.now()
	}
}

// fetch reads the discovery document, which must be of the issuer of the settings
// (Discovery §4.3).
func (o *openID) fetch(ctx context.Context) (endpoints, error) {
	var e endpoints
	at := strings.TrimSuffix(o.URL, "/") + oidc.DiscoveryEndpoint
	if err := o.line.get(ctx, at, "", &e); err != nil {
		return endpoints{}, err
	}
	if e.Issuer != o.URL {
		return endpoints{}, sigbox.Mismatch(sigbox.Invalid, at+" is of another issuer", quoted(o.URL), quoted(e.Issuer))
	}
	if _, err := o.checkEndpoint(e.Authorization); err != nil {
		return endpoints{}, sigbox.Errorf(sigbox.Invalid, "%s: authorization_endpoint: %w", at, err)
	}
	if _, err := o.checkURL(e.Token); err != nil {
		return endpoints{}, sigbox.Errorf(sigbox.Invalid, "%s: token_endpoint: %w", at, err)
	}
	if e.UserInfo != "" {
		if _, err := o.checkURL(e.UserInfo); err != nil {
			return endpoints{}, sigbox.Errorf(sigbox.Invalid, "%s: userinfo_endpoint: %w", at, err)
		}
	}
	return e, nil
}

// checkEndpoint is checkURL for the authorization endpoint, which may have a query
// (RFC 6749 §3.1).
func (o *openID) checkEndpoint(raw string) (*url.URL, error) {
	if u, err := url.Parse(raw); err == nil && u.Fragment == "" {
		if _, err := url.ParseQuery(u.RawQuery); err == nil {
			raw, _, _ = strings.Cut(raw, "?")
		}
	}
	return o.checkURL(raw)
}

func (o *openID) authorize(ctx context.Context, a *attempt) (string, error) {
	e, err := o.discover(ctx)
	if err != nil {
		return "", err
	}
	scopes := o.Scopes
	if scopes == nil {
		scopes = []string{oidc.ScopeOpenID, oidc.ScopeEmail}
	}
	params := url.Values{
		"response_type": {"code"}, "client_id": {o.ClientID}, "redirect_uri": {a.callback}, "scope": {strings.Join(scopes, " ")},
		"state": {a.state}, "nonce": {a.nonce},
		"code_challenge": {oidc.NewSHACodeChallenge(a.verifier)}, "code_challenge_method": {string(oidc.CodeChallengeMethodS256)},
	}
	if a.hint != "" {
		params.Set("login_hint", a.hint)
	}
	return withQuery(e.Authorization, params), nil
}

func (o *openID) redeem(ctx context.Context, a *attempt, answer url.Values) (account, error) {
	e, err := o.discover(ctx)
	if err != nil {
		return account{}, err
	}
	if err := o.checkIssuer(e, answer); err != nil {
		return account{}, err
	}
	tokens, err := o.exchange(ctx, e, a, answer.Get("code"))
	if err != nil {
		return account{}, err
	}
	claims, err := o.open(ctx, tokens.IDToken, a.nonce)
	if err != nil {
		return account{}, err
	}
	if e.UserInfo != "" && o.lacks(claims) {
		if claims, err = o.userInfo(ctx, e, claims, tokens.AccessToken); err != nil {
			return account{}, err
		}
	}
	return o.account(claims)
}

// checkIssuer holds an answer to be this provider's (RFC 9207 §2.4): one that names
// itself must be the one, and one that has announced to do so must.
func (o *openID) checkIssuer(e endpoints, answer url.Values) error {
	if iss := answer.Get("iss"); (e.NamesIssuer || answer.Has("iss")) && iss != o.URL {
		return sigbox.Mismatch(sigbox.Unauthenticated, "the answer is of another provider (iss)", quoted(o.URL), quoted(iss))
	}
	return nil
}

func (o *openID) exchange(ctx context.Context, e endpoints, a *attempt, code string) (tokenAnswer, error) {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.callback}, "code_verifier": {a.verifier}}
	secret, err := o.secret()
	if err != nil {
		return tokenAnswer{}, err
	}
	basic := secret != "" && (len(e.AuthMethods) == 0 || slices.Contains(e.AuthMethods, string(oidc.AuthMethodBasic)))
	if basic {
		return o.line.redeem(ctx, e.Token, form, url.UserPassword(o.ClientID, secret))
	}
	form.Set("client_id", o.ClientID)
	if secret != "" {
		form.Set("client_secret", secret)
	}
	return o.line.redeem(ctx, e.Token, form, nil)
}

// idClaims are the claims of a verified ID token, or of the answer of a userinfo
// endpoint.
type idClaims map[string]jsontext.Value

func (c idClaims) has(name string) bool {
	v, ok := c[name]
	return ok && v.Kind() != 'n'
}

// text gives a claim that is a string, "" if it is not.
func (c idClaims) text(name string) string {
	var s string
	if !c.has(name) || json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// texts gives a claim that is a string or a list of strings.
func (c idClaims) texts(name string) []string {
	var list []string
	if s := c.text(name); s != "" {
		return []string{s}
	}
	if !c.has(name) || json.Unmarshal(c[name], &list) != nil {
		return nil
	}
	return list
}

// open verifies an ID token and that it answers this attempt (OpenID Connect Core
// §3.1.3.7).
func (o *openID) open(ctx context.Context, token, nonce string) (idClaims, error) {
	if token == "" {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the provider gave no ID token").WithHint("is openid among the scopes?")
	}
	payload, err := o.tokens.Verify(ctx, token)
	if err != nil {
		return nil, notTheirs(err)
	}
	var c idClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the ID token's claims cannot be read").WithCause(err)
	}
	azp := c.text("azp")
	switch {
	case subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(nonce)) != 1:
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the ID token answers another sign-in: its nonce is not ours")
	case (c.has("azp") || len(c.texts("aud")) != 1) && azp != o.ClientID:
		return nil, sigbox.Mismatch(sigbox.Unauthenticated, "the ID token was made for another client (azp)", quoted(o.ClientID), quoted(azp))
	case !c.has("iat"):
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the ID token does not say when it was made (iat)")
	}
	return c, nil
}

// lacks says whether an ID token leaves out what is asked of a person: some providers
// tell it at another place alone.
func (o *openID) lacks(c idClaims) bool {
	for name := range o.RequiredClaims {
		if !c.has(name) {
			return true
		}
	}
	return !c.has("email") || !o.SkipEmailVerification && !c.has("email_verified")
}

// userInfo adds what an ID token does not say to what it says. The answer is about
// the same person by its sub alone (OpenID Connect Core §5.3.2).
func (o *openID) userInfo(ctx context.Context, e endpoints, c idClaims, bearer string) (idClaims, error) {
	var more idClaims
	if err := o.line.get(ctx, e.UserInfo, bearer, &more); err != nil {
		return nil, err
	}
	if sub := c.text("sub"); sub == "" || more.text("sub") != sub {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "%s answers about another person (sub)", e.UserInfo)
	}
	if c.has("email") && more.has("email") && c.text("email") != more.text("email") {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "%s tells another address than the ID token", e.UserInfo)
	}
	if !c.has("email") { // that an address is verified is said where the address is
		delete(c, "email_verified")
	}
	for name, v := range more {
		if !c.has(name) && (name != "email_verified" || more.has("email")) {
			c[name] = v
		}
	}
	return c, nil
}

// account judges what the provider says of a person.
func (o *openID) account(c idClaims) (account, error) {
	who := account{email: c.text("email"), connector: o.ID, userID: c.text("sub")}
	if who.userID == "" || len(who.userID) > maxUserID {
		return account{}, sigbox.Errorf(sigbox.Unauthenticated, "the provider gives the person no usable name (sub)")
	}
	if who.email == "" {
		return account{}, sigbox.Errorf(sigbox.Denied, "the provider does not tell your email address")
	}
	if CheckEmail(who.email) != nil {
		return account{}, sigbox.Errorf(sigbox.Denied, "your email address cannot stand in a certificate: expected name@domain in ASCII")
	}
	if !o.SkipEmailVerification && !slices.Contains([]string{`true`, `"true"`, `"True"`}, string(c["email_verified"])) {
		return account{}, sigbox.Errorf(sigbox.Denied, "the provider does not say that it has verified your address %s; verify it there and begin again", who.email)
	}
	for name, want := range o.RequiredClaims {
		if !slices.Contains(c.texts(name), want) {
			return account{}, sigbox.Errorf(sigbox.Denied, "%s is not among those who may sign in here", who.email)
		}
	}
	return who, nil
}
