package sigbox_test

import (
	"testing"

	"github.com/sigbox/sigbox"
)

// The registry of sigstore/architecture-docs, algorithm-registry.md: what is "verify
// only" there, and what only old bundles and roots have, is legacy.
func TestAlgorithmRegistry(t *testing.T) {
	t.Parallel()
	type row struct {
		number uint8
		hash   sigbox.HashAlgorithm
		legacy bool
	}
	registry := map[string]row{
		"PKIX_RSA_PKCS1V5":              {3, sigbox.SHA256, true},
		"PKIX_ECDSA_P256_SHA_256":       {5, sigbox.SHA256, false},
		"PKIX_ED25519":                  {7, 0, false},
		"PKIX_ED25519_PH":               {8, sigbox.SHA512, false},
		"PKIX_RSA_PKCS1V15_2048_SHA256": {9, sigbox.SHA256, true},
		"PKIX_RSA_PKCS1V15_3072_SHA256": {10, sigbox.SHA256, false},
		"PKIX_RSA_PKCS1V15_4096_SHA256": {11, sigbox.SHA256, false},
		"PKIX_ECDSA_P384_SHA_384":       {12, sigbox.SHA384, false},
		"PKIX_ECDSA_P521_SHA_512":       {13, sigbox.SHA512, false},
		"PKIX_RSA_PSS_2048_SHA256":      {16, sigbox.SHA256, true},
		"PKIX_RSA_PSS_3072_SHA256":      {17, sigbox.SHA256, false},
		"PKIX_RSA_PSS_4096_SHA256":      {18, sigbox.SHA256, false},
		"PKIX_ECDSA_P384_SHA_256":       {19, sigbox.SHA256, true},
		"PKIX_ECDSA_P521_SHA_256":       {20, sigbox.SHA256, true},
	}
	found := 0
	for n := range 256 {
		k := sigbox.KeyDetails(n)
		if !k.Valid() {
			continue
		}
		found++
		if got, want := (row{uint8(k), k.Hash(), k.Legacy()}), registry[k.String()]; got != want {
			t.Errorf("%v: found %v, expected %v", k, got, want)
		}
		if back, err := sigbox.ParseKeyDetails(k.String()); err != nil || back != k {
			t.Errorf("%v read back: %v, %v", k, back, err)
		}
		var text sigbox.KeyDetails
		if b, err := k.MarshalText(); err != nil || text.UnmarshalText(b) != nil || text != k {
			t.Errorf("%v as text: %s, %v", k, b, err)
		}
	}
	if found != len(registry) {
		t.Errorf("found %d algorithms, expected %d", found, len(registry))
	}
}
