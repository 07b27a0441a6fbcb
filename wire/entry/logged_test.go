package entry_test

import (
	"bytes"
	"crypto"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// logged gives leaves of each kind, as logs made them, and whether they hold what
// was signed.
func logged(t testing.TB) map[string][]byte {
	t.Helper()
	key := newKey(t, sigbox.ECDSAP256SHA256)
	chain := chainPEM(newChain(t, key, 3)...)
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	v2, err := entry.Leaf(e)
	if err != nil {
		t.Fatal(err)
	}
	v := (&envelope{payload: "{}", signers: []envelopeSigner{{key: key, hash: crypto.SHA256, pem: chain}}}).sign(t)
	v1 := bytes.Replace(entry.AppendProposal(nil, e), []byte(b64(keyPEM(t, key))), []byte(b64(chain)), 1)
	details := `{"content":"` + b64(bodySig) + `","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"` + b64(spki(t, key)) + `"}}}`
	return map[string][]byte{
		"hashedrekord 0.0.2": v2,
		"hashedrekord 0.0.1": accept(t, v1).Leaf(),
		"dsse 0.0.1":         accept(t, v.dsse(chain)).Leaf(),
		"dsse 0.0.2":         []byte(body("dsse", "0.0.2", `{"dsseV002":{"payloadHash":`+protoSum+`,"signatures":[`+details+`]}}`)),
		"intoto 0.0.2":       accept(t, v.inToto()).Leaf(),
		"rfc3161 0.0.1":      []byte(body("rfc3161", "0.0.1", `{"tsr":{"content":"MAA="}}`)),
	}
}

func TestVerifyLogged(t *testing.T) {
	for kind, leaf := range logged(t) {
		b, signed, err := entry.VerifyLogged(leaf)
		if err != nil || b.Kind+" "+b.Version != kind || signed != strings.HasPrefix(kind, "hashedrekord") {
			t.Errorf("%s: %+v, signed: %v, %v", kind, b, signed, err)
		}
		if _, signed, err := entry.VerifyLogged(bytes.Replace(leaf, []byte(`,"kind":`), []byte(`, "kind":`), 1)); signed {
			t.Errorf("%s with a space", kind)
		} else {
			refused(t, err, sigbox.Invalid, "canonical")
		}
	}
}

func TestVerifyLoggedRefuses(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	other := sign(t, sigbox.ECDSAP256SHA256, key, "another artifact")
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	all := logged(t)
	chain := newChain(t, key, 3)
	broken := b64(chainPEM(chain[0], chain[2]))

	e.Signature = other.Signature
	v2, err := entry.Leaf(e)
	if err != nil {
		t.Fatal(err)
	}
	v1 := entry.AppendProposal(nil, e)
	for name, c := range map[string]struct {
		leaf []byte
		kind sigbox.Kind
		says string
	}{
		"another's signature, v2":   {v2, sigbox.NotVerified, "signature"},
		"another's signature, v1":   {v1, sigbox.NotVerified, "signature"},
		"a broken chain, v1":        {bytes.Replace(v1, []byte(b64(keyPEM(t, key))), []byte(broken), 1), sigbox.Invalid, "not signed by the next one"},
		"a broken chain, dsse":      {withPEM(t, all["dsse 0.0.1"], broken), sigbox.Invalid, "not signed by the next one"},
		"a broken chain, intoto":    {withPEM(t, all["intoto 0.0.2"], broken), sigbox.Invalid, "not signed by the next one"},
		"no key, dsse 0.0.2":        {[]byte(bodies()["dsse 0.0.2"]), sigbox.Invalid, "certificate"},
		"a digest of another size":  {bytes.Replace(v2, []byte("SHA2_256"), []byte("SHA2_512"), 1), sigbox.Invalid, ""},
		"an algorithm that is none": {bytes.Replace(v2, []byte("PKIX_ECDSA_P256_SHA_256"), []byte("PKIX_ED25519"), 1), sigbox.Invalid, "cannot be logged"},
		"nothing":                   {nil, sigbox.Invalid, ""},
		"no entry":                  {[]byte("{}"), sigbox.Invalid, ""},
		"another kind":              {[]byte(body("rekord", "0.0.1", "{}")), sigbox.Invalid, "rekord"},
	} {
		t.Run(name, func(t *testing.T) {
			_, signed, err := entry.VerifyLogged(c.leaf)
			if signed {
				t.Error("signed")
			}
			refused(t, err, c.kind, c.says)
		})
	}
}

// TestVerifyLoggedReal: entries of the public logs are as they must be.
func TestVerifyLoggedReal(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "conformance", "bundle-verify", "*", "bundle.sigstore.json"))
	if len(paths) == 0 {
		t.Skip("the conformance bundles are not beside this repository")
	}
	found := map[string]int{}
	for _, path := range paths {
		if strings.HasSuffix(filepath.Dir(path), "_fail") {
			continue
		}
		for _, raw := range conformanceEntries(t, path) {
			le, err := entry.ParseLogEntry(raw)
			if err != nil {
				t.Fatal(err)
			}
			b, _, err := entry.VerifyLogged(le.Body)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				continue
			}
			found[b.Kind+" "+b.Version]++
		}
	}
	if len(found) < 3 {
		t.Errorf("only %v", found)
	}
}

// withPEM puts another verifier into a leaf.
func withPEM(t *testing.T, leaf []byte, pem string) []byte {
	t.Helper()
	for _, name := range []string{`"verifier":"`, `"publicKey":"`} {
		if before, rest, ok := bytes.Cut(leaf, []byte(name)); ok {
			_, after, _ := bytes.Cut(rest, []byte(`"`))
			return []byte(string(before) + name + pem + `"` + string(after))
		}
	}
	t.Fatalf("no verifier in %s", leaf)
	return nil
}
