package oci

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sigbox/sigbox"
)

// guard carries every request, those of pings and tokens too: it says where they may
// go, tries again what fails for the moment, and counts.
type guard struct {
	cfg   *Config
	inner http.RoundTripper
	proxy func(*http.Request) (*url.URL, error)
	stats counters

	// private are the registries that answer from a private network; they may lead
	// there. Keys are as in URLs.
	private sync.Map
}

// headerTimeout bounds the wait for an answer to begin.
const headerTimeout = time.Minute

func newGuard(cfg *Config) *guard {
	g := &guard{cfg: cfg, inner: cfg.Transport}
	if g.inner != nil {
		return g
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	g.proxy = http.ProxyFromEnvironment
	g.inner = &http.Transport{
		Proxy: g.proxy,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := *dialer
			if ctx.Value(publicOnly{}) != nil {
				d.Control = refusePrivate
			}
			return d.DialContext(ctx, network, addr)
		},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: headerTimeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   cfg.Parallel,
		TLSClientConfig: &tls.Config{
			RootCAs: cfg.CAs, MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: cfg.Insecure, //nolint:gosec // the user said so
		},
	}
	return g
}

// Keys of contexts.
type (
	registryHost struct{} // the registry that a request is made for, as in URLs
	publicOnly   struct{} // no connection into a private network
	onlyOnce     struct{} // not to be sent again
	onlyRefused  struct{} // to be sent again where there was an answer, and no other way
	sentAt       struct{} // the *time.Time that is to tell when it was sent the last time
)

// RoundTrip sends a request, again where that may help.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.check(req); err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = g.route(req)
	for attempt := 1; ; attempt++ {
		resp, err := g.send(req, attempt)
		pause, again := g.again(req, resp, err, attempt)
		if !again {
			return resp, err
		}
		if resp != nil {
			drain(resp)
		}
		g.stats.retries.Add(1)
		g.cfg.Logger.LogAttrs(req.Context(), slog.LevelDebug, "registry: trying again",
			slog.String("host", req.URL.Host), slog.Duration("pause", pause), slog.Int("attempt", attempt))
		if err := g.cfg.Wait(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// send makes one attempt.
func (g *guard) send(req *http.Request, attempt int) (*http.Response, error) {
	ctx, stop := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	out.Header.Set("User-Agent", g.cfg.UserAgent)
	if attempt > 1 && req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			stop(err)
			return nil, err
		}
		out.Body = body
	}
	if at, ok := ctx.Value(sentAt{}).(*time.Time); ok {
		*at = time.Now()
	}
	resp, err := g.inner.RoundTrip(out)
	if err != nil {
		stop(err)
		return nil, err
	}
	g.stats.requests.Add(1)
	g.stats.written.Add(max(req.ContentLength, 0))
	resp.Body = &watchedBody{ReadCloser: resp.Body, read: &g.stats.read, ctx: ctx, stop: stop, patience: g.cfg.Limits.Stall}
	return resp, nil
}

// again says whether and when to send a request again.
func (g *guard) again(req *http.Request, resp *http.Response, err error, attempt int) (pause time.Duration, again bool) {
	switch {
	case attempt >= g.cfg.Limits.Attempts, req.Context().Err() != nil, req.Context().Value(onlyOnce{}) != nil,
		req.Body != nil && req.GetBody == nil:
		return 0, false
	case err != nil:
		return backoff(attempt), isPassing(err) && (attempt == 1 || !isTimeout(err)) && req.Context().Value(onlyRefused{}) == nil
	case !isPassingStatus(resp.StatusCode):
		return 0, false
	}
	asked := retryAfter(resp.Header)
	return max(asked, backoff(attempt)), asked <= maxRetryAfter
}

// How long to wait for what may pass.
const (
	firstPause    = 200 * time.Millisecond
	maxPause      = 5 * time.Second
	maxRetryAfter = time.Minute // who asks for more is told to the caller
)

// backoff doubles with each attempt, and differs from client to client.
func backoff(attempt int) time.Duration {
	d := min(firstPause<<min(attempt-1, 10), maxPause)
	return d/2 + rand.N(d) //nolint:gosec // it is to spread load
}

func isPassingStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isTimeout reports whether nothing came in time. Who waited that long twice is told.
func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// isPassing reports whether a connection failed in a way that may be another next time.
func isPassing(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errBroken) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		isTimeout(err)
}

// retryAfter gives what Retry-After asks for (RFC 9110 §10.2.3); a date is held
// against the answer's own.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}

// check refuses requests that would go where none should: in plain text, or from a
// registry of the outside world into a private network.
func (g *guard) check(req *http.Request) error {
	host := req.URL.Hostname()
	switch req.URL.Scheme {
	case "https":
	case "http":
		if !g.cfg.Insecure && !isLoopback(host) {
			return sigbox.Errorf(sigbox.Denied, "plain HTTP to %q is refused", req.URL.Host).WithHint("give the registry a certificate, or allow insecure registries")
		}
	default:
		return sigbox.Errorf(sigbox.Denied, "a registry leads to %q", clip(req.URL.Redacted()))
	}
	if !g.isForeign(req) {
		return nil
	}
	if ip, err := netip.ParseAddr(host); isLoopback(host) || err == nil && isPrivate(ip) {
		return sigbox.Errorf(sigbox.Denied, "the registry leads to %q, an address of a private network", req.URL.Host)
	}
	return nil
}

// isForeign reports whether a request leaves a registry of the outside world.
func (g *guard) isForeign(req *http.Request) bool {
	registry, _ := req.Context().Value(registryHost{}).(string)
	if req.URL.Host == registry {
		return false
	}
	_, private := g.private.Load(registry)
	return !private
}

// route notes whether a registry answers from a private network, and keeps those that
// do not from leading there by name.
func (g *guard) route(req *http.Request) *http.Request {
	ctx := req.Context()
	switch {
	case g.isProxied(req): // and the proxy knows where it may go
		return req
	case g.isForeign(req):
		return req.WithContext(context.WithValue(ctx, publicOnly{}, true))
	}
	host := req.URL.Host
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if at, ok := c.Conn.RemoteAddr().(*net.TCPAddr); ok && isPrivate(at.AddrPort().Addr()) {
			g.private.Store(host, true)
		}
	}}))
}

func (g *guard) isProxied(req *http.Request) bool {
	if g.proxy == nil {
		return false
	}
	by, err := g.proxy(req)
	return err == nil && by != nil
}

// checkRedirect lets reads follow to where the content is, without credentials.
func (g *guard) checkRedirect(req *http.Request, via []*http.Request) error {
	const most = 5
	switch first := via[0]; {
	case len(via) > most:
		return sigbox.Errorf(sigbox.Unavailable, "registry %s: more than %d redirects", first.URL.Host, most)
	case req.URL.Host == first.URL.Host && req.URL.Scheme == first.URL.Scheme:
		return nil
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return sigbox.Errorf(sigbox.Denied, "registry %s sends what is written to it to %q", first.URL.Host, clip(req.URL.Host))
	case req.URL.Scheme == "http" && first.URL.Scheme == "https" && !g.cfg.Insecure:
		return sigbox.Errorf(sigbox.Denied, "registry %s leads from HTTPS to plain HTTP, at %q", first.URL.Host, clip(req.URL.Host))
	}
	req.Header.Del("Authorization")
	req.Header.Del("Referer") // addresses may be signed
	return nil
}

// refusePrivate is a [net.Dialer]'s Control for connections to the outside world.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || isPrivate(at.Addr()) {
		return sigbox.Errorf(sigbox.Denied, "a registry leads to %s, an address of a private network", address)
	}
	return nil
}

func isPrivate(ip netip.Addr) bool {
	ip = ip.Unmap()
	sharedSpace := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // for providers' own networks (RFC 6598)
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified() || sharedSpace.Contains(ip)
}

// isLoopback reports whether a host's name or address is of this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// drain reads a little of an answer that nobody wants, so that its connection can be
// used again.
func drain(resp *http.Response) {
	const most = 64 << 10
	_, _ = io.CopyN(io.Discard, resp.Body, most)
	_ = resp.Body.Close()
}

// errBroken marks an answer that broke off or stood still.
var errBroken = errors.New("the answer breaks off")

// watchedBody counts what is read, and gives up on an answer that stands still.
type watchedBody struct {
	io.ReadCloser
	read     *atomic.Int64
	ctx      context.Context // the request's, to be ended with it
	stop     context.CancelCauseFunc
	patience time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	t := time.AfterFunc(b.patience, func() { b.stop(errBroken) })
	defer t.Stop()
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if err != nil && errors.Is(context.Cause(b.ctx), errBroken) {
		err = errBroken
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.stop(nil)
	return b.ReadCloser.Close()
}
