// Package memory has both stores of package store in memory, for tests and for
// instances that are thrown away. Nothing in it survives the process.
package memory

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/sigbox/sigbox/internal/store"
)

var errClosed = errors.New("the store is closed")

// KV is a [store.KV] in memory. The zero value is not usable; see [NewKV].
type KV struct {
	locks store.Locks

	mu     sync.RWMutex
	values map[string][]byte // guarded by mu; a value is never changed
	keys   []string          // guarded by mu; sorted, may have deleted ones
	fresh  []string          // guarded by mu; not yet in keys
	holes  int               // guarded by mu; how many keys have been deleted
	closed bool              // guarded by mu
}

var _ store.KV = (*KV)(nil)

// NewKV makes an empty store of the current schema version.
func NewKV() *KV {
	kv := &KV{values: make(map[string][]byte)}
	if err := store.Prepare(context.Background(), kv); err != nil {
		panic(err) // an empty map has room for one key
	}
	return kv
}

// Get implements [store.KV].
func (kv *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kv.mu.RLock()
	defer kv.mu.RUnlock()
	if kv.closed {
		return nil, errClosed
	}
	v, ok := kv.values[string(key)]
	if !ok {
		return nil, store.ErrNotFound
	}
	return bytes.Clone(v), nil
}

// Scan implements [store.KV].
func (kv *KV) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		rows, err := kv.snapshot(from, to)
		for _, row := range rows {
			if ctx.Err() != nil {
				yield(store.Pair{}, ctx.Err())
				return
			}
			if !yield(store.Pair{Key: bytes.Clone(row.Key), Value: bytes.Clone(row.Value)}, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Pair{}, err)
		}
	}
}

func (kv *KV) snapshot(from, to []byte) ([]store.Pair, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if kv.closed {
		return nil, errClosed
	}
	var rows []store.Pair
	for _, k := range kv.span(from, to) {
		if v, ok := kv.values[k]; ok {
			rows = append(rows, store.Pair{Key: []byte(k), Value: v})
		}
	}
	return rows, nil
}

// span gives the sorted keys in [from, to), deleted ones among them. kv.mu is held
// for writing.
func (kv *KV) span(from, to []byte) []string {
	kv.tidy()
	i, j := sort.SearchStrings(kv.keys, string(from)), len(kv.keys)
	if to != nil {
		j = sort.SearchStrings(kv.keys, string(to))
	}
	return kv.keys[i:max(i, j)]
}

// tidy brings the keys of values in order. kv.mu is held for writing.
func (kv *KV) tidy() {
	if kv.holes > len(kv.keys)/2 {
		kv.keys = slices.DeleteFunc(kv.keys, kv.gone)
		kv.fresh = slices.DeleteFunc(kv.fresh, kv.gone)
		kv.holes = 0
	}
	if len(kv.fresh) == 0 {
		return
	}
	slices.Sort(kv.fresh)
	kv.keys = slices.Compact(merge(kv.keys, kv.fresh))
	kv.fresh = kv.fresh[:0]
}

func (kv *KV) gone(key string) bool {
	_, ok := kv.values[key]
	return !ok
}

// merge makes one sorted slice of two.
func merge(a, b []string) []string {
	out := make([]string, 0, len(a)+len(b)+len(a)/8)
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// Commit implements [store.KV].
func (kv *KV) Commit(ctx context.Context, b store.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if kv.closed {
		return errClosed
	}
	for _, c := range b.Checks {
		have, ok := kv.values[string(c.Key)]
		if ok != (c.Want != nil) || !bytes.Equal(have, c.Want) {
			return store.ErrConflict
		}
	}
	for _, d := range b.Deletes {
		for _, k := range kv.span(d.From, d.To) {
			delete(kv.values, k)
			kv.holes++
		}
	}
	for _, w := range b.Writes {
		if kv.gone(string(w.Key)) {
			kv.fresh = append(kv.fresh, string(w.Key))
		}
		kv.values[string(w.Key)] = append([]byte{}, w.Value...)
	}
	return nil
}

// Lock implements [store.KV].
func (kv *KV) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	return kv.locks.Lock(ctx, name)
}

// Close implements [store.KV].
func (kv *KV) Close() error {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.closed = true
	return nil
}

// Blob is a [store.Publisher] in memory. The zero value is not usable; see
// [NewBlob].
type Blob struct {
	mu     sync.RWMutex
	values map[string][]byte // guarded by mu
}

var _ store.Publisher = (*Blob)(nil)

// NewBlob makes an empty store.
func NewBlob() *Blob { return &Blob{values: make(map[string][]byte)} }

// Put implements [store.Blob].
func (b *Blob) Put(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if have, ok := b.values[name]; ok {
		if !bytes.Equal(have, data) {
			return store.ErrExists
		}
		return nil
	}
	b.values[name] = bytes.Clone(data)
	return nil
}

// Get implements [store.Blob].
func (b *Blob) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	v, ok := b.values[name]
	if !ok {
		return nil, store.ErrNotFound
	}
	if int64(len(v)) > limit {
		return nil, store.TooLong(name, limit)
	}
	return bytes.Clone(v), nil
}

// GetRange implements [store.Ranger].
func (b *Blob) GetRange(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	v, err := b.Get(ctx, name, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	from := min(offset, int64(len(v)))
	return v[from:min(from+length, int64(len(v)))], nil
}

// List implements [store.Blob].
func (b *Blob) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, name := range b.names(prefix) {
			if ctx.Err() != nil {
				yield("", ctx.Err())
				return
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (b *Blob) names(prefix string) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var names []string
	for name := range b.values {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Replace implements [store.Publisher].
func (b *Blob) Replace(ctx context.Context, name string, data []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.values[name] = bytes.Clone(data)
	return nil
}

// Remove implements [store.Publisher].
func (b *Blob) Remove(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := check(ctx, name); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		delete(b.values, name)
	}
	return nil
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckName(name)
}
