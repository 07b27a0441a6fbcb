package predicate_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/wire/predicate"
)

// TestDocs: docs/predicates.md lists the types and their names, and no others.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/predicates.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(page), -1) {
		listed[m[1]] = strings.NewReplacer("`", "", ",", "").Replace(strings.TrimSpace(m[2]))
	}
	for _, k := range predicate.Types() {
		if names, ok := listed[k.URI]; !ok || names != strings.Join(k.Names, " ") {
			t.Errorf("%s: found the names %q, expected %q", k.URI, names, k.Names)
		}
		delete(listed, k.URI)
	}
	for uri := range listed {
		t.Errorf("%s: in the page alone", uri)
	}
}
