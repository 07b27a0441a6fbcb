package tlog

import (
	"container/list"
	"sync"
)

// cachedTiles is how many tiles a log keeps for proofs of older entries; each
// takes 16 KiB.
const cachedTiles = 128

type tileID struct {
	level uint
	index uint64
}

// tileCache keeps the full tiles that were used last.
type tileCache struct {
	max int

	mu    sync.Mutex
	byID  map[tileID]*list.Element // guarded by mu
	order list.List                // guarded by mu; of cachedTile, the last used one first
}

type cachedTile struct {
	id tileID
	t  *tile
}

func newTileCache(limit int) *tileCache {
	return &tileCache{max: limit, byID: make(map[tileID]*list.Element, limit)}
}

// get gives a tile, or nil.
func (c *tileCache) get(id tileID) *tile {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(cachedTile).t
}

// add keeps a full tile, which is not changed any more.
func (c *tileCache) add(id tileID, t *tile) {
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
