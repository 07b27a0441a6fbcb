package cosign_test

import (
	"testing"

	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
)

// TestFlaws: a file that is wrong at any place is refused.
func TestFlaws(t *testing.T) {
	t.Parallel()
	_, good := legacy(sigboxtest.New(t))
	flawed.TestJSON(t, func(b []byte) error { _, err := cosign.ParseBundle(b); return err }, string(good))
	flawed.TestJSON(t, func(b []byte) error {
		_, err := cosign.FromDetached(cosign.Detached{Signature: []byte("c2ln"), Timestamp: b})
		return err
	}, `{"SignedRFC3161Timestamp":"MAA="}`)
}
