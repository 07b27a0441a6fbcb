package verify_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// TestArtifactTwice: what is left of a reader is the empty artifact, of which
// somebody trusted may have made a signature. It must not pass for the artifact.
func TestArtifactTwice(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	empty, ours := w.Sign(nil, sigboxtest.Options{}), w.Sign(artifact, sigboxtest.Options{})

	for name, a := range map[string]verify.Artifact{"bytes": verify.Bytes(artifact), "reader": verify.Reader(bytes.NewReader(artifact))} {
		if _, err := v.Verify(a, ours, ada()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := v.Verify(a, empty, ada()); err == nil {
			t.Errorf("%s: the signature of an empty artifact was accepted for one that is not", name)
		}
	}

	a := verify.Bytes(artifact)
	for range 2 {
		if _, err := v.Verify(a, ours, ada()); err != nil {
			t.Errorf("bytes are good for any number of bundles: %v", err)
		}
	}
	a = verify.Reader(bytes.NewReader(artifact))
	other := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "eve@example.com", Issuer: "https://id.example"}}}
	if _, err := v.Verify(a, ours, other); verify.FailedStep(err) != verify.StepIdentity {
		t.Errorf("found %v, expected the identity", err)
	}
	if _, err := v.Verify(a, ours, ada()); err != nil {
		t.Errorf("a reader that was not read yet: %v", err)
	}
	if _, err := v.Verify(a, ours, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a reader that was read to be refused", err)
	}
}

// TestRetiredLogWithoutTime: when nothing says when a signature was made, a log
// whose time is over vouches for nothing.
func TestRetiredLogWithoutTime(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256), NoTimestamp: true}
	b := w.Sign(artifact, o)
	r := w.Root()
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, byKey(keyOf(t, o))); err != nil {
		t.Fatal(err)
	}
	r.Logs[0].ValidFor.End = sigboxtest.Now().Add(time.Hour)
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, byKey(keyOf(t, o))); verify.FailedStep(err) != verify.StepTime {
		t.Errorf("found %v, expected the log to be retired", err)
	}
}

// TestLogListedTwice: of two listings of a log for different times the one that
// fits counts.
func TestLogListedTwice(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	r := w.Root()
	past := r.Logs[0]
	past.ValidFor = sigbox.TimeRange{End: sigboxtest.Now().AddDate(0, -1, 0)}
	r.Logs = append([]sigbox.TransparencyLog{past}, r.Logs...)
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), ada()); err != nil {
		t.Error(err)
	}
}

// TestEmptyRoot: a root that lists nobody would demand nothing of a key's bundle.
func TestEmptyRoot(t *testing.T) {
	t.Parallel()
	if _, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{{}}}); sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "it lists nobody to trust") {
		t.Errorf("found %v, expected it to be refused", err)
	}
}

// TestLogWithoutHost: a v2 log signs as its host, so without one nothing of it can
// be verified; any name must not do instead.
func TestLogWithoutHost(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	r := w.Root()
	r.Logs[0].BaseURL = ""
	_, err := verifier(t, r).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), ada())
	if verify.FailedStep(err) != verify.StepCheckpoint || !strings.Contains(err.Error(), "no host") {
		t.Errorf("found %v, expected the host to be missed", err)
	}
}

// TestEndlessTree: the arithmetic of a proof never ended in the greatest of trees.
func TestEndlessTree(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	b.Entries[0].Inclusion.TreeSize = math.MaxInt64
	if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepInclusion {
		t.Errorf("found %v, expected the tree to be refused", err)
	}
}

// TestIndexIsVouchedFor: without a promise nobody has signed the index that a v1
// entry states beside its proof.
func TestIndexIsVouchedFor(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	le := &b.Entries[0]
	le.SignedEntryTimestamp, le.LogIndex = nil, 4711
	verdict, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, ada())
	if err != nil {
		t.Fatal(err)
	}
	if found := verdict.LogEntries()[0].Index; found != le.Inclusion.LogIndex {
		t.Errorf("found %d, expected the proof's %d", found, le.Inclusion.LogIndex)
	}
}
