package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/oidc"
)

// testKey is made once: an RSA key takes a while.
var testKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func key(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// open verifies a token with the published keys and gives header and claims.
func open(t *testing.T, keys []jose.JSONWebKey, token string) (jose.Header, map[string]any) {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return jws.Signatures[0].Header, claims
}

func TestMintToken(t *testing.T) {
	now := time.Unix(1_700_000_000, 999)
	minter, err := oidc.NewMinter(oidc.MinterConfig{
		Issuer: "https://sigbox.example/oidc", Key: key(t), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := minter.MintToken(t.Context(), alice, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	header, claims := open(t, minter.Keys(), token)
	if header.Algorithm != "RS256" || header.KeyID != minter.Keys()[0].KeyID || header.KeyID == "" {
		t.Errorf("header %+v", header)
	}
	for name, want := range map[string]any{
		"iss": "https://sigbox.example/oidc", "sub": alice, "email": alice, "email_verified": true, "aud": "sigstore",
		"iat": 1.7e9, "nbf": 1.7e9 - 5, "exp": 1.7e9 + 600,
	} {
		if claims[name] != want {
			t.Errorf("claim %s is %v, want %v", name, claims[name], want)
		}
	}

	token, err = minter.MintToken(t.Context(), alice, "other", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, claims := open(t, minter.Keys(), token); claims["aud"] != "other" || claims["exp"] != 1.7e9+3600 {
		t.Errorf("claims %v", claims)
	}

	for _, c := range []struct {
		email, audience string
		lifetime        time.Duration
	}{
		{"", "", 0}, {"alice", "", 0}, {alice, "", -1}, {alice, "", 48 * time.Hour}, {alice, strings.Repeat("a", 1000), 0},
	} {
		_, err := minter.MintToken(t.Context(), c.email, c.audience, c.lifetime)
		wantKind(t, err, sigbox.Invalid)
	}
}

func TestNewMinterRefusesKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: key(t).Primes[0], E: 65537}} // 1024 bits
	for _, c := range []oidc.MinterConfig{{}, {Key: ec}, {Key: small}} {
		_, err := oidc.NewMinter(c)
		wantKind(t, err, sigbox.Invalid)
	}
}
