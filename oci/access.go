package oci

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sigbox/sigbox"
)

// endpoint is a registry as it answered to a ping.
type endpoint struct {
	registry  name.Registry
	scheme    string
	challenge *transport.Challenge
}

// endpoint pings a registry, once.
func (c *connection) endpoint(ctx context.Context, host string) (*endpoint, error) {
	return c.endpoints.do(ctx, host, func(ctx context.Context) (*endpoint, error) {
		var options []name.Option
		if c.cfg.Insecure {
			options = append(options, name.Insecure)
		}
		registry, err := name.NewRegistry(host, options...)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "registry %q cannot be read", clip(host)).WithCause(err)
		}
		ctx = context.WithValue(ctx, sentAt{}, nil) // pings are sent by several goroutines
		challenge, err := c.ping(context.WithValue(ctx, registryHost{}, host), registry)
		if err != nil {
			return nil, pingFailure(registry, err)
		}
		c.guard.stats.pings.Add(1)
		e := &endpoint{registry: registry, scheme: "https", challenge: challenge}
		if challenge.Insecure {
			e.scheme = "http"
		}
		return e, nil
	})
}

// ping asks a registry what it wants. At a port of this machine it is asked without TLS
// first, which it seldom has: to try that takes longer than all else that it is asked for.
// Without a port that would be another server's.
func (c *connection) ping(ctx context.Context, registry name.Registry) (*transport.Challenge, error) {
	if u := (&url.URL{Host: registry.RegistryStr()}); c.cfg.CAs == nil && u.Port() != "" && isLoopback(u.Hostname()) {
		challenge, err := transport.Ping(context.WithValue(ctx, onlyRefused{}, true), registry, plainOnly{c.guard})
		if refused, ok := errors.AsType[*transport.Error](err); err == nil || ok && isPassingStatus(refused.StatusCode) {
			return challenge, err
		}
	}
	return transport.Ping(ctx, registry, c.guard)
}

// plainOnly speaks no TLS.
type plainOnly struct{ inner http.RoundTripper }

func (p plainOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" {
		return nil, http.ErrSchemeMismatch
	}
	return p.inner.RoundTrip(r)
}

// access is what a client may do in a repository.
type access struct {
	*endpoint
	connection *connection
	repo       name.Repository
	scopes     []string

	mu sync.Mutex
	// authorization is the header, "" for none; it is known once asked is set.
	authorization string
	asked         bool
}

// access gives the access to ref's repository, for writing if actions say so, and to
// what more is in scope.
func (c *connection) access(ctx context.Context, ref Reference, actions string, more ...string) (*access, error) {
	scopes := append([]string{ref.repo.Scope(actions)}, more...)
	key := ref.repo.RegistryStr() + " " + strings.Join(scopes, " ")
	return c.accesses.do(ctx, key, func(ctx context.Context) (*access, error) {
		e, err := c.endpoint(ctx, ref.repo.RegistryStr())
		if err != nil {
			return nil, err
		}
		return &access{endpoint: e, connection: c, repo: ref.repo, scopes: scopes}, nil
	})
}

// authorize gives the Authorization header, another one than was refused.
func (a *access) authorize(ctx context.Context, refused *string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked && (refused == nil || *refused != a.authorization) {
		return a.authorization, nil
	}
	header, err := a.credentials(ctx, a.asked)
	if err != nil {
		a.connection.logins.forget(a.repo.Name()) // the keychain may have better ones next time
		return "", err
	}
	a.authorization, a.asked = header, true
	return header, nil
}

// login is what the keychain has for a repository.
type login struct {
	keys authn.Authenticator
	own  *authn.AuthConfig
}

// login asks the keychain, which may run a credential helper: once for a repository,
// whatever is to be done there, and again when what it said was refused.
func (c *connection) login(ctx context.Context, repo name.Repository, again bool) (login, error) {
	if again {
		c.logins.forget(repo.Name())
	}
	return c.logins.do(ctx, repo.Name(), func(ctx context.Context) (login, error) {
		keys, err := authn.Resolve(ctx, c.cfg.Keychain, repo)
		if err != nil {
			return login{}, sigbox.Errorf(sigbox.Unauthenticated, "no credentials for %s can be read", repo.Name()).
				WithHint("look at docker's config.json and its credential helpers").WithCause(err)
		}
		own, err := authn.Authorization(ctx, keys)
		if err != nil {
			return login{}, sigbox.Errorf(sigbox.Unauthenticated, "no credentials for %s can be had", repo.Name()).WithCause(err)
		}
		return login{keys, own}, nil
	})
}

// credentials makes the header, of the keychain or by the token server.
func (a *access) credentials(ctx context.Context, again bool) (string, error) {
	found, err := a.connection.login(ctx, a.repo, again)
	if err != nil {
		return "", err
	}
	keys, own := found.keys, found.own
	switch {
	case own.RegistryToken != "":
		return "Bearer " + own.RegistryToken, nil
	case strings.EqualFold(a.challenge.Scheme, "bearer"):
		return a.token(ctx, keys)
	case own.Auth != "":
		return "Basic " + own.Auth, nil
	case own.Username != "" || own.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(own.Username+":"+own.Password)), nil
	}
	return "", nil
}

func (a *access) token(ctx context.Context, keys authn.Authenticator) (string, error) {
	host := a.registry.RegistryStr()
	got, err := transport.Exchange(context.WithValue(ctx, registryHost{}, host), a.registry, keys, a.connection.guard, a.scopes, a.challenge)
	if err != nil {
		return "", tokenFailure(host, err)
	}
	a.connection.guard.stats.tokens.Add(1)
	if got.AccessToken != "" {
		return "Bearer " + got.AccessToken, nil
	}
	return "Bearer " + got.Token, nil
}

func tokenFailure(host string, err error) error {
	kind := sigbox.Unavailable
	if refused, ok := errors.AsType[*transport.Error](err); ok && refused.StatusCode < 500 && refused.StatusCode != http.StatusTooManyRequests {
		kind = sigbox.Unauthenticated
	} else if ours, ok := errors.AsType[*sigbox.Error](err); ok {
		kind = ours.Kind
	}
	return sigbox.Errorf(kind, "registry %s: no token", host).WithHint("log in with docker login %s", host).WithCause(err)
}

// request is what is asked of a registry.
type request struct {
	method string
	// path stands behind the repository's name; at, if set, is a whole URL instead.
	path, at string
	header   http.Header
	body     func() (io.ReadCloser, error) // or nil
	size     int64
	once     bool // not to be sent again
}

// do sends a request. Bodies that are returned are to be closed.
func (a *access) do(ctx context.Context, r request) (*http.Response, error) {
	authorization, err := a.authorize(ctx, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.send(ctx, r, authorization)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !strings.EqualFold(a.challenge.Scheme, "bearer") {
		return resp, err
	}
	drain(resp) // the token has run out
	if authorization, err = a.authorize(ctx, &authorization); err != nil {
		return nil, err
	}
	return a.send(ctx, r, authorization)
}

func (a *access) send(ctx context.Context, r request, authorization string) (*http.Response, error) {
	req, err := a.build(ctx, r)
	if err != nil {
		return nil, err
	}
	host := a.registry.RegistryStr()
	if authorization != "" && req.URL.Host == host && req.URL.Scheme == a.scheme {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := a.connection.http.Do(req)
	if err != nil {
		return nil, unreachable(host, err)
	}
	return resp, nil
}

func (a *access) build(ctx context.Context, r request) (*http.Request, error) {
	host := a.registry.RegistryStr()
	target := r.at
	if target == "" {
		target = a.scheme + "://" + host + "/v2/" + a.repo.RepositoryStr() + r.path
	}
	ctx = context.WithValue(ctx, registryHost{}, host)
	if r.once {
		ctx = context.WithValue(ctx, onlyOnce{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, nil)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unavailable, "registry %s names an address that is none", host).WithCause(err)
	}
	for k, v := range r.header {
		req.Header[k] = slices.Clone(v)
	}
	if r.body != nil {
		if req.Body, err = r.body(); err != nil {
			return nil, err
		}
		req.GetBody, req.ContentLength = r.body, r.size
		if r.size == 0 {
			_ = req.Body.Close()
			req.Body, req.GetBody = http.NoBody, nil
		}
	}
	return req, nil
}

// bytesBody is a request's body in memory.
func bytesBody(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// unreachable is the error of a registry that gave no answer, or was not asked.
func unreachable(host string, err error) error {
	if ours, ok := errors.AsType[*sigbox.Error](err); ok {
		return sigbox.Errorf(ours.Kind, "registry %s: %w", host, ours)
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		err = inner.Err // its address may hold what a registry signed
	}
	return sigbox.Errorf(sigbox.Unavailable, "registry %s does not answer", host).WithCause(err).WithHint("%s", reachHint(err))
}

// reachHint is the next step where a registry could not be spoken to.
func reachHint(err error) string {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "it speaks plain HTTP: give it a certificate, or allow insecure registries (--insecure-registry)"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "name the authority that its certificate is of (--registry-cacert)"
	}
	return "is its name right, and is it there? try again later"
}

// pingFailure is the error of a registry that does not say that it is one.
func pingFailure(registry name.Registry, err error) error {
	host := registry.RegistryStr()
	refused, ok := errors.AsType[*transport.Error](err)
	switch uncertified, found := errors.AsType[*tls.CertificateVerificationError](err); {
	case found: // whatever it answered when it was spoken to in plain HTTP
		return unreachable(host, uncertified)
	case !ok && errors.Is(err, http.ErrSchemeMismatch) && registry.Scheme() == "http":
		// Plain HTTP was tried too, and gave no answer either.
		return sigbox.Errorf(sigbox.Unavailable, "registry %s does not answer", host).WithCause(err).WithHint("try again later")
	case !ok:
		return unreachable(host, err)
	}
	return sigbox.Errorf(sigbox.KindOfStatus(refused.StatusCode), "registry %s: /v2/, where a registry says that it is one, answers %d", host, refused.StatusCode).
		WithHint("is it a registry? if so, try again later")
}

// refusal is the error for an answer with a status that was not expected. It closes
// the answer.
func refusal(resp *http.Response, what string) error {
	defer drain(resp)
	kind, hint := sigbox.KindOfStatus(resp.StatusCode), ""
	if resp.StatusCode < http.StatusBadRequest {
		kind = sigbox.Unavailable // it is not known what there is
	}
	switch kind {
	case sigbox.Unauthenticated, sigbox.Denied:
		hint = "log in with docker login, as somebody who may"
	case sigbox.Unavailable:
		hint = "try again later"
		if asked := retryAfter(resp.Header); asked > 0 {
			hint = "the registry asks to wait for " + asked.Round(time.Second).String()
		}
	}
	e := sigbox.Errorf(kind, "%s: the registry answers %d%s", what, resp.StatusCode, reason(resp))
	e.Hint = hint
	return e
}

// reason is what a registry says of its refusal, or nothing.
func reason(resp *http.Response) string {
	const most = 8 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return ""
	}
	told := errorCodes(body)
	if len(told) == 0 {
		return ""
	}
	return " " + clip(told[0].Code) + ", " + clip(told[0].Message)
}

// errorCode is one of the errors that a registry tells (distribution-spec v1.1.1, Error
// Codes).
type errorCode struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// errorCodes are those in the body of a refusal, if it has any.
func errorCodes(body []byte) []errorCode {
	var told struct {
		Errors []errorCode `json:"errors"`
	}
	if json.Unmarshal(body, &told) != nil {
		return nil
	}
	return told.Errors
}

// clip quotes and shortens a text of somebody else's.
func clip(s string) string {
	const most = 120
	runes := []rune(s)
	if len(runes) > most {
		s = string(runes[:most]) + "…"
	}
	return strconv.Quote(s)
}
