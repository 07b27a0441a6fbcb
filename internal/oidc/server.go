package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/sigbox/sigbox"
)

// Bounds of what a program may ask us to remember, in bytes.
const (
	maxState = 1024
	maxNonce = 1024
)

// Lengths of PKCE's values (RFC 7636 §4.1, §4.2 for S256).
const (
	minVerifier   = 43
	maxVerifier   = 128
	challengeSize = 43
)

// server answers what the library has routed and parsed. An error that is not an
// oidc.Error would be shown to the caller in full, so each one is made one.
type server struct {
	op.UnimplementedServer
	p *Provider
}

// discovery adds RFC 9207 to what the library knows.
type discovery struct {
	oidc.DiscoveryConfiguration
	Iss bool `json:"authorization_response_iss_parameter_supported"`
}

// Discovery implements op.Server.
func (s *server) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	at := func(path string) string { return s.p.issuer + path }
	return op.NewResponse(discovery{oidc.DiscoveryConfiguration{
		Issuer:                            s.p.issuer,
		AuthorizationEndpoint:             at(authorizePath),
		TokenEndpoint:                     at(tokenPath),
		UserinfoEndpoint:                  at(userinfoPath),
		DeviceAuthorizationEndpoint:       at(deviceAuthz),
		JwksURI:                           at(keysPath),
		ScopesSupported:                   []string{oidc.ScopeOpenID, oidc.ScopeEmail},
		ResponseTypesSupported:            []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:            []string{string(oidc.ResponseModeQuery)},
		GrantTypesSupported:               client{}.GrantTypes(),
		SubjectTypesSupported:             []string{"public"},
		IDTokenSigningAlgValuesSupported:  []string{string(jose.RS256)},
		TokenEndpointAuthMethodsSupported: []oidc.AuthMethod{oidc.AuthMethodNone},
		CodeChallengeMethodsSupported:     []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		ClaimsSupported: []string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "nonce", "auth_time", "at_hash",
			"email", "email_verified", "name", "federated_claims"},
	}, true}), nil
}

// Keys implements op.Server.
func (s *server) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(jose.JSONWebKeySet{Keys: s.p.Keys()}), nil
}

// VerifyAuthRequest implements op.Server: first client and redirect, by which the
// other errors travel, then what we want beyond the library's checks.
func (s *server) VerifyAuthRequest(_ context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	q := r.Data
	if !s.p.knows(q.ClientID) {
		return nil, oidc.ErrInvalidClient().WithDescription("there is no client %s here", quoted(q.ClientID))
	}
	if err := checkRedirect(q.RedirectURI); err != nil {
		return nil, oidc.ErrInvalidRequest().WithDescription("%s", public(err))
	}
	if q.RequestParam != "" || r.Form.Has("request_uri") {
		return nil, oidc.ErrRequestNotSupported().WithDescription("request objects are not supported")
	}
	if err := checkAuthRequest(q); err != nil {
		return nil, err
	}
	return &op.ClientRequest[oidc.AuthRequest]{
		Request: r,
		Client:  client{id: q.ClientID, redirect: q.RedirectURI, lifetime: s.p.lifetime},
	}, nil
}

func checkAuthRequest(q *oidc.AuthRequest) error {
	bad := oidc.ErrInvalidRequest()
	switch {
	case !slices.Contains(q.Scopes, oidc.ScopeOpenID):
		return oidc.ErrInvalidScope().WithDescription("the scope must contain openid")
	case q.CodeChallenge == "":
		return bad.WithDescription("code_challenge is missing: clients without a secret must use PKCE")
	case q.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return bad.WithDescription("code_challenge_method must be S256")
	case len(q.CodeChallenge) != challengeSize:
		return bad.WithDescription("code_challenge must be %d characters", challengeSize)
	case len(q.State) > maxState:
		return bad.WithDescription("state is longer than %d bytes", maxState)
	case len(q.Nonce) > maxNonce:
		return bad.WithDescription("nonce is longer than %d bytes", maxNonce)
	case q.ResponseMode != "" && q.ResponseMode != oidc.ResponseModeQuery:
		return bad.WithDescription("response_mode must be query")
	case slices.Contains(q.Prompt, oidc.PromptNone):
		return oidc.ErrLoginRequired().WithDescription("there are no sessions here: each sign-in asks for the password")
	}
	return nil
}

// Authorize implements op.Server: it notes the request and sends the browser to
// the login page.
func (s *server) Authorize(_ context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	q := r.Data
	browser, cookie, err := s.p.browser(r.Header)
	if err != nil {
		return nil, serverError(err)
	}
	l := &login{
		browser: browser, clientID: q.ClientID, redirect: q.RedirectURI,
		state: q.State, nonce: q.Nonce, challenge: q.CodeChallenge,
	}
	if CheckEmail(q.LoginHint) == nil {
		l.hint = q.LoginHint
	}
	id, err := s.p.begin(l)
	if err != nil {
		return nil, serverError(err)
	}
	redirect := op.NewRedirect(s.p.path + r.Client.LoginURL(id))
	redirect.Header.Set("Set-Cookie", cookie.String())
	return redirect, nil
}

// VerifyClient implements op.Server: all clients are public. Some send an empty
// secret with Basic authentication.
func (s *server) VerifyClient(_ context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	var why string
	switch {
	case !s.p.knows(r.Data.ClientID):
		why = "there is no client " + quoted(r.Data.ClientID) + " here"
	case r.Data.ClientSecret != "" || r.Data.ClientAssertion != "":
		why = "clients have no secret here"
	default:
		return client{id: r.Data.ClientID, lifetime: s.p.lifetime}, nil
	}
	return nil, op.NewStatusError(oidc.ErrInvalidClient().WithDescription("%s", why), http.StatusUnauthorized)
}

// grant is what somebody consented to: the meaning of an authorization code.
type grant struct {
	who       account
	clientID  string
	redirect  string
	challenge string
	nonce     string
	authTime  time.Time
}

// CodeExchange implements op.Server. A code is gone once it was shown, whether or
// not the rest is in order, so of two callers one gets tokens.
func (s *server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	g, ok := s.p.codes.take(r.Data.Code, s.p.now())
	if !ok {
		return nil, oidc.ErrInvalidGrant().WithDescription("the code is unknown, used or expired")
	}
	switch {
	case g.clientID != r.Client.GetID():
		return nil, oidc.ErrInvalidGrant().WithDescription("the code was made for another client")
	case g.redirect != r.Data.RedirectURI:
		return nil, oidc.ErrInvalidGrant().WithDescription("redirect_uri is not the one of the authorization request")
	case !verifies(r.Data.CodeVerifier, g.challenge):
		return nil, oidc.ErrInvalidGrant().WithDescription("code_verifier does not fit the code_challenge")
	}
	return s.tokens(ctx, g)
}

// verifies checks PKCE (RFC 7636 §4.6).
func verifies(verifier, challenge string) bool {
	return len(verifier) >= minVerifier && len(verifier) <= maxVerifier &&
		subtle.ConstantTimeCompare([]byte(oidc.NewSHACodeChallenge(verifier)), []byte(challenge)) == 1
}

// tokens answers a grant with an access token and an ID token, if the user is
// still there.
func (s *server) tokens(ctx context.Context, g *grant) (*op.Response, error) {
	c, err := s.p.claimsOf(ctx, g.who)
	if err != nil {
		return nil, err
	}
	c.Audience, c.Nonce, c.AuthTime = g.clientID, g.nonce, jwt.NewNumericDate(g.authTime)
	access, err := s.p.minter.mint(c, s.p.lifetime)
	if err != nil {
		return nil, serverError(err)
	}
	c.AccessTokenHash = accessTokenHash(access)
	id, err := s.p.minter.mint(c, s.p.lifetime)
	if err != nil {
		return nil, serverError(err)
	}
	s.p.log.InfoContext(ctx, "tokens issued", "user", c.Email, "issuer", c.Federated.ConnectorID, "client", g.clientID)
	return op.NewResponse(oidc.AccessTokenResponse{
		AccessToken: access,
		IDToken:     id,
		TokenType:   oidc.BearerToken,
		ExpiresIn:   uint64(s.p.lifetime / time.Second), //nolint:gosec // G115: New refuses negative ones
		Scope:       oidc.SpaceDelimitedArray{oidc.ScopeOpenID, oidc.ScopeEmail},
	}), nil
}

// claimsOf says who somebody is, if they still may be it: a local account must be
// there, and a connector must be one that vouches for the address.
func (p *Provider) claimsOf(ctx context.Context, who account) (claims, error) {
	gone := oidc.ErrInvalidGrant().WithDescription("the user is gone")
	set := p.connectors.Load()
	if who.connector == "" {
		user, err := p.users.Get(ctx, who.email)
		switch {
		case err != nil && sigbox.KindOf(err) != sigbox.NotFound:
			return claims{}, serverError(err)
		case err != nil || !set.local:
			return claims{}, gone
		}
		return claims{Subject: user.Email, Email: user.Email, Name: user.Name, Federated: p.minter.own(user.Email)}, nil
	}
	c := set.find(who.connector)
	if c == nil || c.issuer != who.issuer { // the same ID may be another provider's now
		return claims{}, gone
	}
	if err := p.admit(ctx, set, c, who.email); err != nil {
		if sigbox.KindOf(err) == sigbox.Denied {
			return claims{}, gone.WithParent(err)
		}
		return claims{}, serverError(err)
	}
	return claims{Subject: who.email, Email: who.email, Federated: federated{c.issuer, who.userID}}, nil
}

// userInfo is the answer of the userinfo endpoint (OpenID Connect Core §5.3.2).
type userInfo struct {
	Subject       string `json:"sub"`
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	Name          string `json:"name,omitempty"`
}

// UserInfo implements op.Server.
func (s *server) UserInfo(_ context.Context, r *op.Request[oidc.UserInfoRequest]) (*op.Response, error) {
	c, err := s.p.minter.open(r.Data.AccessToken, s.p.clients)
	if err != nil {
		return nil, op.NewStatusError(oidc.ErrAccessDenied().WithDescription("%s", public(err)).WithParent(err), http.StatusUnauthorized)
	}
	return op.NewResponse(userInfo{c.Subject, c.Email, c.EmailVerified, c.Name}), nil
}

func (p *Provider) knows(clientID string) bool { return slices.Contains(p.clients, clientID) }

// serverError hides a failure of ours; the library logs it.
func serverError(err error) error {
	if errors.Is(err, context.Canceled) {
		return oidc.ErrAccessDenied().WithDescription("the request was cancelled").WithParent(err)
	}
	return oidc.ErrServerError().WithDescription("internal error").WithParent(err)
}
