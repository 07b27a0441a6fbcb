package cosign_test

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/trust"
)

const predicate = "https://slsa.dev/provenance/v1"

var (
	artifact  = []byte("what was built")
	statement = sigboxtest.Statement(predicate, artifact)
)

// ada is the policy for who signs in these tests.
func ada() sigbox.Policy {
	id := sigboxtest.DefaultIdentity()
	return sigbox.Policy{
		Identities:     []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}},
		PredicateTypes: []string{sigbox.AnyPredicateType},
	}
}

// policyFor is ada's, or that of the key in o.
func policyFor(t testing.TB, o sigboxtest.Options) sigbox.Policy {
	t.Helper()
	p := ada()
	if o.Key == nil {
		return p
	}
	spki, err := x509.MarshalPKIXPublicKey(o.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	p.Identities, p.Keys = nil, []sigbox.PublicKey{{Key: spki}}
	return p
}

func verifier(t testing.TB, roots ...*sigbox.TrustedRoot) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// options are the shapes that old bundles have.
func options(w *sigboxtest.World) map[string]sigboxtest.Options {
	return map[string]sigboxtest.Options{
		"sign-blob":           {Kind: "hashedrekord 0.0.1", NoTimestamp: true},
		"sign-blob, RSA":      {Kind: "hashedrekord 0.0.1", NoTimestamp: true, Details: sigbox.RSAPKCS1v15With2048},
		"sign-blob, P-384":    {Kind: "hashedrekord 0.0.1", NoTimestamp: true, Details: sigbox.ECDSAP384SHA256},
		"sign-blob --key":     {Kind: "hashedrekord 0.0.1", NoTimestamp: true, Key: w.Key(sigbox.ECDSAP256SHA256)},
		"attest-blob":         {Kind: "dsse 0.0.1", NoTimestamp: true},
		"attest-blob, before": {Kind: "intoto 0.0.2", NoTimestamp: true},
		"attest-blob --key":   {Kind: "dsse 0.0.1", NoTimestamp: true, Key: w.Key(sigbox.ECDSAP256SHA256)},
	}
}

// isEnvelope tells by the kind of entry what is signed.
func isEnvelope(o sigboxtest.Options) bool { return !strings.HasPrefix(o.Kind, "hashedrekord") }

func signed(w *sigboxtest.World, o sigboxtest.Options) *sigbox.Bundle {
	if isEnvelope(o) {
		return w.Attest(statement, o)
	}
	return w.Sign(artifact, o)
}

// judge reads a bundle in its old forms and verifies each; the error is that of a
// form which passed when there is one.
func judge(t testing.TB, v *verify.Verifier, b *sigbox.Bundle, p sigbox.Policy) error {
	t.Helper()
	parsed, err := cosign.ParseBundle(sigboxtest.Legacy(b, nil))
	if err == nil {
		_, err = v.Verify(verify.Bytes(artifact), parsed, p)
	}
	parsed, err2 := cosign.FromDetached(sigboxtest.LegacyFiles(b))
	if err2 == nil {
		_, err2 = v.Verify(verify.Bytes(artifact), parsed, p)
	}
	if err == nil {
		return err2
	}
	if err2 == nil {
		t.Errorf("the bundle is refused (%v), the same in files accepted", err)
	}
	return err
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for name, o := range options(w) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := judge(t, v, signed(w, o), policyFor(t, o)); err != nil {
				t.Error(err)
			}
			if o.Key != nil {
				other := policyFor(t, sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)})
				if judge(t, v, signed(w, o), other) == nil {
					t.Error("accepted with another key")
				}
			}
		})
	}
}

// lost are faults in what the old form does not have: the proof, the digest that
// the signer claims, the version, a certificate's chain.
var lost = map[string]bool{
	"version-of-tomorrow": true, "negative-tree": true, "claim-of-other-artifact": true, "certificate-brings-root": true,
	"endless-entries": true, "endless-timestamps": true,
	"proof-of-other-leaf": true, "proof-too-long": true, "proof-empty": true, "proof-with-short-hash": true,
	"proof-of-other-index": true, "proof-of-other-root": true, "checkpoint-of-other-key": true, "checkpoint-of-other-root": true,
	"checkpoint-of-other-size": true, "checkpoint-of-other-origin": true, "checkpoint-changed": true, "checkpoint-unsigned": true,
	// What the entry says of its kind is read from its body.
	"entry-of-other-kind": true, "entry-of-other-version": true,
	// The writer knows none of these.
	"no-content": true, "two-contents": true,
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	tried := map[string]bool{}
	for name, o := range options(w) {
		for _, f := range sigboxtest.Faults() {
			if o.Fault = f; !f.Possible(o, isEnvelope(o)) || f.Name == "no-content" || f.Name == "two-contents" {
				continue
			}
			if o.Details == sigbox.RSAPKCS1v15With2048 && f.Name == "signature-of-other-key" {
				continue // a world has but one
			}
			tried[f.Name] = true
			err := judge(t, v, signed(w, o), policyFor(t, o))
			if lost[f.Name] != (err == nil) {
				t.Errorf("%s, %s: found %v", name, f.Name, err)
			}
		}
	}
	if len(tried) < 60 {
		t.Errorf("%d faults were tried", len(tried))
	}
}

// TestTimestamps: where a root has no log, files with a timestamp are enough.
func TestTimestamps(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	root := w.Root()
	root.Logs = nil
	v := verifier(t, root)
	for _, f := range append(sigboxtest.Faults(), sigboxtest.Fault{}) {
		o := sigboxtest.Options{Kind: "none", Fault: f}
		if !strings.HasPrefix(f.Name, "timestamp-") && f.Name != "no-time" && f.Name != "" || f.Name != "" && !f.Possible(o, false) {
			continue
		}
		d := sigboxtest.LegacyFiles(w.Sign(artifact, o))
		b, err := cosign.FromDetached(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = v.Verify(verify.Bytes(artifact), b, ada()); (err == nil) != (f.Name == "") {
			t.Errorf("fault %q: found %v", f.Name, err)
		}
		b.Timestamps = nil
		if _, err = v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepTime {
			t.Errorf("without timestamp: found %v", err)
		}
	}
}

// TestRealFiles verifies what a real cosign wrote; testdata/make.sh says how.
func TestRealFiles(t *testing.T) {
	t.Parallel()
	key, err := verify.ParseKey(read(t, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	byKey := sigbox.Policy{Keys: []sigbox.PublicKey{key}, PredicateTypes: []string{sigbox.AnyPredicateType}}
	root, err := trust.ParseRoot(read(t, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	online, err := verify.New(verify.Config{
		Roots:   []*sigbox.TrustedRoot{root},
		Demands: func(*sigbox.TrustedRoot) sigbox.Demands { return sigbox.Demands{Times: 1, SCTs: 1} },
	})
	if err != nil {
		t.Fatal(err)
	}
	byAda := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", IssuerRegexp: `http://127\.0\.0\.1:\d+/oidc`}}}

	detached := func(d cosign.Detached) func() (*sigbox.Bundle, error) {
		return func() (*sigbox.Bundle, error) { return cosign.FromDetached(d) }
	}
	bundle := func(name string) func() (*sigbox.Bundle, error) {
		return func() (*sigbox.Bundle, error) { return cosign.ParseBundle(read(t, name)) }
	}
	for name, c := range map[string]struct {
		bundle func() (*sigbox.Bundle, error)
		v      *verify.Verifier
		policy sigbox.Policy
	}{
		"key.bundle":     {bundle("key.bundle"), verifier(t), byKey},
		"key.att.bundle": {bundle("key.att.bundle"), verifier(t), byKey},
		"key.sig":        {detached(cosign.Detached{Signature: read(t, "key.sig")}), verifier(t), byKey},
		"key.raw.sig":    {detached(cosign.Detached{Signature: read(t, "key.raw.sig")}), verifier(t), byKey},
		"key.att":        {detached(cosign.Detached{Signature: read(t, "key.att")}), verifier(t), byKey},
		"key.sig and the key in the certificate's place": {
			detached(cosign.Detached{Signature: read(t, "key.sig"), Certificate: read(t, "key.pub")}), verifier(t), byKey,
		},
		"certificate": {
			detached(cosign.Detached{Signature: read(t, "cert.sig"), Certificate: read(t, "cert.pem"), Timestamp: read(t, "cert.tsr.json")}), online, byAda,
		},
		"certificate in base64": {
			detached(cosign.Detached{Signature: read(t, "cert.sig"), Certificate: read(t, "cert.pem.b64"), Timestamp: read(t, "cert.tsr.json")}), online, byAda,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := c.bundle()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.v.Verify(verify.Bytes(read(t, "artifact")), b, c.policy); err != nil {
				t.Error(err)
			}
			if _, err := c.v.Verify(verify.Bytes([]byte("another")), b, c.policy); err == nil {
				t.Error("accepted for another artifact")
			}
		})
	}
}
