package tlog

import (
	"container/list"
	"sync"
)

const (
	// cachedTiles and cachedAbove are how many tiles of level 0 a log keeps for proofs
	// of older entries, and how many of those above; each takes 16 KiB. 16 million
	// entries have no more than cachedAbove: whatever is read in them, one tile of
	// each level is read and hashed for it at most.
	cachedTiles, cachedAbove = 128, 257
)

type tileID struct {
	level uint
	index uint64
}

// tileCache keeps the full tiles that were used last. Those of level 0 do not push
// out those above, of which each proves many.
type tileCache struct{ zero, above recent }

func newTileCache(zero, above int) *tileCache {
	c := new(tileCache)
	c.zero.init(zero)
	c.above.init(above)
	return c
}

func (c *tileCache) of(level uint) *recent {
	if level == 0 {
		return &c.zero
	}
	return &c.above
}

// get gives a tile, or nil.
func (c *tileCache) get(id tileID) *tile { return c.of(id.level).get(id) }

// add keeps a full tile, which is not changed any more.
func (c *tileCache) add(id tileID, t *tile) { c.of(id.level).add(id, t) }

// recent keeps the tiles that were used last.
type recent struct {
	max int

	mu    sync.Mutex
	byID  map[tileID]*list.Element // guarded by mu
	order list.List                // guarded by mu; of cachedTile, the last used one first
}

type cachedTile struct {
	id tileID
	t  *tile
}

func (c *recent) init(limit int) { c.max, c.byID = limit, make(map[tileID]*list.Element) }

func (c *recent) get(id tileID) *tile {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(cachedTile).t
}

func (c *recent) add(id tileID, t *tile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.order.MoveToFront(e)
		return
	}
	c.byID[id] = c.order.PushFront(cachedTile{id, t})
	if c.order.Len() > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byID, last.Value.(cachedTile).id)
	}
}
