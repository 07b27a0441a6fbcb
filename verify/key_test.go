package verify_test

import (
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

func keyOf(t testing.TB, _ *sigboxtest.World, o sigboxtest.Options) verify.Key {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(o.Key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key, err := verify.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var _ = sigbox.Policy{}
