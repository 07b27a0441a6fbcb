package storetest

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// Fault is what goes wrong with a write.
type Fault uint8

const (
	// None: nothing goes wrong.
	None Fault = iota
	// Refused: nothing is written, and the caller is told so, as by a full disk.
	Refused
	// LostBefore: nothing is written, and the caller cannot know.
	LostBefore
	// LostAfter: all is written, and the caller cannot know.
	LostAfter
	// CrashBefore: nothing is written, and every later call fails.
	CrashBefore
	// CrashAfter: all is written, and every later call fails.
	CrashAfter
)

// ErrCrashed is what every call gives after a crash.
var ErrCrashed = sigbox.Errorf(sigbox.Fatal, "the store has crashed")

// errRefused is the error of Refused.
var errRefused = sigbox.Errorf(sigbox.Unavailable, "no space is left")

// Faults decides what goes wrong in stores that share it: with them, it crashes
// as one process does. Its zero value lets all pass.
type Faults struct {
	// Next says what goes wrong with write number n, counted from 1; nil is None.
	// It is called by one writer at a time.
	Next func(n int) Fault

	mu      sync.Mutex
	writes  int  // guarded by mu
	crashed bool // guarded by mu
}

// Writes is the number of writes so far.
func (f *Faults) Writes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writes
}

// Crashed says whether there has been a crash.
func (f *Faults) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// err gives ErrCrashed after a crash.
func (f *Faults) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	return nil
}

// write does one write with what goes wrong. It holds the lock, so that a crash
// falls between two writes.
func (f *Faults) write(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	f.writes++
	fault := None
	if f.Next != nil {
		fault = f.Next(f.writes)
	}
	f.crashed = fault == CrashBefore || fault == CrashAfter
	if fault == Refused {
		return errRefused
	}
	if fault == None || fault == LostAfter || fault == CrashAfter {
		if err := do(); err != nil {
			return err
		}
	}
	switch fault {
	case LostBefore, LostAfter:
		return store.ErrUnknown
	case CrashBefore, CrashAfter:
		return errors.Join(store.ErrUnknown, ErrCrashed)
	}
	return nil
}

// KV gives kv with faults in its commits.
func (f *Faults) KV(kv store.KV) store.KV { return &faultyKV{f, kv} }

type faultyKV struct {
	f  *Faults
	kv store.KV
}

func (k *faultyKV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := k.f.err(); err != nil {
		return nil, err
	}
	return k.kv.Get(ctx, key)
}

func (k *faultyKV) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	if err := k.f.err(); err != nil {
		return func(yield func(store.Pair, error) bool) { yield(store.Pair{}, err) }
	}
	return k.kv.Scan(ctx, from, to)
}

func (k *faultyKV) Commit(ctx context.Context, b store.Batch) error {
	return k.f.write(func() error { return k.kv.Commit(ctx, b) })
}

func (k *faultyKV) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	return k.kv.Lock(ctx, name)
}

func (k *faultyKV) Close() error { return nil }

// Blob gives p with faults in its writes.
func (f *Faults) Blob(p store.Publisher) store.Publisher { return &faultyBlob{f, p} }

type faultyBlob struct {
	f *Faults
	p store.Publisher
}

func (b *faultyBlob) Put(ctx context.Context, name string, data []byte) error {
	return b.f.write(func() error { return b.p.Put(ctx, name, data) })
}

func (b *faultyBlob) Replace(ctx context.Context, name string, data []byte) error {
	return b.f.write(func() error { return b.p.Replace(ctx, name, data) })
}

func (b *faultyBlob) Remove(ctx context.Context, names ...string) error {
	return b.f.write(func() error { return b.p.Remove(ctx, names...) })
}

func (b *faultyBlob) Get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if err := b.f.err(); err != nil {
		return nil, err
	}
	return b.p.Get(ctx, name, limit)
}

func (b *faultyBlob) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if err := b.f.err(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return b.p.List(ctx, prefix)
}
