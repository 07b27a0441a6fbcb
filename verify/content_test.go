package verify

import (
	"bytes"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
)

// TestBoundedContent: what is larger than may be held is not held, and such a
// signature cannot be verified.
func TestBoundedContent(t *testing.T) {
	t.Parallel()
	var turns sync.Mutex
	// Of these bytes all but one are never touched, so that they take no memory.
	b := bounded{bytes: make([]byte, maxContent-1, maxContent), turn: &turn{verifier: &turns}}
	for i, over := range []bool{false, true, true} {
		if n, err := b.Write([]byte{1}); n != 1 || err != nil || b.over != over {
			t.Fatalf("byte %d: found %d, %v, over is %v", i, n, err, b.over)
		}
	}
	if b.bytes != nil || !turns.TryLock() {
		t.Error("what is too large is held, or the turn of others")
	}

	large := &trial{inquiry: &inquiry{content: &content{Artifact: Reader(bytes.NewReader(nil))}}, signer: &signer{}}
	if err := large.verifyMessage(sigbox.Ed25519); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected it to be too large", err)
	}
}

// Bundles that fail by themselves ask nothing of the artifact: neither hashes nor
// memory are anybody's to spend.
func TestStrangersAskForNothing(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v, err := New(Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	ada := sigboxtest.DefaultIdentity()
	p, err := compile(&sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: ada.Subject, Issuer: ada.Issuer}},
		PredicateTypes: []string{sigbox.AnyPredicateType},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	artifact := []byte("what was built")
	eve := sigbox.Identity{Issuer: ada.Issuer, Subject: "eve@example.com", Kind: sigbox.EmailSAN}
	hashes := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":{"sha512":"00","sha3_512":"00","sha224":"00"}}]}`)
	bundles := []*sigbox.Bundle{
		w.Sign(artifact, sigboxtest.Options{Identity: eve, Details: sigbox.Ed25519, Kind: "hashedrekord 0.0.1"}),
		w.Attest(hashes, sigboxtest.Options{Identity: eve}),
		w.Attest(hashes, sigboxtest.Options{Fault: sigboxtest.FaultNamed("signature-of-other-key")}),
		w.Sign(artifact, sigboxtest.Options{}),
	}
	c := v.newContent(Reader(bytes.NewReader(artifact)))
	if verdicts, err := v.together(c, bundles, newQuorum(p)); err != nil || len(verdicts) != 1 {
		t.Fatalf("found %d verdicts, %v", len(verdicts), err)
	}
	if c.whole || c.wanted != 1<<sigbox.SHA256 {
		t.Errorf("asked for hashes %b, and for all of it: %v", c.wanted, c.whole)
	}
}
