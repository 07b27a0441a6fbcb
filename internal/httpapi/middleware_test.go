package httpapi

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/gate"
)

// guarded makes a guard in front of mux that logs to the returned buffer.
func guarded(g Guard, mux *http.ServeMux) (http.Handler, *prometheus.Registry, *bytes.Buffer) {
	log := new(bytes.Buffer)
	g.Logger = slog.New(LogHandler(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	reg := prometheus.NewRegistry()
	g.Metrics = NewMetrics(reg)
	return g.Wrap(mux), reg, log
}

// counted gives the number of series of a counter and their sum.
func counted(t *testing.T, reg *prometheus.Registry, name string) (series int, sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			series++
			sum += m.GetCounter().GetValue()
		}
	}
	return series, sum
}

func do(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /x", func(http.ResponseWriter, *http.Request) { panic("the secret cause") })
	h, metrics, log := guarded(Guard{}, mux)
	w := do(h, "GET", "/x")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("found %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "the secret cause") || !strings.Contains(log.String(), "request_id="+w.Header().Get("X-Request-Id")) {
		t.Errorf("the log says nothing of it: %s", log)
	}
	if _, n := counted(t, metrics, "sigbox_http_requests_total"); n != 1 {
		t.Errorf("expected one counted request, found %v", n)
	}
}

func TestPanicAfterAPartAborts(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /x", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a part")
		panic("late")
	})
	h, _, _ := guarded(Guard{}, mux)
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("expected http.ErrAbortHandler, found %v", p)
		}
	}()
	do(h, "GET", "/x")
}

func TestTooManyInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slow", func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	mux.HandleFunc("GET /x", func(http.ResponseWriter, *http.Request) {})
	h, metrics, _ := guarded(Guard{MaxInFlight: 1}, mux)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(h, "GET", "/slow")
	}()
	<-entered
	w := do(h, "GET", "/x")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("expected 503 with Retry-After, found %d", w.Code)
	}
	for path, body := range map[string]string{ // each API has its own form of an error
		"/api/v2/log/entries": `{"code":14,"message":"too many requests`, "/api/v1/log/entries": `{"code":503,"message":"too many requests`, "/api/v1/index/retrieve": `{"code":503,`,
	} {
		if w := do(h, "POST", path); !strings.HasPrefix(w.Body.String(), body) {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	close(leave)
	<-done
	if w := do(h, "GET", "/x"); w.Code != http.StatusOK {
		t.Errorf("after the first has left: expected 200, found %d", w.Code)
	}
	if _, n := counted(t, metrics, "sigbox_http_requests_refused_total"); n != 4 {
		t.Errorf("expected four refused requests, found %v", n)
	}
}

// TestInFlightShares: one address cannot have all requests in flight, nor all of the room
// for large answers, as by the streams of a few connections of HTTP/2. Proxies that are
// believed may, and whom they name may not.
func TestInFlightShares(t *testing.T) {
	const places, flooder, proxy = 100, "192.0.2.1", "198.51.100.1"
	proxies, err := NewProxies([]string{proxy}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		large      bool
		peer, from string
		least      int
		most       int
	}{
		"requests": {peer: flooder, least: 35, most: 40}, "by a proxy": {peer: proxy, from: flooder, least: 35, most: 40},
		"a proxy that does not say": {peer: proxy, least: places, most: places},
		"answers":                   {peer: flooder, large: true, least: 35, most: 40},
	} {
		t.Run(name, func(t *testing.T) {
			began, leave := make(chan bool, 4*places), make(chan struct{})
			mux := http.NewServeMux()
			mux.HandleFunc("GET /held", func(w http.ResponseWriter, r *http.Request) {
				if err := holdAnswer(w, maxAnswerBytes/places); c.large && err != nil {
					writeError(w, r, slog.New(slog.DiscardHandler), err)
					return
				}
				began <- true
				<-leave
			})
			guard := Guard{Proxies: proxies, MaxInFlight: places}
			if c.large {
				guard.MaxInFlight = 100 * places
			}
			handler, _, _ := guarded(guard, mux)
			h := handler.(*Guarded)
			get := func(peer, from string) int {
				r, w := httptest.NewRequest(http.MethodGet, "/held", nil), httptest.NewRecorder()
				r.RemoteAddr = peer + ":1"
				if from != "" {
					r.Header.Set("X-Forwarded-For", from)
				}
				h.ServeHTTP(w, r)
				if w.Code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
					t.Error("a refusal does not say when to come again")
				}
				began <- w.Code == http.StatusOK
				return w.Code
			}
			var held sync.WaitGroup
			n := 0
			for held.Go(func() { get(c.peer, c.from) }); <-began; held.Go(func() { get(c.peer, c.from) }) {
				n++
			}
			if n < c.least || n > c.most {
				t.Errorf("%d of %d are one's own", n, places)
			}
			if c.most < places {
				if held.Go(func() { get("203.0.113.1", "") }); !<-began {
					t.Error("others have none")
				}
			}
			close(leave)
			held.Wait()
			if code := get(c.peer, c.from); code != http.StatusOK || h.inFlight.Load() != 0 || h.answers.Load() != 0 {
				t.Errorf("afterwards: %d, %d in flight, %d bytes", code, h.inFlight.Load(), h.answers.Load())
			}
		})
	}
}

func TestBodiesShareOneBound(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /x", func(w http.ResponseWriter, r *http.Request) {
		if _, err := readBody(w, r, 1<<20); err != nil {
			writeError(w, r, slog.New(slog.DiscardHandler), err)
		}
	})
	h, _, _ := guarded(Guard{MaxBodyBytes: 100 << 10}, mux)
	for _, c := range []struct{ size, status int }{
		{1, 200}, {90 << 10, 200}, {90 << 10, 200}, {200 << 10, 503}, {2 << 20, 413}, {0, 400},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/x", bytes.NewReader(make([]byte, c.size))))
		if w.Code != c.status {
			t.Errorf("%d bytes: expected %d, found %d %s", c.size, c.status, w.Code, w.Body)
		}
	}
}

func TestAnnouncedBodyTakesNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := httptest.NewRequest("POST", "/x", strings.NewReader("short"))
	r.ContentLength = 1 << 30
	_, _ = readBody(httptest.NewRecorder(), r, 1<<31)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("expected memory for what arrived, found %d bytes", n)
	}
}

func TestMetricsLabelsAreBounded(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tile/{n}", func(http.ResponseWriter, *http.Request) {})
	h, metrics, _ := guarded(Guard{}, mux)
	for _, target := range []string{"/tile/1", "/tile/2", "/nothing/1", "/nothing/2"} {
		do(h, "GET", target)
		do(h, "BREW"+target[len(target)-1:], target)
	}
	// Routes: the tile pattern and none; methods: GET and other.
	if n, _ := counted(t, metrics, "sigbox_http_requests_total"); n > 4 {
		t.Errorf("expected at most 4 series, found %d", n)
	}
}

func TestRequestID(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	behind, _, _ := guarded(Guard{Proxies: proxies(t, "", "192.0.2.1")}, mux) // httptest's own address
	open, _, _ := guarded(Guard{}, mux)
	if id := do(behind, "GET", "/", "X-Request-Id", "proxy-17").Header().Get("X-Request-Id"); id != "proxy-17" {
		t.Errorf("a sound id: found %q", id)
	}
	if id := do(open, "GET", "/", "X-Request-Id", "proxy-17").Header().Get("X-Request-Id"); id == "proxy-17" || id == "" {
		t.Errorf("an id of anybody: found %q", id)
	}
	for _, odd := range []string{"", "a b", "a\nb", "é", strings.Repeat("a", 65), `"`} {
		if id := do(behind, "GET", "/", "X-Request-Id", odd).Header().Get("X-Request-Id"); id == odd || id == "" {
			t.Errorf("an odd id, %q: found %q", odd, id)
		}
	}
}

func TestOrigins(t *testing.T) {
	mux := http.NewServeMux()
	for _, route := range []string{"POST /api/v2/log/entries", "GET /tuf/", "GET /oidc/"} {
		mux.HandleFunc(route, func(http.ResponseWriter, *http.Request) {})
	}
	h, _, _ := guarded(Guard{}, mux)
	w := do(h, "OPTIONS", "/api/v2/log/entries", "Origin", "https://page.example", "Access-Control-Request-Method", "POST")
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: found %d %v", w.Code, w.Header())
	}
	if o := do(h, "GET", "/tuf/", "Origin", "https://page.example").Header().Get("Access-Control-Allow-Origin"); o != "*" {
		t.Errorf("TUF: found %q", o)
	}
	if o := do(h, "GET", "/oidc/", "Origin", "https://page.example").Header().Get("Access-Control-Allow-Origin"); o != "" {
		t.Errorf("the provider: found %q", o)
	}
}

func TestHealth(t *testing.T) {
	var broken, soon error
	mux := http.NewServeMux()
	(&Health{Checks: []Check{{Name: "log", Err: func() error { return broken }, Notice: func() error { return soon }}}}).Register(mux)
	if w := do(mux, "GET", "/healthz"); w.Code != 200 || w.Body.String() != `{"status":"SERVING"}` {
		t.Errorf("healthz: found %d %s", w.Code, w.Body)
	}
	if w := do(mux, "GET", "/readyz"); w.Code != 200 || !strings.Contains(w.Body.String(), `"SERVING"`) {
		t.Errorf("readyz: found %d %s", w.Code, w.Body)
	}
	soon = sigbox.Errorf(sigbox.Unavailable, "the disk is nearly full").WithCause(errors.New("private"))
	if w := do(mux, "GET", "/readyz"); w.Code != 200 || !strings.Contains(w.Body.String(), "the disk is nearly full") || strings.Contains(w.Body.String(), "private") {
		t.Errorf("readyz with a notice: found %d %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		err   error
		shown string
	}{
		{sigbox.Errorf(sigbox.Unavailable, "the clock went back").WithCause(errors.New("private")), "the clock went back"},
		{errors.New("private"), "internal error"},
	} {
		broken = c.err
		w := do(mux, "GET", "/readyz")
		if body := w.Body.String(); w.Code != 503 || !strings.Contains(body, c.shown) || strings.Contains(body, "private") {
			t.Errorf("readyz with %v: found %d %s", c.err, w.Code, body)
		}
	}
	if w := do(mux, "GET", "/healthz"); w.Code != 200 {
		t.Errorf("healthz while not ready: found %d", w.Code)
	}
}

func BenchmarkGuard(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /x", func(http.ResponseWriter, *http.Request) {})
	g := Guard{Logger: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry())}
	h := g.Wrap(mux)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/x", http.NoBody)
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

// TestAnswersShareOneBound: large answers that nobody reads have a bound, over all
// requests; small ones are not counted.
func TestAnswersShareOneBound(t *testing.T) {
	held, leave := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request, n int) bool {
		if err := holdAnswer(w, n); err != nil {
			writeError(w, r, slog.New(slog.DiscardHandler), err)
			return false
		}
		return true
	}
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		if answer(w, r, maxAnswerBytes) {
			close(held)
			<-leave
		}
	})
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) { answer(w, r, smallAnswer+1) })
	mux.HandleFunc("GET /small", func(w http.ResponseWriter, r *http.Request) { answer(w, r, smallAnswer) })
	h, _, _ := guarded(Guard{}, mux)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(h, "GET", "/slow")
	}()
	<-held
	if w := do(h, "GET", "/large"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
		t.Errorf("no room: expected 503 with Retry-After, found %d %v", w.Code, w.Header())
	}
	if w := do(h, "GET", "/small"); w.Code != http.StatusOK {
		t.Errorf("a small answer: found %d", w.Code)
	}
	close(leave)
	<-done
	if w := do(h, "GET", "/large"); w.Code != http.StatusOK {
		t.Errorf("after the first has left: found %d", w.Code)
	}
}

// TestSmallBodiesHaveRoom: small posts are read while large ones have taken all the
// room there is, whether or not they say how long they are.
func TestSmallBodiesHaveRoom(t *testing.T) {
	held, leave := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	read := func(w http.ResponseWriter, r *http.Request) {
		b, err := readBody(w, r, 1<<20)
		if err != nil {
			writeError(w, r, slog.New(slog.DiscardHandler), err)
		} else if strings.Trim(string(b), "a") != "" {
			t.Error("the body is another")
		}
	}
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		read(w, r)
		close(held)
		<-leave
	})
	mux.HandleFunc("POST /x", read)
	h, _, _ := guarded(Guard{MaxBodyBytes: smallBody + 1}, mux)
	post := func(path string, n int, wrap func(io.Reader) io.Reader) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", path, wrap(strings.NewReader(strings.Repeat("a", n))))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	known := func(r io.Reader) io.Reader { return r }
	unknown := func(r io.Reader) io.Reader { return struct{ io.Reader }{r} }
	bytewise := func(r io.Reader) io.Reader { return iotest.OneByteReader(r) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		post("/slow", smallBody+1, known)
	}()
	<-held
	for name, wrap := range map[string]func(io.Reader) io.Reader{"of known length": known, "of unknown length": unknown, "byte by byte": bytewise} {
		if w := post("/x", smallBody, wrap); w.Code != http.StatusOK {
			t.Errorf("a small body %s: found %d %s", name, w.Code, w.Body)
		}
		if w := post("/x", smallBody+1, wrap); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("a large body %s: expected 503 with Retry-After, found %d", name, w.Code)
		}
	}
	close(leave)
	<-done
	if w := post("/x", smallBody+1, known); w.Code != http.StatusOK {
		t.Errorf("after the first has left: found %d", w.Code)
	}
}

// TestNoRoute: what no route takes is refused in the form of the API whose path it
// has, and counted as what it is.
func TestNoRoute(t *testing.T) {
	mux := http.NewServeMux()
	for _, route := range []string{"GET /api/v2/log/entries", "POST /api/v2/log/entries", "POST /api/v1/log/entries"} {
		mux.HandleFunc(route, func(http.ResponseWriter, *http.Request) {})
	}
	mux.HandleFunc("GET /api/v1/timestamp", http.NotFound) // a route's own answer stays
	h, metrics, _ := guarded(Guard{}, mux)
	for _, c := range []struct {
		method, path string
		status       int
		allow, body  string
	}{
		{"PUT", "/api/v2/log/entries", 405, "GET, HEAD, POST", `{"code":12,"message":"method \"PUT\" is not taken here: expected GET, HEAD, POST","details":[]}`},
		{"GET", "/api/v1/log/entries", 405, "POST", `{"code":405,"message":"method \"GET\" is not taken here: expected POST"}`},
		{"GET", "/api/v2/nothing", 404, "", `{"code":5,"message":"nothing has the path \"/api/v2/nothing\"","details":[]}`},
		{"GET", "/api/v1/log/nothing", 404, "", `{"code":404,"message":"nothing has the path \"/api/v1/log/nothing\""}`},
		{"GET", "/api/v1/search/nothing", 404, "", `{"code":5,"message":"nothing has the path \"/api/v1/search/nothing\"","details":[]}`},
	} {
		w := do(h, c.method, c.path)
		c.body = strings.Replace(c.body, "[]", `[{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"`+w.Header().Get("X-Request-Id")+`"}]`, 1)
		if w.Code != c.status || w.Body.String() != c.body || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: found %d %v %s", c.method, c.path, w.Code, w.Header(), w.Body)
		}
	}
	if w := do(h, "GET", "/api/v1/timestamp"); w.Code != 404 || w.Body.String() != "404 page not found\n" {
		t.Errorf("the answer of a route: found %d %s", w.Code, w.Body)
	}
	w := do(h, "POST", rekorRPC+"Nothing", "Content-Type", "application/grpc")
	if w.Code != 200 || w.Header().Get("Grpc-Status") != "12" || w.Body.Len() > 0 {
		t.Errorf("a method that does not exist: found %d %v %s", w.Code, w.Header(), w.Body)
	}
	if series, n := counted(t, metrics, "sigbox_http_requests_total"); n != 7 || series != 4 { // by route, method and class
		t.Errorf("%d series, %v requests", series, n)
	}
}

// TestOverload: who is refused for an overload is told when to come again, and there is
// no line of it in the log for each.
func TestOverload(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	g := gate.New(gate.Config{What: "the test", Slots: 1})
	ctx := gate.WithWaited(t.Context(), func() time.Duration { return time.Minute })
	refused := 0
	for range 10 {
		_, err := g.Knock(ctx)
		if err == nil {
			continue // the first one
		}
		refused++
		w := httptest.NewRecorder()
		writeError(w, httptest.NewRequest("POST", "/api/v1/timestamp", nil), log, err)
		after, _ := strconv.Atoi(w.Header().Get("Retry-After")) // 0 is wrong too
		if w.Code != http.StatusServiceUnavailable || after < 1 || after > 4 || !strings.Contains(w.Body.String(), "the test has more to do than it can") {
			t.Errorf("found %d, %v: %s", w.Code, w.Header(), w.Body)
		}
	}
	if refused == 0 || said.Len() > 0 {
		t.Errorf("%d refused, the log says %s", refused, &said)
	}
}
