package tlog

import "testing"

// Tiles of level 0 push out each other, the one that was used longest ago first, and
// none of those above.
func TestTileCache(t *testing.T) {
	c := newTileCache(2, 1)
	tiles := map[tileID]*tile{{1, 0}: {}, {0, 0}: {}, {0, 1}: {}, {0, 2}: {}}
	for _, id := range []tileID{{1, 0}, {0, 0}, {0, 1}} {
		c.add(id, tiles[id])
	}
	if c.get(tileID{0, 0}) != tiles[tileID{0, 0}] {
		t.Fatal("the first tile is gone")
	}
	c.add(tileID{0, 0}, tiles[tileID{0, 0}])
	c.add(tileID{0, 2}, tiles[tileID{0, 2}])
	for id, want := range map[tileID]bool{{1, 0}: true, {0, 0}: true, {0, 1}: false, {0, 2}: true, {1, 1}: false} {
		if got := c.get(id); (got != nil) != want || want && got != tiles[id] {
			t.Errorf("tile %v: %v, expected one: %v", id, got != nil, want)
		}
	}
}
