package tlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox/internal/store"
)

func TestKnown(t *testing.T) {
	const n = 5000
	key := func(i uint64) *Hash {
		h := LeafHash(binary.BigEndian.AppendUint64(nil, i))
		return &h
	}
	k := newKnown(n)
	for i := range uint64(n) {
		k.add(key(i))
	}
	if k.lacks(key(n)) {
		t.Fatal("a filter that is not complete knows what is missing")
	}
	k.complete.Store(true)
	lacked := 0
	for i := range uint64(2 * n) {
		if !k.lacks(key(i)) {
			continue
		}
		if lacked++; i < n {
			t.Fatalf("key %d is not known", i)
		}
	}
	if lacked < n*9/10 {
		t.Errorf("%d of %d new keys are new", lacked, n)
	}
}

func TestKnownGrows(t *testing.T) {
	for size, want := range map[uint64]int{
		0: fewestWords, fewestWords * 4: fewestWords, fewestWords*4 + 1: 2 * fewestWords, 1 << 20: 1 << 18, 1 << 22: mostWords, 1 << 40: mostWords,
	} {
		k := newKnown(size)
		if len(k.words) != want || k.full(size) {
			t.Errorf("a log of %d: %d words, expected %d; full: %v", size, len(k.words), want, k.full(size))
		}
	}
	if k := newKnown(0); k.full(fewestWords*keysPerWord) || !k.full(fewestWords*keysPerWord+1) || newKnown(1<<40).full(1<<41) {
		t.Error("a filter is full at another size than it should be")
	}
}

// learnt waits until a log has its filter.
func learnt(t testing.TB, l *Log) *known {
	t.Helper()
	for t.Context().Err() == nil {
		if k := l.known.Load(); k != nil && k.complete.Load() && !k.full(l.Head().Size) {
			return k
		}
		runtime.Gosched()
	}
	t.Fatal("the log has no filter")
	return nil
}

// gets counts the reads of dedup rows.
type gets struct {
	store.KV
	n atomic.Int64
}

func (g *gets) Get(ctx context.Context, key []byte) ([]byte, error) {
	if key[0] == rowDedup {
		g.n.Add(1)
	}
	return g.KV.Get(ctx, key)
}

// New keys are not looked for in the store, those of the log are found: of this
// run, of an earlier one, and after the filter was exchanged for a larger one.
func TestNewKeysAreNotLookedFor(t *testing.T) {
	cfg := testConfig(t)
	kv := &gets{KV: cfg.KV}
	cfg.KV = kv
	l := openLog(t, cfg)
	fewest := len(learnt(t, l).words)
	const n = 200
	for i := range n {
		add(t, l, fmt.Sprint(i))
	}
	if asked := kv.n.Load(); asked > n/10 {
		t.Errorf("%d of %d new keys were looked for", asked, n)
	}
	closeLog(t, l)
	l = openLog(t, cfg)
	learnt(t, l)
	o := new(oracle)
	for i := range n {
		o.append(t, fmt.Append(nil, i))
	}
	fill(t, l, o, fewestWords*keysPerWord+1)
	if k := learnt(t, l); len(k.words) <= fewest {
		t.Errorf("the filter did not grow: %d words", len(k.words))
	}
	for i := range n {
		if r := add(t, l, fmt.Sprint(i)); !r.Existing || r.Index != uint64(i) {
			t.Fatalf("entry %d: %d, existing: %v", i, r.Index, r.Existing)
		}
	}
}

// What another process has logged is no new key, though no filter has it.
func TestKnownOfTwoWriters(t *testing.T) {
	cfg := testConfig(t)
	a, b := openLog(t, cfg), openLog(t, cfg)
	learnt(t, a)
	learnt(t, b)
	add(t, a, "1")
	for _, leaf := range []string{"1", "2"} {
		if r := add(t, b, leaf); r.Existing != (leaf == "1") {
			t.Errorf("%s: index %d, existing: %v", leaf, r.Index, r.Existing)
		}
	}
	if b.known.Load() != nil {
		t.Error("a filter is used that lacks another process's keys")
	}
	if a.Head().Size > 1 {
		t.Fatal("the first log knows of the other one")
	}
	if r := add(t, a, "2"); !r.Existing || r.Index != 1 {
		t.Errorf("index %d, existing: %v", r.Index, r.Existing)
	}
}

// A filter that was dropped, since another process has written, is read anew after a
// while, with that one's keys.
func TestKnownIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t)
		a, b := openLog(t, cfg), openLog(t, cfg)
		synctest.Wait()
		for i := range 3 {
			theirs, ours := fmt.Sprint("theirs ", i), fmt.Sprint("ours ", i)
			add(t, a, theirs)
			add(t, b, ours)
			if b.known.Load() != nil {
				t.Fatal("a filter is used that lacks another process's keys")
			}
			time.Sleep(relearnPause)
			synctest.Wait()
			k := b.known.Load()
			if k == nil || !k.complete.Load() {
				t.Fatal("the log has no filter")
			}
			for _, leaf := range []string{theirs, ours} {
				if key := LeafHash([]byte(leaf)); k.lacks(&key) {
					t.Errorf("%q is new", leaf)
				}
			}
		}
	})
}

// unlisted has dedup rows that cannot be listed, or one too many.
type unlisted struct {
	store.KV
	row store.Pair
	err error
}

func (u *unlisted) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	if from[0] != rowDedup {
		return u.KV.Scan(ctx, from, to)
	}
	return func(yield func(store.Pair, error) bool) { yield(u.row, u.err) }
}

// Keys that cannot be read at once are looked for one by one.
func TestKeysCannotBeRead(t *testing.T) {
	for name, kv := range map[string]*unlisted{
		"error": {err: errors.New("a bad block")}, "short": {row: store.Pair{Key: []byte{rowDedup, 1}}}, "long": {row: store.Pair{Key: make([]byte, 34)}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			kv.KV, cfg.KV = cfg.KV, kv
			first := openLog(t, testConfigOver(t, kv.KV))
			add(t, first, "1")
			closeLog(t, first)
			l := openLog(t, cfg)
			if r := add(t, l, "1"); !r.Existing {
				t.Errorf("logged twice")
			}
			closeLog(t, l) // waits for the attempt
			if l.known.Load() != nil {
				t.Error("half a filter is used")
			}
		})
	}
}

// endless has dedup rows without end.
type endless struct{ store.KV }

func (e endless) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	if from[0] != rowDedup {
		return e.KV.Scan(ctx, from, to)
	}
	return func(yield func(store.Pair, error) bool) {
		row := store.Pair{Key: append([]byte{rowDedup}, make([]byte, len(Hash{}))...)}
		for yield(row, nil) {
		}
	}
}

// A log that is closed while its keys are read is closed at once, and there is
// nothing in that for operators.
func TestCloseWhileKeysAreRead(t *testing.T) {
	cfg := testConfig(t)
	cfg.KV = endless{cfg.KV}
	var messages bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&messages, nil))
	l := openLog(t, cfg)
	closeLog(t, l)
	if strings.Contains(messages.String(), "level=ERROR") || l.known.Load() != nil {
		t.Errorf("filter: %v; messages:\n%s", l.known.Load() != nil, &messages)
	}
}

func testConfigOver(t testing.TB, kv store.KV) Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.KV = kv
	return cfg
}
