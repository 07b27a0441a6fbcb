package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// answer is a handler that always says the same.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func pemOf(s string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(s)}))
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestIssue(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		req  sigbox.CertificateRequest
		want []string
	}{
		{"csr", sigbox.CertificateRequest{Token: "tok", CSR: []byte("csr")}, []string{`"oidcIdentityToken":"tok"`, `"certificateSigningRequest":"`}},
		{"key", sigbox.CertificateRequest{Token: "tok", PublicKey: key.Public(), Proof: []byte("proof")}, []string{`"proofOfPossession":"cHJvb2Y="`, "BEGIN PUBLIC KEY"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				for _, want := range tt.want {
					if !strings.Contains(string(b), want) {
						t.Errorf("the request %s has no %s", b, want)
					}
				}
				if r.URL.Path != "/prefix/api/v2/signingCert" || r.Method != http.MethodPost {
					t.Errorf("%s %s", r.Method, r.URL.Path)
				}
				answer(200, `{"signedCertificateEmbeddedSct":{"chain":{"certificates":[`+quoted(pemOf("leaf"))+`,`+quoted(pemOf("root"))+`]}}}`)(w, r)
			})
			chain, err := client(t).CA(url+"/prefix/").Issue(t.Context(), tt.req)
			if err != nil || len(chain) != 2 || string(chain[0]) != "leaf" || string(chain[1]) != "root" {
				t.Errorf("%q, %v", chain, err)
			}
		})
	}
}

func TestIssueBadAnswers(t *testing.T) {
	chain := func(certs ...string) string {
		return `{"signedCertificateEmbeddedSct":{"chain":{"certificates":[` + strings.Join(certs, ",") + `]}}}`
	}
	leaf := quoted(pemOf("leaf"))
	for name, body := range map[string]string{
		"empty":         "",
		"html":          "<html>login</html>",
		"truncated":     chain(leaf)[:30],
		"no chain":      `{}`,
		"empty chain":   chain(),
		"not PEM":       chain(`"certificate"`),
		"other PEM":     chain(quoted("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
		"two in one":    chain(quoted(pemOf("a") + pemOf("b"))),
		"endless chain": chain(strings.Split(strings.Repeat(leaf+" ", 100), " ")[:100]...),
		"detached SCT":  `{"signedCertificateDetachedSct":{"chain":{"certificates":[` + leaf + `]},"signedCertificateTimestamp":"AAAA"}}`,
		"duplicate":     `{"signedCertificateEmbeddedSct":{},"signedCertificateEmbeddedSct":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t).CA(serve(t, answer(200, body))).Issue(t.Context(), sigbox.CertificateRequest{CSR: []byte("csr")})
			wantError(t, err, sigbox.Invalid, "the certificate authority at http")
		})
	}
	t.Run("huge", func(t *testing.T) {
		_, err := client(t).CA(serve(t, answer(200, strings.Repeat(" ", maxChainBytes+1)))).Issue(t.Context(), sigbox.CertificateRequest{CSR: []byte("csr")})
		wantError(t, err, sigbox.TooLarge)
	})
	t.Run("refused", func(t *testing.T) {
		_, err := client(t).CA(serve(t, answer(400, `{"message":"the token has expired"}`))).Issue(t.Context(), sigbox.CertificateRequest{CSR: []byte("csr")})
		wantError(t, err, sigbox.Invalid, "the token has expired", "audience")
	})
}

var logged = sigbox.Entry{
	Digest: sigbox.SHA256.Sum([]byte("artifact")), Signature: []byte("signature"), Certificate: []byte("certificate"),
	Details: sigbox.ECDSAP256SHA256,
}

func TestAddBadAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "html": "<html>", "other": `{"uuid":{}}`, "truncated": `{"logIndex":"0","logId":{"keyId":"`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t).Log(serve(t, answer(201, body))).Add(t.Context(), logged)
			wantError(t, err, sigbox.Invalid, "did not answer with a log entry")
		})
	}
	t.Run("huge", func(t *testing.T) {
		_, err := client(t).Log(serve(t, answer(201, strings.Repeat(" ", maxLogEntry+1)))).Add(t.Context(), logged)
		wantError(t, err, sigbox.TooLarge)
	})
	t.Run("frozen", func(t *testing.T) {
		_, err := client(t).Log(serve(t, answer(405, `{"message":"This log has been frozen"}`))).Add(t.Context(), logged)
		wantError(t, err, sigbox.Frozen, "no further entries")
	})
	t.Run("logged before", func(t *testing.T) {
		_, err := client(t).Log(serve(t, answer(409, `{"message":"an equivalent entry already exists"}`))).Add(t.Context(), logged)
		wantError(t, err, sigbox.Conflict, "sign again")
	})
}

// TestAddSendsTheSameBytes: what a retry sends must be the same entry.
func TestAddSendsTheSameBytes(t *testing.T) {
	bodies := make(chan string, 8)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
		w.WriteHeader(503)
	})
	_, err := client(t).Log(url).Add(t.Context(), logged)
	wantError(t, err, sigbox.Unavailable)
	want := string(entry.AppendRequest(nil, logged))
	for range defaultRetries + 1 {
		if got := <-bodies; got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
}

const entryV1JSON = `{"24296fb24b8ad77a":{"body":"e30=","integratedTime":1700000000,"logID":"c0d2","logIndex":7,"verification":{` +
	`"inclusionProof":{"checkpoint":"text","hashes":["0a0b"],"logIndex":5,"rootHash":"ff","treeSize":9},"signedEntryTimestamp":"AQI="}}}`

func TestAddV1(t *testing.T) {
	id := strings.Repeat("a", 80)
	for name, conflict := range map[string]bool{"new": false, "logged before": true} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodGet && r.URL.Path == "/api/v1/log/entries/"+id:
					answer(200, entryV1JSON)(w, r)
				case conflict:
					w.Header().Set("Location", "https://elsewhere.example/api/v1/log/entries/"+id)
					answer(409, `{"code":409,"message":"exists"}`)(w, r)
				default:
					answer(201, entryV1JSON)(w, r)
				}
			})
			le, err := client(t).LogV1(url).Add(t.Context(), logged)
			if err != nil {
				t.Fatal(err)
			}
			if le.LogIndex != 7 || le.Inclusion.LogIndex != 5 || le.Inclusion.TreeSize != 9 || string(le.Body) != "{}" ||
				le.IntegratedTime != 1700000000 || le.Kind != "hashedrekord" || le.Version != "0.0.1" || len(le.SignedEntryTimestamp) != 2 {
				t.Errorf("%+v", le)
			}
		})
	}
}

// TestAddEnvelope: an envelope goes to the log byte for byte, as dsse 0.0.1.
func TestAddEnvelope(t *testing.T) {
	const envelope = `{"payload":"e30=","payloadType":"a/b","signatures":[{"sig":"c2ln"}]}`
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var sent struct {
			Kind    string `json:"kind"`
			Version string `json:"apiVersion"`
			Spec    struct {
				Content struct {
					Envelope  string   `json:"envelope"`
					Verifiers [][]byte `json:"verifiers"`
				} `json:"proposedContent"`
			} `json:"spec"`
		}
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &sent); err != nil {
			t.Error(err)
		}
		c := sent.Spec.Content
		if sent.Kind != entry.KindDSSE || sent.Version != entry.Version001 || c.Envelope != envelope || len(c.Verifiers) != 1 || string(c.Verifiers[0]) != string(verifierV1(logged)) {
			t.Errorf("the log got %s", b)
		}
		answer(201, entryV1JSON)(w, r)
	})
	le, err := client(t).LogV1(url).AddEnvelope(t.Context(), logged, []byte(envelope))
	if err != nil || le.Kind != entry.KindDSSE || le.Version != entry.Version001 || le.LogIndex != 7 {
		t.Errorf("found %+v, %v", le, err)
	}
	_, err = client(t).LogV1(serve(t, answer(404, "no such page"))).AddEnvelope(t.Context(), logged, []byte(envelope))
	wantError(t, err, sigbox.Invalid, "Rekor v1?")
}

func TestAddV1BadAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "none": "{}", "two": `{"a":{},"b":{}}`, "odd hex": strings.Replace(entryV1JSON, "c0d2", "xyz", 1),
		"odd root": strings.Replace(entryV1JSON, `"ff"`, `"f"`, 1), "odd hash": strings.Replace(entryV1JSON, "0a0b", "0a0", 1),
		"odd base64": strings.Replace(entryV1JSON, "e30=", "!", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(t).LogV1(serve(t, answer(201, body))).Add(t.Context(), logged)
			wantError(t, err, sigbox.Invalid, "did not answer with")
		})
	}
	for name, location := range map[string]string{"no place": "", "path": "/api/v1/log/entries/../../admin", "short": "/api/v1/log/entries/abcd"} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					t.Errorf("asked for %s", r.URL)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(409)
			})
			_, err := client(t).LogV1(url).Add(t.Context(), logged)
			wantError(t, err, sigbox.Conflict)
		})
	}
}

func TestStamp(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Content-Type"); got != "application/timestamp-query" {
			t.Errorf("content type %q", got)
		}
		_, _ = io.Copy(w, r.Body)
	})
	resp, err := client(t).Stamper(url+"/api/v1/timestamp").Stamp(t.Context(), []byte("request"))
	if err != nil || string(resp) != "request" {
		t.Errorf("%q, %v", resp, err)
	}
	_, err = client(t).Stamper(serve(t, answer(200, strings.Repeat("x", maxTimestamp+1)))).Stamp(t.Context(), nil)
	wantError(t, err, sigbox.TooLarge)
}
