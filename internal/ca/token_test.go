package ca_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
)

func alice() object { return object{"email": "alice@example.com", "email_verified": true} }

// with gives alice's claims, some of them changed.
func with(name string, value any) object {
	c := alice()
	c[name] = value
	return c
}

// issueWith asks for a certificate with a token of some claims.
func (i *instance) issueWith(t testing.TB, token string) error {
	t.Helper()
	_, err := i.Issue(t.Context(), request(t, token, "alice@example.com"))
	return err
}

func TestRefusedTokens(t *testing.T) {
	i := newInstance(t)
	at := func(d time.Duration) int64 { return start().Add(d).Unix() }
	for name, tc := range map[string]struct {
		claims object
		about  string
	}{
		"expired":                 {with("exp", at(-time.Minute)), "has expired"},
		"no expiry":               {with("exp", nil), `no claim "exp"`},
		"expiry as text":          {with("exp", "2030-01-01"), `"exp" has the wrong type`},
		"expiry beyond all time":  {with("exp", 1e300), `"exp" is no time`},
		"expiry before all time":  {with("exp", -1), `"exp" is no time`},
		"not yet valid":           {with("nbf", at(time.Minute)), "not valid before"},
		"issued in the future":    {with("iat", at(time.Hour)), "not valid before"},
		"another audience":        {with("aud", "other"), "another audience"},
		"audience as a prefix":    {with("aud", "sigstore.example.com"), "another audience"},
		"other audiences":         {with("aud", []string{"a", "b"}), "another audience"},
		"no audience":             {with("aud", nil), `no claim "aud"`},
		"audience of a number":    {with("aud", 1), `"aud" has the wrong type`},
		"endless audiences":       {with("aud", make([]string, 100)), "100 audiences"},
		"unknown issuer":          {with("iss", "https://evil.example.com"), "not accepted here"},
		"issuer with a slash":     {with("iss", "https://issuer.example.com/"), "not accepted here"},
		"issuer in capitals":      {with("iss", "https://ISSUER.example.com"), "not accepted here"},
		"no issuer":               {with("iss", nil), `no claim "iss"`},
		"issuer of a list":        {with("iss", []string{"https://issuer.example.com"}), `"iss" has the wrong type`},
		"no subject":              {with("sub", nil), `no claim "sub"`},
		"empty subject":           {with("sub", ""), `"sub" is empty`},
		"no email":                {with("email", nil), `no claim "email"`},
		"email of null":           {object{"email": jsonNull{}, "email_verified": true}, `no claim "email"`},
		"email without a domain":  {with("email", "alice"), "no address"},
		"two emails in one":       {with("email", "alice@example.com,bob@example.com"), "no address"},
		"email with a NUL":        {with("email", "alice@example.com\x00.evil.com"), "no address"},
		"email with spaces":       {with("email", "alice @example.com"), "no address"},
		"email with letters":      {with("email", "älice@example.com"), "no address"},
		"email not verified":      {with("email_verified", false), "not verified"},
		"not verified, as text":   {with("email_verified", "false"), "not verified"},
		"verified is a number":    {with("email_verified", 1), "not verified"},
		"nothing on verification": {with("email_verified", nil), `no claim "email_verified"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := i.issueWith(t, i.idp.token(t, tc.claims))
			kind := sigbox.Unauthenticated
			if name == "endless audiences" {
				kind = sigbox.TooLarge
			}
			refused(t, err, kind, tc.about)
		})
	}
}

// jsonNull is written as null.
type jsonNull struct{}

func (jsonNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// TestSkew: clocks may differ by half a minute.
func TestSkew(t *testing.T) {
	i := newInstance(t)
	for name, claims := range map[string]object{
		"just expired":         with("exp", start().Add(-20*time.Second).Unix()),
		"just not valid":       with("nbf", start().Add(20*time.Second).Unix()),
		"issued in the future": with("iat", start().Add(20*time.Second).Unix()),
		"with a fraction":      with("iat", float64(start().Unix())+0.5),
		"only what must be":    {"email": "alice@example.com", "email_verified": true, "iat": nil, "nbf": nil},
	} {
		if err := i.issueWith(t, i.idp.token(t, claims)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestUnsignedTokens: tokens that nobody of the issuer has signed.
func TestUnsignedTokens(t *testing.T) {
	i := newInstance(t)
	good := i.idp.token(t, alice())
	head, rest, _ := strings.Cut(good, ".")
	payload, sig, _ := strings.Cut(rest, ".")
	hmacToken := func() string {
		spki, err := x509.MarshalPKIXPublicKey(i.idp.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		input := b64(`{"alg":"HS256","kid":"key-1"}`) + "." + payload
		mac := hmac.New(sha256.New, spki)
		mac.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	stranger := newProvider(t)
	embedded := func() string { // with its own key in the header
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger.key}, &jose.SignerOptions{EmbedJWK: true})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		return must(must(signer.Sign(raw)).CompactSerialize())
	}
	for name, tc := range map[string]struct{ token, about string }{
		"none":                {"", "no identity token"},
		"text":                {"token", "not a signed JWT"},
		"alg none":            {b64(`{"alg":"none"}`) + "." + payload + ".", `algorithm "none"`},
		"alg None":            {b64(`{"alg":"None"}`) + "." + payload + ".", `algorithm "None"`},
		"no alg":              {b64(`{}`) + "." + payload + "." + sig, `algorithm ""`},
		"HMAC by public key":  {hmacToken(), `algorithm "HS256"`},
		"no signature":        {head + "." + payload + ".", "does not verify"},
		"cut signature":       {head + "." + payload + "." + sig[:80], "does not verify"},
		"changed payload":     {head + "." + b64(`{"iss":"https://issuer.example.com","sub":"x"}`) + "." + sig, "does not verify"},
		"by another key":      {stranger.token(t, alice()), "does not verify"},
		"by its own key":      {embedded(), "does not verify"},
		"two parts":           {head + "." + payload, "not a signed JWT"},
		"four parts":          {good + ".x", "not a signed JWT"},
		"JSON serialization":  {`{"payload":"` + payload + `","protected":"` + head + `","signature":"` + sig + `"}`, "not a signed JWT"},
		"space before":        {" " + good, "not a signed JWT"},
		"line end":            {good + "\n", "not a signed JWT"},
		"padding":             {head + "==." + payload + "." + sig, "not a signed JWT"},
		"critical extension":  {b64(`{"alg":"ES256","crit":["b64"],"b64":false}`) + "." + payload + "." + sig, "critical"},
		"header twice":        {b64(`{"alg":"ES256","alg":"none"}`) + "." + payload + "." + sig, "not a signed JWT"},
		"header of a list":    {b64(`["ES256"]`) + "." + payload + "." + sig, "not a signed JWT"},
		"payload of a list":   {i.idp.sign(t, []byte(`["iss"]`)), "no JSON object"},
		"payload of nothing":  {i.idp.sign(t, []byte(`null`)), "no JSON object"},
		"issuer twice":        {i.idp.sign(t, []byte(`{"iss":"https://issuer.example.com","iss":"https://evil.example.com"}`)), "no JSON object"},
		"broken UTF-8":        {i.idp.sign(t, []byte("{\"iss\":\"\xff\"}")), "no JSON object"},
		"payload cut":         {i.idp.sign(t, []byte(`{"iss":`)), "no JSON object"},
		"two payloads":        {i.idp.sign(t, []byte(`{"iss":"https://issuer.example.com"}{}`)), "no JSON object"},
		"another key's ID":    {(&provider{i.idp.key, jose.ES256, "key-2"}).token(t, alice()), "does not publish"},
		"another algorithm's": {b64(`{"alg":"RS256","kid":"key-1"}`) + "." + payload + "." + sig, "does not publish"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, i.issueWith(t, tc.token), sigbox.Unauthenticated, tc.about)
		})
	}
}

// TestEveryAlgorithm: each of the list verifies with its own kind of key, and with
// no other.
func TestEveryAlgorithm(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	for _, p := range []provider{
		{rsaKey, jose.RS256, "a"}, {rsaKey, jose.RS384, "a"}, {rsaKey, jose.RS512, "a"},
		{rsaKey, jose.PS256, "a"}, {rsaKey, jose.PS384, "a"}, {rsaKey, jose.PS512, "a"},
		{fixture.Key(t), jose.ES256, "a"},
		{must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), jose.ES384, "a"},
		{must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), jose.ES512, "a"},
		{ed, jose.EdDSA, "a"},
		{fixture.Key(t), jose.ES256, ""}, // without a key ID
	} {
		i := newInstance(t)
		*i.idp = p
		if err := i.issueWith(t, i.idp.token(t, alice())); err != nil {
			t.Errorf("%s: %v", p.alg, err)
		}
		// The issuer's metadata leaves the algorithm out.
		err := i.SetIssuers([]ca.Issuer{{URL: "https://issuer.example.com", Type: ca.Email, Keys: source(ca.KeySet{
			Keys: []jose.JSONWebKey{i.idp.jwk()}, Algorithms: []string{"none"},
		})}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, i.issueWith(t, i.idp.token(t, alice())), sigbox.Unauthenticated, "says it does not use")
		// The key is for another algorithm.
		k := i.idp.jwk()
		k.Algorithm = "XS256"
		if err := i.SetIssuers([]ca.Issuer{{URL: "https://issuer.example.com", Type: ca.Email, Keys: source(ca.KeySet{Keys: []jose.JSONWebKey{k}})}}, nil); err != nil {
			t.Fatal(err)
		}
		refused(t, i.issueWith(t, i.idp.token(t, alice())), sigbox.Unauthenticated, "does not publish")
	}
}

// TestAdvisoryFulcioGHSA_f83f_xpx7_ffpw: a token of nothing but dots made Fulcio
// split it into as many parts. Size and shape are checked before anything is cut.
func TestAdvisoryFulcioGHSA_f83f_xpx7_ffpw(t *testing.T) {
	i := newInstance(t)
	refused(t, i.issueWith(t, strings.Repeat(".", 4<<20)), sigbox.TooLarge, "at most")
	refused(t, i.issueWith(t, strings.Repeat(".", ca.MaxToken)), sigbox.Unauthenticated, "not a signed JWT")
	dots := strings.Repeat(".", 4<<20)
	req := sigbox.CertificateRequest{Token: dots}
	if n := testing.AllocsPerRun(10, func() { _, _ = i.Issue(t.Context(), req) }); n > 20 {
		t.Errorf("refusing a huge token makes %v allocations", n)
	}
}

// TestAdvisoryFulcioGHSA_59jp_pj84_45mr: the pattern of a meta-issuer was not
// anchored, so that an issuer elsewhere could have it in its query.
func TestAdvisoryFulcioGHSA_59jp_pj84_45mr(t *testing.T) {
	i := newInstance(t, ca.Issuer{URL: "https://oidc.eks.*.amazonaws.com/id/*", Type: ca.Email})
	if err := i.issueWith(t, i.idp.token(t, with("iss", "https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6"))); err != nil {
		t.Error(err)
	}
	for _, iss := range []string{
		"http://localhost:3000?https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6",
		"https://evil.example.com/https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6",
		"https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6/more",
		"https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6\n",
		"https://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6?x",
		"https://oidc.eks.us-west-2.amazonaws.com/id/",
		"https://oidc.eks.a.b.amazonaws.com/id/B02C93B6",
		"https://oidc.eks.evil.com/.amazonaws.com/id/B02C93B6",
		"https://oidc.eks.x@evil.com#.amazonaws.com/id/B02C93B6",
		"https://oidcxeks.us-west-2.amazonaws.com/id/B02C93B6",
		"https://oidc.eks.*.amazonaws.com/id/*",
		"http://oidc.eks.us-west-2.amazonaws.com/id/B02C93B6",
	} {
		refused(t, i.issueWith(t, i.idp.token(t, with("iss", iss))), sigbox.Unauthenticated, "not accepted here")
	}
}

// TestAdvisorySmallstepGHSA_h8cp_697h_8c8p: a token of one provisioner was
// accepted under another. Here a token falls under its own issuer's keys,
// audience and type.
func TestAdvisorySmallstepGHSA_h8cp_697h_8c8p(t *testing.T) {
	a, b := newProvider(t), newProvider(t)
	i := newInstance(t,
		ca.Issuer{URL: "https://a.example.com", Type: ca.Email, Keys: a.source()},
		ca.Issuer{URL: "https://b.example.com", Type: ca.Username, SubjectDomain: "example.com", Audience: "b", Keys: b.source()},
	)
	claims := alice()
	claims["iss"], claims["aud"] = "https://a.example.com", "sigstore"
	if err := i.issueWith(t, a.token(t, claims)); err != nil {
		t.Fatal(err)
	}
	refused(t, i.issueWith(t, b.token(t, claims)), sigbox.Unauthenticated, "does not verify")
	claims["iss"] = "https://b.example.com"
	refused(t, i.issueWith(t, b.token(t, claims)), sigbox.Unauthenticated, "another audience")
	claims["aud"] = "b"
	refused(t, i.issueWith(t, a.token(t, claims)), sigbox.Unauthenticated, "does not verify")
}

// FuzzToken: no token makes the authority panic, and none without a signature
// gets a certificate.
func FuzzToken(f *testing.F) {
	i := newInstance(f)
	good := i.idp.token(f, alice())
	payload := strings.Split(good, ".")[1]
	f.Add(good[:len(good)-1] + "A")
	f.Add(b64(`{"alg":"none"}`) + "." + payload + ".")
	f.Add("..")
	f.Add(good)
	f.Add(good + ".")
	f.Add("." + good)
	parts := strings.Split(good, ".")
	for _, header := range []string{
		`{"alg":"HS256"}`, `{"alg":"RS256","alg":"none"}`, `{"alg":"RS256","crit":["exp"]}`, `{"alg":"RS256","jwk":{"kty":"RSA"}}`,
		`{"alg":"RS256","jku":"https://127.0.0.1"}`, `{"alg":"RS256","kid":7}`, `{"alg":["RS256"]}`, `{"alg":"RS256","b64":false}`,
	} {
		f.Add(b64(header) + "." + parts[1] + "." + parts[2])
	}
	for _, claims := range []string{
		`{"iss":"https://a","iss":"https://b"}`, `{"iss":7}`, `{"iss":"https://a","exp":1e999}`, `{"iss":"https://a","aud":[[]]}`, `[]`, `null`, "\xff",
	} {
		f.Add(parts[0] + "." + b64(claims) + "." + parts[2])
	}
	req := request(f, "", "alice@example.com")
	f.Fuzz(func(t *testing.T, token string) {
		req := req
		req.Token = token
		if _, err := i.Issue(t.Context(), req); err == nil && token != good {
			t.Fatalf("a certificate for %q", token)
		}
	})
}
