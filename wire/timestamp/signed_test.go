package timestamp_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// TestCheckSigned: a timestamp is whole when it is signed by the certificate in it,
// whoever that is.
func TestCheckSigned(t *testing.T) {
	for _, key := range []crypto.Signer{ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P384()), rsaKey(t)} {
		if err := timestamp.CheckSigned(newAuthority(t, key).respond(t, nil, now)); err != nil {
			t.Errorf("%T: %v", key, err)
		}
	}
	key := ecdsaKey(t, elliptic.P256())
	a := newAuthority(t, key)
	good := a.respond(t, nil, now)
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1 // the end of the signature
	digest := sigbox.SHA256.Sum(signature).Value
	for name, test := range map[string]struct {
		resp []byte
		kind sigbox.Kind
	}{
		"no certificate":        {a.respond(t, func(r *timestamp.Request) { r.Certificates = false }, now), sigbox.Invalid},
		"another digest":        {bytes.Replace(good, digest, make([]byte, len(digest)), 1), sigbox.NotVerified},
		"another signature":     {flipped, sigbox.NotVerified},
		"a refusal":             {timestamp.Reject(timestamp.BadAlgorithm, "no").Marshal(), sigbox.Denied},
		"an end before the end": {good[:len(good)-1], sigbox.Invalid},
	} {
		t.Run(name, func(t *testing.T) { wantKind(t, timestamp.CheckSigned(test.resp), test.kind) })
	}
}

func TestCheckSignedLimits(t *testing.T) {
	_, response := verifier(t)
	hostile.Test(t, timestamp.CheckSigned, hostileResponses(response)...)
}
