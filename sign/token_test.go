package sign

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/entry"
)

// bodyV1 is the hashedrekord 0.0.1 of e with a digest in hex.
func bodyV1(e sigbox.Entry, sum string) []byte {
	pem := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(e.Certificate) + "\n-----END CERTIFICATE-----\n"
	return []byte(`{"apiVersion":"0.0.1","kind":"` + entry.KindHashedRekord + `","spec":{"data":{"hash":{"algorithm":"sha256","value":"` + sum +
		`"}},"signature":{"content":"` + base64.StdEncoding.EncodeToString(e.Signature) +
		`","publicKey":{"content":"` + base64.StdEncoding.EncodeToString([]byte(pem)) + `"}}}}`)
}

func TestParseToken(t *testing.T) {
	raw := jwt(t, map[string]any{
		"iss": testIssuer, "sub": "s", "email": "ada@example.com", "aud": []string{"a", "sigstore"}, "nonce": "n", "exp": 1767323045.5,
		"federated_claims": map[string]any{"connector_id": "https://up.example", "user_id": "1"}, "unknown": []int{1},
	})
	got, err := ParseToken(" " + raw + "\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Token{
		Raw: raw, Issuer: testIssuer, Subject: "s", Email: "ada@example.com", FederatedIssuer: "https://up.example",
		Audience: []string{"a", "sigstore"}, Nonce: "n", Expires: time.Unix(1767323045, 0).UTC(),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !got.HasAudience("sigstore") || got.HasAudience("sig") {
		t.Error("audience")
	}
}

func TestParseTokenRefuses(t *testing.T) {
	payload := func(s string) string { return "e30." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".c2ln" }
	for name, raw := range map[string]string{
		"empty": "", "points": "..", "two parts": "a.b", "four parts": "a.b.c.d", "no signature": "e30.e30.", "not base64": "e30.!!.c2ln",
		"not JSON": payload("hello"), "no issuer": payload(`{"sub":"s"}`), "no subject": payload(`{"iss":"i"}`),
		"duplicate": payload(`{"iss":"i","iss":"j","sub":"s"}`), "odd audience": payload(`{"iss":"i","sub":"s","aud":{}}`),
		"odd audiences": payload(`{"iss":"i","sub":"s","aud":[1]}`), "odd expiry": payload(`{"iss":"i","sub":"s","exp":"soon"}`),
		"negative expiry": payload(`{"iss":"i","sub":"s","exp":-1}`), "endless expiry": payload(`{"iss":"i","sub":"s","exp":1e300}`),
		"points without end": strings.Repeat(".", maxToken), "huge": strings.Repeat("a", maxToken+1), // fulcio GHSA-f83f-xpx7-ffpw
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseToken(raw)
			fixture.WantError(t, err, sigbox.Unauthenticated)
			if len(raw) > 10 && strings.Contains(err.Error(), raw) {
				t.Error("the error shows the token")
			}
		})
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("e30.eyJpc3MiOiJpIiwic3ViIjoicyJ9.c2ln")
	f.Add("e30.eyJpc3MiOiJpIiwic3ViIjoicyIsImF1ZCI6WyJhIl0sImV4cCI6MX0.c2ln")
	f.Add("..")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := ParseToken(raw)
		if err != nil {
			if sigbox.KindOf(err) != sigbox.Unauthenticated {
				t.Errorf("kind %v", sigbox.KindOf(err))
			}
			return
		}
		if token.Issuer == "" || token.Subject == "" || token.Raw != strings.TrimSpace(raw) {
			t.Errorf("%+v", token)
		}
	})
}
