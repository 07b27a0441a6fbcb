package oidc

import (
	"strings"

	"github.com/sigbox/sigbox"
)

// Bounds of an address (RFC 5321 §4.5.3.1, the path without its brackets).
const (
	maxEmail = 254
	maxLocal = 64
)

// CheckEmail says whether email can stand in a token and in a certificate: an
// RFC 5322 dot-atom, "@" and a domain name. Quoted local parts and addresses
// outside ASCII are refused: an rfc822Name is an IA5String (RFC 5280 §4.2.1.6).
func CheckEmail(email string) error {
	if len(email) > maxEmail {
		return sigbox.Errorf(sigbox.Invalid, "the email address is longer than %d bytes", maxEmail)
	}
	local, domain, ok := strings.Cut(email, "@")
	if !ok || !isDotAtom(local) || !isDomain(domain) {
		return sigbox.Mismatch(sigbox.Invalid, "this is not an email address", "name@domain in ASCII", quoted(email))
	}
	return nil
}

// emailKey is what makes two addresses the same user: letter case does not count.
func emailKey(email string) string { return strings.ToLower(email) }

func isDotAtom(s string) bool {
	if s == "" || len(s) > maxLocal {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

// isAtext is atext of RFC 5322 §3.2.3.
func isAtext(r rune) bool {
	return isAlphanumeric(r) || r < 0x80 && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// isDomain is a name of one or more labels (RFC 1123 §2.1).
func isDomain(s string) bool {
	if s == "" {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlphanumeric(r) && r != '-' }) {
			return false
		}
	}
	return true
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}
