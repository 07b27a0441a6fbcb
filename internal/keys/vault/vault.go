// Package vault asks the transit engine of HashiCorp Vault, or of OpenBao, for
// signatures.
//
//	server, err := vault.New(vault.Config{})
//	source := server.Key("sigbox-ca")
//
// Where the server is and what opens it comes from the variables that Vault's own
// tools have: VAULT_ADDR, VAULT_TOKEN (or the file ~/.vault-token), VAULT_NAMESPACE,
// VAULT_CACERT, and Sigstore's TRANSIT_SECRET_ENGINE_PATH; those that begin with
// VAULT_ also with BAO_.
//
// Source: https://developer.hashicorp.com/vault/api-docs/secret/transit.
package vault

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/internal/keys"
)

const (
	// maxAnswer bounds an answer, in bytes: a key may have a thousand versions.
	maxAnswer = 1 << 20
	// maxSecret bounds a file with a token or certificates, in bytes.
	maxSecret = 1 << 20
	// connections to the server at most: each signature takes one while it is made.
	connections = 32
	// renewEvery is how often it is seen to that the token does not expire.
	renewEvery = time.Minute
)

// Config is what [New] needs; its zero value works.
type Config struct {
	// Getenv gives the variables; nil is os.Getenv.
	Getenv func(string) string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Server is a Vault with its transit engine. It is safe for concurrent use.
type Server struct {
	cfg    Config
	base   string // URL up to and with /v1/
	engine string
	client *http.Client

	mu      sync.Mutex
	token   string    // "" before it is needed, and for an agent that adds its own
	renewed time.Time // when it was last seen to that the token does not expire
}

// New takes what the variables say, and asks the server for nothing.
func New(c Config) (*Server, error) {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{cfg: c, engine: "transit"}
	var err error
	if s.base, err = address(s.variable("ADDR")); err != nil {
		return nil, err
	}
	if path := c.Getenv("TRANSIT_SECRET_ENGINE_PATH"); path != "" {
		if s.engine = strings.Trim(path, "/"); !filepath.IsLocal(s.engine) || strings.ContainsAny(s.engine, "?#%\\") {
			return nil, sigbox.Errorf(sigbox.Invalid, "TRANSIT_SECRET_ENGINE_PATH: expected where the transit engine is mounted, such as transit")
		}
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := s.variable("CACERT"); file != "" {
		if trust.RootCAs, err = readRoots(file); err != nil {
			return nil, err
		}
	}
	s.client = &http.Client{
		// The token goes to the server that was named, and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:       trust,
			TLSHandshakeTimeout:   5 * time.Second,
			ForceAttemptHTTP2:     true,
			MaxConnsPerHost:       connections,
			MaxIdleConnsPerHost:   connections,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second,
		},
	}
	return s, nil
}

// Close gives back connections.
func (s *Server) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// variable gives VAULT_name, or BAO_name.
func (s *Server) variable(name string) string {
	if v := s.cfg.Getenv("VAULT_" + name); v != "" {
		return v
	}
	return s.cfg.Getenv("BAO_" + name)
}

// address reads VAULT_ADDR. Without TLS it is this machine, as of an agent.
func address(addr string) (string, error) {
	if addr == "" {
		return "", sigbox.Errorf(sigbox.Invalid, "VAULT_ADDR is not set").WithHint("set it to the server's URL, such as https://vault.example.com:8200")
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", sigbox.Errorf(sigbox.Invalid, "VAULT_ADDR: expected a URL such as https://vault.example.com:8200")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", sigbox.Errorf(sigbox.Denied, "VAULT_ADDR: over plain http the token could be read on the way to another machine").
			WithHint("use https, or an agent on this machine")
	}
	return strings.TrimSuffix(u.Scheme+"://"+u.Host+u.EscapedPath(), "/") + "/v1/", nil
}

func readRoots(file string) (*x509.CertPool, error) {
	b, _, err := atomicfile.Read(file, maxSecret)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "VAULT_CACERT: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, sigbox.Errorf(sigbox.Invalid, "VAULT_CACERT: expected certificates in PEM in %s", file)
	}
	return roots, nil
}

// Key gives the key of a name.
func (s *Server) Key(name string) keys.Source { return &key{server: s, name: name} }

// key is a key of the transit engine.
type key struct {
	server *Server
	name   string

	mu       sync.Mutex
	versions map[string]int // by the public half, in the form of sameKey
}

var _ keys.Source = (*key)(nil)

// Public implements keys.Source.
func (k *key) Public(ctx context.Context) ([]crypto.PublicKey, error) {
	b, err := k.server.do(ctx, http.MethodGet, k.server.engine+"/keys/"+k.name, nil)
	if err != nil {
		return nil, err
	}
	found, err := parseKey(b)
	if err != nil {
		return nil, err
	}
	list := make([]crypto.PublicKey, len(found))
	versions := make(map[string]int, len(found))
	for i, v := range found {
		list[i] = v.public
		versions[string(v.der)] = v.number
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.versions = versions
	return list, nil
}

// version finds the number of a version by its public half.
func (k *key) version(ctx context.Context, pub crypto.PublicKey) (int, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return 0, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	for range 2 {
		k.mu.Lock()
		n := k.versions[string(der)]
		k.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if _, err := k.Public(ctx); err != nil {
			return 0, err
		}
	}
	return 0, sigbox.Errorf(sigbox.Invalid, "the transit key %s has no version with the public half that is known", k.name)
}

// Create implements keys.Source. The engine lets a key be that exists.
func (k *key) Create(ctx context.Context, details sigbox.KeyDetails) error {
	kind := map[sigbox.KeyDetails]string{
		sigbox.ECDSAP256SHA256: "ecdsa-p256", sigbox.Ed25519: "ed25519", sigbox.RSAPKCS1v15With2048: "rsa-2048",
	}[details]
	if kind == "" {
		return sigbox.Errorf(sigbox.Invalid, "no transit keys are made for %s", details)
	}
	_, err := k.server.do(ctx, http.MethodPost, k.server.engine+"/keys/"+k.name, struct {
		Type string `json:"type"`
	}{kind})
	return err
}

// signRequest is the body of POST transit/sign/KEY.
type signRequest struct {
	Input     []byte `json:"input"`
	Version   int    `json:"key_version"`
	Prehashed bool   `json:"prehashed,omitzero"`
	Hash      string `json:"hash_algorithm,omitempty"`
	// Marshaling is that of ECDSA, Algorithm that of RSA; others pass over them.
	Marshaling string `json:"marshaling_algorithm,omitempty"`
	Algorithm  string `json:"signature_algorithm,omitempty"`
}

// Sign implements keys.Source.
func (k *key) Sign(ctx context.Context, pub crypto.PublicKey, input []byte, hash crypto.Hash) ([]byte, error) {
	n, err := k.version(ctx, pub)
	if err != nil {
		return nil, err
	}
	req := signRequest{Input: input, Version: n}
	if hash != 0 {
		req.Prehashed, req.Marshaling, req.Algorithm = true, "asn1", "pkcs1v15"
		if req.Hash = map[crypto.Hash]string{crypto.SHA256: "sha2-256", crypto.SHA384: "sha2-384", crypto.SHA512: "sha2-512"}[hash]; req.Hash == "" {
			return nil, sigbox.Errorf(sigbox.Invalid, "the transit engine signs no digests of %s", hash)
		}
	}
	b, err := k.server.do(ctx, http.MethodPost, k.server.engine+"/sign/"+k.name, req)
	if err != nil {
		return nil, err
	}
	k.server.keepToken(ctx)
	return parseSignature(b, n)
}

// parseSignature reads the answer to a signRequest: "vault:vN:" and base64.
func parseSignature(b []byte, version int) ([]byte, error) {
	var answer struct {
		Data struct {
			Signature string `json:"signature"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, jsonerr.Of("Vault's answer", err)
	}
	text, ok := strings.CutPrefix(answer.Data.Signature, "vault:v"+strconv.Itoa(version)+":")
	sig, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(sig) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "Vault's answer: expected a signature vault:v%d: in base64", version)
	}
	return sig, nil
}

// version is one of a key.
type version struct {
	number int
	public crypto.PublicKey
	der    []byte
}

// maxVersions bounds the versions of a key that are looked at, the newest.
const maxVersions = 1000

// parseKey reads what the engine says of a key: its versions, the newest first.
func parseKey(b []byte) ([]version, error) {
	var answer struct {
		Data struct {
			Type string `json:"type"`
			Keys map[string]struct {
				Public string `json:"public_key"`
			} `json:"keys"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		if _, ok := errors.AsType[*json.SemanticError](err); ok {
			// Symmetric keys have numbers where these have objects.
			return nil, sigbox.Errorf(sigbox.Invalid, "Vault's answer: expected an asymmetric key").WithHint("a key of type ecdsa-p256, ed25519 or rsa-2048 can sign")
		}
		return nil, jsonerr.Of("Vault's answer", err)
	}
	var found []version
	for text, v := range answer.Data.Keys {
		n, err := strconv.Atoi(text)
		if err != nil || n <= 0 {
			return nil, sigbox.Errorf(sigbox.Invalid, "Vault's answer: a version of a key has a number of 1 and more")
		}
		found = append(found, version{number: n, der: []byte(v.Public)})
	}
	slices.SortFunc(found, func(a, b version) int { return b.number - a.number })
	found = found[:min(len(found), maxVersions)]
	for i := range found {
		if err := found[i].parse(answer.Data.Type); err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "Vault's answer: a key without versions")
	}
	return found, nil
}

// parse reads the public half: PEM, of Ed25519 the 32 bytes in base64.
func (v *version) parse(kind string) (err error) {
	text := string(v.der)
	if kind == "ed25519" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return sigbox.Errorf(sigbox.Invalid, "Vault's answer: expected an Ed25519 key of 32 bytes in base64")
		}
		v.public = ed25519.PublicKey(raw)
	} else {
		block, _ := pem.Decode([]byte(text))
		if block == nil || block.Type != "PUBLIC KEY" {
			return sigbox.Errorf(sigbox.Invalid, "Vault's answer: expected a public key in PEM").WithHint("a key of type ecdsa-p256, ed25519 or rsa-2048 can sign")
		}
		if v.public, err = sigbox.ParsePublicKey(block.Bytes); err != nil {
			return err
		}
	}
	if v.der, err = x509.MarshalPKIXPublicKey(v.public); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "Vault's answer: a public key that cannot be used")
	}
	return nil
}

// do asks the server. A token that it does not take is read again, once.
func (s *Server) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	token, err := s.readToken("")
	if err != nil {
		return nil, err
	}
	b, err := s.once(ctx, method, path, body, token)
	if err != nil && sigbox.KindOf(err) == sigbox.Denied {
		if other, readErr := s.readToken(token); readErr == nil && other != token {
			return s.once(ctx, method, path, body, other)
		}
	}
	return b, err
}

// once makes one request.
func (s *Server) once(ctx context.Context, method, path string, body any, token string) ([]byte, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, content)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	req.Header.Set("X-Vault-Request", "true") // an agent may ask for it
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	if ns := s.variable("NAMESPACE"); ns != "" {
		req.Header.Set("X-Vault-Namespace", ns)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unavailable, "Vault cannot be reached: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, sigbox.Errorf(sigbox.Unavailable, "Vault's answer breaks off: %w", err)
	case len(b) > maxAnswer:
		return nil, sigbox.Errorf(sigbox.TooLarge, "Vault's answer: at most %d bytes are read", maxAnswer)
	case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNoContent:
		return b, nil
	}
	return nil, refused(resp.StatusCode, b, token)
}

// refused is the error of an answer that is none.
func refused(status int, b []byte, token string) error {
	if status >= 300 && status < 400 {
		return sigbox.Errorf(sigbox.Unavailable, "Vault leads elsewhere (status %d), and its token stays here", status).
			WithHint("set VAULT_ADDR to the active server, or to a name that leads there")
	}
	var answer struct {
		Errors []string `json:"errors"`
	}
	said := "" // most answers of something between here and Vault are pages, which say nothing
	if json.Unmarshal(b, &answer) == nil && len(answer.Errors) > 0 {
		said = ": " + keys.Said(strings.Join(answer.Errors, "; "), []string{token})
	}
	e := sigbox.Errorf(sigbox.KindOfStatus(status), "Vault refuses with status %d%s", status, said)
	switch status {
	case http.StatusForbidden:
		return e.WithHint("the token needs read on keys/KEY and update on sign/KEY of the transit engine, and update on keys/KEY to make a key")
	case http.StatusServiceUnavailable:
		return e.WithHint("is it sealed?")
	}
	return e
}

// readToken gives the token: VAULT_TOKEN, or what the file has; none is for an agent
// that adds its own. One that was refused is looked for anew.
func (s *Server) readToken(refused string) (string, error) {
	if v := s.variable("TOKEN"); v != "" {
		return v, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != refused {
		return s.token, nil
	}
	home := s.cfg.Getenv("HOME")
	if home == "" {
		return "", nil
	}
	b, _, err := atomicfile.Read(filepath.Join(home, ".vault-token"), maxSecret)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", sigbox.Errorf(sigbox.Denied, "Vault's token cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", sigbox.Errorf(sigbox.Invalid, "%s holds no token", filepath.Join(home, ".vault-token"))
	}
	s.token = token
	return token, nil
}

// keepToken has the server renew a token that expires, when half of its time is over.
// That it cannot be done is no error: the token may be renewed by others, or be good
// for longer than this process.
func (s *Server) keepToken(ctx context.Context) {
	token, err := s.readToken("")
	if err != nil || token == "" || !s.mayRenew() {
		return
	}
	b, err := s.once(ctx, http.MethodGet, "auth/token/lookup-self", nil, token)
	if err != nil {
		return
	}
	var answer struct {
		Data struct {
			Renewable bool  `json:"renewable"`
			TTL       int64 `json:"ttl"`
			Whole     int64 `json:"creation_ttl"`
		} `json:"data"`
	}
	if json.Unmarshal(b, &answer) != nil || !answer.Data.Renewable || answer.Data.TTL > answer.Data.Whole/2 {
		return
	}
	_, _ = s.once(ctx, http.MethodPost, "auth/token/renew-self", struct{}{}, token)
}

// mayRenew says whether it is time to look after the token, to one caller.
func (s *Server) mayRenew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if since := now.Sub(s.renewed); !s.renewed.IsZero() && since >= 0 && since < renewEvery {
		return false
	}
	s.renewed = now
	return true
}
