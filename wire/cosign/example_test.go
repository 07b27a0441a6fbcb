package cosign_test

import (
	"fmt"
	"log"
	"os"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/cosign"
)

// A signature in a file of its own, as cosign sign-blob --key printed it. Nobody
// but the key is asked: there is no trust root.
func Example() {
	signature, err := os.ReadFile("testdata/key.sig")
	if err != nil {
		log.Fatal(err)
	}
	keyFile, err := os.ReadFile("testdata/key.pub")
	if err != nil {
		log.Fatal(err)
	}
	artifact, err := os.ReadFile("testdata/artifact")
	if err != nil {
		log.Fatal(err)
	}

	b, err := cosign.FromDetached(cosign.Detached{Signature: signature})
	if err != nil {
		log.Fatal(err)
	}
	key, err := verify.ParseKey(keyFile)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := verify.New(verify.Config{})
	if err != nil {
		log.Fatal(err)
	}
	verdict, err := verifier.Verify(verify.Bytes(artifact), b, sigbox.Policy{Keys: []sigbox.PublicKey{key}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(verdict.Algorithm())
	// Output:
	// PKIX_ECDSA_P256_SHA_256
}
