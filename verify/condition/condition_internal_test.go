package condition

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/statement"
)

// about is a predicate, signed by nobody in particular.
func about(predicate string) *verify.Attested {
	return &verify.Attested{
		Times: []time.Time{time.Unix(1e9, 0)},
		Statement: &statement.Statement{
			PredicateType: "https://example.com/p", Predicate: jsontext.Value(predicate),
			Subjects: []statement.Subject{{Name: "a", Digests: map[string]string{"sha256": "00"}}},
		},
	}
}

// FuzzCondition: whatever stands in a policy and in a predicate, there is an answer.
func FuzzCondition(f *testing.F) {
	f.Add(`predicate.a == 7 && predicate["b"].all(x, x in [1, 2.5, "c"])`, []byte(`{"a":7,"b":[1,2.5,"c"]}`))
	f.Add(`predicate.exists(x, x.matches("^a+$")) || !has(identity.subject)`, []byte(`["aaa"]`))
	f.Add(`timestamp(predicate.t) - duration("1h") < times[0] ? subject[0].name == "a" : false`, []byte(`{"t":"2026-01-31T12:00:00Z"}`))
	f.Add(`predicate.map(x, {"x": [x]}).filter(y, size(y) > 0) != [] && type(predicate) == list`, []byte(`[null,true,-1e9]`))
	f.Add("predicate\n  .b.c ==", []byte(`{}`))
	f.Fuzz(func(t *testing.T, text string, predicate []byte) {
		p := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "a", Issuer: "b"}}, PredicateTypes: []string{"*"}, Conditions: []string{text}}
		if p.Check() != nil || len(predicate) > 1<<12 || !jsontext.Value(bytes.Clone(predicate)).IsValid() {
			return
		}
		compiled, err := CEL{}.Compile(p.Conditions)
		if err == nil {
			var held []string
			if held, err = compiled.Hold(about(string(predicate))); (err == nil) != (len(held) == 1) {
				t.Fatalf("%v is true: %v", held, err)
			}
		} else if k := sigbox.KindOf(err); k != sigbox.Invalid {
			t.Fatalf("kind %s: %v", k, err)
		}
		if err != nil && len(err.Error()) > 4<<10 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// TestBounds: a program's own conditions have the bounds of a policy's.
func TestBounds(t *testing.T) {
	long := `"` + strings.Repeat("a", sigbox.MaxPolicyText-6) + `"!=""`
	many := slices.Repeat([]string{"true"}, sigbox.MaxPolicyEntries)
	for _, good := range [][]string{{long[1:] + " "}, many} {
		if _, err := (CEL{}).Compile(good); sigbox.KindOf(err) == sigbox.TooLarge {
			t.Error(err)
		}
	}
	for _, bad := range [][]string{{long + "  "}, append(many, "true")} {
		if _, err := (CEL{}).Compile(bad); sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("found %v", err)
		}
	}
}

// TestLongKeys: what is too long for a key is looked up in no object, so that the time
// is not a matter of it.
func TestLongKeys(t *testing.T) {
	key := func(n int) types.String { return types.String(strings.Repeat("a", n)) }
	all := func(long types.String) map[string]traits.Mapper {
		return map[string]traits.Mapper{
			"an object of a predicate": newObject(map[ref.Val]ref.Val{long: types.True}),
			"digests":                  subjectFacts([]statement.Subject{{Digests: map[string]string{string(long): "00"}}})[0].(*fact).fields["digest"].(traits.Mapper),
		}
	}
	for _, long := range []types.String{key(maxKey), key(maxKey + 1)} {
		want := len(long) == maxKey
		for name, o := range all(long) {
			if v, found := o.Find(long); found != want || o.Contains(long) != types.Bool(want) || types.IsError(o.Get(long)) == want || want && v == nil {
				t.Errorf("%s: a key of %d bytes: found is %t", name, len(long), found)
			}
		}
		f := &fact{subjectType, map[string]ref.Val{string(long): types.True}}
		if f.IsSet(long) != types.Bool(want) || types.IsError(f.Get(long)) == want {
			t.Errorf("a field of %d bytes: found is %v", len(long), f.IsSet(long))
		}
	}
	for _, no := range []ref.Val{types.Bytes("a"), newObject(nil), types.NullValue} {
		if _, found := newObject(map[ref.Val]ref.Val{types.String("a"): types.True}).Find(no); found {
			t.Errorf("%v is found", no)
		}
	}
}

// TestLiterals: objects that stand in an expression are like those of a predicate.
func TestLiterals(t *testing.T) {
	compiled, err := compile([]string{`dyn({1: {"a": predicate.b}})`})
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := compiled[0].program.Eval(map[string]any{"predicate": newObject(map[ref.Val]ref.Val{types.String("b"): types.True})})
	if err != nil {
		t.Fatal(err)
	}
	outer, ok := found.(object)
	if !ok {
		t.Fatalf("found a %T", found)
	}
	inner, ok := outer.Get(types.Uint(1)).(object)
	if !ok || inner.Get(types.String("a")) != types.True {
		t.Errorf("found %v", outer.Get(types.Uint(1)))
	}
	wanted := newObject(map[ref.Val]ref.Val{types.Int(1): newObject(map[ref.Val]ref.Val{types.String("a"): types.True})})
	if outer.Equal(wanted) != types.True || wanted.Equal(outer) != types.True {
		t.Error("it is not equal to its like")
	}
}

// BenchmarkCondition is what conditions add: to compile one, once for a policy, and
// to answer it, for each statement.
func BenchmarkCondition(b *testing.B) {
	text := []string{`predicate.runDetails.builder.id.startsWith("https://") && predicate.buildDefinition.resolvedDependencies.all(d, has(d.digest))`}
	const predicate = `{"buildDefinition":{"resolvedDependencies":[{"digest":{"sha256":"00"}},{"digest":{"gitCommit":"00"}}]},"runDetails":{"builder":{"id":"https://ci.example"}}}`
	compiled, err := compile(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := compile(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("answer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := compiled.Hold(about(predicate)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
