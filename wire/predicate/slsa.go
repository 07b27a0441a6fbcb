package predicate

import (
	"strings"

	"github.com/sigbox/sigbox"
)

// provenance is SLSA provenance v1.
//
// Source: slsa-framework/slsa, spec/build-provenance.md.
func provenance() rule {
	resources := list(descriptor())
	builder := record(need("id", text(uri)), may("version", dictionary(free)), may("builderDependencies", resources))
	metadata := record(may("invocationId", free), may("startedOn", text(utc)), may("finishedOn", text(utc)))
	return record(
		need("buildDefinition", record(
			need("buildType", text(uri)), need("externalParameters", record()), may("internalParameters", record()), may("resolvedDependencies", resources),
		)),
		need("runDetails", record(need("builder", builder), may("metadata", metadata), may("byproducts", resources))),
	)
}

// provenance02 is SLSA provenance v0.2.
//
// Source: https://slsa.dev/provenance/v0.2
func provenance02() rule {
	source := record(may("uri", text(uri)), may("digest", anyDigests), may("entryPoint", free))
	metadata := record(
		may("buildInvocationId", free), may("buildStartedOn", text(utc)), may("buildFinishedOn", text(utc)),
		may("completeness", record(may("parameters", boolean), may("environment", boolean), may("materials", boolean))), may("reproducible", boolean),
	)
	return record(
		need("builder", record(need("id", text(uri)))), need("buildType", text(uri)),
		may("invocation", record(may("configSource", source), may("parameters", record()), may("environment", record()))),
		may("buildConfig", record()), may("metadata", metadata), may("materials", list(record(may("uri", text(uri)), may("digest", anyDigests)))),
	)
}

// summary is a SLSA verification summary (VSA).
//
// Source: slsa-framework/slsa, spec/verification_summary.md.
func summary() rule {
	var levels levels
	f := &form{members: []member{
		need("verifier", record(need("id", text(uri)), may("version", dictionary(free)))), may("timeVerified", text(utc)), need("resourceUri", text(uri)),
		need("policy", descriptor("uri")), may("inputAttestations", list(descriptor("digest"))),
		keep("verificationResult", text(oneOf("PASSED", "FAILED"))), need("verifiedLevels", list(levels.add)),
		may("dependencyLevels", dictionary(integer(0))), may("slsaVersion", text(slsaVersion)),
	}}
	f.check = func(r *reader, o object) error {
		if levels.failed && o.kept == "PASSED" {
			return r.refuse("verifiedLevels", "FAILED beside the verificationResult PASSED")
		}
		return nil
	}
	return f.rule
}

// maxTracks is how many tracks levels are read of. SLSA has two.
const maxTracks = 1024

// levels are the verified ones of a summary.
type levels struct {
	tracks map[string]bool // that have one
	failed bool
}

// add reads one. A track has but one.
func (l *levels) add(r *reader) error {
	if err := plain(r); err != nil {
		return err
	}
	l.failed = l.failed || r.last == "FAILED"
	track, _, ok := strings.Cut(r.last, "_LEVEL_")
	if !ok || !strings.HasPrefix(track, "SLSA_") {
		return nil
	}
	switch {
	case l.tracks[track]:
		return r.refuse("", "%s is a second level of its track", quote(r.last))
	case len(l.tracks) == maxTracks:
		return sigbox.Errorf(sigbox.TooLarge, "%s: levels of more than %d tracks", r.at(""), maxTracks)
	}
	if l.tracks == nil {
		l.tracks = make(map[string]bool)
	}
	l.tracks[track] = true
	return nil
}

// slsaVersion is two numbers with a dot.
func slsaVersion(s string) string {
	major, minor, _ := strings.Cut(s, ".")
	if !isNumber(major) || !isNumber(minor) {
		return "a version of SLSA, as in 1.0"
	}
	return ""
}

// isNumber reports whether s is decimal digits.
func isNumber(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !isDigit(c) })
}
