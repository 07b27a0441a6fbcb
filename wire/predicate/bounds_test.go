package predicate_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/predicate"
)

// TestFlaws: of what is known no value may be of another kind, nor stand twice.
func TestFlaws(t *testing.T) {
	t.Parallel()
	for name, may := range map[string][]string{
		"slsaprovenance1": {"*: an unknown member", "*Parameters/*: *", "*/annotations/*: *"},
		"vsa":             {"*: an unknown member"},
		"vuln":            {"*: an unknown member", "/invocation/parameters*: *", "/scanner/result*: *"},
		"cyclonedx":       {"*: an unknown member", "/vulnerabilities/0/id: *"},
		"spdx2":           {"*: an unknown member", "/packages/0/filesAnalyzed: true"},
		"openvex":         nil,
		"test-result":     {"*: an unknown member"},
		"scai":            {"*: an unknown member", "/attributes/0/conditions/*: *"},
	} {
		// Of texts and lists only their sum has a bound.
		flawed.TestJSON(t, func(b []byte) error { return predicate.Check(of(strings.TrimSuffix(name, "2")), b) }, strings.TrimSpace(string(document(t, name))), append(may, "*: long")...)
	}
}

// TestLimits: large predicates take memory in proportion.
func TestLimits(t *testing.T) {
	for _, uri := range []string{"https://example.com/p", "https://slsa.dev/provenance/v1", "https://openvex.dev/ns"} {
		hostile.Test(t, func(b []byte) error { return predicate.Check(uri, b) }, hostile.JSON()...)
	}
	for uri, inputs := range lists() {
		hostile.Test(t, func(b []byte) error { return predicate.Check(uri, b) }, inputs...)
	}
}

// lists are long ones, of what is smallest in them.
func lists() map[string][]hostile.Input {
	fill := func(name, head, unit, tail string) hostile.Input {
		return hostile.Fill(name, head, unit+",", unit+tail)
	}
	const (
		bom = `{"bomFormat":"CycloneDX","specVersion":"1.6",`
		run = `{"buildDefinition":{"buildType":"a:b","externalParameters":{},"resolvedDependencies":[`
	)
	return map[string][]hostile.Input{
		"https://cyclonedx.org/bom": {
			fill("components", bom+`"components":[`, `{"type":"a","name":"b"}`, "]}"),
			fill("dependencies", bom+`"dependencies":[`, `{"ref":"a"}`, "]}"),
			fill("references of one", bom+`"dependencies":[{"ref":"a","dependsOn":[`, `"a"`, "]}]}"),
			fill("vulnerabilities", bom+`"vulnerabilities":[`, `{}`, "]}"),
			hostile.Fill("components in components", bom+`"components":[`, `{"type":"a","name":"b","components":[`, "]}"),
		},
		"https://slsa.dev/provenance/v1": {
			fill("dependencies by URI", run, `{"uri":"a:b"}`, "]}}"),
			fill("dependencies by digest", run, `{"digest":{"a":"b"}}`, "]}}"),
			fill("digests", run+`{"digest":{`, `"#":"0"`, "}}]}}"),
		},
		"https://openvex.dev/ns": {
			fill("statements", `{"statements":[`, `{"status":"fixed","vulnerability":{"name":"a"}}`, "]}"),
			fill("products", `{"statements":[{"products":[`, `{"@id":"a:b"}`, "]}]}"),
		},
		"https://slsa.dev/verification_summary/v1": {
			fill("levels", `{"verifiedLevels":[`, `"SLSA_#_LEVEL_1"`, "]}"),
		},
		"https://spdx.dev/Document": {
			fill("elements", `{"@graph":[`, `{"type":"a"}`, "]}"),
			fill("relationships", `{"relationships":[`, `{"spdxElementId":"a","relatedSpdxElement":"b","relationshipType":"c"}`, "]}"),
		},
		"https://in-toto.io/attestation/link/v0.3": {fill("arguments", `{"command":[`, `""`, "]}")},
	}
}

// BenchmarkCheck is a large SBOM.
func BenchmarkCheck(b *testing.B) {
	one := `{"type":"library","name":"component","version":"1.2.3","bom-ref":"pkg:generic/component@1.2.3","purl":"pkg:generic/component@1.2.3",` +
		`"hashes":[{"alg":"SHA-256","content":"` + strings.Repeat("00", 32) + `"}],"licenses":[{"license":{"id":"MIT"}}]}`
	sbom := []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":[` + strings.Repeat(one+",", 9999) + one + `]}`)
	b.SetBytes(int64(len(sbom)))
	b.ReportAllocs()
	for b.Loop() {
		if err := predicate.Check("https://cyclonedx.org/bom", sbom); err != nil {
			b.Fatal(err)
		}
	}
}
