package oci

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// memo remembers what was fetched, by name, and fetches what several ask for at the
// same time once. Errors are not remembered.
type memo[V any] struct {
	// size is what a value costs; limit is how much is kept, the oldest goes first.
	size  func(V) int64
	limit int64

	mu      sync.Mutex
	entries map[string]*entry[V]
	// kept are the keys of finished entries, oldest first; total is their cost.
	kept  []string
	total int64
}

type entry[V any] struct {
	done  chan struct{} // closed when value and err are there
	value V
	err   error
}

// do gives what is remembered of key, or what fetch gives.
func (m *memo[V]) do(ctx context.Context, key string, fetch func(context.Context) (V, error)) (V, error) {
	for {
		e, mine := m.enter(key)
		if mine {
			e.value, e.err = fetch(ctx)
			m.finish(key, e)
			return e.value, e.err
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
		// Who fetched may have given up where this caller has not.
		if !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, context.DeadlineExceeded) || ctx.Err() != nil {
			return e.value, e.err
		}
	}
}

// has reports whether key is remembered.
func (m *memo[V]) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[key]
	if e == nil {
		return false
	}
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// enter gives the entry of key, and whether it is for the caller to finish.
func (m *memo[V]) enter(key string) (*entry[V], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil {
		return e, false
	}
	if m.entries == nil {
		m.entries = map[string]*entry[V]{}
	}
	e := &entry[V]{done: make(chan struct{})}
	m.entries[key] = e
	return e, true
}

func (m *memo[V]) finish(key string, e *entry[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(e.done)
	if m.entries[key] != e {
		return // forgotten meanwhile
	}
	if e.err != nil {
		delete(m.entries, key)
		return
	}
	m.kept = append(m.kept, key)
	m.total += m.size(e.value)
	for m.total > m.limit && len(m.kept) > 0 {
		m.drop(m.kept[0])
	}
}

// drop takes a finished entry out. The caller holds mu.
func (m *memo[V]) drop(key string) {
	for i, k := range m.kept {
		if k == key {
			m.total -= m.size(m.entries[key].value)
			m.kept = append(m.kept[:i], m.kept[i+1:]...)
			break
		}
	}
	delete(m.entries, key)
}

// forget makes the next do fetch.
func (m *memo[V]) forget(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(key)
}

// forgetPrefix forgets all keys that begin so.
func (m *memo[V]) forgetPrefix(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.entries {
		if strings.HasPrefix(key, prefix) {
			m.drop(key)
		}
	}
}
