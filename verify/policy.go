package verify

import (
	"bytes"
	"cmp"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
)

// policy is a sigbox.Policy, checked and compiled.
type policy struct {
	identities     []matcher
	keys           []*signer
	written        []sigbox.PublicKey // the keys, as they were given
	threshold      int
	predicateTypes []string
	conditions     Conditions // of conditionTexts, nil if there are none
	conditionTexts []string
	digests        []sigbox.NamedDigest
	signed         sigbox.TimeRange
	demands        sigbox.Demands
}

// matcher is an IdentityMatch.
type matcher struct {
	subject, issuer pattern
	extensions      []extensionMatcher
}

// extensionMatcher is for one extension of a certificate.
type extensionMatcher struct {
	arc  int
	want pattern
}

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

// rememberPolicies is how many a Verifier keeps compiled.
const rememberPolicies = 16

// policies remembers a few that were compiled.
type policies struct {
	mu    sync.Mutex
	known []*policy // guarded by mu
}

// find gives what p was compiled to, or nil.
func (c *policies) find(p *sigbox.Policy) *policy {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.known {
		if known.is(p) {
			return known
		}
	}
	return nil
}

// compile checks that every field of p means something: what would be dropped is
// refused instead.
func (c *policies) compile(p *sigbox.Policy, in Language) (*policy, error) {
	if known := c.find(p); known != nil {
		return known, nil
	}
	out, err := compile(p, in)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) == rememberPolicies {
		c.known = slices.Delete(c.known, 0, 1)
	}
	c.known = append(c.known, out)
	return out, nil
}

// CheckPolicy refuses a policy that no bundle is judged by: what [sigbox.Policy.Check]
// refuses, and conditions that are none in their language; nil is for policies without.
// The errors are of the same form.
func CheckPolicy(p sigbox.Policy, conditions Language) error {
	_, err := compile(&p, conditions)
	return err
}

// compile makes what shares nothing with p: callers may change theirs.
func compile(p *sigbox.Policy, in Language) (*policy, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	out := &policy{
		identities: make([]matcher, 0, len(p.Identities)), threshold: max(p.Threshold, 1),
		predicateTypes: slices.Clone(p.PredicateTypes), digests: slices.Clone(p.Digests), signed: p.Signed, demands: p.Demands,
	}
	for i := range p.Identities {
		m, err := newMatcher(&p.Identities[i])
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "policy: identity %d: %w", i+1, err)
		}
		out.identities = append(out.identities, m)
	}
	if err := out.read(p.Conditions, in); err != nil {
		return nil, err
	}
	for i, k := range p.Keys {
		s, err := signerOf(k)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.KindOf(err), "policy: key %d: %w", i+1, err)
		}
		out.keys, out.written = append(out.keys, s), append(out.written, k)
		out.written[i].Key = bytes.Clone(k.Key)
	}
	return out, nil
}

// read compiles conditions.
func (p *policy) read(conditions []string, in Language) (err error) {
	if len(conditions) == 0 {
		return nil
	}
	if in == nil {
		return sigbox.Errorf(sigbox.Invalid, "policy: %w: there is nothing here to answer conditions with", sigbox.PolicyPath("conditions")).
			WithHint("programs give it in verify.Config.Conditions: package verify/condition has it")
	}
	p.conditionTexts = slices.Clone(conditions)
	if p.conditions, err = in.Compile(p.conditionTexts); err == nil && p.conditions == nil {
		err = sigbox.Errorf(sigbox.Invalid, "policy: %w: their language has made nothing of them", sigbox.PolicyPath("conditions"))
	}
	return err
}

// is reports whether p was compiled of what says the same in the same order.
func (p *policy) is(o *sigbox.Policy) bool {
	return p.threshold == cmp.Or(o.Threshold, 1) && p.signed.Equal(o.Signed) && p.demands == o.Demands &&
		slices.Equal(p.predicateTypes, o.PredicateTypes) && slices.Equal(p.digests, o.Digests) &&
		slices.Equal(p.conditionTexts, o.Conditions) &&
		slices.EqualFunc(p.written, o.Keys, sigbox.PublicKey.Equal) && p.accepts(o.Identities)
}

// accepts reports whether these are the identities that p was compiled of.
func (p *policy) accepts(ids []sigbox.IdentityMatch) bool {
	if len(p.identities) != len(ids) {
		return false
	}
	for i := range ids {
		if !p.identities[i].is(&ids[i]) {
			return false
		}
	}
	return true
}

func newMatcher(id *sigbox.IdentityMatch) (m matcher, err error) {
	if m.subject, err = newPattern(id.Subject, id.SubjectRegexp); err != nil {
		return m, err
	}
	if m.issuer, err = newPattern(id.Issuer, id.IssuerRegexp); err != nil {
		return m, err
	}
	for arc, want := range extensionsOf(id) {
		p, err := newPattern(want.literal, want.expr)
		if err != nil {
			return m, err
		}
		m.extensions = append(m.extensions, extensionMatcher{arc, p})
	}
	return m, nil
}

// is reports whether m was made of id.
func (m *matcher) is(id *sigbox.IdentityMatch) bool {
	if !m.subject.is(id.Subject, id.SubjectRegexp) || !m.issuer.is(id.Issuer, id.IssuerRegexp) {
		return false
	}
	known := m.extensions
	for arc, want := range extensionsOf(id) {
		if len(known) == 0 || known[0].arc != arc || !known[0].want.is(want.literal, want.expr) {
			return false
		}
		known = known[1:]
	}
	return len(known) == 0
}

// written is a pattern before it is compiled; one of its fields is set.
type written struct{ literal, expr string }

// extensionsOf gives the extensions that are looked at, by their arcs.
func extensionsOf(id *sigbox.IdentityMatch) iter.Seq2[int, written] {
	return func(yield func(int, written) bool) {
		for arc := range sigbox.MaxExtensionArc + 1 {
			_, literal := id.Extensions.Field(arc)
			_, expr := id.ExtensionsRegexp.Field(arc)
			if literal == nil || *literal == "" && *expr == "" {
				continue
			}
			if !yield(arc, written{*literal, *expr}) {
				return
			}
		}
	}
}

// newPattern compiles a literal, or else a regular expression, which by itself is
// a good one: "a)|(b" would reach out of the group.
func newPattern(literal, expr string) (pattern, error) {
	if expr == "" {
		return pattern{literal: literal}, nil
	}
	re, err := regexp.Compile(`\A(?:` + expr + `)\z`)
	return pattern{expr, re}, err
}

// is reports whether p was made of these.
func (p *pattern) is(literal, expr string) bool {
	if p.re == nil {
		return expr == "" && literal == p.literal
	}
	return literal == "" && expr == p.literal
}

// named reports whether subject and issuer are the wanted ones.
func (m *matcher) named(id *sigbox.Identity) bool {
	return m.subject.match(id.Subject) && m.issuer.match(id.Issuer)
}

// differing gives the first extension that is not as wanted, 0 if all are.
func (m *matcher) differing(id *sigbox.Identity) (arc int, want *pattern) {
	for i := range m.extensions {
		e := &m.extensions[i]
		// What is not there matches nothing, not even an expression for nothing.
		if _, found := id.Extensions.Field(e.arc); *found == "" || !e.want.match(*found) {
			return e.arc, &e.want
		}
	}
	return 0, nil
}

// permits says why id is not a wanted one, nil if it is.
func (p *policy) permits(id *sigbox.Identity) error {
	var closest error
	for i := range p.identities {
		m := &p.identities[i]
		if !m.named(id) {
			continue
		}
		arc, want := m.differing(id)
		if arc == 0 {
			return nil
		}
		if closest == nil {
			name, found := id.Extensions.Field(arc)
			closest = mismatch(StepIdentity, name+" of the certificate of "+describe(id.Subject, id.Issuer), want, orNone(*found))
		}
	}
	if closest != nil {
		return closest
	}
	return mismatch(StepIdentity, "signed by somebody else", p.wanted(), describe(id.Subject, id.Issuer))
}

// orNone makes nothing visible.
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// wanted names the identities for people.
func (p *policy) wanted() string {
	var names []string
	for i := range p.identities {
		m := &p.identities[i]
		names = append(names, describe(m.subject.String(), m.issuer.String()))
	}
	if n := len(names) - 4; n > 1 {
		names = append(names[:4], "one of "+strconv.Itoa(n)+" others")
	}
	return strings.Join(names, " or ")
}

func describe(subject, issuer string) string { return subject + " (issuer " + issuer + ")" }

// signersOf gives the places among the policy's identities, and behind them its
// keys, that a signer may stand at.
func (p *policy) signersOf(s *signer) (places []int) {
	if s.leaf == nil {
		for i, k := range p.keys {
			if bytes.Equal(k.spki, s.spki) {
				places = append(places, len(p.identities)+i)
			}
		}
		return places
	}
	for i := range p.identities {
		m := &p.identities[i]
		if !m.named(&s.leaf.identity) {
			continue
		}
		if arc, _ := m.differing(&s.leaf.identity); arc == 0 {
			places = append(places, i)
		}
	}
	return places
}

// statement says whether the policy accepts a statement of a type.
func (p *policy) statement(predicateType string) error {
	if slices.Contains(p.predicateTypes, predicateType) || slices.Contains(p.predicateTypes, sigbox.AnyPredicateType) {
		return nil
	}
	if len(p.predicateTypes) > 0 {
		return mismatch(StepPredicate, "predicate type", strings.Join(p.predicateTypes, " or "), predicateType)
	}
	if predicateType == sigbox.CosignSignPredicateType {
		return nil
	}
	return mismatch(StepPredicate, "the bundle is an attestation about the artifact, which is no signature of it", "a signature", "a statement of type "+predicateType).
		hint("if it is the attestation that is wanted, the policy must name its predicate type")
}

// signature says whether the policy accepts a signature of the artifact itself.
func (p *policy) signature() error {
	switch {
	case len(p.predicateTypes) == 0:
		return nil
	case !slices.Contains(p.predicateTypes, sigbox.AnyPredicateType):
		return mismatch(StepPredicate, "the policy wants a statement, the bundle signs the artifact itself: predicate type", strings.Join(p.predicateTypes, " or "), "none")
	case len(p.conditionTexts) > 0:
		return mismatch(StepPredicate, "the policy has conditions about statements", "a statement", "a signature of the artifact itself")
	}
	return nil
}

// hashes gives those by which the policy names artifacts.
func (p *policy) hashes() (set hashSet) {
	for _, d := range p.digests {
		set.add(hashNamed(d.Algorithm))
	}
	return set
}

// join lists digests for people.
func join(digests []sigbox.NamedDigest) string {
	var b strings.Builder
	for i, d := range digests {
		if i > 0 {
			b.WriteString(" or ")
		}
		b.WriteString(d.String())
	}
	return b.String()
}
