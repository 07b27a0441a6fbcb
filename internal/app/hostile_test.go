package app_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// TestHostileBodies sends what no client sends to every route that takes a body:
// each is refused as the sender's fault, and the instance stays well.
func TestHostileBodies(t *testing.T) {
	a := apptest.Start(t)
	bodies := map[string][]byte{
		"empty":     nil,
		"truncated": []byte(`{"credentials":{"oidcIdentityToken":"eyJ`),
		"nonsense":  []byte("\x00\xff\xfe nonsense"),
		"nested":    bytes.Repeat([]byte(`{"a":[`), 100_000),
		"huge":      bytes.Repeat([]byte("a"), 12<<20),
		"null":      []byte("null"),
		"array":     []byte("[]"),
		"der":       {0x30, 0x84, 0xff, 0xff, 0xff, 0xff},
	}
	for _, route := range []struct{ path, contentType string }{
		{"/api/v2/log/entries", "application/json"},
		{"/api/v2/signingCert", "application/json"},
		{"/api/v1/signingCert", "application/json"},
		{"/api/v1/timestamp", "application/json"},
		{"/api/v1/timestamp", "application/timestamp-query"},
		{"/api/v1/timestamp", "text/plain"},
		{"/ctlog/ct/v1/add-chain", "application/json"},
		{"/ctlog/ct/v1/add-pre-chain", "application/json"},
		{"/oidc/token", "application/x-www-form-urlencoded"},
		{"/oidc/device_authorization", "application/x-www-form-urlencoded"},
		{"/oidc/login", "application/x-www-form-urlencoded"},
	} {
		for name, body := range bodies {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL()+route.path, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", route.contentType)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				continue // a server may hang up on what is too large
			}
			if status, text := readAll(t, resp); status < 400 || status > 499 {
				t.Errorf("%s, %s body: expected 4xx, found %d %.200q", route.path, name, status, text)
			}
		}
	}
	if status, body := get(t, a, "/readyz"); status != http.StatusOK {
		t.Errorf("not ready afterwards: %d %s", status, body)
	}
}

// TestHostilePaths asks for what is in the data directory and not for the public.
func TestHostilePaths(t *testing.T) {
	a := apptest.Start(t)
	key, err := os.ReadFile(filepath.Join(a.Data(), "keys", "rekor2.pem"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(key), "\n")[1]
	for _, path := range []string{
		"/tuf/../keys/rekor2.pem", "/tuf/..%2fkeys/rekor2.pem", "/tuf/%2e%2e/keys/rekor2.pem", "/tuf//etc/passwd",
		"/tuf/targets/../../keys/rekor2.pem", "/api/v2/tile/../../keys/rekor2.pem", "/api/v2/tile/entries/..%2f..%2fkeys",
		"/ctlog/tile/data/..%2f", "/ctlog/issuer/..%2f..%2fkeys%2frekor2.pem", "/keys/rekor2.pem", "/admin.sock", "/instance.json",
		"/tuf/" + strings.Repeat("a", 20_000), "/tuf/%00", "/api/v2/tile/0/x001/x001/x001/x001/x001/x001/x001/000",
	} {
		if status, body := raw(t, a, "GET "+path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); status/100 == 2 || status/100 == 5 || strings.Contains(body, secret) {
			t.Errorf("GET %.80s: found %d %.100q", path, status, body)
		}
	}
}

// TestHostileHeaders sends headers without end, and requests that stop.
func TestHostileHeaders(t *testing.T) {
	a := apptest.Start(t)
	if status, _ := raw(t, a, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\n"); status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("expected 431 or a closed connection, found %d", status)
	}
	if status, _ := raw(t, a, "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"); status != http.StatusBadRequest {
		t.Errorf("expected 400, found %d", status)
	}
	if status, _ := raw(t, a, "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n"); status != http.StatusBadRequest {
		t.Errorf("expected 400, found %d", status)
	}
}

// raw sends bytes as they are and reads the status and all that comes back; the
// status is 0 when nothing does.
func raw(t *testing.T, a *app.App, request string) (status int, answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, request) // the server may hang up early
	b, _ := io.ReadAll(conn)             // with a reset, what came before it counts
	_, rest, _ := strings.Cut(string(b), " ")
	for _, c := range rest[:min(3, len(rest))] {
		status = status*10 + int(c-'0')
	}
	return status, string(b)
}

// TestSmuggling: what two servers may read in two ways is refused, or its connection is
// ended after it, so that nothing behind it is taken for a request of its own.
func TestSmuggling(t *testing.T) {
	a := apptest.Start(t)
	const second = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for name, request := range map[string]string{
		"two lengths":               "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx" + second,
		"a list of lengths":         "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nx" + second,
		"a length with a sign":      "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx" + second,
		"both":                      "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + second,
		"an odd encoding":           "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + second,
		"two encodings":             "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + second,
		"a space before the colon":  "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx" + second,
		"a folded header":           "POST /api/v2/log/entries HTTP/1.1\r\n Host: a\r\nContent-Length: 1\r\n\r\nx" + second,
		"two hosts":                 "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + second,
		"no host":                   "GET / HTTP/1.1\r\n\r\n" + second,
		"a zero byte":               "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n" + second,
		"a chunk of a huge size":    "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + second,
		"a chunk that is too short": "POST /api/v2/log/entries HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n" + second,
	} {
		if status, answer := raw(t, a, request); status != 0 && status/100 != 4 && status != http.StatusNotImplemented || strings.Contains(answer, "SERVING") {
			t.Errorf("%s: found %d %q", name, status, answer)
		}
	}
	if status, answer := raw(t, a, second); status != http.StatusOK {
		t.Errorf("a sound request: found %d %q", status, answer)
	}
}
