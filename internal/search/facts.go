package search

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// Facts are what an entry says, and what the log says of it. Who would rely on them
// verifies the entry.
type Facts struct {
	Index uint64
	// Logged is when, by the log's clock.
	Logged        time.Time
	Leaf          [sha256.Size]byte // the leaf hash
	Kind, Version string
	// Digests are "sha256:…": of the artifact or the payload, then of the envelope.
	Digests []string
	Signers []Signer
}

// Facts reads what the entry with an index says.
func (x *Index) Facts(ctx context.Context, index uint64) (Facts, error) {
	leaf, at, err := x.cfg.Log.Entry(ctx, index)
	if err != nil {
		return Facts{}, err
	}
	b, err := entry.ParseBody(leaf)
	if err != nil {
		return Facts{}, err
	}
	f := FactsOf(leaf, b)
	f.Index, f.Logged = index, at
	return f, nil
}

// Leaves gives the leaf hashes of entries, the newest first as Find has them.
func (x *Index) Leaves(ctx context.Context, indexes []uint64) ([][sha256.Size]byte, error) {
	out := make([][sha256.Size]byte, len(indexes))
	var tile []byte
	last := uint64(0) // index of the tile
	for i, index := range indexes {
		n, place := index/tlog.TileWidth, int(index%tlog.TileWidth) // #nosec G115 -- below 256
		if tile == nil || n != last || len(tile) < (place+1)*sha256.Size {
			var err error
			if tile, err = x.cfg.Log.Tile(ctx, 0, n, place+1); err != nil {
				return nil, err
			}
			last = n
		}
		out[i] = [sha256.Size]byte(tile[place*sha256.Size:])
	}
	return out, nil
}
