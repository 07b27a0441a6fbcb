package vault

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// transit is a transit engine as its documentation has it, as strict as we need it, with
// two versions of each key. interop/ has the real one.
type transit struct {
	t     *testing.T
	token string
	// answer, if not nil, answers in its place.
	answer http.HandlerFunc

	mu    sync.Mutex
	keys  map[string][]crypto.Signer
	kinds map[string]string
	asked []string
}

func newTransit(t *testing.T) (*transit, *Server) {
	t.Helper()
	e := &transit{t: t, token: "s.secret", keys: map[string][]crypto.Signer{}, kinds: map[string]string{}}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return e, open(t, map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "s.secret"})
}

func open(t *testing.T, env map[string]string) *Server {
	t.Helper()
	s, err := New(Config{Getenv: func(name string) string { return env[name] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (e *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, r.Method+" "+r.URL.Path)
	if e.answer != nil {
		e.answer(w, r)
		return
	}
	if r.Header.Get("X-Vault-Token") != e.token {
		refuse(w, 403, "permission denied")
		return
	}
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch list := e.keys[name]; {
	case r.URL.Path == "/v1/auth/token/lookup-self":
		_, _ = io.WriteString(w, `{"data":{"renewable":true,"ttl":100,"creation_ttl":3600}}`)
	case r.URL.Path == "/v1/auth/token/renew-self":
		_, _ = io.WriteString(w, `{"auth":{}}`)
	case r.URL.Path == "/v1/transit/keys/"+name && r.Method == http.MethodPost:
		e.create(w, r, name)
	case len(list) == 0:
		refuse(w, 404)
	case r.URL.Path == "/v1/transit/keys/"+name && r.Method == http.MethodGet:
		e.describe(w, name)
	case r.URL.Path == "/v1/transit/sign/"+name && r.Method == http.MethodPost:
		e.sign(w, r, name)
	default:
		refuse(w, 404, "no handler for route")
	}
}

func refuse(w http.ResponseWriter, status int, errors ...string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, errors...)})
}

func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		refuse(w, 400, err.Error())
		return false
	}
	return true
}

func (e *transit) create(w http.ResponseWriter, r *http.Request, name string) {
	var req struct{ Type string }
	if !decode(w, r, &req) || len(e.keys[name]) > 0 {
		return
	}
	e.kinds[name] = req.Type
	for range 2 {
		var key crypto.Signer
		var err error
		switch req.Type {
		case "ecdsa-p256":
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		case "ed25519":
			_, key, err = ed25519.GenerateKey(rand.Reader)
		default:
			refuse(w, 400, "unknown type")
			return
		}
		if err != nil {
			e.t.Error(err)
		}
		e.keys[name] = append(e.keys[name], key)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (e *transit) describe(w http.ResponseWriter, name string) {
	versions := map[string]any{}
	for i, k := range e.keys[name] {
		var text string
		if pub, ok := k.Public().(ed25519.PublicKey); ok {
			text = base64.StdEncoding.EncodeToString(pub)
		} else {
			der, err := x509.MarshalPKIXPublicKey(k.Public())
			if err != nil {
				e.t.Error(err)
			}
			text = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		}
		versions[fmt.Sprint(i+1)] = map[string]any{"public_key": text, "name": "x", "creation_time": "2026-01-01T00:00:00Z"}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "a", "data": map[string]any{
		"type": e.kinds[name], "keys": versions, "latest_version": len(versions), "min_decryption_version": 1,
	}})
}

func (e *transit) sign(w http.ResponseWriter, r *http.Request, name string) {
	var req struct {
		Input      []byte
		KeyVersion int    `json:"key_version"`
		Prehashed  bool   `json:"prehashed"`
		Hash       string `json:"hash_algorithm"`
		Marshaling string `json:"marshaling_algorithm"`
		Algorithm  string `json:"signature_algorithm"`
	}
	if !decode(w, r, &req) {
		return
	}
	if req.KeyVersion < 1 || req.KeyVersion > len(e.keys[name]) {
		refuse(w, 400, "no such version")
		return
	}
	var hash crypto.Hash
	if req.Prehashed {
		if hash = crypto.SHA256; req.Hash != "sha2-256" || req.Marshaling != "asn1" || len(req.Input) != 32 {
			refuse(w, 400, "wrong hash")
			return
		}
	}
	sig, err := e.keys[name][req.KeyVersion-1].Sign(rand.Reader, req.Input, hash)
	if err != nil {
		refuse(w, 500, err.Error())
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{
		"signature": fmt.Sprintf("vault:v%d:%s", req.KeyVersion, base64.StdEncoding.EncodeToString(sig)), "key_version": req.KeyVersion,
	}})
}

func TestSigns(t *testing.T) {
	e, s := newTransit(t)
	for _, details := range []sigbox.KeyDetails{sigbox.ECDSAP256SHA256, sigbox.Ed25519} {
		k := s.Key(details.String())
		_, err := k.Public(t.Context())
		expectKind(t, err, sigbox.NotFound, "status 404")
		for range 2 { // a key that is there stays as it is
			if err := k.Create(t.Context(), details); err != nil {
				t.Fatal(err)
			}
		}
		list, err := k.Public(t.Context())
		if err != nil || len(list) != 2 {
			t.Fatalf("%v, %v", list, err)
		}
		if newest := e.keys[details.String()][1].Public(); !newest.(interface{ Equal(crypto.PublicKey) bool }).Equal(list[0]) {
			t.Error("the newest version is not the first")
		}
		message, input := []byte("hello"), []byte("hello")
		if h := details.Hash(); h.Valid() {
			input = h.Sum(message).Value
		}
		for _, pub := range list { // of each version, also one that this process has not looked up
			sig, err := s.Key(details.String()).Sign(t.Context(), pub, input, details.SignerOpts().HashFunc())
			if err != nil {
				t.Fatal(err)
			}
			if err := details.VerifyMessage(pub, message, sig); err != nil {
				t.Error(err)
			}
		}
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.Sign(t.Context(), other.Public(), input, crypto.SHA256)
		expectKind(t, err, sigbox.Invalid, "no version")
	}
	expectKind(t, s.Key("a").Create(t.Context(), sigbox.ECDSAP384SHA384), sigbox.Invalid, "no transit keys")
	renewed := 0
	for _, what := range e.asked {
		if what == "POST /v1/auth/token/renew-self" {
			renewed++
		}
	}
	if renewed != 1 {
		t.Errorf("the token was renewed %d times in a minute", renewed)
	}
}

// TestBadAnswers: no answer costs more than it may, leads elsewhere, or tells the token.
func TestBadAnswers(t *testing.T) {
	e, s := newTransit(t)
	k := s.Key("ca")
	if err := k.Create(t.Context(), sigbox.ECDSAP256SHA256); err != nil {
		t.Fatal(err)
	}
	list, err := k.Public(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stolen := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was led elsewhere") }))
	t.Cleanup(stolen.Close)
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	digest := sha256.Sum256(nil)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		kind   sigbox.Kind
		want   string
	}{
		"sealed":      {status(503, `{"errors":["Vault is sealed"]}`), sigbox.Unavailable, "status 503: Vault is sealed (is it sealed?)"},
		"too often":   {status(429, `{"errors":["rate limit"]}`), sigbox.Unavailable, "rate limit"},
		"denied":      {status(403, `{"errors":["permission denied for s.secret"]}`), sigbox.Denied, "denied for ***"},
		"a page":      {status(502, `<html>s.secret</html>`), sigbox.Unavailable, "status 502"},
		"bad request": {status(400, `{"errors":["key version is too old"]}`), sigbox.Invalid, "too old"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, stolen.URL, http.StatusTemporaryRedirect)
		}, sigbox.Unavailable, "leads elsewhere"},
		"cut off":       {status(200, `{"data":{"signature":"vault:v2`), sigbox.Invalid, "Vault's answer"},
		"no signature":  {status(200, `{"data":{}}`), sigbox.Invalid, "expected a signature"},
		"no data":       {status(200, ``), sigbox.Invalid, "Vault's answer"},
		"twice":         {status(200, `{"data":{},"data":{}}`), sigbox.Invalid, "Vault's answer"},
		"other version": {status(200, `{"data":{"signature":"vault:v1:AAAA"}}`), sigbox.Invalid, "vault:v2:"},
		"no base64":     {status(200, `{"data":{"signature":"vault:v2:%"}}`), sigbox.Invalid, "in base64"},
		"empty":         {status(200, `{"data":{"signature":"vault:v2:"}}`), sigbox.Invalid, "expected a signature"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range 64 {
				if _, err := w.Write(bytes.Repeat([]byte("a"), 1<<20)); err != nil {
					return
				}
			}
			t.Error("all of it was read")
		}, sigbox.TooLarge, "at most"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"data"`)
		}, sigbox.Unavailable, "breaks off"},
	} {
		e.set(c.answer)
		_, err := k.Sign(t.Context(), list[0], digest[:], crypto.SHA256)
		if err == nil || sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s.secret") {
			t.Errorf("%s: expected kind %q with %q, found %v", name, c.kind, c.want, err)
		}
	}
	e.set(status(200, `{"data":{"type":"aes256-gcm96","keys":{"1":1700000000}}}`))
	_, err = k.Public(t.Context())
	expectKind(t, err, sigbox.Invalid, "asymmetric")
	for answer, want := range map[string]string{
		`{"data":{"keys":{}}}`:                                           "without versions",
		`{"data":{"keys":{"0":{"public_key":""}}}}`:                      "1 and more",
		`{"data":{"keys":{"a":{"public_key":""}}}}`:                      "1 and more",
		`{"data":{"keys":{"1":{"public_key":"AAAA"}}}}`:                  "PEM",
		`{"data":{"type":"ed25519","keys":{"1":{"public_key":"AAAA"}}}}`: "32 bytes",
	} {
		e.set(status(200, answer))
		_, err = k.Public(t.Context())
		expectKind(t, err, sigbox.Invalid, want)
	}
}

func (e *transit) set(h http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = h
}

// TestIsGivenUp: a server that does not answer is waited for as long as the caller says.
func TestIsGivenUp(t *testing.T) {
	held := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(held) })
	s := open(t, map[string]string{"VAULT_ADDR": hanging.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Key("a").Public(ctx)
	expectKind(t, err, sigbox.Unavailable, "cannot be reached")
}

// TestTokenFile: a token that was replaced in its file is taken when the old one is
// refused.
func TestTokenFile(t *testing.T) {
	e, _ := newTransit(t)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	home := t.TempDir()
	s := open(t, map[string]string{"BAO_ADDR": server.URL + "/", "HOME": home})
	write := func(token string) {
		if err := os.WriteFile(filepath.Join(home, ".vault-token"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := s.Key("ca")
	expectKind(t, k.Create(t.Context(), sigbox.ECDSAP256SHA256), sigbox.Denied, "permission denied")
	write("s.secret\n")
	if err := k.Create(t.Context(), sigbox.ECDSAP256SHA256); err != nil {
		t.Error(err)
	}
	e.mu.Lock()
	e.token = "s.other"
	e.mu.Unlock()
	_, err := k.Public(t.Context())
	expectKind(t, err, sigbox.Denied, "permission denied")
	write("s.other")
	if _, err := k.Public(t.Context()); err != nil {
		t.Error(err)
	}
	write("a token\nof two lines")
	e.mu.Lock()
	e.token = "s.third"
	e.mu.Unlock()
	_, err = k.Public(t.Context())
	expectKind(t, err, sigbox.Denied, "permission denied")
}

// TestTLS: a server is believed by VAULT_CACERT, and not without.
func TestTLS(t *testing.T) {
	e, _ := newTransit(t)
	server := httptest.NewUnstartedServer(e)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "s.secret", "VAULT_CACERT": file}
	if err := open(t, env).Key("ca").Create(t.Context(), sigbox.Ed25519); err != nil {
		t.Error(err)
	}
	delete(env, "VAULT_CACERT")
	_, err := open(t, env).Key("ca").Public(t.Context())
	expectKind(t, err, sigbox.Unavailable, "certificate")
}

func TestNewRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		kind sigbox.Kind
		want string
	}{
		"nothing":         {nil, sigbox.Invalid, "VAULT_ADDR is not set"},
		"no URL":          {map[string]string{"VAULT_ADDR": "vault"}, sigbox.Invalid, "expected a URL"},
		"a password":      {map[string]string{"VAULT_ADDR": "https://a:hunter2@b"}, sigbox.Invalid, "expected a URL"},
		"plain http":      {map[string]string{"VAULT_ADDR": "http://vault.example.com:8200"}, sigbox.Denied, "plain http"},
		"a mount outside": {map[string]string{"VAULT_ADDR": "https://a", "TRANSIT_SECRET_ENGINE_PATH": "../sys"}, sigbox.Invalid, "mounted"},
		"no certificates": {map[string]string{"VAULT_ADDR": "https://a", "VAULT_CACERT": file}, sigbox.Invalid, "PEM"},
		"no file":         {map[string]string{"VAULT_ADDR": "https://a", "VAULT_CACERT": file + "x"}, sigbox.Invalid, "VAULT_CACERT"},
	} {
		_, err := New(Config{Getenv: func(n string) string { return c.env[n] }})
		if err == nil || sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: expected %q, found %v", name, c.want, err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"data":{"signature":"vault:v1:AAAA"}}`))
	f.Add([]byte(`{"data":{"type":"ed25519","keys":{"1":{"public_key":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}}}}`))
	f.Add([]byte(`{"data":{"keys":{"1":1}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sig, err := parseSignature(b, 1); err == nil && len(sig) == 0 {
			t.Error("an empty signature")
		}
		found, err := parseKey(b)
		if err != nil {
			return
		}
		for i, v := range found {
			if v.public == nil || len(v.der) == 0 || i > 0 && v.number > found[i-1].number {
				t.Errorf("found %+v", found)
			}
		}
	})
}

func expectKind(t *testing.T, err error, kind sigbox.Kind, text string) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("expected an error of kind %q with %q, found %v", kind, text, err)
	}
}
