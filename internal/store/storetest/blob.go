package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

const limit = 1 << 20

// Blob tests an implementation of [store.Blob], and of [store.Publisher] if it is
// one. open opens the store in a directory, which is a new one for each test; a
// store that is not durable makes an empty one each time.
func Blob(t *testing.T, durable bool, open func(t testing.TB, dir string) store.Blob) {
	tests := map[string]func(t *testing.T, b store.Blob){
		"put once":          testPut,
		"put at once":       testPutRace,
		"names":             testNames,
		"limit":             testLimit,
		"range":             testRange,
		"list":              testList,
		"parts":             testSub,
		"cancelled context": testBlobCancelled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t, t.TempDir())) })
	}
	t.Run("publisher", func(t *testing.T) {
		p, ok := open(t, t.TempDir()).(store.Publisher)
		if !ok {
			t.Skip("it is not one")
		}
		testPublisher(t, p)
	})
	if durable {
		t.Run("reopened", func(t *testing.T) {
			dir := t.TempDir()
			must(t, open(t, dir).Put(t.Context(), "a/b", []byte("1")))
			expectBlob(t, open(t, dir), "a/b", "1")
		})
	}
}

func expectBlob(t *testing.T, b store.Blob, name, want string) {
	t.Helper()
	v, err := b.Get(t.Context(), name, limit)
	must(t, err)
	if string(v) != want {
		t.Fatalf("%s: expected %q, found %q", name, want, v)
	}
}

func expectNoBlob(t *testing.T, b store.Blob, name string) {
	t.Helper()
	if v, err := b.Get(t.Context(), name, limit); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("%s: expected ErrNotFound, found %q, %v", name, v, err)
	}
}

func testPut(t *testing.T, b store.Blob) {
	expectNoBlob(t, b, "a/b/c")
	must(t, b.Put(t.Context(), "a/b/c", []byte("1")))
	must(t, b.Put(t.Context(), "a/b/c", []byte("1")))
	for _, other := range []string{"2", "", "11"} {
		if err := b.Put(t.Context(), "a/b/c", []byte(other)); !errors.Is(err, store.ErrExists) {
			t.Fatalf("other content %q: expected ErrExists, found %v", other, err)
		}
	}
	expectBlob(t, b, "a/b/c", "1")
	expectNoBlob(t, b, "a/b")
	must(t, b.Put(t.Context(), "empty", nil))
	expectBlob(t, b, "empty", "")
}

// Of many that put different data under one name, one wins, and its data stays.
func testPutRace(t *testing.T, b store.Blob) {
	var wg sync.WaitGroup
	won := make(chan byte, 16)
	for i := range 16 {
		wg.Go(func() {
			data := bytes.Repeat([]byte{byte(i)}, 100_000)
			switch err := b.Put(context.Background(), "dir/name", data); {
			case err == nil:
				won <- byte(i)
			case !errors.Is(err, store.ErrExists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(won)
	winner, ok := <-won
	if _, two := <-won; !ok || two {
		t.Fatal("expected exactly one to win")
	}
	v, err := b.Get(t.Context(), "dir/name", limit)
	must(t, err)
	if !bytes.Equal(v, bytes.Repeat([]byte{winner}, 100_000)) {
		t.Fatal("the value is not that of the winner")
	}
}

func testNames(t *testing.T, b store.Blob) {
	for _, name := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", `a\b`, "a b", "a\x00", "ä", "a+b", "a:b", strings.Repeat("a", store.MaxName+1)} {
		if err := b.Put(t.Context(), name, []byte("1")); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("Put of %q: expected kind invalid, found %v", name, err)
		}
		if _, err := b.Get(t.Context(), name, limit); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("Get of %q: expected kind invalid, found %v", name, err)
		}
	}
	for _, name := range []string{"a", "A-Z_0.9", "tile/0/x001/234.p/17", ".hidden", "..."} {
		must(t, b.Put(t.Context(), name, []byte(name)))
		expectBlob(t, b, name, name)
	}
}

func testLimit(t *testing.T, b store.Blob) {
	must(t, b.Put(t.Context(), "a", make([]byte, 1000)))
	if _, err := b.Get(t.Context(), "a", 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Get(t.Context(), "a", 999); err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
		t.Fatalf("expected kind too large, found %v", err)
	}
}

func list(t *testing.T, b store.Blob, prefix string) []string {
	t.Helper()
	var names []string
	for name, err := range b.List(t.Context(), prefix) {
		must(t, err)
		names = append(names, name)
	}
	return names
}

func testList(t *testing.T, b store.Blob) {
	// In the order of bytes: a hyphen and a dot come before the slash.
	for _, name := range []string{"b/c", "a0", "a.p/1", "a-b", "a.b"} {
		must(t, b.Put(t.Context(), name, []byte("1")))
	}
	want := []string{"a-b", "a.b", "a.p/1", "a0", "b/c"}
	for prefix, want := range map[string][]string{
		"":      want,
		"a":     want[:4],
		"a.":    {"a.b", "a.p/1"},
		"a.p/":  {"a.p/1"},
		"b":     {"b/c"},
		"b/":    {"b/c"},
		"b/c":   {"b/c"},
		"b/c/":  nil,
		"c":     nil,
		"../":   nil,
		"a/../": nil,
	} {
		if d := cmp.Diff(want, list(t, b, prefix)); d != "" {
			t.Errorf("list of %q (-want +got):\n%s", prefix, d)
		}
	}
	for range b.List(t.Context(), "") {
		break // a walk can be left
	}
}

func testSub(t *testing.T, b store.Blob) {
	x, y := store.Sub(b, "x"), store.Sub(b, "y/")
	must(t, x.Put(t.Context(), "a", []byte("1")))
	must(t, y.Put(t.Context(), "a", []byte("2")))
	expectBlob(t, x, "a", "1")
	expectBlob(t, b, "y/a", "2")
	if d := cmp.Diff([]string{"a"}, list(t, x, "")); d != "" {
		t.Fatalf("list (-want +got):\n%s", d)
	}
	if _, err := x.Get(t.Context(), "../y/a", limit); err == nil {
		t.Fatal("a part reads outside of itself")
	}
	_, whole := b.(store.Publisher)
	p, part := x.(store.Publisher)
	if whole != part {
		t.Fatalf("publisher: the whole %v, the part %v", whole, part)
	}
	if part {
		must(t, p.Replace(t.Context(), "a", []byte("3")))
		must(t, p.Remove(t.Context(), "b", "c"))
		expectBlob(t, b, "x/a", "3")
	}
}

func testBlobCancelled(t *testing.T, b store.Blob) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Put(ctx, "a", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: expected context.Canceled, found %v", err)
	}
	if _, err := b.Get(ctx, "a", limit); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: expected context.Canceled, found %v", err)
	}
	expectNoBlob(t, b, "a")
}

func testPublisher(t *testing.T, p store.Publisher) {
	must(t, p.Replace(t.Context(), "checkpoint", []byte("1")))
	must(t, p.Replace(t.Context(), "checkpoint", []byte("2")))
	expectBlob(t, p, "checkpoint", "2")
	must(t, p.Put(t.Context(), "tile/0/000.p/1", []byte("x")))
	must(t, p.Put(t.Context(), "tile/0/000.p/2", []byte("xx")))
	must(t, p.Remove(t.Context(), "tile/0/000.p/1", "none", "tile/0/000.p/2"))
	if d := cmp.Diff([]string{"checkpoint"}, list(t, p, "")); d != "" {
		t.Fatalf("list (-want +got):\n%s", d)
	}
	must(t, p.Put(t.Context(), "tile/0/000.p/3", []byte("xxx")))
	expectBlob(t, p, "tile/0/000.p/3", "xxx")
	if err := p.Replace(t.Context(), "../a", nil); err == nil {
		t.Fatal("Replace outside was accepted")
	}
	if err := p.Remove(t.Context(), "../a"); err == nil {
		t.Fatal("Remove outside was accepted")
	}
}

// testRange: a part of a value is what Get gives of it.
func testRange(t *testing.T, b store.Blob) {
	data := []byte("0123456789")
	must(t, b.Put(t.Context(), "a/b", data))
	for _, tt := range []struct {
		offset, length int64
		want           string
	}{{0, 10, "0123456789"}, {3, 4, "3456"}, {8, 9, "89"}, {10, 1, ""}, {99, 1, ""}, {0, 0, ""}} {
		for _, part := range []store.Blob{b, store.Sub(b, "a")} {
			name := "a/b"
			if part != b {
				name = "b"
			}
			got, err := store.GetRange(t.Context(), part, name, tt.offset, tt.length, 100)
			must(t, err)
			if string(got) != tt.want {
				t.Errorf("%d bytes from %d on: expected %q, found %q", tt.length, tt.offset, tt.want, got)
			}
		}
	}
	for _, name := range []string{"none", "a"} {
		if _, err := store.GetRange(t.Context(), b, name, 0, 1, 100); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: expected ErrNotFound, found %v", name, err)
		}
	}
}
