package verify_test

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// The examples verify the files that docs/verification.md takes apart.

func readFile(name string) []byte {
	return must(os.ReadFile(filepath.Join("..", "docs", "verification", name)))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// byAda is who signed.
var byAda = sigbox.IdentityMatch{Subject: "ada@example.com", Issuer: "http://127.0.0.1:8080/oidc"}

// From files to a verdict: who signed, and when.
func Example() {
	root, err := trust.ParseRoot(readFile("trusted_root.json"))
	if err != nil {
		log.Fatal(err)
	}
	b, err := bundle.Parse(readFile("hello.txt.sigstore.json"))
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}})
	if err != nil {
		log.Fatal(err)
	}
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{
		{Subject: "ada@example.com", Issuer: "http://127.0.0.1:8080/oidc"},
	}}

	file := bytes.NewReader(readFile("hello.txt")) // or an *os.File
	verdict, err := verifier.Verify(verify.Reader(file), b, policy)
	if err != nil {
		log.Fatal(err)
	}
	who, _ := verdict.Identity()
	fmt.Println("signed by", who.Subject)
	fmt.Println("at", verdict.Time())

	_, err = verifier.Verify(verify.Bytes([]byte("another artifact")), b, policy)
	fmt.Println("refused for its", verify.FailedStep(err))
	// Output:
	// signed by ada@example.com
	// at 2026-11-21 23:32:38 +0000 UTC
	// refused for its artifact
}

// Several trust roots: each is tried, and one of them must vouch for the whole
// bundle. A file can hold one root, or one a line.
func ExampleNew_severalRoots() {
	var roots []*sigbox.TrustedRoot
	for _, name := range []string{"trusted_root.json", "v1.trusted_root.json"} {
		roots = append(roots, must(trust.ParseRoots(readFile(name)))...)
	}
	verifier := must(verify.New(verify.Config{Roots: roots}))
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{
		byAda,
		{Subject: "ada@example.com", Issuer: "https://id.example"},
	}}
	artifact := verify.Bytes(readFile("hello.txt"))
	for _, name := range []string{"hello.txt.sigstore.json", "v1.sigstore.json"} {
		verdict := must(verifier.Verify(artifact, must(bundle.Parse(readFile(name))), policy))
		for _, e := range verdict.LogEntries() {
			fmt.Println(e.Log, e.Index, e.Kind)
		}
	}
	// Output:
	// https://log2026-1.sigbox-191b0ab655.internal 5 hashedrekord 0.0.2
	// https://v1.log.example 1003 hashedrekord 0.0.1
}

// A service makes Verifiers as trust roots come and go, as with each update by TUF.
// What most of them share is parsed once.
func ExampleParsed() {
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	parsed := new(verify.Parsed)
	for range 3 { // each update
		verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}, Parsed: parsed}))
		b := must(bundle.Parse(readFile("hello.txt.sigstore.json")))
		verdict := must(verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{byAda}}))
		fmt.Println(verdict.Time().UTC().Year())
	}
	// Output:
	// 2026
	// 2026
	// 2026
}

// A key, in place of an identity. The log entry is demanded all the same, since
// the trust root lists a log.
func ExampleVerifier_Verify_key() {
	key, err := verify.ParseKey(readFile("key.pub"))
	if err != nil {
		log.Fatal(err)
	}
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	b := must(bundle.Parse(readFile("key.sigstore.json")))

	verdict, err := verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{Keys: []sigbox.PublicKey{key}})
	if err != nil {
		log.Fatal(err)
	}
	_, byKey := verdict.Key()
	fmt.Println(byKey, verdict.Algorithm())
	// Output:
	// true PKIX_ECDSA_P256_SHA_256
}

// An artifact of which only the digest is at hand.
func ExampleVerifier_Verify_digest() {
	digest, err := sigbox.ParseDigest("sha256:c058d60d637152db3f9b5fa55d978e4c3857826b9930fb2d684094c0aacdd869")
	if err != nil {
		log.Fatal(err)
	}
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	b := must(bundle.Parse(readFile("hello.txt.sigstore.json")))

	verdict, err := verifier.Verify(verify.Digest(digest), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{byAda}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict.Digest())
	// Output:
	// sha256:c058d60d637152db3f9b5fa55d978e4c3857826b9930fb2d684094c0aacdd869
}

// An attestation. The policy names the predicate types that it takes; without
// any, no statement would be accepted.
func ExampleVerifier_Verify_statement() {
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	b := must(bundle.Parse(readFile("statement.sigstore.json")))

	verdict, err := verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{byAda},
		PredicateTypes: []string{"https://example.com/reviewed/v1"},
	})
	if err != nil {
		log.Fatal(err)
	}
	subject, _ := verdict.Subject()
	fmt.Println(subject.Name, verdict.Statement().Predicate)

	_, err = verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{byAda}})
	fmt.Println("refused for its", verify.FailedStep(err))
	// Output:
	// hello.txt {"by":"ada"}
	// refused for its predicate
}

// Two of two: a person and a key must both have signed. Bundles are taken in any
// order, and those of others do no harm.
func ExampleVerifier_VerifyAll() {
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	policy := sigbox.Policy{
		Identities: []sigbox.IdentityMatch{byAda},
		Keys:       []sigbox.PublicKey{must(verify.ParseKey(readFile("key.pub")))},
		Threshold:  2,
	}
	adas := must(bundle.Parse(readFile("hello.txt.sigstore.json")))
	keys := must(bundle.Parse(readFile("key.sigstore.json")))

	verdicts, err := verifier.VerifyAll(verify.Bytes(readFile("hello.txt")), []*sigbox.Bundle{adas, keys}, policy)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(verdicts), "signers")

	_, err = verifier.VerifyAll(verify.Bytes(readFile("hello.txt")), []*sigbox.Bundle{adas, adas}, policy)
	fmt.Println("one of them twice:", sigbox.KindOf(err))
	// Output:
	// 2 signers
	// one of them twice: not verified
}

// A build by a certain workflow of a certain repository, from a tag. What the
// certificate says of the build is part of the policy.
func ExampleVerifier_Verify_extensions() {
	world := sigboxtest.New(outsideOfTests{}) // in place of a CI provider
	artifact := []byte("a release")
	b := world.Sign(artifact, sigboxtest.Options{Identity: sigbox.Identity{
		Issuer:  "https://token.actions.githubusercontent.com",
		Subject: "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.2.3",
		Kind:    sigbox.URISAN,
		Extensions: sigbox.Extensions{
			SourceRepositoryURI: "https://github.com/acme/app",
			SourceRepositoryRef: "refs/tags/v1.2.3",
			BuildTrigger:        "push",
		},
	}})
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{world.Root()}}))

	release := sigbox.IdentityMatch{
		SubjectRegexp:    `https://github\.com/acme/app/\.github/workflows/release\.yml@.*`, // the whole subject must match
		Issuer:           "https://token.actions.githubusercontent.com",
		Extensions:       sigbox.Extensions{SourceRepositoryURI: "https://github.com/acme/app", BuildTrigger: "push"},
		ExtensionsRegexp: sigbox.Extensions{SourceRepositoryRef: `refs/tags/v[0-9.]+`},
	}
	verdict, err := verifier.Verify(verify.Bytes(artifact), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{release}})
	if err != nil {
		log.Fatal(err)
	}
	who, _ := verdict.Identity()
	fmt.Println(who.Extensions.SourceRepositoryRef)

	release.ExtensionsRegexp.SourceRepositoryRef = `refs/heads/main`
	_, err = verifier.Verify(verify.Bytes(artifact), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{release}})
	fmt.Println("refused for its", verify.FailedStep(err))
	// Output:
	// refs/tags/v1.2.3
	// refused for its identity
}

// outsideOfTests is a test for where there is none.
type outsideOfTests struct{ testing.TB }

func (outsideOfTests) Helper()           {}
func (outsideOfTests) Fatal(args ...any) { log.Fatal(args...) }

// What a step found, with its evidence. docs/verification.md computes the same
// values with OpenSSL.
func ExampleVerdict_Steps() {
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	b := must(bundle.Parse(readFile("hello.txt.sigstore.json")))
	verdict := must(verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{byAda}}))
	for _, c := range verdict.Steps() {
		if c.Step != verify.StepInclusion {
			continue
		}
		fmt.Println(c.Step, "–", c.Found)
		for _, fact := range c.Evidence {
			fmt.Println(fact.Name, fact.Value)
		}
	}
	// Output:
	// inclusion proof – leaf 5 in a tree of 7
	// root hash 434699c0ea101c8b919236724e27fa11234664e6c7459eff6a4aeb37018d901e
	// hashes in the proof 3
}

// Who signed instead, when it was somebody else: the bundle is sound, and the
// policy is for another person.
func ExampleFailure_Signer() {
	root := must(trust.ParseRoot(readFile("trusted_root.json")))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	b := must(bundle.Parse(readFile("hello.txt.sigstore.json")))
	_, err := verifier.Verify(verify.Bytes(readFile("hello.txt")), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{
		{Subject: "grace@example.com", Issuer: "http://127.0.0.1:8080/oidc"},
	}})
	if failure, ok := errors.AsType[*verify.Failure](err); ok {
		who, _ := failure.Signer()
		fmt.Println(failure.Step(), "found:", who.Subject)
	}
	// Output:
	// identity found: ada@example.com
}
