package policy_test

import (
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/policy"
)

// A policy is read; what it does not say as YAML wants it is refused.
func ExampleParse() {
	p, err := policy.Parse([]byte(`
identities:
  - subjectRegExp: '.*@example\.com'
    issuer: https://accounts.google.com
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Identities[0].SubjectRegexp)

	_, err = policy.Parse([]byte(`
identities:
  - subject: 4711
    issuer: https://accounts.google.com
`))
	fmt.Println(err)
	// Output:
	// .*@example\.com
	// policy: line 3, column 14: identities[0].subject: the wrong type: expected text, found the number 4711 (put it in quotes: "4711")
}

// A policy is printed.
func ExampleAppend() {
	text, err := policy.Append(nil, sigbox.Policy{
		Identities: []sigbox.IdentityMatch{
			{Subject: "ada@example.com", Issuer: "https://accounts.google.com"},
			{SubjectRegexp: `https://github\.com/acme/.*`, Issuer: "https://token.actions.githubusercontent.com"},
		},
		Threshold:      2,
		PredicateTypes: []string{sigbox.AnyPredicateType},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", text)
	// Output:
	// identities:
	//   - subject: ada@example.com
	//     issuer: https://accounts.google.com
	//   - subjectRegExp: 'https://github\.com/acme/.*'
	//     issuer: https://token.actions.githubusercontent.com
	// threshold: 2
	// predicateTypes:
	//   - '*'
}
