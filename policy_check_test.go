package sigbox_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// spki makes a key; the curve is nil for Ed25519.
func spki(t testing.TB, curve elliptic.Curve) sigbox.SubjectPublicKeyInfo {
	t.Helper()
	var public any
	var err error
	if curve == nil {
		public, _, err = ed25519.GenerateKey(rand.Reader)
	} else {
		var k *ecdsa.PrivateKey
		if k, err = ecdsa.GenerateKey(curve, rand.Reader); err == nil {
			public = k.Public()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func ada() sigbox.IdentityMatch {
	return sigbox.IdentityMatch{Subject: "ada@example.com", Issuer: "https://id.example"}
}

// A few bytes can stand for expressions that take minutes and gigabytes.
func TestRegexpsAreBounded(t *testing.T) {
	t.Parallel()
	for expr, ok := range map[string]bool{
		`https://github\.com/acme/[a-z-]{1,100}/.*`: true,
		`(a{0,9}b){90}`:                                true,
		strings.Repeat(`a|`, 1500) + "b":               true,
		`x{0,999}x{0,999}x{0,999}x{0,999}x{0,999}`:     false,
		`(a{0,31}){31}b{1000,}(c{30}){30}d{900}e{900}`: false,
		strings.Repeat(`x{0,999}`, 500):                false,
	} {
		p := sigbox.Policy{Identities: []sigbox.IdentityMatch{{SubjectRegexp: expr, Issuer: "https://id.example"}}}
		if err := p.Check(); (err == nil) != ok || err != nil && sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%.60s: found %v", expr, err)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	key := sigbox.PublicKey{Key: spki(t, elliptic.P256())}
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		change func(*sigbox.Policy)
		path   sigbox.PolicyPath // "" for a policy that is fine
		want   string
	}{
		"an identity": {func(*sigbox.Policy) {}, "", ""},
		"all of it": {func(p *sigbox.Policy) {
			p.Identities[0].Extensions.BuildTrigger = "push"
			p.Identities[0].ExtensionsRegexp.SourceRepositoryRef = "refs/tags/.*"
			p.Keys = []sigbox.PublicKey{key}
			p.Threshold = 2
			p.PredicateTypes = []string{"https://slsa.dev/provenance/v1"}
			p.Conditions = []string{"true", "predicate.a ==\n\t7"}
			p.Digests = []sigbox.NamedDigest{{Algorithm: "gitCommit", Value: strings.Repeat("00ff", 10)}}
			p.Signed = sigbox.TimeRange{Start: year(2026), End: year(2026)}
			p.Demands = sigbox.Demands{LogEntries: 1, Times: 2}
		}, "", ""},
		"nobody":                 {func(p *sigbox.Policy) { p.Identities = nil }, "identities", "no signers"},
		"no subject":             {func(p *sigbox.Policy) { p.Identities[0].Subject = "" }, "identities[0]", "no subject"},
		"no issuer":              {func(p *sigbox.Policy) { p.Identities[0].Issuer = "" }, "identities[0]", "no issuer"},
		"two subjects":           {func(p *sigbox.Policy) { p.Identities[0].SubjectRegexp = "a" }, "identities[0]", "both subject and subjectRegExp"},
		"two issuers":            {func(p *sigbox.Policy) { p.Identities[0].IssuerRegexp = "a" }, "identities[0]", "both issuer and issuerRegExp"},
		"the same identity":      {func(p *sigbox.Policy) { p.Identities = append(p.Identities, ada()) }, "identities[1]", "the same as identities[0]"},
		"a line end":             {func(p *sigbox.Policy) { p.Identities[0].Subject += "\n" }, "identities[0].subject", "control character '\\n'"},
		"not UTF-8":              {func(p *sigbox.Policy) { p.Identities[0].Issuer += "\xff" }, "identities[0].issuer", "not UTF-8"},
		"a long name":            {func(p *sigbox.Policy) { p.Identities[0].Subject = strings.Repeat("a", sigbox.MaxPolicyText+1) }, "identities[0].subject", "at most 4096"},
		"no regular expression":  {func(p *sigbox.Policy) { p.Identities[0] = regexps("a(", "b") }, "identities[0].subjectRegExp", "missing closing )"},
		"out of the group":       {func(p *sigbox.Policy) { p.Identities[0] = regexps("a", "a)|(b") }, "identities[0].issuerRegExp", "unexpected )"},
		"too deep to be wrapped": {func(p *sigbox.Policy) { p.Identities[0] = regexps("a", nested(999)) }, "identities[0].issuerRegExp", "nests too deeply"},
		"an extension twice": {func(p *sigbox.Policy) {
			p.Identities[0].Extensions.BuildTrigger, p.Identities[0].ExtensionsRegexp.BuildTrigger = "push", "push"
		}, "identities[0]", "buildTrigger both in"},
		"an extension": {func(p *sigbox.Policy) { p.Identities[0].Extensions.TokenSubject = "\x00" }, "identities[0].extensions.tokenSubject", "control"},
		"an extension's regular expression": {func(p *sigbox.Policy) { p.Identities[0].ExtensionsRegexp.TokenSubject = "*" }, "identities[0].extensionsRegExp.tokenSubject",
			"missing argument"},
		"no key":            {func(p *sigbox.Policy) { p.Keys = []sigbox.PublicKey{{}} }, "keys[0]", "no publicKey"},
		"not a key":         {func(p *sigbox.Policy) { p.Keys = []sigbox.PublicKey{{Key: []byte("key")}} }, "keys[0].publicKey", "expected a DER"},
		"another algorithm": {func(p *sigbox.Policy) { p.Keys = []sigbox.PublicKey{{Key: key.Key, Details: sigbox.Ed25519}} }, "keys[0].algorithm", "ECDSA P-256"},
		"no algorithm":      {func(p *sigbox.Policy) { p.Keys = []sigbox.PublicKey{{Key: key.Key, Details: 200}} }, "keys[0].algorithm", "not an algorithm"},
		"the same key":      {func(p *sigbox.Policy) { p.Keys = []sigbox.PublicKey{key, key} }, "keys[1]", "the same as keys[0]"},
		"a key that ends before it starts": {func(p *sigbox.Policy) {
			p.Keys = []sigbox.PublicKey{{Key: key.Key, ValidFor: sigbox.TimeRange{Start: year(2027), End: year(2026)}}}
		}, "keys[0].validFor", "ends before it starts"},
		"a negative threshold": {func(p *sigbox.Policy) { p.Threshold = -1 }, "threshold", "found -1"},
		"a high threshold":     {func(p *sigbox.Policy) { p.Threshold = 2 }, "threshold", "2 signers are demanded, the policy names 1"},
		"one key for two": {func(p *sigbox.Policy) {
			p.Identities, p.Threshold = nil, 2
			p.Keys = []sigbox.PublicKey{key, {Key: key.Key, ValidFor: sigbox.TimeRange{End: year(2026)}}}
		}, "threshold", "the policy names 1"},
		"an empty type":          {func(p *sigbox.Policy) { p.PredicateTypes = []string{""} }, "predicateTypes[0]", "empty"},
		"a type twice":           {func(p *sigbox.Policy) { p.PredicateTypes = []string{"a", "a"} }, "predicateTypes[1]", "the same"},
		"a type and any":         {func(p *sigbox.Policy) { p.PredicateTypes = []string{"a", "*"} }, "predicateTypes[1]", "expected it alone"},
		"a type of two":          {func(p *sigbox.Policy) { p.PredicateTypes = []string{"a\nb"} }, "predicateTypes[0]", "control"},
		"no condition":           {func(p *sigbox.Policy) { conditions(p, "a", " \n") }, "conditions[1]", "empty"},
		"a condition twice":      {func(p *sigbox.Policy) { conditions(p, "a", "a") }, "conditions[1]", "the same as conditions[0]"},
		"a long condition":       {func(p *sigbox.Policy) { conditions(p, strings.Repeat("a", sigbox.MaxPolicyText+1)) }, "conditions[0]", "at most 4096"},
		"a condition's control":  {func(p *sigbox.Policy) { conditions(p, "a\r\nb") }, "conditions[0]", "control character '\\r'"},
		"a condition of no text": {func(p *sigbox.Policy) { conditions(p, "\xff") }, "conditions[0]", "not UTF-8"},
		"a condition about nothing": {func(p *sigbox.Policy) {
			conditions(p, "true")
			p.PredicateTypes = nil
		}, "conditions", "expected predicateTypes"},
		"a short digest": {func(p *sigbox.Policy) { p.Digests = []sigbox.NamedDigest{{Algorithm: "sha256", Value: "00"}} }, "digests[0]", "expected 64"},
		"no digest":      {func(p *sigbox.Policy) { p.Digests = []sigbox.NamedDigest{{}} }, "digests[0]", "expected the name"},
		"a colon":        {func(p *sigbox.Policy) { p.Digests = []sigbox.NamedDigest{{Algorithm: "a:b", Value: "c"}} }, "digests[0]", "no colon"},
		"a digest twice": {func(p *sigbox.Policy) {
			p.Digests = []sigbox.NamedDigest{{Algorithm: "a", Value: "b"}, {Algorithm: "a", Value: "b"}}
		}, "digests[1]", "the same"},
		"ends first":         {func(p *sigbox.Policy) { p.Signed = sigbox.TimeRange{Start: year(2027), End: year(2026)} }, "signed", "ends before it starts"},
		"a far year":         {func(p *sigbox.Policy) { p.Signed.End = year(10000) }, "signed.end", "found 10000"},
		"a year before ours": {func(p *sigbox.Policy) { p.Signed.Start = year(0) }, "signed.start", "found 0"},
		"negative entries":   {func(p *sigbox.Policy) { p.Demands.LogEntries = -1 }, "demands.logEntries", "found -1"},
		"negative times":     {func(p *sigbox.Policy) { p.Demands.Times = -1 }, "demands.times", "found -1"},
		"SCTs of keys":       {func(p *sigbox.Policy) { p.Keys, p.Demands.SCTs = []sigbox.PublicKey{key}, 1 }, "demands.scts", "keys do not have"},
		"many SCTs":          {func(p *sigbox.Policy) { p.Demands.SCTs = 65 }, "demands.scts", "found 65"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := sigbox.Policy{Identities: []sigbox.IdentityMatch{ada()}}
			c.change(&p)
			expectFault(t, p, c.path, c.want)
		})
	}
}

func regexps(subject, issuer string) sigbox.IdentityMatch {
	return sigbox.IdentityMatch{SubjectRegexp: subject, IssuerRegexp: issuer}
}

// conditions makes p one about statements.
func conditions(p *sigbox.Policy, all ...string) {
	p.PredicateTypes, p.Conditions = []string{"a"}, all
}

func nested(depth int) string { return strings.Repeat("(", depth) + "a" + strings.Repeat(")", depth) }

func expectFault(t *testing.T, p sigbox.Policy, path sigbox.PolicyPath, want string) {
	t.Helper()
	err := p.Check()
	if path == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	if err == nil {
		t.Fatalf("accepted, expected an error with %q", want)
	}
	if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
		t.Errorf("kind %s: %v", k, err)
	}
	if at, ok := errors.AsType[sigbox.PolicyPath](err); !ok || at != path {
		t.Errorf("found the path %q, expected %q", at, path)
	}
	if !strings.HasPrefix(err.Error(), "policy: "+string(path)+": ") || !strings.Contains(err.Error(), want) {
		t.Errorf("found %v, expected %s and %q", err, path, want)
	}
}

func TestPolicyCheckBounds(t *testing.T) {
	t.Parallel()
	const most = sigbox.MaxPolicyEntries
	for name, fill := range map[sigbox.PolicyPath]func(p *sigbox.Policy, i int){
		"identities": func(p *sigbox.Policy, i int) {
			p.Identities = append(p.Identities, sigbox.IdentityMatch{Subject: fmt.Sprint(i), Issuer: "a"})
		},
		"keys":           func(p *sigbox.Policy, _ int) { p.Keys = append(p.Keys, sigbox.PublicKey{Key: spki(t, nil)}) },
		"predicateTypes": func(p *sigbox.Policy, i int) { p.PredicateTypes = append(p.PredicateTypes, fmt.Sprint(i)) },
		"conditions": func(p *sigbox.Policy, i int) {
			p.PredicateTypes, p.Conditions = []string{"a"}, append(p.Conditions, fmt.Sprint(i))
		},
		"digests": func(p *sigbox.Policy, i int) {
			p.Digests = append(p.Digests, sigbox.NamedDigest{Algorithm: "a", Value: fmt.Sprint(i)})
		},
	} {
		p := sigbox.Policy{}
		if name != "identities" {
			p.Identities = []sigbox.IdentityMatch{ada()}
		}
		for i := range most {
			fill(&p, i)
		}
		expectFault(t, p, "", "")
		fill(&p, most)
		expectFault(t, p, name, "65 of them, at most 64")
	}
}

// BenchmarkPolicyCheck is what checking adds to a verification.
func BenchmarkPolicyCheck(b *testing.B) {
	for name, p := range map[string]sigbox.Policy{
		"exact":  {Identities: []sigbox.IdentityMatch{ada()}},
		"regexp": {Identities: []sigbox.IdentityMatch{regexps(`https://github\.com/acme/tool/\.github/workflows/release\.yaml@refs/tags/v[0-9.]+`, `https://token\.actions\.githubusercontent\.com`)}},
		"key":    {Keys: []sigbox.PublicKey{{Key: spki(b, elliptic.P256())}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Check(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
