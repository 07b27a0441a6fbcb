package remote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/remote"
)

// issuerServer is an OpenID issuer whose answers tests change.
type issuerServer struct {
	*httptest.Server
	discovery, keys http.HandlerFunc
}

func newIssuerServer(t *testing.T) *issuerServer {
	t.Helper()
	s := &issuerServer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) { s.discovery(w, r) })
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) { s.keys(w, r) })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.discovery = say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["ES256"],"extra":1}`, s.URL, s.URL+"/keys"))
	s.keys = say(string(set))
	return s
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = io.WriteString(w, text)
	}
}

func (s *issuerServer) ask(t *testing.T) (ca.KeySet, error) {
	t.Helper()
	return remote.NewIssuerKeys(remote.IssuerKeysConfig{}).Keys(t.Context(), ca.KeyRequest{Issuer: s.URL, AllowPrivate: true})
}

func TestIssuerKeys(t *testing.T) {
	s := newIssuerServer(t)
	set, err := s.ask(t)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0].KeyID != "1" || len(set.Algorithms) != 1 || set.MaxAge != 5*time.Minute {
		t.Errorf("%+v", set)
	}
}

func TestIssuerKeysRefused(t *testing.T) {
	huge := strings.Repeat(" ", 300<<10) + "{}"
	for name, tc := range map[string]struct {
		change func(*issuerServer)
		kind   sigbox.Kind
		about  string
	}{
		"another issuer": {func(s *issuerServer) {
			s.discovery = say(`{"issuer":"https://evil.example.com","jwks_uri":"https://evil.example.com/keys"}`)
		}, sigbox.Invalid, "of another issuer"},
		"issuer with a slash": {func(s *issuerServer) {
			s.discovery = say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.URL+"/", s.URL+"/keys"))
		}, sigbox.Invalid, "of another issuer"},
		"no key set": {func(s *issuerServer) { s.discovery = say(fmt.Sprintf(`{"issuer":%q}`, s.URL)) }, sigbox.Invalid, "no URL"},
		"keys in a file": {func(s *issuerServer) {
			s.discovery = say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"file:///etc/passwd"}`, s.URL))
		}, sigbox.Invalid, "no URL"},
		"no document":       {func(s *issuerServer) { s.discovery = http.NotFound }, sigbox.Unavailable, "status 404"},
		"text":              {func(s *issuerServer) { s.discovery = say("text") }, sigbox.Invalid, "no discovery document"},
		"issuer twice":      {func(s *issuerServer) { s.discovery = say(`{"issuer":"a","issuer":"b"}`) }, sigbox.Invalid, "no discovery document"},
		"huge document":     {func(s *issuerServer) { s.discovery = say(huge) }, sigbox.TooLarge, "more than 65536"},
		"huge key set":      {func(s *issuerServer) { s.keys = say(huge) }, sigbox.TooLarge, "more than 262144"},
		"a web page":        {func(s *issuerServer) { s.keys = page }, sigbox.Invalid, "web page"},
		"keys of text":      {func(s *issuerServer) { s.keys = say("[]") }, sigbox.Invalid, "JWK set"},
		"server in trouble": {func(s *issuerServer) { s.keys = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) } }, sigbox.Unavailable, "status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIssuerServer(t)
			tc.change(s)
			_, err := s.ask(t)
			if err == nil || sigbox.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.about) {
				t.Errorf("expected an error of kind %q that says %q, found %v", tc.kind, tc.about, err)
			}
		})
	}
}

func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<html>")
}

// TestAdvisoryFulcioGHSA_f5mr_q85p_6hh6: a redirect of the discovery document, or
// of the key set, swapped the issuer's keys for another's.
func TestAdvisoryFulcioGHSA_f5mr_q85p_6hh6(t *testing.T) {
	evil := newIssuerServer(t)
	to := func(path string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, evil.URL+path, http.StatusFound) }
	}
	for name, change := range map[string]func(*issuerServer){
		"discovery": func(s *issuerServer) { s.discovery = to("/.well-known/openid-configuration") },
		"keys":      func(s *issuerServer) { s.keys = to("/keys") },
		"keys, same host": func(s *issuerServer) {
			s.keys = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/else", http.StatusMovedPermanently)
			}
		},
	} {
		s := newIssuerServer(t)
		change(s)
		if set, err := s.ask(t); err == nil || sigbox.KindOf(err) != sigbox.Unavailable || !strings.Contains(err.Error(), "redirects are not followed") {
			t.Errorf("%s: found %+v, %v", name, set, err)
		}
	}
}

// TestIssuerAtPrivateAddress: a token cannot make the server talk to its own
// network, whatever its issuer's name resolves to.
func TestIssuerAtPrivateAddress(t *testing.T) {
	s := newIssuerServer(t)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{Timeout: time.Second})
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.0.0.1", "192.168.1.1", "172.16.0.1",
		"169.254.169.254", "[fe80::1]", "[fd00::1]", "100.64.0.1", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "224.0.0.1", "255.255.255.255",
	} {
		_, err := keys.Keys(t.Context(), ca.KeyRequest{Issuer: fmt.Sprintf("https://%s:%d", host, port)})
		noIPv6 := host[0] == '[' && err != nil && sigbox.KindOf(err) == sigbox.Unavailable // this machine has none
		if !noIPv6 && (err == nil || sigbox.KindOf(err) != sigbox.Denied) {
			t.Errorf("%s: expected a refusal, found %v", host, err)
		}
	}
	// Nor in the clear, not even by a key set's address.
	if _, err := keys.Keys(t.Context(), ca.KeyRequest{Issuer: s.URL}); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("http: expected a refusal, found %v", err)
	}
}

// TestIssuerThatHangs: an issuer that does not answer is given up.
func TestIssuerThatHangs(t *testing.T) {
	s := newIssuerServer(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	s.discovery = func(http.ResponseWriter, *http.Request) { <-release }
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{Timeout: 50 * time.Millisecond})
	_, err := keys.Keys(t.Context(), ca.KeyRequest{Issuer: s.URL, AllowPrivate: true})
	if err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Keys(ctx, ca.KeyRequest{Issuer: s.URL, AllowPrivate: true}); err == nil {
		t.Error("a cancelled request answers")
	}
}
