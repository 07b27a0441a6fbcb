package note_test

import (
	"crypto/ed25519"
	"fmt"
	"log"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

// A checkpoint is signed by its log, and opened by who has the log's key.
func Example() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // no secret: for the example
	signer, err := note.NewSigner("log.example.com", key)
	if err != nil {
		log.Fatal(err)
	}
	text, err := note.Sign(sigbox.Checkpoint{Origin: "log.example.com", Size: 1}, signer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(text)

	verifier, err := note.NewVerifier("log.example.com", key.Public())
	if err != nil {
		log.Fatal(err)
	}
	cp, err := note.Open(text, verifier)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("size:", cp.Size)

	stranger, err := note.NewVerifier("other.example.com", key.Public())
	if err != nil {
		log.Fatal(err)
	}
	_, err = note.Open(text, stranger)
	fmt.Println(sigbox.KindOf(err))
	// Output:
	// log.example.com
	// 1
	// AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
	//
	// — log.example.com 6rJIfBVvSf0IQ5P8gHVCiAV1DYlTIyQRnLbeRMQb23ZrttIUadHNrMg3kW6RcT0HcDWKYF+s4jcXQGleKBgnfg2r+A4=
	// size: 1
	// not verified
}
