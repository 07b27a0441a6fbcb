package verify

import "sync"

// cache remembers a bounded number of things that were found good. Its zero value is
// empty.
type cache[K comparable, V any] struct {
	mu sync.Mutex
	// few are the first ones. Most caches hold one or two, for which a map is large.
	few   []pair[K, V] // guarded by mu; none once there is a map
	known map[K]V      // guarded by mu
}

type pair[K comparable, V any] struct {
	key   K
	value V
}

// fewest is how many a cache holds without a map.
const fewest = 4

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.few {
		if c.few[i].key == k {
			return c.few[i].value, true
		}
	}
	v, ok := c.known[k]
	return v, ok
}

// put remembers v. Where there are as many as limit, which is more than a few, some
// other one makes room.
func (c *cache[K, V]) put(k K, v V, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil && c.putFew(k, v) {
		return
	}
	if _, there := c.known[k]; !there && len(c.known) >= limit {
		for other := range c.known {
			delete(c.known, other)
			break
		}
	}
	c.known[k] = v
}

// putFew remembers v without a map, or else makes one of what there is.
func (c *cache[K, V]) putFew(k K, v V) bool {
	for i := range c.few {
		if c.few[i].key == k {
			c.few[i].value = v
			return true
		}
	}
	if len(c.few) < fewest {
		c.few = append(c.few, pair[K, V]{k, v})
		return true
	}
	c.known = make(map[K]V, 2*fewest)
	for _, p := range c.few {
		c.known[p.key] = p.value
	}
	c.few = nil
	return false
}
