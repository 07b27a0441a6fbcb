package verify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
	"github.com/sigbox/sigbox/wire/policy"
)

const somePredicate = `{"builder":{"id":"https://ci.example/hosted"},"n":7,"big":12345678901234567890,"f":1.5,"e":1e3,"t":true,"nothing":null,
"list":[{"a":1},{"a":2}],"text":"a\u001b[31mb","@type":"x","when":"2026-01-31T12:00:00Z","pattern":"a+"}`

// attested is a bundle with a predicate, by build.
func attested(w *sigboxtest.World, predicate string) *sigbox.Bundle {
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"hello.txt","digest":{"sha256":%[1]q}},{"digest":{"sha256":"00"}},{"digest":{"sha256":%[1]q}}],"predicateType":"https://example.com/p"%[2]s}`,
		sigbox.SHA256.Sum(artifact).Hex(), predicate)
	return w.Attest([]byte(payload), sigboxtest.Options{Identity: build()})
}

// conditional is a policy for build's statements.
func conditional(conditions ...string) sigbox.Policy {
	return sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: build().Subject, Issuer: build().Issuer}},
		PredicateTypes: []string{"https://example.com/p"}, Conditions: conditions,
	}
}

// TestConditions: what is true is accepted; what is false, cannot be answered or is
// neither is not, and the failure says the condition and the values.
func TestConditions(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := attested(w, `,"predicate":`+somePredicate)
	for one, want := range map[string]string{ // "" if it is true
		`predicate.builder.id == "https://ci.example/hosted"`:           "",
		`predicate.builder.id.startsWith("https://ci.example/")`:        "",
		`predicate.builder.id.matches("^https://ci\\.example/[a-z]+$")`: "",
		`predicate["@type"] == "x"`:                                     "",
		"predicate.n == 7 &&\n\tpredicate.n + 1 == 8":                   "",
		`predicate.n == 7.0 && predicate.n < 7.5 && predicate.f > 1`:    "",
		`predicate.big > 1 && predicate.e == 1000`:                      "",
		`predicate.t`:               "",
		`predicate.nothing == null`: "",
		`predicate.list.all(x, x.a > 0) && predicate.list.exists_one(x, x.a == 2)`: "",
		`size(predicate.list.filter(x, x.a > 1)) == 1`:                             "",
		`!has(predicate.missing)`:                                                  "",
		`timestamp(predicate.when) > times[0] && size(times) >= 1`:                 "",
		`times.all(t, t.getFullYear() > 2000)`:                                     "",
		`predicateType == "https://example.com/p"`:                                 "",
		`subject.exists(s, s.name == "hello.txt" && s.digest.sha256.size() == 64)`: "",
		`subject.exists(s, !has(s.name))`:                                          "",
		`size(subject) == 3 && subject[0] != subject[1] && subject[2] != subject[0] && subject[1] != subject[2] && subject[0] == subject[0]`: "",
		`identity.subject.endsWith("@refs/tags/v1.2.3") && identity.kind == "uri"`:                                                           "",
		`identity.issuer == "https://token.actions.githubusercontent.com"`:                                                                   "",
		`identity.extensions.buildTrigger == "push"`:                                                                                         "",
		`(predicate.t ? identity : identity).extensions.runnerEnvironment == "github-hosted"`:                                                "",
		`!has(identity.extensions.deploymentEnvironment)`:                                                                                    "",

		`type(identity) == type(identity) && type(identity) != type(subject[0]) && dyn(identity) != dyn(subject[0])`: "",
		`predicate.n in [7, 8] && "a" in predicate.list[0] && !(3 in predicate.list)`:                                "",

		`1 == predicate.missing`: "no such key: missing (has(a.b)",
		`predicate.n == 1 || predicate.f == 1.0 || predicate.e == 1.0 || predicate.nothing == 1 || !predicate.t`: `(predicate.n is 7, predicate.f is 1.5, predicate.e is 1000, predicate.nothing is null)`,
		`1 in predicate.missing`:                           "no such key: missing",
		`1 in predicate.n`:                                 "not of the types",
		`predicate.n.matches("a")`:                         "not of the types",
		`predicate.missing.matches("a")`:                   "no such key: missing",
		`false`:                                            "conditions[0] is false: false",
		`predicate.builder.id == "x"`:                      `conditions[0] is false: predicate.builder.id == "x" (predicate.builder.id is "https://ci.example/hosted")`,
		"predicate.n ==\n  8":                              `is false: predicate.n == 8 (predicate.n is 7)`,
		`predicate.text == "x"`:                            `(predicate.text is "a\x1b[31mb")`,
		`predicate.list.all(x, x.a == 1)`:                  `(predicate.list is a list of 2)`,
		`predicate.builder == {}`:                          `(predicate.builder is an object of 1 members)`,
		`predicate.t && predicate.nothing != null`:         `(predicate.t is true, predicate.nothing is null)`,
		`times[0] > timestamp("2126-01-01T00:00:00Z")`:     `(times[0] is 20`,
		`has(predicate.missing)`:                           `is false: has(predicate.missing) (has(predicate.missing) is false)`,
		`size(predicate.list) > 2`:                         `(predicate.list is a list of 2)`,
		`predicate.missing == 1`:                           "conditions[0] cannot be answered: predicate.missing == 1: no such key: missing",
		`predicate.missing != 1`:                           "no such key: missing",
		`predicate.n.missing == 1`:                         "cannot be answered",
		`predicate.list[2].a == 1`:                         "cannot be answered",
		`subject[1].name != "x"`:                           "no such key: name",
		`identity.extensions.deploymentEnvironment != "x"`: "no such key: deploymentEnvironment",
		`predicate.n`:                                      "conditions[0] is neither true nor false: predicate.n (predicate.n is 7)",
		`predicate.nothing`:                                "neither true nor false",
		`predicate.n > "a"`:                                "not of the types that it compares",
		`predicate.n / 0 == 1`:                             "cannot be answered: predicate.n / 0 == 1: division by zero (predicate.n is 7)",
		`timestamp(predicate.text) < times[0]`:             "cannot be answered",
		`int(predicate.text) == 1`:                         "cannot be answered",
		`predicate.f + 1 > 2`:                              "not of the types",
		`dyn(identity) == "x"`:                             "is false",
		`string(dyn(identity)) == "x"`:                     "its parts are not of the types",
		`sigbox.Subject{name: "x"} == subject[0]`:          "cannot be answered",
	} {
		t.Run(one, func(t *testing.T) {
			t.Parallel()
			verdict, err := v.Verify(verify.Bytes(artifact), b, conditional("true", one))
			if want == "" {
				refusedAt(t, err, 0)
				if last := verdict.Steps()[len(verdict.Steps())-2]; last.Step != verify.StepCondition || !strings.HasPrefix(last.Found, "it is true that ") {
					t.Errorf("found %+v", last)
				}
				return
			}
			refusedAt(t, err, verify.StepCondition, strings.Replace(want, "conditions[0]", "conditions[1]", 1))
			f, _ := errors.AsType[*verify.Failure](err)
			if passed := f.Passed(); passed[len(passed)-1].Step != verify.StepCondition { // the first
				t.Errorf("%v does not say that one was true", passed)
			}
		})
	}
}

// TestConditionsWithoutPredicate: none is an empty one.
func TestConditionsWithoutPredicate(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	_, err := v.Verify(verify.Bytes(artifact), attested(w, ""), conditional(`predicate == {} && !has(predicate.a)`))
	refusedAt(t, err, 0)
	_, err = v.Verify(verify.Bytes(artifact), attested(w, ""), conditional(`predicate.a == 1`))
	refusedAt(t, err, verify.StepCondition)
	for predicate, one := range map[string]string{`[1]`: `predicate[0] == 1`, `"a"`: `predicate == "a"`, `null`: `predicate == null`, `false`: `!predicate`} {
		_, err = v.Verify(verify.Bytes(artifact), attested(w, `,"predicate":`+predicate), conditional(one))
		refusedAt(t, err, 0)
	}
}

// TestConditionsSeeWhatIsSigned: a predicate is equal to what was signed, and to
// nothing else, whatever it is and however it is written.
func TestConditionsSeeWhatIsSigned(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	rapid.Check(t, func(t *rapid.T) {
		signed, other := anyValue(2).Draw(t, "signed"), anyValue(2).Draw(t, "other")
		text, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		b := attested(w, `,"predicate":`+string(text))
		for _, value := range []any{signed, other} {
			_, err := v.Verify(verify.Bytes(artifact), b, conditional("predicate == "+literal(value)))
			if equal := reflect.DeepEqual(value, signed); equal != (err == nil) {
				t.Fatalf("%s was signed, and is said to be equal to %s: %t: %v", text, literal(value), err == nil, err)
			}
		}
	})
}

// anyValue makes a value of JSON, of so many levels.
func anyValue(levels int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.StringN(0, 9, 36).AsAny(), rapid.SampledFrom([]float64{0.5, -2.25, 1e300}).AsAny(),
	}
	if levels > 0 {
		kinds = append(kinds, rapid.SliceOfN(anyValue(levels-1), 0, 4).AsAny(), rapid.MapOfN(rapid.StringN(0, 3, 12), anyValue(levels-1), 0, 4).AsAny())
	}
	return rapid.OneOf(kinds...)
}

// literal writes a value as CEL has it.
func literal(value any) string {
	var parts []string
	switch value := value.(type) {
	case nil:
		return "null"
	case string:
		return strconv.QuoteToASCII(value)
	case float64:
		return strconv.FormatFloat(value, 'e', -1, 64)
	case []any:
		for _, v := range value {
			parts = append(parts, literal(v))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		for name, v := range value {
			parts = append(parts, literal(name)+":"+literal(v))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	return fmt.Sprint(value)
}

// TestConditionsAreAboutStatements: a signature of the artifact meets none.
func TestConditionsAreAboutStatements(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	p := conditional("true")
	p.PredicateTypes = []string{sigbox.AnyPredicateType}
	_, err := v.Verify(verify.Bytes(artifact), attested(w, ""), p)
	refusedAt(t, err, 0)
	_, err = v.Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{Identity: build()}), p)
	refusedAt(t, err, verify.StepPredicate, "conditions about statements")
	p.PredicateTypes = nil
	_, err = v.Verify(verify.Bytes(artifact), attested(w, ""), p)
	if sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "expected predicateTypes") {
		t.Errorf("found %v", err)
	}
}

// TestConditionsOfKeys: a key has no identity.
func TestConditionsOfKeys(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":"https://example.com/p","predicate":{}}`, sigbox.SHA256.Sum(artifact).Hex())
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	b := w.Attest([]byte(payload), o)
	p := sigbox.Policy{Keys: []sigbox.PublicKey{keyOf(t, o)}, PredicateTypes: []string{"https://example.com/p"}}
	for one, step := range map[string]verify.Step{
		`!has(identity.subject) && !has(identity.extensions)`: 0, `identity.issuer != "x"`: verify.StepCondition, `identity.extensions.buildTrigger != "x"`: verify.StepCondition,
	} {
		p.Conditions = []string{one}
		_, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, p)
		refusedAt(t, err, step)
	}
}

// TestConditionsRefused: what is no condition is said with line and column, before
// any bundle is looked at.
func TestConditionsRefused(t *testing.T) {
	t.Parallel()
	for one, want := range map[string]string{
		`predicate.a ==`:                                               "line 1, column 15: the expression ends early",
		"predicate.a\n  == = 1":                                        "line 2, column 6: unexpected '= '",
		`predicat.a == 1`:                                              "line 1, column 1: undeclared reference to 'predicat'",
		`identity.isuer == "x"`:                                        "line 1, column 9: undefined field 'isuer'",
		`!has(identity.extensions.buildTriger)`:                        "undefined field 'buildTriger'",
		`subject.exists(s, s.nam == "x")`:                              "undefined field 'nam'",
		`predicateType`:                                                "expected an expression that is true or false, this one is of type string",
		`size(subject)`:                                                "of type int",
		`predicateType == 1`:                                           "column 15: found no matching overload for '_==_'",
		`predicate.a.matches("(")`:                                     "line 1, column 21: not a regular expression (RE2): ",
		`predicate.a.matches(predicate.b)`:                             "column 30: expected a regular expression in quotes",
		`predicate.a.matches("a" + "b")`:                               "expected a regular expression in quotes",
		`"a".matches("(x{9}){99}(x{9}){99}")`:                          "at most 1024 are taken",
		`matches(predicate.a, predicate.b)`:                            "expected a regular expression in quotes",
		`times[0].getHours("Europe/Paris") == 7`:                       "found no matching overload for 'getHours'",
		`[1] + [2] == [1, 2]`:                                          "lists are not added",
		`predicate.a + predicate.b == 2`:                               "column 13: lists are not added",
		`predicate.a.map(x, x + x) == []`:                              "lists are not added",
		`{predicate.a: 1} == {}`:                                       "column 11: expected a key that is written out",
		`predicate.all(x, {"a": {"b" + x: 1}} != {})`:                  "expected a key that is written out",
		`now() > times[0]`:                                             "undeclared reference to 'now'",
		strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000): "recursion limit",
		strings.Repeat("[", 2000):                                      "recursion limit",
	} {
		p := conditional("true", one)
		err := verify.CheckPolicy(p, condition.CEL{})
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "policy: conditions[1]: ") {
			t.Errorf("%.60s: found %v, expected %q", one, err, want)
			continue
		}
		if at, ok := errors.AsType[sigbox.PolicyPath](err); !ok || at != "conditions[1]" {
			t.Errorf("%.60s: found the path %q", one, at)
		}
		if len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%.60s: a long or raw error: %q", one, err)
		}
	}
	if err := verify.CheckPolicy(conditional("true"), condition.CEL{}); err != nil {
		t.Error(err)
	}
}

// TestConditionsOfTheDocs: the page's examples are conditions.
func TestConditionsOfTheDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		p, err := policy.Parse(m[1])
		if err != nil {
			t.Fatal(err)
		}
		found += len(p.Conditions)
		if err := verify.CheckPolicy(p, condition.CEL{}); err != nil {
			t.Error(err)
		}
	}
	if found < 5 {
		t.Errorf("found %d conditions", found)
	}
}

// TestConditionsAreBounded: what takes long is not true.
func TestConditionsAreBounded(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	numbers := attested(w, `,"predicate":[`+strings.Repeat("1,", 4999)+`1]`)
	for _, one := range []string{
		`predicate.all(x, predicate.all(y, x == y))`,
		`predicate.map(x, "` + strings.Repeat("a", 999) + `").all(x, !x.matches("a{1000}"))`,
		`["aaaaaaaaaa"]` + strings.Repeat(".map(x, x + x)", 60) + ` != []`,
		`[[0]]` + strings.Repeat(".map(x, [x, x])", 40) + `.all(x, x == x)`,
		`[[0]]` + strings.Repeat(".map(x, [x, x])", 40) + `.all(x, x in [x])`,
		`[[0]]` + strings.Repeat(".map(x, {0: x, 1: x})", 40) + `.all(x, !(x != x))`,
		`predicate.map(x, predicate).map(y, [y, y, y, y, y, y, y, y, y, y]).all(z, z == z)`,
	} {
		_, err := v.Verify(verify.Bytes(artifact), numbers, conditional(one))
		refusedAt(t, err, verify.StepCondition, "it takes more than 2000000 steps")
	}
	text := attested(w, `,"predicate":{"n":[`+strings.Repeat("1,", 99)+`1],"text":"`+strings.Repeat("a", 1<<20)+`"}`)
	for _, one := range []string{
		`predicate.n.all(x, predicate.text.contains("a"))`,
		`predicate.n.all(x, size(bytes(predicate.text)) > 0)`,
		`[bytes(predicate.text)].all(b, predicate.n.all(x, [string(b)] != []))`,
		`[bytes(predicate.text)].all(b, predicate.n.all(x, b == b"" + b))`,
	} {
		_, err := v.Verify(verify.Bytes(artifact), text, conditional(one))
		refusedAt(t, err, verify.StepCondition, "it takes more than 2000000 steps")
	}
	_, err := v.Verify(verify.Bytes(artifact), numbers, conditional(`predicate.all(x, x == 1)`))
	refusedAt(t, err, 0)
	_, err = v.Verify(verify.Bytes(artifact), attested(w, `,"predicate":[`+strings.Repeat("1,", 1<<19)+`1]`), conditional(`true`))
	refusedAt(t, err, verify.StepCondition, "more than 524288 values")
	_, err = v.Verify(verify.Bytes(artifact), attested(w, `,"predicate":[{"a":1e999}]`), conditional(`true`))
	refusedAt(t, err, verify.StepCondition, "too large")
}
