package predicate

// The types of in-toto's own registry. Each has a file of its name in spec/predicates
// of in-toto/attestation.

// scai is a SCAI attribute report.
func scai() rule {
	attribute := record(need("attribute", plain), may("target", descriptor()), may("conditions", record()), may("evidence", descriptor()))
	return record(need("attributes", some(attribute)), may("producer", descriptor()))
}

// testResult is a test result.
func testResult() rule {
	names := list(plain)
	return record(
		need("result", text(oneOf("PASSED", "WARNED", "FAILED"))), need("configuration", list(descriptor())), may("url", text(uri)),
		may("passedTests", names), may("warnedTests", names), may("failedTests", names),
	)
}

// verificationResult is a simple verification result, verificationResult01 its first
// version, in which a policy had no form.
func verificationResult() rule   { return verificationResultBy(need("policies", list(descriptor()))) }
func verificationResult01() rule { return verificationResultBy(may("policy", anything)) }

func verificationResultBy(policy member) rule {
	return record(need("verifier", record(need("id", text(uri)), policy)), need("timeCreated", text(utc)), need("properties", list(plain)))
}

// release is a release. Its second version calls releaseId packageId; its examples
// do so with the type of the first.
func release() rule {
	return record(need("purl", text(purl)), may("packageId", plain), may("releaseId", plain))
}

// reference is a reference to documents.
func reference() rule {
	return record(need("attester", record(need("id", text(uri)))), need("references", list(descriptor("downloadLocation", "mediaType"))))
}

// runtimeTrace is a runtime trace. The source of the monitor's configuration may say
// nothing at all, as in the specification's example.
func runtimeTrace() rule {
	monitor := record(need("type", text(uri)), may("configSource", record(resource()...)), may("tracePolicy", record()))
	events := list(record())
	log := &form{members: []member{may("process", events), may("network", events), may("fileAccess", list(descriptor()))}}
	log.check = func(r *reader, o object) error {
		if !o.hasAny("process", "network", "fileAccess") {
			return r.wrong("one of process, network and fileAccess", "none of them")
		}
		return nil
	}
	return record(
		need("monitor", monitor), need("monitoredProcess", record(need("hostID", text(uri)), need("type", text(uri)), need("event", plain))),
		need("monitorLog", log.rule), may("metadata", record(may("buildStartedOn", text(utc)), may("buildFinishedOn", text(utc)))),
	)
}

// link is a link, whose materials have names.
func link() rule { return linkOf(may("materials", list(descriptor("name", "digest")))) }

// oldLink is a link as in-toto 0.9 has it, whose materials are digests by name.
//
// Source: in-toto/docs, in-toto-spec.md, section 4.4.
func oldLink() rule {
	return linkOf(may("materials", dictionary(anyDigests)), may("products", dictionary(anyDigests)))
}

func linkOf(artifacts ...member) rule {
	return record(append(artifacts, need("name", plain), may("command", list(free)), may("byproducts", record()), may("environment", record()))...)
}

// scan is a vulnerability scan. Of its first version the text has the finding in a
// member of its own, the example has not.
func scan() rule {
	inner := &form{members: finding(), check: identified}
	outer := &form{members: append(finding(), may("vulnerability", inner.rule)), check: identified}
	db := record(may("uri", text(uri)), may("version", free), need("lastUpdate", text(utc)))
	return record(
		need("scanner", record(need("uri", text(uri)), may("version", free), need("db", db), need("result", list(outer.rule)))),
		need("metadata", scanTimes(utc)),
	)
}

// finding is the members of a result of a scan.
func finding() []member {
	severity := record(need("method", plain), need("score", plain))
	return []member{may("id", plain), may("severity", list(severity)), may("annotations", list(record()))}
}

// identified makes sure that a finding says what was found, or has it in a member.
func identified(r *reader, o object) error {
	switch {
	case o.has("vulnerability"):
		return nil
	case !o.has("id"):
		return r.refuse("id", "it is missing")
	case !o.has("severity"):
		return r.refuse("severity", "it is missing")
	}
	return nil
}

// scanTimes are those of a scan.
func scanTimes(when test) rule {
	return record(need("scanStartedOn", text(when)), need("scanFinishedOn", text(when)))
}

// cosignScan is a vulnerability scan as cosign has it.
//
// Source: sigstore/cosign, specs/COSIGN_VULN_ATTESTATION_SPEC.md.
func cosignScan() rule {
	return record(
		may("invocation", record(may("parameters", anything), may("uri", free), may("event_id", free), may("builder.id", free))),
		need("scanner", record(may("uri", free), may("version", free), may("db", record(may("uri", free), may("version", free))), need("result", anything))),
		need("metadata", scanTimes(moment)),
	)
}
