package sigboxtest

import (
	"fmt"
	"runtime"
	"strings"
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

// fatal keeps what a test ends with.
type fatal struct {
	testing.TB
	text string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestImpossibleFault: a fault that cannot happen to a bundle ends the test with what
// to do about it.
func TestImpossibleFault(t *testing.T) {
	t.Parallel()
	for name, isEnvelope := range map[string]bool{"two-signatures": false, "empty-signature": true, "promise-of-other-time": false} {
		tb := &fatal{TB: t}
		w := New(tb)
		o := Options{Fault: FaultNamed(name)}
		if o.Fault.Possible(o, isEnvelope) {
			t.Fatalf("%s can happen", name)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if isEnvelope {
				w.Attest(Statement("https://example.com/p", []byte("a")), o)
			} else {
				w.Sign([]byte("a"), o)
			}
		}()
		<-done
		if !strings.Contains(tb.text, name+" cannot happen to such a bundle") {
			t.Errorf("%s: found %q", name, tb.text)
		}
	}
}
