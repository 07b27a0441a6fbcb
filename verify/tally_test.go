package verify_test

import (
	"slices"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// TestTally: who signed another form of the same thing counts, once, and for what the
// caller says that they signed alone.
func TestTally(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	key := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP256SHA256)}
	p := sigbox.Policy{
		Threshold: 2, Identities: []sigbox.IdentityMatch{exactly(person("ada")), exactly(person("bea"))},
		Keys: []sigbox.PublicKey{keyOf(t, key)},
	}
	other := []byte("a payload that names it")
	one, two := verify.Bytes(artifact), verify.Bytes(other)
	ada := w.Sign(artifact, sigboxtest.Options{Identity: person("ada")})
	tally := v.Tally(p)
	if err := tally.Err(); verify.FailedStep(err) != verify.StepBundle || tally.Verdicts() != nil || slices.Contains(tally.Signed(), true) || len(tally.Signed()) != 3 {
		t.Errorf("before the first: %v, %v", err, tally.Signed())
	}
	for _, c := range []struct {
		of     verify.Artifact
		b      *sigbox.Bundle
		enough bool
		signed []bool
	}{
		{two, ada, false, []bool{false, false, false}}, // who did not sign that
		{one, ada, false, []bool{true, false, false}},
		{one, ada, false, []bool{true, false, false}},
		{two, w.Sign(other, sigboxtest.Options{Identity: person("ada")}), false, []bool{true, false, false}},
		{two, w.Sign(other, sigboxtest.Options{Identity: person("eve")}), false, []bool{true, false, false}},
		{two, w.Sign(other, key), true, []bool{true, false, true}},
		{two, ada, true, []bool{true, false, true}},
	} {
		enough, err := tally.Add(c.of, c.b)
		if err != nil || enough != c.enough || !slices.Equal(tally.Signed(), c.signed) || (tally.Err() == nil) != c.enough {
			t.Errorf("found %v, %v, %v, %v", enough, err, tally.Signed(), tally.Err())
		}
	}
	if got := tally.Verdicts(); len(got) != 2 || got[0].Algorithm() == 0 {
		t.Errorf("found %d verdicts", len(got))
	}
	if enough, err := tally.Add(verify.Artifact{}, ada); !enough || tally.Err() != nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("of no artifact: %v, %v, %v", enough, err, tally.Err())
	}
	if _, err := v.Tally(sigbox.Policy{}).Add(one, ada); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("without signers: %v", err)
	}
	if enough, err := v.Tally(p).Add(one, nil); enough || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("without a bundle: %v, %v", enough, err)
	}
}
