package sign

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// maxToken bounds an identity token in bytes.
const maxToken = 64 << 10

// Token is what an identity token says. Nothing of it has been verified: that is
// the certificate authority's work. It serves to see early whether a token can be
// used, and later whether the certificate speaks for the same identity.
type Token struct {
	// Raw is the token itself, a compact JWS. It is a secret.
	Raw string

	Issuer, Subject string
	// Email is empty when the token has none.
	Email string
	// FederatedIssuer is who the issuer itself learned the identity from, where
	// it says so (Dex's federated_claims).
	FederatedIssuer string
	Audience        []string
	Nonce           string
	// Expires is zero when the token does not say.
	Expires time.Time
}

// HasAudience reports whether the token is meant for audience.
func (t Token) HasAudience(audience string) bool {
	for _, a := range t.Audience {
		if a == audience {
			return true
		}
	}
	return false
}

// claims are the members of a token's payload that we read (RFC 7519 §4.1,
// OpenID Connect Core §2). Others are let be.
type claims struct {
	Issuer    string         `json:"iss"`
	Subject   string         `json:"sub"`
	Email     string         `json:"email"`
	Audience  jsontext.Value `json:"aud"`
	Nonce     string         `json:"nonce"`
	Expires   jsontext.Value `json:"exp"`
	Federated struct {
		Connector string `json:"connector_id"`
	} `json:"federated_claims"`
}

// ParseToken reads an identity token without checking its signature. Errors are
// of kind Unauthenticated and never show the token.
func ParseToken(raw string) (Token, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > maxToken {
		return Token{}, noToken("it is larger than 64 KiB")
	}
	header, rest, ok1 := strings.Cut(raw, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || header == "" || signature == "" || strings.Contains(signature, ".") {
		return Token{}, noToken("it does not have the three parts of a JWT")
	}
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return Token{}, noToken("its payload is not base64url")
	}
	var c claims
	if err := json.Unmarshal(b, &c); err != nil {
		return Token{}, noToken("its payload is not the JSON that is expected")
	}
	t := Token{
		Raw: raw, Issuer: c.Issuer, Subject: c.Subject, Email: c.Email, Nonce: c.Nonce,
		FederatedIssuer: c.Federated.Connector,
	}
	if t.Audience, err = audience(c.Audience); err != nil {
		return Token{}, err
	}
	if t.Expires, err = numericDate(c.Expires); err != nil {
		return Token{}, err
	}
	if t.Issuer == "" || t.Subject == "" {
		return Token{}, noToken("it names no issuer or no subject")
	}
	return t, nil
}

func noToken(why string) error {
	return sigbox.Errorf(sigbox.Unauthenticated, "this is no identity token: %s", why).
		WithHint("expected an OpenID Connect ID token: three parts of base64url with points between")
}

// audience reads one string or a list of them (RFC 7519 §4.1.3).
func audience(v jsontext.Value) ([]string, error) {
	if len(v) == 0 {
		return nil, nil
	}
	var list []string
	if v.Kind() == '[' {
		if json.Unmarshal(v, &list) != nil {
			return nil, noToken("its audience is not text")
		}
		return list, nil
	}
	var one string
	if json.Unmarshal(v, &one) != nil {
		return nil, noToken("its audience is not text")
	}
	return []string{one}, nil
}

// numericDate reads seconds since 1970, with or without a fraction (RFC 7519 §2).
func numericDate(v jsontext.Value) (time.Time, error) {
	if len(v) == 0 || v.Kind() == 'n' {
		return time.Time{}, nil
	}
	var seconds float64
	const year9999 = 253402300799
	if json.Unmarshal(v, &seconds) != nil || seconds < 0 || seconds > year9999 {
		return time.Time{}, noToken("its expiry is no time")
	}
	return time.Unix(int64(seconds), 0).UTC(), nil
}
