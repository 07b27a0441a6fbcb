package predicate

import (
	"strings"
	"time"
)

// cycloneDX is a CycloneDX BOM of any version 1. Values that minor versions add to,
// such as the types of components, are not compared.
//
// Source: CycloneDX/specification, schema/bom-1.2.schema.json to bom-1.7.schema.json.
func cycloneDX() rule { return bom(text(cycloneDXVersion)) }

// cycloneDXOf is cycloneDX of the version that the predicate type names.
func cycloneDXOf(version string) func() rule {
	return func() rule { return bom(text(cycloneDXVersion, oneOf(version))) }
}

func bom(version rule) rule {
	hashes := list(record(need("alg", plain), need("content", text(digest))))
	references := list(record(need("url", free), need("type", plain), may("hashes", hashes)))
	component := component(hashes, references)
	return record(
		need("bomFormat", text(oneOf("CycloneDX"))), need("specVersion", version), may("serialNumber", text(uuidURN)), may("version", integer(1)),
		may("metadata", record(may("timestamp", text(moment)), may("component", component))), may("components", list(component)),
		may("services", list(service(references))), may("dependencies", list(record(need("ref", plain), may("dependsOn", list(plain)), may("provides", list(plain))))),
		may("externalReferences", references), may("vulnerabilities", list(record())),
		may("compositions", list(record(need("aggregate", plain), may("assemblies", list(plain)), may("dependencies", list(plain))))),
	)
}

// component is one, with those that are its parts.
func component(hashes, references rule) rule {
	f := &form{members: []member{
		need("type", plain), need("name", plain), may("version", free), may("bom-ref", plain), may("group", free), may("purl", text(prefixed("pkg:"))),
		may("cpe", plain), may("scope", text(oneOf("required", "optional", "excluded"))), may("hashes", hashes), may("externalReferences", references),
	}}
	f.members = append(f.members, may("components", list(f.rule)))
	return f.rule
}

// service is one, with those that are its parts.
func service(references rule) rule {
	f := &form{members: []member{need("name", plain), may("version", free), may("bom-ref", plain), may("externalReferences", references)}}
	f.members = append(f.members, may("services", list(f.rule)))
	return f.rule
}

func cycloneDXVersion(s string) string {
	minor, ok := strings.CutPrefix(s, "1.")
	if !ok || !isNumber(minor) || minor == "0" || minor == "1" {
		return "a version of CycloneDX in JSON, from 1.2 up"
	}
	return ""
}

// uuidURN is a UUID as a URN (RFC 4122).
func uuidURN(s string) string {
	parts := strings.Split(strings.TrimPrefix(s, "urn:uuid:"), "-")
	good := strings.HasPrefix(s, "urn:uuid:") && len(parts) == 5 && s == strings.ToLower(s)
	for i, n := range []int{8, 4, 4, 4, 12} {
		good = good && len(parts[i]) == n && isHex(parts[i])
	}
	if !good {
		return "a UUID, as in urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"
	}
	return ""
}

// spdx2 is an SPDX document of a version 2.
//
// Source: spdx/spdx-spec, support/2.3.1, schemas/spdx-schema.json and chapter 6.
func spdx2() rule { return record(spdx2Members()...) }

func spdx2Members() []member {
	id := text(prefixed("SPDXRef-"))
	checksum := record(need("algorithm", plain), need("checksumValue", text(digest)))
	creators := some(text(prefixed("Person: ", "Organization: ", "Tool: ")))
	reference := record(need("referenceCategory", plain), need("referenceType", plain), need("referenceLocator", plain))
	return []member{
		need("spdxVersion", text(spdx2Version)), need("SPDXID", text(oneOf("SPDXRef-DOCUMENT"))), need("dataLicense", text(oneOf("CC0-1.0"))),
		need("name", plain), need("documentNamespace", text(spdxNamespace)),
		need("creationInfo", record(need("created", text(spdxTime)), need("creators", creators), may("licenseListVersion", free))),
		may("packages", list(record(need("SPDXID", id), need("name", plain), need("downloadLocation", plain), may("versionInfo", free),
			may("filesAnalyzed", boolean), may("checksums", list(checksum)), may("externalRefs", list(reference))))),
		may("files", list(record(need("SPDXID", id), need("fileName", plain), need("checksums", some(checksum))))),
		may("relationships", list(record(need("spdxElementId", plain), need("relatedSpdxElement", plain), need("relationshipType", plain)))),
		may("externalDocumentRefs", list(record(need("externalDocumentId", plain), need("spdxDocument", plain), need("checksum", checksum)))),
		may("documentDescribes", list(plain)),
	}
}

func spdx2Version(s string) string {
	if minor, ok := strings.CutPrefix(s, "SPDX-2."); !ok || !isNumber(minor) {
		return "SPDX-2.3 or another version 2"
	}
	return ""
}

// spdxNamespace is a URI without fragment: that is for the document's elements.
func spdxNamespace(s string) string {
	if iri(s) != "" || strings.Contains(s, "#") {
		return "a URI without #"
	}
	return ""
}

// spdxTime is a time in UTC in whole seconds.
func spdxTime(s string) string {
	const layout = "2006-01-02T15:04:05Z"
	if t, err := time.Parse(layout, s); err != nil || t.Format(layout) != s {
		return "a time in UTC in whole seconds, as in 2026-01-31T12:00:00Z"
	}
	return ""
}

// spdx3 is an SPDX document of a version 3, in its form of JSON-LD.
//
// Source: spdx/spdx-spec, docs/serializations.md, and spdx/spdx-3-model, Core.
func spdx3() rule { return record(spdx3Members()...) }

func spdx3Members() []member {
	return []member{need("@context", text(spdx3Context)), need("@graph", spdx3Graph())}
}

func spdx3Context(s string) string {
	version, ok := strings.CutPrefix(s, "https://spdx.org/rdf/3.")
	if version, ends := strings.CutSuffix(version, "/spdx-context.jsonld"); !ok || !ends || strings.Trim(version, "0123456789.") != "" {
		return "https://spdx.org/rdf/3.0.1/spdx-context.jsonld or another version 3"
	}
	return ""
}

// spdx3Graph is the elements, one of which says when and by whom they were made.
func spdx3Graph() rule {
	creations := 0
	element := &form{members: []member{
		keep("type", plain), may("spdxId", text(iri)), may("created", text(spdxTime)), may("createdBy", some(plain)), may("specVersion", text(prefixed("3."))),
	}}
	element.check = func(r *reader, o object) error {
		if o.kept != "CreationInfo" {
			return nil
		}
		creations++
		if !o.has("created") || !o.has("createdBy") || !o.has("specVersion") {
			return r.wrong("created, createdBy and specVersion of a CreationInfo", "not all of them")
		}
		return nil
	}
	return func(r *reader) error {
		if err := list(element.rule)(r); err != nil || creations > 0 {
			return err
		}
		return r.wrong("an element of the type CreationInfo", "none")
	}
}

// spdx is an SPDX document whose version the predicate type does not say.
func spdx() rule { return either(spdx2Members(), spdx3Members()) }
