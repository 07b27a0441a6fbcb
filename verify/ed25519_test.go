package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// pure signs the artifact with pure Ed25519, whatever algorithm it is asked for.
type pure struct{ ed25519.PrivateKey }

func (p pure) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return ed25519.Sign(p.PrivateKey, artifact), nil
}

// TestAlgorithmByRoot: a log of one root says Ed25519ph, a log of another nothing,
// and it is pure Ed25519: the second root still has the artifact to look at.
func TestAlgorithmByRoot(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	key := pure{w.Key(sigbox.Ed25519).(ed25519.PrivateKey)}
	o := sigboxtest.Options{Key: key, Details: sigbox.Ed25519, Kind: "hashedrekord 0.0.1"}
	b := w.Sign(artifact, o)
	b.Entries = append(b.Entries, w.Sign(artifact, sigboxtest.Options{Key: key, Details: sigbox.Ed25519ph}).Entries...)
	v1, v2 := w.Root(), w.Root()
	v2.Logs, v1.Logs = v2.Logs[:1], v1.Logs[1:]

	for name, roots := range map[string][]*sigbox.TrustedRoot{"stated first": {v2, v1}, "stated last": {v1, v2}} {
		verdict, err := verifier(t, roots...).Verify(verify.Reader(bytes.NewReader(artifact)), b, byKey(keyOf(t, o)))
		if err != nil || verdict.Algorithm() != sigbox.Ed25519 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := verifier(t, v2).Verify(verify.Reader(bytes.NewReader(artifact)), b, byKey(keyOf(t, o)))
	if verify.FailedStep(err) != verify.StepSignature {
		t.Errorf("found %v, expected the signature not to be Ed25519ph", err)
	}
}

// counted counts the readers of which much was read and not all.
type counted struct {
	r     *bytes.Reader
	deep  *atomic.Int32
	many  *atomic.Bool // were deep at once
	begun bool
}

func (c *counted) Read(p []byte) (int, error) {
	const smallContent, margin = 4 << 20, 64 << 10
	if read := c.r.Size() - int64(c.r.Len()); read > smallContent+margin && !c.begun {
		c.begun = true
		if c.deep.Add(1) > 1 {
			c.many.Store(true)
		}
	}
	runtime.Gosched()
	n, err := c.r.Read(p)
	if err != nil && c.begun {
		c.deep.Add(-1)
	}
	return n, err
}

// TestLargeArtifactsInTurn: of those that must be held in memory a Verifier holds
// one at a time.
func TestLargeArtifactsInTurn(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	large := bytes.Repeat([]byte("sixteen bytes..\n"), 6<<20/16)
	o := sigboxtest.Options{Key: w.Key(sigbox.Ed25519), Details: sigbox.Ed25519, Kind: "hashedrekord 0.0.1"}
	v, b, key := verifier(t, w.Root()), w.Sign(large, o), keyOf(t, o)
	var deep atomic.Int32
	var many atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r := verify.Reader(&counted{r: bytes.NewReader(large), deep: &deep, many: &many})
			if _, err := v.Verify(r, b, byKey(key)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if many.Load() {
		t.Error("several large artifacts were in memory at once")
	}
}
