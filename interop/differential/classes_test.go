package differential

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// class is a kind of difference, with the reason for it. A difference belongs to
// the first class that has room for it: sigbox said what the class says, each judge
// that said the opposite is one of others, and both the bundle's name and, where
// sigbox refuses, its reason match.
type class struct {
	name    string // as in docs/divergences.md, "Verifying"
	accepts bool   // whether sigbox does
	others  string // who may say the opposite, by their first letters: g, j, p
	bundles string // regular expression over the question's name; "" is any
	reason  string // regular expression over the reason that sigbox gives
}

// classes are all the differences that are known. What sigbox alone accepts comes
// first: each of those has a specification on its side.
func classes() []class {
	const timestamp = `signedTimestamp: `
	return []class{
		// sigbox accepts.
		{"no messageDigest", true, "gj", `messageDigest: (removed|null)|messageDigest: name`, ""},
		{"0.1: a promise with a proof that has no checkpoint", true, "gjp", `^v1-0\.1-no-checkpoint$|^v1-0\.1.*/(checkpoint: (removed|null|an empty object)|envelope: (removed|null|an empty string))$`, ""},
		{"0.1: a promise without proof", true, "gp", `^v1-0\.1-promise-alone$|^v1-0\.1.*/inclusionProof: (removed|null)$`, ""},
		{"algorithms of the registry", true, "gjp", `^v[12][^ ]*-PKIX_[A-Z0-9_]+$`, ""},
		{"dsse 0.0.2 of early Rekor v2 logs", true, "gp", `^v2-dsse-0\.0\.2$`, ""},
		{"intoto 0.0.2", true, "p", `^v1-(intoto-0\.2|conformance-intoto[^ ]*)$`, ""},
		{"keyid, which is only a hint", true, "g", `/keyid: `, ""},
		{"signatures of others on a checkpoint", true, "g", `/envelope: with (a stranger's signature|100 strangers' signatures)`, ""},
		{"both ends belong to a period", true, "p", `-end-inclusive$`, ""},
		{"the name by which a v1 log signs", true, "j", `^v1.*/checkpoint/envelope: line \d+ with a name`, ""},
		{"0.1 and 0.2 in the spelling of 0.3", true, "jp", `mediaType: made application/vnd.dev.sigstore.bundle.v0.[12]\+json`, ""},
		{"two entries of one log", true, "jp", `^v2-twice$`, ""},
		{"unsigned parts of a timestamp", true, "gjp", timestamp + `(bit|element 1\.2\.2\.1\.(2|4)[ .]|element 1\.2\.2\.1\.5\.1\.5 )`, ""},
		{"a timestamp by nobody who is listed, beside a promise", true, "gjp", `^v1.*` + timestamp + `element 1\.2\.2\.1\.5\.1\.2[ .]|^v1 .*fault timestamp-by-namesake$`, ""},
		{"lengths of DER that are longer than need be, outside of what is signed", true, "jp", timestamp + `element .* with a longer length`, ""},
		{"an empty promise, beside a timestamp", true, "jp", `/inclusionPromise: an empty object|/signedEntryTimestamp: (removed|null|an empty string)`, ""},
		{"base64 in lines", true, "g", `base64 with (a line end|CRLF)`, ""},
		{"base64 as protojson has it", true, "jp", `base64 (in|unpadded|cut by 1 character)`, ""},
		{"snake_case, as protojson has it", true, "j", `name in snake_case`, ""},
		{"null, as protojson has it", true, "jp", `: null$`, ""},
		{"numbers and enums as protojson has them", true, "jp", `: (a number|made the number [012])$`, ""},

		// sigbox refuses: form.
		{"unknown members", false, "jp", "", `unknown member`},
		{"members that stand twice", false, "gjp", "", `stands twice`},
		{"loose base64", false, "gjp", "", `not base64`},
		{"loose numbers and texts", false, "gjp", "", `/[a-zA-Z0-9]+: expected an? (integer|string|list|object)|: \d+ bytes, at most`},
		{"JSON that is not UTF-8", false, "j", "", `not valid JSON`},
		{"versions and media types", false, "gj", "", `unsupported version|unknown media type|has no verificationMaterial|which version 0\.\d requires`},
		{"messageDigest of an algorithm that cannot be checked, or of another length", false, "jp", "", `message digest of|unsupported hash algorithm|expected an algorithm and a digest`},
		{"bounds", false, "gjp", "", `more than \d+ elements`},
		{"what stands twice", false, "gj", "", `are the same one`},
		{"an empty certificate behind the first", false, "g", "", `^bundle: an empty certificate`},
		{"a root in the bundle", false, "gjp", "", `is a root, .*: bundles must not bring their own`},

		// sigbox refuses: logs.
		{"the index of a v2 entry", false, "gjp", "", `inclusion proof: index of the proof`},
		{"root hash, size and index of a proof, beside its checkpoint", false, "gj", "",
			`^inclusion proof: the proof does not lead|inclusionProof: expected a root hash and an index|/(rootHash|hashes/\d+): expected 32 bytes`},
		{"size of a proof, beside its checkpoint", false, "gp", "", `^checkpoint: size of the tree`},
		{"kindVersion", false, "g", "", `^log entry: kind of the entry|a log entry has a logId and a kindVersion`},
		{"the body of a v2 entry, which sigstore-go makes itself", false, "g", `^v2.*/canonicalizedBody|^v2.* fault entry`, `^log entry: `},
		{"bodies that a log should not have taken", false, "gjp", ` fault entry-(with-duplicate-member|not-canonical|of-other-algorithm)$`, `^log entry: `},
		{"the certificate of an entry", false, "gj", "", `^log entry: the entry is of another (certificate|key)`},
		{"logs by their ID", false, "p", `/logId`, `^log: entries in logs|/logId/keyId: expected 32 bytes`},
		{"a promise without its time", false, "p", `/integratedTime: `, `^signed entry timestamp: `},
		{"notes by the letter", false, "gjp", `/checkpoint/envelope: `, `^checkpoint`},
		{"a checkpoint's origin", false, "jp", `fault checkpoint-of-other-origin$`, `^checkpoint: origin`},
		{"algorithms that Rekor v2 does not log", false, "j", `^v2-PKIX_`, `signatures cannot be logged`},

		// sigbox refuses: times and certificates.
		{"a bad timestamp beside other evidence of time", false, "gp", `^(v1|v2-twice).*([tT]imestamp|/messageSignature)`, `^timestamp: `},
		{"timestamps by the letter of DER", false, "gjp", timestamp, `^(timestamp|trusted time): `},
		{"timestamps without content", false, "gj", `rfc3161Timestamps`, `^timestamp: TimeStampResp is missing`},
		{"certificates by the letter of DER", false, "j", `rawBytes: `, `^certificate: the certificate does not parse`},
		{"what certificates are for", false, "gjp", ` fault (certificate|issuer)-`,
			`^certificate: (the certificate is (not for code signing|an authority's)|the certificate's key usage|the certificate has a critical extension|the authority's certificate .* is not for code signing)`},
		{"periods of the trust root", false, "p", "", `^(certificate|SCT): the trust root lists the`},
		{"an SCT whose time is none", false, "g", ` fault sct-out-of-range$`, `^SCT: the timestamp \d+ is out of range`},
		{"path lengths", false, "p", "", `^certificate: the authority's certificate .* allows \d+ authorities`},

		// sigbox refuses: statements.
		{"statements, which sigstore-js does not read", false, "j", `[?]| fault (payload|statement)-|/dsseEnvelope`, `^(statement|artifact): `},
		{"statements by the letter", false, "gjp", ` fault statement-`, `^statement: `},
	}
}

// explained finds the class of a difference, "" for none.
func (s *session) explained(q *question, said []verdict) string {
	accepts := said[0].err == nil
	for _, c := range s.classes {
		if c.accepts == accepts && c.has(s.bench, said) && s.matches(c.bundles, q.name) && (accepts || s.matches(c.reason, said[0].err.Error())) {
			return c.name
		}
	}
	return ""
}

// has reports whether those who differ from sigbox are all of the class.
func (c *class) has(judges bench, said []verdict) bool {
	for i, v := range said {
		letter := strings.TrimPrefix(judges[i].name(), "sigstore-")[:1]
		if i > 0 && v.asked && (v.err == nil) != c.accepts && !strings.Contains(c.others, letter) {
			return false
		}
	}
	return true
}

// matches compiles each pattern once.
func (s *session) matches(pattern, text string) bool {
	p := s.patterns[pattern]
	if p == nil {
		p = regexp.MustCompile(pattern)
		s.patterns[pattern] = p
	}
	return p.MatchString(text)
}

// TestClassesAreExplained holds the classes to docs/divergences.md.
func TestClassesAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "divergences.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Verifying\n")
	accepted, refused, _ := strings.Cut(section, "### What sigbox refuses")
	rows := 0
	for _, c := range classes() {
		part := refused
		if c.accepts {
			part = accepted
		}
		if !strings.Contains(part, "\n| "+c.name+" | ") {
			t.Errorf("docs/divergences.md does not explain %q, or in the wrong table", c.name)
		}
		rows++
	}
	if n := strings.Count(section, "\n| ") - 2; n != rows {
		t.Errorf("docs/divergences.md explains %d classes, expected %d", n, rows)
	}
}
