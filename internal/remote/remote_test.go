package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
)

// serve starts a server that answers with h.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// client is a client that does not wait between attempts.
func client(t *testing.T) *Client {
	t.Helper()
	return New(Config{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
}

// wantError wants an error of a kind whose text has all parts.
func wantError(t testing.TB, err error, kind sigbox.Kind, parts ...string) {
	t.Helper()
	fixture.WantError(t, err, kind, parts...)
}

func get(c *Client, url string) (response, error) {
	return c.expect(context.Background(), request{service: "the service", method: http.MethodGet, url: url, limit: 1 << 10}, http.StatusOK)
}

func TestStatusesBecomeKinds(t *testing.T) {
	for status, kind := range map[int]sigbox.Kind{
		400: sigbox.Invalid, 401: sigbox.Unauthenticated, 403: sigbox.Denied, 404: sigbox.NotFound, 409: sigbox.Conflict,
		413: sigbox.TooLarge, 429: sigbox.Unavailable, 500: sigbox.Unavailable, 503: sigbox.Unavailable, 204: sigbox.Invalid,
	} {
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != 204 {
				_, _ = io.WriteString(w, `{"code":3,"message":"because","details":[]}`)
			}
		})
		_, err := get(client(t), url)
		wantError(t, err, kind, fmt.Sprint(status), "the service")
		if status != 204 && !strings.Contains(err.Error(), "because") {
			t.Errorf("status %d: %v does not give the server's reason", status, err)
		}
	}
}

func TestPassingFailuresAreRetried(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504} {
		var n atomic.Int32
		bodies := make(chan string, 8)
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			bodies <- string(b)
			if n.Add(1) < 3 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(status)
			}
		})
		_, err := client(t).expect(t.Context(), request{service: "the service", method: http.MethodPost, url: url, body: []byte("same"), limit: 10}, 200)
		if err != nil || n.Load() != 3 {
			t.Fatalf("status %d: %d attempts, %v", status, n.Load(), err)
		}
		for range 3 {
			if b := <-bodies; b != "same" {
				t.Errorf("an attempt sent %q", b)
			}
		}
	}
}

func TestRetriesEnd(t *testing.T) {
	var n atomic.Int32
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); w.WriteHeader(503) })
	_, err := get(client(t), url)
	wantError(t, err, sigbox.Unavailable)
	if n.Load() != defaultRetries+1 {
		t.Errorf("%d attempts, want %d", n.Load(), defaultRetries+1)
	}
}

func TestRefusalsAreNotRetried(t *testing.T) {
	for _, status := range []int{400, 403, 409, 500} {
		var n atomic.Int32
		url := serve(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); w.WriteHeader(status) })
		_, _ = get(client(t), url)
		if n.Load() != 1 {
			t.Errorf("status %d: %d attempts", status, n.Load())
		}
	}
}

// Who asks to be left alone for long is not waited for; who asks for little is.
func TestLongRetryAfter(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		for asked, attempts := range map[string]int32{"30": 1, "11": 1, "99999999999999999999": 1, "10": defaultRetries + 1, "-30": defaultRetries + 1, "soon": defaultRetries + 1} {
			var n atomic.Int32
			url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				n.Add(1)
				w.Header().Set("Retry-After", asked)
				w.WriteHeader(status)
			})
			_, err := get(client(t), url)
			wantError(t, err, sigbox.KindOfStatus(status))
			if n.Load() != attempts {
				t.Errorf("Retry-After %s: %d attempts", asked, n.Load())
			}
			if told := strings.Contains(err.Error(), "left alone for "); told != (attempts == 1) {
				t.Errorf("Retry-After %s: %v", asked, err)
			}
		}
	}
}

func TestBrokenConnectionIsRetried(t *testing.T) {
	var n atomic.Int32
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 { // promises more than it sends
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "whole")
	})
	resp, err := get(client(t), url)
	if err != nil || string(resp.body) != "whole" {
		t.Errorf("%q, %v", resp.body, err)
	}
}

func TestHugeAnswer(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
		}
	})
	_, err := get(client(t), url)
	wantError(t, err, sigbox.TooLarge, "1024 bytes")
}

func TestHugeErrorIsClipped(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		_, _ = io.WriteString(w, strings.Repeat("long ", 1<<20))
	})
	_, err := get(client(t), url)
	wantError(t, err, sigbox.Invalid, "long")
	if len(err.Error()) > 2*maxReason {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	target := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	})
	_, err := get(client(t), url)
	wantError(t, err, sigbox.Invalid, "307")
}

func TestCancelledWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // then the server sees that the client goes
		cancel()
		<-r.Context().Done()
	})
	_, err := client(t).do(ctx, request{service: "the service", method: http.MethodGet, url: url, limit: 10})
	wantError(t, err, sigbox.Unavailable, "interrupted")
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	_, err := get(client(t), s.URL)
	wantError(t, err, sigbox.Unavailable, "cannot reach the service", "is the instance running")
}

func TestUnusableURLs(t *testing.T) {
	for _, url := range []string{"", "sigbox", "ftp://host/", "http://", "http://user:pass@host/", "http://ho st/", "file:///etc/passwd"} {
		_, err := get(client(t), url)
		wantError(t, err, sigbox.Invalid)
	}
}

func TestBackoff(t *testing.T) {
	for attempt := range 70 {
		d := backoff(attempt, http.Header{"Retry-After": {"99999999"}})
		if d < maxBackoff || d > 3*maxBackoff/2 {
			t.Fatalf("attempt %d waits %v", attempt, d)
		}
		if d := backoff(attempt, http.Header{"Retry-After": {"4"}}); d < 4*time.Second {
			t.Fatalf("attempt %d waits %v, and was asked to for four seconds", attempt, d)
		}
	}
	if d := backoff(0, nil); d < firstBackoff/2 || d > firstBackoff {
		t.Errorf("the first wait is %v", d)
	}
}
