package sigboxtest_test

import (
	"fmt"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
)

// t is the test that the example stands in.
var t testing.TB = inExample{}

type inExample struct{ testing.TB }

func (inExample) Helper()                           {}
func (inExample) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (inExample) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// A program that verifies is tried with a bundle that is right, and with one that
// has a fault.
func Example() {
	w := sigboxtest.New(t)
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	artifact := []byte("an artifact")
	ada := sigboxtest.DefaultIdentity()
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}}}

	good := w.Sign(artifact, sigboxtest.Options{})
	_, err = verifier.Verify(verify.Bytes(artifact), good, policy)
	fmt.Println("good:", err)

	bad := w.Sign(artifact, sigboxtest.Options{Fault: sigboxtest.FaultNamed("no-sct")})
	_, err = verifier.Verify(verify.Bytes(artifact), bad, policy)
	fmt.Println("bad:", verify.FailedStep(err))
	// Output:
	// good: <nil>
	// bad: SCT
}

// Each fault is tried on a bundle that it can happen to: a signature, a statement, or
// one of the first logs' kind.
func ExampleFaults() {
	w := sigboxtest.New(t)
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	artifact := []byte("an artifact")
	ada := sigboxtest.DefaultIdentity()
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}}}

	accepted := 0
	for _, fault := range sigboxtest.Faults() {
		o := sigboxtest.Options{Fault: fault}
		if !fault.Possible(o, false) {
			continue
		}
		if _, err := verifier.Verify(verify.Bytes(artifact), w.Sign(artifact, o), policy); err == nil {
			fmt.Println(fault.Name, "is accepted")
			accepted++
		}
	}
	fmt.Println("accepted:", accepted)
	// Output:
	// accepted: 0
}

// Whatever is changed in a bundle's file, it does not become one of another
// artifact.
func ExampleMutations() {
	w := sigboxtest.New(t)
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	ada := sigboxtest.DefaultIdentity()
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}}}

	file := sigboxtest.File(w.Sign([]byte("an artifact"), sigboxtest.Options{}))
	accepted := 0
	for m := range sigboxtest.Sample(sigboxtest.Mutations(file, 1), 200, 1) {
		b, err := bundle.Parse(m.Bundle)
		if err != nil {
			continue
		}
		if _, err := verifier.Verify(verify.Bytes([]byte("another artifact")), b, policy); err == nil {
			fmt.Println(m.Name(), "is accepted")
			accepted++
		}
	}
	fmt.Println("accepted:", accepted)
	// Output:
	// accepted: 0
}
