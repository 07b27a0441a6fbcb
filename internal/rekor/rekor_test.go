package rekor_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	engine "github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

const hostname = "rekor.example"

// instance is a log on stores that outlive it.
type instance struct {
	kv     store.KV
	blob   store.Blob
	signer *note.Signer
}

func newInstance(t testing.TB) *instance {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(hostname, key)
	if err != nil {
		t.Fatal(err)
	}
	return &instance{memory.NewKV(), memory.NewBlob(), signer}
}

// open opens the log; stop closes it.
func (i *instance) open(t testing.TB, change func(*rekor.Config)) (s *rekor.Service, stop func()) {
	t.Helper()
	log, err := engine.Open(t.Context(), engine.Config{Origin: hostname, KV: i.kv, Blob: i.blob, Signers: []*note.Signer{i.signer}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := rekor.Config{Log: log, Signer: i.signer, Since: time.Unix(1700000000, 0), Operator: "example"}
	if change != nil {
		change(&cfg)
	}
	if s, err = rekor.New(cfg); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := log.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// newEntries makes n different entries of one key.
func newEntries(t testing.TB, n int) []sigbox.Entry {
	t.Helper()
	key, entries := fixture.Key(t), make([]sigbox.Entry, n)
	for i := range entries {
		entries[i] = fixture.Entry(t, key, fmt.Appendf(nil, "artifact %d", i))
	}
	return entries
}

// check verifies an answer as a client does, with nothing but the entry that it
// sent and the log's place in the trust root.
func check(t testing.TB, trust sigbox.TransparencyLog, e sigbox.Entry, le sigbox.LogEntry) {
	t.Helper()
	leaf, err := entry.Leaf(e)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(leaf, le.Body) || le.Kind != "hashedrekord" || le.Version != "0.0.2" || le.IntegratedTime != 0 || le.SignedEntryTimestamp != nil {
		t.Fatalf("the answer does not fit the entry: %+v", le)
	}
	if !bytes.Equal(le.LogID, trust.LogID) || len(le.LogID) != sha256.Size {
		t.Fatalf("log ID %x, expected %x", le.LogID, trust.LogID)
	}
	pub, err := sigbox.ParsePublicKey(trust.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(hostname, pub)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Open(le.Inclusion.Checkpoint, v)
	if err != nil {
		t.Fatal(err)
	}
	if cp.Origin != hostname || cp.Size != uint64(le.Inclusion.TreeSize) || !bytes.Equal(cp.Root[:], le.Inclusion.RootHash) || le.LogIndex != le.Inclusion.LogIndex {
		t.Fatalf("the proof is not of the checkpoint: %+v, %+v", le.Inclusion, cp)
	}
	var proof tlog.RecordProof
	for _, h := range le.Inclusion.Hashes {
		proof = append(proof, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(proof, le.Inclusion.TreeSize, tlog.Hash(cp.Root), le.LogIndex, tlog.RecordHash(leaf)); err != nil {
		t.Fatal(err)
	}
}

func TestAdd(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	for n, e := range newEntries(t, 5) {
		le, err := s.Add(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if le.LogIndex != int64(n) {
			t.Errorf("index %d, expected %d", le.LogIndex, n)
		}
		check(t, s.TransparencyLog(), e, le)
	}
}

// TestDuplicate: the same entry again has its first index and a fresh proof, also
// after a restart; another signature over the same digest is another entry.
func TestDuplicate(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	entries := newEntries(t, 3)
	for _, e := range entries {
		if _, err := s.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	again := func(s *rekor.Service) {
		t.Helper()
		le, err := s.Add(t.Context(), entries[0])
		if err != nil {
			t.Fatal(err)
		}
		if le.LogIndex != 0 || le.Inclusion.TreeSize != 3 {
			t.Errorf("index %d of %d, expected 0 of 3", le.LogIndex, le.Inclusion.TreeSize)
		}
		check(t, s.TransparencyLog(), entries[0], le)
	}
	again(s)
	stop()
	s, _ = i.open(t, nil)
	again(s)
	other := newEntries(t, 1)[0]
	if le, err := s.Add(t.Context(), other); err != nil || le.LogIndex != 3 {
		t.Errorf("index %d, %v; expected a new entry", le.LogIndex, err)
	}
}

func TestConcurrent(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	entries := newEntries(t, 50)
	indices := make([]int64, 4*len(entries))
	var wg sync.WaitGroup
	for n := range indices {
		wg.Go(func() {
			e := entries[n%len(entries)]
			le, err := s.Add(t.Context(), e)
			if err != nil {
				t.Error(err)
				return
			}
			check(t, s.TransparencyLog(), e, le)
			indices[n] = le.LogIndex
		})
	}
	wg.Wait()
	seen := make(map[int64]bool)
	for n, index := range indices {
		if index != indices[n%len(entries)] {
			t.Errorf("entry %d has the indices %d and %d", n%len(entries), index, indices[n%len(entries)])
		}
		seen[index] = true
	}
	if len(seen) != len(entries) {
		t.Errorf("%d entries have %d indices", len(entries), len(seen))
	}
}

func TestRefused(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	good := newEntries(t, 2)
	for name, test := range map[string]struct {
		change func(e *sigbox.Entry)
		kind   sigbox.Kind
	}{
		"signature of another": {func(e *sigbox.Entry) { e.Signature = good[1].Signature }, sigbox.NotVerified},
		"no signature":         {func(e *sigbox.Entry) { e.Signature = nil }, sigbox.Invalid},
		"pure Ed25519":         {func(e *sigbox.Entry) { e.Details = sigbox.Ed25519 }, sigbox.Invalid},
		"no key":               {func(e *sigbox.Entry) { e.PublicKey = []byte("key") }, sigbox.Invalid},
		"too large":            {func(e *sigbox.Entry) { e.PublicKey, e.Certificate = nil, make([]byte, 1<<16) }, sigbox.Invalid},
	} {
		e := good[0]
		test.change(&e)
		if _, err := s.Add(t.Context(), e); err == nil || sigbox.KindOf(err) != test.kind {
			t.Errorf("%s: expected %s, found %v", name, test.kind, err)
		}
	}
	if size := checkpoint(t, i, s).Size; size != 0 {
		t.Errorf("%d entries were logged", size)
	}
}

func checkpoint(t *testing.T, i *instance, s *rekor.Service) sigbox.Checkpoint {
	t.Helper()
	cp, err := note.Open(s.Checkpoint(), i.signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func TestFrozen(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	e := newEntries(t, 1)[0]
	if _, err := s.Add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = i.open(t, func(c *rekor.Config) { seal(t, c.Log) })
	if _, err := s.Add(t.Context(), e); err == nil || sigbox.KindOf(err) != sigbox.Frozen {
		t.Errorf("expected a frozen log, found %v", err)
	}
	if size := checkpoint(t, i, s).Size; size != 1 {
		t.Errorf("size %d, expected that reading goes on", size)
	}
}

// TestStopped: a log that is closing is unavailable, not wrong.
func TestStopped(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	stop()
	if _, err := s.Add(t.Context(), newEntries(t, 1)[0]); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("expected unavailable, found %v", err)
	}
}

func TestTiles(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	entries := newEntries(t, 3)
	var hashes, bundle []byte
	for _, e := range entries {
		if _, err := s.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		leaf, err := entry.Leaf(e)
		if err != nil {
			t.Fatal(err)
		}
		h := tlog.RecordHash(leaf)
		hashes = append(hashes, h[:]...)
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(leaf))), leaf...)
	}
	if got, err := s.Tile(t.Context(), 0, 0, 3); err != nil || !bytes.Equal(got, hashes) {
		t.Errorf("tile %x, %v", got, err)
	}
	if got, err := s.Entries(t.Context(), 0, 3); err != nil || !bytes.Equal(got, bundle) {
		t.Errorf("bundle %q, %v", got, err)
	}
	for name, get := range map[string]func() ([]byte, error){
		"a wider tile":   func() ([]byte, error) { return s.Tile(t.Context(), 0, 0, 4) },
		"a full tile":    func() ([]byte, error) { return s.Tile(t.Context(), 0, 0, 256) },
		"the next tile":  func() ([]byte, error) { return s.Tile(t.Context(), 0, 1, 1) },
		"a higher level": func() ([]byte, error) { return s.Tile(t.Context(), 1, 0, 1) },
		"level 63":       func() ([]byte, error) { return s.Tile(t.Context(), 63, 0, 1) },
		"far away":       func() ([]byte, error) { return s.Tile(t.Context(), 0, 999999999999999999, 256) },
		"more entries":   func() ([]byte, error) { return s.Entries(t.Context(), 0, 4) },
		"a full bundle":  func() ([]byte, error) { return s.Entries(t.Context(), 0, 256) },
		"bundle far off": func() ([]byte, error) { return s.Entries(t.Context(), 999999999999999999, 1) },
	} {
		if got, err := get(); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%s: expected not found, found %x, %v", name, got, err)
		}
	}
}

func TestTransparencyLog(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	got := s.TransparencyLog()
	if got.BaseURL != "https://rekor.example" || got.Operator != "example" || got.HashAlgorithm != sigbox.SHA256 || got.Details != sigbox.Ed25519 ||
		!got.ValidFor.Start.Equal(time.Unix(1700000000, 0)) || !got.ValidFor.End.IsZero() || !bytes.Equal(got.LogID, i.signer.LogID()) {
		t.Errorf("%+v", got)
	}
	if _, err := rekor.New(rekor.Config{}); err == nil {
		t.Error("a service without a log was made")
	}
}

// TestRows: the rows of an entry are committed with it, and it is read by its index.
func TestRows(t *testing.T) {
	i := newInstance(t)
	var log *engine.Log
	s, _ := i.open(t, func(c *rekor.Config) {
		log = c.Log
		c.Rows = func(b *entry.Body, payload []byte) func(uint64) []store.Pair {
			if b.Kind != entry.KindHashedRekord || len(b.Signatures) != 1 || payload != nil {
				t.Errorf("found %+v", b)
			}
			return func(index uint64) []store.Pair {
				return []store.Pair{{Key: []byte(b.Digest.Hex()), Value: []byte{byte(index)}}}
			}
		}
	})
	for n, e := range newEntries(t, 3) {
		added, err := s.Add(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := log.Row(t.Context(), []byte(e.Digest.Hex())); err != nil || !bytes.Equal(v, []byte{byte(n)}) {
			t.Errorf("row %x, %v", v, err)
		}
		got, err := s.ByIndex(t.Context(), uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		check(t, s.TransparencyLog(), e, got)
		if d := cmp.Diff(added, got); d != "" {
			t.Errorf("entry %d (-added +found):\n%s", n, d)
		}
	}
	if _, err := s.ByIndex(t.Context(), 3); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("beyond the end: %v", err)
	}
}

// seal has a log take no more entries.
func seal(t testing.TB, l *engine.Log) {
	t.Helper()
	if _, err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}
