package bundle_test

import (
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
)

// A bundle is written, and read again. Nothing in it has been verified.
func Example() {
	b := &sigbox.Bundle{
		KeyHint: "release key",
		Message: &sigbox.MessageSignature{Digest: sigbox.SHA256.Sum([]byte("an artifact")), Signature: []byte("…")},
	}
	file, err := bundle.Append(nil, b)
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err = bundle.Parse(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.MediaType)
	fmt.Println(b.KeyHint, b.Message.Digest)

	_, err = bundle.Parse(file[:len(file)/2])
	fmt.Println(sigbox.KindOf(err))
	// Output:
	// application/vnd.dev.sigstore.bundle.v0.3+json
	// release key sha256:326086a5d542fbb3f783c4d9182b3188caecd714d02d6c10cbdea982e2bfc409
	// invalid
}
