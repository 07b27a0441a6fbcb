package sigbox

import (
	"bytes"
	"cmp"
	"crypto"
	"errors"
	"reflect"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of a [Policy].
const (
	// MaxPolicyEntries in each of its lists, and in what it demands of anything.
	MaxPolicyEntries = 64
	// MaxPolicyText is the length of each of its texts, in bytes.
	MaxPolicyText = 4096
)

// PolicyPath is a place in a [Policy], by the names that the policy has as text, as
// in "identities[0].subjectRegExp". It is the cause of errors of [Policy.Check].
type PolicyPath string

// Error gives the place, so that a path can be a cause.
func (p PolicyPath) Error() string { return string(p) }

func (p PolicyPath) member(name string) PolicyPath { return p + PolicyPath("."+name) }

func (p PolicyPath) element(i int) PolicyPath { return p + PolicyPath("["+strconv.Itoa(i)+"]") }

// errorf makes an error that names the place. The format has no %w.
func (p PolicyPath) errorf(kind Kind, format string, args ...any) *Error {
	return Errorf(kind, "policy: %w: "+format, append([]any{p}, args...)...)
}

// wrap puts the place before an error.
func (p PolicyPath) wrap(err error) *Error { return p.errorf(KindOf(err), "%v", err) }

// Check refuses a policy that cannot be meant as it stands: one that accepts nobody
// or can never be met, that says two things of one, or that exceeds a bound. Errors
// are of kind Invalid or TooLarge and name the place, which is their cause, a
// [PolicyPath].
//
// It parses keys and regular expressions, and does not keep them. Conditions are
// compiled by package verify.
func (p Policy) Check() error {
	// The sizes come first: they bound what the rest does.
	if err := p.checkSizes(); err != nil {
		return err
	}
	if err := cmp.Or(p.checkIdentities(), p.checkKeys(), p.checkThreshold(), p.checkPredicateTypes(), p.checkConditions(), p.checkDigests(), p.checkRest()); err != nil {
		return err
	}
	return nil
}

func (p Policy) checkSizes() *Error {
	for _, list := range []struct {
		name PolicyPath
		n    int
	}{{"identities", len(p.Identities)}, {"keys", len(p.Keys)}, {"predicateTypes", len(p.PredicateTypes)}, {"conditions", len(p.Conditions)}, {"digests", len(p.Digests)}} {
		if list.n > MaxPolicyEntries {
			return list.name.errorf(TooLarge, "%d of them, at most %d are read", list.n, MaxPolicyEntries)
		}
	}
	return nil
}

func (p Policy) checkIdentities() *Error {
	for i, id := range p.Identities {
		at := PolicyPath("identities").element(i)
		if err := id.check(at); err != nil {
			return err
		}
		if first := slices.Index(p.Identities, id); first < i {
			return at.errorf(Invalid, "the same as identities[%d]", first)
		}
	}
	return nil
}

func (m IdentityMatch) check(at PolicyPath) *Error {
	if err := checkMatch(at, "subject", m.Subject, m.SubjectRegexp); err != nil {
		return err
	}
	if err := checkMatch(at, "issuer", m.Issuer, m.IssuerRegexp); err != nil {
		return err
	}
	if m.Extensions == m.ExtensionsRegexp && m.Extensions == (Extensions{}) {
		return nil
	}
	return m.checkExtensions(at)
}

// checkMatch holds one of two: the text itself, or a regular expression for it.
func checkMatch(at PolicyPath, name, text, expr string) *Error {
	switch {
	case text == "" && expr == "":
		return at.errorf(Invalid, "no %s: expected %s or %sRegExp", name, name, name).WithHint("a name means nothing without the issuer that vouches for it, so both are needed")
	case text != "" && expr != "":
		return at.errorf(Invalid, "both %s and %sRegExp: expected one of them", name, name)
	case text != "":
		return checkText(at.member(name), text)
	}
	return checkRegexp(at.member(name+"RegExp"), expr)
}

// checkExtensions holds each field of both structs, by the names of the first.
func (m IdentityMatch) checkExtensions(at PolicyPath) *Error {
	texts, exprs := reflect.ValueOf(m.Extensions), reflect.ValueOf(m.ExtensionsRegexp)
	for i := range texts.NumField() {
		name, _, _ := strings.Cut(texts.Type().Field(i).Tag.Get("json"), ",")
		text, expr := texts.Field(i).String(), exprs.Field(i).String()
		var err *Error
		switch {
		case text != "" && expr != "":
			err = at.errorf(Invalid, "%s both in extensions and in extensionsRegExp: expected it in one of them", name)
		case text != "":
			err = checkText(at.member("extensions").member(name), text)
		case expr != "":
			err = checkRegexp(at.member("extensionsRegExp").member(name), expr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses what no name has: with a line end or the like, text that was
// meant to match never would.
func checkText(at PolicyPath, s string) *Error {
	switch {
	case len(s) > MaxPolicyText:
		return at.errorf(TooLarge, "%d bytes, at most %d are read", len(s), MaxPolicyText)
	case !utf8.ValidString(s):
		return at.errorf(Invalid, "not UTF-8")
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return at.errorf(Invalid, "found the control character %q, which could never match", r)
	}
	return nil
}

func checkRegexp(at PolicyPath, expr string) *Error {
	if err := checkText(at, expr); err != nil {
		return err
	}
	err := parseRegexp(expr)
	if err == nil { // and as it will be anchored
		err = parseRegexp(`\A(?:` + expr + `)\z`)
	}
	if errors.Is(err, errRegexpTooLarge) {
		return at.errorf(TooLarge, "the regular expression stands for more than %d characters when its repetitions are written out", maxRegexp)
	}
	if err != nil {
		return at.errorf(Invalid, "not a regular expression (RE2): %v", err)
	}
	return nil
}

// maxRegexp bounds a regular expression with its repetitions written out, in
// parts such as characters and classes: what it costs to compile and to match.
const maxRegexp = 4096

var errRegexpTooLarge = errors.New("regular expression too large")

// parseRegexp says what regexp.Compile does, without compiling.
func parseRegexp(expr string) error {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err == nil && regexpSize(re) > maxRegexp {
		return errRegexpTooLarge
	}
	return err
}

// regexpSize counts the parts of re, those that are repeated as often as they are.
func regexpSize(re *syntax.Regexp) int {
	size := 1
	if re.Op == syntax.OpLiteral {
		size = len(re.Rune)
	}
	for _, sub := range re.Sub {
		size += regexpSize(sub)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, maxRegexp+1)
}

func (p Policy) checkKeys() *Error {
	for i, k := range p.Keys {
		at := PolicyPath("keys").element(i)
		if err := k.check(at); err != nil {
			return err
		}
		if first := slices.IndexFunc(p.Keys, k.same); first < i {
			return at.errorf(Invalid, "the same as keys[%d]", first)
		}
	}
	return nil
}

func (k PublicKey) check(at PolicyPath) *Error {
	if len(k.Key) == 0 {
		return at.errorf(Invalid, "no publicKey")
	}
	pub, err := ParsePublicKey(k.Key)
	if err != nil {
		return at.member("publicKey").wrap(err)
	}
	if k.Details != 0 {
		if err := k.Details.CheckKey(pub); err != nil {
			return at.member("algorithm").wrap(err)
		}
	}
	return k.ValidFor.check(at.member("validFor"))
}

func (r TimeRange) check(at PolicyPath) *Error {
	if !r.Start.IsZero() && !r.End.IsZero() && r.End.Before(r.Start) {
		return at.errorf(Invalid, "it ends before it starts")
	}
	for _, t := range []struct {
		name string
		year int
	}{{"start", r.Start.UTC().Year()}, {"end", r.End.UTC().Year()}} {
		if t.year < 1 || t.year > 9999 {
			return at.member(t.name).errorf(Invalid, "expected a year from 1 to 9999 (RFC 3339), found %d", t.year)
		}
	}
	return nil
}

func (p Policy) checkThreshold() *Error {
	const at = PolicyPath("threshold")
	signers := len(p.Identities) + p.distinctKeys()
	switch {
	case signers == 0:
		return PolicyPath("identities").errorf(Invalid, "no signers: expected identities or keys").WithHint("a policy without signers accepts nobody")
	case p.Threshold < 0:
		return at.errorf(Invalid, "expected a number from 1 to that of the signers, found %d", p.Threshold)
	case p.Threshold > signers:
		return at.errorf(Invalid, "%d signers are demanded, the policy names %d", p.Threshold, signers)
	}
	return nil
}

// distinctKeys counts keys; one with two spans of time is one signer.
func (p Policy) distinctKeys() int {
	n := 0
	for i, k := range p.Keys {
		if slices.IndexFunc(p.Keys, k.sameKey) == i {
			n++
		}
	}
	return n
}

// same reports whether o says what k says, of a key that may be encoded otherwise.
func (k PublicKey) same(o PublicKey) bool {
	return k.Details == o.Details && k.ValidFor.Equal(o.ValidFor) && k.sameKey(o)
}

// sameKey compares the keys themselves.
func (k PublicKey) sameKey(o PublicKey) bool {
	if bytes.Equal(k.Key, o.Key) {
		return true
	}
	a, err := ParsePublicKey(k.Key)
	if err != nil {
		return false
	}
	b, err := ParsePublicKey(o.Key)
	if err != nil {
		return false
	}
	same, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && same.Equal(b)
}

func (p Policy) checkPredicateTypes() *Error {
	for i, t := range p.PredicateTypes {
		at := PolicyPath("predicateTypes").element(i)
		if t == "" {
			return at.errorf(Invalid, "empty: expected the URI of a predicate type, or %q", AnyPredicateType)
		}
		if err := checkText(at, t); err != nil {
			return err
		}
		if t == AnyPredicateType && len(p.PredicateTypes) > 1 {
			return at.errorf(Invalid, "%q accepts whatever there is: expected it alone", t)
		}
		if first := slices.Index(p.PredicateTypes, t); first < i {
			return at.errorf(Invalid, "the same as predicateTypes[%d]", first)
		}
	}
	return nil
}

// checkConditions does not read them: that takes an interpreter.
func (p Policy) checkConditions() *Error {
	for i, c := range p.Conditions {
		at := PolicyPath("conditions").element(i)
		// Line ends and tabs are for whoever reads it.
		if err := checkText(at, strings.NewReplacer("\n", " ", "\t", " ").Replace(c)); err != nil {
			return err
		}
		if strings.TrimSpace(c) == "" {
			return at.errorf(Invalid, "empty: expected an expression (CEL)")
		}
		if first := slices.Index(p.Conditions, c); first < i {
			return at.errorf(Invalid, "the same as conditions[%d]", first)
		}
	}
	if len(p.Conditions) > 0 && len(p.PredicateTypes) == 0 {
		return PolicyPath("conditions").errorf(Invalid, "a condition is about a statement, and the policy wants none: expected predicateTypes").
			WithHint("%q accepts statements of any type", AnyPredicateType)
	}
	return nil
}

func (p Policy) checkDigests() *Error {
	for i, d := range p.Digests {
		at := PolicyPath("digests").element(i)
		switch again, err := ParseNamedDigest(d.String()); {
		case err != nil:
			return at.wrap(err)
		case again != d:
			return at.errorf(Invalid, "the name of an algorithm has no colon, found %q", d.Algorithm)
		}
		if first := slices.Index(p.Digests, d); first < i {
			return at.errorf(Invalid, "the same as digests[%d]", first)
		}
	}
	return nil
}

func (p Policy) checkRest() *Error {
	if err := p.Signed.check("signed"); err != nil {
		return err
	}
	for _, demand := range []struct {
		name string
		n    int
	}{{"logEntries", p.Demands.LogEntries}, {"times", p.Demands.Times}, {"scts", p.Demands.SCTs}} {
		if demand.n < 0 || demand.n > MaxPolicyEntries {
			return PolicyPath("demands").member(demand.name).errorf(Invalid, "expected a number from 0 to %d, found %d", MaxPolicyEntries, demand.n)
		}
	}
	if p.Demands.SCTs > 0 && len(p.Keys) > 0 {
		return PolicyPath("demands.scts").errorf(Invalid, "SCTs are promises of certificates, which keys do not have: the policy's keys could never meet it")
	}
	return nil
}
