package ca

import (
	"bytes"
	"context"
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

const (
	// skew is how far an issuer's clock may be off.
	skew = 30 * time.Second
	// maxAudiences bounds a token's list of audiences.
	maxAudiences = 32
	// maxTries bounds the keys that are tried for a token that names none.
	maxTries = 16
)

// algorithms gives the signature algorithms that tokens may be signed with (RFC
// 7518 §3.1): all that need a public key. "none" and those with a shared secret
// are not among them.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.ES256, jose.EdDSA, jose.PS256,
		jose.RS384, jose.ES384, jose.PS384, jose.RS512, jose.ES512, jose.PS512,
	}
}

// verifiedToken is a token whose signature, issuer, audience and times have been
// checked. It is made by authenticate alone.
type verifiedToken struct {
	// issuer is the configuration that the token falls under.
	issuer *issuer
	// iss and sub are the claims of these names.
	iss, sub string
	claims   claims
	ticket   ticket
}

// header is what is needed of a JWS header (RFC 7515 §4.1).
type header struct {
	Alg  jose.SignatureAlgorithm `json:"alg"`
	Kid  string                  `json:"kid"`
	Crit jsontext.Value          `json:"crit"`
	B64  jsontext.Value          `json:"b64"`
}

// parseHeader bounds a token, looks at its shape and reads its header. Tokens
// come from strangers: their size is checked before anything is cut or decoded.
func parseHeader(token string) (header, error) {
	var h header
	if token == "" {
		return h, sigbox.Errorf(sigbox.Unauthenticated, "there is no identity token").
			WithHint("send it as credentials.oidcIdentityToken or in an Authorization: Bearer header")
	}
	if len(token) > MaxToken {
		return h, sigbox.Errorf(sigbox.TooLarge, "the identity token has %d bytes, at most %d are read", len(token), MaxToken)
	}
	if strings.Count(token, ".") != 2 || !only(token, "-_.") {
		return h, malformed()
	}
	// Each part has one spelling (RFC 4648 §3.5), so that each token has.
	var parts [3][]byte
	n := 0
	for part := range strings.SplitSeq(token, ".") {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return h, malformed().WithCause(err)
		}
		parts[n] = raw
		n++
	}
	if err := json.Unmarshal(parts[0], &h); err != nil {
		return h, malformed().WithCause(err)
	}
	if h.Crit != nil || h.B64 != nil {
		// Extensions that must be understood (RFC 7515 §4.1.11): none are.
		return h, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's header has critical extensions, of which none are known here")
	}
	if !slices.Contains(algorithms(), h.Alg) {
		return h, sigbox.Errorf(sigbox.Unauthenticated, "the identity token is signed with the algorithm %.40q: expected RS, PS or ES with 256, 384 or 512, or EdDSA", string(h.Alg))
	}
	return h, nil
}

func malformed() *sigbox.Error {
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token is not a signed JWT: expected three base64url parts with dots between them (RFC 7515 §7.1)")
}

// verifySignature tries the issuer's keys that fit the token's header. When they
// are not the ones, the issuer may have new keys, perhaps under old names: then,
// seldom, they are fetched again.
func (s *Tokens) verifySignature(ctx context.Context, issuer *issuer, iss string, h header, jws *jose.JSONWebSignature, payload []byte) error {
	set, err := s.issuerKeys(ctx, issuer, iss, want{kid: h.Kid, wild: issuer.Wildcard()})
	if err != nil {
		return err
	}
	err = set.verify(iss, h, jws, payload)
	if err == nil || set.fetched.IsZero() {
		return err
	}
	newer, nerr := s.issuerKeys(ctx, issuer, iss, want{kid: h.Kid, after: set.fetched, wild: issuer.Wildcard()})
	if nerr != nil || !newer.fetched.After(set.fetched) {
		return err
	}
	return newer.verify(iss, h, jws, payload)
}

// verify tries the keys that fit the token's header.
func (s KeySet) verify(iss string, h header, jws *jose.JSONWebSignature, payload []byte) error {
	if len(s.Algorithms) > 0 && !slices.Contains(s.Algorithms, string(h.Alg)) {
		return sigbox.Errorf(sigbox.Unauthenticated, "the identity token is signed with %s, which its issuer says it does not use", h.Alg)
	}
	keys := s.fitting(h)
	if len(keys) == 0 {
		return sigbox.Errorf(sigbox.Unauthenticated, "the identity token is signed by a key (%.80q, %s) that its issuer %.200s does not publish", h.Kid, h.Alg, iss).
			WithHint("get a new token; if the issuer changed its keys a moment ago, try again in a few seconds")
	}
	for _, k := range keys[:min(len(keys), maxTries)] {
		if got, err := jws.Verify(k); err == nil && bytes.Equal(got, payload) {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token's signature does not verify with the keys of its issuer %.200s", iss)
}

// issuerKeys gives the keys of the issuer: of its own source, or those that are
// fetched and kept.
func (s *Tokens) issuerKeys(ctx context.Context, i *issuer, iss string, w want) (KeySet, error) {
	req := KeyRequest{Issuer: iss, AllowPrivate: i.AllowPrivate, CAFile: i.CAFile, InCluster: i.InCluster}
	if i.Keys != nil {
		return i.Keys.Keys(ctx, req)
	}
	return s.keys.get(ctx, req, w)
}

// checkTimes checks the times of a token (OpenID Connect Core 1.0 §3.1.3.7), and gives
// when it ends.
func (t *verifiedToken) checkTimes(now time.Time) (until time.Time, err error) {
	until, ok, err := t.claims.time("exp")
	switch {
	case err != nil:
		return until, err
	case !ok:
		return until, missing("exp")
	case !now.Before(until.Add(skew)):
		return until, sigbox.Errorf(sigbox.Unauthenticated, "the identity token has expired at %s, it is now %s", stamp(until), stamp(now)).WithHint("get a new one")
	}
	for _, name := range []string{"nbf", "iat"} {
		from, ok, err := t.claims.time(name)
		if err != nil {
			return until, err
		}
		if ok && now.Add(skew).Before(from) {
			return until, sigbox.Errorf(sigbox.Unauthenticated, "the identity token is not valid before %s (%s), it is now %s", stamp(from), name, stamp(now)).
				WithHint("are the clocks right?")
		}
	}
	return until, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkAudience wants the audience to be exactly the one given, or to be in the
// token's list (RFC 7519 §4.1.3).
func checkAudience(c claims, want string) error {
	if !c.has("aud") {
		return missing("aud")
	}
	v := c["aud"]
	var list []string
	if s, ok := unquote(v); ok {
		list = []string{s}
	} else if json.Unmarshal(v, &list) != nil {
		return wrongType("aud", "a string or a list of strings", v)
	}
	if len(list) > maxAudiences {
		return sigbox.Errorf(sigbox.TooLarge, "the identity token has %d audiences, at most %d are read", len(list), maxAudiences)
	}
	if !slices.Contains(list, want) {
		return sigbox.Errorf(sigbox.Unauthenticated, "the identity token is for another audience: expected %q, found %.200q", want, list).
			WithHint("ask its issuer for a token with the audience %q", want)
	}
	return nil
}

// maxSeconds is the last second of the year 9999.
const maxSeconds = 253402300799

// time reads a NumericDate (RFC 7519 §2): seconds since 1970, with or without a
// fraction.
func (c claims) time(name string) (time.Time, bool, error) {
	if !c.has(name) {
		return time.Time{}, false, nil
	}
	v := c[name]
	if v.Kind() != '0' {
		return time.Time{}, false, wrongType(name, "a number", v)
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > maxSeconds {
		return time.Time{}, false, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claim %q is no time: found %.40s", name, v)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), true, nil
}
