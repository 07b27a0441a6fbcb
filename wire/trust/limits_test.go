package trust

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
)

// member puts hostile values where value stands in a document, and fills lists of it
// up to what is read.
func member(name, doc, value string) []hostile.Input {
	before, after, ok := strings.Cut(doc, value)
	if !ok {
		panic(doc + " has no " + value)
	}
	inputs := hostile.Member(name, before+"@"+after)
	if element, ok := strings.CutPrefix(value, "["); ok {
		element = strings.TrimSuffix(element, "]")
		inputs = append(inputs,
			hostile.Fill(name+": again and again", before+"[", element+",", element+"]"+after),
			hostile.FillTo(name+": again and again, to what is read", MaxSize, before+"[", element+",", element+"]"+after))
	}
	return inputs
}

const (
	hostileLog       = `{"baseUrl":"https://log.example","hashAlgorithm":"SHA2_256","publicKey":{"rawBytes":"AQID","keyDetails":"PKIX_ED25519","validFor":{"start":"2026-01-01T00:00:00Z"}},"logId":{"keyId":"AQID"}}`
	hostileAuthority = `{"subject":{"organization":"example","commonName":"ca"},"uri":"https://ca.example","certChain":{"certificates":[{"rawBytes":"AQID"}]},"validFor":{}}`
	hostileRoot      = `{"mediaType":"` + MediaTypeRootV01 + `","tlogs":[` + hostileLog + `],"certificateAuthorities":[` + hostileAuthority + `]}`
	hostileConfig    = `{"mediaType":"` + MediaTypeSigningConfigV02 + `","caUrls":[{"url":"https://ca.example","majorApiVersion":1}],"rekorTlogConfig":{"selector":"ANY"}}`
)

func hostileRoots() []hostile.Input {
	least := `{"mediaType":"` + MediaTypeRootV01 + `"}`
	return append(slices.Concat(hostile.JSON(),
		member("logs", hostileRoot, "["+hostileLog+"]"),
		member("authorities", hostileRoot, "["+hostileAuthority+"]"),
		member("certificates", hostileRoot, `[{"rawBytes":"AQID"}]`),
		member("base URL", hostileRoot, `"https://log.example"`),
		member("key", hostileRoot, `"AQID"`),
		member("details", hostileRoot, `"PKIX_ED25519"`),
		member("time", hostileRoot, `"2026-01-01T00:00:00Z"`),
	),
		hostile.Fill("lines", "", least+"\n", ""),
		hostile.FillTo("lines to what is read", MaxSize, "", least+"\n", ""),
		hostile.FillTo("empty lines", MaxSize, "", "\n", ""),
		hostile.FillTo("empty lines before and behind", MaxSize, least+"\n", "\n", least),
		hostile.FillTo("space", MaxSize, "", " ", ""),
		hostile.FillTo("a root and lines of another kind", MaxSize, least+"\n", "{}\n", ""),
		hostile.FillTo("a certificate as long as the file", MaxSize, `{"certificateAuthorities":[{"certChain":{"certificates":[{"rawBytes":"`, "AAAA", `"}]}}]}`),
	)
}

func parseRoots(b []byte) error {
	_, err := ParseRoots(b)
	return err
}

func parseSigningConfig(b []byte) error {
	_, err := ParseSigningConfig(b)
	return err
}

func hostileConfigs() []hostile.Input {
	return slices.Concat(hostile.JSON(),
		member("services", hostileConfig, `[{"url":"https://ca.example","majorApiVersion":1}]`),
		member("URL", hostileConfig, `"https://ca.example"`),
		member("selector", hostileConfig, `"ANY"`))
}

func TestRootLimits(t *testing.T) { hostile.Test(t, parseRoots, hostileRoots()...) }

func TestConfigLimits(t *testing.T) { hostile.Test(t, parseSigningConfig, hostileConfigs()...) }

func BenchmarkHostileRoots(b *testing.B) { hostile.Benchmark(b, parseRoots, hostileRoots()...) }

func BenchmarkHostileConfigs(b *testing.B) {
	hostile.Benchmark(b, parseSigningConfig, hostileConfigs()...)
}
