package app

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/wire/ceremony"
)

// TestAnswerForAnotherKey: a root for a key of TUF's metadata that the instance has not
// asked for is refused, and makes it no key.
func TestAnswerForAnotherKey(t *testing.T) {
	cfg := Config{Data: t.TempDir()}
	if err := cfg.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.LoadOrCreate(keyPath(cfg.Data, tufKey), keyKinds()[tufKey], nil); err != nil {
		t.Fatal(err)
	}
	st, err := newState("https://sigstore.example.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := newKeeper(&cfg, &Settings{})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(fixture.Key(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	r := rotator{cfg: &cfg, settings: &Settings{}, keeper: keeper, state: &record{dir: cfg.Data, now: st}}
	answer := &ceremony.Answer{Request: ceremony.Request{TUF: &ceremony.TUFRequest{Online: der}}}
	if _, _, err := r.onlineKey(t.Context(), answer); sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("found %v", err)
	}
	if _, err := os.Stat(keyPath(cfg.Data, "tuf.2")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was made: %v", err)
	}
}
