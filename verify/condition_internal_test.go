package verify

import (
	"bytes"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// about is a trial of a predicate, signed by nobody in particular.
func about(predicate string, conditions []condition) *trial {
	return &trial{
		inquiry: &inquiry{policy: &policy{conditions: conditions}}, signer: &signer{}, times: []time.Time{time.Unix(1e9, 0)},
		statement: &statement.Statement{
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
	f.Add(`predicate.map(x, {x: [x]}).filter(y, size(y) > 0) != [] && type(predicate) == list`, []byte(`[null,true,-1e9]`))
	f.Add("predicate\n  .b.c ==", []byte(`{}`))
	f.Fuzz(func(t *testing.T, text string, predicate []byte) {
		p := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "a", Issuer: "b"}}, PredicateTypes: []string{"*"}, Conditions: []string{text}}
		if p.Check() != nil || len(predicate) > 1<<12 || !jsontext.Value(bytes.Clone(predicate)).IsValid() {
			return
		}
		compiled, err := compileConditions(p.Conditions)
		if err == nil {
			err = about(string(predicate), compiled).hold()
		} else if k := sigbox.KindOf(err); k != sigbox.Invalid {
			t.Fatalf("kind %s: %v", k, err)
		}
		if err != nil && (FailedStep(err) == StepCondition) != (sigbox.KindOf(err) == sigbox.NotVerified) {
			t.Fatalf("kind %s at %v: %v", sigbox.KindOf(err), FailedStep(err), err)
		}
		if err != nil && len(err.Error()) > 4<<10 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// BenchmarkCondition is what conditions add: to compile one, once for a policy, and
// to answer it, for each statement.
func BenchmarkCondition(b *testing.B) {
	text := []string{`predicate.runDetails.builder.id.startsWith("https://") && predicate.buildDefinition.resolvedDependencies.all(d, has(d.digest))`}
	const predicate = `{"buildDefinition":{"resolvedDependencies":[{"digest":{"sha256":"00"}},{"digest":{"gitCommit":"00"}}]},"runDetails":{"builder":{"id":"https://ci.example"}}}`
	compiled, err := compileConditions(text)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := compileConditions(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("answer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := about(predicate, compiled).hold(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
