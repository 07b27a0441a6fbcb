package verify

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
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

	source := func() (io.Reader, error) { return bytes.NewReader(nil), nil }
	large := &trial{inquiry: &inquiry{content: &content{Artifact: Artifact{source: source}}}, signer: &signer{}}
	if err := large.verifyMessage(sigbox.Ed25519); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected it to be too large", err)
	}
}
