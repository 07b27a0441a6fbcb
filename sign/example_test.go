package sign_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
)

// Signing with a key of one's own, and verifying that. To sign with an identity,
// set CA and Token in place of Key; Logs and Stampers record the signature.
func Example() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := sign.New(sign.Config{Key: key})
	if err != nil {
		fmt.Println(err)
		return
	}
	artifact := []byte("an artifact")
	b, err := signer.Digest(context.Background(), signer.Hash().Sum(artifact))
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := bundle.Append(nil, b) // FILE.sigstore.json
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file[0] == '{', b.MediaType)

	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := verify.New(verify.Config{}) // nobody but the key is trusted
	if err != nil {
		fmt.Println(err)
		return
	}
	verdict, err := verifier.Verify(verify.Bytes(artifact), b, sigbox.Policy{Keys: []sigbox.PublicKey{{Key: public}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(verdict.Algorithm())
	// Output:
	// true application/vnd.dev.sigstore.bundle.v0.3+json
	// PKIX_ECDSA_P256_SHA_256
}
