package httpapi_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sigbox/sigbox/wire/fulcio"
)

// call makes a call of gRPC by its frames and trailers, over HTTP/2 without TLS.
func (a *authority) call(t *testing.T, method, metadata string, message []byte) (answer []byte, status, reason string) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(a.Config.Handler)
	server.Config.Protocols = protocols
	server.Start()
	defer server.Close()
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()

	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req := check[*http.Request](t)(http.NewRequestWithContext(t.Context(), "POST", server.URL+"/dev.sigstore.fulcio.v2.CA/"+method, bytes.NewReader(frame)))
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	if metadata != "" {
		req.Header.Set("Oidcidentitytoken", metadata)
	}
	resp := check[*http.Response](t)(transport.RoundTrip(req))
	defer resp.Body.Close()
	body := check[[]byte](t)(io.ReadAll(resp.Body))
	said := resp.Trailer
	if said.Get("Grpc-Status") == "" {
		said = resp.Header
	}
	if len(body) >= 5 {
		answer = body[5:]
	}
	return answer, said.Get("Grpc-Status"), said.Get("Grpc-Message")
}

// field is a field of a message that holds bytes.
func field(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(parts, nil))
}

// inside gives the values of the fields of a number, all of which hold bytes.
func inside(t *testing.T, message []byte, number protowire.Number) (values [][]byte) {
	t.Helper()
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			t.Fatalf("no message: %q", message)
		}
		if value, _ := protowire.ConsumeBytes(message[size:]); n == number && kind == protowire.BytesType {
			values = append(values, value)
		}
		rest := protowire.ConsumeFieldValue(n, kind, message[size:])
		if rest < 0 {
			t.Fatalf("no message: %q", message)
		}
		message = message[size+rest:]
	}
	return values
}

func only(t *testing.T, values [][]byte) []byte {
	t.Helper()
	if len(values) != 1 {
		t.Fatalf("expected one value, found %d", len(values))
	}
	return values[0]
}

func texts(values [][]byte) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// TestRPCSigningCertificate has the authority certify over gRPC, with the token in the
// message, in the metadata and in both.
func TestRPCSigningCertificate(t *testing.T) {
	a := newAuthority(t)
	token := a.token(t)
	key, text, proof := keyAndProof(t)
	asked := field(2, field(1, []byte{8, 2}, field(2, []byte(text))), field(2, proof))
	inMessage := field(1, field(1, []byte(token)))
	csr := check[[]byte](t)(x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key))
	for name, tc := range map[string]struct {
		metadata string
		message  []byte
	}{
		"token in the message":  {"", slices.Concat(inMessage, asked)},
		"token in the metadata": {token, asked},
		"token in both":         {token, slices.Concat(asked, inMessage)},
		"signing request":       {"", slices.Concat(inMessage, field(3, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})))},
	} {
		t.Run(name, func(t *testing.T) {
			answer, status, reason := a.call(t, "CreateSigningCertificate", tc.metadata, tc.message)
			if status != "0" {
				t.Fatalf("status %s: %s", status, reason)
			}
			chain := only(t, inside(t, only(t, inside(t, answer, 2)), 1))
			leaf := a.verifyPEM(t, texts(inside(t, chain, 1)))
			if !key.PublicKey.Equal(leaf.PublicKey) || !slices.Equal(leaf.EmailAddresses, []string{"alice@example.com"}) {
				t.Errorf("certified %v", leaf.EmailAddresses)
			}
		})
	}
}

// TestRPCRefusedCertificates: what HTTP refuses, gRPC does, with a code of gRPC.
func TestRPCRefusedCertificates(t *testing.T) {
	a := newAuthority(t)
	token := a.token(t)
	_, text, proof := keyAndProof(t)
	asked := field(2, field(1, field(2, []byte(text))), field(2, proof))
	for name, tc := range map[string]struct {
		metadata, status, reason string
		message                  []byte
	}{
		"no token":      {"", "3", "no identity token", asked},
		"broken token":  {"a.b.c", "3", "not a signed JWT", asked},
		"two tokens":    {token, "3", "two identity tokens", slices.Concat(field(1, field(1, []byte("x"))), asked)},
		"huge token":    {strings.Repeat("a", 40<<10), "8", "at most", asked},
		"no key":        {token, "3", "neither a public key", nil},
		"unknown field": {token, "3", "unknown field", field(7)},
		"no message":    {token, "3", "ends beyond", []byte{10, 200}},
		"another proof": {token, "3", "does not verify", field(2, field(1, field(2, []byte(text))), field(2, []byte("proof")))},
		"huge":          {token, "8", "larger than", make([]byte, fulcio.MaxRequestSize+1)},
	} {
		t.Run(name, func(t *testing.T) {
			answer, status, reason := a.call(t, "CreateSigningCertificate", tc.metadata, tc.message)
			if status != tc.status || !strings.Contains(reason, tc.reason) || len(answer) != 0 {
				t.Errorf("expected status %s and %q, found %s and %q", tc.status, tc.reason, status, reason)
			}
		})
	}
}

// TestRPCTrust: chains and issuers are those of HTTP.
func TestRPCTrust(t *testing.T) {
	a := newAuthority(t)
	answer, status, reason := a.call(t, "GetTrustBundle", "", nil)
	if status != "0" {
		t.Fatalf("status %s: %s", status, reason)
	}
	if found, want := texts(inside(t, only(t, inside(t, answer, 1)), 1)), fulcio.NewChain(a.chain).Certificates; !slices.Equal(found, want) {
		t.Errorf("found %q, expected %q", found, want)
	}
	if answer, status, reason = a.call(t, "GetConfiguration", "", nil); status != "0" {
		t.Fatalf("status %s: %s", status, reason)
	}
	var found [][]string
	for _, i := range inside(t, answer, 1) {
		var fields []string
		for n := protowire.Number(1); n <= 7; n++ {
			fields = append(fields, strings.Join(texts(inside(t, i, n)), " "))
		}
		found = append(found, fields)
	}
	want := [][]string{
		{"https://issuer.example.com", "", "sigstore", "email", "", "email", ""},
		{"", "https://*.ci.example.com/*", "sigstore", "sub", "", "ci-provider", ""},
		{"https://login.example.com", "", "other", "sub", "", "username", "example.com"},
		{"https://spire.example.com", "", "sigstore", "sub", "prod.example", "spiffe", ""},
	}
	if !slices.EqualFunc(found, want, slices.Equal[[]string]) {
		t.Errorf("found %q", found)
	}
	for _, method := range []string{"GetTrustBundle", "GetConfiguration"} {
		if _, status, _ := a.call(t, method, "", field(1)); status != "3" {
			t.Errorf("%s with a field: status %s", method, status)
		}
	}
}
