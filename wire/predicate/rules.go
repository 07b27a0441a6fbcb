package predicate

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

// test says what is expected in place of a text, "" if the text is fine.
type test func(s string) (want string)

// text is the rule for a string that passes the tests.
func text(tests ...test) rule {
	return func(r *reader) error {
		if err := free(r); err != nil {
			return err
		}
		for _, fails := range tests {
			if want := fails(r.last); want != "" {
				return r.wrong(want, quote(r.last))
			}
		}
		return nil
	}
}

// plain is a string that is not empty.
func plain(r *reader) error {
	err := free(r)
	if err == nil && r.last == "" {
		err = r.wrong("text", "an empty string")
	}
	return err
}

// free is a string of any kind.
func free(r *reader) error {
	t, err := r.token('"')
	if err == nil {
		r.last = t.String()
	}
	return err
}

func boolean(r *reader) error {
	if k := r.dec.PeekKind(); k == 't' || k == 'f' {
		return anything(r)
	}
	_, err := r.token('t')
	return err
}

// integer is a whole number that is not below least.
func integer(least int64) rule {
	return func(r *reader) error {
		t, err := r.token('0')
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(t.String(), 10, 64); err != nil || n < least {
			return r.wrong("a whole number from "+strconv.FormatInt(least, 10)+" up", found(t))
		}
		return nil
	}
}

// dictionary is an object with values of one kind, list a list of such, which for
// some is not empty.
func dictionary(of rule) rule {
	return func(r *reader) error { return r.dictionary(of) }
}

func list(of rule) rule {
	return func(r *reader) error {
		_, err := r.elements(of)
		return err
	}
}

func some(of rule) rule {
	return func(r *reader) error {
		n, err := r.elements(of)
		if err == nil && n == 0 {
			err = r.wrong("one or more elements", "an empty list")
		}
		return err
	}
}

// oneOf is one of a few texts.
func oneOf(texts ...string) test {
	return func(s string) string {
		if slices.Contains(texts, s) {
			return ""
		}
		return strings.Join(texts, " or ")
	}
}

// prefixed is text after one of a few beginnings.
func prefixed(prefixes ...string) test {
	return func(s string) string {
		for _, p := range prefixes {
			if len(s) > len(p) && strings.HasPrefix(s, p) {
				return ""
			}
		}
		return strings.Join(prefixes, "… or ") + "…"
	}
}

// moment is a time of RFC 3339.
func moment(s string) string {
	// Hours of one digit and a comma are what package time reads besides.
	if _, err := time.Parse(time.RFC3339Nano, s); err != nil || s[13] != ':' || strings.Contains(s, ",") {
		return "a time by RFC 3339, as in 2026-01-31T12:00:00Z"
	}
	return ""
}

// utc is a moment in UTC.
//
// Source: in-toto/attestation, spec/v1/field_types.md, Timestamp.
func utc(s string) string {
	if moment(s) != "" || !strings.HasSuffix(s, "Z") {
		return "a time in UTC by RFC 3339, as in 2026-01-31T12:00:00Z"
	}
	return ""
}

// uri is a URI of RFC 3986 whose scheme and authority are in lower case.
//
// Source: in-toto/attestation, spec/v1/field_types.md, ResourceURI and TypeURI.
func uri(s string) string {
	const want = "a URI (RFC 3986)"
	scheme, rest, ok := cutScheme(s)
	if !ok || !wellEscaped(s) || strings.ContainsFunc(s, func(c rune) bool { return c >= 0x80 || isNotURI(c) }) {
		return want
	}
	authority := ""
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		authority = after
		if end := strings.IndexAny(after, "/?#"); end >= 0 {
			authority = after[:end]
		}
	}
	if scheme != strings.ToLower(scheme) || authority != strings.ToLower(authority) {
		return want + " with scheme and authority in lower case"
	}
	return ""
}

// iri is a URI, or what RFC 3987 makes of one: it may have characters of any script.
func iri(s string) string {
	if _, _, ok := cutScheme(s); !ok || !wellEscaped(s) || strings.ContainsFunc(s, isNotURI) {
		return "an IRI (RFC 3987)"
	}
	return ""
}

// cutScheme gives the scheme (RFC 3986 §3.1) and what follows its colon.
func cutScheme(s string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(s, ":")
	if !ok || rest == "" || scheme == "" || !isLetter(rune(scheme[0])) {
		return "", "", false
	}
	part := func(c rune) bool { return isLetter(c) || isDigit(c) || strings.ContainsRune("+-.", c) }
	return scheme, rest, !strings.ContainsFunc(scheme, func(c rune) bool { return !part(c) })
}

// isNotURI is for what stands in no URI unescaped (RFC 3986 §2).
func isNotURI(c rune) bool {
	return c <= ' ' || c == 0x7f || 0x80 <= c && c < 0xa0 || strings.ContainsRune("<>\"{}|\\^`", c)
}

// wellEscaped reports whether each % begins a pair of hex digits (RFC 3986 §2.1).
func wellEscaped(s string) bool {
	for {
		_, after, ok := strings.Cut(s, "%")
		switch {
		case !ok:
			return true
		case len(after) < 2 || !isHex(after[:2]):
			return false
		}
		s = after
	}
}

func isLetter(c rune) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c rune) bool  { return '0' <= c && c <= '9' }

// isHex reports whether s is hex digits, of either case.
func isHex(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !isDigit(c) && ('a' > c || c > 'f') && ('A' > c || c > 'F') })
}

// digest is a hash in hex, of a length that hashes have.
func digest(s string) string {
	if n := len(s); n < 32 || n > 128 || n%8 != 0 || !isHex(s) {
		return "a digest in hex"
	}
	return ""
}

// purl is a package URL; of a release it has a version.
//
// Source: package-url/purl-spec, and in-toto/attestation, spec/predicates/release.md.
func purl(s string) string {
	plain, _, _ := strings.Cut(s, "#")
	plain, _, _ = strings.Cut(plain, "?")
	kind, name, ok := strings.Cut(strings.TrimPrefix(plain, "pkg:"), "/")
	at := strings.LastIndexByte(name, '@')
	if uri(s) != "" || !strings.HasPrefix(s, "pkg:") || !ok || kind == "" || at < 1 || at == len(name)-1 {
		return "a package URL with a version, as in pkg:npm/semver@7.5.4"
	}
	return ""
}

func base64Text(s string) string {
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		return "base64"
	}
	return ""
}

// digests is a DigestSet: digests by the names of their algorithms. Those of
// algorithms that are known must be right in form.
//
// Source: in-toto/attestation, spec/v1/digest_set.md.
func digests(r *reader) error {
	n, err := r.digests()
	if err == nil && n == 0 {
		err = r.wrong("one or more digests", "none")
	}
	return err
}

// anyDigests is digests, of which there may be none.
func anyDigests(r *reader) error {
	_, err := r.digests()
	return err
}

func (r *reader) digests() (n int, err error) {
	if _, err := r.token('{'); err != nil {
		return 0, err
	}
	above := r.names
	for ; r.dec.PeekKind() != '}'; n++ {
		b, err := r.name()
		if err != nil {
			return n, err
		}
		name := string(b)
		if err := free(r); err != nil {
			return n, err
		}
		if _, err := sigbox.ParseNamedDigest(name + ":" + r.last); err != nil {
			return n, r.refuse("", "%w", err)
		}
	}
	r.names = above
	_, err = r.token('}')
	return n, err
}

// descriptor is a ResourceDescriptor, with members that must be there.
//
// Source: in-toto/attestation, spec/v1/resource_descriptor.md.
func descriptor(needed ...string) rule {
	f := &form{members: resource(), check: func(r *reader, o object) error {
		if !o.hasAny("uri", "digest", "content") {
			return r.wrong("one of uri, digest and content", "none of them")
		}
		return nil
	}}
	for i := range f.members {
		f.members[i].needed = slices.Contains(needed, f.members[i].name)
	}
	return f.rule
}

// resource is the members of a ResourceDescriptor.
func resource() []member {
	return []member{
		may("name", plain), may("uri", text(uri)), may("digest", digests), may("content", text(base64Text)),
		may("downloadLocation", text(uri)), may("mediaType", plain), may("annotations", record()),
	}
}
