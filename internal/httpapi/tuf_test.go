package httpapi

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sigbox/sigbox/internal/tuf"
)

func TestTUF(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := tuf.Open(tuf.Config{Dir: t.TempDir(), RootKeys: []crypto.Signer{key}, OnlineKey: key, Targets: map[string][]byte{"trusted_root.json": []byte("{}")}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&TUF{Repository: repo, Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	const forever = "public, max-age=31536000, immutable"
	for path, want := range map[string]struct {
		status int
		cache  string
	}{
		"/root.json":                   {200, "no-cache"},
		"/tuf/1.root.json":             {200, forever},
		"/tuf/1.snapshot.json":         {200, forever},
		"/tuf/timestamp.json":          {200, "no-cache"},
		"/tuf/2.root.json":             {404, "no-cache"}, // ends a client's walk
		"/tuf/":                        {404, "no-cache"},
		"/tuf/targets/":                {404, "no-cache"},
		"/tuf/%2e%2e/%2e%2e/etc/hosts": {404, "no-cache"},
		"/tuf/..%2f..%2fetc%2fhosts":   {404, "no-cache"},
	} {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want.status || w.Header().Get("Cache-Control") != want.cache {
			t.Errorf("%s: expected %v, found %d %q", path, want, w.Code, w.Header().Get("Cache-Control"))
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/root.json", nil))
	if !bytes.Equal(w.Body.Bytes(), repo.Root()) {
		t.Error("another root is handed out")
	}
}
