package httpapi_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
)

// authority is a CA with its CT log behind HTTP.
type authority struct {
	*httptest.Server
	ctKey *ecdsa.PrivateKey
	idp   *ecdsa.PrivateKey
	chain [][]byte
}

func check[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{ctKey: fixture.Key(t), idp: fixture.Key(t)}
	key := fixture.Key(t)
	var err error
	if a.chain, err = ca.NewChain(ca.ChainConfig{Root: fixture.Key(t), Intermediate: key.Public()}); err != nil {
		t.Fatal(err)
	}
	cfg, err := ctlog.LogConfig("ct.example.com/ctlog", a.ctKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg.KV, cfg.Blob = memory.NewKV(), memory.NewBlob()
	log, err := tlog.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close(t.Context()) })
	ct, err := ctlog.New(ctlog.Config{Log: log, Key: a.ctKey, Chains: [][][]byte{a.chain}})
	if err != nil {
		t.Fatal(err)
	}
	service, err := ca.New(ca.Config{Key: key, Chain: a.chain, CTLog: ct, Issuers: []ca.Issuer{
		{URL: "https://issuer.example.com", Type: ca.Email, Keys: ca.StaticKeys(func() []jose.JSONWebKey {
			return []jose.JSONWebKey{{Key: a.idp.Public(), KeyID: "1"}}
		})},
		{URL: "https://*.ci.example.com/*", Type: ca.CIProvider, Provider: "github-workflow"},
		{URL: "https://login.example.com", Type: ca.Username, SubjectDomain: "example.com", Audience: "other"},
		{URL: "https://spire.example.com", Type: ca.SPIFFE, TrustDomain: "prod.example"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	quiet := slog.New(slog.DiscardHandler)
	(&httpapi.Fulcio{Service: service, Logger: quiet}).Register(mux)
	(&httpapi.CT{Service: ct, Logger: quiet}).Register(mux)
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

func (a *authority) token(t testing.TB) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.idp, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://issuer.example.com", "aud": "sigstore", "sub": "1", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"email": "alice@example.com", "email_verified": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	return check[string](t)(jws.CompactSerialize())
}

// answer is what a server said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *authority) do(t testing.TB, method, path, bearer, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := a.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

func (r answer) json(t testing.TB, into any) {
	t.Helper()
	if r.status != http.StatusOK {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// keyAndProof makes a key, its PEM, and a proof over the address.
func keyAndProof(t testing.TB) (key *ecdsa.PrivateKey, pemText string, proof []byte) {
	t.Helper()
	key = fixture.Key(t)
	der := check[[]byte](t)(x509.MarshalPKIXPublicKey(key.Public()))
	digest := sha256.Sum256([]byte("alice@example.com"))
	proof = check[[]byte](t)(key.Sign(rand.Reader, digest[:], crypto.SHA256))
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), proof
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// verifyPEM checks an answered chain and gives its leaf.
func (a *authority) verifyPEM(t testing.TB, certs []string) *x509.Certificate {
	t.Helper()
	if len(certs) != 3 {
		t.Fatalf("%d certificates", len(certs))
	}
	var parsed []*x509.Certificate
	for _, p := range certs {
		block, rest := pem.Decode([]byte(p))
		if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
			t.Fatalf("not one PEM certificate: %q", p)
		}
		parsed = append(parsed, check[*x509.Certificate](t)(x509.ParseCertificate(block.Bytes)))
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	intermediates.AddCert(parsed[1])
	roots.AddCert(parsed[2])
	if _, err := parsed[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}); err != nil {
		t.Fatal(err)
	}
	scts, err := cert.SCTList(parsed[0])
	if err != nil || len(scts) != 1 {
		t.Fatalf("%d SCTs, %v", len(scts), err)
	}
	if err := cert.VerifySCT(scts[0], parsed[0].Raw, parsed[1].RawSubjectPublicKeyInfo, a.ctKey.Public()); err != nil {
		t.Fatal(err)
	}
	return parsed[0]
}

func (r answer) chain(t testing.TB) []string {
	t.Helper()
	var out struct {
		Embedded struct {
			Chain struct{ Certificates []string }
		} `json:"signedCertificateEmbeddedSct"`
	}
	r.json(t, &out)
	return out.Embedded.Chain.Certificates
}

// TestSigningCertV2 asks in all the ways that clients do.
func TestSigningCertV2(t *testing.T) {
	a := newAuthority(t)
	token := a.token(t)
	key, text, proof := keyAndProof(t)
	std, raw := base64.StdEncoding.EncodeToString(proof), base64.RawURLEncoding.EncodeToString(proof)
	csr := check[[]byte](t)(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))
	csrPEM := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	for name, tc := range map[string]struct{ bearer, body string }{
		"token in the body":     {"", `{"credentials":{"oidcIdentityToken":` + quote(token) + `},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":` + quote(text) + `},"proofOfPossession":"` + std + `"}}`},
		"token in the header":   {token, `{"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":` + quote(text) + `},"proofOfPossession":"` + std + `"}}`},
		"token in both":         {token, `{"credentials":{"oidcIdentityToken":` + quote(token) + `},"publicKeyRequest":{"publicKey":{"content":` + quote(text) + `},"proofOfPossession":"` + std + `"}}`},
		"other spelling":        {"", `{"credentials":{"oidc_identity_token":` + quote(token) + `},"public_key_request":{"public_key":{"algorithm":2,"content":` + quote(text) + `},"proof_of_possession":"` + raw + `"}}`},
		"signing request":       {token, `{"certificateSigningRequest":"` + csrPEM + `"}`},
		"signing request again": {token, `{"certificate_signing_request":"` + csrPEM + `","publicKeyRequest":null}`},
		"no line end":           {token, `{"publicKeyRequest":{"publicKey":{"algorithm":"","content":` + quote(strings.TrimSpace(text)) + `},"proofOfPossession":"` + std + `"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := a.verifyPEM(t, a.do(t, "POST", "/api/v2/signingCert", tc.bearer, tc.body).chain(t))
			if !key.PublicKey.Equal(leaf.PublicKey) || len(leaf.EmailAddresses) != 1 || leaf.EmailAddresses[0] != "alice@example.com" {
				t.Errorf("certified %v", leaf.EmailAddresses)
			}
		})
	}
}

func TestSigningCertV1(t *testing.T) {
	a := newAuthority(t)
	_, text, proof := keyAndProof(t)
	body := fmt.Sprintf(`{"publicKey":{"algorithm":"ecdsa","content":%q},"signedEmailAddress":%q}`,
		base64.StdEncoding.EncodeToString([]byte(text)), base64.StdEncoding.EncodeToString(proof))
	r := a.do(t, "POST", "/api/v1/signingCert", a.token(t), body)
	if r.status != http.StatusCreated || r.header.Get("Content-Type") != "application/pem-certificate-chain" || r.header.Get("SCT") != "" {
		t.Fatalf("status %d, %v: %s", r.status, r.header, r.body)
	}
	a.verifyPEM(t, splitPEM(r.body))
	if r := a.do(t, "POST", "/api/v1/signingCert", "", body); r.status != http.StatusBadRequest {
		t.Errorf("without a token: status %d", r.status)
	}
}

func splitPEM(b []byte) []string {
	var out []string
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return out
		}
		out, b = append(out, string(pem.EncodeToMemory(block))), rest
	}
}

func TestTrustBundle(t *testing.T) {
	a := newAuthority(t)
	var out struct {
		Chains []struct{ Certificates []string }
	}
	a.do(t, "GET", "/api/v2/trustBundle", "", "").json(t, &out)
	if len(out.Chains) != 1 || len(out.Chains[0].Certificates) != 2 {
		t.Fatalf("%+v", out)
	}
	r := a.do(t, "GET", "/api/v1/rootCert", "", "")
	certs := splitPEM(r.body)
	if r.status != http.StatusOK || len(certs) != 2 || certs[0] != out.Chains[0].Certificates[0] {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	if block, _ := pem.Decode([]byte(certs[1])); !bytes.Equal(block.Bytes, a.chain[1]) {
		t.Error("the root is not the last")
	}
}

func TestConfiguration(t *testing.T) {
	a := newAuthority(t)
	var out struct{ Issuers []map[string]any }
	a.do(t, "GET", "/api/v2/configuration", "", "").json(t, &out)
	got := ""
	for _, i := range out.Issuers {
		got += fmt.Sprintln(i["issuerUrl"], i["wildcardIssuerUrl"], i["audience"], i["challengeClaim"], i["issuerType"], i["spiffeTrustDomain"], i["subjectDomain"])
	}
	want := `https://issuer.example.com <nil> sigstore email email  
<nil> https://*.ci.example.com/* sigstore sub ci-provider  
https://login.example.com <nil> other sub username  example.com
https://spire.example.com <nil> sigstore sub spiffe prod.example 
`
	if got != want {
		t.Errorf("expected\n%sfound\n%s", want, got)
	}
}

// TestRefusedCertificateRequests: hostile bodies get a status, a reason, and
// nothing else.
func TestRefusedCertificateRequests(t *testing.T) {
	a := newAuthority(t)
	token := a.token(t)
	_, text, proof := keyAndProof(t)
	std := base64.StdEncoding.EncodeToString(proof)
	key := `"publicKey":{"content":` + quote(text) + `}`
	good := `{"publicKeyRequest":{` + key + `,"proofOfPossession":"` + std + `"}}`
	for name, tc := range map[string]struct {
		bearer, body string
		status       int
		about        string
	}{
		"empty":              {token, "", 400, "empty"},
		"text":               {token, "x", 400, "not valid JSON"},
		"list":               {token, "[]", 400, "expected an object"},
		"cut":                {token, good[:len(good)-3], 400, "ends early"},
		"two":                {token, good + good, 400, "more after the end"},
		"unknown member":     {token, `{"x":1}`, 400, "/x: unknown member"},
		"member twice":       {token, `{"publicKeyRequest":{},"publicKeyRequest":{}}`, 400, "stands twice"},
		"two spellings":      {token, `{"publicKeyRequest":{},"public_key_request":{}}`, 400, "stands twice"},
		"two key spellings":  {token, `{"publicKeyRequest":{"publicKey":{},"public_key":{}}}`, 400, "stands twice"},
		"deep":               {token, strings.Repeat("[", 100000), 400, "expected an object"},
		"nothing":            {token, "{}", 400, "neither a public key"},
		"no key":             {token, `{"publicKeyRequest":{}}`, 400, "is missing"},
		"key of text":        {token, `{"publicKeyRequest":{"publicKey":{"content":"key"}}}`, 400, "SubjectPublicKeyInfo"},
		"certificate as key": {token, `{"publicKeyRequest":{"publicKey":{"content":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"}}}`, 400, "PUBLIC KEY"},
		"huge key":           {token, `{"publicKeyRequest":{"publicKey":{"content":"` + strings.Repeat("A", 100<<10) + `"}}}`, 413, "at most 65536"},
		"no proof":           {token, `{"publicKeyRequest":{` + key + `}}`, 400, "no proof"},
		"proof of text":      {token, `{"publicKeyRequest":{` + key + `,"proofOfPossession":"!"}}`, 400, "not base64"},
		"another proof":      {token, `{"publicKeyRequest":{` + key + `,"proofOfPossession":"AAAA"}}`, 400, "does not verify"},
		"CSR of text":        {token, `{"certificateSigningRequest":"AAAA"}`, 400, "CERTIFICATE REQUEST"},
		"no token":           {"", good, 400, "no identity token"},
		"broken token":       {"a.b.c", good, 400, "not a signed JWT"},
		"two tokens":         {token, `{"credentials":{"oidcIdentityToken":"x"}}`, 400, "two identity tokens"},
		"huge token":         {strings.Repeat("a", 40<<10), good, 413, "at most"},
		"huge token, body":   {"", `{"credentials":{"oidcIdentityToken":"` + strings.Repeat(".", 3<<20) + `"},` + good[1:], 413, "at most"},
		"huge body":          {token, strings.Repeat(" ", 5<<20), 413, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.do(t, "POST", "/api/v2/signingCert", tc.bearer, tc.body)
			var e struct {
				Code    int
				Message string
				Details []any
			}
			if err := json.Unmarshal(r.body, &e); err != nil || e.Details == nil || e.Code == 0 {
				t.Fatalf("no error body: %s", r.body)
			}
			if r.status != tc.status || !strings.Contains(e.Message, tc.about) {
				t.Errorf("expected %d and %q, found %d and %q", tc.status, tc.about, r.status, e.Message)
			}
			if strings.Contains(e.Message, "httpapi") || strings.Contains(e.Message, "Go ") || len(e.Message) > 1000 {
				t.Errorf("the message tells of the program: %q", e.Message)
			}
		})
	}
	if r := a.do(t, "GET", "/api/v2/signingCert", "", ""); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", r.status)
	}
	basic := http.Header{"Authorization": {"Basic YTpi"}}
	req := check[*http.Request](t)(http.NewRequestWithContext(t.Context(), "POST", a.URL+"/api/v2/signingCert", strings.NewReader(good)))
	req.Header = basic
	resp := check[*http.Response](t)(a.Client().Do(req))
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("Basic: status %d", resp.StatusCode)
	}
}

// BenchmarkSigningCert is the whole way of a request but for the network and the
// disk.
func BenchmarkSigningCert(b *testing.B) {
	a := newAuthority(b)
	_, text, proof := keyAndProof(b)
	body := `{"credentials":{"oidcIdentityToken":` + quote(a.token(b)) + `},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":` + quote(text) +
		`},"proofOfPossession":"` + base64.StdEncoding.EncodeToString(proof) + `"}}`
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			a.Config.Handler.ServeHTTP(w, httptest.NewRequest("POST", "/api/v2/signingCert", strings.NewReader(body)))
			if w.Code != http.StatusOK {
				b.Errorf("status %d: %s", w.Code, w.Body)
			}
		}
	})
}
