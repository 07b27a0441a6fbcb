package remote

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sign"
)

const (
	oidcService = "the OpenID provider"
	// maxOIDC bounds a discovery document or a token answer.
	maxOIDC = 256 << 10
	// defaultClientID is what Sigstore's providers know signers as.
	defaultClientID = "sigstore"
)

// Login gets an identity token from an OpenID provider by asking a person.
type Login struct {
	// Issuer is the provider's URL.
	Issuer string
	// ClientID is how the provider knows us; "" is "sigstore".
	ClientID string
	// ClientSecret is for clients that have one; "" is none.
	ClientSecret string
	// Open shows a URL in a browser; the browser flow needs it.
	Open func(url string) error
	// Tell shows a person what to do. Its arguments come from the provider and
	// are not to be trusted on a terminal.
	Tell func(Prompt)
}

// Prompt is what a person needs to log in.
type Prompt struct {
	// URL to open.
	URL string
	// Code to type there; "" when the URL is all.
	Code string
	// Expires says when it is too late; zero when not known.
	Expires time.Time
}

func (l Login) clientID() string {
	if l.ClientID == "" {
		return defaultClientID
	}
	return l.ClientID
}

func (l Login) tell(p Prompt) {
	if l.Tell != nil {
		l.Tell(p)
	}
}

// provider is what we use of a discovery document.
//
// Source: OpenID Connect Discovery 1.0 §3, RFC 8414 §2.
type provider struct {
	Issuer   string   `json:"issuer"`
	AuthURL  string   `json:"authorization_endpoint"`
	TokenURL string   `json:"token_endpoint"`
	Device   string   `json:"device_authorization_endpoint"`
	PKCE     []string `json:"code_challenge_methods_supported"`
	// NamesIssuer says that it names itself in every answer (RFC 9207 §3).
	NamesIssuer bool `json:"authorization_response_iss_parameter_supported"`
}

// discover reads the provider's configuration. The issuer that it states must be
// the one that was asked for (Discovery §4.3), and one with TLS stays with it: a
// password is typed there, and a token comes back.
func (c *Client) discover(ctx context.Context, issuer string) (provider, error) {
	r := request{service: oidcService, method: http.MethodGet, url: join(issuer, "/.well-known/openid-configuration"), limit: maxOIDC, secret: true}
	resp, err := c.expect(ctx, r, http.StatusOK)
	if err != nil {
		return provider{}, err
	}
	var p provider
	if err := decodeJSON(resp.body, &p); err != nil {
		return provider{}, badAnswer(r, "an OpenID configuration").WithCause(err)
	}
	if strings.TrimRight(p.Issuer, "/") != strings.TrimRight(issuer, "/") {
		return provider{}, sigbox.Mismatch(sigbox.Invalid, "the OpenID provider calls itself another issuer", issuer, p.Issuer)
	}
	for _, at := range []string{p.AuthURL, p.TokenURL, p.Device} {
		if strings.HasPrefix(issuer, "https://") && at != "" && !strings.HasPrefix(at, "https://") {
			return provider{}, sigbox.Errorf(sigbox.Invalid, "the OpenID provider %s has an endpoint that is not https: %.200q", issuer, at)
		}
		if err := c.checkPrivate(oidcService, at); err != nil {
			return provider{}, err
		}
	}
	return p, nil
}

// tokenAnswer is a token endpoint's answer, or its error (RFC 6749 §5).
type tokenAnswer struct {
	IDToken     string `json:"id_token"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// requestToken posts to the token endpoint. An OAuth error comes back in the
// answer, not as err.
func (c *Client) requestToken(ctx context.Context, l Login, p provider, form url.Values) (tokenAnswer, error) {
	form.Set("client_id", l.clientID())
	if l.ClientSecret != "" {
		form.Set("client_secret", l.ClientSecret)
	}
	r := request{
		service: oidcService, method: http.MethodPost, url: p.TokenURL,
		contentType: "application/x-www-form-urlencoded", body: []byte(form.Encode()), limit: maxOIDC,
		oneShot: true, // codes are used once
		secret:  true,
	}
	resp, err := c.do(ctx, r)
	if err != nil {
		return tokenAnswer{}, err
	}
	var answer tokenAnswer
	if err := decodeJSON(resp.body, &answer); err != nil || (resp.status != http.StatusOK && answer.Error == "") {
		return tokenAnswer{}, refused(r, resp)
	}
	return answer, nil
}

// checkToken makes sure that an ID token is the answer to this login: from this
// issuer, for this client, and with our nonce if there was one (OpenID Connect
// Core §3.1.3.7). Its signature is for the certificate authority to check: the
// token came straight from the provider.
func checkToken(l Login, raw, nonce string) (string, error) {
	t, err := sign.ParseToken(raw)
	if err != nil {
		return "", err
	}
	switch {
	case strings.TrimRight(t.Issuer, "/") != strings.TrimRight(l.Issuer, "/"):
		return "", sigbox.Mismatch(sigbox.Unauthenticated, "the identity token is from another issuer", l.Issuer, t.Issuer)
	case !t.HasAudience(l.clientID()):
		return "", sigbox.Mismatch(sigbox.Unauthenticated, "the identity token is for another client", l.clientID(), strings.Join(t.Audience, ", "))
	case nonce != "" && subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(nonce)) != 1:
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token answers another login: its nonce is not ours")
	}
	return raw, nil
}

func oauthError(a tokenAnswer) error {
	msg := clip(a.Error)
	if a.Description != "" {
		msg += ": " + clip(a.Description)
	}
	return sigbox.Errorf(sigbox.Unauthenticated, "the OpenID provider refused the login: %s", msg)
}

// secret gives 256 random bits, for state, nonce and PKCE verifier.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// challenge is PKCE's S256 (RFC 7636 §4.2).
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
