package httpapi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/wire/timestamp"
)

func newTimestamp(t *testing.T) (*tsa.Service, *http.ServeMux) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := tsa.NewChain(tsa.ChainConfig{Root: key, Leaf: key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tsa.New(tsa.Config{Key: key, Chain: chain})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&Timestamp{Service: s, Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	return s, mux
}

func postTimestamp(mux *http.ServeMux, contentType string, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/timestamp", body)
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w
}

func TestTimestampForms(t *testing.T) {
	s, mux := newTimestamp(t)
	sig := []byte("signature")
	d := sigbox.SHA256.Sum(sig)
	der, err := timestamp.Request{Digest: d, Nonce: []byte{1}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string][]byte{
		"application/timestamp-query":     der,
		"application/json":                []byte(`{"artifactHash":"` + base64.StdEncoding.EncodeToString(d.Value) + `","hashAlgorithm":"sha256"}`),
		"application/json; charset=utf-8": []byte(`{"artifactHash":"` + base64.StdEncoding.EncodeToString(d.Value) + `","hashAlgorithm":"sha256","nonce":1,"certificates":true}`),
	}
	for contentType, body := range forms {
		w := postTimestamp(mux, contentType, bytes.NewReader(body))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/timestamp-reply" {
			t.Fatalf("%s: status %d, %s", contentType, w.Code, w.Body)
		}
		if _, err := timestamp.Verify(w.Body.Bytes(), sig, s.CertificateAuthorities()[0]); err != nil {
			t.Errorf("%s: %v", contentType, err)
		}
	}
}

func TestTimestampRefuses(t *testing.T) {
	_, mux := newTimestamp(t)
	for name, c := range map[string]struct {
		contentType, body string
		status            int
	}{
		"empty":            {"application/json", "", 400},
		"not JSON":         {"application/json", "x", 400},
		"not DER":          {"application/timestamp-query", "x", 400},
		"SHA-1 in JSON":    {"application/json", `{"artifactHash":"AAAA","hashAlgorithm":"sha1"}`, 400},
		"another type":     {"text/plain", "x", 400},
		"no type":          {"", "x", 400},
		"large JSON":       {"application/json", strings.Repeat(" ", 2000), 413},
		"large DER":        {"application/timestamp-query", strings.Repeat("0", 5000), 413},
		"beyond the limit": {"application/timestamp-query", strings.Repeat("0", 1<<20+1), 413},
	} {
		t.Run(name, func(t *testing.T) {
			w := postTimestamp(mux, c.contentType, strings.NewReader(c.body))
			if w.Code != c.status {
				t.Errorf("expected status %d, found %d: %s", c.status, w.Code, w.Body)
			}
			// A body whose length is not announced has the same bound.
			w = postTimestamp(mux, c.contentType, io.MultiReader(strings.NewReader(c.body)))
			if w.Code != c.status {
				t.Errorf("chunked: expected status %d, found %d: %s", c.status, w.Code, w.Body)
			}
		})
	}
}

func TestTimestampChainAndPing(t *testing.T) {
	s, mux := newTimestamp(t)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/timestamp/certchain", nil))
	if block, _ := pem.Decode(w.Body.Bytes()); block == nil || !bytes.Equal(block.Bytes, s.Chain()[0]) {
		t.Errorf("no chain: %d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ping", nil))
	if w.Code != http.StatusOK {
		t.Errorf("ping: %d", w.Code)
	}
}
