package rekor_test

import (
	"bytes"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/wire/entry"
)

// TestCheckLeaf: leaves that the log has made are good, those of others are not.
func TestCheckLeaf(t *testing.T) {
	two := newEntries(t, 2)
	good, err := entry.Leaf(two[0])
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := rekor.CheckLeaf(good); err != nil || !signed {
		t.Errorf("signed: %v, %v", signed, err)
	}
	two[0].Signature = two[1].Signature
	forged, err := entry.Leaf(two[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		leaf []byte
		kind sigbox.Kind
	}{
		"of something else": {forged, sigbox.NotVerified},
		"with a space":      {bytes.Replace(good, []byte(":"), []byte(": "), 1), sigbox.Invalid},
		"of v1":             {entry.AppendProposal(nil, two[1]), sigbox.Invalid},
		"no entry":          {[]byte("x"), sigbox.Invalid},
	} {
		if signed, err := rekor.CheckLeaf(test.leaf); err == nil || signed || sigbox.KindOf(err) != test.kind {
			t.Errorf("%s: expected %s, found %v (signed: %v)", name, test.kind, err, signed)
		}
	}
}
