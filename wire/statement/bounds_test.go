package statement

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// TestLongNames: in a large payload a name has a bound.
func TestLongNames(t *testing.T) {
	t.Parallel()
	payload := func(name int) []byte {
		return []byte(`{"_type":"` + TypeV1 + `","subject":[{"digest":{"sha256":"00"}}],"predicateType":"p","predicate":{"` +
			strings.Repeat("a", name) + `":"` + strings.Repeat("x", smallPayload) + `"}}`)
	}
	if _, err := Parse(payload(maxName - 2)); err != nil { // it is counted with its quotes
		t.Error(err)
	}
	if _, err := Parse(payload(maxName - 1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected the name to be too long", err)
	}
}
