package cosign_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/cosign"
)

// verifyBundle reads and verifies an old bundle.
func verifyBundle(v *verify.Verifier, a, doc []byte, p sigbox.Policy) error {
	b, err := cosign.ParseBundle(doc)
	if err != nil {
		return err
	}
	_, err = v.Verify(verify.Bytes(a), b, p)
	return err
}

// cosign GHSA-8gw7-4j42-w388, in the form of bundle that it was found in: the log's
// entry was not held against the signature, the identity was not looked at when the
// certificate came from the bundle, and an entry that could not be read counted as
// success.
func TestGHSA_8gw7_4j42_w388(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	o := sigboxtest.Options{Kind: "hashedrekord 0.0.1", NoTimestamp: true}
	b, other := w.Sign(artifact, o), w.Sign(artifact, o)
	doc := sigboxtest.Legacy(b, nil)
	if err := verifyBundle(v, artifact, doc, ada()); err != nil {
		t.Fatal(err)
	}

	t.Run("entry of another signature", func(t *testing.T) {
		mixed := *b
		mixed.Entries = other.Entries
		if err := verifyBundle(v, artifact, sigboxtest.Legacy(&mixed, nil), ada()); verify.FailedStep(err) != verify.StepEntry {
			t.Errorf("found %v", err)
		}
	})
	t.Run("entry of another artifact", func(t *testing.T) {
		if err := verifyBundle(v, []byte("another"), doc, ada()); verify.FailedStep(err) != verify.StepEntry {
			t.Errorf("found %v", err)
		}
	})
	t.Run("somebody else's certificate", func(t *testing.T) {
		eve := o
		eve.Identity = sigbox.Identity{Issuer: "https://id.example", Subject: "eve@example.com", Kind: sigbox.EmailSAN}
		if err := verifyBundle(v, artifact, sigboxtest.Legacy(w.Sign(artifact, eve), nil), ada()); verify.FailedStep(err) != verify.StepIdentity {
			t.Errorf("found %v", err)
		}
	})
	t.Run("no identity asked for", func(t *testing.T) {
		if err := verifyBundle(v, artifact, doc, sigbox.Policy{}); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("found %v", err)
		}
	})
	t.Run("a key of the bundle's own", func(t *testing.T) {
		byKey := o
		byKey.Key = w.Key(sigbox.ECDSAP256SHA256)
		own := policyFor(t, byKey).Keys[0].Key
		forged := sigboxtest.Legacy(w.Sign(artifact, byKey), own)
		for name, p := range map[string]sigbox.Policy{
			"by identity":    ada(),
			"by another key": policyFor(t, sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}),
		} {
			if err := verifyBundle(v, artifact, forged, p); sigbox.KindOf(err) != sigbox.NotVerified {
				t.Errorf("%s: found %v", name, err)
			}
		}
	})
	t.Run("an entry that cannot be read", func(t *testing.T) {
		for _, body := range [][]byte{nil, []byte("{"), []byte("null"), []byte(`{"apiVersion":"0.0.1","kind":"tuf","spec":{}}`), b.Entries[0].Body[1:]} {
			broken := set(t, doc, "rekorBundle.Payload.body", b64(body))
			if err := verifyBundle(v, artifact, broken, ada()); err == nil {
				t.Errorf("%s: accepted", body)
			}
		}
	})
	t.Run("a promise that is none", func(t *testing.T) {
		set := set(t, doc, "rekorBundle.SignedEntryTimestamp", b64([]byte("trust me")))
		if err := verifyBundle(v, artifact, set, ada()); verify.FailedStep(err) != verify.StepPromise {
			t.Errorf("found %v", err)
		}
	})
	t.Run("no entry", func(t *testing.T) {
		if err := verifyBundle(v, artifact, set(t, doc, "rekorBundle", nil), ada()); verify.FailedStep(err) != verify.StepLog {
			t.Errorf("found %v", err)
		}
	})
}

// cosign GHSA-w6c6-c85g-mmv6: an attestation of a blob was accepted whatever its
// type, and when its payload could not be read.
func TestGHSA_w6c6_c85g_mmv6(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for _, kind := range []string{"dsse 0.0.1", "intoto 0.0.2"} {
		o := sigboxtest.Options{Kind: kind, NoTimestamp: true}
		doc := sigboxtest.Legacy(w.Attest(statement, o), nil)
		wanting := func(predicates ...string) sigbox.Policy {
			p := ada()
			p.PredicateTypes = predicates
			return p
		}
		if err := verifyBundle(v, artifact, doc, wanting(predicate)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := verifyBundle(v, artifact, doc, wanting("https://spdx.dev/Document")); verify.FailedStep(err) != verify.StepPredicate {
			t.Errorf("%s: another type: found %v", kind, err)
		}
		if err := verifyBundle(v, artifact, doc, wanting()); verify.FailedStep(err) != verify.StepPredicate {
			t.Errorf("%s: taken for a signature of the artifact: found %v", kind, err)
		}
		if err := verifyBundle(v, []byte("another"), doc, wanting(predicate)); verify.FailedStep(err) != verify.StepArtifact {
			t.Errorf("%s: another artifact: found %v", kind, err)
		}
		for _, payload := range []string{"", "null", "[]", "{}", "hello", string(statement[:len(statement)-1]), strings.Replace(string(statement), "_type", "_Type", 1)} {
			odd := sigboxtest.Legacy(w.Attest([]byte(payload), o), nil)
			if err := verifyBundle(v, artifact, odd, wanting(sigbox.AnyPredicateType)); err == nil {
				t.Errorf("%s: payload %q: accepted", kind, payload)
			}
		}
		o.Fault = sigboxtest.FaultNamed("payload-of-other-type")
		if err := verifyBundle(v, artifact, sigboxtest.Legacy(w.Attest(statement, o), nil), wanting(sigbox.AnyPredicateType)); verify.FailedStep(err) != verify.StepStatement {
			t.Errorf("%s: payload of another type: found %v", kind, err)
		}
	}
}

// cosign GHSA-ccxc-vr6p-4858 and GHSA-whqx-f9j3-ch6m: the entry of another signer's
// signature over the same artifact was taken.
func TestGHSA_whqx_f9j3_ch6m(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	o := sigboxtest.Options{Kind: "hashedrekord 0.0.1", NoTimestamp: true}
	b, eves := w.Sign(artifact, o), o
	eves.Identity = sigbox.Identity{Issuer: "https://id.example", Subject: "eve@example.com", Kind: sigbox.EmailSAN}
	files, stolen := sigboxtest.LegacyFiles(b), sigboxtest.LegacyFiles(w.Sign(artifact, eves))
	for name, d := range map[string]cosign.Detached{
		"entry":               {Signature: files.Signature, Certificate: files.Certificate, Rekor: stolen.Rekor},
		"certificate":         {Signature: files.Signature, Certificate: stolen.Certificate, Rekor: files.Rekor},
		"signature":           {Signature: stolen.Signature, Certificate: files.Certificate, Rekor: files.Rekor},
		"signature and entry": {Signature: stolen.Signature, Certificate: files.Certificate, Rekor: stolen.Rekor},
	} {
		parsed, err := cosign.FromDetached(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(verify.Bytes(artifact), parsed, ada()); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", name, err)
		}
	}
	if bytes.Equal(files.Certificate, stolen.Certificate) {
		t.Error("both are of the same signer")
	}
}
