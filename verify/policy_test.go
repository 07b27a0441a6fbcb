package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// build is a CI provider's identity.
func build() sigbox.Identity {
	return sigbox.Identity{
		Issuer: "https://token.actions.githubusercontent.com", Kind: sigbox.URISAN,
		Subject: "https://github.com/octo/app/.github/workflows/release.yml@refs/tags/v1.2.3",
		Extensions: sigbox.Extensions{
			SourceRepositoryURI: "https://github.com/octo/app", SourceRepositoryRef: "refs/tags/v1.2.3",
			BuildTrigger: "push", RunnerEnvironment: "github-hosted", GitHubWorkflowName: "release",
		},
	}
}

// refusedAt wants a failure at a step; 0 is none.
func refusedAt(t *testing.T, err error, want verify.Step, words ...string) {
	t.Helper()
	if verify.FailedStep(err) != want || (err == nil) != (want == 0) {
		t.Fatalf("found %v, expected a failure at %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{Identity: build()})
	by := sigbox.IdentityMatch{SubjectRegexp: `https://github\.com/octo/.*`, Issuer: build().Issuer}
	with := func(exact, expr sigbox.Extensions) sigbox.Policy {
		m := by
		m.Extensions, m.ExtensionsRegexp = exact, expr
		return sigbox.Policy{Identities: []sigbox.IdentityMatch{m}}
	}
	none := sigbox.Extensions{}
	for name, c := range map[string]struct {
		p     sigbox.Policy
		want  verify.Step
		words []string
	}{
		"none wanted":        {with(none, none), 0, nil},
		"all there":          {with(build().Extensions, none), 0, nil},
		"matched":            {with(none, sigbox.Extensions{SourceRepositoryRef: `refs/tags/v[0-9.]+`}), 0, nil},
		"exact and matched":  {with(sigbox.Extensions{BuildTrigger: "push"}, sigbox.Extensions{SourceRepositoryRef: `refs/tags/.*`}), 0, nil},
		"another repository": {with(sigbox.Extensions{SourceRepositoryURI: "https://github.com/octo/other"}, none), verify.StepIdentity, []string{"sourceRepositoryURI", "octo/other", "octo/app"}},
		"a prefix":           {with(sigbox.Extensions{SourceRepositoryURI: "https://github.com/octo"}, none), verify.StepIdentity, nil},
		"not anchored":       {with(none, sigbox.Extensions{SourceRepositoryRef: `refs/tags`}), verify.StepIdentity, []string{"/refs/tags/"}},
		"one of two":         {with(sigbox.Extensions{BuildTrigger: "push", RunnerEnvironment: "self-hosted"}, none), verify.StepIdentity, []string{"runnerEnvironment", "self-hosted", "github-hosted"}},
		"not in it":          {with(sigbox.Extensions{DeploymentEnvironment: "prod"}, none), verify.StepIdentity, []string{"deploymentEnvironment", "prod", "none"}},
		"any, and not in it": {with(none, sigbox.Extensions{DeploymentEnvironment: ".+"}), verify.StepIdentity, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := v.Verify(verify.Bytes(artifact), b, c.p)
			refusedAt(t, err, c.want, c.words...)
		})
	}
	// What is not there is matched by nothing.
	_, err := v.Verify(verify.Bytes(artifact), b, with(none, sigbox.Extensions{DeploymentEnvironment: ".*"}))
	refusedAt(t, err, verify.StepIdentity, "deploymentEnvironment", "none")

	// Another identity of the policy is enough, and that of another person does not
	// lend its extensions.
	p := with(sigbox.Extensions{BuildTrigger: "schedule"}, none)
	p.Identities = append(p.Identities, sigbox.IdentityMatch{Subject: "eve@example.com", Issuer: build().Issuer, Extensions: build().Extensions})
	_, err = v.Verify(verify.Bytes(artifact), b, p)
	refusedAt(t, err, verify.StepIdentity, "buildTrigger")
	p.Identities = append(p.Identities, by)
	_, err = v.Verify(verify.Bytes(artifact), b, p)
	refusedAt(t, err, 0)
}

// An attestation is no signature: it counts where it is asked for, and cosign's
// statement that attests nothing counts as the signature that it is.
func TestAttestationIsNoSignature(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	signature := w.Sign(artifact, sigboxtest.Options{})
	attest := func(predicateType string) *sigbox.Bundle {
		return w.Attest(sigboxtest.Statement(predicateType, artifact), sigboxtest.Options{})
	}
	const provenance, sbom = "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"
	for name, c := range map[string]struct {
		b     *sigbox.Bundle
		types []string
		want  verify.Step
	}{
		"a signature":                    {signature, nil, 0},
		"an attestation":                 {attest(provenance), nil, verify.StepPredicate},
		"cosign's":                       {attest(sigbox.CosignSignPredicateType), nil, 0},
		"cosign's, nearly":               {attest(sigbox.CosignSignPredicateType + "/"), nil, verify.StepPredicate},
		"the attestation":                {attest(provenance), []string{provenance}, 0},
		"one of the attestations":        {attest(sbom), []string{provenance, sbom}, 0},
		"another attestation":            {attest(sbom), []string{provenance}, verify.StepPredicate},
		"a signature for an attestation": {signature, []string{provenance}, verify.StepPredicate},
		"a signature for cosign's":       {signature, []string{sigbox.CosignSignPredicateType}, verify.StepPredicate},
		"any, a signature":               {signature, []string{sigbox.AnyPredicateType}, 0},
		"any, an attestation":            {attest(sbom), []string{sigbox.AnyPredicateType}, 0},
		"a type that is a star":          {attest("*"), nil, verify.StepPredicate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ada()
			p.PredicateTypes = c.types
			_, err := v.Verify(verify.Bytes(artifact), c.b, p)
			refusedAt(t, err, c.want)
		})
	}
}

func TestSignedWithin(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	now := sigboxtest.Now()
	key := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	untimed := key
	untimed.NoTimestamp = true
	for name, c := range map[string]struct {
		b      *sigbox.Bundle
		signed sigbox.TimeRange
		p      sigbox.Policy
		want   verify.Step
	}{
		"ends included":          {w.Sign(artifact, sigboxtest.Options{}), sigbox.TimeRange{Start: now, End: now}, ada(), 0},
		"before":                 {w.Sign(artifact, sigboxtest.Options{}), sigbox.TimeRange{Start: now.Add(time.Second)}, ada(), verify.StepTime},
		"after":                  {w.Sign(artifact, sigboxtest.Options{}), sigbox.TimeRange{End: now.Add(-time.Second)}, ada(), verify.StepTime},
		"by key":                 {w.Sign(artifact, key), sigbox.TimeRange{Start: now}, byKey(keyOf(t, key)), 0},
		"by key, before":         {w.Sign(artifact, key), sigbox.TimeRange{Start: now.Add(time.Second)}, byKey(keyOf(t, key)), verify.StepTime},
		"by key, without a time": {w.Sign(artifact, untimed), sigbox.TimeRange{End: now}, byKey(keyOf(t, key)), verify.StepTime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.p.Signed = c.signed
			_, err := v.Verify(verify.Bytes(artifact), c.b, c.p)
			refusedAt(t, err, c.want)
		})
	}
}

// A policy can demand more than the trust root does, and never less.
func TestPolicyDemands(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	bare := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256), Kind: "none", NoTimestamp: true}
	for name, c := range map[string]struct {
		v       *verify.Verifier
		b       *sigbox.Bundle
		p       sigbox.Policy
		demands sigbox.Demands
		want    verify.Step
	}{
		"nothing more":                  {v, w.Sign(artifact, sigboxtest.Options{}), ada(), sigbox.Demands{}, 0},
		"as much":                       {v, w.Sign(artifact, sigboxtest.Options{}), ada(), sigbox.Demands{LogEntries: 1, Times: 1, SCTs: 1}, 0},
		"two logs":                      {v, w.Sign(artifact, sigboxtest.Options{}), ada(), sigbox.Demands{LogEntries: 2}, verify.StepLog},
		"two times":                     {v, w.Sign(artifact, sigboxtest.Options{}), ada(), sigbox.Demands{Times: 2}, verify.StepTime},
		"two SCTs":                      {v, w.Sign(artifact, sigboxtest.Options{}), ada(), sigbox.Demands{SCTs: 2}, verify.StepSCT},
		"a log, without a root":         {verifier(t), w.Sign(artifact, bare), byKey(keyOf(t, bare)), sigbox.Demands{LogEntries: 1}, verify.StepLog},
		"a time, without a root":        {verifier(t), w.Sign(artifact, bare), byKey(keyOf(t, bare)), sigbox.Demands{Times: 1}, verify.StepTime},
		"nothing, and no root to trust": {verifier(t), w.Sign(artifact, bare), byKey(keyOf(t, bare)), sigbox.Demands{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.p.Demands = c.demands
			_, err := c.v.Verify(verify.Bytes(artifact), c.b, c.p)
			refusedAt(t, err, c.want)
		})
	}
}

func TestPolicyDigests(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	this := func(h sigbox.HashAlgorithm) sigbox.NamedDigest { return h.Sum(artifact).Named() }
	other := sigbox.SHA256.Sum([]byte("another")).Named()
	commit := sigbox.NamedDigest{Algorithm: "gitCommit", Value: "9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e"}
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"` + predicate + `","predicate":{},"subject":[` +
		`{"name":"other","digest":{"gitCommit":"0000000000000000000000000000000000000000"}},{"name":"source","digest":{"gitCommit":"9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e","sha256":"` + this(sigbox.SHA256).Value + `"}}]}`)
	message, envelope := w.Sign(artifact, sigboxtest.Options{}), w.Attest(statement, sigboxtest.Options{})
	for name, c := range map[string]struct {
		a       verify.Artifact
		b       *sigbox.Bundle
		digests []sigbox.NamedDigest
		want    verify.Step
	}{
		"the file's":                          {verify.Bytes(artifact), message, []sigbox.NamedDigest{this(sigbox.SHA256)}, 0},
		"the file's, of another algorithm":    {verify.Bytes(artifact), message, []sigbox.NamedDigest{this(sigbox.SHA512)}, 0},
		"one of several":                      {verify.Bytes(artifact), message, []sigbox.NamedDigest{other, this(sigbox.SHA256)}, 0},
		"another file's":                      {verify.Bytes(artifact), message, []sigbox.NamedDigest{other}, verify.StepArtifact},
		"a digest, of another algorithm":      {verify.Digest(sigbox.SHA256.Sum(artifact)), message, []sigbox.NamedDigest{this(sigbox.SHA512)}, verify.StepArtifact},
		"the subject's":                       {verify.Bytes(artifact), envelope, []sigbox.NamedDigest{commit}, 0},
		"another subject's":                   {verify.Bytes(artifact), envelope, []sigbox.NamedDigest{{Algorithm: "gitCommit", Value: "0000000000000000000000000000000000000000"}}, verify.StepArtifact},
		"by commit":                           {verify.Named(commit), envelope, nil, 0},
		"by commit, the policy by SHA-256":    {verify.Named(commit), envelope, []sigbox.NamedDigest{this(sigbox.SHA256)}, 0},
		"by another commit":                   {verify.Named(sigbox.NamedDigest{Algorithm: "gitCommit", Value: "9f2c4a1f9f2c4a1f9f2c4a1f9f2c4a1f9f2c4a1f"}), envelope, nil, verify.StepArtifact},
		"by commit, of another name":          {verify.Named(sigbox.NamedDigest{Algorithm: "gitTree", Value: "9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e9f2c4a1e"}), envelope, nil, verify.StepArtifact},
		"by commit, where a file was signed":  {verify.Named(commit), message, nil, verify.StepArtifact},
		"SHA-256 by name, as by digest":       {verify.Named(this(sigbox.SHA256)), message, nil, 0},
		"SHA-256 of another, by name":         {verify.Named(other), message, nil, verify.StepArtifact},
		"SHA-256 of another, in an statement": {verify.Named(other), envelope, nil, verify.StepArtifact},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := ada()
			p.Digests = c.digests
			_, err := v.Verify(c.a, c.b, p)
			refusedAt(t, err, c.want)
		})
	}
}

// Two subjects may be the artifact: the one that the policy is for counts. And a
// digest that is no hex is none.
func TestSubjects(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	digest := sigbox.SHA256.Sum(artifact).Hex()
	b := w.Attest([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate+`","predicate":{},"subject":[`+
		`{"name":"a","digest":{"sha256":"`+digest+`","gitCommit":"0000000000000000000000000000000000000000"}},{"name":"b","digest":{"sha256":"`+digest+`","gitCommit":"1111111111111111111111111111111111111111"}}]}`), sigboxtest.Options{})
	p := ada()
	p.Digests = []sigbox.NamedDigest{{Algorithm: "gitCommit", Value: "1111111111111111111111111111111111111111"}}
	verdict, err := v.Verify(verify.Bytes(artifact), b, p)
	refusedAt(t, err, 0)
	if s, ok := verdict.Subject(); !ok || s.Name != "b" {
		t.Errorf("found subject %v, expected b", s)
	}
	short := w.Attest([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate+`","predicate":{},"subject":[{"digest":{"sha3_256":"ab"}}]}`), sigboxtest.Options{})
	for _, value := range []string{"ab" + strings.Repeat("z", 62), strings.Repeat("AB", 32), "ab"} {
		if _, err := v.Verify(verify.Named(sigbox.NamedDigest{Algorithm: "sha3_256", Value: value}), short, ada()); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, expected no digest", value, err)
		}
	}
}

// Statements name their subjects by more hashes than signatures are made over; weak
// ones do not count.
func TestSubjectsByOtherHashes(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	about := func(algorithm, value string) *sigbox.Bundle {
		return w.Attest([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"`+predicate+`","predicate":{},"subject":[{"digest":{"`+algorithm+`":"`+value+`"}}]}`), sigboxtest.Options{})
	}
	for algorithm, value := range map[string]string{ // of "what was built", by Python's hashlib
		"sha224":     "fa9cbca57fd400d77a06f1157e48d665a92587007a7210c7909e2c06",
		"sha512_224": "d49572d749e3a7b5c8ed9623317fd8aba2b7bcea8c64ba8a8f48a88c",
		"sha512_256": "20673012740406317aca1a3df825fa344c47ffff508b2053eeda959f23ac209d",
		"sha3_224":   "1720f3945154b8830449552a72377bae7e6dffbd3335c957280c5cd0",
		"sha3_256":   "2097bd9ea1cde5ad3ee2df305dae862fc0942a5beb53b93bd1a4082cb8d44a5d",
		"sha3_384":   "24c223a48b932cdef5dd19580bf8a6e116460ad9333c080479266b238c439dc5cd4855b6c6800937a59782d3610fdf13",
		"sha3_512":   "2f62c50731538d982db51a7b4dbff5097b054b62912759c880fd2f7b5e23f6a9f7605f6846628edddda6dc4f80640a3c5cefa3f99a9641630721f6c18dc3e4a5",
	} {
		_, err := v.Verify(verify.Bytes(artifact), about(algorithm, value), ada())
		refusedAt(t, err, 0)
		_, err = v.Verify(verify.Bytes([]byte("another")), about(algorithm, value), ada())
		refusedAt(t, err, verify.StepArtifact)
		_, err = v.Verify(verify.Named(sigbox.NamedDigest{Algorithm: algorithm, Value: value}), about(algorithm, value), ada())
		refusedAt(t, err, 0)
		_, err = v.Verify(verify.Named(sigbox.NamedDigest{Algorithm: algorithm, Value: value[2:]}), about(algorithm, value[2:]), ada())
		if sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, expected a digest cut short to be refused", algorithm, err)
		}
	}
	for algorithm, value := range map[string]string{"sha1": "e4d1238b3b8fd5f7cfd2f0b7ceab697a648102ba", "md5": "91bf98eab2b9de99f4af748a5b76c970"} {
		_, err := v.Verify(verify.Bytes(artifact), about(algorithm, value), ada())
		refusedAt(t, err, verify.StepArtifact)
	}
}

func TestFailureNamesTheSigner(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	somebody := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "eve@example.com", Issuer: "https://id.example"}}}
	signer := func(b *sigbox.Bundle) (sigbox.Identity, bool) {
		t.Helper()
		_, err := v.Verify(verify.Bytes(artifact), b, somebody)
		var f *verify.Failure
		if f, _ = err.(*verify.Failure); f == nil {
			t.Fatalf("found %v, expected a failure", err)
		}
		if len(f.Passed()) == 0 && f.Step() > verify.StepCertificate {
			t.Error("nothing passed before", f.Step())
		}
		return f.Signer()
	}
	if id, ok := signer(w.Sign(artifact, sigboxtest.Options{Identity: build()})); !ok || id != build() {
		t.Errorf("found %v %v, expected the identity in the certificate", id, ok)
	}
	for _, fault := range []string{"issuer-by-namesake", "no-sct", "timestamp-changed", "certificate-malformed"} {
		if id, ok := signer(w.Sign(artifact, sigboxtest.Options{Fault: sigboxtest.FaultNamed(fault)})); ok {
			t.Errorf("%s: %v is named, whom nobody vouches for", fault, id)
		}
	}
}
