package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
)

func write(t *testing.T, kv store.KV, key, value string) {
	t.Helper()
	err := kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: []byte(key), Value: []byte(value)}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPrepare(t *testing.T) {
	t.Run("again", func(t *testing.T) {
		if err := store.Prepare(t.Context(), memory.NewKV()); err != nil {
			t.Fatal(err)
		}
	})
	for name, tt := range map[string]struct{ version, say string }{
		"newer":        {"9999", "newer sigbox"},
		"not a number": {"x", "not a number"},
		"other number": {"01", "not a number"},
		"negative":     {"-1", "not a number"},
		"zero":         {"0", "not a number"},
		"empty":        {"", "not a number"},
	} {
		t.Run(name, func(t *testing.T) {
			kv := memory.NewKV()
			write(t, kv, "\x00schema", tt.version)
			if err := store.Prepare(t.Context(), kv); err == nil || !strings.Contains(err.Error(), tt.say) {
				t.Fatalf("expected %q, found %v", tt.say, err)
			}
		})
	}
	t.Run("content without a version", func(t *testing.T) {
		kv := memory.NewKV()
		write(t, kv, "a", "1")
		err := kv.Commit(t.Context(), store.Batch{Deletes: []store.Range{{From: []byte("\x00"), To: []byte("\x01")}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Prepare(t.Context(), kv); err == nil || !strings.Contains(err.Error(), "no schema version") {
			t.Fatalf("found %v", err)
		}
	})
}

func TestMigrate(t *testing.T) {
	kv := memory.NewKV()
	var ran []int
	fail := errors.New("interrupted")
	step := func(n int, err error) store.Migration {
		return func(context.Context, store.KV) error {
			ran = append(ran, n)
			return err
		}
	}
	if err := store.PrepareWith(t.Context(), kv, []store.Migration{step(1, nil), step(2, fail)}); !errors.Is(err, fail) {
		t.Fatalf("expected the migration's error, found %v", err)
	}
	// The first one is done; the second is run again.
	for range 2 {
		if err := store.PrepareWith(t.Context(), kv, []store.Migration{step(1, nil), step(2, nil)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(ran) != 3 || ran[0] != 1 || ran[1] != 2 || ran[2] != 2 {
		t.Fatalf("expected the migrations 1, 2, 2, found %v", ran)
	}
	if err := store.Prepare(t.Context(), kv); err == nil {
		t.Fatal("this build opened a store of version 3")
	}
}

func TestPrefixEnd(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "a\xff\xff": "b", "ab": "ac"} {
		if got := string(store.PrefixEnd([]byte(in))); got != want {
			t.Errorf("%q: expected %q, found %q", in, want, got)
		}
	}
	if got := store.PrefixEnd([]byte("\xff\xff")); got != nil {
		t.Errorf("expected nil, found %q", got)
	}
}
