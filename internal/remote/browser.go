package remote

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	loginTimeout = 5 * time.Minute
	callbackPath = "/auth/callback"
)

// Browser logs in through a browser on this machine: authorization code with
// PKCE over a loopback redirect (RFC 8252 §7.3). It ends when the person is
// done, with ctx, or after five minutes.
func (c *Client) Browser(ctx context.Context, l Login) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	p, err := c.discover(ctx, l.Issuer)
	if err != nil {
		return "", err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", sigbox.Errorf(sigbox.Unavailable, "cannot listen on the loopback interface for the browser's answer").WithCause(err)
	}
	a := newAuthorization(listener.Addr(), p)
	stop := a.serve(listener)
	defer stop()
	login, err := a.loginURL(p, l)
	if err != nil {
		return "", err
	}
	l.tell(Prompt{URL: login})
	if err := l.Open(login); err != nil {
		return "", sigbox.Errorf(sigbox.Unavailable, "cannot open a browser").WithCause(err).
			WithHint("log in with the device flow, or pass --identity-token")
	}
	code, err := a.wait(ctx)
	if err != nil {
		return "", err
	}
	return c.exchange(ctx, l, p, a, code)
}

// exchange turns the code into an identity token.
func (c *Client) exchange(ctx context.Context, l Login, p provider, a *authorization, code string) (string, error) {
	answer, err := c.requestToken(ctx, l, p, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {a.redirect},
		"code_verifier": {a.verifier},
	})
	if err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", oauthError(answer)
	}
	return checkToken(l, answer.IDToken, a.nonce)
}

// authorization is one login under way.
type authorization struct {
	state, nonce, verifier string
	redirect               string
	provider               provider
	result                 chan callback // holds the first answer that bears our state
}

type callback struct{ code, err string }

func newAuthorization(addr net.Addr, p provider) *authorization {
	port := strconv.Itoa(addr.(*net.TCPAddr).Port)
	return &authorization{
		state: secret(), nonce: secret(), verifier: secret(),
		redirect: "http://localhost:" + port + callbackPath,
		provider: p,
		result:   make(chan callback, 1),
	}
}

// loginURL is where the person logs in (OpenID Connect Core §3.1.2.1).
func (a *authorization) loginURL(p provider, l Login) (string, error) {
	u, err := url.Parse(p.AuthURL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return "", sigbox.Errorf(sigbox.Invalid, "the OpenID provider's authorization endpoint is no URL: %.100q", p.AuthURL)
	}
	q := u.Query()
	for name, value := range map[string]string{
		"response_type": "code", "client_id": l.clientID(), "redirect_uri": a.redirect, "scope": "openid email",
		"state": a.state, "nonce": a.nonce, "code_challenge": challenge(a.verifier), "code_challenge_method": "S256",
	} {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// serve answers the browser until stop is called.
func (a *authorization) serve(listener net.Listener) (stop func()) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+callbackPath, a.answer)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: dialTimeout, ReadTimeout: dialTimeout, WriteTimeout: dialTimeout,
		MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends by stop
	}()
	return func() {
		// The page that says so shall reach the browser before we go.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-done
	}
}

// answer takes the browser's return. Whoever does not know our state did not
// come from our login: another page that guesses the port must not log us in as
// somebody else (RFC 6749 §10.12; sigstore-python GHSA-hm8f-75xx-w2vr).
func (a *authorization) answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.state)) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "This is not the answer to the login that sigbox began.\n")
		return
	}
	got := a.read(q)
	select {
	case a.result <- got:
	default: // the first answer counts
	}
	text := "You are logged in. This page can be closed.\n"
	if got.code == "" {
		text = "The login failed. The terminal says why.\n"
	}
	_, _ = io.WriteString(w, text)
}

// read takes the result out of the provider's answer. One that names another
// issuer comes from another provider, which may want our code to be sent to it
// (RFC 9207 §2.4); so may one that names none although the provider always does.
func (a *authorization) read(q url.Values) callback {
	from := q.Get("iss")
	if (q.Has("iss") || a.provider.NamesIssuer) && from != a.provider.Issuer {
		return callback{err: "the answer comes from the issuer " + strconv.Quote(from) + ", not from " + a.provider.Issuer}
	}
	got := callback{code: q.Get("code"), err: q.Get("error")}
	if d := q.Get("error_description"); got.err != "" && d != "" {
		got.err += ": " + d
	}
	return got
}

// wait gives the code that the browser brings.
func (a *authorization) wait(ctx context.Context) (string, error) {
	select {
	case got := <-a.result:
		if got.code == "" {
			return "", sigbox.Errorf(sigbox.Unauthenticated, "the login failed: %s", clip(got.err))
		}
		return got.code, nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return "", sigbox.Errorf(sigbox.Unavailable, "the login was interrupted").WithCause(ctx.Err())
		}
		return "", sigbox.Errorf(sigbox.Unavailable, "nobody logged in within %v", loginTimeout).
			WithHint("run it again, or use the device flow: --fulcio-auth-flow device")
	}
}
