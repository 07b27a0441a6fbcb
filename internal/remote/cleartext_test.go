package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/sigbox/sigbox"
)

// secretCalls are all calls that carry a secret, or that bring one, to a server
// of the scheme and host given.
func secretCalls(t *testing.T, base string) map[string]func(*Client) error {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ambient := func(vars map[string]string) func(*Client) error {
		return func(c *Client) error {
			_, _, err := environment(t, vars).Token(t.Context(), c)
			return err
		}
	}
	login := Login{Issuer: base, ClientSecret: "secret", Open: func(string) error { return http.ErrNotSupported }}
	return map[string]func(*Client) error{
		"certificate": func(c *Client) error {
			_, err := c.CA(base).Issue(t.Context(), sigbox.CertificateRequest{Token: "tok", PublicKey: key.Public(), Proof: []byte("proof")})
			return err
		},
		"browser":            func(c *Client) error { _, err := c.Browser(t.Context(), login); return err },
		"device":             func(c *Client) error { _, err := c.Device(t.Context(), login); return err },
		"client credentials": func(c *Client) error { _, err := c.ClientCredentials(t.Context(), login); return err },
		"github":             ambient(map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": base, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "gh"}),
		"buildkite":          ambient(map[string]string{"BUILDKITE_AGENT_ACCESS_TOKEN": "bk", "BUILDKITE_JOB_ID": "j", "BUILDKITE_AGENT_ENDPOINT": base}),
	}
}

// TestSecretsStayPrivate: over plain http to another machine no secret goes,
// unless that is allowed; over https, and to this machine, it does.
func TestSecretsStayPrivate(t *testing.T) {
	for _, tt := range []struct {
		base    string
		private bool
	}{
		{"http://sigstore.example", false},
		{"http://192.0.2.7:8080", false},
		{"http://localhost.example", false},
		{"http://[2001:db8::1]", false},
		{"http://localhost:8080", true},
		{"http://127.0.0.1:8080", true},
		{"http://[::1]:8080", true},
		{"https://sigstore.example", true},
	} {
		for name, call := range secretCalls(t, tt.base) {
			t.Run(tt.base+" "+name, func(t *testing.T) {
				sent := 0
				c := New(Config{Transport: roundTrip(func(*http.Request) string { sent++; return "{}" })})
				err := call(c) // the answer will not do in any case
				if refused := sigbox.KindOf(err) == sigbox.Denied; refused == tt.private || (sent == 0) != refused {
					t.Errorf("%d requests were sent: %v", sent, err)
				}
				if !tt.private {
					wantError(t, err, sigbox.Denied, "not https", "--insecure-http")
				}
				if err := call(c.WithHTTP()); sigbox.KindOf(err) == sigbox.Denied || sent == 0 {
					t.Errorf("allowed, %d requests were sent: %v", sent, err)
				}
			})
		}
	}
}

// TestProviderDoesNotLeaveLoopback: a provider on this machine cannot send secrets
// to another in the clear.
func TestProviderDoesNotLeaveLoopback(t *testing.T) {
	c := New(Config{Transport: roundTrip(func(*http.Request) string {
		return `{"issuer":"http://localhost","token_endpoint":"http://id.example/t"}`
	})})
	_, err := c.discover(t.Context(), "http://localhost")
	wantError(t, err, sigbox.Denied, "http://id.example/t", "not https")
}
