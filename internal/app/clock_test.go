package app

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock/clocktest"
	"github.com/sigbox/sigbox/internal/fixture"
)

// ntp is a server whose clock is ahead of ours by what is stored.
func ntp(t *testing.T) (server string, ahead *atomic.Int64) {
	t.Helper()
	ahead = new(atomic.Int64)
	return clocktest.Serve(t, func(r []byte) [][]byte { return [][]byte{clocktest.Good(r, time.Duration(ahead.Load()))} }), ahead
}

func startWatched(t *testing.T, s TimeSettings, log io.Writer) *App {
	t.Helper()
	a, err := Start(t.Context(), Config{
		Data: t.TempDir(), Flags: Settings{Listen: "127.0.0.1:0", Time: s}, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return a
}

// request sends a request and gives the answer with its body.
func request(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

const stampRequest = `{"artifactHash":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=","hashAlgorithm":"sha256"}`

// askForCertificate asks with a token that is good, and a key that nobody proves to have:
// what is refused for the clock is refused before.
func askForCertificate(t *testing.T, a *App) (*http.Response, string) {
	t.Helper()
	token, err := a.Admin().Token(t.Context(), TokenRequest{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(fixture.Key(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	body, err := json.Marshal(map[string]any{
		"credentials":      map[string]string{"oidcIdentityToken": token},
		"publicKeyRequest": map[string]any{"publicKey": map[string]string{"algorithm": "ECDSA", "content": key}, "proofOfPossession": base64.StdEncoding.EncodeToString([]byte("none"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return request(t, http.MethodPost, a.URL()+"/api/v2/signingCert", string(body))
}

// A clock beyond its accuracy shuts the certificate authority and the timestamp authority,
// with words and a time to come again, and nothing else; they open by themselves.
func TestAWrongClockShutsWhoVouchesForTimes(t *testing.T) {
	server, ahead := ntp(t)
	var log buffer
	a := startWatched(t, TimeSettings{Servers: []string{server}, Samples: 1, Required: true}, &log)
	well := func() {
		t.Helper()
		if resp, body := request(t, http.MethodPost, a.URL()+"/api/v1/timestamp", stampRequest); resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
			t.Errorf("no timestamp: %d %s", resp.StatusCode, body)
		}
		if resp, body := askForCertificate(t, a); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("expected that the key is refused, found %d %s", resp.StatusCode, body)
		}
		if resp, body := request(t, http.MethodGet, a.URL()+"/readyz", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("not ready: %s", body)
		}
	}
	well()
	ahead.Store(int64(5 * time.Second))
	if a.services.clock.Measure(t.Context()) == nil {
		t.Fatal("the clock is five seconds behind")
	}
	stamp, body := request(t, http.MethodPost, a.URL()+"/api/v1/timestamp", stampRequest)
	issue, issueBody := askForCertificate(t, a)
	for what, got := range map[string]struct {
		resp *http.Response
		body string
	}{"timestamp": {stamp, body}, "certificate": {issue, issueBody}} {
		if got.resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "5s behind") || got.resp.Header.Get("Retry-After") != "16" {
			t.Errorf("%s: found %d, Retry-After %q: %s", what, got.resp.StatusCode, got.resp.Header.Get("Retry-After"), got.body)
		}
	}
	resp, body := request(t, http.MethodGet, a.URL()+"/readyz", "")
	if resp.StatusCode != http.StatusServiceUnavailable || strings.Count(body, "5s behind") != 2 {
		t.Errorf("/readyz: %d %s", resp.StatusCode, body)
	}
	if resp, body := request(t, http.MethodGet, a.URL()+"/api/v2/checkpoint", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the log: %d %s", resp.StatusCode, body)
	}
	_, metrics := request(t, http.MethodGet, a.URL()+"/metrics", "")
	for _, want := range []string{"sigbox_clock_trusted 0", "sigbox_clock_offset_seconds ", "sigbox_clock_last_success_timestamp_seconds 1."} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no metric %s", want)
		}
	}
	if s, err := a.Admin().Status(t.Context()); err != nil || s.Clock == nil || !strings.Contains(s.Clock.Error, "5s behind") || s.Ready {
		t.Errorf("found %+v (%v)", s.Clock, err)
	}
	ahead.Store(0)
	if err := a.services.clock.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	well()
	if text := log.String(); !strings.Contains(text, "the clock is not known to be right") || !strings.Contains(text, "the clock is right again") {
		t.Errorf("the log does not tell: %s", text)
	}
}

// Servers that do not answer do not keep an instance from starting; where they are
// required, nothing is vouched for.
func TestNTPServersThatAreAway(t *testing.T) {
	const silent = "127.0.0.1:1" // nobody is there
	for _, required := range []bool{false, true} {
		a := startWatched(t, TimeSettings{Servers: []string{silent}, Samples: 1, Required: required}, io.Discard)
		resp, body := request(t, http.MethodPost, a.URL()+"/api/v1/timestamp", stampRequest)
		if refused := resp.StatusCode == http.StatusServiceUnavailable; refused != required {
			t.Errorf("required %t: %d %s", required, resp.StatusCode, body)
		}
		if s, err := a.Admin().Status(t.Context()); err != nil || s.Clock == nil || len(s.Clock.Servers) != 1 || !strings.Contains(s.Clock.Servers[0].Error, "refused") {
			t.Errorf("found %+v (%v)", s.Clock, err)
		}
	}
}

func TestNoNTPServers(t *testing.T) {
	var log buffer
	startWatched(t, TimeSettings{}, &log)
	if !strings.Contains(log.String(), "no NTP servers are set") {
		t.Errorf("the start does not warn: %s", log.String())
	}
}

func TestTimeSettingsAreChecked(t *testing.T) {
	for _, text := range []string{"required: true", "accuracy: 2s", "ntp-servers: [a, a]", "interval: 1s", "samples: 99"} {
		if _, err := ParseSettings(fmt.Appendf(nil, "time: {%s}", text)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

// buffer is a buffer that several goroutines write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
