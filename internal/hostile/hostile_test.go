package hostile

import (
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	for _, in := range append(JSON(), Member("x", `{"a":@}`)...) {
		if b := in.Make(); len(b) > Size || len(b) < Size-64 {
			t.Errorf("%s: %d bytes", in.Name, len(b))
		}
	}
	if got := string(FillTo("", 16, "<", "#,", ">").Make()); got != "<0,1,2,3,>" {
		t.Errorf("found %s", got)
	}
}

func TestAllocated(t *testing.T) {
	var s string
	n := Allocated(func() { s = strings.Repeat("a", 1<<20) })
	if n < 1<<20 || n > 1<<21 || len(s) != 1<<20 {
		t.Errorf("found %d bytes", n)
	}
}
