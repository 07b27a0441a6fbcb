package cert_test

import (
	"crypto/ecdh"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/cert"
)

func TestSubjectKeyID(t *testing.T) {
	key := fixture.Key(t)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	got, err := cert.SubjectKeyID(spki)
	if err != nil {
		t.Fatal(err)
	}
	var point *ecdh.PublicKey
	if point, err = key.PublicKey.ECDH(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(point.Bytes()) // 4 ‖ x ‖ y, which is what the bits are
	if want := sum[:20]; hex.EncodeToString(got) != hex.EncodeToString(want) {
		t.Errorf("found %x, want %x", got, want)
	}
	for n := range spki {
		if _, err := cert.SubjectKeyID(spki[:n]); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("the first %d bytes: found %v", n, err)
		}
	}
	for name, der := range map[string][]byte{
		"no algorithm": {0x30, 4, 3, 2, 0, 1},
		"no bits":      {0x30, 2, 0x30, 0},
		"empty bits":   {0x30, 4, 0x30, 0, 3, 0},
		"no sequence":  {3, 2, 0, 1},
	} {
		if _, err := cert.SubjectKeyID(der); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", name, err)
		}
	}
}
