package pebble_test

import (
	"testing"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/store/storetest"
)

func open(t testing.TB, dir string) store.KV {
	t.Helper()
	kv, err := pebble.Open(t.Context(), dir, pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestKV(t *testing.T) { storetest.KV(t, true, open) }
