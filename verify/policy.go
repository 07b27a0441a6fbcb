package verify

import (
	"regexp"
	"strings"

	"github.com/sigbox/sigbox"
)

// policy is a sigbox.Policy, checked and compiled.
type policy struct {
	identities    []matcher
	predicateType string
}

// matcher is an IdentityMatch.
type matcher struct{ subject, issuer *pattern }

// pattern matches a whole string.
type pattern struct {
	literal string
	re      *regexp.Regexp // nil for a literal
}

func (p *pattern) match(s string) bool {
	if p.re != nil {
		return p.re.MatchString(s)
	}
	return p.literal == s
}

func (p *pattern) String() string {
	if p.re != nil {
		return "/" + p.literal + "/"
	}
	return p.literal
}

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 4096

// compile checks that every field of p means something: what would be dropped is
// refused instead.
func (v *Verifier) compile(p sigbox.Policy) (*policy, error) {
	out := &policy{predicateType: p.PredicateType}
	for i, id := range p.Identities {
		subject, err := v.pattern("subject", id.Subject, id.SubjectRegexp)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "policy: identity %d: %w", i+1, err)
		}
		issuer, err := v.pattern("issuer", id.Issuer, id.IssuerRegexp)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "policy: identity %d: %w", i+1, err)
		}
		out.identities = append(out.identities, matcher{subject, issuer})
	}
	return out, nil
}

func (v *Verifier) pattern(what, literal, expr string) (*pattern, error) {
	switch {
	case (literal == "") == (expr == ""):
		return nil, sigbox.Errorf(sigbox.Invalid, "expected the %s or a regular expression for it, one of them", what)
	case expr == "":
		return &pattern{literal: literal}, nil
	case len(expr) > maxPattern:
		return nil, sigbox.Errorf(sigbox.TooLarge, "the regular expression for the %s has %d bytes, at most %d are read", what, len(expr), maxPattern)
	}
	if known, ok := v.patterns.get(expr); ok {
		return known, nil
	}
	// Compiled by itself first: "a)|(b" must not reach out of the group.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the regular expression for the %s: %w", what, err)
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the regular expression for the %s: %w", what, err)
	}
	p := &pattern{expr, re}
	v.patterns.put(expr, p)
	return p, nil
}

// permits reports whether id is a wanted one.
func (p *policy) permits(id sigbox.Identity) bool {
	for _, m := range p.identities {
		if m.subject.match(id.Subject) && m.issuer.match(id.Issuer) {
			return true
		}
	}
	return false
}

// wanted names the identities for people.
func (p *policy) wanted() string {
	var b strings.Builder
	for i, m := range p.identities {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(describe(m.subject.String(), m.issuer.String()))
	}
	return b.String()
}

func describe(subject, issuer string) string { return subject + " (issuer " + issuer + ")" }
