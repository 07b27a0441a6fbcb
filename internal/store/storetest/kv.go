// Package storetest has the contracts of package store as tests, which every
// implementation passes, and stores that fail on purpose, for the tests of those
// who use them.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/internal/store"
)

// KV tests an implementation of [store.KV]. open opens the store in a directory,
// which is a new one for each test; a store that is not durable makes an empty
// one each time.
func KV(t *testing.T, durable bool, open func(t testing.TB, dir string) store.KV) {
	tests := map[string]func(t *testing.T, kv store.KV){
		"read what was written":     testReadWrite,
		"values belong to callers":  testOwnership,
		"checks":                    testChecks,
		"nothing or all":            testAtomic,
		"deletes":                   testDeletes,
		"scan":                      testScan,
		"scan sees one moment":      testScanSnapshot,
		"compare and set":           testCompareAndSet,
		"lock":                      testLock,
		"cancelled context":         testCancelled,
		"behaves like a sorted map": testModel,
		"parts":                     testPrefix,
		"large batch":               testLarge,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			kv := open(t, t.TempDir())
			t.Cleanup(func() { must(t, kv.Close()) })
			test(t, kv)
		})
	}
	t.Run("closed", func(t *testing.T) { testClosed(t, open(t, t.TempDir())) })
	if durable {
		t.Run("reopened", func(t *testing.T) { testReopened(t, open) })
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(s string) []byte { return []byte("test/" + s) }

func set(kv store.KV, k, v string) error {
	return kv.Commit(context.Background(), store.Batch{Writes: []store.Pair{{Key: key(k), Value: []byte(v)}}})
}

func expect(t *testing.T, kv store.KV, k, want string) {
	t.Helper()
	v, err := kv.Get(t.Context(), key(k))
	must(t, err)
	if string(v) != want {
		t.Fatalf("%s: expected %q, found %q", k, want, v)
	}
}

func expectNone(t *testing.T, kv store.KV, k string) {
	t.Helper()
	if v, err := kv.Get(t.Context(), key(k)); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("%s: expected ErrNotFound, found %q, %v", k, v, err)
	}
}

func testReadWrite(t *testing.T, kv store.KV) {
	expectNone(t, kv, "a")
	must(t, set(kv, "a", "1"))
	expect(t, kv, "a", "1")
	must(t, set(kv, "a", "2"))
	expect(t, kv, "a", "2")
	must(t, set(kv, "empty", ""))
	v, err := kv.Get(t.Context(), key("empty"))
	must(t, err)
	if v == nil || len(v) != 0 {
		t.Fatalf("expected an empty value that is not nil, found %v", v)
	}
}

func testOwnership(t *testing.T, kv store.KV) {
	k, v := key("a"), []byte("1")
	must(t, kv.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: k, Value: v}}}))
	k[0], v[0] = 'x', 'x'
	got, err := kv.Get(t.Context(), key("a"))
	must(t, err)
	got[0] = 'y'
	for p, err := range kv.Scan(t.Context(), key(""), nil) {
		must(t, err)
		p.Key[0], p.Value[0] = 'z', 'z'
	}
	expect(t, kv, "a", "1")
}

func testChecks(t *testing.T, kv store.KV) {
	must(t, set(kv, "a", "1"))
	must(t, set(kv, "empty", ""))
	for _, tt := range []struct {
		name  string
		check store.Check
		ok    bool
	}{
		{"same value", store.Check{Key: key("a"), Want: []byte("1")}, true},
		{"other value", store.Check{Key: key("a"), Want: []byte("2")}, false},
		{"prefix of the value", store.Check{Key: key("a"), Want: []byte{}}, false},
		{"there must be none and is one", store.Check{Key: key("a")}, false},
		{"there must be none", store.Check{Key: key("b")}, true},
		{"there must be one and is none", store.Check{Key: key("b"), Want: []byte("1")}, false},
		{"there must be an empty one and is none", store.Check{Key: key("b"), Want: []byte{}}, false},
		{"empty value", store.Check{Key: key("empty"), Want: []byte{}}, true},
		{"no empty value", store.Check{Key: key("empty")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, b := range []store.Batch{
				{Checks: []store.Check{tt.check}},
				{Checks: []store.Check{tt.check}, Writes: []store.Pair{{Key: key("written"), Value: []byte(tt.name)}}},
				{Checks: []store.Check{{Key: key("a"), Want: []byte("1")}, tt.check}, Writes: []store.Pair{{Key: key("written"), Value: []byte(tt.name)}}},
			} {
				err := kv.Commit(t.Context(), b)
				if tt.ok {
					must(t, err)
				} else if !errors.Is(err, store.ErrConflict) {
					t.Fatalf("expected ErrConflict, found %v", err)
				}
			}
			if v, err := kv.Get(t.Context(), key("written")); (err == nil && string(v) == tt.name) != tt.ok {
				t.Fatalf("written: found %q, %v", v, err)
			}
		})
	}
}

func testAtomic(t *testing.T, kv store.KV) {
	must(t, set(kv, "old", "1"))
	b := store.Batch{
		Checks:  []store.Check{{Key: key("none"), Want: []byte("x")}},
		Writes:  []store.Pair{{Key: key("a"), Value: []byte("1")}, {Key: key("b"), Value: []byte("2")}},
		Deletes: []store.Range{{From: key("old"), To: key("old\x00")}},
	}
	if err := kv.Commit(t.Context(), b); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("expected ErrConflict, found %v", err)
	}
	expect(t, kv, "old", "1")
	expectNone(t, kv, "a")
	b.Checks = nil
	must(t, kv.Commit(t.Context(), b))
	expectNone(t, kv, "old")
	expect(t, kv, "a", "1")
	expect(t, kv, "b", "2")
}

func testDeletes(t *testing.T, kv store.KV) {
	for _, k := range []string{"a", "b", "b0", "c", "d"} {
		must(t, set(kv, k, k))
	}
	// Deletes come before writes, whatever their order here.
	must(t, kv.Commit(t.Context(), store.Batch{
		Writes:  []store.Pair{{Key: key("b"), Value: []byte("new")}},
		Deletes: []store.Range{{From: key("b"), To: key("c")}, {From: key("x"), To: key("a")}},
	}))
	expect(t, kv, "a", "a")
	expect(t, kv, "b", "new")
	expectNone(t, kv, "b0")
	expect(t, kv, "c", "c")
	must(t, kv.Commit(t.Context(), store.Batch{Deletes: []store.Range{{From: key("c")}}}))
	expectNone(t, kv, "c")
	expectNone(t, kv, "d")
	expect(t, kv, "a", "a")
}

// collect gives the keys and values of a scan, without the prefix of the test.
func collect(t testing.TB, kv store.KV, from, to []byte) []string {
	t.Helper()
	var out []string
	for p, err := range kv.Scan(context.Background(), from, to) {
		must(t, err)
		out = append(out, fmt.Sprintf("%s=%s", bytes.TrimPrefix(p.Key, key("")), p.Value))
	}
	return out
}

func testScan(t *testing.T, kv store.KV) {
	for _, k := range []string{"b", "a", "c\xff", "c", "c\x00"} {
		must(t, set(kv, k, "1"))
	}
	for _, tt := range []struct {
		from, to []byte
		want     []string
	}{
		{key(""), nil, []string{"a=1", "b=1", "c=1", "c\x00=1", "c\xff=1"}},
		{key("b"), key("c\x00"), []string{"b=1", "c=1"}},
		{key("b"), key("b"), nil},
		{key("c"), key("a"), nil},
		{key("d"), nil, nil},
	} {
		if d := cmp.Diff(tt.want, collect(t, kv, tt.from, tt.to)); d != "" {
			t.Errorf("scan of %q to %q (-want +got):\n%s", tt.from, tt.to, d)
		}
	}
	for range kv.Scan(t.Context(), key(""), nil) {
		break // a walk can be left
	}
}

func testScanSnapshot(t *testing.T, kv store.KV) {
	must(t, set(kv, "a", "1"))
	must(t, set(kv, "b", "1"))
	var got []string
	for p, err := range kv.Scan(t.Context(), key(""), nil) {
		must(t, err)
		must(t, set(kv, "b", "2"))
		must(t, set(kv, "c", "2"))
		got = append(got, string(p.Value))
	}
	if d := cmp.Diff([]string{"1", "1"}, got); d != "" {
		t.Fatalf("values (-want +got):\n%s", d)
	}
}

// Many writers raise a counter by compare-and-set; no raise is lost.
func testCompareAndSet(t *testing.T, kv store.KV) {
	const writers, raises = 8, 25
	must(t, set(kv, "counter", string(make([]byte, 8))))
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < raises; {
				have, err := kv.Get(context.Background(), key("counter"))
				if err == nil {
					n := binary.BigEndian.Uint64(have)
					err = kv.Commit(context.Background(), store.Batch{
						Checks: []store.Check{{Key: key("counter"), Want: have}},
						Writes: []store.Pair{
							{Key: key("counter"), Value: binary.BigEndian.AppendUint64(nil, n+1)},
							{Key: key(fmt.Sprintf("by/%04d", n)), Value: []byte{byte(w)}},
						},
					})
				}
				switch {
				case err == nil:
					i++
				case !errors.Is(err, store.ErrConflict):
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	v, err := kv.Get(t.Context(), key("counter"))
	must(t, err)
	if n := binary.BigEndian.Uint64(v); n != writers*raises {
		t.Fatalf("expected %d, found %d", writers*raises, n)
	}
	if n := len(collect(t, kv, key("by/"), key("by0"))); n != writers*raises {
		t.Fatalf("expected %d rows, found %d", writers*raises, n)
	}
}

func testLock(t *testing.T, kv store.KV) {
	held, release, err := kv.Lock(t.Context(), "a")
	must(t, err)
	if held.Err() != nil {
		t.Fatalf("the lock is lost: %v", held.Err())
	}
	_, releaseB, err := kv.Lock(t.Context(), "b")
	must(t, err)
	releaseB()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := kv.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("expected context.Canceled, found %v", err)
	}
	got := make(chan func())
	go func() {
		_, again, err := kv.Lock(context.Background(), "a")
		if err != nil {
			t.Error(err)
		}
		got <- again
	}()
	release()
	release() // twice is fine
	(<-got)()
	if held.Err() == nil {
		t.Fatal("the context of a released lock goes on")
	}
}

func testCancelled(t *testing.T, kv store.KV) {
	must(t, set(kv, "a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kv.Get(ctx, key("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: expected context.Canceled, found %v", err)
	}
	err := kv.Commit(ctx, store.Batch{Writes: []store.Pair{{Key: key("b"), Value: nil}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: expected context.Canceled, found %v", err)
	}
	expectNone(t, kv, "b")
	var last error
	for _, err := range kv.Scan(ctx, key(""), nil) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("Scan: expected context.Canceled, found %v", last)
	}
}

// Random batches do to the store what they do to a map.
func testModel(t *testing.T, kv store.KV) {
	name := rapid.StringMatching(`[ab]{0,3}`)
	rapid.Check(t, func(rt *rapid.T) {
		must(t, kv.Commit(t.Context(), store.Batch{Deletes: []store.Range{{From: key(""), To: store.PrefixEnd(key(""))}}}))
		model := map[string]string{}
		for range rapid.IntRange(1, 20).Draw(rt, "batches") {
			var b store.Batch
			for range rapid.IntRange(0, 2).Draw(rt, "deletes") {
				from, to := name.Draw(rt, "from"), name.Draw(rt, "to")
				b.Deletes = append(b.Deletes, store.Range{From: key(from), To: key(to)})
				for k := range model {
					if k >= from && k < to {
						delete(model, k)
					}
				}
			}
			for k, v := range rapid.MapOfN(name, name, 0, 4).Draw(rt, "writes") {
				b.Writes = append(b.Writes, store.Pair{Key: key(k), Value: []byte(v)})
				model[k] = v
			}
			must(t, kv.Commit(context.Background(), b))
		}
		var want []string
		for k, v := range model {
			want = append(want, k+"="+v)
		}
		got := collect(t, kv, key(""), store.PrefixEnd(key("")))
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			rt.Fatalf("content (-want +got):\n%s", d)
		}
	})
}

func testPrefix(t *testing.T, kv store.KV) {
	a, b := store.WithPrefix(kv, "test/a/"), store.WithPrefix(kv, "test/b/")
	put := func(kv store.KV, k string) {
		must(t, kv.Commit(t.Context(), store.Batch{
			Checks: []store.Check{{Key: []byte(k)}},
			Writes: []store.Pair{{Key: []byte(k), Value: []byte(k)}},
		}))
	}
	put(a, "x")
	put(a, "y")
	put(b, "x")
	if d := cmp.Diff([]string{"x=x", "y=y"}, collect(t, a, nil, nil)); d != "" {
		t.Fatalf("part a (-want +got):\n%s", d)
	}
	must(t, a.Commit(t.Context(), store.Batch{Deletes: []store.Range{{}}}))
	if got := collect(t, a, nil, nil); got != nil {
		t.Fatalf("part a: expected nothing, found %q", got)
	}
	if d := cmp.Diff([]string{"b/x=x"}, collect(t, kv, key(""), store.PrefixEnd(key("")))); d != "" {
		t.Fatalf("the whole (-want +got):\n%s", d)
	}
	must(t, a.Close())
	put(a, "z")
}

func testLarge(t *testing.T, kv store.KV) {
	var b store.Batch
	for i := range 300 {
		b.Writes = append(b.Writes, store.Pair{Key: key(fmt.Sprintf("%04d", i)), Value: bytes.Repeat([]byte{byte(i)}, 64<<10)})
	}
	must(t, kv.Commit(t.Context(), b))
	n := 0
	for p, err := range kv.Scan(t.Context(), key(""), nil) {
		must(t, err)
		if len(p.Value) != 64<<10 || p.Value[0] != byte(n) {
			t.Fatalf("row %d: found %d bytes of %d", n, len(p.Value), p.Value[0])
		}
		n++
	}
	if n != 300 {
		t.Fatalf("expected 300 rows, found %d", n)
	}
}

func testClosed(t *testing.T, kv store.KV) {
	must(t, set(kv, "a", "1"))
	must(t, kv.Close())
	if _, err := kv.Get(t.Context(), key("a")); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a closed store: found %v", err)
	}
	if err := set(kv, "a", "2"); err == nil {
		t.Error("Commit to a closed store succeeded")
	}
	var last error
	for _, err := range kv.Scan(t.Context(), nil, nil) {
		last = err
	}
	if last == nil {
		t.Error("Scan of a closed store succeeded")
	}
}

func testReopened(t *testing.T, open func(t testing.TB, dir string) store.KV) {
	dir := t.TempDir()
	for i := range 3 {
		kv := open(t, dir)
		for j := range i {
			expect(t, kv, fmt.Sprint(j), "value")
		}
		must(t, set(kv, fmt.Sprint(i), "value"))
		must(t, kv.Close())
	}
}
