package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/clock/clocktest"
	"github.com/sigbox/sigbox/internal/fixture"
)

// TestProduction runs the commands of "From an empty machine to production", with a
// company's identity provider and somebody at a browser.
func TestProduction(t *testing.T) {
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	ada := person{"ada@example.com", "correct horse battery staple"}
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HOST": "localhost", "PORT": port, "NTP": ntpServers(t),
		"IDP": companyProvider(t, ada, "https://localhost:"+port+"/oidc/callback/company"), "PRIVATE": "true",
		"DATA": filepath.Join(dir, "data"), "ETC": filepath.Join(dir, "etc"), "ANCHOR": filepath.Join(dir, "anchor"), "AUDIT": filepath.Join(dir, "audit"),
		"BROWSER": "robot", "ROBOT_EMAIL": ada.email, "ROBOT_PASSWORD": ada.password,
	} {
		t.Setenv(name, value)
	}
	runSection(t, "From an empty machine to production", "sh", "openssl", "curl", "sha256sum", "base64", "head", "grep")
}

// ntpServers gives three that know the time, as the settings list them.
func ntpServers(t *testing.T) string {
	t.Helper()
	var list []string
	for range 3 {
		list = append(list, clocktest.Serve(t, func(request []byte) [][]byte { return [][]byte{clocktest.Good(request, 0)} }))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// companyProvider is an OpenID provider with one account, that knows one client by the
// name sigstore and the address of its callback. It gives its issuer.
func companyProvider(t *testing.T, account person, callback string) string {
	t.Helper()
	key := fixture.Key(t)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	codes := map[string]url.Values{} // what was asked for with the codes that were given
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	say := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		say(w, map[string]any{
			"issuer": server.URL, "authorization_endpoint": server.URL + "/authorize", "token_endpoint": server.URL + "/token", "jwks_uri": server.URL + "/keys",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
			"code_challenge_methods_supported": []string{"S256"}, "token_endpoint_auth_methods_supported": []string{"none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		say(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<form method="post" action="/login"><input type="hidden" name="asked" value="%s"><input name="email"><input name="password"></form>`,
			base64.URLEncoding.EncodeToString([]byte(r.URL.RawQuery)))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		query, err := base64.URLEncoding.DecodeString(r.FormValue("asked"))
		asked, parseErr := url.ParseQuery(string(query))
		if err != nil || parseErr != nil || r.FormValue("email") != account.email || r.FormValue("password") != account.password ||
			asked.Get("client_id") != "sigstore" || asked.Get("redirect_uri") != callback {
			http.Error(w, "this is not how one signs in here", http.StatusForbidden)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		code := fmt.Sprintf("code-%d", len(codes))
		codes[code] = asked
		http.Redirect(w, r, callback+"?"+url.Values{"code": {code}, "state": {asked.Get("state")}}.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked, known := codes[r.FormValue("code")]
		delete(codes, r.FormValue("code"))
		challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if !known || base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") {
			w.WriteHeader(http.StatusBadRequest)
			say(w, map[string]string{"error": "invalid_grant"})
			return
		}
		now := time.Now().Unix()
		claims, err := json.Marshal(map[string]any{
			"iss": server.URL, "aud": "sigstore", "sub": "ada", "email": account.email, "email_verified": true,
			"nonce": asked.Get("nonce"), "iat": now, "exp": now + 300,
		})
		if err != nil {
			t.Error(err)
		}
		token, err := signer.Sign(claims)
		if err != nil {
			t.Error(err)
			return
		}
		compact, err := token.CompactSerialize()
		if err != nil {
			t.Error(err)
		}
		say(w, map[string]any{"access_token": "unused", "token_type": "Bearer", "expires_in": 300, "id_token": compact})
	})
	return server.URL
}
