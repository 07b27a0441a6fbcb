package entry_test

import (
	"bytes"
	"fmt"
	"log"
	"os"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
)

// What a log has of an artifact follows from artifact, signature and certificate.
func ExampleLeaf() {
	artifact, err := os.ReadFile("../../docs/verification/hello.txt")
	if err != nil {
		log.Fatal(err)
	}
	bundleFile, err := os.ReadFile("../../docs/verification/hello.txt.sigstore.json")
	if err != nil {
		log.Fatal(err)
	}
	b, err := bundle.Parse(bundleFile)
	if err != nil {
		log.Fatal(err)
	}

	leaf, err := entry.Leaf(sigbox.Entry{
		Digest:      sigbox.SHA256.Sum(artifact),
		Signature:   b.Message.Signature,
		Certificate: b.Certificates[0],
		Details:     sigbox.ECDSAP256SHA256,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.60s…\n", leaf)
	fmt.Println("as logged:", bytes.Equal(leaf, b.Entries[0].Body))
	// Output:
	// {"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedR…
	// as logged: true
}

// The body of an entry of a Rekor v1 log, and what the log's promise is over.
func ExampleSETPayload() {
	bundleFile, err := os.ReadFile("../../docs/verification/v1.sigstore.json")
	if err != nil {
		log.Fatal(err)
	}
	b, err := bundle.Parse(bundleFile)
	if err != nil {
		log.Fatal(err)
	}
	body, err := entry.ParseBody(b.Entries[0].Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(body.Kind, body.Version, body.Digest)
	payload := entry.SETPayload(&b.Entries[0])
	fmt.Printf("%.40s…%s\n", payload, payload[len(payload)-17:])
	// Output:
	// hashedrekord 0.0.1 sha256:c058d60d637152db3f9b5fa55d978e4c3857826b9930fb2d684094c0aacdd869
	// {"body":"eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJ…,"logIndex":1003}
}
