package condition_test

import (
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
)

// What a condition cannot name is found before any bundle is judged. A Verifier answers
// conditions with verify.Config{Conditions: condition.CEL{}}.
func Example() {
	policy := sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: "builder@example.com", Issuer: "https://accounts.example.com"}},
		PredicateTypes: []string{"https://slsa.dev/provenance/v1"},
		Conditions:     []string{`predicat.buildDefinition.buildType == "https://example.com/release/v1"`},
	}
	fmt.Println(verify.CheckPolicy(policy, condition.CEL{}))
	policy.Conditions = []string{`predicate.buildDefinition.buildType == "https://example.com/release/v1"`}
	fmt.Println(verify.CheckPolicy(policy, condition.CEL{}))
	// Output:
	// policy: conditions[0]: line 1, column 1: undeclared reference to 'predicat' (did you mean 'predicate'?) (docs/policy.md has what conditions can name)
	// <nil>
}
