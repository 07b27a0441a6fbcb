package pebble_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
)

// A flipped bit in any file of the store is found: the store does not open, or what
// it reads is right or an error. In the write-ahead log, Pebble takes what it cannot
// read for the end, unless what follows shows that it was synced: then the last
// commits may be missing, and nothing else. Who must notice that keeps what he knows
// elsewhere, as tlog does with its published checkpoint.
func TestFlippedBits(t *testing.T) {
	const n = 1000
	dir := t.TempDir()
	value := func(i int) []byte { return bytes.Repeat(key(i), 20) }
	for life := range 2 { // the first one's rows are in tables, the second one's in the log
		kv := open(t, dir)
		for i := life * n; i < (life+1)*n; i += 100 {
			var b store.Batch
			for j := i; j < i+100; j++ {
				b.Writes = append(b.Writes, store.Pair{Key: key(j), Value: value(j)})
			}
			must(t, kv.Commit(t.Context(), b))
		}
		must(t, kv.Close())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, file := range files {
		info, err := os.Stat(file)
		must(t, err)
		name := filepath.Base(file)
		if info.Size() == 0 || strings.HasPrefix(name, "OPTIONS") || name == "LOCK" {
			continue
		}
		for range 5 {
			at := rng.Int64N(info.Size())
			if what := flipped(t, dir, name, at, byte(1)<<rng.IntN(8), 2*n, value); what != "" {
				t.Errorf("%s, byte %d of %d: %s", name, at, info.Size(), what)
			}
		}
	}
}

// flipped copies a store with one bit changed, and says what is wrong with what it
// then gives; "" for what is right, and for errors.
func flipped(t *testing.T, dir, name string, at int64, bit byte, n int, value func(int) []byte) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(dir)))
	b, err := os.ReadFile(filepath.Join(to, name))
	must(t, err)
	b[at] ^= bit
	must(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
	kv, err := pebble.Open(t.Context(), to, pebble.Options{})
	if err != nil {
		return ""
	}
	defer func() { _ = kv.Close() }()
	ended := false
	for i := range n {
		got, err := kv.Get(t.Context(), key(i))
		switch {
		case errors.Is(err, store.ErrNotFound) && strings.HasSuffix(name, ".log"):
			ended = true
		case errors.Is(err, store.ErrNotFound):
			return "a row is missing"
		case err != nil:
			return ""
		case ended:
			return "a row is missing before others"
		case !bytes.Equal(got, value(i)):
			return "a row is another"
		}
	}
	return ""
}
