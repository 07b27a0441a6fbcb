package verify_test

import (
	"fmt"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
)

const predicate = "https://slsa.dev/provenance/v1"

var artifact = []byte("what was built")

// steps says at which step each fault must be found.
var steps = map[string]verify.Step{
	"empty-signature": verify.StepBundle, "two-signatures": verify.StepBundle, "no-signatures": verify.StepBundle,
	"no-content": verify.StepBundle, "two-contents": verify.StepBundle, "endless-entries": verify.StepBundle,
	"endless-timestamps": verify.StepBundle, "version-of-tomorrow": verify.StepBundle, "empty-certificate": verify.StepBundle,
	"negative-index": verify.StepBundle, "negative-tree": verify.StepBundle, "no-proof": verify.StepBundle,

	"no-entry": verify.StepLog, "entry-in-unknown-log": verify.StepLog,

	"entry-of-other-signature": verify.StepEntry, "entry-of-other-certificate": verify.StepEntry,
	"entry-of-key-for-certificate": verify.StepEntry, "entry-of-other-artifact": verify.StepEntry,
	"entry-of-other-statement": verify.StepEntry, "entry-of-other-algorithm": verify.StepEntry,
	"entry-of-other-kind": verify.StepEntry, "entry-of-other-version": verify.StepEntry, "entry-malformed": verify.StepEntry,
	"entry-with-duplicate-member": verify.StepEntry, "entry-not-canonical": verify.StepEntry,

	"promise-of-other-key": verify.StepPromise, "promise-of-other-time": verify.StepPromise,
	"promise-of-other-index": verify.StepPromise, "promise-before-log": verify.StepPromise, "promise-by-v2-log": verify.StepPromise,

	"proof-of-other-leaf": verify.StepInclusion, "proof-too-long": verify.StepInclusion, "proof-empty": verify.StepInclusion,
	"proof-with-short-hash": verify.StepInclusion, "proof-of-other-index": verify.StepInclusion, "proof-of-other-root": verify.StepInclusion,

	"checkpoint-of-other-key": verify.StepCheckpoint, "checkpoint-of-other-root": verify.StepCheckpoint,
	"checkpoint-of-other-size": verify.StepCheckpoint, "checkpoint-of-other-origin": verify.StepCheckpoint,
	"checkpoint-changed": verify.StepCheckpoint, "checkpoint-unsigned": verify.StepCheckpoint,

	"timestamp-of-other-signature": verify.StepTimestamp, "timestamp-of-artifact": verify.StepTimestamp,
	"timestamp-malformed": verify.StepTimestamp, "timestamp-changed": verify.StepTimestamp,
	"timestamp-by-namesake": verify.StepTimestamp, "timestamp-before-authority": verify.StepTimestamp,
	"no-time": verify.StepTime,

	"timestamp-before-certificate": verify.StepCertificate, "timestamp-after-certificate": verify.StepCertificate,
	"issuer-unknown": verify.StepCertificate, "issuer-by-namesake": verify.StepCertificate, "issuer-forged": verify.StepCertificate,
	"issuer-expired": verify.StepCertificate, "issuer-retired": verify.StepCertificate, "issuer-for-other-use": verify.StepCertificate,
	"issuer-too-deep": verify.StepCertificate, "certificate-expired": verify.StepCertificate,
	"certificate-not-yet-valid": verify.StepCertificate, "certificate-of-authority": verify.StepCertificate,
	"certificate-for-other-use": verify.StepCertificate, "certificate-for-any-use": verify.StepCertificate,
	"certificate-not-for-signing": verify.StepCertificate, "certificate-with-unknown-extension": verify.StepCertificate,
	"precertificate": verify.StepCertificate, "certificate-malformed": verify.StepCertificate,
	"certificate-brings-root": verify.StepCertificate, "certificate-for-nobody": verify.StepIdentity,

	"no-sct": verify.StepSCT, "sct-of-unknown-log": verify.StepSCT, "sct-of-other-key": verify.StepSCT,
	"sct-of-other-certificate": verify.StepSCT, "sct-of-other-issuer": verify.StepSCT, "sct-malformed": verify.StepSCT, "sct-out-of-range": verify.StepSCT,
	"sct-before-log": verify.StepSCT,

	"signature-of-other-key": verify.StepSignature, "signature-of-other-artifact": verify.StepSignature,
	"claim-of-other-artifact": verify.StepArtifact,

	"payload-of-other-type": verify.StepStatement, "payload-no-json": verify.StepStatement, "payload-cut": verify.StepStatement,
	"payload-with-more-behind": verify.StepStatement, "statement-of-other-type": verify.StepStatement,
	"statement-in-other-case": verify.StepStatement, "statement-with-duplicate-member": verify.StepStatement,
	"statement-without-predicate-type": verify.StepStatement, "statement-without-subject": verify.StepStatement,
	"statement-without-digest": verify.StepArtifact, "statement-of-other-artifact": verify.StepArtifact,
	"statement-of-endless-subjects": verify.StepStatement, "statement-of-endless-digests": verify.StepStatement,
}

// shapes are the ordinary bundles that faults happen to.
func shapes(w *sigboxtest.World) map[string]sigboxtest.Options {
	return map[string]sigboxtest.Options{
		"v2":                 {},
		"v2 dsse":            {Kind: "dsse 0.0.2"},
		"v2 by key":          {Key: w.Key(sigbox.ECDSAP256SHA256)},
		"v2 by key, untimed": {Key: w.Key(sigbox.ECDSAP256SHA256), NoTimestamp: true},
		"v1":                 {Kind: "hashedrekord 0.0.1", NoTimestamp: true},
		"v1, timed":          {Kind: "hashedrekord 0.0.1"},
		"v1 dsse":            {Kind: "dsse 0.0.1", NoTimestamp: true},
		"v1 intoto":          {Kind: "intoto 0.0.2", NoTimestamp: true},
		"v1 by key":          {Kind: "hashedrekord 0.0.1", Key: w.Key(sigbox.ECDSAP256SHA256), NoTimestamp: true},
		"0.1":                {Kind: "hashedrekord 0.0.1", Version: 1, NoTimestamp: true},
		"0.2":                {Kind: "hashedrekord 0.0.1", Version: 2, NoTimestamp: true},
	}
}

// logsMessages reports whether a shape is one that a message can have.
func logsMessages(o sigboxtest.Options) bool {
	return o.Kind == "" || o.Kind == "none" || o.Kind[:len(o.Kind)-6] == "hashedrekord"
}

// ada is the policy for the default identity.
func ada() sigbox.Policy {
	id := sigboxtest.DefaultIdentity()
	return sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}},
		PredicateTypes: []string{sigbox.AnyPredicateType},
	}
}

// byKey accepts whatever a key has signed.
func byKey(keys ...sigbox.PublicKey) sigbox.Policy {
	return sigbox.Policy{Keys: keys, PredicateTypes: []string{sigbox.AnyPredicateType}}
}

// verifier makes one for a world.
func verifier(t testing.TB, roots ...*sigbox.TrustedRoot) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{Roots: roots, Conditions: condition.CEL{}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// check verifies a bundle that was made with o.
func check(t testing.TB, v *verify.Verifier, b *sigbox.Bundle, o sigboxtest.Options) (*verify.Verdict, error) {
	t.Helper()
	if o.Key == nil {
		return v.Verify(verify.Bytes(artifact), b, ada())
	}
	return v.Verify(verify.Bytes(artifact), b, byKey(keyOf(t, o)))
}

// signed signs the artifact, or a statement about it.
func signed(w *sigboxtest.World, o sigboxtest.Options, envelope bool) *sigbox.Bundle {
	if envelope {
		return w.Attest(sigboxtest.Statement(predicate, artifact), o)
	}
	return w.Sign(artifact, o)
}

// forEach runs f for every shape, with a message and with an envelope.
func forEach(t *testing.T, w *sigboxtest.World, f func(t *testing.T, o sigboxtest.Options, envelope bool)) {
	for name, o := range shapes(w) {
		for _, envelope := range []bool{false, true} {
			if !envelope && !logsMessages(o) {
				continue
			}
			t.Run(fmt.Sprintf("%s, envelope %v", name, envelope), func(t *testing.T) {
				t.Parallel()
				f(t, o, envelope)
			})
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	forEach(t, w, func(t *testing.T, o sigboxtest.Options, envelope bool) {
		b := signed(w, o, envelope)
		for range 2 { // the second time from what was remembered
			verdict, err := check(t, v, b, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := verdict.Identity(); ok != (o.Key == nil) {
				t.Errorf("identity found: %v", ok)
			}
			if len(verdict.LogEntries()) != 1 || (verdict.Statement() != nil) != envelope {
				t.Errorf("found %v, %v", verdict.LogEntries(), verdict.Statement())
			}
		}
	})
}

// TestFaults: one thing wrong is enough, and it is named.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	tried := map[string]int{}
	for _, f := range sigboxtest.Faults() {
		want, known := steps[f.Name]
		if !known {
			t.Errorf("%s: no step is known for it", f.Name)
		}
		for name, o := range shapes(w) {
			for _, envelope := range []bool{false, true} {
				if !f.Possible(o, envelope) || !envelope && !logsMessages(o) {
					continue
				}
				tried[f.Name]++
				o.Fault = f
				verdict, err := check(t, v, signed(w, o, envelope), o)
				if err == nil {
					t.Errorf("%s (%s, envelope %v): verified: %v", f.Name, name, envelope, verdict.Steps())
				} else if found := verify.FailedStep(err); found != want || sigbox.KindOf(err) != sigbox.NotVerified {
					t.Errorf("%s (%s, envelope %v): failed at %q, expected %q: %v", f.Name, name, envelope, found, want, err)
				}
			}
		}
		if tried[f.Name] == 0 {
			t.Errorf("%s: never tried", f.Name)
		}
	}
}
