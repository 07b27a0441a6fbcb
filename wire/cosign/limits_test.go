package cosign_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/cosign"
)

func parseBundle(b []byte) error {
	if !cosign.IsBundle(b) {
		return nil
	}
	_, err := cosign.ParseBundle(b)
	return err
}

// hostileBundles are large at every place of a bundle, and at those in front of it
// by which it is known.
func hostileBundles(tb testing.TB) []hostile.Input {
	doc := strings.Replace(string(read(tb, "v2.bundle")), `"SignedEntryTimestamp":null`, `"SignedEntryTimestamp":"c2V0"`, 1)
	at := func(name string) []hostile.Input {
		before, after, ok := strings.Cut(doc, `"`+name+`":"`)
		_, after, ok2 := strings.Cut(after, `"`)
		if !ok || !ok2 {
			tb.Fatalf("%s: not in %s", name, doc)
		}
		return hostile.Member(name, before+`"`+name+`":@`+after)
	}
	envelope := `{"payloadType":"application/vnd.in-toto+json","payload":"` + strings.Repeat("AAAA", 2<<20) + `","signatures":[{"sig":"c2ln"}]}`
	return append(slices.Concat(hostile.JSON(), at("base64Signature"), at("cert"), at("SignedEntryTimestamp"), at("body"), at("logID"),
		hostile.Member("before", `{"x":@,"base64Signature":"c2ln"}`)),
		hostile.Input{Name: "a large envelope", Make: func() []byte {
			return []byte(`{"base64Signature":"` + base64.StdEncoding.EncodeToString([]byte(envelope)) + `"}`)
		}},
	)
}

func TestLimits(t *testing.T) { hostile.Test(t, parseBundle, hostileBundles(t)...) }

func BenchmarkHostile(b *testing.B) { hostile.Benchmark(b, parseBundle, hostileBundles(b)...) }

// detached makes readers of a file each, beside others that are right.
func detached(tb testing.TB) map[string]func([]byte) error {
	good := cosign.Detached{Signature: read(tb, "cert.sig"), Certificate: read(tb, "cert.pem"), Timestamp: read(tb, "cert.tsr.json")}
	with := func(set func(d *cosign.Detached, file []byte)) func([]byte) error {
		return func(file []byte) error {
			d := good
			set(&d, file)
			_, err := cosign.FromDetached(d)
			return err
		}
	}
	return map[string]func([]byte) error{
		"signature":   with(func(d *cosign.Detached, file []byte) { d.Signature = file; cosign.Envelope(file) }),
		"certificate": with(func(d *cosign.Detached, file []byte) { d.Certificate = file }),
		"timestamp":   with(func(d *cosign.Detached, file []byte) { d.Timestamp = file }),
		"promise":     with(func(d *cosign.Detached, file []byte) { d.Rekor = file }),
	}
}

// hostileFiles are for any of them.
func hostileFiles() []hostile.Input {
	const begin, end = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"
	inputs := slices.Concat(hostile.JSON(), hostile.Member("payload", `{"payloadType":"t","payload":@,"signatures":[{"sig":"c2ln"}]}`))
	for _, size := range []int{hostile.Size, 256 << 10} {
		fill := func(name, head, unit, tail string) {
			inputs = append(inputs, hostile.FillTo(name, size, head, unit, tail))
		}
		fill("base64", "", "AAAA", "")
		fill("base64 in short lines", "", "AAAA\n", "")
		fill("line ends", "", "\r\n", "AAAA")
		fill("PEM headers", begin, "#:\n", "\nAAAA\n"+end)
		fill("PEM without content", "", begin+end, "")
		fill("PEM without end", "", begin, "")
		fill("small PEM", "", begin+"AAAA\n"+end, "")
		fill("bytes", "\x30", "\xff", "")
	}
	return append(inputs, hostile.DER(64<<10)...)
}

func TestFileLimits(t *testing.T) {
	for name, parse := range detached(t) {
		t.Run(name, func(t *testing.T) { hostile.Test(t, parse, hostileFiles()...) })
	}
}

func BenchmarkHostileFile(b *testing.B) {
	for name, parse := range detached(b) {
		b.Run(name, func(b *testing.B) { hostile.Benchmark(b, parse, hostileFiles()...) })
	}
}

func parsePayload(b []byte) error {
	_, err := cosign.ParsePayload(b)
	return err
}

// TestLimitsOfPayloads: a payload is small, as a whole and in what a signer added.
func TestLimitsOfPayloads(t *testing.T) {
	inputs := append(hostile.JSON(), hostile.Member("optional", strings.Replace(payload, `{"a":"b"}`, "@", 1))...)
	hostile.Test(t, parsePayload, append(inputs,
		hostile.FillTo("many names", 256<<10, strings.Replace(payload, `"a":"b"}}`, "", 1), `"#":0,`, `"":0}}`))...)
}
