package store

import (
	"bytes"
	"context"
	"iter"
	"math"
	"strings"
)

// WithPrefix gives the part of kv whose keys begin with prefix; the prefix is
// put before each key and taken off again. Closing the part does nothing: kv
// belongs to whoever opened it. A prefix must not begin another one.
func WithPrefix(kv KV, prefix string) KV { return &part{kv, []byte(prefix)} }

type part struct {
	kv     KV
	prefix []byte
}

func (p *part) key(k []byte) []byte {
	out := make([]byte, 0, len(p.prefix)+len(k))
	return append(append(out, p.prefix...), k...)
}

// end gives the key for an upper bound, of which nil is the end of the part.
func (p *part) end(k []byte) []byte {
	if k != nil {
		return p.key(k)
	}
	return PrefixEnd(p.prefix)
}

// PrefixEnd gives the first key after all that begin with prefix, or nil when
// there is none.
func PrefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func (p *part) Get(ctx context.Context, key []byte) ([]byte, error) {
	return p.kv.Get(ctx, p.key(key))
}

func (p *part) Scan(ctx context.Context, from, to []byte) iter.Seq2[Pair, error] {
	rows := p.kv.Scan(ctx, p.key(from), p.end(to))
	return func(yield func(Pair, error) bool) {
		for row, err := range rows {
			row.Key = row.Key[min(len(p.prefix), len(row.Key)):]
			if !yield(row, err) {
				return
			}
		}
	}
}

func (p *part) Commit(ctx context.Context, b Batch) error {
	// One allocation holds all keys of the batch.
	n := 0
	for _, c := range b.Checks {
		n += len(p.prefix) + len(c.Key)
	}
	for _, w := range b.Writes {
		n += len(p.prefix) + len(w.Key)
	}
	arena := make([]byte, 0, n)
	key := func(k []byte) []byte {
		i := len(arena)
		arena = append(append(arena, p.prefix...), k...)
		return arena[i:len(arena):len(arena)]
	}
	out := Batch{make([]Check, len(b.Checks)), make([]Pair, len(b.Writes)), make([]Range, len(b.Deletes))}
	for i, c := range b.Checks {
		out.Checks[i] = Check{key(c.Key), c.Want}
	}
	for i, w := range b.Writes {
		out.Writes[i] = Pair{key(w.Key), w.Value}
	}
	for i, d := range b.Deletes {
		out.Deletes[i] = Range{p.key(d.From), p.end(d.To)}
	}
	return p.kv.Commit(ctx, out)
}

func (p *part) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	return p.kv.Lock(ctx, string(p.prefix)+name)
}

func (p *part) Close() error { return nil }

// Sub gives the part of b whose names begin with dir and a slash. It is a
// [Publisher] if b is one, and a [Ranger].
func Sub(b Blob, dir string) Blob {
	s := sub{b, strings.TrimSuffix(dir, "/") + "/"}
	if p, ok := b.(Publisher); ok {
		return &subPublisher{s, p}
	}
	return &s
}

type sub struct {
	blob Blob
	dir  string
}

func (s *sub) Put(ctx context.Context, name string, data []byte) error {
	return s.blob.Put(ctx, s.dir+name, data)
}

func (s *sub) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	return s.blob.Get(ctx, s.dir+name, limit)
}

// GetRange implements [Ranger].
func (s *sub) GetRange(ctx context.Context, name string, offset, length int64) ([]byte, error) {
	return GetRange(ctx, s.blob, s.dir+name, offset, length, math.MaxInt64-1)
}

func (s *sub) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	names := s.blob.List(ctx, s.dir+prefix)
	return func(yield func(string, error) bool) {
		for name, err := range names {
			if !yield(strings.TrimPrefix(name, s.dir), err) {
				return
			}
		}
	}
}

type subPublisher struct {
	sub
	publisher Publisher
}

func (s *subPublisher) Replace(ctx context.Context, name string, data []byte) error {
	return s.publisher.Replace(ctx, s.dir+name, data)
}

func (s *subPublisher) Remove(ctx context.Context, names ...string) error {
	full := make([]string, len(names))
	for i, name := range names {
		full[i] = s.dir + name
	}
	return s.publisher.Remove(ctx, full...)
}
