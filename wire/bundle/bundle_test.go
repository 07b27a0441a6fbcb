package bundle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
)

const (
	cert    = `"certificate":{"rawBytes":"AQID"}`
	chain   = `"x509CertificateChain":{"certificates":[{"rawBytes":"AQID"},{"rawBytes":"BAUG"}]}`
	key     = `"publicKey":{"hint":"h"}`
	message = `"messageSignature":{"messageDigest":{"algorithm":"SHA2_256","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},"signature":"c2ln"}`
	dsse    = `"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"c2ln","keyid":""}]}`
	proof   = `"inclusionProof":{"logIndex":"1","rootHash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","treeSize":"2","hashes":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],"checkpoint":{"envelope":"log.example\n2\nAAAA\n\n"}}`
	promise = `"inclusionPromise":{"signedEntryTimestamp":"c2V0"}`
	head    = `"logIndex":"7","logId":{"keyId":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},"kindVersion":{"kind":"hashedrekord","version":"0.0.1"},"integratedTime":"1700000000","canonicalizedBody":"e30="`
)

// doc makes a bundle of a version with verification material and content.
func doc(version, material, content string) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=%s","verificationMaterial":{%s},%s}`, version, material, content)
}

func entries(members ...string) string {
	return `"tlogEntries":[{` + strings.Join(members, ",") + `}]`
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"0.1 with promise":      doc("0.1", chain+","+entries(head, promise), message),
		"0.1 with both":         doc("0.1", chain+","+entries(head, promise, proof), message),
		"0.2":                   doc("0.2", chain+","+entries(head, proof), dsse),
		"0.3":                   doc("0.3", cert+","+entries(head, proof, promise), message),
		"0.3 with key":          doc("0.3", key, dsse),
		"0.3, dotted":           strings.Replace(doc("0.3", cert, message), "+json;version=0.3", ".v0.3+json", 1),
		"0.1, dotted":           strings.Replace(doc("0.1", key, message), "+json;version=0.1", ".v0.1+json", 1),
		"without an entry":      doc("0.3", cert, message),
		"a null promise":        doc("0.3", cert+","+entries(head, proof, `"inclusionPromise":null`), message),
		"snake case":            strings.NewReplacer("mediaType", "media_type", "tlogEntries", "tlog_entries", "rawBytes", "raw_bytes", "logIndex", "log_index").Replace(doc("0.3", cert+","+entries(head, proof), message)),
		"numbers as numbers":    strings.NewReplacer(`"7"`, `7`, `"1700000000"`, `1700000000`).Replace(doc("0.3", cert+","+entries(head, proof), message)),
		"hash by number":        strings.Replace(doc("0.3", cert, message), `"SHA2_256"`, `1`, 1),
		"URL base64, no pad":    strings.Replace(doc("0.3", cert, message), `"c2ln"`, `"_-8"`, 1),
		"no claimed digest":     doc("0.3", cert, `"messageSignature":{"signature":"c2ln"}`),
		"timestamps":            doc("0.3", cert+`,"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]}`, message),
		"an escaped slash":      strings.Replace(doc("0.3", cert, message), `"c2ln"`, `"\/\/\/\/"`, 1),
		"lines of base64":       strings.Replace(doc("0.3", cert, message), `"c2ln"`, `"c2\r\nln\n"`, 1),
		"timestamps, but empty": doc("0.3", cert+`,"timestampVerificationData":{}`, message),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Parse([]byte(in)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := doc("0.3", cert+","+entries(head, proof), message)
	many := strings.Repeat(`{"signedTimestamp":"MAA="},`, MaxTimestamps) + `{"signedTimestamp":"MAA="}`
	for name, c := range map[string]struct{ in, want string }{
		"nothing":               {"", "ends early"},
		"cut":                   {good[:len(good)-1], "ends early"},
		"more behind":           {good + "{}", "more after the end"},
		"a list":                {"[]", "expected an object, found a list"},
		"another JSON":          {`{"hello":1}`, "/hello: unknown member"},
		"version 0.4":           {strings.Replace(good, "0.3", "0.4", 1), "unsupported version"},
		"version 99.9":          {strings.Replace(good, "0.3", "99.9", 1), "unsupported version"},
		"another type":          {strings.Replace(good, "application/vnd.dev.sigstore.bundle", "text/plain", 1), "unknown media type"},
		"no type":               {strings.Replace(good, `"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.3",`, "", 1), "no media type"},
		"no material":           {doc("0.3", entries(head, proof), message), "no verification material"},
		"two materials":         {doc("0.3", cert+","+key, message), "both certificate and publicKey"},
		"chain in 0.3":          {doc("0.3", chain, message), "0.3 has no verificationMaterial.x509CertificateChain"},
		"certificate in 0.2":    {doc("0.2", cert, message), "0.2 has no verificationMaterial.certificate"},
		"an empty chain":        {doc("0.2", `"x509CertificateChain":{"certificates":[]}`, message), "chain is empty"},
		"an empty certificate":  {doc("0.3", `"certificate":{"rawBytes":""}`, message), "empty certificate"},
		"no content":            {strings.Replace(doc("0.3", cert, message), ","+message, "", 1), "no signature"},
		"both contents":         {doc("0.3", cert, message+","+dsse), "both messageSignature and dsseEnvelope"},
		"0.1 without promise":   {doc("0.1", chain+","+entries(head, proof), message), "no inclusion promise"},
		"0.2 without proof":     {doc("0.2", chain+","+entries(head, promise), message), "no inclusion proof"},
		"no checkpoint":         {strings.Replace(good, `,"checkpoint":{"envelope":"log.example\n2\nAAAA\n\n"}`, "", 1), "no checkpoint"},
		"negative index":        {strings.Replace(good, `"7"`, `"-7"`, 1), "tlogEntries/0/logIndex: expected an integer from 0"},
		"an absurd index":       {strings.Replace(good, `"7"`, `"99999999999999999999"`, 1), "expected an integer"},
		"an index in exponents": {strings.Replace(good, `"7"`, `7e0`, 1), "expected an integer"},
		"a time after all":      {strings.Replace(good, "1700000000", "9223372036854775807", 1), "integratedTime"},
		"index past the tree":   {strings.Replace(good, `"treeSize":"2"`, `"treeSize":"1"`, 1), "index 1 and size 1"},
		"repeated":              {strings.Replace(good, `"mediaType"`, `"mediaType":null,"mediaType"`, 1), "stands twice"},
		"repeated in snake":     {strings.Replace(good, `"mediaType"`, `"media_type":"x","mediaType"`, 1), "unknown media type"},
		"unknown":               {strings.Replace(good, `"mediaType"`, `"MediaType":1,"mediaType"`, 1), "unknown member"},
		"space in base64":       {strings.Replace(good, `"c2ln"`, `"c2l n"`, 1), "not base64"},
		"bits left over":        {strings.Replace(good, `"c2ln"`, `"c2l="`, 1), "not base64"},
		"both alphabets":        {strings.Replace(good, `"c2ln"`, `"+-ln"`, 1), "not base64"},
		"invalid UTF-8":         {doc("0.3", "\"publicKey\":{\"hint\":\"\xff\"}", message), "not valid JSON"},
		"an empty signature":    {strings.Replace(good, `"c2ln"`, `""`, 1), "signature is empty"},
		"a digest cut short":    {strings.Replace(doc("0.3", cert, message), `"digest":"AAAA`, `"digest":"`, 1), "message digest of 29 bytes"},
		"SHA3":                  {strings.Replace(good, "SHA2_256", "SHA3_256", 1), "unsupported hash algorithm"},
		"two DSSE signatures":   {strings.Replace(doc("0.3", cert, dsse), `[{"sig"`, `[{"sig":"c2ln"},{"sig"`, 1), "more than 1 elements"},
		"no DSSE signature":     {strings.Replace(doc("0.3", cert, dsse), `{"sig":"c2ln","keyid":""}`, "", 1), "wrong number of signatures: expected 1, found 0"},
		"too many timestamps":   {doc("0.3", cert+`,"timestampVerificationData":{"rfc3161Timestamps":[`+many+`]}`, message), "more than 32 elements"},
		"too long a name":       {`{"` + strings.Repeat("x", 1<<16) + `":1}`, "unknown member"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse([]byte(c.in))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("found %v, expected an error with %q", err, c.want)
			}
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Errorf("kind %v", k)
			}
			if len(err.Error()) > 600 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

// sigstore-go GHSA-cq38-jh5f-37mq: the work must not grow with what a bundle claims.
func TestGHSA_cq38_jh5f_37mq(t *testing.T) {
	t.Parallel()
	one := `{` + head + "," + proof + `}`
	in := doc("0.3", cert+`,"tlogEntries":[`+strings.Repeat(one+",", MaxEntries)+one+`]`, message)
	_, err := Parse([]byte(in))
	if sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many entries", err)
	}
	_, err = Parse(make([]byte, MaxSize+1))
	if sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
}

func TestParseLines(t *testing.T) {
	t.Parallel()
	one := doc("0.3", key, message)
	got, err := ParseLines([]byte("\n" + one + "\r\n\n" + one))
	if err != nil || len(got) != 2 {
		t.Errorf("found %d bundles, %v; expected 2", len(got), err)
	}
	if _, err = ParseLines([]byte(one + "\n{}\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("found %v, expected an error in line 2", err)
	}
	if _, err = ParseLines([]byte("\n\n")); err == nil {
		t.Error("no bundle, no error")
	}
	if _, err = ParseLines([]byte(strings.Repeat(one+"\n", MaxLines+1))); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many", err)
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		doc("0.3", cert+","+entries(head, proof, promise), message),
		doc("0.3", key+`,"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]}`, dsse),
		doc("0.2", chain+","+entries(head, proof), dsse),
	} {
		b, err := Parse([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		out, err := Append(nil, b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		b.MediaType, b.Version = MediaTypeV03, 3
		if len(b.Certificates) > 1 {
			b.Certificates = b.Certificates[:1]
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := Append(nil, &sigbox.Bundle{}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected no signature", err)
	}
}
