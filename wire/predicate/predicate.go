// Package predicate knows the predicates of in-toto attestations: their types, the
// short names that cosign gives some of them, and what each must hold. It makes
// statements of them:
//
//	t, _ := predicate.ByName("slsaprovenance1")
//	payload, err := predicate.Statement(subjects, t.URI, provenance)
//
// What a specification demands is held: members that must be there, their types,
// times, URIs, digests, and values of which one excludes another. Members that are
// not known are passed over, as in-toto's parsing rules demand, but in OpenVEX, whose
// schema is closed. Of SBOMs, whose schemas are a hundred times as large, what
// identifies and relates their elements is held. docs/predicates.md has the list.
//
// It believes nothing: that a predicate is well formed does not make it true.
//
// Source: https://github.com/in-toto/attestation/tree/main/spec/predicates, and of
// each type what stands beside its rules.
package predicate

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/wire/statement"
)

// Type is a type of predicates.
type Type struct {
	// URI is the type, as statements name it.
	URI string
	// Title names it for people.
	Title string
	// Names are short names for the URI: cosign's, and for types that cosign has no
	// name for our own. None when only the URI names it.
	Names []string
}

// known is a type with what its predicates must hold.
type known struct {
	Type
	is func() rule
	// unset is whether null stands for a member that is not there: by in-toto's
	// rules it does, by the schemas of the others not.
	unset bool
}

// all is the table of types, in the order of docs/predicates.md.
func all() []known {
	inToto := func(uri, title string, is func() rule, names ...string) known {
		return known{Type{uri, title, names}, is, true}
	}
	other := func(uri, title string, is func() rule, names ...string) known {
		return known{Type{uri, title, names}, is, false}
	}
	return []known{
		inToto("https://slsa.dev/provenance/v1", "SLSA provenance v1", provenance, "slsaprovenance1"),
		inToto("https://slsa.dev/provenance/v0.2", "SLSA provenance v0.2", provenance02, "slsaprovenance", "slsaprovenance02"),
		inToto("https://slsa.dev/verification_summary/v1", "SLSA verification summary", summary, "vsa"),
		other("https://spdx.dev/Document", "SPDX", spdx, "spdx", "spdxjson"),
		other("https://spdx.dev/Document/v2.3", "SPDX 2.3", spdx2),
		other("https://spdx.dev/Document/v3", "SPDX 3", spdx3),
		other("https://cyclonedx.org/bom", "CycloneDX", cycloneDX, "cyclonedx"),
		other("https://openvex.dev/ns", "OpenVEX", openVEX, "openvex"),
		other("https://openvex.dev/ns/v0.2.0", "OpenVEX", openVEX),
		other("https://cosign.sigstore.dev/attestation/vuln/v1", "cosign's vulnerability scan", cosignScan, "vuln"),
		inToto("https://in-toto.io/attestation/vulns/v0.2", "vulnerability scan", scan, "vulns"),
		inToto("https://in-toto.io/attestation/vulns/v0.1", "vulnerability scan v0.1", scan),
		inToto("https://in-toto.io/attestation/scai/v0.3", "SCAI report", scai, "scai"),
		inToto("https://in-toto.io/attestation/test-result/v0.1", "test result", testResult, "test-result"),
		inToto("https://in-toto.io/attestation/svr/v0.2", "simple verification result", verificationResult, "svr"),
		inToto("https://in-toto.io/attestation/svr/v0.1", "simple verification result v0.1", verificationResult01),
		inToto("https://in-toto.io/attestation/release/v0.2", "release", release, "release"),
		inToto("https://in-toto.io/attestation/release/v0.1", "release v0.1", release),
		inToto("https://in-toto.io/attestation/reference/v0.1", "reference", reference, "reference"),
		inToto("https://in-toto.io/attestation/runtime-trace/v0.1", "runtime trace", runtimeTrace, "runtime-trace"),
		inToto("https://in-toto.io/attestation/link/v0.3", "link", link, "link03"),
		inToto("https://in-toto.io/Link/v1", "link of in-toto 0.9", oldLink, "link"),
		other("https://cosign.sigstore.dev/attestation/v1", "custom", custom, "custom"),
	}
}

// custom is any JSON.
func custom() rule { return anything }

// Types gives the types that there are rules for, each once.
func Types() []Type {
	var types []Type
	for _, k := range all() {
		types = append(types, k.Type)
	}
	return types
}

// ByName finds a type by a short name, such as "slsaprovenance1".
func ByName(name string) (Type, bool) {
	for _, k := range all() {
		if slices.Contains(k.Names, name) {
			return k.Type, true
		}
	}
	return Type{}, false
}

// Names gives all short names, sorted.
func Names() []string {
	var names []string
	for _, k := range all() {
		names = append(names, k.Names...)
	}
	slices.Sort(names)
	return names
}

// find gives what is known of a type; of one that is not, any JSON is a predicate.
func find(uri string) known {
	types := all()
	if i := slices.IndexFunc(types, func(k known) bool { return k.URI == uri }); i >= 0 {
		return types[i]
	}
	if version, ok := strings.CutPrefix(uri, "https://cyclonedx.org/bom/v"); ok {
		return known{Type{URI: uri, Title: "CycloneDX " + cut(version)}, cycloneDXOf(version), false}
	}
	return known{Type{URI: uri, Title: "predicate"}, custom, false}
}

// Check holds a predicate by the rules of its type; of types that are not known it is
// any JSON. Errors are of kind Invalid or TooLarge; they name the member (RFC 6901),
// what was expected and what was found.
func Check(predicateType string, predicate []byte) error {
	k := find(predicateType)
	return read(k.Title, predicate, k.is(), k.unset)
}

// Statement makes an in-toto statement of version 1, which [statement.Parse] reads,
// of a predicate that [Check] finds nothing wrong with. The predicate stands in it as
// it is but for white space; digests are sorted by name, so that the same arguments
// give the same bytes. Errors are of kind Invalid or TooLarge.
func Statement(subjects []statement.Subject, predicateType string, predicate []byte) ([]byte, error) {
	if want := uri(predicateType); want != "" {
		return nil, sigbox.Mismatch(sigbox.Invalid, "predicate type", want, quote(predicateType))
	}
	if err := checkSubjects(subjects); err != nil {
		return nil, err
	}
	if err := Check(predicateType, predicate); err != nil {
		return nil, err
	}
	// In the order in which the specification has them.
	payload, err := json.Marshal(struct {
		Type          string              `json:"_type"`
		Subjects      []statement.Subject `json:"subject"`
		PredicateType string              `json:"predicateType"`
		Predicate     jsontext.Value      `json:"predicate"`
	}{statement.TypeV1, subjects, predicateType, predicate}, json.Deterministic(true), jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil, jsonerr.Of("statement", err)
	}
	// By its own reader: what is signed must be what is read.
	if _, err := statement.Parse(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// checkSubjects holds the subjects' digests by the rules of their algorithms.
func checkSubjects(subjects []statement.Subject) error {
	for i, s := range subjects {
		for name, value := range s.Digests {
			if _, err := sigbox.ParseNamedDigest(name + ":" + value); err != nil {
				return sigbox.Errorf(sigbox.Invalid, "subject %d: %w", i+1, err)
			}
		}
	}
	return nil
}
