package remote

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// publishedLog is the folder of a log in memory: what a plain file server would
// give, without the cost of making it.
type publishedLog struct {
	files map[string][]byte
	key   LogKey
}

// publish makes a log of n entries of a v2 log, of 256 different ones in turn.
func publish(b *testing.B, n int) *publishedLog {
	b.Helper()
	must := func(err error) {
		if err != nil {
			b.Helper()
			b.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(err)
	log := &publishedLog{files: map[string][]byte{}}
	signer, err := note.NewSigner("log.example.com", key)
	must(err)
	log.key, err = newLogKey(key.Public())
	must(err)
	log.key.anyLog = true

	leaves := make([][]byte, tileWidth)
	var bundle []byte
	for i := range leaves {
		d := sigbox.SHA256.Sum(fmt.Append(nil, i))
		sig, err := key.Sign(rand.Reader, d.Value, crypto.SHA256)
		must(err)
		leaves[i], err = entry.Leaf(sigbox.Entry{Digest: d, Signature: sig, PublicKey: der, Details: sigbox.ECDSAP256SHA256})
		must(err)
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaves[i]))), leaves[i]...)
	}
	hashes := make([]tlog.Hash, n)
	for i := range hashes {
		hashes[i] = tlog.RecordHash(leaves[i%tileWidth])
	}
	for i := 0; i < n; i += tileWidth {
		log.files["/tile/entries/"+tileIndex(uint64(i/tileWidth))] = bundle
	}
	for level := 0; len(hashes) > 0; level++ {
		var above []tlog.Hash
		for i := 0; i < len(hashes); i += tileWidth {
			w := min(tileWidth, len(hashes)-i)
			name := fmt.Sprintf("/tile/%d/%s", level, tileIndex(uint64(i/tileWidth)))
			if w < tileWidth {
				name += fmt.Sprintf(".p/%d", w)
			} else {
				above = append(above, subtree(hashes[i:i+w]))
			}
			for _, h := range hashes[i : i+w] {
				log.files[name] = append(log.files[name], h[:]...)
			}
		}
		hashes = above
	}
	root, err := tlog.TreeHash(int64(n), repeated{leaves})
	must(err)
	text, err := note.Sign(sigbox.Checkpoint{Origin: "log.example.com", Size: uint64(n), Root: root}, signer)
	must(err)
	log.files["/checkpoint"] = []byte(text)
	return log
}

// repeated is a tree whose leaves repeat: a full subtree has the same root wherever
// it is, from those of a bundle up.
type repeated struct{ leaves [][]byte }

func (r repeated) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		level, n := tlog.SplitStoredHashIndex(at)
		out[i] = r.node(level, n)
	}
	return out, nil
}

func (r repeated) node(level int, n int64) tlog.Hash {
	switch {
	case level == 0:
		return tlog.RecordHash(r.leaves[n%tileWidth])
	case level > tileHeight:
		h := r.node(level-1, 0)
		return tlog.NodeHash(h, h)
	}
	return tlog.NodeHash(r.node(level-1, 2*n), r.node(level-1, 2*n+1))
}

// BenchmarkReadLog reads a whole log of a plain file server, as monitors do: over
// HTTP, with bundles taken apart, leaves hashed, compared with their tiles, and these
// with each other and with the signed root. "signatures" looks at what each entry
// says too, and verifies it.
func BenchmarkReadLog(b *testing.B) {
	const size = 100 * tileWidth * 4
	log := publish(b, size)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, ok := log.files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	b.Cleanup(s.Close)
	signatures := func(_ context.Context, _ uint64, leaf *Leaf) error {
		_, _, err := entry.VerifyLogged(leaf.Data)
		return err
	}
	for name, look := range map[string]func(context.Context, uint64, *Leaf) error{"hashes": nil, "signatures": signatures} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := New(Config{}).OpenLog(b.Context(), LogConfig{URL: s.URL, Keys: []LogKey{log.key}})
				if err != nil {
					b.Fatal(err)
				}
				report, err := r.Check(b.Context(), LogCheck{Entry: look})
				if err != nil || report.Found > 0 || report.Entries != size {
					b.Fatalf("%+v, %v", report, err)
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
	b.Run("part", func(b *testing.B) { // each entry proven by tiles, as search --scan does
		for b.Loop() {
			r, err := New(Config{}).OpenLog(b.Context(), LogConfig{URL: s.URL, Keys: []LogKey{log.key}})
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Entries(b.Context(), 0, size, func(uint64, *Leaf) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
}
