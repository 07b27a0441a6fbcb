package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// exampleFiles stand for what lies on disk: a bundle, as in FILE.sigstore.json, and
// a trusted_root.json.
func exampleFiles(artifact string) (bundleFile, rootFile []byte) {
	w := sigboxtest.New(silent{})
	bundleFile, err := bundle.Append(nil, w.Sign([]byte(artifact), sigboxtest.Options{}))
	if err != nil {
		panic(err)
	}
	if rootFile, err = trust.AppendRoot(nil, w.Root()); err != nil {
		panic(err)
	}
	return bundleFile, rootFile
}

// silent is a test for where there is none.
type silent struct{ testing.TB }

func (silent) Helper()           {}
func (silent) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// From files to a verdict.
func Example() {
	bundleFile, rootFile := exampleFiles("an artifact")

	root, err := trust.ParseRoot(rootFile)
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}})
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bundle.Parse(bundleFile)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: "https://id.example"}}}

	verdict, err := verifier.Verify(verify.Reader(strings.NewReader("an artifact")), b, policy)
	if err != nil {
		fmt.Println(err)
		return
	}
	who, _ := verdict.Identity()
	fmt.Println("signed by", who.Subject, "at", verdict.Time())

	_, err = verifier.Verify(verify.Reader(strings.NewReader("another artifact")), b, policy)
	fmt.Println("refused for its", verify.FailedStep(err))
	// Output:
	// signed by ada@example.com at 2026-01-02 03:04:05 +0000 UTC
	// refused for its artifact
}
