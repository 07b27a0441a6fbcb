package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestLoad drives a server of this test's own: bodies are unique, refusals are
// counted, every client takes part.
func TestLoad(t *testing.T) {
	var seen [1 << 16]atomic.Int32
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sum := sha256.Sum256(body)
		if seen[int(sum[0])<<8|int(sum[1])].Add(1) > 1 && len(body) > 3 {
			w.WriteHeader(http.StatusConflict)
		}
	}))
	defer h.Close()
	s := &server{name: "test", url: h.URL, pid: os.Getpid()}
	req := request{path: "/", rate: 1000, body: func(i int) []byte { return []byte{byte(i), byte(i >> 8), 1} },
		accept: func(status int, _ []byte) error {
			if status != http.StatusOK {
				return errors.New("refused")
			}
			return nil
		}}
	r, err := load(t.Context(), s, req, 8, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r.done != 1000 || r.failed != 0 || r.p50 > r.p99 || r.p99 > r.max || r.peak == 0 {
		t.Errorf("%+v", r)
	}
	req.body = func(int) []byte { return []byte("always the same") }
	if _, err := load(t.Context(), s, req, 8, time.Second); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("expected a refusal, found %v", err)
	}
}

func TestRequests(t *testing.T) {
	i, err := startIssuer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer i.stop()
	log, err := logRequest()
	if err != nil {
		t.Fatal(err)
	}
	logV1, err := logRequestV1()
	if err != nil {
		t.Fatal(err)
	}
	for name, req := range map[string]request{"log": log, "log v1": logV1, "certificate": certificateRequest(i), "timestamp": timestampRequest()} {
		a, b := req.body(1), req.body(2)
		if !json.Valid(a) || string(a) == string(b) {
			t.Errorf("%s: expected JSON, never the same: %s, %s", name, a, b)
		}
	}
}

// TestPeers starts each peer that has been built, and gives it a little to do.
func TestPeers(t *testing.T) {
	c := config{bin: binaries(t), clients: []int{4}, span: time.Second, work: t.TempDir()}
	i, err := startIssuer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer i.stop()
	log, err := logRequest()
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []struct {
		name  string
		req   request
		start func(context.Context) (*server, error)
	}{
		{"rekor-tiles", log, func(ctx context.Context) (*server, error) { return startRekorTiles(ctx, c) }},
		{"fulcio", certificateRequest(i), func(ctx context.Context) (*server, error) { return startFulcio(ctx, c, i.url) }},
		{"timestamp-server", timestampRequest(), func(ctx context.Context) (*server, error) { return startTimestampServer(ctx, c) }},
	} {
		t.Run(peer.name, func(t *testing.T) {
			s, err := peer.start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			peer.req.rate = 50
			r, err := load(t.Context(), s, peer.req, 4, c.span)
			if err != nil || r.failed > 0 {
				t.Fatal(r, err, r.failure)
			}
			t.Log(r)
		})
	}
}

func binaries(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join("..", ".cache", "bench", "bin"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rekor-tiles", "fulcio", "timestamp-server"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Skip("the peers have not been built: bench/run builds them")
		}
	}
	return bin
}
