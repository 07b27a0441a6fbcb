package verify

import "sync"

// cache remembers a bounded number of things that were found good. Its zero value is
// empty.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V // guarded by mu
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.known[k]
	return v, ok
}

// put remembers v. Where there are as many as limit, some other one makes room.
func (c *cache[K, V]) put(k K, v V, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = make(map[K]V)
	}
	if len(c.known) >= limit {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[k] = v
}
