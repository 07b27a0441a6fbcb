package keys

import (
	"encoding/hex"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox"
)

// Token is what a PKCS #11 URI says (RFC 7512 §2.3): which token, which object on
// it, by which library, and where the PIN is.
type Token struct {
	// Label, Serial, Manufacturer and Model name the token; those that are not ""
	// have to be the token's.
	Label, Serial, Manufacturer, Model string
	// Slot is the number of the token's slot; "" is any.
	Slot string
	// Object is the key's label (CKA_LABEL), and ID its CKA_ID; one of them at least.
	Object string
	ID     []byte
	// Module is the library, an absolute path.
	Module string
	// PIN says where the PIN is, as for [PassphraseFrom].
	PIN string
}

// ParseToken reads a PKCS #11 URI after its "pkcs11:". It is strict: each attribute
// once, none that is not understood, and no PIN in the URI itself.
func ParseToken(s string) (Token, error) {
	path, query, _ := strings.Cut(s, "?")
	var t Token
	seen := map[string]bool{}
	for _, part := range []struct{ text, separator string }{{path, ";"}, {query, "&"}} {
		for attribute := range strings.SplitSeq(part.text, part.separator) {
			if attribute == "" && part.text == "" {
				continue
			}
			if err := t.set(attribute, part.separator == "&", seen); err != nil {
				return Token{}, err
			}
		}
	}
	switch {
	case t.Label == "" && t.Serial == "":
		return Token{}, tokenError("expected token=LABEL or serial=NUMBER")
	case strings.Trim(t.Slot, "0123456789") != "" || len(t.Slot) > 19:
		return Token{}, tokenError("slot-id: expected a number")
	case t.Object == "" && len(t.ID) == 0:
		return Token{}, tokenError("expected object=LABEL or id=ID of the key")
	case !absolute(t.Module):
		return Token{}, tokenError("expected module-path=LIBRARY, an absolute path")
	case t.PIN == "":
		return Token{}, tokenError("expected pin-source, where the PIN of the token is").WithHint("pin-source=%s", sources)
	}
	return t, nil
}

// set takes one attribute.
func (t *Token) set(attribute string, query bool, seen map[string]bool) error {
	name, escaped, _ := strings.Cut(attribute, "=")
	value, err := url.PathUnescape(escaped)
	switch {
	case name == "pin-value":
		return tokenError("a PIN does not stand in a URI, which is in settings and in lists of processes").WithHint("pin-source=%s", sources)
	case err != nil || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r == 0 }) && name != "id":
		return tokenError("an attribute without a value, or with one that is not percent-encoded")
	case seen[name]:
		return tokenError("an attribute stands there twice")
	}
	seen[name] = true
	texts := map[string]*string{
		"token": &t.Label, "serial": &t.Serial, "manufacturer": &t.Manufacturer, "model": &t.Model, "object": &t.Object, "slot-id": &t.Slot,
	}
	if query {
		texts = map[string]*string{"module-path": &t.Module, "pin-source": &t.PIN}
	}
	switch to := texts[name]; {
	case to != nil:
		*to = value
	case name == "id" && !query:
		t.ID = []byte(value)
	case name == "type" && !query && value == "private":
	default:
		return tokenError("an attribute that is not understood: expected token, serial, manufacturer, model, slot-id, object, id, type=private, and after ? module-path and pin-source")
	}
	if name == "pin-source" {
		_, err := PassphraseFrom(value)
		return err
	}
	return nil
}

// Same names what keys have in common that are reached by one login.
func (t Token) Same() string {
	return strings.Join([]string{t.Module, t.PIN, t.Label, t.Serial, t.Manufacturer, t.Model, t.Slot}, "\x00")
}

// Key names the key on its token, for people.
func (t Token) Key() string {
	if t.Object != "" {
		return t.Object
	}
	return "id " + hex.EncodeToString(t.ID)
}

// tokenError is an error that repeats nothing of the URI, which may hold a PIN.
func tokenError(what string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Invalid, "pkcs11: %s", what)
}
