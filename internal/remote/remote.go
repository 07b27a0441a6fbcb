// Package remote is the client side of the protocols that sigbox serves: the
// certificate authority (Fulcio), the transparency log (Rekor), the timestamp
// authority, TUF repositories, and OpenID providers.
//
// A [Client] hands out what the sign package needs, as the interfaces of the
// root package:
//
//	c := remote.New(remote.Config{})
//	ca := c.CA("https://fulcio.sigstore.dev")
//
// Nothing that a server answers is trusted here: this package bounds it and
// gives it a shape, and the sign and verify packages judge it.
package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

const (
	dialTimeout    = 10 * time.Second
	defaultTimeout = 30 * time.Second
	defaultRetries = 4
	firstBackoff   = 100 * time.Millisecond
	maxBackoff     = 10 * time.Second
	// connsPerHost holds the connections of one run with many files.
	connsPerHost = 64
	// maxErrorBody bounds what is read of an answer that is an error, and
	// maxReason what is shown of it.
	maxErrorBody = 16 << 10
	maxReason    = 300
)

// Config says how requests are sent. The zero value works.
type Config struct {
	// Transport carries the requests; nil is one with this package's time-outs,
	// the proxy of the environment and a pool that keeps connections.
	Transport http.RoundTripper
	// UserAgent is the header of that name; "" is "sigbox".
	UserAgent string
	// Timeout bounds one attempt at a request, 30 s if 0.
	Timeout time.Duration
	// Retries is how often a request is sent again when it failed for a passing
	// reason (no connection, 429, 502, 503, 504); 0 is 4, negative is never.
	Retries int
	// Sleep waits between attempts; nil waits on the real clock.
	Sleep func(context.Context, time.Duration) error
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// AllowHTTP lets secrets, such as identity tokens, go over plain http to other
	// machines. Without it they go over https alone, and to this machine.
	AllowHTTP bool
}

// Trusting gives a configuration whose servers' certificates have to lead to those in a
// file, PEM, in the place of those that the machine trusts; the same one for "".
func (c Config) Trusting(file string) (Config, error) {
	if file == "" {
		return c, nil
	}
	pem, _, err := atomicfile.Read(file, maxRoots)
	if err != nil {
		return c, sigbox.Errorf(sigbox.Unavailable, "cannot read the certificates that a server's has to lead to: %w", err)
	}
	t := newTransport()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return c, sigbox.Errorf(sigbox.Unavailable, "%.200s holds no certificate in PEM", file)
	}
	c.Transport = t
	return c, nil
}

// CloseIdle gives back connections that nobody uses.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Client sends requests. Its methods are safe for concurrent use.
type Client struct {
	http      http.Client
	userAgent string
	timeout   time.Duration
	retries   int
	sleep     func(context.Context, time.Duration) error
	now       func() time.Time
	allowHTTP bool
}

// New makes a client.
func New(c Config) *Client {
	if c.Transport == nil {
		c.Transport = newTransport()
	}
	if c.UserAgent == "" {
		c.UserAgent = "sigbox"
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Retries == 0 {
		c.Retries = defaultRetries
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{
		http: http.Client{
			Transport: c.Transport,
			// A redirect would carry a token or a signature to a server that the
			// signing config does not name.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		userAgent: c.UserAgent,
		timeout:   c.Timeout,
		retries:   max(c.Retries, 0),
		sleep:     c.Sleep,
		now:       c.Now,
		allowHTTP: c.AllowHTTP,
	}
}

// WithHTTP gives a client that shares c's connections and sends secrets over
// plain http, too; see [Config].
func (c *Client) WithHTTP() *Client {
	open := *c
	open.allowHTTP = true
	return &open
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    connsPerHost,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        90 * time.Second,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// request is one call of a service.
type request struct {
	// service names whom we talk to, for messages: "the transparency log".
	service     string
	method, url string
	contentType string
	body        []byte
	header      http.Header
	// limit bounds the answer's body in bytes.
	limit int64
	// secret is set when the request or its answer holds what others on the network
	// must not see: a token, a client's secret.
	secret bool
	// oneShot is set when sending it twice is not the same as sending it once.
	oneShot bool
}

// response is an answer of any status, its body within the request's limit.
type response struct {
	status int
	header http.Header
	body   []byte
}

// do sends r, again when the failure is a passing one, and gives the answer
// whatever its status. Errors: Unavailable when there is no answer, TooLarge for
// one beyond the limit, Invalid for a URL that cannot be.
func (c *Client) do(ctx context.Context, r request) (response, error) {
	if err := c.checkURL(r); err != nil {
		return response{}, err
	}
	retries := c.retries
	if r.oneShot {
		retries = 0
	}
	for attempt := 0; ; attempt++ {
		resp, err := c.attempt(ctx, r)
		if attempt >= retries || !passing(ctx, resp, err) {
			return resp, err
		}
		if werr := c.sleep(ctx, backoff(attempt, resp.header)); werr != nil {
			return resp, interrupted(r, werr)
		}
	}
}

// expect sends r and wants one of the given statuses.
func (c *Client) expect(ctx context.Context, r request, statuses ...int) (response, error) {
	resp, err := c.do(ctx, r)
	if err != nil {
		return resp, err
	}
	for _, s := range statuses {
		if resp.status == s {
			return resp, nil
		}
	}
	return resp, refused(r, resp)
}

// attempt sends r once.
func (c *Client) attempt(ctx context.Context, r request) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return response{}, sigbox.Errorf(sigbox.Invalid, "%s: cannot use the URL %q", r.service, r.url).WithCause(err)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return response{}, c.unreachable(ctx, r, err)
	}
	defer func() { _ = resp.Body.Close() }() // what was needed of it has been read
	return c.readResponse(ctx, r, resp)
}

func (c *Client) readResponse(ctx context.Context, r request, resp *http.Response) (response, error) {
	out := response{status: resp.StatusCode, header: resp.Header}
	limit := r.limit
	if resp.StatusCode >= 300 {
		limit = maxErrorBody
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case int64(len(body)) > limit && resp.StatusCode < 300:
		return out, sigbox.Errorf(sigbox.TooLarge, "%s at %s answered more than %d bytes", r.service, r.url, limit)
	case err != nil && resp.StatusCode < 300:
		return out, c.unreachable(ctx, r, err)
	}
	out.body = body[:min(int64(len(body)), limit)]
	return out, nil
}

// checkURL refuses what is no absolute http or https URL, credentials in it, and
// secrets in the clear.
func (c *Client) checkURL(r request) error {
	u, err := url.Parse(r.url)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return sigbox.Mismatch(sigbox.Invalid, r.service+": unusable URL", "http:// or https:// and a host", strconv.Quote(r.url)).
			WithHint("look at the signing config or at how the instance was added: sigbox instance show")
	}
	if r.secret {
		return c.checkPrivate(r.service, r.url)
	}
	return nil
}

// checkPrivate refuses to have secrets travel to a URL by a way on which others can
// listen.
func (c *Client) checkPrivate(service, at string) error {
	if c.allowHTTP || !IsCleartext(at) {
		return nil
	}
	return sigbox.Errorf(sigbox.Denied, "%s at %.200s is not https: whoever can listen on the network could take the identity token and sign with it", service, at).
		WithHint("use an https URL, or give --insecure-http if you trust every machine between")
}

// IsCleartext reports whether what is sent to a URL can be read on a network: it
// is plain http, to another machine than this.
func IsCleartext(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// passing reports whether the same request may succeed later.
func passing(ctx context.Context, resp response, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		// A certificate or a name that is wrong stays wrong.
		return sigbox.KindOf(err) == sigbox.Unavailable && !permanent(err)
	}
	switch resp.status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests: // one that will last is told at once
		return askedFor(resp.header) <= maxBackoff
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// askedFor is how long a server asks to wait (RFC 9110, section 10.2.3); 0 if it does
// not say it in seconds.
func askedFor(header http.Header) time.Duration {
	s, err := strconv.ParseUint(header.Get("Retry-After"), 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, s is the most there is
		return 0
	}
	return time.Duration(s) * time.Second // #nosec G115 -- 31 bits
}

// permanent reports whether a connection failed in a way that waiting does not
// mend.
func permanent(err error) bool {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return true
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// backoff is how long to wait after the given attempt (from 0): doubling, with a
// random half so that many clients do not come back at once, and never less than the
// server asks for, within bounds.
func backoff(attempt int, header http.Header) time.Duration {
	d := min(firstBackoff<<min(attempt, 16), maxBackoff)
	return max(d/2, min(askedFor(header), maxBackoff)) + rand.N(d/2+1) // #nosec G404 -- no secret
}

func interrupted(r request, err error) error {
	return sigbox.Errorf(sigbox.Unavailable, "%s at %s: gave up waiting", r.service, r.url).WithCause(err)
}

// unreachable makes the error for a request that got no answer.
func (c *Client) unreachable(ctx context.Context, r request, err error) error {
	e := sigbox.Errorf(sigbox.Unavailable, "cannot reach %s at %s", r.service, r.url).WithCause(rootCause(err))
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return sigbox.Errorf(sigbox.Unavailable, "%s at %s: interrupted", r.service, r.url).WithCause(context.Canceled)
	case errors.Is(err, syscall.ECONNREFUSED):
		return e.WithHint("nothing listens there: is the instance running?")
	case errors.Is(err, context.DeadlineExceeded):
		return e.WithHint("it did not answer in %v: try again later, or look at the proxy settings", c.timeout)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e.WithHint("if that server's certificate comes from your own authority, name its file in SSL_CERT_FILE")
	}
	return e
}

// rootCause strips the URL that net/http repeats; ours stands in the message.
func rootCause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// refused makes the error for an answer of the wrong status.
func refused(r request, resp response) error {
	reason := reasonOf(resp)
	if reason == "" {
		reason = http.StatusText(resp.status)
	}
	e := sigbox.Errorf(sigbox.KindOfStatus(resp.status), "%s at %s answered with status %d: %s", r.service, r.url, resp.status, reason)
	if wait := askedFor(resp.header); wait > maxBackoff {
		return e.WithHint("it asks to be left alone for %v", wait)
	}
	return e
}

// reasonOf finds what the server says of its refusal: the message of a
// google.rpc.Status or of RFC 6749, or else the text itself.
func reasonOf(resp response) string {
	var body struct {
		Message     string `json:"message"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if decodeJSON(resp.body, &body) == nil {
		switch {
		case body.Message != "":
			return clip(body.Message)
		case body.Description != "":
			return clip(body.Error + ": " + body.Description)
		case body.Error != "":
			return clip(body.Error)
		}
	}
	if strings.Contains(resp.header.Get("Content-Type"), "html") {
		return ""
	}
	return clip(string(resp.body))
}

// clip shortens a remote text to one line of bounded length.
func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

// join puts a path behind a base URL, whether or not that ends in a slash.
func join(base, path string) string { return strings.TrimRight(base, "/") + path }
