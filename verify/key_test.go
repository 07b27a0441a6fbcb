package verify_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// keyOf gives the public half of an option's key, by way of PEM.
func keyOf(t testing.TB, o sigboxtest.Options) sigbox.PublicKey {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(o.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := verify.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestVerifyKey(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	mine := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	bare := sigboxtest.Options{Key: mine.Key, Kind: "none", NoTimestamp: true}
	timed := sigboxtest.Options{Key: mine.Key, Kind: "none"}
	other := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	p384 := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP384SHA384)}
	world := w.Root()
	stampsOnly := &sigbox.TrustedRoot{TimestampAuthorities: world.TimestampAuthorities}
	for name, c := range map[string]struct {
		roots []*sigbox.TrustedRoot
		b     *sigbox.Bundle
		key   sigboxtest.Options
		want  verify.Step
	}{
		"logged":                           {[]*sigbox.TrustedRoot{world}, w.Sign(artifact, mine), mine, 0},
		"not logged":                       {[]*sigbox.TrustedRoot{world}, w.Sign(artifact, bare), mine, verify.StepLog},
		"not logged, without a root":       {nil, w.Sign(artifact, bare), mine, 0},
		"logged, without a root":           {nil, w.Sign(artifact, mine), mine, 0},
		"another key":                      {[]*sigbox.TrustedRoot{world}, w.Sign(artifact, mine), other, verify.StepEntry},
		"another key, without a root":      {nil, w.Sign(artifact, bare), other, verify.StepSignature},
		"a key of another kind":            {nil, w.Sign(artifact, bare), p384, verify.StepSignature},
		"a root that only stamps, stamped": {[]*sigbox.TrustedRoot{stampsOnly}, w.Sign(artifact, timed), mine, 0},
		"a root that only stamps, bare":    {[]*sigbox.TrustedRoot{stampsOnly}, w.Sign(artifact, bare), mine, verify.StepTime},
		"a certificate":                    {[]*sigbox.TrustedRoot{world}, w.Sign(artifact, sigboxtest.Options{}), mine, verify.StepBundle},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verifier(t, c.roots...).Verify(verify.Bytes(artifact), c.b, byKey(keyOf(t, c.key)))
			if verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
				t.Errorf("found %v, expected %v", err, c.want)
			}
		})
	}
	_, err := verifier(t, world).Verify(verify.Bytes(artifact), w.Sign(artifact, mine), ada())
	if verify.FailedStep(err) != verify.StepBundle || !strings.Contains(err.Error(), "public key") {
		t.Errorf("found %v, expected to be told to give the key", err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string][]byte{
		"nothing":    nil,
		"words":      []byte("hello"),
		"large":      make([]byte, 1<<20),
		"other type": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}),
		"no key":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}),
	} {
		if _, err := verify.ParseKey(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestAlgorithms: every algorithm that clients sign with, by the artifact and
// where that is possible by its digest.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	for _, k := range []sigbox.KeyDetails{
		sigbox.ECDSAP256SHA256, sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512, sigbox.ECDSAP384SHA256, sigbox.ECDSAP521SHA256,
		sigbox.Ed25519, sigbox.Ed25519ph, sigbox.RSAPKCS1v15With2048, sigbox.RSAPSSWith3072,
	} {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			o := sigboxtest.Options{Key: w.Key(k), Details: k, Kind: "hashedrekord 0.0.1", NoTimestamp: true}
			v := verifier(t, w.Root())
			for _, envelope := range []bool{false, true} {
				verdict, err := v.Verify(verify.Bytes(artifact), signed(w, o, envelope), byKey(keyOf(t, o)))
				if err != nil {
					t.Fatalf("envelope %v: %v", envelope, err)
				}
				if verdict.Algorithm() != k {
					t.Errorf("found %v", verdict.Algorithm())
				}
			}
			if h := k.Hash(); h.Valid() {
				if _, err := v.Verify(verify.Digest(h.Sum(artifact)), w.Sign(artifact, o), byKey(keyOf(t, o))); err != nil {
					t.Errorf("by digest: %v", err)
				}
				return
			}
			if _, err := v.Verify(verify.Digest(sigbox.SHA256.Sum(artifact)), w.Sign(artifact, o), byKey(keyOf(t, o))); verify.FailedStep(err) != verify.StepSignature {
				t.Errorf("found %v, expected the artifact itself to be needed", err)
			}
		})
	}
}
