package entry_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// The parts that the bodies below are made of.
var (
	bodyHash = sigbox.SHA256.Sum([]byte("artifact"))
	bodySig  = []byte{0x30, 0x06, 2, 1, 1, 2, 1, 1}
	bodyKey  = []byte("a public key")
	bodyCert = []byte("a certificate")
	hexHash  = `{"algorithm":"sha256","value":"` + bodyHash.Hex() + `"}`
	protoSum = `{"algorithm":"SHA2_256","digest":"` + b64(bodyHash.Value) + `"}`
	protoSig = `{"content":"` + b64(bodySig) + `","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{"rawBytes":"` + b64(bodyCert) + `"}}}`
	pemKey   = b64(pemOf("PUBLIC KEY", bodyKey))
	pemCert  = b64(pemOf("CERTIFICATE", bodyCert))
)

func body(kind, version, spec string) string {
	return `{"apiVersion":"` + version + `","kind":"` + kind + `","spec":` + spec + `}`
}

// bodies are one of each kind that is read.
func bodies() map[string]string {
	return map[string]string{
		"hashedrekord 0.0.1": body("hashedrekord", "0.0.1", `{"data":{"hash":`+hexHash+`},"signature":{"content":"`+b64(bodySig)+`","publicKey":{"content":"`+pemKey+`"}}}`),
		"hashedrekord 0.0.2": body("hashedrekord", "0.0.2", `{"hashedRekordV002":{"data":`+protoSum+`,"signature":`+protoSig+`}}`),
		"dsse 0.0.1":         body("dsse", "0.0.1", `{"envelopeHash":`+hexHash+`,"payloadHash":`+hexHash+`,"signatures":[{"signature":"`+b64(bodySig)+`","verifier":"`+pemCert+`"}]}`),
		"dsse 0.0.2":         body("dsse", "0.0.2", `{"dsseV002":{"payloadHash":`+protoSum+`,"signatures":[`+protoSig+`]}}`),
		"intoto 0.0.1":       body("intoto", "0.0.1", `{"content":{"hash":`+hexHash+`,"payloadHash":`+hexHash+`},"publicKey":"`+pemKey+`"}`),
		"rfc3161 0.0.1":      body("rfc3161", "0.0.1", `{"tsr":{"content":"MAA="}}`),
		"intoto 0.0.2": body("intoto", "0.0.2", `{"content":{"envelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"k","publicKey":"`+pemCert+`","sig":"`+
			b64([]byte(b64(bodySig)))+`"}]},"hash":`+hexHash+`,"payloadHash":`+hexHash+`}}`),
	}
}

func TestParseBody(t *testing.T) {
	byKey := []entry.BodySignature{{Signature: bodySig, PublicKey: bodyKey}}
	byCert := []entry.BodySignature{{Signature: bodySig, Certificate: bodyCert}}
	v2 := []entry.BodySignature{{Signature: bodySig, Certificate: bodyCert, Details: sigbox.ECDSAP256SHA256}}
	want := map[string]*entry.Body{
		"hashedrekord 0.0.1": {Digest: bodyHash, Signatures: byKey},
		"hashedrekord 0.0.2": {Digest: bodyHash, Signatures: v2},
		"dsse 0.0.1":         {EnvelopeDigest: bodyHash, PayloadDigest: bodyHash, Signatures: byCert},
		"rfc3161 0.0.1":      {Timestamp: []byte{0x30, 0}},
		"dsse 0.0.2":         {PayloadDigest: bodyHash, Signatures: v2},
		"intoto 0.0.1":       {EnvelopeDigest: bodyHash, PayloadDigest: bodyHash, Signatures: []entry.BodySignature{{PublicKey: bodyKey}}},
		"intoto 0.0.2":       {EnvelopeDigest: bodyHash, PayloadDigest: bodyHash, PayloadType: "application/vnd.in-toto+json", Signatures: byCert},
	}
	for name, text := range bodies() {
		t.Run(name, func(t *testing.T) {
			got, err := entry.ParseBody([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want[name].Kind, want[name].Version, _ = strings.Cut(name, " ")
			same(t, want[name], got)
		})
	}
}

// TestParseBodyOdd feeds the odd entries that made Rekor panic (rekor
// GHSA-frqx-jfcm-6jjr, GHSA-273p-m2cw-6833), and others of their sort: members
// missing, null or empty, at every place of every kind.
func TestParseBodyOdd(t *testing.T) {
	for name, text := range bodies() {
		t.Run(name, func(t *testing.T) {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatal(err)
			}
			odd := 0
			mutate(v, func() {
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := entry.ParseBody(b); err == nil {
					usable(t, got)
				}
				odd++
			})
			if odd < 40 {
				t.Errorf("only %d odd bodies were tried", odd)
			}
		})
	}
}

// mutate puts odd values in place of each part of v in turn and calls try.
func mutate(v any, try func()) {
	odd := []any{nil, map[string]any{}, []any{}, "", "AAAA", 1.0, true, []any{nil}, map[string]any{"content": nil}}
	switch v := v.(type) {
	case map[string]any:
		for k, old := range v {
			for _, o := range odd {
				v[k] = o
				try()
			}
			delete(v, k)
			try()
			v[k] = old
			mutate(old, try)
		}
	case []any:
		for i, old := range v {
			for _, o := range odd {
				v[i] = o
				try()
			}
			v[i] = old
			mutate(old, try)
		}
	}
}

// usable checks what ParseBody promises of a body.
func usable(t *testing.T, b *entry.Body) {
	t.Helper()
	if b.Kind == entry.KindRFC3161 {
		if len(b.Timestamp) == 0 {
			t.Fatal("no timestamp")
		}
		return
	}
	if len(b.Signatures) == 0 {
		t.Fatal("no signatures")
	}
	for _, s := range b.Signatures {
		if (s.PublicKey == nil) == (s.Certificate == nil) {
			t.Fatalf("expected a key or a certificate: %+v", s)
		}
		if len(s.Signature) == 0 && b.Kind+b.Version != "intoto0.0.1" {
			t.Fatal("no signature")
		}
	}
	bound := b.Digest
	switch b.Kind {
	case entry.KindDSSE:
		bound = b.PayloadDigest
	case entry.KindInToto:
		bound = b.EnvelopeDigest
	}
	if !bound.Valid() {
		t.Fatalf("%s %s: no digest", b.Kind, b.Version)
	}
}

func TestParseBodyRefused(t *testing.T) {
	good := bodies()
	v1 := good["hashedrekord 0.0.1"]
	key := func(pem []byte) string { return strings.Replace(v1, pemKey, b64(pem), 1) }
	for name, test := range map[string]struct{ body, says string }{
		"empty":              {"", "ends early"},
		"no spec":            {`{"apiVersion":"0.0.1","kind":"hashedrekord"}`, "lacks"},
		"unknown kind":       {body("rekord", "0.0.1", "{}"), "expected hashedrekord"},
		"unknown version":    {body("hashedrekord", "0.0.3", "{}"), "expected hashedrekord"},
		"spec first":         {`{"spec":{},"apiVersion":"0.0.1","kind":"hashedrekord"}`, "before spec"},
		"unknown member":     {strings.Replace(v1, `"data":{`, `"data":{"x":1,`, 1), "unknown member"},
		"other schema":       {strings.Replace(v1, `0.0.1`, `0.0.2`, 1), "unknown member"},
		"upper-case hex":     {strings.Replace(v1, bodyHash.Hex(), strings.ToUpper(bodyHash.Hex()), 1), "lower-case hex"},
		"short hex":          {strings.Replace(v1, bodyHash.Hex(), "00", 1), "64"},
		"weak hash":          {strings.Replace(v1, "sha256", "sha1", 1), "sha1"},
		"hash in other form": {strings.Replace(v1, "sha256", "SHA2_256", 1), "SHA2_256"},
		"not PEM":            {key([]byte("key")), "PEM"},
		"empty PEM":          {key(nil), "lacks"},
		"private key":        {key(pemOf("PRIVATE KEY", bodyKey)), "PRIVATE KEY"},
		"two keys":           {key(append(pemOf("PUBLIC KEY", bodyKey), pemOf("PUBLIC KEY", bodyKey)...)), "expected PEM"},
		"key, certificate":   {key(append(pemOf("PUBLIC KEY", bodyKey), pemOf("CERTIFICATE", bodyKey)...)), "expected PEM"},
		"endless chain":      {key(bytes.Repeat(pemOf("CERTIFICATE", bodyCert), 11)), "at most 10"},
		"text behind PEM":    {key(append(pemOf("PUBLIC KEY", bodyKey), "more"...)), "PEM"},
		"endless signatures": {strings.Replace(good["dsse 0.0.2"], protoSig, strings.Repeat(protoSig+",", 40)+protoSig, 1), "more than 32"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := entry.ParseBody([]byte(test.body))
			refusedAny(t, err, test.says)
		})
	}
	chain, err := entry.ParseBody([]byte(key(append(pemOf("CERTIFICATE", bodyCert), pemOf("CERTIFICATE", bodyKey)...))))
	if err != nil || !bytes.Equal(chain.Signatures[0].Certificate, bodyCert) {
		t.Errorf("a chain: expected its leaf, found %+v, %v", chain, err)
	}
	_, err = entry.ParseBody(make([]byte, entry.MaxBodySize+1))
	refused(t, err, sigbox.TooLarge, "at most")
}

// TestConformanceBundles reads the log entries of the conformance suite's
// bundles and makes each v2 leaf again from its parts.
func TestConformanceBundles(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "conformance", "bundle-verify", "*", "bundle.sigstore.json"))
	if len(paths) == 0 {
		t.Skip("the conformance bundles are not beside this repository")
	}
	leaves := 0
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		for _, raw := range conformanceEntries(t, path) {
			le, err := entry.ParseLogEntry(raw)
			if err == nil {
				var b *entry.Body
				if b, err = entry.ParseBody(le.Body); err == nil {
					usable(t, b)
					leaves += sameLeaf(t, name, le, b)
				}
			}
			if err != nil && !strings.HasSuffix(name, "_fail") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if leaves < 10 {
		t.Errorf("only %d v2 leaves among %d bundles", leaves, len(paths))
	}
}

// conformanceEntries gives the log entries of a bundle, none if it is not JSON.
func conformanceEntries(t *testing.T, path string) []json.RawMessage {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct {
		VerificationMaterial struct{ TlogEntries []json.RawMessage }
	}
	if err := json.Unmarshal(text, &bundle); err != nil {
		return nil
	}
	return bundle.VerificationMaterial.TlogEntries
}

// sameLeaf counts a v2 leaf that came out as it was logged.
func sameLeaf(t *testing.T, name string, le sigbox.LogEntry, b *entry.Body) int {
	t.Helper()
	if b.Kind+" "+b.Version != "hashedrekord 0.0.2" {
		return 0
	}
	s := b.Signatures[0]
	e := sigbox.Entry{Digest: b.Digest, Signature: s.Signature, PublicKey: s.PublicKey, Certificate: s.Certificate, Details: s.Details}
	leaf, err := entry.Leaf(e)
	if err != nil || !bytes.Equal(leaf, le.Body) {
		t.Errorf("%s: %v\n%s\n%s", name, err, leaf, le.Body)
		return 0
	}
	if err := entry.Verify(e); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return 1
}
