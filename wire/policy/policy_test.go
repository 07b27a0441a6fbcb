package policy_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/policy"
)

const ada = "identities:\n  - subject: ada@example.com\n    issuer: https://id.example\n"

func TestParse(t *testing.T) {
	t.Parallel()
	want := sigbox.Policy{
		Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: "https://id.example"}},
		Signed:     sigbox.TimeRange{Start: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)},
	}
	for name, text := range map[string]string{
		"YAML":                   ada + "signed:\n  start: 2026-01-31T12:00:00Z\n",
		"a quoted time":          ada + "signed:\n  start: '2026-01-31T12:00:00Z'\n",
		"another zone":           ada + "signed:\n  start: 2026-01-31T14:00:00+02:00\n",
		"comments, Windows":      strings.ReplaceAll("# who\n---\n"+ada+"signed: # when\n  start: 2026-01-31T12:00:00Z\n...\n", "\n", "\r\n"),
		"flow style":             "---\n{identities: [{subject: ada@example.com, issuer: \"https://id.example\"}], signed: {start: 2026-01-31T12:00:00Z}}",
		"JSON":                   `{"identities":[{"subject":"ada@example.com","issuer":"https://id.example"}],"signed":{"start":"2026-01-31T12:00:00Z"}}`,
		"JSON after white space": "\n\t " + `{"signed":{"start":"2026-01-31T12:00:00Z"},"identities":[{"issuer":"https:\/\/id.example","subject":"\u0061da@example.com"}]}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := policy.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestParseRefuses: each is refused, with what is to be done about it.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	identity := func(member string) string {
		return "identities:\n  - issuer: https://id.example\n    " + member + "\n"
	}
	const pem = "      -----BEGIN PUBLIC KEY-----\n      MCowBQYDK2VwAyEAW5b0zr3Yeey7k6i0maEm4IUGGlgb2BgCqygZ8piEDHM=\n      -----END PUBLIC KEY-----\n"
	json := func(members string) string {
		return "{\n  \"identities\": [{\"subject\": \"a\", \"issuer\": \"b\"}],\n  " + members + "}"
	}
	for name, c := range map[string]struct{ in, want string }{
		// The document.
		"empty":               {"", "policy: it is empty (docs/policy.md has examples)"},
		"comments alone":      {"# nothing\n", "it is empty"},
		"an empty document":   {"---\n", "found nothing"},
		"text":                {"ada@example.com", "line 1, column 1: the wrong type: expected an object, found \"ada@example.com\""},
		"a list":              {"[]", "expected an object, found a list"},
		"two documents":       {ada + "---\n" + ada, "expected one YAML document"},
		"an end, then more":   {ada + "...\nmore", "expected one YAML document"},
		"more after JSON":     {json(`"threshold": 1`) + "x", "line 3, column 18: more after the end of the JSON"},
		"UTF-16":              {"\xff\xfea\x00", "not UTF-8"},
		"too long":            {strings.Repeat(" ", policy.MaxSize+1), "at most 131072"},
		"too deep":            {strings.Repeat("[", 20) + strings.Repeat("]", 20), "more than 8 lists and objects"},
		"too deep in JSON":    {`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}", "line 1, column 13: more than 8 lists and objects"},
		"not YAML":            {"identities: [", "not valid YAML: line 1"},
		"not JSON":            {"{\n  \"identities\": [,]}", "line 2, column 18: not valid JSON: "},
		"JSON without end":    {"{\n \"identities\": [", "line 2, column 17: the JSON ends early"},
		"JSON in lone halves": {`{"\ud800": 1}`, "not valid JSON"},

		// What only YAML has.
		"an anchor":         {identity("subject: &a ada"), "line 3, column 14: anchors are not read, found &a"},
		"an alias":          {"identities: &a []\nkeys: *a", "anchors are not read"},
		"an unknown alias":  {identity("subjectRegExp: *@example.com"), "single quotes"},
		"a merge key":       {identity("<<: {subject: ada}"), "line 3, column 5: merge keys are not read"},
		"a tag":             {identity("subject: !!str 123"), "line 3, column 14: tags are not read, found !!str"},
		"a custom tag":      {identity("subject: !ada a"), "tags are not read, found !ada"},
		"a set":             {"!!set {a, b}", "tags are not read"},
		"a complex name":    {"? [a]\n: b", "the name of a member, found a list"},
		"a boolean as name": {"yes: 1", "the name of a member, found the boolean yes"},

		// Members.
		"unknown":          {ada + "colour: red\n", "line 4, column 1: unknown member \"colour\" (expected one of identities, keys, threshold,"},
		"nearly":           {ada + "tresholds: 1\n", "unknown member \"tresholds\" (did you mean threshold?)"},
		"another case":     {identity("subjectRegexp: .*"), "identities[0]: unknown member \"subjectRegexp\" (did you mean subjectRegExp?)"},
		"of an extension":  {identity("subject: a\n    extensions: {workflow: release}"), "line 4, column 18: identities[0].extensions: unknown member \"workflow\" (docs/policy.md lists them)"},
		"unknown and long": {strings.Repeat("a", 900) + ": b", strings.Repeat("a", 59)},
		"unknown in JSON":  {json(`"treshold": 1`), "line 3, column 3: unknown member \"treshold\" (did you mean threshold?)"},
		"twice":            {identity("subject: ada\n    subject: bob"), "line 4, column 5: identities[0].subject: it stands twice"},
		"twice in JSON":    {json("\"threshold\": 1,\n  \"threshold\": 1"), "line 4, column 3: threshold: it stands twice"},
		"nothing":          {identity("subject:"), "identities[0].subject: found nothing"},
		"a tilde":          {ada + "signed: ~\n", "signed: found nothing"},
		"null":             {json(`"signed": {"end": null}`), "line 3, column 21: signed.end: found nothing (leave out"},
		"an empty text":    {identity("subject: ''"), "identities[0].subject: it says nothing (leave it out)"},
		"an empty list":    {ada + "predicateTypes: []\n", "predicateTypes: it says nothing"},
		"an empty object":  {ada + "signed: {}\n", "signed: it says nothing"},
		"zero":             {ada + "threshold: 0\n", "threshold: it says nothing"},
		"the zero time":    {ada + "signed: {end: 0001-01-01T00:00:00Z}\n", "signed.end: it says nothing"},

		// Types.
		"a number for text":    {identity("subject: 123"), "line 3, column 14: identities[0].subject: the wrong type: expected text, found the number 123 (put it in quotes: \"123\")"},
		"yes for text":         {identity("subject: yes"), "expected text, found the boolean yes (put it in quotes: \"yes\")"},
		"no for text":          {identity("subject: No"), "found the boolean No"},
		"true for text":        {identity("subject: true"), "found the boolean true"},
		"a version for text":   {identity("subject: a\n    extensions: {sourceRepositoryRef: 1.10}"), "identities[0].extensions.sourceRepositoryRef: the wrong type: expected text, found the number 1.10 (put it in quotes: \"1.10\")"},
		"a date for text":      {identity("subject: 2026-01-31"), "found the time 2026-01-31 (put it in quotes"},
		"a hash for text":      {identity("subject: 0x10"), "found the number 0x10"},
		"exponents for text":   {identity("subject: 12e3"), "found the number 12e3"},
		"a set of letters":     {identity("subjectRegExp: [a-z]"), "expected text, found a list (text with brackets"},
		"braces":               {identity("subjectRegExp: {a: b}"), "expected text, found an object"},
		"letters, then more":   {identity("subjectRegExp: [a-z]+@example.com"), "single quotes"},
		"a colon":              {identity("subjectRegExp: a: b"), "not valid YAML"},
		"an escape":            {identity(`subjectRegExp: "a\.b"`), "single quotes"},
		"a false escape":       {identity(`subjectRegExp: "\bada"`), "control character '\\b'"},
		"a number in JSON":     {json(`"predicateTypes": ["a", 2]`), "line 3, column 27: predicateTypes[1]: the wrong type: expected text, found the number 2"},
		"text for a number":    {ada + "threshold: '1'\n", "threshold: the wrong type: expected a whole number, found \"1\""},
		"octal":                {ada + "threshold: 01\n", "expected a whole number, found the number 01"},
		"underscores":          {ada + "threshold: 1_0\n", "expected a whole number"},
		"a fraction":           {ada + "threshold: 1.0\n", "expected a whole number, found the number 1.0"},
		"a fraction in JSON":   {json(`"threshold": 1e0`), "expected a whole number"},
		"a huge number":        {ada + "threshold: 99999999999999999999\n", "expected a whole number"},
		"infinity":             {ada + "threshold: .inf\n", "expected a whole number"},
		"text for a list":      {ada + "predicateTypes: https://slsa.dev/provenance/v1\n", "expected a list, found \"https:"},
		"a list for an object": {ada + "signed: [a]\n", "line 4, column 9: signed: the wrong type: expected an object, found a list"},
		"a number as time":     {ada + "signed: {start: 2026}\n", "signed.start: the wrong type: expected a time, found the number 2026"},
		"a date":               {ada + "signed: {end: 2026-01-31}\n", "signed.end: not a time by RFC 3339: expected one as in 2026-01-31T12:00:00Z, found the time 2026-01-31"},
		"a time without zone":  {ada + "signed: {end: 2026-01-31 12:00:00}\n", "not a time by RFC 3339"},
		"no time":              {ada + "signed: {end: yesterday}\n", "not a time by RFC 3339"},
		"a number as digest":   {ada + "digests: [12]\n", "digests[0]: the wrong type: expected text, found the number 12"},
		"a digest as object":   {ada + "digests: [sha256: 00]\n", "digests[0]: the wrong type: expected text, found an object"},
		"no digest":            {ada + "digests: [abc]\n", "line 4, column 11: digests[0]: digest \"abc\": expected the name"},
		"another key":          {"keys:\n  - publicKey: |\n      -----BEGIN RSA PUBLIC KEY-----\n      AAAA\n      -----END RSA PUBLIC KEY-----\n", "line 2, column 16: keys[0].publicKey: public key: type of the PEM block: expected PUBLIC KEY"},
		"text before a key":    {"keys:\n  - publicKey: |\n      a key\n" + pem, "keys[0].publicKey: public key: more before the PEM block"},
		"a broken key, a key":  {"keys:\n  - publicKey: |\n      -----BEGIN PUBLIC KEY-----\n      A!\n      -----END PUBLIC KEY-----\n" + pem, "more before the PEM block"},
		"two keys in one":      {"keys:\n  - publicKey: |\n" + pem + pem, "more after the end of the PEM block"},
		"no algorithm":         {"keys:\n  - algorithm: RSA\n", "line 2, column 16: keys[0].algorithm: key details \"RSA\""},
		"many":                 {ada + "predicateTypes: [" + strings.Repeat("a, ", 65) + "]\n", "predicateTypes: 65 of them, at most 64"},

		// What cannot be meant: the line of what is wrong, or of what holds it.
		"nobody":             {"threshold: 1", "line 1, column 1: identities: no signers"},
		"no issuer":          {"identities:\n  - subject: ada\n", "line 2, column 5: identities[0]: no issuer: expected issuer or issuerRegExp ("},
		"a line end":         {identity("subjectRegExp: |\n      .*@example.com"), "line 3, column 20: identities[0].subjectRegExp: found the control character '\\n'"},
		"no expression":      {identity("subjectRegExp: a("), "line 3, column 20: identities[0].subjectRegExp: not a regular expression (RE2)"},
		"a high threshold":   {ada + "threshold: 2\n", "line 4, column 12: threshold: 2 signers are demanded, the policy names 1"},
		"ends first in JSON": {json(`"signed": {"start": "2027-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}`), "line 3, column 13: signed: it ends before it starts"},
		"second in a list":   {ada + "predicateTypes:\n  - a\n  - a\n", "line 6, column 5: predicateTypes[1]: the same as predicateTypes[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := policy.Parse([]byte(c.in))
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Errorf("kind %s", k)
			}
			if !strings.Contains(err.Error(), c.want) || len(err.Error()) > 600 {
				t.Errorf("found    %v\nexpected %s", err, c.want)
			}
			if !reflect.DeepEqual(p, sigbox.Policy{}) {
				t.Errorf("an error, and %+v", p)
			}
		})
	}
}

// TestAppendRefuses: what could not be read is not written, and dst stays.
func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	long := sigbox.Policy{}
	for i := range sigbox.MaxPolicyEntries {
		long.Identities = append(long.Identities, sigbox.IdentityMatch{
			Subject: strings.Repeat("a", sigbox.MaxPolicyText-2) + fmt.Sprint(10+i), Issuer: strings.Repeat("i", sigbox.MaxPolicyText),
		})
	}
	for want, p := range map[string]sigbox.Policy{"no signers": {}, "at most 131072": long} {
		for name, write := range map[string]func([]byte, sigbox.Policy) ([]byte, error){"YAML": policy.Append, "JSON": policy.AppendJSON} {
			if out, err := write([]byte("before"), p); err == nil || out != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: found %.20q, %v; expected %q", name, out, err, want)
			}
		}
	}
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	p := sigbox.Policy{
		Identities: []sigbox.IdentityMatch{{SubjectRegexp: `a\.<b>&`, Issuer: "https://id.example"}},
		Signed:     sigbox.TimeRange{End: time.Date(2026, 1, 31, 14, 0, 0, 5, time.FixedZone("", 7200))},
	}
	const want = `before {
  "identities": [
    {
      "subjectRegExp": "a\\.<b>&",
      "issuer": "https://id.example"
    }
  ],
  "signed": {
    "end": "2026-01-31T12:00:00.000000005Z"
  }
}
`
	got, err := policy.AppendJSON([]byte("before "), p)
	if err != nil || string(got) != want {
		t.Errorf("found %s, %v", got, err)
	}
}

// TestRoundTrip: what is written is read as the same.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		p := policies(keys).Draw(t, "policy")
		if err := p.Check(); err != nil {
			t.Skip(err)
		}
		roundTrip(t, p)
	})
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func roundTrip(t fataler, p sigbox.Policy) {
	t.Helper()
	for name, write := range map[string]func([]byte, sigbox.Policy) ([]byte, error){"YAML": policy.Append, "JSON": policy.AppendJSON} {
		text, err := write(nil, p)
		if err != nil && sigbox.KindOf(err) == sigbox.TooLarge {
			continue // short in flow style, long when it is laid out
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := policy.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("%s: %s\n%s", name, cmp.Diff(p, again), text)
		}
	}
}

func newKeys(t testing.TB) []sigbox.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var keys []sigbox.PublicKey
	for _, k := range []struct {
		public  any
		details sigbox.KeyDetails
	}{{public, 0}, {public, sigbox.Ed25519ph}, {private.Public(), sigbox.ECDSAP384SHA384}, {private.Public(), sigbox.ECDSAP384SHA256}} {
		der, err := x509.MarshalPKIXPublicKey(k.public)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, sigbox.PublicKey{Key: der, Details: k.details})
	}
	return keys
}

// texts gives names, and texts that YAML has another mind about.
func texts() *rapid.Generator[string] {
	odd := []string{
		"yes", "No", "y", "on", "true", "null", "~", "Null", "123", "0x1F", "1.10", "1e3", ".inf", "-1", "+1", "1_000", "010", "0o7", "0b1", "190:20:30",
		"2026-01-31", "2026-01-31T12:00:00Z", "<<", "=", "*", "*a", "&a", "!a", "!!str a", "- a", "-", "---", "...", "? a", "a: b", "a #b", "#", "%a", "@a",
		"`a`", "'", "\"", "'a'", "\"a\"", "[a]", "{a}", "a,b", "|", ">", "|-", " a", "a ", "  ", "\\", `\n`, "\u2028", "\u00a0", "\ufeff", "\ufffe", "\U0001F600", "e\u0301", "\u200d",
		strings.Repeat("long ", 100), "a\u00adb",
	}
	return rapid.OneOf(rapid.SampledFrom(odd), rapid.StringN(1, 40, 200), rapid.StringMatching(`https://[a-z]{1,8}\.example/[a-z@.]{0,9}`))
}

// TestLocate: what is found wrong with a policy after it was read has a place in the
// text too.
func TestLocate(t *testing.T) {
	t.Parallel()
	text := []byte("identities:\n- subject: a\n  issuer: b\npredicateTypes: [p]\nconditions:\n- a\n- b c\n")
	wrong := sigbox.Errorf(sigbox.Invalid, "policy: %w: line 1, column 3: rubbish", sigbox.PolicyPath("conditions[1]"))
	if got := policy.Locate(text, wrong); got.Error() != "policy: line 7, column 3: conditions[1]: line 1, column 3: rubbish" || sigbox.KindOf(got) != sigbox.Invalid {
		t.Errorf("found %v", got)
	}
	for _, other := range []error{errors.New("other"), sigbox.Errorf(sigbox.Invalid, "other")} {
		if got := policy.Locate(text, other); got != other {
			t.Errorf("found %v", got)
		}
	}
	if got := policy.Locate([]byte("{"), wrong); got != error(wrong) {
		t.Errorf("found %v", got)
	}
}

// expressions gives texts of several lines.
func expressions() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{
		"a ==\n  b", "a\n", "\na", "\n\na\n\n", " a\nb", "\ta\n\tb", "a\n\n\nb", "a \nb", "a\n b\n  c", "# a\nb", "- a\n- b", "'a'\n\"b\"", "a:\nb", "é\nb", "---\na", "a\n...", "\t",
	})
}

func times() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "open") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-62_000_000_000, 253_000_000_000).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
}

func ranges(t *rapid.T, name string) sigbox.TimeRange {
	r := sigbox.TimeRange{Start: times().Draw(t, name+" start"), End: times().Draw(t, name+" end")}
	if !r.End.IsZero() && r.End.Before(r.Start) {
		r.Start, r.End = r.End, r.Start
	}
	return r
}

func extensions(t *rapid.T, name string, value *rapid.Generator[string]) (e sigbox.Extensions) {
	v := reflect.ValueOf(&e).Elem()
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, v.NumField()-1), 0, 3, rapid.ID).Draw(t, name) {
		v.Field(i).SetString(value.Draw(t, "value"))
	}
	return e
}

func identities() *rapid.Generator[sigbox.IdentityMatch] {
	expr := rapid.OneOf(rapid.SampledFrom([]string{`.*`, `[a-z]+@example\.com`, `refs/tags/v\d+`, `(?i)ada|bob`, `it''s`, `\Qa b\E #c: d`}), texts())
	return rapid.Custom(func(t *rapid.T) (m sigbox.IdentityMatch) {
		if rapid.Bool().Draw(t, "subject") {
			m.Subject = texts().Draw(t, "subject")
		} else {
			m.SubjectRegexp = expr.Draw(t, "subjectRegExp")
		}
		if rapid.Bool().Draw(t, "issuer") {
			m.Issuer = texts().Draw(t, "issuer")
		} else {
			m.IssuerRegexp = expr.Draw(t, "issuerRegExp")
		}
		if rapid.Bool().Draw(t, "exact") {
			m.Extensions = extensions(t, "extensions", texts())
		} else {
			m.ExtensionsRegexp = extensions(t, "extensionsRegExp", expr)
		}
		return m
	})
}

// policies gives some that pass Check, and some that do not.
func policies(keys []sigbox.PublicKey) *rapid.Generator[sigbox.Policy] {
	digests := rapid.Custom(func(t *rapid.T) sigbox.NamedDigest {
		if rapid.Bool().Draw(t, "computed") {
			return sigbox.SHA384.Sum(rapid.SliceOf(rapid.Byte()).Draw(t, "artifact")).Named()
		}
		return sigbox.NamedDigest{Algorithm: rapid.StringMatching(`[a-zA-Z0-9_-]{1,12}`).Draw(t, "algorithm"), Value: rapid.StringMatching(`[!-~]{1,40}`).Draw(t, "value")}
	})
	return rapid.Custom(func(t *rapid.T) (p sigbox.Policy) {
		p.Identities = none(rapid.SliceOfN(identities(), 0, 3).Draw(t, "identities"))
		p.Keys = none(rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, len(keys), func(k sigbox.PublicKey) string { return k.Details.String() }).Draw(t, "keys"))
		for i := range p.Keys {
			p.Keys[i].ValidFor = ranges(t, "key")
		}
		p.Threshold = rapid.IntRange(0, len(p.Identities)).Draw(t, "threshold")
		p.PredicateTypes = none(rapid.SliceOfNDistinct(texts(), 0, 3, rapid.ID).Draw(t, "predicateTypes"))
		p.Conditions = none(rapid.SliceOfNDistinct(rapid.OneOf(texts(), expressions()), 0, 3, rapid.ID).Draw(t, "conditions"))
		p.Digests = none(rapid.SliceOfNDistinct(digests, 0, 3, rapid.ID).Draw(t, "digests"))
		p.Signed = ranges(t, "signed")
		n := rapid.IntRange(0, sigbox.MaxPolicyEntries)
		p.Demands = sigbox.Demands{LogEntries: n.Draw(t, "logEntries"), Times: n.Draw(t, "times")}
		if len(p.Keys) == 0 {
			p.Demands.SCTs = n.Draw(t, "scts")
		}
		return p
	})
}

// none makes an empty list nil, as Parse does.
func none[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// FuzzParse: what is read is written, and read as the same.
func FuzzParse(f *testing.F) {
	for _, text := range examples(f) {
		f.Add([]byte(text))
		p, err := policy.Parse([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		json, err := policy.AppendJSON(nil, p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(json)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := policy.Parse(b)
		switch {
		case err == nil:
			roundTrip(t, p)
		case sigbox.KindOf(err) != sigbox.Invalid && sigbox.KindOf(err) != sigbox.TooLarge:
			t.Fatalf("kind %s: %v", sigbox.KindOf(err), err)
		}
	})
}
