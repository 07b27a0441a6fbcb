package tlog_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
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

// durableLog is a log over Pebble and a directory, as an instance has it.
func durableLog(b testing.TB, path string) *tlog.Log {
	b.Helper()
	kv, err := pebble.Open(b.Context(), filepath.Join(path, "db"), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	blob, err := dir.Open(filepath.Join(path, "tiles"))
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner("log.example.com", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		b.Fatal(err)
	}
	l, err := tlog.Open(b.Context(), tlog.Config{
		Origin: "log.example.com", KV: store.WithPrefix(kv, "log/"), Blob: blob, Signers: []*note.Signer{signer},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, err := range []error{l.Close(context.Background()), kv.Close(), blob.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	return l
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
	l := durableLog(b, b.TempDir())
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
				data := make([]byte, size)
				binary.BigEndian.PutUint64(data, uint64(n))
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
