package verify

import "testing"

// TestCache: what was put is found, the last value of each key, with a map and
// without; there are never more than the limit.
func TestCache(t *testing.T) {
	t.Parallel()
	const limit = 2 * fewest
	var c cache[int, int]
	for k := range 3 * limit {
		for _, v := range []int{k, -k} {
			c.put(k, v, limit)
			if got, ok := c.get(k); !ok || got != v {
				t.Fatalf("key %d: found %d, %v", k, got, ok)
			}
		}
		if _, ok := c.get(k + 1); ok {
			t.Fatalf("key %d was found before it was put", k+1)
		}
		size := len(c.few) + len(c.known)
		if want := min(k+1, limit); size != want || (c.known == nil) != (size <= fewest) {
			t.Fatalf("%d of %d things are remembered, a map is %v", size, want, c.known)
		}
		for known := range min(k, fewest-1) { // all, while nothing makes room
			if got, ok := c.get(known); k < limit && (!ok || got != -known) {
				t.Fatalf("key %d: found %d, %v", known, got, ok)
			}
		}
	}
}
