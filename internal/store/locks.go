package store

import (
	"context"
	"sync"
)

// Locks are the named locks of a store that one process has to itself. The zero
// value is ready.
type Locks struct {
	mu    sync.Mutex
	named map[string]chan struct{} // guarded by mu; a lock is free while its channel is empty
}

// Lock is [KV.Lock].
func (l *Locks) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	c := l.lock(name)
	select {
	case c <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	var once sync.Once
	return held, func() {
		once.Do(func() {
			cancel()
			<-c
		})
	}, nil
}

func (l *Locks) lock(name string) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.named == nil {
		l.named = make(map[string]chan struct{})
	}
	c := l.named[name]
	if c == nil {
		c = make(chan struct{}, 1)
		l.named[name] = c
	}
	return c
}
