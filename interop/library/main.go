package main

import (
	"fmt"
	"log"
	"os"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

func main() {
	root := must(trust.ParseRoot(must(os.ReadFile("trusted_root.json"))))
	signed := must(bundle.Parse(must(os.ReadFile("hello.txt.sigstore.json"))))
	verifier := must(verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}}))
	file := must(os.Open("hello.txt"))
	verdict := must(verifier.Verify(verify.Reader(file), signed, sigbox.Policy{Identities: []sigbox.IdentityMatch{
		{Subject: "ada@example.com", Issuer: "http://127.0.0.1:8080/oidc"},
	}}))
	who, _ := verdict.Identity()
	fmt.Println("signed by", who.Subject, "at", verdict.Time())
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
