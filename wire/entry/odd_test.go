package entry_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// TestNothingSaid: bodies and entries that say something without saying it.
func TestNothingSaid(t *testing.T) {
	good := bodies()
	replace := func(kind, from, to string) string {
		if !strings.Contains(good[kind], from) {
			t.Fatalf("no %s in %s", from, good[kind])
		}
		return strings.Replace(good[kind], from, to, 1)
	}
	pem := func(text string) string { return replace("hashedrekord 0.0.1", pemKey, b64([]byte(text))) }
	both := `"publicKey":{"rawBytes":"` + b64(bodyKey) + `"}`
	for name, c := range map[string]struct{ body, says string }{
		"a hash of no algorithm":     {replace("dsse 0.0.1", hexHash, `{"algorithm":"unknown","value":""}`), "expected sha256"},
		"the same in v2":             {replace("dsse 0.0.2", protoSum, `{"algorithm":"SHA3_256","digest":""}`), "expected SHA2_256"},
		"a hash's name for none":     {replace("dsse 0.0.2", protoSum, `{"algorithm":"HASH_ALGORITHM_UNSPECIFIED","digest":""}`), "at most 16"},
		"v1's name of a hash in v2":  {replace("dsse 0.0.2", `"SHA2_256"`, `"sha256"`), "expected SHA2_256"},
		"no version":                 {`{"kind":"hashedrekord","spec":{}}`, "before spec"},
		"no kind":                    {`{"apiVersion":"0.0.1","spec":{}}`, "before spec"},
		"PEM with headers":           {pem("-----BEGIN PUBLIC KEY-----\nProc-Type: 4\n\nAQID\n-----END PUBLIC KEY-----\n"), "without headers"},
		"PEM of nothing":             {pem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"), "expected PEM"},
		"a certificate and then key": {pem(string(pemOf("CERTIFICATE", bodyCert)) + string(pemOf("PUBLIC KEY", bodyKey))), "expected PEM"},
		"key and certificate":        {replace("hashedrekord 0.0.2", `"x509Certificate"`, both+`,"x509Certificate"`), "not both"},
		"certificate and key":        {replace("hashedrekord 0.0.2", `"verifier":{`, `"verifier":{"x509Certificate":{"rawBytes":"`+b64(bodyCert)+`"},`+both+`,`), "not both"},
		"a number of no algorithm":   {replace("dsse 0.0.2", `"PKIX_ECDSA_P256_SHA_256"`, `6`), "not an algorithm"},
		"a number past all":          {replace("dsse 0.0.2", `"PKIX_ECDSA_P256_SHA_256"`, `261`), "not an algorithm"},
		"a signature of nothing":     {replace("intoto 0.0.2", b64([]byte(b64(bodySig))), ""), "lacks a signature"},
		"a signature, not twice":     {replace("intoto 0.0.2", b64([]byte(b64(bodySig))), b64([]byte("!"))), "base64 of base64"},
	} {
		_, err := entry.ParseBody([]byte(c.body))
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid && sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: found %v, expected %q", name, err, c.says)
		}
	}
	id := b64(bodyHash.Value)
	logged := `{"logIndex":"7","logId":{"keyId":"` + id + `"},"kindVersion":{"kind":"dsse","version":"0.0.1"},"canonicalizedBody":"e30="}`
	if _, err := entry.ParseLogEntry([]byte(logged)); err != nil {
		t.Error(err)
	}
	if _, err := entry.ParseLogEntry(make([]byte, entry.MaxLogEntrySize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
	for name, from := range map[string]string{"no log ID": `"keyId":"` + id + `"`, "no logId": `"logId":{"keyId":"` + id + `"},`, "no kind": `"kind":"dsse",`, "no version": `,"version":"0.0.1"`, "no kindVersion": `"kindVersion":{"kind":"dsse","version":"0.0.1"},`} {
		if _, err := entry.ParseLogEntry([]byte(strings.Replace(logged, from, "", 1))); sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "has a logId and a kindVersion") {
			t.Errorf("%s: found %v", name, err)
		}
	}
}

// TestLeafRefuses: no leaf is made of what no log would take.
func TestLeafRefuses(t *testing.T) {
	good := sigbox.Entry{Digest: bodyHash, Signature: bodySig, Certificate: bodyCert, Details: sigbox.ECDSAP256SHA256}
	if _, err := entry.Leaf(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(e *sigbox.Entry){
		"no digest":        func(e *sigbox.Entry) { e.Digest = sigbox.Digest{} },
		"a digest, cut":    func(e *sigbox.Entry) { e.Digest.Value = e.Digest.Value[1:] },
		"no signature":     func(e *sigbox.Entry) { e.Signature = nil },
		"no verifier":      func(e *sigbox.Entry) { e.Certificate = nil },
		"two verifiers":    func(e *sigbox.Entry) { e.PublicKey = bodyKey },
		"no algorithm":     func(e *sigbox.Entry) { e.Details = 0 },
		"a certificate":    func(e *sigbox.Entry) { e.Certificate = make([]byte, entry.MaxLeafSize) },
		"nearly too large": func(e *sigbox.Entry) { e.Certificate = make([]byte, entry.MaxLeafSize*3/4-200) },
	} {
		e := good
		change(&e)
		if leaf, err := entry.Leaf(e); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v, a leaf of %d bytes", name, err, len(leaf))
		}
	}
}
