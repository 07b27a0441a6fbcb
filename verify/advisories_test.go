package verify_test

import (
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// refused makes bundles with faults, in every shape that they can happen to, and
// wants each refused at its step.
func refused(t *testing.T, envelope bool, faults ...string) {
	t.Helper()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for _, name := range faults {
		tried := false
		for shape, o := range shapes(w) {
			o.Fault = sigboxtest.FaultNamed(name)
			if !o.Fault.Possible(o, envelope) || !envelope && !logsMessages(o) {
				continue
			}
			tried = true
			if _, err := check(t, v, signed(w, o, envelope), o); verify.FailedStep(err) != steps[name] {
				t.Errorf("%s (%s): found %v, expected a failure at %q", name, shape, err, steps[name])
			}
		}
		if !tried {
			t.Errorf("%s: never tried", name)
		}
	}
}

// cosign GHSA-ccxc-vr6p-4858: the log entry of another signature was accepted.
func TestGHSA_ccxc_vr6p_4858(t *testing.T) {
	t.Parallel()
	refused(t, false, "entry-of-other-signature", "entry-of-other-artifact", "entry-of-other-certificate")
}

// cosign GHSA-whqx-f9j3-ch6m: the same, by a bundle that was put together.
func TestGHSA_whqx_f9j3_ch6m(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	for _, kind := range []string{"", "hashedrekord 0.0.1"} {
		o := sigboxtest.Options{Kind: kind}
		b, other := w.Sign(artifact, o), w.Sign([]byte("another artifact"), o)
		b.Entries = other.Entries
		if _, err := check(t, verifier(t, w.Root()), b, o); verify.FailedStep(err) != verify.StepEntry {
			t.Errorf("found %v, expected the entry to be refused", err)
		}
	}
}

// sigstore-java CVE-2024-53267: the bundle was not bound to the log's proof.
func TestCVE_2024_53267(t *testing.T) {
	t.Parallel()
	refused(t, true, "entry-of-other-signature", "entry-of-other-statement", "proof-of-other-leaf", "checkpoint-of-other-root")
}

// cosign GHSA-8gw7-4j42-w388: a blob's bundle was not bound to it, the identity
// was skipped, and an entry that could not be read counted as success.
func TestGHSA_8gw7_4j42_w388(t *testing.T) {
	t.Parallel()
	refused(t, false, "claim-of-other-artifact", "signature-of-other-artifact", "entry-malformed", "certificate-for-nobody")
	w := sigboxtest.New(t)
	if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), sigbox.Policy{}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a policy without identities to be refused", err)
	}
}

// gitsign GHSA-7c37-gx6w-8vc5: a panic over an odd bundle read as success.
func TestGHSA_7c37_gx6w_8vc5(t *testing.T) {
	t.Parallel()
	refused(t, false, "empty-signature", "empty-certificate", "no-content", "negative-index", "negative-tree", "proof-empty", "proof-with-short-hash")
}

// gitsign GHSA-8pmp-678w-c8xx: a wrong entry.
func TestGHSA_8pmp_678w_c8xx(t *testing.T) {
	t.Parallel()
	refused(t, false, "entry-of-other-kind", "entry-of-other-version", "entry-malformed", "entry-with-duplicate-member", "empty-certificate", "no-content")
}

// gitsign GHSA-xvrc-2wvh-49vc: the log's key came from the service. Here it comes
// from the trust root or not at all.
func TestGHSA_xvrc_2wvh_49vc(t *testing.T) {
	t.Parallel()
	refused(t, false, "entry-in-unknown-log", "checkpoint-of-other-key", "promise-of-other-key")
}

// cosign GHSA-vjxv-45g9-9296: an attestation of another predicate type was accepted.
func TestGHSA_vjxv_45g9_9296(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	p := ada()
	const wanted = "https://example.com/wanted"
	p.PredicateTypes = []string{wanted}
	for name, b := range map[string]*sigbox.Bundle{
		"another type":  w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{}),
		"a prefix":      w.Attest(sigboxtest.Statement(wanted[:20], artifact), sigboxtest.Options{}),
		"other case":    w.Attest(sigboxtest.Statement("https://example.com/Wanted", artifact), sigboxtest.Options{}),
		"not statement": w.Sign(artifact, sigboxtest.Options{}),
	} {
		if _, err := v.Verify(verify.Bytes(artifact), b, p); verify.FailedStep(err) != verify.StepPredicate {
			t.Errorf("%s: found %v, expected the predicate type to be refused", name, err)
		}
	}
	if _, err := v.Verify(verify.Bytes(artifact), w.Attest(sigboxtest.Statement(wanted, artifact), sigboxtest.Options{}), p); err != nil {
		t.Error(err)
	}
}

// policy-controller GHSA-739f-hw6h-7wq8: any attestation by the right identity would
// do, whatever was asked for; also among several.
func TestGHSA_739f_hw6h_7wq8(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	p := ada()
	p.PredicateTypes = []string{"https://example.com/wanted"}
	other := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{})
	v := verifier(t, w.Root())
	if verdicts, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{other, w.Sign(artifact, sigboxtest.Options{})}, p); verify.FailedStep(err) != verify.StepPredicate {
		t.Errorf("found %v, %v, expected the predicate type to be refused", verdicts, err)
	}
	wanted := w.Attest(sigboxtest.Statement("https://example.com/wanted", artifact), sigboxtest.Options{})
	verdicts, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{other, wanted}, p)
	if err != nil || len(verdicts) != 1 || verdicts[0].Bundle() != wanted {
		t.Errorf("found %v, %v, expected the one that was asked for", verdicts, err)
	}
}

// gh CVE-2025-25204: when no attestation was of the type asked for, that was none
// refused, and so success.
func TestCVE_2025_25204(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	p := ada()
	p.PredicateTypes = []string{"https://example.com/wanted"}
	other := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{})
	for name, bundles := range map[string][]*sigbox.Bundle{"none": nil, "another": {other}} {
		if verdicts, err := verifier(t, w.Root()).VerifyAll(verify.Bytes(artifact), bundles, p); err == nil || len(verdicts) != 0 {
			t.Errorf("%s: found %v, %v", name, verdicts, err)
		}
	}
}

// sigstore-go GHSA-cq38-jh5f-37mq: endless lists of entries, timestamps and subjects.
func TestGHSA_cq38_jh5f_37mq(t *testing.T) {
	t.Parallel()
	refused(t, true, "endless-entries", "endless-timestamps", "statement-of-endless-subjects", "statement-of-endless-digests")
}

// notation GHSA-rvrx-rrwh-r9p6: signatures without end were verified, one by one.
func TestGHSA_rvrx_rrwh_r9p6(t *testing.T) {
	t.Parallel()
	refused(t, true, "two-signatures")
}

// cosign GHSA-wfqv-66vq-46rm: an intermediate that had expired.
func TestGHSA_wfqv_66vq_46rm(t *testing.T) {
	t.Parallel()
	refused(t, false, "issuer-expired", "issuer-retired")
}

// sigstore-ruby GHSA-mhg6-2q2v-9h2c: a statement was not compared with the artifact.
func TestGHSA_mhg6_2q2v_9h2c(t *testing.T) {
	t.Parallel()
	refused(t, true, "statement-without-digest", "statement-of-other-artifact")
}

// cosign GHSA-w6c6-c85g-mmv6: what an attestation holds was not looked at.
func TestGHSA_w6c6_c85g_mmv6(t *testing.T) {
	t.Parallel()
	refused(t, true, "payload-of-other-type", "payload-no-json", "statement-of-other-type", "statement-without-subject",
		"statement-without-digest", "statement-of-other-artifact", "statement-without-predicate-type")
}

// sigstore-go GHSA-9vcr-p3rj-q5q6: one log's entries reached a threshold of two.
func TestGHSA_9vcr_p3rj_q5q6(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{Twice: true})
	v1 := w.Root()
	v1.Logs[0].Operator, v1.Logs[1].Operator = "example", "example"

	for name, c := range map[string]struct {
		demands sigbox.Demands
		want    verify.Step
	}{
		"one of each": {sigbox.Demands{LogEntries: 1, Times: 1, SCTs: 1}, 0},
		"two logs":    {sigbox.Demands{LogEntries: 2, Times: 1}, verify.StepLog},
		"two times":   {sigbox.Demands{LogEntries: 1, Times: 2}, verify.StepTime},
		"two SCTs":    {sigbox.Demands{SCTs: 2}, verify.StepSCT},
	} {
		v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{v1}, Demands: func(*sigbox.TrustedRoot) sigbox.Demands { return c.demands }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: found %v, expected %v", name, err, c.want)
		}
	}
}

// sigstore-go GHSA-wqqc-jjcq-vfxm: the period of a key was ignored.
func TestGHSA_wqqc_jjcq_vfxm(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	b := w.Sign(artifact, o)
	untimed := o
	untimed.NoTimestamp = true
	now := sigboxtest.Now()
	for name, c := range map[string]struct {
		b        *sigbox.Bundle
		validFor sigbox.TimeRange
		want     verify.Step
	}{
		"always":              {b, sigbox.TimeRange{}, 0},
		"both ends included":  {b, sigbox.TimeRange{Start: now, End: now}, 0},
		"before":              {b, sigbox.TimeRange{Start: now.Add(time.Second)}, verify.StepTime},
		"after":               {b, sigbox.TimeRange{End: now.Add(-time.Second)}, verify.StepTime},
		"a time is not known": {w.Sign(artifact, untimed), sigbox.TimeRange{End: now}, verify.StepTime},
	} {
		key := keyOf(t, o)
		key.ValidFor = c.validFor
		_, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), c.b, byKey(key))
		if verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: found %v, expected %v", name, err, c.want)
		}
	}
	// Without a trust root nobody vouches for a time.
	key := keyOf(t, o)
	key.ValidFor = sigbox.TimeRange{End: now}
	if _, err := verifier(t).Verify(verify.Bytes(artifact), b, byKey(key)); verify.FailedStep(err) != verify.StepTime {
		t.Errorf("found %v, expected a time to be demanded", err)
	}
}

// sigstore-js GHSA-52v5-jr5w-gjxr: a part of the policy was dropped. What cannot
// be answered is refused instead.
func TestGHSA_52v5_jr5w_gjxr(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	for name, id := range map[string]sigbox.IdentityMatch{
		"subject alone":      {Subject: "ada@example.com"},
		"issuer alone":       {Issuer: "https://id.example"},
		"nothing":            {},
		"both subject forms": {Subject: "ada@example.com", SubjectRegexp: ".*", Issuer: "https://id.example"},
		"both issuer forms":  {Subject: "ada@example.com", IssuerRegexp: ".*", Issuer: "https://id.example"},
		"broken expression":  {SubjectRegexp: "(", Issuer: "https://id.example"},
		"out of its group":   {SubjectRegexp: "x)|(.*", Issuer: "https://id.example"},
	} {
		if _, err := v.Verify(verify.Bytes(artifact), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{id}}); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, expected the policy to be refused", name, err)
		}
	}
	// A policy of identities alone is not met by a key, nor the other way round.
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	if _, err := v.Verify(verify.Bytes(artifact), w.Sign(artifact, o), ada()); verify.FailedStep(err) != verify.StepBundle {
		t.Errorf("found %v, expected a key to be refused where identities are wanted", err)
	}
	if _, err := v.Verify(verify.Bytes(artifact), b, byKey(keyOf(t, o))); verify.FailedStep(err) != verify.StepBundle {
		t.Errorf("found %v, expected a certificate to be refused where a key is wanted", err)
	}
}

// policy-controller: attestations were admitted whose signature nobody checked.
func TestAttestationsAreSigned(t *testing.T) {
	t.Parallel()
	refused(t, true, "signature-of-other-key", "signature-of-other-artifact", "no-signatures")
}

// timestamp-authority GHSA-xm5m-wgh2-rrg3: the constraints were checked on a
// certificate that the token brought along.
func TestGHSA_xm5m_wgh2_rrg3(t *testing.T) {
	t.Parallel()
	refused(t, false, "timestamp-by-namesake", "timestamp-changed", "timestamp-before-authority")
}
