package sigbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/sigbox/sigbox"
)

// A policy is a plain value: what one can write down, one can read back.
func ExamplePolicy() {
	policy := sigbox.Policy{
		Identities: []sigbox.IdentityMatch{
			{Subject: "ada@example.com", Issuer: "https://accounts.example.com"},
			{SubjectRegexp: `https://github\.com/acme/.*`, Issuer: "https://token.actions.githubusercontent.com"},
		},
		Threshold: 2, // both of them
	}
	fmt.Println(policy.Check())

	text, err := json.MarshalIndent(policy, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(text))

	policy.Threshold = 3
	fmt.Println(policy.Check())
	// Output:
	// <nil>
	// {
	//   "identities": [
	//     {
	//       "subject": "ada@example.com",
	//       "issuer": "https://accounts.example.com"
	//     },
	//     {
	//       "subjectRegExp": "https://github\\.com/acme/.*",
	//       "issuer": "https://token.actions.githubusercontent.com"
	//     }
	//   ],
	//   "threshold": 2
	// }
	// policy: threshold: 3 signers are demanded, the policy names 2
}

// Digests say their algorithm, as text too.
func ExampleParseDigest() {
	d, err := sigbox.ParseDigest("sha256:c058d60d637152db3f9b5fa55d978e4c3857826b9930fb2d684094c0aacdd869")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Algorithm, d.Equal(sigbox.SHA256.Sum([]byte("Hello, verifier.\n"))))
	// Output:
	// sha256 true
}

// The bytes that a DSSE envelope's signature is over.
func ExamplePAE() {
	fmt.Printf("%s\n", sigbox.PAE("text/plain", []byte("hello")))
	// Output:
	// DSSEv1 10 text/plain 5 hello
}

// Errors have a kind, and say what to do next.
func ExampleError() {
	_, err := sigbox.ParsePublicKey([]byte("not a key"))
	fmt.Println(sigbox.KindOf(err))

	err = sigbox.Mismatch(sigbox.NotVerified, "tree size", 7, 6).WithHint("ask for the bundle again")
	if e, ok := errors.AsType[*sigbox.Error](err); ok {
		fmt.Println(e)
		fmt.Println("next:", e.Hint)
	}
	// Output:
	// invalid
	// tree size: expected 7, found 6 (ask for the bundle again)
	// next: ask for the bundle again
}
