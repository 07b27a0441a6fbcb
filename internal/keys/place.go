package keys

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sigbox/sigbox"
)

// Place says where a private key is kept.
type Place struct {
	// Scheme is "" for a file of the instance, else what the URI begins with.
	Scheme string
	// Key is the URI after its scheme and "://", or for pkcs11 after "pkcs11:".
	Key string
}

// The schemes that mean something to sigbox itself. Any other is the name of a
// program, sigstore-kms-SCHEME.
const (
	SchemeVault   = "hashivault"
	SchemeOpenBao = "openbao" // the same, by its other name
	SchemePKCS11  = "pkcs11"

	fileWord = "file"

	maxPlace = 2 << 10
)

// ParsePlace reads where a key is kept:
//
//	""  or  file            a file in the instance's directory
//	hashivault://KEY        the transit engine of HashiCorp Vault, or of OpenBao
//	pkcs11:token=T;object=O…  a token, RFC 7512
//	SCHEME://KEY            the plugin sigstore-kms-SCHEME
func ParsePlace(s string) (Place, error) {
	switch {
	case s == "" || s == fileWord:
		return Place{}, nil
	case len(s) > maxPlace:
		return Place{}, sigbox.Errorf(sigbox.TooLarge, "the place of a key: at most %d bytes are read", maxPlace)
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Place{}, sigbox.Errorf(sigbox.Invalid, "the place of a key: expected one line without control characters")
	}
	if rest, ok := strings.CutPrefix(s, SchemePKCS11+":"); ok {
		p := Place{SchemePKCS11, strings.TrimPrefix(rest, "//")}
		_, err := ParseToken(p.Key)
		return p, err
	}
	scheme, key, ok := strings.Cut(s, "://")
	if !ok || !schemeForm().MatchString(scheme) || key == "" || scheme == fileWord {
		// What was found is not told: it may be the key itself.
		return Place{}, sigbox.Errorf(sigbox.Invalid, "the place of a key: expected file, hashivault://KEY, pkcs11:token=…;object=… or SCHEME://KEY for the plugin sigstore-kms-SCHEME")
	}
	if (scheme == SchemeVault || scheme == SchemeOpenBao) && !transitName().MatchString(key) {
		return Place{}, sigbox.Errorf(sigbox.Invalid, "%s://: expected the name of a transit key, of letters, digits and . _ -", scheme)
	}
	return Place{scheme, key}, nil
}

// IsFile reports whether the key is a file of the instance.
func (p Place) IsFile() bool { return p.Scheme == "" }

// String names the place for people. What pkcs11 URIs and plugins are told beyond
// their key is left out.
func (p Place) String() string {
	switch {
	case p.IsFile():
		return fileWord
	case p.Scheme == SchemePKCS11:
		key, _, _ := strings.Cut(p.Key, "?")
		return SchemePKCS11 + ":" + key
	}
	key, _, _ := strings.Cut(p.Key, "?")
	return p.Scheme + "://" + key
}

// schemeForm bounds what can become a part of a program's name.
func schemeForm() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`) }

// transitName is what Sigstore takes for the name of a transit key.
func transitName() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$`)
}

// absolute reports whether a path leads to the same file from anywhere.
func absolute(path string) bool { return filepath.IsAbs(path) && filepath.Clean(path) == path }
