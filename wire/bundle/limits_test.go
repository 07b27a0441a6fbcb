package bundle

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
)

// hostileInputs are up to 16 MB each, at every place of a bundle that can be long.
func hostileInputs() []hostile.Input {
	full := doc("0.2", chain+`,"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]},`+entries(head, proof, promise), dsse)
	at := func(name, value string) []hostile.Input {
		before, after, ok := strings.Cut(full, `"`+name+`":`+value)
		if !ok {
			panic(name)
		}
		return hostile.Member(name, before+`"`+name+`":@`+after)
	}
	list := func(name, list string) hostile.Input {
		before, after, _ := strings.Cut(full, list)
		one := strings.TrimSuffix(strings.TrimPrefix(list, "["), "]")
		return hostile.Fill(name, before+"[", one+",", one+"]"+after)
	}
	inputs := slices.Concat(hostile.JSON(),
		at("mediaType", `"application/vnd.dev.sigstore.bundle+json;version=0.2"`),
		at("payload", `"e30="`),
		at("payloadType", `"application/vnd.in-toto+json"`),
		at("sig", `"c2ln"`),
		at("rawBytes", `"AQID"`),
		at("signedTimestamp", `"MAA="`),
		at("canonicalizedBody", `"e30="`),
		at("envelope", `"log.example\n2\nAAAA\n\n"`),
		at("logIndex", `"7"`),
		at("tlogEntries", `[{`+head+","+proof+","+promise+`}]`),
	)
	return append(inputs,
		list("certificates", `[{"rawBytes":"AQID"},{"rawBytes":"BAUG"}]`),
		list("timestamps", `[{"signedTimestamp":"MAA="}]`),
		list("log entries", `[{`+head+","+proof+","+promise+`}]`),
		list("signatures", `[{"sig":"c2ln","keyid":""}]`),
		list("proof", `["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]`),
		hostile.Input{Name: "entries as large as they may be", Make: func() []byte {
			body := strings.Repeat("AAAA", (hostile.Size/4-4096)/MaxEntries)
			one := "{" + strings.Replace(head, "e30=", body, 1) + "," + proof + "}"
			return []byte(doc("0.2", chain+`,"tlogEntries":[`+strings.Repeat(one+",", MaxEntries-1)+one+"]", message))
		}},
	)
}

func parse(b []byte) error {
	_, err := Parse(b)
	return err
}

func parseLines(b []byte) error {
	_, err := ParseLines(b)
	return err
}

func TestLimits(t *testing.T) { hostile.Test(t, parse, hostileInputs()...) }

func BenchmarkHostile(b *testing.B) { hostile.Benchmark(b, parse, hostileInputs()...) }

func hostileLines() []hostile.Input {
	small := doc("0.3", key, message)
	return []hostile.Input{
		hostile.Fill("empty lines", "", "\n", ""),
		hostile.Fill("lines of space", "", " \t \n", ""),
		hostile.Fill("one long line of space", "", " ", ""),
		hostile.Fill("small bundles", "", small+"\n", ""),
		hostile.Fill("small bundles between empty lines", "", small+strings.Repeat("\n", 1<<14), ""),
		hostile.Fill("bundles without a line end", "", small, ""),
		hostile.FillTo("the most bundles", (MaxLines-1)*(len(small)+1), "", small+"\n", ""),
	}
}

func TestLineLimits(t *testing.T) { hostile.Test(t, parseLines, hostileLines()...) }

func BenchmarkHostileLines(b *testing.B) { hostile.Benchmark(b, parseLines, hostileLines()...) }
