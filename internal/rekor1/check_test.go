package rekor1_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/wire/entry"
)

// TestCheckLeaf: leaves that the log has made are good, those of others are not.
func TestCheckLeaf(t *testing.T) {
	p := newProposals(t, 1)[0]
	s := p.Signatures[0]
	v2, err := entry.Leaf(sigbox.Entry{Digest: p.Digest, Signature: s.Signature, PublicKey: s.PublicKey, Details: sigbox.ECDSAP256SHA256})
	if err != nil {
		t.Fatal(err)
	}
	stamped := func(resp []byte) []byte {
		return parse(t, fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":%q}}}`, base64.StdEncoding.EncodeToString(resp))).Leaf()
	}
	envelope := func(kind, version, spec string) []byte {
		return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, version, kind, fmt.Sprintf(spec, sigbox.SHA256.Sum(nil).Hex(), sigbox.SHA256.Sum(nil).Hex(), pemOf(s.PublicKey)))
	}
	const (
		dsse   = `{"envelopeHash":{"algorithm":"sha256","value":%q},"payloadHash":{"algorithm":"sha256","value":%q},"signatures":[{"signature":"MAA=","verifier":%q}]}`
		intoto = `{"content":{"envelope":{"payloadType":"t","signatures":[{"publicKey":%[3]q,"sig":"TUFBPQ=="}]},"hash":{"algorithm":"sha256","value":%[1]q},"payloadHash":{"algorithm":"sha256","value":%[2]q}}}`
		old    = `{"content":{"hash":{"algorithm":"sha256","value":%q},"payloadHash":{"algorithm":"sha256","value":%q}},"publicKey":%q}`
	)
	for name, test := range map[string]struct {
		leaf   []byte
		signed bool
		kind   sigbox.Kind // 0 if it is good
	}{
		"hashedrekord":              {p.Leaf(), true, 0},
		"rfc3161":                   {stamped(stamp(t, "signature", true)), true, 0},
		"dsse":                      {envelope("dsse", "0.0.1", dsse), false, 0},
		"intoto":                    {envelope("intoto", "0.0.2", intoto), false, 0},
		"of something else":         {forged(t).Leaf(), false, sigbox.NotVerified},
		"a timestamp without chain": {stamped(stamp(t, "signature", false)), false, sigbox.Invalid},
		"intoto of old":             {envelope("intoto", "0.0.1", old), false, sigbox.Invalid},
		"of v2":                     {v2, false, sigbox.Invalid},
		"no entry":                  {[]byte("x"), false, sigbox.Invalid},
	} {
		signed, err := rekor1.CheckLeaf(test.leaf)
		if signed != test.signed || (err == nil) != (test.kind == 0) || err != nil && sigbox.KindOf(err) != test.kind {
			t.Errorf("%s: signed: %v, %v", name, signed, err)
		}
	}
}

// pemOf is base64 of a public key in PEM, as v1 entries have it.
func pemOf(der []byte) string {
	body := base64.StdEncoding.EncodeToString(der)
	text := "-----BEGIN PUBLIC KEY-----\n"
	for len(body) > 64 {
		text, body = text+body[:64]+"\n", body[64:]
	}
	return base64.StdEncoding.EncodeToString([]byte(text + body + "\n-----END PUBLIC KEY-----\n"))
}
