package sigboxtest

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/wire/bundle"
)

// files are good bundle files of each shape.
func files(t *testing.T, w *World) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, kind := range []string{"hashedrekord 0.0.2", "hashedrekord 0.0.1"} {
		out[kind] = File(w.Sign([]byte("artifact"), Options{Kind: kind}))
	}
	for _, kind := range []string{"intoto 0.0.2"} {
		out[kind] = File(w.Attest(Statement("https://example.com/p", []byte("artifact")), Options{Kind: kind, Version: 2}))
	}
	out["key"] = File(w.Sign([]byte("artifact"), Options{Key: w.Key(0x5)}))
	return out
}

// TestMutations: each differs from the file, has a name of its own, and comes the
// same each time; every place of the file is among them.
func TestMutations(t *testing.T) {
	t.Parallel()
	for name, file := range files(t, New(t)) {
		seen := map[string]bool{}
		places := map[string]bool{}
		for m := range Mutations(file, 1) {
			if seen[m.Name()] {
				t.Errorf("%s: %s: stands twice", name, m.Name())
			}
			seen[m.Name()], places[m.Place] = true, true
			if bytes.Equal(m.Bundle, file) {
				t.Errorf("%s: %s: changes nothing", name, m.Name())
			}
		}
		for _, place := range []string{
			"", "/mediaType", "/verificationMaterial", "/verificationMaterial/tlogEntries", "/verificationMaterial/tlogEntries/0/logIndex",
			"/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope", "/verificationMaterial/tlogEntries/0/canonicalizedBody/kind",
			"/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp",
		} {
			if !places[place] {
				t.Errorf("%s: nothing at %q", name, place)
			}
		}
		if len(seen) < 1000 || len(seen) > 20000 {
			t.Errorf("%s: %d mutations", name, len(seen))
		}
		for m := range Sample(Mutations(file, 1), 200, 1) {
			if !seen[m.Name()] {
				t.Errorf("%s: %s: only the second time", name, m.Name())
			}
		}
	}
}

// TestMutationsKeepTheRest: a change is only where it says.
func TestMutationsKeepTheRest(t *testing.T) {
	t.Parallel()
	file := files(t, New(t))["hashedrekord 0.0.2"]
	before, err := bundle.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed := 0
	for m := range Mutations(file, 1) {
		after, err := bundle.Parse(m.Bundle)
		if err != nil || !strings.HasPrefix(m.Place, "/messageSignature") {
			continue
		}
		parsed++
		if !slices.EqualFunc(before.Certificates, after.Certificates, bytes.Equal) || !bytes.Equal(before.Entries[0].Body, after.Entries[0].Body) ||
			!slices.EqualFunc(before.Timestamps, after.Timestamps, bytes.Equal) {
			t.Errorf("%s: more is changed", m.Name())
		}
	}
	if parsed == 0 {
		t.Error("no mutation of the signature is still a bundle")
	}
}

func TestMutationsOfNothing(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", "{", "hello", "{}{}"} {
		for m := range Mutations([]byte(file), 1) {
			t.Errorf("%q: found %s", file, m.Name())
		}
	}
}

// TestSwaps: two bundles exchange their parts, each part but once.
func TestSwaps(t *testing.T) {
	t.Parallel()
	w := New(t)
	one, other := w.Sign([]byte("one"), Options{}), w.Sign([]byte("other"), Options{})
	places := map[string]bool{}
	for m := range Swaps(File(one), File(other)) {
		if places[m.Place] {
			t.Errorf("%s stands twice", m.Place)
		}
		places[m.Place] = true
		if m.Place == "/messageSignature" {
			b, err := bundle.Parse(m.Bundle)
			if err != nil || !bytes.Equal(b.Message.Signature, other.Message.Signature) || !bytes.Equal(b.Certificates[0], one.Certificates[0]) {
				t.Errorf("%s: found %v, %v", m.Place, b, err)
			}
		}
	}
	for _, place := range []string{"/messageSignature", "/verificationMaterial/tlogEntries/0/canonicalizedBody", "/verificationMaterial/certificate/rawBytes"} {
		if !places[place] {
			t.Errorf("%s: not exchanged", place)
		}
	}
	for m := range Swaps(File(one), File(one)) {
		t.Errorf("a bundle differs from itself at %s", m.Place)
	}
}

// TestSample: as many as asked for, of every place, the same each time.
func TestSample(t *testing.T) {
	t.Parallel()
	all := Mutations(files(t, New(t))["hashedrekord 0.0.1"], 1)
	names := func(n int, seed uint64) (out []string) {
		places := map[string]int{}
		for m := range Sample(all, n, seed) {
			out = append(out, m.Name())
			places[m.Place]++
		}
		for place, k := range places {
			if k > 2+n/len(places)*2 {
				t.Errorf("%d of %d mutations are at %s", k, n, place)
			}
		}
		return out
	}
	few := names(200, 1)
	if len(few) < 200 || len(few) > 300 {
		t.Errorf("found %d mutations, expected about 200", len(few))
	}
	if !slices.Equal(few, names(200, 1)) || slices.Equal(few, names(200, 2)) {
		t.Error("a sample hangs on its seed alone")
	}
	whole := 0
	for range all {
		whole++
	}
	if got := len(names(1<<30, 1)); got != whole {
		t.Errorf("found %d mutations, expected all %d", got, whole)
	}
}

// TestFile: what wire/bundle reads of a file is what it was made of.
func TestFile(t *testing.T) {
	t.Parallel()
	w := New(t)
	for version := 1; version <= 3; version++ {
		for _, kind := range []string{"hashedrekord 0.0.1", "dsse 0.0.1"} {
			want := w.Attest(Statement("https://example.com/p", []byte("artifact")), Options{Kind: kind, Version: version})
			got, err := bundle.Parse(File(want))
			if err != nil {
				t.Fatal(err)
			}
			got.MediaType = want.MediaType
			if a, b := File(want), File(got); got.Version != version || !bytes.Equal(a, b) {
				t.Errorf("found\n%s\nexpected\n%s", b, a)
			}
		}
	}
}
