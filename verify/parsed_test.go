package verify_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// TestParsedIsShared: Verifiers that share what was parsed judge as those that do
// not, also of roots that list the same certificates for other times, and at once.
func TestParsedIsShared(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	over := w.Root()
	for i := range over.CertificateAuthorities {
		over.CertificateAuthorities[i].ValidFor.End = sigboxtest.Now().AddDate(-1, 0, 0)
	}
	parsed := new(verify.Parsed)
	var group sync.WaitGroup
	for range 4 {
		for root, want := range map[*sigbox.TrustedRoot]verify.Step{w.Root(): 0, over: verify.StepCertificate, sigboxtest.New(t).Root(): verify.StepLog} {
			group.Go(func() {
				v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}, Parsed: parsed})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
					t.Errorf("found %v, expected step %v", err, want)
				}
			})
		}
	}
	group.Wait()
}

// TestParsedKeepsNothingBad: what did not parse once is refused each time.
func TestParsedKeepsNothingBad(t *testing.T) {
	t.Parallel()
	r := &sigbox.TrustedRoot{CertificateAuthorities: []sigbox.CertificateAuthority{{URI: "https://ca.example", Chain: [][]byte{[]byte("no certificate")}}}}
	parsed := new(verify.Parsed)
	for range 2 {
		if _, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}, Parsed: parsed}); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("found %v, expected the root to be refused", err)
		}
	}
}

// TestStatedDigest: an entry that follows from the digest that the bundle states is
// not an entry for another artifact.
func TestStatedDigest(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	v := verifier(t, w.Root())
	other := []byte("another artifact")
	if _, err := v.Verify(verify.Bytes(other), b, ada()); verify.FailedStep(err) != verify.StepArtifact {
		t.Errorf("found %v, expected the artifact to be refused", err)
	}
	b.Message.Digest = sigbox.Digest{} // it need not be stated
	if _, err := v.Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(verify.Bytes(other), b, ada()); verify.FailedStep(err) != verify.StepEntry {
		t.Errorf("found %v, expected the entry to be refused", err)
	}
	b.Entries[0].Kind = "dsse"
	if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepEntry {
		t.Errorf("found %v, expected the kind to be refused", err)
	}
	b = w.Sign(artifact, sigboxtest.Options{})
	b.Entries[0].Kind = "dsse" // which the body is not
	if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepEntry {
		t.Errorf("found %v, expected the kind to be refused", err)
	}
	b = w.Sign(artifact, sigboxtest.Options{})
	b.Message.Digest = sigbox.SHA512.Sum(artifact) // of which no leaf can be made
	b.Entries[0].Body = nil
	if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepEntry {
		t.Errorf("found %v, expected the body to be refused", err)
	}
}

// TestParsedOutlivesRoots: what is parsed stays as it was parsed when the memory of a
// root that is no longer used holds something else.
func TestParsedOutlivesRoots(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	old := w.Root()
	var listed [][]byte
	own := func(p *[]byte) {
		*p = bytes.Clone(*p)
		listed = append(listed, *p)
	}
	for i := range old.Logs {
		own(&old.Logs[i].PublicKey)
	}
	for i := range old.CTLogs {
		own(&old.CTLogs[i].PublicKey)
	}
	for _, all := range [][]sigbox.CertificateAuthority{old.CertificateAuthorities, old.TimestampAuthorities} {
		for i := range all {
			all[i].Chain = slices.Clone(all[i].Chain)
			for n := range all[i].Chain {
				own(&all[i].Chain[n])
			}
		}
	}
	parsed := new(verify.Parsed)
	b := w.Sign(artifact, sigboxtest.Options{})
	for _, root := range []*sigbox.TrustedRoot{old, w.Root()} {
		v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}, Parsed: parsed})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); err != nil {
			t.Error(err)
		}
		for _, part := range listed {
			clear(part)
		}
	}
}

// TestNoSuchLeaf: of an algorithm that v2 logs do not take it is said that they do not.
func TestNoSuchLeaf(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for _, b := range []*sigbox.Bundle{
		w.Sign(artifact, sigboxtest.Options{Details: sigbox.ECDSAP384SHA256}),
		w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{Details: sigbox.ECDSAP384SHA256}),
	} {
		_, err := v.Verify(verify.Bytes(artifact), b, ada())
		if verify.FailedStep(err) != verify.StepEntry || !strings.Contains(err.Error(), sigbox.ECDSAP384SHA256.String()) {
			t.Errorf("found %v, expected the algorithm to be named", err)
		}
	}
}
