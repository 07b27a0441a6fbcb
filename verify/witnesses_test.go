package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// strangeTimestamp is of an authority that nobody lists.
func strangeTimestamp(t *testing.T, over []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	now := sigboxtest.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "strange root"}, NotBefore: now, NotAfter: now, IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "strange"}, NotBefore: now, NotAfter: now,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	var chain [][]byte
	for _, c := range []*x509.Certificate{leaf, root} {
		der, err := x509.CreateCertificate(rand.Reader, c, root, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, der)
	}
	s, err := timestamp.NewSigner(timestamp.SignerConfig{Key: key, Chain: chain})
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Respond(timestamp.Request{Digest: sigbox.SHA256.Sum(over)}, now, big.NewInt(1))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestStrangeTimestamp: one of an authority that the root does not list counts for
// nothing, and spoils nothing.
func TestStrangeTimestamp(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	strange := strangeTimestamp(t, b.Message.Signature)
	both, alone := *b, *b
	both.Timestamps, alone.Timestamps = append([][]byte{strange}, b.Timestamps...), [][]byte{strange}
	verdict, err := v.Verify(verify.Bytes(artifact), &both, ada())
	if err != nil || len(verdict.Times()) != 1 {
		t.Errorf("beside ours: %v", err)
	}
	if _, err := v.Verify(verify.Bytes(artifact), &alone, ada()); verify.FailedStep(err) != verify.StepTime || !strings.Contains(err.Error(), "does not list") {
		t.Errorf("found %v, expected a time to be missed", err)
	}
}

// TestNobody: a certificate that names nobody is refused, however wide the policy.
func TestNobody(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	all := sigbox.Policy{Identities: []sigbox.IdentityMatch{{SubjectRegexp: ".*", IssuerRegexp: ".*"}}}
	v := verifier(t, w.Root())
	if _, err := v.Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), all); err != nil {
		t.Error(err)
	}
	_, err := v.Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{Fault: sigboxtest.FaultNamed("certificate-for-nobody")}), all)
	if verify.FailedStep(err) != verify.StepIdentity {
		t.Errorf("found %v, expected the certificate to name somebody", err)
	}
	if f, ok := errors.AsType[*verify.Failure](err); ok {
		if id, ok := f.Signer(); ok {
			t.Errorf("the failure names %v", id)
		}
	}
}

// TestFailureOfForm: of a bundle whose form is wrong nothing was found, and the
// failure says so.
func TestFailureOfForm(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	v := verifier(t, w.Root())
	_, malformed := v.Verify(verify.Bytes(artifact), &sigbox.Bundle{}, ada())
	_, byKeyAlone := v.Verify(verify.Bytes([]byte("other")), w.Sign(artifact, o), byKey(keyOf(t, o)))
	for name, err := range map[string]error{"malformed": malformed, "by key": byKeyAlone} {
		f, ok := errors.AsType[*verify.Failure](err)
		if !ok {
			t.Fatalf("%s: found %v", name, err)
		}
		if id, ok := f.Signer(); ok {
			t.Errorf("%s: found %v", name, id)
		}
		if name == "malformed" && (f.Bundle() != nil || len(f.Passed()) != 0) {
			t.Errorf("%s: found %v, %v", name, f.Bundle(), f.Passed())
		}
	}
}

// TestNotToBeAnswered: what is wrong with the question is no failure of a bundle, in
// either way of asking.
func TestNotToBeAnswered(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	for name, c := range map[string]struct {
		a    verify.Artifact
		p    sigbox.Policy
		kind sigbox.Kind
		want string
	}{
		"no artifact":         {verify.Artifact{}, ada(), sigbox.Invalid, "no artifact"},
		"no reader":           {verify.Reader(nil), ada(), sigbox.Invalid, "no artifact"},
		"a digest by no name": {verify.Named(sigbox.NamedDigest{Algorithm: "a name", Value: "00"}), ada(), sigbox.Invalid, "expected the name of an algorithm"},
		"a digest cut short":  {verify.Named(sigbox.NamedDigest{Algorithm: "sha256", Value: "00"}), ada(), sigbox.Invalid, "hex digits"},
		"no policy":           {verify.Bytes(artifact), sigbox.Policy{}, sigbox.Invalid, "accepts nobody"},
		"a broken reader":     {verify.Reader(iotest.ErrReader(errors.New("broken"))), ada(), sigbox.Unavailable, "could not be read"},
	} {
		if _, err := v.Verify(c.a, b, c.p); sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
		if name == "a broken reader" {
			c.a = verify.Reader(iotest.ErrReader(errors.New("broken")))
		}
		if verdicts, err := v.VerifyAll(c.a, []*sigbox.Bundle{b}, c.p); sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) || verdicts != nil {
			t.Errorf("%s, all: found %v, %v, expected %q", name, verdicts, err, c.want)
		}
	}
	if _, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{nil}, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a bundle to be missed", err)
	}
	if _, err := v.VerifyAll(verify.Bytes(artifact), make([]*sigbox.Bundle, verify.MaxBundles+1), ada()); sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), "are looked at") {
		t.Errorf("found %v, expected too many bundles", err)
	}
	// With a key that has no log, and an artifact by another digest than the signed.
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256), Kind: "none", NoTimestamp: true}
	_, err := verifier(t).Verify(verify.Digest(sigbox.SHA512.Sum(artifact)), w.Sign(artifact, o), byKey(keyOf(t, o)))
	if verify.FailedStep(err) != verify.StepSignature || !strings.Contains(err.Error(), "the artifact is given as") {
		t.Errorf("found %v, expected another digest to be asked for", err)
	}
}

// TestWholeSignatures: pure Ed25519 signs no digest; it is refused all the same.
func TestWholeSignatures(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.Ed25519), Details: sigbox.Ed25519, Kind: "none", NoTimestamp: true}
	v := verifier(t)
	key := keyOf(t, o)
	key.Details = sigbox.Ed25519
	for _, envelope := range []bool{false, true} {
		for fault, want := range map[string]verify.Step{"": 0, "signature-of-other-artifact": verify.StepSignature, "signature-of-other-key": verify.StepSignature} {
			o := o
			if fault != "" {
				o.Fault = sigboxtest.FaultNamed(fault)
			}
			if _, err := v.Verify(verify.Bytes(artifact), signed(w, o, envelope), byKey(key)); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
				t.Errorf("%q, envelope %v: found %v, expected %v", fault, envelope, err, want)
			}
		}
	}
}

// TestSigner: a verdict is by identity or by key, and says of a promise without
// proof what it is.
func TestSigner(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for name, change := range map[string]func(le *sigbox.LogEntry){
		"proof":         func(*sigbox.LogEntry) {},
		"no checkpoint": func(le *sigbox.LogEntry) { le.Inclusion.Checkpoint = "" },
		"no proof":      func(le *sigbox.LogEntry) { le.Inclusion = nil },
	} {
		b := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 1, NoTimestamp: true})
		change(&b.Entries[0])
		verdict, err := v.Verify(verify.Bytes(artifact), b, ada())
		if err != nil {
			t.Fatal(name, err)
		}
		if key, ok := verdict.Key(); ok {
			t.Errorf("%s: found the key %x", name, key)
		}
		included := false
		for _, c := range verdict.Steps() {
			included = included || c.Step == verify.StepInclusion
			if c.Step == verify.StepSignature && !strings.Contains(c.Found, "by the certificate's key") {
				t.Errorf("%s: found %q", name, c.Found)
			}
		}
		if included != (name == "proof") {
			t.Errorf("%s: inclusion is %v", name, included)
		}
	}
}

// TestSignatureIsNotWanted: who wants a statement of some type is not content with
// cosign's, which only says that the artifact was signed.
func TestSignatureIsNotWanted(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Attest(sigboxtest.Statement(sigbox.CosignSignPredicateType, artifact), sigboxtest.Options{})
	for wanted, want := range map[string]verify.Step{"": 0, sigbox.CosignSignPredicateType: 0, sigbox.AnyPredicateType: 0, predicate: verify.StepPredicate} {
		p := ada()
		if p.PredicateTypes = nil; wanted != "" {
			p.PredicateTypes = []string{wanted}
		}
		if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, p); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
			t.Errorf("%q: found %v, expected %v", wanted, err, want)
		}
	}
}

// TestNamedDigest: a subject by a digest that sigbox cannot compute is what it was
// asked for by.
func TestNamedDigest(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	commit := sigbox.NamedDigest{Algorithm: "gitCommit", Value: "da39a3ee5e6b4b0d3255bfef95601890afd80709"}
	statement := strings.Replace(string(sigboxtest.Statement(predicate, artifact)), `"sha256":"`, `"gitCommit":"`+commit.Value+`","sha256":"`, 1)
	verdict, err := verifier(t, w.Root()).Verify(verify.Named(commit), w.Attest([]byte(statement), sigboxtest.Options{}), ada())
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := verdict.Subject(); !ok || s.Digests["gitCommit"] != commit.Value || verdict.Digest() != commit {
		t.Errorf("found %v, %v, %v", s, ok, verdict.Digest())
	}
	var none verify.Verdict
	if key, ok := none.Key(); ok {
		t.Errorf("no verdict names the key %x", key)
	}
}

// TestParseKeyForms: what is no key, and why.
func TestParseKeyForms(t *testing.T) {
	t.Parallel()
	block := func(kind string) []byte {
		return []byte("-----BEGIN " + kind + "-----\nAQ==\n-----END " + kind + "-----\n")
	}
	for name, c := range map[string]struct {
		in   []byte
		kind sigbox.Kind
		want string
	}{
		"large":         {make([]byte, 64<<10+1), sigbox.TooLarge, "at most"},
		"a certificate": {block("CERTIFICATE"), sigbox.Invalid, "type of the PEM block"},
		"a private key": {block("PRIVATE KEY"), sigbox.Invalid, "type of the PEM block"},
		"no key":        {block("PUBLIC KEY"), sigbox.Invalid, "expected a DER SubjectPublicKeyInfo"},
		"two":           {append(block("PUBLIC KEY"), block("PUBLIC KEY")...), sigbox.Invalid, "more after the end"},
		"words":         {[]byte("hello"), sigbox.Invalid, "expected a DER SubjectPublicKeyInfo"},
	} {
		if _, err := verify.ParseKey(c.in); sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}

// TestDemanded: what is demanded of everybody, nobody is spared.
func TestDemanded(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	either := ada()
	either.Keys = []sigbox.PublicKey{keyOf(t, o)}
	// By certificate or by key, but there is nobody to judge certificates.
	if _, err := verifier(t).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), either); verify.FailedStep(err) != verify.StepCertificate || !strings.Contains(err.Error(), "no trust root") {
		t.Errorf("found %v, expected a trust root to be missed", err)
	}
	// The artifact is a subject, but not by a digest that the policy wants.
	known := ada()
	known.Digests = []sigbox.NamedDigest{{Algorithm: "gitCommit", Value: strings.Repeat("0", 40)}}
	b := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{})
	if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, known); verify.FailedStep(err) != verify.StepArtifact || !strings.Contains(err.Error(), "the policy is for other artifacts") {
		t.Errorf("found %v, expected the digest to be missed", err)
	}
}

// TestTogether: what ends the count for an artifact that is read but once.
func TestTogether(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b, other := w.Sign(artifact, sigboxtest.Options{}), w.Sign(artifact, sigboxtest.Options{})
	if _, err := v.VerifyAll(verify.Reader(strings.NewReader(string(artifact))), []*sigbox.Bundle{nil, b}, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a bundle to be missed", err)
	}
	if _, err := v.VerifyAll(verify.Reader(iotest.ErrReader(errors.New("broken"))), []*sigbox.Bundle{b, other}, ada()); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v, expected the artifact not to be read", err)
	}
}

// TestUnlisted: what is by somebody whom the trust root does not list is told from all
// else that is wrong: a newer trust root may list him.
func TestUnlisted(t *testing.T) {
	t.Parallel()
	w, others := sigboxtest.New(t), sigboxtest.New(t).Root()
	unlisted := func(what string, root *sigbox.TrustedRoot, b *sigbox.Bundle, step verify.Step, want bool) {
		t.Helper()
		_, err := verifier(t, root).Verify(verify.Bytes(artifact), b, ada())
		f, ok := errors.AsType[*verify.Failure](err)
		if !ok || f.Step() != step || f.Unlisted() != want {
			t.Errorf("%s: expected a failure at %v that is %t, found %v", what, step, want, err)
		}
	}
	for what, tt := range map[string]struct {
		change func(*sigbox.TrustedRoot)
		step   verify.Step
	}{
		"log":    {func(r *sigbox.TrustedRoot) { r.Logs = others.Logs }, verify.StepLog},
		"CA":     {func(r *sigbox.TrustedRoot) { r.CertificateAuthorities = others.CertificateAuthorities }, verify.StepCertificate},
		"CT log": {func(r *sigbox.TrustedRoot) { r.CTLogs = others.CTLogs }, verify.StepSCT},
	} {
		root := w.Root()
		tt.change(root)
		unlisted(what, root, w.Sign(artifact, sigboxtest.Options{}), tt.step, true)
	}
	bare := *w.Sign(artifact, sigboxtest.Options{})
	bare.Timestamps = [][]byte{strangeTimestamp(t, bare.Message.Signature)}
	unlisted("TSA", w.Root(), &bare, verify.StepTime, true)
	bare.Timestamps = nil
	unlisted("no time", w.Root(), &bare, verify.StepTime, false)
	bare = *w.Sign(artifact, sigboxtest.Options{})
	bare.Entries = nil
	unlisted("no entry", w.Root(), &bare, verify.StepLog, false)
	unlisted("no SCT", w.Root(), w.Sign(artifact, sigboxtest.Options{Fault: sigboxtest.FaultNamed("no-sct")}), verify.StepSCT, false)
}

// TestUnlistedAmongOthers: of several bundles one that is by somebody unlisted is told of,
// wherever it stands, also if another one came further.
func TestUnlistedAmongOthers(t *testing.T) {
	t.Parallel()
	w, id := sigboxtest.New(t), sigboxtest.DefaultIdentity()
	eve, bob := id, id
	eve.Subject, bob.Subject = "eve@example.com", "bob@example.com"
	strange := sigboxtest.New(t).Sign(artifact, sigboxtest.Options{})
	for threshold, other := range map[int]sigbox.Identity{0: eve, 2: id} {
		p := ada()
		p.Identities, p.Threshold = append(p.Identities, sigbox.IdentityMatch{Subject: bob.Subject, Issuer: bob.Issuer}), threshold
		known := w.Sign(artifact, sigboxtest.Options{Identity: other})
		for what, bundles := range map[string][]*sigbox.Bundle{"first": {strange, known}, "last": {known, strange}, "not there": {known, known}} {
			_, err := verifier(t, w.Root()).VerifyAll(verify.Bytes(artifact), bundles, p)
			f, ok := errors.AsType[*verify.Failure](err)
			if !ok || f.Step() != verify.StepIdentity || f.Unlisted() != (what != "not there") {
				t.Errorf("threshold %d, %s: found %v", threshold, what, err)
			}
		}
	}
}
