package verify

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
)

// saying is a language whose conditions say of themselves how many of them are true,
// and what is wrong.
type saying struct {
	held         int
	wrong, never error
	asked        *Attested
}

// nothing is a language without a word.
type nothing struct{}

func (nothing) Compile([]string) (Conditions, error) { return nil, nil }

func (s saying) Compile([]string) (Conditions, error) { return &s, s.never }

func (s *saying) Hold(about *Attested) ([]string, error) {
	if s.asked != nil {
		*s.asked = *about
	}
	return slices.Repeat([]string{"so it is"}, s.held), s.wrong
}

// TestConditionsMustBeAnswered: whoever answers them, a statement is accepted if all are
// true, and refused by whatever is said to be wrong.
func TestConditionsMustBeAnswered(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	ada, content := sigboxtest.DefaultIdentity(), []byte("hello\n")
	b := w.Attest([]byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"`+sigbox.SHA256.Sum(content).Hex()+`"}}],"predicateType":"https://example.com/p"}`), sigboxtest.Options{})
	p := sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}},
		PredicateTypes: []string{sigbox.AnyPredicateType}, Conditions: []string{"a", "b"},
	}
	broken := sigbox.Errorf(sigbox.Unavailable, "out of order")
	asked := new(Attested)
	for said, in := range map[string]Language{
		"":                                saying{held: 2, asked: asked},
		"expected 2, found 1":             saying{held: 1},
		"expected 2, found 0":             saying{},
		"expected 2, found 3":             saying{held: 3},
		"condition: out of order":         saying{held: 2, wrong: broken},
		"condition: none of ours":         saying{held: 2, wrong: errors.New("none of ours")},
		"out of order":                    saying{held: 2, never: broken},
		"package verify/condition has it": nil,
		"made nothing of them":            nothing{},
	} {
		v, err := New(Config{Roots: []*sigbox.TrustedRoot{w.Root()}, Conditions: in})
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := v.Verify(Bytes(content), b, p)
		if (err == nil) != (said == "") || err != nil && !strings.Contains(err.Error(), said) {
			t.Errorf("%q: found %v", said, err)
		}
		s, speaks := in.(saying)
		if isAnswer := speaks && s.never == nil; err != nil && isAnswer != (FailedStep(err) == StepCondition && sigbox.KindOf(err) == sigbox.NotVerified) {
			t.Errorf("%q: step %v, kind %v", said, FailedStep(err), sigbox.KindOf(err))
		}
		if err == nil && !slices.ContainsFunc(verdict.Steps(), func(c Check) bool { return c.Step == StepCondition && c.Found == "it is true that so it is" }) {
			t.Errorf("found %v", verdict.Steps())
		}
	}
	if asked.Statement.PredicateType != "https://example.com/p" || asked.Identity.Subject != ada.Subject || len(asked.Times) == 0 {
		t.Errorf("they were about %+v", asked)
	}
}
