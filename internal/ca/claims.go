package ca

import (
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// claims are a token's payload (RFC 7519 §4), by name.
type claims map[string]jsontext.Value

// parseClaims reads a JSON object. Names that stand twice and invalid UTF-8 are
// refused.
func parseClaims(payload []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "the identity token's payload is no JSON object").WithCause(err)
	}
	return c, nil
}

// missing makes the error for a claim that a token lacks.
func missing(name string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token has no claim %q, which a certificate for its issuer needs", name)
}

// wrongType makes the error for a claim of another JSON type.
func wrongType(name, want string, v jsontext.Value) *sigbox.Error {
	return sigbox.Mismatch(sigbox.Unauthenticated, "the identity token's claim "+strconv.Quote(name)+" has the wrong type", want, v.Kind())
}

// has reports whether a claim is there; null is as good as nothing.
func (c claims) has(name string) bool {
	v, ok := c[name]
	return ok && v.Kind() != 'n'
}

// text gives a claim that must be a string, and not an empty one.
func (c claims) text(name string) (string, error) {
	if !c.has(name) {
		return "", missing(name)
	}
	s, ok := unquote(c[name])
	if !ok {
		return "", wrongType(name, "a string", c[name])
	}
	if s == "" {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the identity token's claim %q is empty", name)
	}
	return s, nil
}

// scalar gives a claim as text: a string as it is, a number and a bool as in JSON.
func (c claims) scalar(name string) (text string, ok bool, err error) {
	if !c.has(name) {
		return "", false, nil
	}
	v := c[name]
	switch v.Kind() {
	case '"':
		text, ok = unquote(v)
	case '0', 't', 'f':
		text, ok = string(v), true
	}
	if !ok {
		return "", false, wrongType(name, "a string, a number or a bool", v)
	}
	return text, true, nil
}

// at follows a path of names through objects.
func (c claims) at(path []string) (jsontext.Value, error) {
	var v jsontext.Value
	for i, name := range path {
		if i > 0 {
			c = nil
			if v.Kind() != '{' || json.Unmarshal(v, &c) != nil {
				return nil, missing(joinPath(path))
			}
		}
		if !c.has(name) {
			return nil, missing(joinPath(path))
		}
		v = c[name]
	}
	return v, nil
}

// textAt gives a string inside objects, not an empty one.
func (c claims) textAt(path ...string) (string, error) {
	v, err := c.at(path)
	if err != nil {
		return "", err
	}
	s, ok := unquote(v)
	if !ok || s == "" {
		return "", wrongType(joinPath(path), "a string that is not empty", v)
	}
	return s, nil
}

// joinPath names a place in nested claims for messages.
func joinPath(path []string) string {
	s := ""
	for i, name := range path {
		if i > 0 {
			s += " . "
		}
		s += name
	}
	return s
}

// unquote reads a JSON string.
func unquote(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, v)
	return string(s), err == nil
}
