package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/limit"
)

const (
	defaultMaxInFlight  = 8192
	defaultMaxBodyBytes = 64 << 20
	// maxAnswerBytes is how many bytes of large answers may wait for their clients
	// at once, over all requests, and smallAnswer how many any answer may have beside
	// them.
	maxAnswerBytes = 128 << 20
	smallAnswer    = 16 << 10

	requestIDHeader = "X-Request-Id"
	maxRequestID    = 64
)

// Guard stands between the listener and the routes: it names each request,
// bounds how much is in flight, recovers from panics, counts and logs.
type Guard struct {
	// Logger takes panics, and every request at debug level. Required.
	Logger *slog.Logger
	// Metrics counts requests. Required.
	Metrics *Metrics
	// MaxInFlight is how many requests may be in flight, 8,192 if 0; of one address
	// its share, but for proxies that are believed ([limit.Shares]). More are answered
	// with 503 and Retry-After.
	MaxInFlight int64
	// MaxBodyBytes is how many bytes of request bodies may be held at once, over
	// all requests, 64 MiB if 0. More are answered with 503 and Retry-After, but for
	// bodies of up to 64 KiB, which MaxInFlight bounds.
	MaxBodyBytes int64
	// Proxies are believed when they say whom they speak for; nil is none.
	Proxies *Proxies
	// PerClient and Entries bound, for each client's address, how many requests it may
	// send, and how many entries for the transparency logs; nil is no bound. More are
	// answered with 429 and Retry-After.
	PerClient, Entries *limit.Limiter
}

// Wrap puts the guard in front of next.
func (g Guard) Wrap(next http.Handler) *Guarded {
	var run [4]byte
	_, _ = rand.Read(run[:]) // never fails
	h := &Guarded{next: next, run: hex.EncodeToString(run[:]) + "-"}
	h.Change(g)
	return h
}

// Guarded is a handler behind a [Guard].
type Guarded struct {
	bounds   atomic.Pointer[Guard]
	next     http.Handler
	run      string // begins the ids that this process gives out
	count    atomic.Uint64
	inFlight atomic.Int64
	bodies   atomic.Int64 // bytes of bodies held by requests in flight
	answers  atomic.Int64 // bytes of large answers held by requests in flight

	requestsOf, answersOf limit.Shares // whose inFlight and answers are
}

// guard is a handler with the bounds that hold for one request.
type guard struct {
	*Guard
	*Guarded
	client netip.Addr // whose share the request is of; the zero address has none
}

// Change puts another guard in the place of the one that there is, for requests to come.
// What is in flight goes on as it was let in, and stays counted.
func (h *Guarded) Change(g Guard) {
	if g.MaxInFlight == 0 {
		g.MaxInFlight = defaultMaxInFlight
	}
	if g.MaxBodyBytes == 0 {
		g.MaxBodyBytes = defaultMaxBodyBytes
	}
	h.bounds.Store(&g)
}

func (h *Guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g := &guard{Guard: h.bounds.Load(), Guarded: h}
	client, proxied := g.Proxies.client(r)
	if !g.Proxies.Trusts(client) { // one may have to speak for all
		g.client = client
	}
	counted, ok := g.enter()
	defer g.leave(counted)
	if !ok {
		g.refuse(w, r)
		return
	}
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// There may have been a length as well, by which a proxy has read another body:
		// what follows on the connection is nobody's request (RFC 9112 §6.1).
		w.Header().Set("Connection", "close")
	}
	start := time.Now()
	id := g.requestID(r, proxied)
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, request{id, client}))
	if proxied && client.IsValid() { // for who looks there, such as the OpenID provider
		r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	}
	rec := &recorder{ResponseWriter: w, request: r, guard: g}
	rec.Header().Set(requestIDHeader, id)
	body := &heldBody{ReadCloser: r.Body, guard: g}
	r.Body = body
	defer func() {
		abort := g.recovered(rec, r, recover())
		g.bodies.Add(-body.held)
		rec.release()
		g.finish(rec, r, time.Since(start))
		if abort {
			panic(http.ErrAbortHandler)
		}
	}()
	if allowOrigins(rec, r) {
		return
	}
	if err := g.limited(r, client); err != nil {
		g.limit(rec, r, err)
		return
	}
	g.next.ServeHTTP(rec, r)
}

// limited says whether a client has sent too much. Who asks how the instance is, and who
// comes from nowhere, is not counted.
func (g *guard) limited(r *http.Request, client netip.Addr) error {
	if !client.IsValid() || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || r.URL.Path == "/metrics" {
		return nil
	}
	key := limit.AddressKey(client)
	if err := g.PerClient.Allow(key); err != nil {
		return err
	}
	if r.Method == http.MethodPost && addsEntry(r.URL.Path) {
		return g.Entries.Allow(key)
	}
	return nil
}

// addsEntry reports whether a path is where entries of a transparency log are posted to.
func addsEntry(path string) bool {
	return path == "/api/v2/log/entries" || path == "/api/v1/log/entries" || path == rekorRPC+"CreateEntry"
}

// limit answers a client that has sent too much.
func (g *guard) limit(w http.ResponseWriter, r *http.Request, err error) {
	g.Metrics.Limited("address")
	err = sigbox.Errorf(sigbox.Unavailable, "too many requests from this address: %w", err).WithHint("come again when Retry-After says")
	code, rpc, msg := refuse(w, r, g.Logger, err)
	answerAny(w, r, code, rpc, msg)
}

// enter counts a request in and says whether there was room for it; counted is what it
// has of its client's share.
func (g *guard) enter() (counted, ok bool) {
	g.Metrics.inFlight.Inc()
	free := g.MaxInFlight - g.inFlight.Add(1) + 1 // with this one
	if free < 1 || !g.client.IsValid() {
		return false, free >= 1
	}
	ok = g.requestsOf.Take(g.client, 1, limit.Stock{Total: g.MaxInFlight, Free: free})
	return ok, ok
}

func (g *guard) leave(counted bool) {
	if counted {
		g.requestsOf.Give(g.client, 1)
	}
	g.inFlight.Add(-1)
	g.Metrics.inFlight.Dec()
}

func (g *guard) refuse(w http.ResponseWriter, r *http.Request) {
	g.Metrics.refused.Inc()
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	turnAway(w, r, sigbox.Unavailable, "too many requests in flight (try again in a second)")
}

// turnAway refuses a request that may be for any service.
func turnAway(w http.ResponseWriter, r *http.Request, kind sigbox.Kind, msg string) {
	code, rpc := status(kind)
	answerAny(w, r, code, rpc, msg)
}

// answerAny answers with an error in the form of the API that r's path is of.
func answerAny(w http.ResponseWriter, r *http.Request, code, rpc int, msg string) {
	if isRPC(r) {
		writeRPCError(w, r, code, rpc, msg)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/v1/log") || strings.HasPrefix(r.URL.Path, "/api/v1/index/") { // Rekor v1's
		writeJSON(w, code, errorV1{code, msg})
		return
	}
	writeJSON(w, code, newStatus(w, rpc, msg))
}

// recovered answers for a handler that panicked with p; nil is one that did not.
// It asks to abort the connection when a part of an answer has been sent: the
// client must see that it is no whole.
func (g *guard) recovered(rec *recorder, r *http.Request, p any) (abort bool) {
	if p == nil {
		return false
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) { // net/http's own way to drop a connection
		return true
	}
	g.Logger.ErrorContext(r.Context(), "panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	if rec.status != 0 {
		return true
	}
	turnAway(rec, r, sigbox.Internal, sigbox.Internal.String())
	return false
}

func (g *guard) finish(rec *recorder, r *http.Request, took time.Duration) {
	status := cmp.Or(rec.meant, rec.status, http.StatusOK)
	g.Metrics.observe(r.Pattern, r.Method, status, took)
	if ctx := r.Context(); g.Logger.Enabled(ctx, slog.LevelDebug) {
		g.Logger.DebugContext(ctx, "request", "method", r.Method, "path", r.URL.Path, "status", status,
			"bytes", rec.bytes, "took", took, "remote", r.RemoteAddr)
	}
}

// unrouted answers a request that no route takes: its path is of none, or its method
// is another than those that the mux has put into Allow.
func unrouted(w http.ResponseWriter, r *http.Request, code int) {
	if allow := w.Header().Get("Allow"); code == http.StatusMethodNotAllowed {
		answerAny(w, r, code, rpcUnimplemented, fmt.Sprintf("method %.20q is not taken here: expected %s", r.Method, allow))
		return
	}
	rpc := rpcNotFound
	if isRPC(r) {
		rpc = rpcUnimplemented // what clients of gRPC make of a 404
	}
	answerAny(w, r, code, rpc, fmt.Sprintf("nothing has the path %.80q", r.URL.Path))
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	request *http.Request
	guard   *guard
	held    int64 // of the guard's answers
	status  int   // 0 until the header is sent
	meant   int   // 0 if it is the same
	bytes   int64

	refusing bool // no route took the request, and it is answered for that
	mute     bool // it has been: what the mux writes is dropped
}

// hold takes an answer of n bytes into the bound that all requests share, and into its
// client's share of that, until its request ends.
func (r *recorder) hold(n int64) error {
	g := r.guard
	free := maxAnswerBytes - g.answers.Add(n) + n // with this one
	if free < n || g.client.IsValid() && !g.answersOf.Take(g.client, n, limit.Stock{Total: maxAnswerBytes, Free: free}) {
		g.answers.Add(-n)
		return sigbox.Errorf(sigbox.Unavailable, "too many large answers at once").WithHint("try again in a second")
	}
	r.held += n
	return nil
}

// release ends what hold has taken.
func (r *recorder) release() {
	if r.held == 0 {
		return
	}
	r.guard.answers.Add(-r.held)
	if r.guard.client.IsValid() {
		r.guard.answersOf.Give(r.guard.client, r.held)
	}
}

// holdAnswer says whether there is room for an answer of n bytes to wait until its
// client has read it; small ones always have room. Clients of HTTP/2 open hundreds
// of requests at once and read none, for next to nothing. What a log has taken is
// not asked for here: it must be answered.
func holdAnswer(w http.ResponseWriter, n int) error {
	if h, ok := w.(interface{ hold(n int64) error }); ok && n > smallAnswer {
		return h.hold(int64(n))
	}
	return nil
}

// standsFor notes the status that an answer is to be counted as: gRPC sends 200 and
// says in the trailer what came of it.
func (r *recorder) standsFor(status int) { r.meant = status }

// WriteHeader sends the header. The mux's own refusals, which are plain text, give
// way to those of the API.
func (r *recorder) WriteHeader(status int) {
	if r.request.Pattern == "" && !r.refusing && (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) {
		r.refusing = true
		unrouted(r, r.request, status)
		r.mute = true
		return
	}
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.mute {
		return len(b), nil
	}
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// heldBody counts what its request has read into the guard's common bound. Those of
// up to smallBody bytes are read beyond it: a few large uploads are not to stop the
// many who log a signature.
type heldBody struct {
	io.ReadCloser
	guard *guard
	held  int64 // touched by the handler's goroutine alone
}

func (b *heldBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.held += int64(n)
	if b.guard.bodies.Add(int64(n)) > b.guard.MaxBodyBytes && b.held > smallBody {
		return n, sigbox.Errorf(sigbox.Unavailable, "too many large requests at once").WithHint("try again in a second")
	}
	return n, err
}

// requestID takes the id that a trusted proxy gave, when it is a sound one, or makes one.
func (g *guard) requestID(r *http.Request, proxied bool) string {
	if id := r.Header.Get(requestIDHeader); proxied && id != "" && len(id) <= maxRequestID && strings.IndexFunc(id, oddInID) < 0 {
		return id
	}
	return g.run + strconv.FormatUint(g.count.Add(1), 36)
}

func oddInID(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		return false
	}
	return true
}

// allowOrigins lets pages of any origin use the routes that Sigstore's public
// servers open to them. It reports whether r was a preflight, which is then
// answered.
func allowOrigins(w http.ResponseWriter, r *http.Request) (answered bool) {
	if r.Header.Get("Origin") == "" || !openPath(r.URL.Path) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// openPath says whether path belongs to Fulcio, Rekor, the timestamp authority or
// the TUF repository; the provider and its login pages are not among them.
func openPath(path string) bool {
	return strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/tuf/") || path == "/root.json"
}

// bodyError gives the error to answer with when a body could not be read.
func bodyError(err error, limit int64) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(limit)
	}
	if e, ok := errors.AsType[*sigbox.Error](err); ok {
		return e
	}
	return sigbox.Errorf(sigbox.Invalid, "the request body ended early").WithCause(err)
}
