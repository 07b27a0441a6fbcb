package statement

import (
	"fmt"
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

// TestManyLongNames: a good statement may have megabytes of names; of a bad one with
// them it is not said what is wrong.
func TestManyLongNames(t *testing.T) {
	t.Parallel()
	const each = 2 << 10 // a name's size with its quotes
	payload := func(names int, last string) []byte {
		b := []byte(`{"_type":"` + TypeV1 + `","subject":[{"digest":{"sha256":"00"}}],"predicateType":"p","predicate":{`)
		for i := range names {
			b = fmt.Appendf(b, `"%0*d":1,`, each-2, i)
		}
		return append(b, last...)
	}
	const all = maxNamesSize / each
	for _, c := range []struct {
		names int
		last  string
		kind  sigbox.Kind
	}{
		{2 * all, `"a":1}}`, 0},
		{all - 1, `"a":1,"a":1}}`, sigbox.Invalid},
		{all, `"a":1,"a":1}}`, sigbox.TooLarge},
	} {
		if _, err := Parse(payload(c.names, c.last)); sigbox.KindOf(err) != c.kind || (c.kind == 0) != (err == nil) {
			t.Errorf("%d names and %s: found %v", c.names, c.last, err)
		}
	}
}
