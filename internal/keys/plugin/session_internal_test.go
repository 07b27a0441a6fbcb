package plugin

import "testing"

// A program that ended well has ended: the next call starts a new one.
func TestEndedWell(t *testing.T) {
	r := &run{cancel: func() {}}
	if r.why() != nil {
		t.Error("it has not ended yet")
	}
	r.end(nil)
	if r.why() == nil {
		t.Error("it counts as running")
	}
}
