package search

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// bodies are entries of the three common shapes.
func bodies(t testing.TB) map[string]*entry.Body {
	_, spki := newKey(t)
	e := sigbox.Entry{Digest: sigbox.SHA256.Sum(nil)}
	key, human, robot := e, e, e
	key.PublicKey, human.Certificate, robot.Certificate = spki, newCertificate(t, person("jane@example.com")), newCertificate(t, builder("some/thing"))
	out := map[string]*entry.Body{}
	for name, e := range map[string]sigbox.Entry{"key": key, "person": human, "build": robot} {
		b, err := entry.ParseBody(leafV2(t, e))
		must(t, err)
		out[name] = b
	}
	return out
}

// BenchmarkRows makes the rows of an entry.
func BenchmarkRows(b *testing.B) {
	for name, body := range bodies(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var rows []store.Pair
			for i := range b.N {
				rows = Rows(body, nil)(uint64(i))
			}
			size := 0
			for _, row := range rows {
				size += len(row.Key) + len(row.Value)
			}
			b.ReportMetric(float64(len(rows)), "rows/entry")
			b.ReportMetric(float64(size), "bytes/entry")
		})
	}
}

// durableLog is a log over Pebble and a directory, as an instance has it.
func durableLog(b *testing.B) *tlog.Log {
	b.Helper()
	path := b.TempDir()
	kv, err := pebble.Open(b.Context(), filepath.Join(path, "db"), pebble.Options{})
	must(b, err)
	blob, err := dir.Open(filepath.Join(path, "tiles"))
	must(b, err)
	signer, err := note.NewSigner("log.example.com", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	must(b, err)
	l, err := tlog.Open(b.Context(), tlog.Config{Origin: signer.Name(), KV: store.WithPrefix(kv, "log/"), Blob: blob, Signers: []*note.Signer{signer}})
	must(b, err)
	b.Cleanup(func() {
		if err := errors.Join(l.Close(context.Background()), kv.Close(), blob.Close()); err != nil {
			b.Error(err)
		}
	})
	return l
}

// addMany adds n entries of 3,200 bytes from 64 callers; those that are indexed have
// the rows of a build, of which half are of its own.
func addMany(b *testing.B, l *tlog.Log, n int, indexed bool) {
	b.Helper()
	body := bodies(b)["build"]
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				data := binary.BigEndian.AppendUint64(nil, uint64(i))
				leaf := tlog.Leaf{Data: append(data, make([]byte, 3192)...)}
				if indexed {
					own := *body
					own.Digest = sigbox.SHA256.Sum(data)
					own.Signatures = append([]entry.BodySignature{{PublicKey: data}}, body.Signatures...)
					leaf.Rows = Rows(&own, nil)
				}
				if _, err := l.Add(context.Background(), leaf); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkAdd logs durably, with and without the rows of the index.
func BenchmarkAdd(b *testing.B) {
	for _, indexed := range []bool{false, true} {
		b.Run(fmt.Sprintf("indexed=%v", indexed), func(b *testing.B) {
			l := durableLog(b)
			b.ResetTimer()
			addMany(b, l, b.N, indexed)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkFind asks a log of 100,000 entries.
func BenchmarkFind(b *testing.B) {
	l := durableLog(b)
	x, err := Open(b.Context(), Config{Log: l})
	must(b, err)
	const size = 100_000
	addMany(b, l, size, true)
	one := where(b, by(ByHash, sigbox.SHA256.Sum(binary.BigEndian.AppendUint64(nil, 7)).String()))
	every := where(b, by(ByRepository, "some/thing"))
	both := where(b, by(ByRepository, "some/thing"), by(ByIssuer, builder("").Issuer))
	none := where(b, by(ByRepository, "some/thing"), by(BySubject, "nobody@example.com"))
	rare := where(b, by(ByRepository, "some/thing"), by(ByHash, sigbox.SHA256.Sum(binary.BigEndian.AppendUint64(nil, 7)).String()))
	for _, q := range []struct {
		name string
		q    Query
		want int
	}{{"one of many", one, 1}, {"newest of all", every, 20}, {"two terms of all", both, 20}, {"nobody", none, 0}, {"one and all", rare, 1}, {"most work", Query{All: every.All, Kind: entry.KindDSSE}, 0}} {
		b.Run(q.name, func(b *testing.B) {
			for range b.N {
				f, err := x.Find(b.Context(), q.q, Newest, 20)
				must(b, err)
				if len(f.Indexes) != q.want {
					b.Fatalf("%d entries", len(f.Indexes))
				}
			}
		})
	}
}
