package verify

import "sync"

// cache remembers a bounded number of things that were found good. When it is
// full, some other one makes room.
type cache[K comparable, V any] struct {
	limit int
	mu    sync.Mutex
	known map[K]V // guarded by mu
}

func newCache[K comparable, V any](limit int) cache[K, V] {
	return cache[K, V]{limit: limit, known: make(map[K]V)}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.known[k]
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= c.limit {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[k] = v
}
