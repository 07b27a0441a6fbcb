package oidc

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
)

const (
	// maxConversations is with how many people's sign-ins a provider is talked to
	// at a time, so that a slow one does not hold all requests.
	maxConversations = 16
	// maxAnswer bounds a provider's answer, in bytes.
	maxAnswer = 64 << 10
	// maxUserID bounds how a provider may name a person, in bytes (OpenID Connect
	// Core §2 has 255 characters).
	maxUserID = 255
)

// Outside is the line to an outside provider. It follows no redirect, bounds time and
// size, and connects to private addresses only where that is allowed.
type Outside interface {
	// Do sends a request and reads at most limit bytes of the answer. Errors:
	// Unavailable when there is no answer, TooLarge, Denied for a private address.
	Do(req *http.Request, limit int64) (status int, body []byte, err error)
}

// IDTokens verifies ID tokens of one provider for one client.
type IDTokens interface {
	// Verify checks signature, issuer, audience and times, and gives the claims as
	// JSON.
	Verify(ctx context.Context, token string) (claims []byte, err error)
}

// upstream is the protocol that an outside provider speaks.
type upstream interface {
	// authorize gives the address at which the provider asks the person.
	authorize(ctx context.Context, a *attempt) (string, error)
	// redeem finds out who the person is, by the parameters that the provider has
	// sent the browser back with. An error of kind Denied is for the person to
	// read; others are for the log.
	redeem(ctx context.Context, a *attempt, answer url.Values) (account, error)
}

// attempt is a sign-in at a connector under way. It does not change.
type attempt struct {
	login     string // ID of the login that it is for
	connector *connector
	callback  string // our address, to which the provider sends the browser back
	state     string
	nonce     string
	verifier  string // of PKCE
	hint      string // the address that the program proposed, or ""
	began     time.Time
}

// backchannel is the line from here to a provider.
type backchannel struct{ outside Outside }

// do sends a request and reads the JSON of an answer of any status.
func (b backchannel) do(req *http.Request, to any) (status int, err error) {
	req.Header.Set("Accept", "application/json")
	status, body, err := b.outside.Do(req, maxAnswer)
	if err != nil {
		return 0, notTheirs(err)
	}
	if err := json.Unmarshal(body, to); err != nil {
		return 0, sigbox.Errorf(sigbox.Unavailable, "%s answers with the status %d and no JSON that can be used", req.URL.Redacted(), status).WithCause(err)
	}
	return status, nil
}

// notTheirs keeps for the log what is Denied to this server, such as a private address:
// it is no refusal of the person's, who could change nothing about it.
func notTheirs(err error) error {
	if sigbox.KindOf(err) != sigbox.Denied {
		return err
	}
	return sigbox.Errorf(sigbox.Unavailable, "the provider cannot be asked").WithCause(err)
}

// get reads the JSON of a resource; with bearer "" it is one that all may read.
func (b backchannel) get(ctx context.Context, at, bearer string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil) //nolint:gosec // G704: Outside looks where it leads
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "%s cannot be asked", quoted(at)).WithCause(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	status, err := b.do(req, to)
	if err == nil && status != http.StatusOK {
		err = answered(at, status)
	}
	return err
}

// answered makes the error for an answer of another status than was expected.
func answered(at string, status int) error {
	return sigbox.Errorf(sigbox.Unavailable, "%s answers with the status %d, expected 200", at, status)
}

// tokenAnswer is a token endpoint's answer, or its error (RFC 6749 §5). GitHub sends
// errors with the status 200.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	IDToken     string `json:"id_token"`
	Error       string `json:"error"`
}

// redeem exchanges a code for tokens. basic, if not nil, is the client's ID and
// secret for the Authorization header (RFC 6749 §2.3.1).
func (b backchannel) redeem(ctx context.Context, at string, form url.Values, basic *url.Userinfo) (tokenAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode())) //nolint:gosec // G704: Outside looks where it leads
	if err != nil {
		return tokenAnswer{}, sigbox.Errorf(sigbox.Invalid, "%s cannot be asked", quoted(at)).WithCause(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic != nil {
		secret, _ := basic.Password()
		req.SetBasicAuth(url.QueryEscape(basic.Username()), url.QueryEscape(secret))
	}
	var t tokenAnswer
	status, err := b.do(req, &t)
	switch {
	case err != nil:
		return tokenAnswer{}, err
	case t.Error != "":
		return tokenAnswer{}, sigbox.Errorf(sigbox.Unauthenticated, "%s refuses the code with the error %s", at, quoted(t.Error))
	case status != http.StatusOK:
		return tokenAnswer{}, answered(at, status)
	}
	return t, nil
}

// withQuery adds parameters to those that an address has already.
func withQuery(at string, params url.Values) string {
	separator := "?"
	if strings.Contains(at, "?") {
		separator = "&"
	}
	return at + separator + params.Encode()
}
