package entry_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/entry"
)

// at puts hostile values where value stands in a document.
func at(name, doc, value string) []hostile.Input {
	before, after, ok := strings.Cut(doc, value)
	if !ok {
		panic(doc + " has no " + value)
	}
	return hostile.Member(name, before+"@"+after)
}

// hostileBodies has something at every place of every kind that can be long.
func hostileBodies() []hostile.Input {
	const hash = `{"algorithm":"sha256","value":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`
	const (
		hashedRekord = `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":` + hash + `},"signature":{"content":"c2ln","publicKey":{"content":"a2V5"}}}}`
		dsse         = `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":` + hash + `,"payloadHash":` + hash + `,"signatures":[{"signature":"c2ln","verifier":"a2V5"}]}}`
		inToto       = `{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payload":"cGF5","payloadType":"TYPE","signatures":[{"keyid":"ID","publicKey":"a2V5","sig":"c2ln"}]},"hash":` + hash + `,"payloadHash":` + hash + `}}}`
		v2           = `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},"signature":{"content":"c2ln","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"a2V5"}}}}}}`
	)
	inputs := slices.Concat(hostile.JSON(),
		at("kind", hashedRekord, `"hashedrekord"`), at("hash", hashedRekord, hash), at("hash value", hashedRekord, hash[len(hash)-67:len(hash)-1]),
		at("signature", hashedRekord, `"c2ln"`), at("key", hashedRekord, `"a2V5"`), at("signatures", dsse, `[{"signature":"c2ln","verifier":"a2V5"}]`),
		at("payload", inToto, `"cGF5"`), at("type", inToto, `"TYPE"`), at("signature in base64 twice", inToto, `"c2ln"`),
		at("digest", v2, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`), at("v2 key", v2, `"a2V5"`), at("details", v2, `"PKIX_ECDSA_P256_SHA_256"`),
		pems(hashedRekord, hostile.Size),
	)
	return append(inputs,
		hostile.Fill("signatures", strings.TrimSuffix(dsse, `]}}`), `,{"signature":"AA==","verifier":"AA=="}`, `]}}`),
		hostile.Input{Name: "base64 of base64", Make: func() []byte {
			twice := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("AAAA", 9*hostile.Size/4/16-1024)))
			return []byte(strings.Replace(inToto, "c2ln", twice, 1))
		}},
	)
}

// pems are keys in PEM, base64 again, in place of the key, in a document of at most
// limit bytes.
func pems(doc string, limit int) []hostile.Input {
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
	wrap := func(in hostile.Input) hostile.Input {
		return hostile.Input{Name: "PEM: " + in.Name, Make: func() []byte {
			return []byte(strings.Replace(doc, "a2V5", base64.StdEncoding.EncodeToString(in.Make()), 1))
		}}
	}
	size := 3*limit/4 - 4096
	fill := func(name, head, unit, tail string) hostile.Input {
		return wrap(hostile.FillTo(name, size, head, unit, tail))
	}
	return []hostile.Input{
		fill("headers", begin, "#:\n", "\nAAAA\n"+end),
		fill("headers with values", begin, "#: #\n", "\nAAAA\n"+end),
		fill("one long header", begin+"a: ", "b", "\n\nAAAA\n"+end),
		fill("begins without end", "", begin, ""),
		fill("begins and ends without content", "", begin+end, ""),
		fill("ends alone", "", end, ""),
		fill("dashes", "", "-", ""),
		fill("begin of dashes", "-----BEGIN ", "-", "\n"),
		fill("a long type", "-----BEGIN ", "A", "-----\n"),
		fill("line ends", "", "\n", ""),
		fill("a large certificate", begin, strings.Repeat("A", 64)+"\n", end),
		fill("a large certificate in short lines", begin, "A\n", end),
		fill("certificates", "", begin+"AAAA\n"+end, ""),
		fill("text before", "", "text\n", begin+"AAAA\n"+end),
	}
}

func parseBody(b []byte) error {
	_, err := entry.ParseBody(b)
	return err
}

func TestBodyLimits(t *testing.T) { hostile.Test(t, parseBody, hostileBodies()...) }

func BenchmarkHostileBody(b *testing.B) { hostile.Benchmark(b, parseBody, hostileBodies()...) }

func hostileLogEntries() []hostile.Input {
	doc := string(entry.AppendLogEntry(nil, &sigbox.LogEntry{
		LogIndex: 7, LogID: make([]byte, 32), Kind: "KIND", Version: "VERSION", Body: []byte("body"), SignedEntryTimestamp: []byte("promise"),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: make([]byte, 32), Hashes: [][]byte{make([]byte, 32)}, Checkpoint: "CHECKPOINT"},
	}))
	hash := `"` + base64.StdEncoding.EncodeToString(make([]byte, 32)) + `"`
	large := slices.Concat(hostile.JSON(), at("index", doc, `"7"`), at("log ID", doc, hash), at("kind", doc, `"KIND"`),
		at("promise", doc, `"cHJvbWlzZQ=="`), at("hashes", doc, "["+hash+"]"), at("checkpoint", doc, `"CHECKPOINT"`), at("body", doc, `"Ym9keQ=="`))
	before, after, _ := strings.Cut(doc, `"Ym9keQ=="`)
	return append(large,
		hostile.FillTo("the largest body", entry.MaxLogEntrySize, before+`"`, "AAAA", `"`+after),
		hostile.FillTo("the largest body, of escapes", entry.MaxLogEntrySize, before+`"`, `\u0041\u0041\u0041\u0041`, `"`+after),
	)
}

func parseLogEntry(b []byte) error {
	_, err := entry.ParseLogEntry(b)
	return err
}

func TestLogEntryLimits(t *testing.T) { hostile.Test(t, parseLogEntry, hostileLogEntries()...) }

func BenchmarkHostileLogEntry(b *testing.B) {
	hostile.Benchmark(b, parseLogEntry, hostileLogEntries()...)
}

func hostileRequests() []hostile.Input {
	const (
		message = `{"hashedRekordRequestV002":{"digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signature":{"content":"c2ln","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{"rawBytes":"a2V5"}}}}}`
		dsse    = `{"dsseRequestV002":{"envelope":{"payload":"cGF5","payloadType":"TYPE","signatures":[{"sig":"c2ln","keyid":""}]},"verifiers":[{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{"rawBytes":"a2V5"}}]}}`
	)
	large := slices.Concat(hostile.JSON(), at("digest", message, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`), at("payload", dsse, `"cGF5"`), at("signatures", dsse, `[{"sig":"c2ln","keyid":""}]`))
	before, after, _ := strings.Cut(dsse, "cGF5")
	beforeKey, afterKey, _ := strings.Cut(message, "a2V5")
	return append(large,
		hostile.FillTo("the largest payload", entry.MaxRequestSize, before, "AAAA", after),
		hostile.FillTo("the largest payload, of escapes", entry.MaxRequestSize, before, `\u0041\u0041\u0041\u0041`, after),
		hostile.FillTo("the largest certificate", entry.MaxRequestSize, beforeKey, "AAAA", afterKey),
	)
}

// parseRequest is all that a log does with a request before it is logged.
func parseRequest(b []byte) error {
	e, err := entry.ParseRequest(b)
	if err != nil {
		return err
	}
	if err := entry.Verify(e); err != nil {
		return err
	}
	_, err = entry.Leaf(e)
	return err
}

func TestRequestLimits(t *testing.T) { hostile.Test(t, parseRequest, hostileRequests()...) }

func BenchmarkHostileRequest(b *testing.B) { hostile.Benchmark(b, parseRequest, hostileRequests()...) }

// hostileProposals has something at every place of every kind that can be long.
func hostileProposals(tb testing.TB) []hostile.Input {
	const (
		hash     = `{"algorithm":"sha256","value":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`
		rekord   = `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":` + hash + `},"signature":{"content":"c2ln","publicKey":{"content":"a2V5"}}}}`
		dsse     = `{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"TEXT","verifiers":["a2V5"]}}}`
		envelope = `{\"payload\":\"cGF5\",\"payloadType\":\"TYPE\",\"signatures\":[{\"sig\":\"c2ln\",\"keyid\":\"ID\"}]}`
		inToto   = `{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payload":"Y0E9PQ==","payloadType":"TYPE","signatures":[{"keyid":"ID","publicKey":"a2V5","sig":"YzJsbg=="}]},"hash":` + hash + `}}}`
		stamp    = `{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":"MAA="}}}`
	)
	whole := strings.Replace(dsse, "TEXT", envelope, 1)
	inputs := slices.Concat(pems(rekord, entry.MaxProposalSize), pems(whole, entry.MaxProposalSize), pems(inToto, entry.MaxProposalSize))
	key := b64(keyPEM(tb, newKey(tb, sigbox.ECDSAP256SHA256)))
	for _, part := range []struct{ name, doc, value, unit string }{
		{"the largest payload", whole, "cGF5", "AAAA"}, {"the largest payload, of escapes", whole, "cGF5", `\u0041\u0041\u0041\u0041`},
		{"the largest payload in base64 twice", inToto, "Y0E9PQ==", "QUFB"}, {"the largest type", whole, "TYPE", "A"}, {"the largest text of escapes", dsse, "TEXT", `\u0020`},
		{"a wide text", dsse, "TEXT", "[],"}, {"lists in the text", dsse, "TEXT", `{\"signatures\":[`}, {"the deepest text", dsse, "TEXT", "["}, {"the largest signature", whole, "c2ln", "AAAA"},
		{"signatures", inToto, `{"keyid":"ID"`, `{"sig":"AA==","publicKey":"AA=="},`}, {"verifiers", whole, `"a2V5"`, `"AA==",`}, {"a deep spec", stamp, `{"tsr"`, "["},
		{"a wide spec", stamp, `{"tsr":{`, `"a":{},`}, {"space in the spec", stamp, `MAA=`, " "}, {"the largest timestamp", stamp, "MAA=", "AAAA"}, {"the largest kind", rekord, "hashedrekord", "A"},
		{"the largest hash", rekord, "e3b0c4", "0"}, {"the largest key ID", inToto, `ID`, "A"}, {"a tower of base64", inToto, "YzJsbg==", "QUFB"},
	} {
		before, after, _ := strings.Cut(strings.Replace(part.doc, "a2V5", key, 1), part.value)
		inputs = append(inputs, hostile.FillTo(part.name, entry.MaxProposalSize, before, part.unit, after))
	}
	return inputs
}

// parseProposal is all that a log does with a proposal before it is logged.
func parseProposal(b []byte) error {
	p, err := entry.ParseProposal(b)
	if err != nil {
		return err
	}
	return p.Verify()
}

func TestProposalLimits(t *testing.T) { hostile.Test(t, parseProposal, hostileProposals(t)...) }

func BenchmarkHostileProposal(b *testing.B) {
	hostile.Benchmark(b, parseProposal, hostileProposals(b)...)
}

func TestQueryLimits(t *testing.T) {
	var inputs []hostile.Input
	for name, doc := range map[string][3]string{
		"IDs": {`{"entryUUIDs":[`, `"00",`, `"00"]}`}, "a long ID": {`{"entryUUIDs":["`, "00", `"]}`}, "indexes": {`{"logIndexes":[`, "7,", "7]}"}, "a long index": {`{"logIndexes":[`, "7", "]}"},
		"entries": {`{"entries":[`, "{},", "{}]}"}, "deep entries": {`{"entries":[`, `{"spec":`, "]}"}, "a wide entry": {`{"entries":[{"spec":{`, `"a":1,`, `"b":1}}]}`},
	} {
		inputs = append(inputs, hostile.FillTo(name, entry.MaxProposalSize, doc[0], doc[1], doc[2]))
	}
	hostile.Test(t, func(b []byte) error { _, err := entry.ParseQuery(b); return err }, inputs...)
}
