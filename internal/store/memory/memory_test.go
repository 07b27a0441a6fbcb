package memory_test

import (
	"testing"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/store/storetest"
)

func TestKV(t *testing.T) {
	storetest.KV(t, false, func(testing.TB, string) store.KV { return memory.NewKV() })
}

func TestBlob(t *testing.T) {
	storetest.Blob(t, false, func(testing.TB, string) store.Blob { return memory.NewBlob() })
}
