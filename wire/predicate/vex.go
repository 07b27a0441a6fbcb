package predicate

import (
	"strings"
)

// openVEX is an OpenVEX document of version 0.2.0 or later. Products need not be
// named: without them the statement's subjects are meant.
//
// Source: openvex/spec, OPENVEX-SPEC.md, openvex_json_schema.json and ATTESTING.md.
func openVEX() rule {
	return closed(nil,
		need("@context", text(vexContext)), need("@id", text(iri)), need("author", plain), may("role", free), need("timestamp", text(moment)),
		may("last_updated", text(moment)), need("version", integer(1)), may("tooling", free), need("statements", some(vexStatement())),
	)
}

// closed is the rule for an object that has no other members.
func closed(check func(*reader, object) error, known ...member) rule {
	return (&form{members: known, closed: true, check: check}).rule
}

// vexContext is the version. The first had another form.
func vexContext(s string) string {
	version, ok := strings.CutPrefix(s, "https://openvex.dev/ns/v")
	parts := strings.Split(version, ".")
	if !ok || len(parts) != 3 || !isNumber(parts[0]) || !isNumber(parts[1]) || !isNumber(parts[2]) || parts[0] == "0" && (parts[1] == "0" || parts[1] == "1") {
		return "https://openvex.dev/ns/v0.2.0 or a later version"
	}
	return ""
}

func vexStatement() rule {
	vulnerability := closed(nil, may("@id", text(iri)), need("name", plain), may("description", free), may("aliases", list(free)))
	return closed(vexReason,
		may("@id", text(iri)), may("version", integer(1)), need("vulnerability", vulnerability), may("timestamp", text(moment)),
		may("last_updated", text(moment)), may("products", list(vexProduct())),
		keep("status", text(oneOf("not_affected", "affected", "fixed", "under_investigation"))), may("supplier", free), may("status_notes", free),
		may("justification", text(oneOf("component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
			"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist"))),
		may("impact_statement", free), may("action_statement", free), may("action_statement_timestamp", text(moment)),
	)
}

// vexReason makes sure that a statement says of its status what it must.
func vexReason(r *reader, o object) error {
	switch {
	case o.kept == "not_affected" && !o.hasAny("justification", "impact_statement"):
		return r.wrong("a justification or an impact_statement, which the status not_affected needs", "neither")
	case o.kept == "affected" && !o.has("action_statement"):
		return r.wrong("an action_statement, which the status affected needs", "none")
	}
	return nil
}

func vexProduct() rule { return vexComponent(may("subcomponents", list(vexComponent()))) }

func vexComponent(more ...member) rule {
	identifiers := closed(func(r *reader, o object) error {
		if !o.hasAny("purl", "cpe22", "cpe23") {
			return r.wrong("one of purl, cpe22 and cpe23", "none of them")
		}
		return nil
	}, may("purl", plain), may("cpe22", plain), may("cpe23", plain))
	named := func(r *reader, o object) error {
		if !o.hasAny("@id", "identifiers") {
			return r.wrong("@id or identifiers", "neither")
		}
		return nil
	}
	return closed(named, append(more, may("@id", text(iri)), may("identifiers", identifiers), may("hashes", vexHashes()))...)
}

func vexHashes() rule {
	var members []member
	for _, name := range []string{
		"md5", "sha1", "sha-256", "sha-384", "sha-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512", "blake2s-256", "blake2b-256", "blake2b-512",
	} {
		members = append(members, may(name, text(digest)))
	}
	return closed(nil, members...)
}
