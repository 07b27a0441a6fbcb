package sigboxtest

import (
	"testing"

	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// TestEncodes: what a world makes can be written and read.
func TestEncodes(t *testing.T) {
	t.Parallel()
	w := New(t)
	root, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := trust.ParseRoot(root); err != nil {
		t.Error(err)
	}
	for _, kind := range []string{"", "dsse 0.0.2", "dsse 0.0.1", "intoto 0.0.2", "none"} {
		b, err := bundle.Append(nil, w.Attest(Statement("https://example.com/p", []byte("artifact")), Options{Kind: kind}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Parse(b); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestFaultsHaveNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Faults() {
		if f.Name == "" || seen[f.Name] {
			t.Errorf("%q: no name, or one that stands twice", f.Name)
		}
		seen[f.Name] = true
		if FaultNamed(f.Name).Name != f.Name {
			t.Errorf("%q: not found", f.Name)
		}
	}
}
