package tlog_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/note"
)

// durableConfig is a log over Pebble and a directory, as an instance has it.
func durableConfig(b testing.TB, path string) tlog.Config {
	b.Helper()
	kv, err := pebble.Open(b.Context(), filepath.Join(path, "db"), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	blob, err := dir.Open(filepath.Join(path, "tiles"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(kv.Close(), blob.Close()); err != nil {
			b.Error(err)
		}
	})
	signer, err := note.NewSigner("log.example.com", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		b.Fatal(err)
	}
	return tlog.Config{
		Origin: "log.example.com", KV: store.WithPrefix(kv, "log/"), Blob: blob, Signers: []*note.Signer{signer}, KeyOf: tlog.LeafKey,
	}
}

func openDurable(b testing.TB, cfg tlog.Config) *tlog.Log {
	b.Helper()
	l, err := tlog.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return l
}

// fillDurable adds n entries of a size, from many callers at once.
func fillDurable(b testing.TB, l *tlog.Log, n, size int) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 512 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if _, err := l.Add(context.Background(), tlog.Leaf{Data: numbered(i, size)}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// numbered is an entry of a size that is like no other.
func numbered(i int64, size int) []byte {
	data := make([]byte, size)
	binary.BigEndian.PutUint64(data, uint64(i))
	return data
}

// BenchmarkAdd logs new entries, durably, from several callers at once: of 700
// bytes, as Rekor v2 entries with a public key have, and of 3,200, as those with a
// certificate have in the median.
func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{700, 3200} {
		for _, callers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("size=%d/callers=%d", size, callers), func(b *testing.B) { benchmarkAdd(b, size, callers) })
		}
	}
}

func benchmarkAdd(b *testing.B, size, callers int) {
	l := openDurable(b, durableConfig(b, b.TempDir()))
	var next atomic.Int64
	times := make([][]time.Duration, callers)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for c := range callers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				data := numbered(n, size)
				start := time.Now()
				if _, err := l.Add(context.Background(), tlog.Leaf{Data: data}); err != nil {
					b.Error(err)
					return
				}
				times[c] = append(times[c], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkCheck reads a log of 100,000 entries and checks it, with the rows of
// keys.
func BenchmarkCheck(b *testing.B) {
	const n = 100_000
	cfg := durableConfig(b, b.TempDir())
	fillDurable(b, openDurable(b, cfg), n, 700)
	for b.Loop() {
		r, err := tlog.Check(b.Context(), cfg, tlog.CheckOptions{})
		if err != nil || !r.OK() || r.Entries != n {
			b.Fatal(err, r)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkRetry adds one entry of the 100,000 again, which gives its proof.
func BenchmarkRetry(b *testing.B) {
	benchmarkEntry(b, func(l *tlog.Log, data []byte) (bool, error) {
		r, err := l.Add(b.Context(), tlog.Leaf{Data: data})
		return r.Existing, err
	})
}

// BenchmarkEntry reads one entry of the 100,000, with its proof.
func BenchmarkEntry(b *testing.B) {
	benchmarkEntry(b, func(l *tlog.Log, data []byte) (bool, error) {
		_, found, err := l.Lookup(b.Context(), tlog.LeafHash(data))
		return found, err
	})
}

func benchmarkEntry(b *testing.B, find func(l *tlog.Log, data []byte) (bool, error)) {
	const n = 100_000
	for _, size := range []int{700, 3200} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			l := openDurable(b, durableConfig(b, b.TempDir()))
			fillDurable(b, l, n, size)
			b.ReportAllocs()
			i := int64(0)
			for b.Loop() {
				i = i*6364136223846793005 + 1442695040888963407
				if found, err := find(l, numbered(1+int64(uint64(i)>>33)%n, size)); err != nil || !found {
					b.Fatal(err, found)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}
