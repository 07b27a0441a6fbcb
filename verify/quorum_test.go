package verify_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// person is somebody with an identity of their own.
func person(name string) sigbox.Identity {
	return sigbox.Identity{Issuer: "https://id.example", Subject: name + "@example.com", Kind: sigbox.EmailSAN}
}

func exactly(id sigbox.Identity) sigbox.IdentityMatch {
	return sigbox.IdentityMatch{Subject: id.Subject, Issuer: id.Issuer}
}

func TestVerifyAll(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	by := func(name string) *sigbox.Bundle {
		return w.Sign(artifact, sigboxtest.Options{Identity: person(name)})
	}
	release := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	backup := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	ada, bea, cid, eve := by("ada"), by("bea"), by("cid"), by("eve")
	byRelease := w.Sign(artifact, release)
	changed := w.Sign(artifact, sigboxtest.Options{Identity: person("bea"), Fault: sigboxtest.FaultNamed("signature-of-other-artifact")})
	named := func(names ...string) (out []sigbox.IdentityMatch) {
		for _, n := range names {
			out = append(out, exactly(person(n)))
		}
		return out
	}
	anybody := sigbox.IdentityMatch{SubjectRegexp: `.*@example\.com`, Issuer: "https://id.example"}
	policy := func(threshold int, identities []sigbox.IdentityMatch, keys ...sigbox.PublicKey) sigbox.Policy {
		return sigbox.Policy{Threshold: threshold, Identities: identities, Keys: keys}
	}
	for name, c := range map[string]struct {
		p       sigbox.Policy
		bundles []*sigbox.Bundle
		want    verify.Step
		signers []string
	}{
		"one of one":                      {policy(0, named("ada")), []*sigbox.Bundle{ada}, 0, []string{"ada"}},
		"one of one, the second bundle":   {policy(1, named("ada")), []*sigbox.Bundle{eve, ada}, 0, []string{"ada"}},
		"two of three":                    {policy(2, named("ada", "bea", "cid")), []*sigbox.Bundle{cid, ada}, 0, []string{"ada", "cid"}},
		"two of three, a stranger too":    {policy(2, named("ada", "bea", "cid")), []*sigbox.Bundle{eve, cid, changed, bea}, 0, []string{"bea", "cid"}},
		"one alone":                       {policy(2, named("ada", "bea", "cid")), []*sigbox.Bundle{ada}, verify.StepIdentity, nil},
		"one twice":                       {policy(2, named("ada", "bea", "cid")), []*sigbox.Bundle{ada, ada}, verify.StepIdentity, nil},
		"one with two certificates":       {policy(2, named("ada", "bea", "cid")), []*sigbox.Bundle{ada, by("ada")}, verify.StepIdentity, nil},
		"one and a stranger":              {policy(2, named("ada", "bea")), []*sigbox.Bundle{ada, eve}, verify.StepIdentity, nil},
		"one, and one that does not hold": {policy(2, named("ada", "bea")), []*sigbox.Bundle{ada, changed}, verify.StepIdentity, nil},
		"nobody":                          {policy(2, named("ada", "bea")), []*sigbox.Bundle{eve}, verify.StepIdentity, nil},
		"nobody, and broken":              {policy(2, named("ada", "bea")), []*sigbox.Bundle{eve, changed}, verify.StepSignature, nil},
		"no bundle":                       {policy(1, named("ada")), nil, verify.StepBundle, nil},
		// Two lines that one person meets are one signer; two people who meet one line,
		// too.
		"one person on two lines":     {policy(2, append(named("ada"), anybody)), []*sigbox.Bundle{ada, by("ada")}, verify.StepIdentity, nil},
		"two people on one line":      {policy(2, append(named("zoe"), anybody)), []*sigbox.Bundle{ada, bea}, verify.StepIdentity, nil},
		"two people, who make room":   {policy(2, append([]sigbox.IdentityMatch{anybody}, named("ada")...)), []*sigbox.Bundle{ada, bea}, 0, []string{"bea", "ada"}},
		"three people, who make room": {policy(3, append([]sigbox.IdentityMatch{anybody}, named("ada", "bea")...)), []*sigbox.Bundle{ada, bea, cid}, 0, []string{"cid", "ada", "bea"}},
		"a key and a person":          {policy(2, named("ada"), keyOf(t, release)), []*sigbox.Bundle{byRelease, ada}, 0, []string{"ada", "key"}},
		"a key, of two":               {policy(1, nil, keyOf(t, backup), keyOf(t, release)), []*sigbox.Bundle{byRelease}, 0, []string{"key"}},
		"a key twice":                 {policy(2, nil, keyOf(t, backup), keyOf(t, release)), []*sigbox.Bundle{byRelease, w.Sign(artifact, release)}, verify.StepIdentity, nil},
		"both keys":                   {policy(2, nil, keyOf(t, backup), keyOf(t, release)), []*sigbox.Bundle{byRelease, w.Sign(artifact, backup)}, 0, []string{"key", "key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := verifier(t, w.Root())
			for _, a := range []verify.Artifact{verify.Bytes(artifact), verify.Reader(bytes.NewReader(artifact)), verify.Digest(sigbox.SHA256.Sum(artifact))} {
				verdicts, err := v.VerifyAll(a, c.bundles, c.p)
				refusedAt(t, err, c.want)
				var found []string
				for _, verdict := range verdicts {
					id, ok := verdict.Identity()
					if !ok {
						found = append(found, "key")
						continue
					}
					found = append(found, id.Subject[:3])
				}
				if !slices.Equal(found, c.signers) {
					t.Errorf("found %v, expected %v", found, c.signers)
				}
			}
		})
	}
}

// One key is one signer, in whatever certificates it stands; and the certificates
// of one person may meet different lines, in any order.
func TestQuorumOfKeysAndExtensions(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	key := w.Key(sigbox.ECDSAP256SHA256)
	bare := sigboxtest.Options{Key: key}
	certified := func(name string) *sigbox.Bundle {
		return w.Sign(artifact, sigboxtest.Options{Identity: person(name), CertifiedKey: key})
	}
	p := sigbox.Policy{Threshold: 2, Identities: []sigbox.IdentityMatch{exactly(person("ada"))}, Keys: []sigbox.PublicKey{keyOf(t, bare)}}
	_, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{w.Sign(artifact, bare), certified("ada")}, p)
	refusedAt(t, err, verify.StepIdentity, "1: ")
	p = sigbox.Policy{Threshold: 2, Identities: []sigbox.IdentityMatch{exactly(person("ada")), exactly(person("bea"))}}
	_, err = v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{certified("ada"), certified("bea")}, p)
	refusedAt(t, err, verify.StepIdentity, "1: ")

	anybody := func(trigger string) sigbox.IdentityMatch {
		return sigbox.IdentityMatch{SubjectRegexp: ".*", Issuer: "https://id.example", Extensions: sigbox.Extensions{BuildTrigger: trigger}}
	}
	by := func(name, trigger string) *sigbox.Bundle {
		id := person(name)
		id.Extensions.BuildTrigger = trigger
		return w.Sign(artifact, sigboxtest.Options{Identity: id})
	}
	p = sigbox.Policy{Threshold: 2, Identities: []sigbox.IdentityMatch{anybody("push"), anybody("manual")}}
	bundles := []*sigbox.Bundle{by("ada", "push"), by("ada", "manual"), by("bea", "push")}
	for range bundles {
		verdicts, err := v.VerifyAll(verify.Bytes(artifact), bundles, p)
		refusedAt(t, err, 0)
		for i, want := range []string{"bea@example.com", "ada@example.com"} {
			if id, _ := verdicts[i].Identity(); id.Subject != want {
				t.Errorf("line %d: found %s, expected %s", i, id.Subject, want)
			}
		}
		bundles = append(bundles[1:], bundles[0])
	}
	_, err = v.VerifyAll(verify.Bytes(artifact), bundles[:1], p)
	refusedAt(t, err, verify.StepIdentity)
}

// A root that can vouch for no time does not make it easier for keys.
func TestRootThatVouchesForNothing(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	bare := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256), Kind: "none", NoTimestamp: true}
	b := w.Sign(artifact, bare)
	full := w.Root()
	authorities := &sigbox.TrustedRoot{CertificateAuthorities: full.CertificateAuthorities, CTLogs: full.CTLogs}
	_, err := verifier(t, full, authorities).Verify(verify.Bytes(artifact), b, byKey(keyOf(t, bare)))
	refusedAt(t, err, verify.StepTime)
	_, err = verifier(t, full).Verify(verify.Bytes(artifact), b, byKey(keyOf(t, bare)))
	refusedAt(t, err, verify.StepLog)
}

// The error is that of the bundle that came closest, whatever its kind.
func TestClosest(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	another := w.Attest(sigboxtest.Statement(predicate, []byte("another")), sigboxtest.Options{})
	forged := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{Fault: sigboxtest.FaultNamed("signature-of-other-key")})
	for _, bundles := range [][]*sigbox.Bundle{{another, forged}, {forged, another}} {
		_, err := v.VerifyAll(verify.Bytes(artifact), bundles, ada())
		refusedAt(t, err, verify.StepArtifact)
	}
}

// Verdicts are read by several at a time.
func TestVerdictIsShared(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	verdict, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{}), ada())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if len(verdict.Steps()) == 0 {
				t.Error("no steps")
			}
		})
	}
	wg.Wait()
}

// Who called may use the bytes of a bundle again.
func TestCertificatesAreCopied(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	again := *b
	again.Certificates = [][]byte{bytes.Clone(b.Certificates[0])}
	if _, err := v.Verify(verify.Bytes(artifact), &again, ada()); err != nil {
		t.Fatal(err)
	}
	clear(again.Certificates[0])
	if _, err := v.Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Error(err)
	}
}

// A single bundle never meets a threshold, and is not asked to.
func TestVerifyWithThreshold(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	p := sigbox.Policy{Threshold: 2, Identities: []sigbox.IdentityMatch{exactly(person("ada")), exactly(person("bea"))}}
	if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), w.Sign(artifact, sigboxtest.Options{}), p); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected the policy to be refused", err)
	}
	many := slices.Repeat([]*sigbox.Bundle{w.Sign(artifact, sigboxtest.Options{})}, verify.MaxBundles+1)
	if _, err := verifier(t, w.Root()).VerifyAll(verify.Bytes(artifact), many, p); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bundles", err)
	}
}

// What bundles of one artifact hold together is bounded, too.
func TestVerifyAllIsBounded(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	good := w.Sign(artifact, sigboxtest.Options{})
	for name, change := range map[string]func(b *sigbox.Bundle){
		"entries":      func(b *sigbox.Bundle) { b.Entries = slices.Repeat(b.Entries, 20) },
		"timestamps":   func(b *sigbox.Bundle) { b.Timestamps = slices.Repeat(b.Timestamps, 20) },
		"certificates": func(b *sigbox.Bundle) { b.Certificates = [][]byte{make([]byte, 42<<10)} },
	} {
		b := *good
		change(&b)
		if _, err := v.VerifyAll(verify.Bytes(artifact), slices.Repeat([]*sigbox.Bundle{&b}, 110), ada()); sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%s: found %v, expected too many", name, err)
		}
		if _, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{&b, good}, ada()); err != nil {
			t.Errorf("%s: found %v, expected the good bundle to be enough", name, err)
		}
	}
	if _, err := v.VerifyAll(verify.Bytes(artifact), []*sigbox.Bundle{nil, good}, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a bundle that is none to be refused", err)
	}
}

// A reader is read once for bundles that want different hashes of it, or all of it.
func TestVerifyAllReadsOnce(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	bundles := []*sigbox.Bundle{
		w.Sign(artifact, sigboxtest.Options{Identity: person("ada"), Details: sigbox.ECDSAP384SHA384}),
		w.Sign(artifact, sigboxtest.Options{Identity: person("bea"), Details: sigbox.Ed25519, Kind: "none"}),
		w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{Identity: person("cid")}),
		w.Sign(artifact, sigboxtest.Options{Identity: person("dan"), Details: sigbox.ECDSAP521SHA512}),
	}
	p := sigbox.Policy{Threshold: 4, PredicateTypes: []string{sigbox.AnyPredicateType}}
	for _, name := range []string{"ada", "bea", "cid", "dan"} {
		p.Identities = append(p.Identities, exactly(person(name)))
	}
	r := w.Root()
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}, Demands: func(*sigbox.TrustedRoot) sigbox.Demands { return sigbox.Demands{Times: 1} }})
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := v.VerifyAll(verify.Reader(bytes.NewReader(artifact)), bundles, p)
	if err != nil || len(verdicts) != 4 {
		t.Errorf("found %d verdicts, %v; expected 4", len(verdicts), err)
	}
}

// What a policy was compiled to is not used for what it became.
func TestPolicyIsCopied(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	p := ada()
	if _, err := v.Verify(verify.Bytes(artifact), b, p); err != nil {
		t.Fatal(err)
	}
	p.Identities[0].Subject = "eve@example.com"
	_, err := v.Verify(verify.Bytes(artifact), b, p)
	refusedAt(t, err, verify.StepIdentity)
	p.Identities[0].Subject = "ada@example.com"
	if _, err := v.Verify(verify.Bytes(artifact), b, p); err != nil {
		t.Error(err)
	}
}
