package remote_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/remote"
)

// accountToken is a pod's own.
const accountToken = "pod.own.token"

// newCluster is an API server that tells its issuer's keys to service accounts alone, and
// says that they are at its address for machines outside. It gives the pod's directory.
func newCluster(t *testing.T) (s *issuerServer, pod string) {
	t.Helper()
	s = newIssuerServer(t)
	keys := s.keys
	s.Close()
	mux := http.NewServeMux()
	guarded := func(path string, h *http.HandlerFunc) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+accountToken {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			(*h)(w, r)
		})
	}
	guarded("/.well-known/openid-configuration", &s.discovery)
	guarded("/openid/v1/jwks", &s.keys)
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	s.keys = keys
	s.discovery = say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://192.0.2.1:6443/openid/v1/jwks"}`, s.URL))
	pod = t.TempDir()
	s.write(t, filepath.Join(pod, "ca.crt"))
	if err := os.WriteFile(filepath.Join(pod, "token"), []byte(accountToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return s, pod
}

// write writes the server's certificate.
func (s *issuerServer) write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestIssuerInCluster: a pod reads the keys of its own cluster with its service account.
func TestIssuerInCluster(t *testing.T) {
	s, pod := newCluster(t)
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{ServiceAccount: pod})
	req := ca.KeyRequest{Issuer: s.URL, AllowPrivate: true, InCluster: true}
	if set, err := keys.Keys(t.Context(), req); err != nil || len(set.Keys) != 1 {
		t.Fatalf("found %+v, %v", set, err)
	}
	for name, tc := range map[string]struct {
		spoil func(*testing.T)
		about string
	}{
		"no pod":        {func(t *testing.T) { remove(t, filepath.Join(pod, "token")) }, "no pod"},
		"another token": {func(t *testing.T) { write(t, filepath.Join(pod, "token"), "other") }, "status 401"},
		"two lines":     {func(t *testing.T) { write(t, filepath.Join(pod, "token"), "a\r\nX-Evil: 1") }, "no pod"},
		"empty token":   {func(t *testing.T) { write(t, filepath.Join(pod, "token"), "\n") }, "no pod"},
		"huge token": {func(t *testing.T) {
			write(t, filepath.Join(pod, "token"), strings.Repeat("a", 65<<10))
		}, "no pod"},
		"no certificate": {func(t *testing.T) { write(t, filepath.Join(pod, "ca.crt"), "text") }, "no certificate in PEM"},
		"certificate is gone": {func(t *testing.T) {
			remove(t, filepath.Join(pod, "ca.crt"))
		}, "certificates"},
		"another cluster's certificate": {func(t *testing.T) { write(t, filepath.Join(pod, "ca.crt"), strangerPEM(t)) }, "cannot reach"},
		"keys elsewhere by a query": {func(*testing.T) {
			s.discovery = say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://192.0.2.1/openid/v1/jwks?to=else"}`, s.URL))
		}, "no URL"},
		"a redirect": {func(*testing.T) {
			s.discovery = func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://192.0.2.1/", http.StatusFound)
			}
		}, "redirects are not followed"},
	} {
		t.Run(name, func(t *testing.T) {
			s, pod = newCluster(t)
			tc.spoil(t)
			_, err := remote.NewIssuerKeys(remote.IssuerKeysConfig{ServiceAccount: pod}).
				Keys(t.Context(), ca.KeyRequest{Issuer: s.URL, AllowPrivate: true, InCluster: true})
			if err == nil || !strings.Contains(err.Error(), tc.about) {
				t.Errorf("expected an error that says %q, found %v", tc.about, err)
			}
			if e := fmt.Sprint(err); strings.Contains(e, accountToken) || strings.Contains(e, "X-Evil") {
				t.Errorf("the token is in the error: %v", e)
			}
		})
	}
}

// TestTokenStaysInCluster: nobody but the cluster is given the pod's token.
func TestTokenStaysInCluster(t *testing.T) {
	_, pod := newCluster(t)
	write(t, filepath.Join(pod, "ca.crt"), strangerPEM(t)) // all test servers have one certificate: the cluster's is another
	var seen []string
	stranger := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
	}))
	t.Cleanup(stranger.Close)
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{ServiceAccount: pod})
	for _, req := range []ca.KeyRequest{
		{Issuer: stranger.URL, AllowPrivate: true},
		{Issuer: stranger.URL, AllowPrivate: true, InCluster: true}, // its name leads elsewhere
	} {
		if _, err := keys.Keys(t.Context(), req); err == nil {
			t.Errorf("%+v: no error", req)
		}
	}
	if len(seen) != 0 {
		t.Errorf("a stranger was sent %q", seen)
	}
}

// TestIssuerOfPrivateCA: an issuer whose certificate the machine does not know needs its
// own, and with that no other will do.
func TestIssuerOfPrivateCA(t *testing.T) {
	s, pod := newCluster(t)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			s.keys(w, r)
			return
		}
		say(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.URL, s.URL+"/keys"))(w, r)
	})
	file := filepath.Join(pod, "ca.crt")
	keys := remote.NewIssuerKeys(remote.IssuerKeysConfig{})
	ask := func(file string) error {
		_, err := keys.Keys(t.Context(), ca.KeyRequest{Issuer: s.URL, AllowPrivate: true, CAFile: file})
		return err
	}
	if err := ask(""); err == nil {
		t.Error("a certificate of nobody is taken")
	}
	if err := ask(file); err != nil {
		t.Error(err)
	}
	write(t, file, strangerPEM(t)) // it is read each time
	if err := ask(file); err == nil {
		t.Error("a stranger's certificate will do")
	}
	if err := ask(filepath.Join(pod, "none")); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("no file: found %v", err)
	}
	if _, err := keys.Keys(t.Context(), ca.KeyRequest{Issuer: s.URL, CAFile: file}); sigbox.KindOf(err) != sigbox.Denied {
		t.Errorf("a private address: found %v", err)
	}
}

// strangerPEM is a certificate that has nothing to do with any server.
func strangerPEM(t *testing.T) string {
	t.Helper()
	chain, err := ca.NewChain(ca.ChainConfig{Root: fixture.Key(t), Intermediate: fixture.Key(t).Public()})
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[1]}))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
