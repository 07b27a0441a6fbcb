package predicate_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/predicate"
	"github.com/sigbox/sigbox/wire/statement"
)

// document gives a file of testdata, a good predicate that has all that is known of
// its type.
func document(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// files gives the document of each type that has rules.
func files() map[string]string {
	uris := map[string]string{
		"https://spdx.dev/Document": "spdx2", "https://spdx.dev/Document/v2.3": "spdx2", "https://spdx.dev/Document/v3": "spdx3",
		"https://openvex.dev/ns/v0.2.0": "openvex", "https://in-toto.io/attestation/vulns/v0.1": "vulns",
		"https://in-toto.io/attestation/svr/v0.1": "svr", "https://in-toto.io/attestation/release/v0.1": "release",
		"https://cosign.sigstore.dev/attestation/v1": "link",
	}
	for _, k := range predicate.Types() {
		if _, ok := uris[k.URI]; !ok {
			uris[k.URI] = k.Names[len(k.Names)-1]
		}
	}
	uris["https://cyclonedx.org/bom/v1.6"] = "cyclonedx"
	return uris
}

// of gives the URI of a short name, and takes a URI as it is.
func of(name string) string {
	if t, ok := predicate.ByName(name); ok {
		return t.URI
	}
	return name
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for uri, file := range files() {
		if err := predicate.Check(uri, document(t, file)); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if err := predicate.Check("https://spdx.dev/Document", document(t, "spdx3")); err != nil {
		t.Error(err)
	}
	for _, any := range []string{`{}`, `[]`, `7`, `"text"`, `null`, `true`} {
		if err := predicate.Check("https://example.com/p", []byte(any)); err != nil {
			t.Errorf("%s of a type that is not known: %v", any, err)
		}
	}
}

// edit gives a document whose value at a place (RFC 6901) is another, "" for none.
func edit(t testing.TB, document []byte, place, value string) []byte {
	t.Helper()
	var doc any
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var to any
	if value != "" {
		if err := json.Unmarshal([]byte(value), &to); err != nil {
			t.Fatal(err)
		}
	}
	parts := strings.Split(place, "/")[1:]
	at := doc
	for i, part := range parts {
		last := i == len(parts)-1
		switch in := at.(type) {
		case map[string]any:
			if last && value == "" {
				delete(in, part)
			} else if last {
				in[part] = to
			}
			at = in[part]
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n >= len(in) {
				t.Fatalf("there is no %s", place)
			}
			if last {
				in[n] = to
			}
			at = in[n]
		default:
			t.Fatalf("there is no %s", place)
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fault is one edit that breaks a rule, and what the error says behind the place.
type fault struct{ place, value, want string }

const missing = "it is missing"

// faults are by the name of the file.
var faults = map[string][]fault{
	"slsaprovenance1": {
		{"/buildDefinition", "", missing},
		{"/runDetails", "null", missing},
		{"/buildDefinition/buildType", "", missing},
		{"/buildDefinition/buildType", `"workflow"`, `expected a URI (RFC 3986), found "workflow"`},
		{"/buildDefinition/buildType", `"https://CI.example/v1"`, `lower case`},
		{"/buildDefinition/buildType", `"HTTPS://ci.example/v1"`, `lower case`},
		{"/buildDefinition/buildType", `"https://ci.example/a b"`, `a URI`},
		{"/buildDefinition/buildType", `"https://ci.example/%zz"`, `a URI`},
		{"/buildDefinition/buildType", `"https://ci.example/%a"`, `a URI`},
		{"/buildDefinition/buildType", `"https://ci.example/é"`, `a URI`},
		{"/buildDefinition/buildType", `"7ci://x"`, `a URI`},
		{"/buildDefinition/buildType", `"c_i://x"`, `a URI`},
		{"/buildDefinition/buildType", `"ci:"`, `a URI`},
		{"/buildDefinition/externalParameters", "", missing},
		{"/buildDefinition/externalParameters", `"a"`, `expected an object, found "a"`},
		{"/buildDefinition/internalParameters", "[]", "expected an object, found a list"},
		{"/buildDefinition/resolvedDependencies", "{}", "expected a list, found an object"},
		{"/buildDefinition/resolvedDependencies/0", `{"name":"tool"}`, "expected one of uri, digest and content, found none of them"},
		{"/buildDefinition/resolvedDependencies/0", `null`, "expected an object, found null"},
		{"/buildDefinition/resolvedDependencies/0/name", `""`, "an empty string"},
		{"/buildDefinition/resolvedDependencies/0/uri", `7`, "expected a string, found 7"},
		{"/buildDefinition/resolvedDependencies/0/digest", `{}`, "expected one or more digests, found none"},
		{"/buildDefinition/resolvedDependencies/0/digest/gitCommit", `"da39"`, "expected 40 or 64"},
		{"/buildDefinition/resolvedDependencies/0/digest/sha256", `"DA39"`, "expected 64 lower-case hex digits"},
		{"/buildDefinition/resolvedDependencies/0/digest/any", `""`, "expected the name of an algorithm"},
		{"/buildDefinition/resolvedDependencies/0/content", `"a"`, "expected base64"},
		{"/buildDefinition/resolvedDependencies/0/downloadLocation", `"tool.tar.gz"`, "expected a URI"},
		{"/buildDefinition/resolvedDependencies/0/mediaType", `""`, "expected text"},
		{"/buildDefinition/resolvedDependencies/0/annotations", `[]`, "expected an object"},
		{"/runDetails/builder", "", missing},
		{"/runDetails/builder/id", "", missing},
		{"/runDetails/builder/id", `""`, "expected a URI"},
		{"/runDetails/builder/version/ci", `2`, "expected a string, found 2"},
		{"/runDetails/builder/builderDependencies/0/uri", `""`, "expected a URI"},
		{"/runDetails/metadata/invocationId", `7`, "expected a string"},
		{"/runDetails/metadata/startedOn", `"2026-01-31"`, "expected a time in UTC by RFC 3339"},
		{"/runDetails/metadata/startedOn", `"2026-01-31T12:00:00+01:00"`, "expected a time in UTC"},
		{"/runDetails/metadata/finishedOn", `"2026-02-30T12:00:00Z"`, "expected a time in UTC"},
		{"/runDetails/byproducts/0", `{}`, "expected one of uri, digest and content"},
	},
	"slsaprovenance02": {
		{"/builder", "", missing},
		{"/builder/id", "", missing},
		{"/buildType", "", missing},
		{"/buildType", `"make"`, "expected a URI"},
		{"/invocation/configSource/uri", `"tool"`, "expected a URI"},
		{"/invocation/configSource/digest/sha256", `"00"`, "expected 64"},
		{"/invocation/parameters", `"a"`, "expected an object"},
		{"/invocation/environment", `"a"`, "expected an object"},
		{"/buildConfig", `"a"`, "expected an object"},
		{"/metadata/buildStartedOn", `"now"`, "expected a time"},
		{"/metadata/buildFinishedOn", `"now"`, "expected a time"},
		{"/metadata/completeness/materials", `"yes"`, "expected a boolean"},
		{"/metadata/reproducible", `0`, "expected a boolean, found 0"},
		{"/materials/0/uri", `"tool"`, "expected a URI"},
		{"/materials/0/digest/sha256", `7`, "expected a string"},
	},
	"vsa": {
		{"/verifier", "", missing},
		{"/verifier/id", "", missing},
		{"/verifier/version/verifier", "2", "expected a string"},
		{"/timeVerified", `"today"`, "expected a time"},
		{"/resourceUri", "", missing},
		{"/policy", "", missing},
		{"/policy/uri", "", missing},
		{"/inputAttestations/0/digest", "", missing},
		{"/verificationResult", "", missing},
		{"/verificationResult", `"passed"`, `expected PASSED or FAILED, found "passed"`},
		{"/verifiedLevels", "", missing},
		{"/verifiedLevels/0", `"FAILED"`, "FAILED beside the verificationResult PASSED"},
		{"/verifiedLevels/1", `"SLSA_BUILD_LEVEL_2"`, "a second level of its track"},
		{"/verifiedLevels/2", `""`, "an empty string"},
		{"/dependencyLevels/SLSA_BUILD_LEVEL_1", "-1", "expected a whole number from 0 up, found -1"},
		{"/dependencyLevels/SLSA_BUILD_LEVEL_1", "1.5", "expected a whole number"},
		{"/slsaVersion", `"1"`, "expected a version of SLSA"},
		{"/slsaVersion", `"1.0.0"`, "expected a version of SLSA"},
	},
	"spdx2": {
		{"/spdxVersion", "", missing},
		{"/spdxVersion", `"2.3"`, "expected SPDX-2.3"},
		{"/spdxVersion", `"SPDX-3.0"`, "expected SPDX-2.3"},
		{"/SPDXID", "", missing},
		{"/SPDXID", `"SPDXRef-tool"`, "expected SPDXRef-DOCUMENT"},
		{"/dataLicense", `"MIT"`, "expected CC0-1.0"},
		{"/name", `""`, "expected text"},
		{"/name", "null", "expected a string, found null"},
		{"/documentNamespace", "", missing},
		{"/documentNamespace", `"https://sbom.example/#tool"`, "expected a URI without #"},
		{"/creationInfo", "", missing},
		{"/creationInfo/created", `"2026-01-31T12:00:00.5Z"`, "in whole seconds"},
		{"/creationInfo/created", `"2026-01-31T12:00:00+01:00"`, "expected a time in UTC"},
		{"/creationInfo/creators", "[]", "expected one or more elements, found an empty list"},
		{"/creationInfo/creators/0", `"Ada"`, "expected Person: … or Organization: … or Tool: …"},
		{"/creationInfo/licenseListVersion", "3", "expected a string"},
		{"/packages/0/SPDXID", "", missing},
		{"/packages/0/SPDXID", `"tool"`, "expected SPDXRef-…"},
		{"/packages/0/name", "", missing},
		{"/packages/0/downloadLocation", "", missing},
		{"/packages/0/filesAnalyzed", `"no"`, "expected a boolean"},
		{"/packages/0/checksums/0/algorithm", "", missing},
		{"/packages/0/checksums/0/checksumValue", `"zz"`, "expected a digest in hex"},
		{"/packages/0/externalRefs/0/referenceLocator", "", missing},
		{"/packages/0/externalRefs/0/referenceType", "", missing},
		{"/packages/0/externalRefs/0/referenceCategory", "", missing},
		{"/files/0/SPDXID", `"SPDXRef-"`, "expected SPDXRef-…"},
		{"/files/0/fileName", "", missing},
		{"/files/0/checksums", "", missing},
		{"/files/0/checksums", "[]", "one or more"},
		{"/relationships/0/spdxElementId", "", missing},
		{"/relationships/0/relatedSpdxElement", "", missing},
		{"/relationships/0/relationshipType", "", missing},
		{"/externalDocumentRefs/0/externalDocumentId", "", missing},
		{"/externalDocumentRefs/0/spdxDocument", "", missing},
		{"/externalDocumentRefs/0/checksum", "", missing},
		{"/documentDescribes/0", "7", "expected a string"},
	},
	"spdx3": {
		{"/@context", "", missing},
		{"/@context", `"https://spdx.org/rdf/2.3/spdx-context.jsonld"`, "expected https://spdx.org/rdf/3.0.1"},
		{"/@context", `"https://spdx.org/rdf/3.x/spdx-context.jsonld"`, "expected https://spdx.org/rdf/3.0.1"},
		{"/@context", `"https://spdx.org/rdf/3.0.1"`, "expected https://spdx.org/rdf/3.0.1"},
		{"/@graph", "", missing},
		{"/@graph", "[]", "expected an element of the type CreationInfo, found none"},
		{"/@graph/1/type", "", missing},
		{"/@graph/1/spdxId", `"ada"`, "expected an IRI"},
		{"/@graph/0/created", "", "expected created, createdBy and specVersion"},
		{"/@graph/0/createdBy", "", "expected created, createdBy and specVersion"},
		{"/@graph/0/createdBy", "[]", "one or more"},
		{"/@graph/0/specVersion", "", "expected created, createdBy and specVersion"},
		{"/@graph/0/specVersion", `"2.3"`, "expected 3.…"},
		{"/@graph/0/created", `"now"`, "expected a time in UTC"},
	},
	"cyclonedx": {
		{"/bomFormat", "", missing},
		{"/bomFormat", `"SPDX"`, "expected CycloneDX"},
		{"/specVersion", "", missing},
		{"/specVersion", `"1.1"`, "from 1.2 up"},
		{"/specVersion", `"2.0"`, "from 1.2 up"},
		{"/serialNumber", `"3e671687-395b-41f5-a30f-a58921a69b79"`, "expected a UUID"},
		{"/serialNumber", `"urn:uuid:3e671687-395b-41f5-a30f"`, "expected a UUID"},
		{"/serialNumber", `"urn:uuid:3E671687-395b-41f5-a30f-a58921a69b79"`, "expected a UUID"},
		{"/serialNumber", `"urn:uuid:3e671687-395b-41f5-a30f-a58921a69b7x"`, "expected a UUID"},
		{"/version", "0", "expected a whole number from 1 up"},
		{"/metadata/timestamp", `"today"`, "expected a time by RFC 3339"},
		{"/metadata/component/name", "", missing},
		{"/components/0/type", "", missing},
		{"/components/0/name", `""`, "an empty string"},
		{"/components/0/bom-ref", `""`, "an empty string"},
		{"/components/0/purl", `"zlib@1.3"`, "expected pkg:…"},
		{"/components/0/scope", `"maybe"`, "expected required or optional or excluded"},
		{"/components/0/hashes/0/alg", "", missing},
		{"/components/0/hashes/0/content", `"0"`, "expected a digest in hex"},
		{"/components/0/externalReferences/0/url", "", missing},
		{"/components/0/externalReferences/0/type", "", missing},
		{"/components/0/components/0/name", "", missing},
		{"/services/0/name", "", missing},
		{"/services/0/services/0/name", "", missing},
		{"/dependencies/0/ref", "", missing},
		{"/dependencies/0/dependsOn/0", `""`, "an empty string"},
		{"/externalReferences/0/type", "", missing},
		{"/compositions/0/aggregate", "", missing},
		{"/vulnerabilities/0", "7", "expected an object"},
	},
	"openvex": {
		{"/@context", "", missing},
		{"/@context", `"https://openvex.dev/ns"`, "expected https://openvex.dev/ns/v0.2.0"},
		{"/@context", `"https://openvex.dev/ns/v0.0.1"`, "expected https://openvex.dev/ns/v0.2.0"},
		{"/@context", `"https://openvex.dev/ns/v0.2"`, "expected https://openvex.dev/ns/v0.2.0"},
		{"/@id", "", missing},
		{"/@id", `"one"`, "expected an IRI"},
		{"/author", "", missing},
		{"/timestamp", "", missing},
		{"/timestamp", `"2026-01-31T12:00:00"`, "expected a time"},
		{"/last_updated", `"2026-01-31T12:00:00,5Z"`, "expected a time"},
		{"/last_updated", `"2026-01-31T1:00:00Z"`, "expected a time"},
		{"/version", "", missing},
		{"/version", `"1"`, "expected a number"},
		{"/version", "0", "from 1 up"},
		{"/statements", "", missing},
		{"/statements", "[]", "one or more"},
		{"/statement", "[]", "unknown member"},
		{"/statements/0/status", "", missing},
		{"/statements/0/status", `"safe"`, "expected not_affected or affected or fixed or under_investigation"},
		{"/statements/0/justification", `"because"`, "expected component_not_present or"},
		{"/statements/0/vulnerability", "", missing},
		{"/statements/0/vulnerability/name", "", missing},
		{"/statements/0/vulnerability/score", "7", "unknown member"},
		{"/statements/0/products/0/hashes/sha256", `"00"`, "unknown member"},
		{"/statements/0/products/0/hashes/sha-256", `"00"`, "expected a digest"},
		{"/statements/0/products/0/identifiers", `{}`, "expected one of purl, cpe22 and cpe23"},
		{"/statements/0/products/0/subcomponents/0/@id", "", "expected @id or identifiers, found neither"},
		{"/statements/1/action_statement", "", "expected an action_statement, which the status affected needs, found none"},
		{"/statements/1/status", `"not_affected"`, "expected a justification or an impact_statement"},
		{"/statements/1/action_statement_timestamp", `"soon"`, "expected a time"},
	},
	"vuln": {
		{"/invocation/uri", "7", "expected a string"},
		{"/scanner", "", missing},
		{"/scanner/result", "", missing},
		{"/scanner/db/version", "7", "expected a string"},
		{"/metadata", "", missing},
		{"/metadata/scanStartedOn", "", missing},
		{"/metadata/scanFinishedOn", "", missing},
		{"/metadata/scanFinishedOn", `""`, "expected a time"},
	},
	"vulns": {
		{"/scanner", "", missing},
		{"/scanner/uri", "", missing},
		{"/scanner/db", "", missing},
		{"/scanner/db/lastUpdate", "", missing},
		{"/scanner/db/lastUpdate", `"2026-01-30T00:00:00+00:00"`, "expected a time in UTC"},
		{"/scanner/result", "", missing},
		{"/scanner/result/0/id", "", missing},
		{"/scanner/result/0/severity", "", missing},
		{"/scanner/result/0/severity/0/method", "", missing},
		{"/scanner/result/0/severity/0/score", "5.2", "expected a string, found 5.2"},
		{"/scanner/result/0/annotations", "{}", "expected a list"},
		{"/scanner/result/0", `{"vulnerability":{"id":"CVE-2026-1","severity":[]},"id":7}`, "expected a string"},
		{"/metadata", "", missing},
		{"/metadata/scanStartedOn", "", missing},
		{"/metadata/scanFinishedOn", "", missing},
	},
	"scai": {
		{"/attributes", "", missing},
		{"/attributes", "[]", "one or more"},
		{"/attributes/0/attribute", "", missing},
		{"/attributes/0/attribute", `""`, "an empty string"},
		{"/attributes/0/target", `{}`, "expected one of uri, digest and content"},
		{"/attributes/0/conditions", `[]`, "expected an object"},
		{"/attributes/0/evidence/digest", "", "expected one of uri, digest and content"},
		{"/producer", `{"name":"cc"}`, "expected one of uri, digest and content"},
	},
	"test-result": {
		{"/result", "", missing},
		{"/result", `"OK"`, "expected PASSED or WARNED or FAILED"},
		{"/configuration", "", missing},
		{"/configuration/0/digest", "", "expected one of uri"},
		{"/url", `"ci"`, "expected a URI"},
		{"/passedTests/0", `""`, "an empty string"},
		{"/warnedTests", `"b"`, "expected a list"},
		{"/failedTests", `{}`, "expected a list"},
	},
	"svr": {
		{"/verifier", "", missing},
		{"/verifier/id", "", missing},
		{"/verifier/policies", "", missing},
		{"/verifier/policies/0/uri", "", "expected one of uri"},
		{"/timeCreated", "", missing},
		{"/properties", "", missing},
		{"/properties/0", "3", "expected a string"},
	},
	"release": {
		{"/purl", "", missing},
		{"/purl", `"pkg:npm/semver"`, "expected a package URL with a version"},
		{"/purl", `"pkg:npm/@7.5.4"`, "expected a package URL with a version"},
		{"/purl", `"pkg:npm/semver@"`, "expected a package URL with a version"},
		{"/purl", `"pkg:semver@7.5.4"`, "expected a package URL with a version"},
		{"/purl", `"npm:npm/semver@7.5.4"`, "expected a package URL with a version"},
		{"/purl", `"pkg:npm/semver?a=b@7.5.4"`, "expected a package URL with a version"},
		{"/packageId", `""`, "an empty string"},
	},
	"reference": {
		{"/attester", "", missing},
		{"/attester/id", "", missing},
		{"/references", "", missing},
		{"/references/0/downloadLocation", "", missing},
		{"/references/0/mediaType", "", missing},
		{"/references/0/digest", "", "expected one of uri"},
	},
	"runtime-trace": {
		{"/monitor", "", missing},
		{"/monitor/type", "", missing},
		{"/monitor/configSource/uri", `"x"`, "expected a URI"},
		{"/monitor/tracePolicy", `"x"`, "expected an object"},
		{"/monitoredProcess", "", missing},
		{"/monitoredProcess/hostID", "", missing},
		{"/monitoredProcess/type", "", missing},
		{"/monitoredProcess/event", "", missing},
		{"/monitorLog", "", missing},
		{"/monitorLog", `{"process":null,"network":null,"fileAccess":null}`, "expected one of process, network and fileAccess"},
		{"/monitorLog/network/0", `"x"`, "expected an object"},
		{"/monitorLog/fileAccess/0/digest", "", "expected one of uri"},
		{"/metadata/buildStartedOn", `"x"`, "expected a time"},
		{"/metadata/buildFinishedOn", `"x"`, "expected a time"},
	},
	"link03": {
		{"/name", "", missing},
		{"/command/0", "7", "expected a string"},
		{"/materials/0/name", "", missing},
		{"/materials/0/digest", "", missing},
		{"/byproducts", "[]", "expected an object"},
		{"/environment", "[]", "expected an object"},
	},
	"link": {
		{"/name", "", missing},
		{"/command", `"make"`, "expected a list"},
		{"/materials/main.c/sha256", `"00"`, "expected 64"},
		{"/products/tool", `"00"`, "expected an object"},
		{"/environment", "[]", "expected an object"},
	},
}

// TestFaults: each rule, broken once, is an error that names the place.
func TestFaults(t *testing.T) {
	t.Parallel()
	uris := map[string]string{"spdx2": "https://spdx.dev/Document", "spdx3": "https://spdx.dev/Document"}
	for file, list := range faults {
		for _, f := range list {
			uri := of(file)
			if u, ok := uris[file]; ok {
				uri = u
			}
			err := predicate.Check(uri, edit(t, document(t, file), f.place, f.value))
			if err == nil {
				t.Errorf("%s: %s %s: accepted", file, f.place, f.value)
				continue
			}
			// What an object lacks is said of the object.
			object, _, _ := strings.Cut(f.place+"/", "/-/")
			object = object[:strings.LastIndexByte(strings.TrimSuffix(object, "/"), '/')]
			if s := err.Error(); !strings.Contains(s, f.want) || !strings.Contains(s, ": "+f.place) && !strings.Contains(s, ": "+object+":") && object != "" {
				t.Errorf("%s: %s %s: found %v, expected %q", file, f.place, f.value, err, f.want)
			}
			if k := sigbox.KindOf(err); k != sigbox.Invalid {
				t.Errorf("%s: kind %s: %v", file, k, err)
			}
		}
	}
	for uri, file := range files() {
		if len(faults[file]) == 0 {
			t.Errorf("%s: no fault is tried", uri)
		}
	}
}

// TestVersions: a predicate type with a version is of that version.
func TestVersions(t *testing.T) {
	t.Parallel()
	bom := document(t, "cyclonedx")
	if err := predicate.Check("https://cyclonedx.org/bom/v1.5", bom); err == nil || !strings.Contains(err.Error(), `/specVersion: expected 1.5, found "1.6"`) {
		t.Error(err)
	}
	if err := predicate.Check("https://spdx.dev/Document/v3", document(t, "spdx2")); err == nil {
		t.Error("SPDX 2 for SPDX 3")
	}
	if err := predicate.Check("https://in-toto.io/attestation/vulns/v0.1", edit(t, document(t, "vulns"), "/scanner/result/0", `{"vulnerability":{"id":"CVE-2026-1","severity":[]}}`)); err != nil {
		t.Error(err)
	}
}

// TestUnset: null is as nothing by in-toto's rules, and a value by other schemas.
func TestUnset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ file, place string }{
		{"slsaprovenance1", "/runDetails/metadata"}, {"slsaprovenance02", "/materials"}, {"vsa", "/dependencyLevels"}, {"runtime-trace", "/metadata"},
	} {
		if err := predicate.Check(of(c.file), edit(t, document(t, c.file), c.place, "null")); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct{ file, place string }{{"cyclonedx", "/metadata"}, {"openvex", "/role"}} {
		if err := predicate.Check(of(c.file), edit(t, document(t, c.file), c.place, "null")); err == nil {
			t.Errorf("%s: null for %s", c.file, c.place)
		}
	}
}

// TestNoJSON: what is no JSON is refused for each type, and for types that are not
// known.
func TestNoJSON(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", predicate.MaxDepth) + strings.Repeat("]", predicate.MaxDepth)
	for name, c := range map[string]struct {
		text, want string
		kind       sigbox.Kind
	}{
		"nothing":        {"", "ends early", sigbox.Invalid},
		"cut":            {`{"a":`, "ends early", sigbox.Invalid},
		"text":           {"hello", "not valid JSON", sigbox.Invalid},
		"more behind":    {"{} {}", "more after the end", sigbox.Invalid},
		"rubbish":        {"{} x", "not valid JSON", sigbox.Invalid},
		"twice":          {`{"a":{"b":1,"b":2}}`, "/a/b: the member stands twice", sigbox.Invalid},
		"twice, escaped": {`{"a":1,"\u0061":2}`, "stands twice", sigbox.Invalid},
		"not UTF-8":      {"{\"a\":\"\xff\"}", "not valid JSON", sigbox.Invalid},
		"deep":           {"[" + deep + "]", "deeper in each other than 100", sigbox.TooLarge},
		"large":          {`"` + strings.Repeat("a", predicate.MaxSize) + `"`, "at most 16777216 are read", sigbox.TooLarge},
		"a long name":    {`{"` + strings.Repeat("a", 4096) + `":1}`, "has a name of", sigbox.TooLarge},
	} {
		err := predicate.Check("https://example.com/p", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || sigbox.KindOf(err) != c.kind {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
	if err := predicate.Check("https://example.com/p", []byte(deep)); err != nil {
		t.Error(err)
	}
	for uri := range files() {
		for _, text := range []string{"", "{", "[[]", "{}}"} {
			if err := predicate.Check(uri, []byte(text)); err == nil {
				t.Errorf("%s: accepted %q", uri, text)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	cosign := map[string]string{
		"custom": "https://cosign.sigstore.dev/attestation/v1", "cyclonedx": "https://cyclonedx.org/bom", "link": "https://in-toto.io/Link/v1",
		"openvex": "https://openvex.dev/ns", "slsaprovenance": "https://slsa.dev/provenance/v0.2", "slsaprovenance02": "https://slsa.dev/provenance/v0.2",
		"slsaprovenance1": "https://slsa.dev/provenance/v1", "spdx": "https://spdx.dev/Document", "spdxjson": "https://spdx.dev/Document",
		"vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
	}
	for name, uri := range cosign {
		if got, ok := predicate.ByName(name); !ok || got.URI != uri {
			t.Errorf("%s: found %s, cosign has %s", name, got.URI, uri)
		}
	}
	if _, ok := predicate.ByName("provenance"); ok {
		t.Error("a name that there is not")
	}
	names := predicate.Names()
	if !slices.IsSorted(names) || len(slices.Compact(names)) != len(predicate.Names()) {
		t.Errorf("%v: not sorted, or not once each", names)
	}
	seen := map[string]bool{}
	for _, k := range predicate.Types() {
		if seen[k.URI] || k.Title == "" {
			t.Errorf("%+v: twice, or without title", k)
		}
		seen[k.URI] = true
	}
}

func subject(name string) statement.Subject {
	return statement.Subject{Name: name, Digests: map[string]string{"sha512": sigbox.SHA512.Sum(nil).Hex(), "sha256": sigbox.SHA256.Sum(nil).Hex(), "gitBlob": strings.Repeat("0", 40)}}
}

func TestStatement(t *testing.T) {
	t.Parallel()
	for uri, file := range files() {
		doc := document(t, file)
		payload, err := predicate.Statement([]statement.Subject{subject("b"), subject("a")}, uri, doc)
		if err != nil {
			t.Fatal(err)
		}
		again, err := predicate.Statement([]statement.Subject{subject("b"), subject("a")}, uri, doc)
		if err != nil || string(again) != string(payload) {
			t.Errorf("%s: not the same twice", uri)
		}
		got, err := statement.Parse(payload)
		if err != nil {
			t.Fatal(err)
		}
		want := &statement.Statement{Type: statement.TypeV1, PredicateType: uri, Subjects: []statement.Subject{subject("b"), subject("a")}, Predicate: compact(t, doc)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	got, err := predicate.Statement([]statement.Subject{{Digests: map[string]string{"b": "1", "a": "<2>"}}}, "https://example.com/p", []byte(` { "z" : 1.0, "a" : "\u00e9" } `))
	const want = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"a":"<2>","b":"1"}}],"predicateType":"https://example.com/p","predicate":{"z":1.0,"a":"\u00e9"}}`
	if err != nil || string(got) != want {
		t.Errorf("found %s %v, expected %s", got, err, want)
	}
}

// compact drops white space, and nothing else.
func compact(t *testing.T, b []byte) []byte {
	t.Helper()
	var out strings.Builder
	quoted, escaped := false, false
	for _, c := range string(b) {
		if !quoted && strings.ContainsRune(" \n\t\r", c) {
			continue
		}
		quoted = quoted != (c == '"' && !escaped)
		escaped = c == '\\' && !escaped
		out.WriteRune(c)
	}
	return []byte(out.String())
}

func TestStatementRefuses(t *testing.T) {
	t.Parallel()
	one := []statement.Subject{subject("a")}
	many := slices.Repeat(one, statement.MaxSubjects+1)
	digests := maps.Clone(subject("a").Digests)
	for i := range statement.MaxDigests {
		digests["x"+strconv.Itoa(i)] = "00"
	}
	for name, c := range map[string]struct {
		subjects  []statement.Subject
		uri       string
		predicate string
		want      string
	}{
		"no subject":           {nil, "https://example.com/p", "{}", "no subject"},
		"a subject of nothing": {[]statement.Subject{{Name: "a"}}, "https://example.com/p", "{}", "subject 1 has no digest"},
		"a short digest":       {[]statement.Subject{one[0], {Digests: map[string]string{"sha256": "00"}}}, "https://example.com/p", "{}", "subject 2: digest"},
		"too many subjects":    {many, "https://example.com/p", "{}", "more than 1024 subjects"},
		"too many digests":     {[]statement.Subject{{Digests: digests}}, "https://example.com/p", "{}", "more than 32 digests"},
		"a name of no text":    {[]statement.Subject{{Name: "\xff", Digests: one[0].Digests}}, "https://example.com/p", "{}", "statement: "},
		"no type":              {one, "", "{}", "predicate type: expected a URI"},
		"a short name":         {one, "slsaprovenance1", "{}", "predicate type: expected a URI"},
		"no predicate":         {one, "https://example.com/p", "", "ends early"},
		"a bad one":            {one, "https://slsa.dev/provenance/v1", "{}", "SLSA provenance v1: /buildDefinition: it is missing"},
	} {
		if _, err := predicate.Statement(c.subjects, c.uri, []byte(c.predicate)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}

// FuzzCheck: no input panics, what is refused is Invalid or TooLarge, and of what is
// accepted a statement can be made.
func FuzzCheck(f *testing.F) {
	for uri, file := range files() {
		f.Add(uri, document(f, file))
		f.Add(uri, edit(f, document(f, file), "/x", `{"a":[null]}`))
	}
	subjects := []statement.Subject{subject("a")}
	f.Fuzz(func(t *testing.T, uri string, b []byte) {
		err := predicate.Check(uri, b)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("kind %s: %v", k, err)
			}
			return
		}
		if !json.Valid(b) {
			t.Fatal("no JSON was accepted")
		}
		if _, ok := files()[uri]; !ok {
			return
		}
		if _, err := predicate.Statement(subjects, uri, b); err != nil {
			t.Fatalf("no statement of it: %v", err)
		}
	})
}
