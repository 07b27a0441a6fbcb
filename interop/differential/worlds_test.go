package differential

import (
	"testing"
	"testing/cryptotest"
)

// TestWorlds judges bundles of a world of its own.
func TestWorlds(t *testing.T) {
	cryptotest.SetGlobalRandom(t, *seed)
	c, b := newCourt(t), newBench(t)
	s := newSession(t, b)
	for _, base := range c.bases {
		s.judgeAll(c.variants(base, *mutations, *seed), s.good(base.question))
	}
	s.end()
}
