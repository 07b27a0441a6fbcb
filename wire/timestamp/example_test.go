package timestamp_test

import (
	"fmt"
	"log"
	"os"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/timestamp"
	"github.com/sigbox/sigbox/wire/trust"
)

// The timestamp of a bundle, verified by the authority that a trust root lists. It
// is over the signature's bytes.
func Example() {
	rootFile, err := os.ReadFile("../../docs/verification/trusted_root.json")
	if err != nil {
		log.Fatal(err)
	}
	bundleFile, err := os.ReadFile("../../docs/verification/hello.txt.sigstore.json")
	if err != nil {
		log.Fatal(err)
	}
	root, err := trust.ParseRoot(rootFile)
	if err != nil {
		log.Fatal(err)
	}
	b, err := bundle.Parse(bundleFile)
	if err != nil {
		log.Fatal(err)
	}

	authority, err := timestamp.NewAuthority(root.TimestampAuthorities[0])
	if err != nil {
		log.Fatal(err)
	}
	at, err := authority.Verify(b.Timestamps[0], b.Message.Signature)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(at)

	_, err = authority.Verify(b.Timestamps[0], []byte("another signature"))
	fmt.Println(sigbox.KindOf(err))
	// Output:
	// 2026-11-21 23:32:38 +0000 UTC
	// not verified
}

// A request, as a client sends it to an authority.
func ExampleRequest() {
	signature := []byte("the bytes of a signature")
	der, err := timestamp.Request{
		Digest:       sigbox.SHA256.Sum(signature),
		Nonce:        timestamp.NewNonce([]byte("eight or more random bytes")[:8]),
		Certificates: true,
	}.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	request, err := timestamp.ParseRequest(der)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(request.Digest.Equal(sigbox.SHA256.Sum(signature)), request.Certificates)
	// Output:
	// true true
}
