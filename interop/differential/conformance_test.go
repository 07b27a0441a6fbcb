package differential

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/sigboxtest"
)

// TestConformance judges the cases of the clients' conformance suite, and
// mutations of those that are good: bundles of the public-good instance and of
// others, with what their services put into them.
func TestConformance(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "conformance")
	cases, err := filepath.Glob(filepath.Join(dir, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Skipf("the cases of the conformance suite are not in %s", dir)
	}
	s := newSession(t, newBench(t))
	for _, path := range cases {
		q := conformanceCase(t, dir, filepath.Dir(path))
		has := s.good(q)
		if strings.HasSuffix(q.name, "_fail") {
			continue
		}
		s.judgeAll(func(yield func(question) bool) {
			for m := range sigboxtest.Sample(sigboxtest.Mutations(q.bundle, *seed), sampleSize(*mutations), *seed) {
				variant := q
				variant.name, variant.bundle = mutationName(q.name, m), m.Bundle
				if !yield(variant) {
					return
				}
			}
		}, has)
	}
	s.end()
}

// conformanceCase reads one: what is not in its folder is the suite's default.
func conformanceCase(t *testing.T, dir, folder string) question {
	read := func(name, otherwise string) string {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if errors.Is(err, fs.ErrNotExist) {
			return otherwise
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	file := func(path string) string {
		b, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	q := question{
		bundle:   []byte(read("bundle.sigstore.json", "")),
		artifact: []byte(read("artifact", file("bundle-verify/a.txt"))), root: read("trusted_root.json", file("public-good.trusted_root.json")),
		subject: strings.TrimSpace(read("identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main")),
		issuer:  strings.TrimSpace(read("issuer", "https://token.actions.githubusercontent.com")),
	}
	q.name = family(q.bundle) + "-conformance-" + filepath.Base(folder)
	if key, _ := pem.Decode([]byte(read("key.pub", ""))); key != nil {
		q.key = key.Bytes
	}
	return q
}

// family begins a name as those of the shapes begin: classes go by it.
func family(file []byte) string {
	switch {
	case bytes.Contains(file, []byte(`"0.0.2"`)) && !bytes.Contains(file, []byte(`"intoto"`)):
		return "v2"
	case bytes.Contains(file, []byte("version=0.1")):
		return "v1-0.1"
	}
	return "v1"
}
