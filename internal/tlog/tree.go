package tlog

import (
	"crypto/sha256"
	"math/bits"
)

// A tile holds a subtree of height 8 (tlog-tiles, Merkle Tree): 256 hashes, and
// above them the nodes within the tile, so that a proof is put together without
// hashing. Hashes are written once, from left to right; a reader that only looks
// at what was complete at its size needs no lock.
type tile struct {
	// nodes has 256 hashes, then 128 that are each of two of them, … then 2.
	nodes [tileNodes * sha256.Size]byte
}

const (
	tileHeight = 8
	tileNodes  = 2*TileWidth - 2
)

// at gives node p of height r within the tile, r < 8.
func (t *tile) at(r uint, p uint64) *Hash {
	i := (2*TileWidth - 2*TileWidth>>r + int(p)) * sha256.Size // #nosec G115 -- p < 256
	return (*Hash)(t.nodes[i:])
}

// set writes hash number w, to the right of all others, and the nodes that it
// completes.
func (t *tile) set(w uint64, h *Hash) {
	*t.at(0, w) = *h
	for r := uint(1); r < tileHeight && (w+1)&(1<<r-1) == 0; r++ {
		p := w >> r
		*t.at(r, p) = nodeHash(t.at(r-1, 2*p), t.at(r-1, 2*p+1))
	}
}

// top gives the root of a full tile, which is a hash of the level above.
func (t *tile) top() Hash { return nodeHash(t.at(tileHeight-1, 0), t.at(tileHeight-1, 1)) }

// hashes gives the first n hashes as tlog-tiles has them.
func (t *tile) hashes(n uint64) []byte { return t.nodes[: n*sha256.Size : n*sha256.Size] }

// newTile makes a tile of hashes as tlog-tiles has them.
func newTile(hashes []byte) *tile {
	t := new(tile)
	for w := range len(hashes) / sha256.Size {
		t.set(uint64(w), (*Hash)(hashes[w*sha256.Size:])) // #nosec G115 -- not negative
	}
	return t
}

// nodeHash is the hash of an inner node (RFC 6962 §2.1).
func nodeHash(left, right *Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// LeafHash is the hash of a leaf (RFC 6962 §2.1).
func LeafHash(leaf []byte) (h Hash) {
	d := sha256.New()
	d.Write([]byte{0})
	d.Write(leaf)
	d.Sum(h[:0])
	return h
}

// A tree is the log's tree at one size, with the tiles of its right edge and
// those that its batch has filled in memory.
type tree struct {
	size   uint64
	levels []level
	// ragged[h] is the hash of the leaves to the right of the last complete
	// subtree of height h, if there are any: [size>>h<<h, size).
	ragged [64]Hash
	root   Hash
}

// level has consecutive tiles of a level; the last one is that of the right
// edge, unless that is empty.
type level struct {
	first uint64 // index of tiles[0]
	tiles []*tile
}

// width gives the number of hashes in the right edge's tile of a level in a tree
// of size n.
func width(n uint64, l uint) uint64 { return n >> (tileHeight * l) & (TileWidth - 1) }

// tileIndex gives the index of the right edge's tile of a level in a tree of
// size n.
func tileIndex(n uint64, l uint) uint64 {
	return n >> (tileHeight * (l + 1))
}

// grow gives a tree of the same size to which leaves can be appended. What is
// appended does not show in t.
func (t *tree) grow() *tree {
	next := &tree{size: t.size, levels: make([]level, len(t.levels), len(t.levels)+1)}
	for i := range t.levels {
		l := uint(i) // #nosec G115 -- not negative
		next.levels[i].first = tileIndex(t.size, l)
		if old := t.levels[i].tiles; width(t.size, l) > 0 {
			next.levels[i].tiles = []*tile{old[len(old)-1]}
		}
	}
	return next
}

// append adds a leaf hash, and to the levels above the roots of tiles that it
// fills.
func (t *tree) append(h Hash) {
	for l := uint(0); ; l++ {
		w := width(t.size, l)
		if int(l) == len(t.levels) { // #nosec G115 -- at most 8
			t.levels = append(t.levels, level{first: tileIndex(t.size, l)})
		}
		lv := &t.levels[l]
		if w == 0 {
			lv.tiles = append(lv.tiles, new(tile))
		}
		last := lv.tiles[len(lv.tiles)-1]
		last.set(w, &h)
		if w != TileWidth-1 {
			break
		}
		h = last.top()
	}
	t.size++
}

// seal computes the root and what proofs need, from the tiles of the right edge.
func (t *tree) seal() {
	t.root, _ = foldRight(t.size, &t.ragged, func(h uint, i uint64) (Hash, error) { return *t.node(h, i), nil })
}

// node gives the root of the complete subtree number i of height h, or nil if
// its tile is not in memory.
func (t *tree) node(h uint, i uint64) *Hash {
	l, r := h/tileHeight, h%tileHeight
	if tl := t.tile(l, i>>(tileHeight-r)); tl != nil {
		return tl.at(r, i&(TileWidth>>r-1))
	}
	return nil
}

// tile gives a tile that is in memory, or nil.
func (t *tree) tile(l uint, index uint64) *tile {
	if l >= uint(len(t.levels)) || index < t.levels[l].first {
		return nil
	}
	if i := index - t.levels[l].first; i < uint64(len(t.levels[l].tiles)) {
		return t.levels[l].tiles[i]
	}
	return nil
}

// nodeFunc gives the root of the complete subtree number i of height h.
type nodeFunc func(h uint, i uint64) (Hash, error)

// foldRight computes the root of a tree of size n from its complete subtrees
// (RFC 6962 §2.1), and on the way the hashes right of them: see tree.ragged.
func foldRight(n uint64, ragged *[64]Hash, node nodeFunc) (Hash, error) {
	if n == 0 {
		return sha256.Sum256(nil), nil
	}
	var acc Hash
	some := false
	for h := uint(0); n>>h > 0; h++ {
		ragged[h] = acc
		if n>>h&1 == 0 {
			continue
		}
		left, err := node(h, n>>h-1)
		if err != nil {
			return Hash{}, err
		}
		if some {
			acc = nodeHash(&left, &acc)
		} else {
			acc, some = left, true
		}
	}
	return acc, nil
}

// prove gives the inclusion proof of leaf i in a tree of size n (RFC 6962
// §2.1.1), i < n.
func prove(i, n uint64, ragged *[64]Hash, node nodeFunc) ([]Hash, error) {
	proof := make([]Hash, 0, bits.Len64(n-1))
	for h := uint(0); (n-1)>>h > 0; h++ {
		sibling := i>>h ^ 1
		switch {
		case sibling > (n-1)>>h: // the node has none at this height
		case (sibling+1)<<h > n:
			proof = append(proof, ragged[h])
		default:
			s, err := node(h, sibling)
			if err != nil {
				return nil, err
			}
			proof = append(proof, s)
		}
	}
	return proof, nil
}

// proveConsistency gives the proof that the tree of size m is a prefix of that
// of size n (RFC 6962 §2.1.2), m <= n. It is empty for m = 0 and m = n.
func proveConsistency(m, n uint64, node nodeFunc) ([]Hash, error) {
	if m == 0 || m == n {
		return nil, nil
	}
	var proof []Hash
	add := func(lo, hi uint64) error {
		h, err := rangeHash(lo, hi, node)
		proof = append(proof, h)
		return err
	}
	// SUBPROOF, from the root down; what it puts down comes out in reverse.
	lo, hi := uint64(0), n
	for m != hi {
		k := lo + split(hi-lo)
		var err error
		if m <= k {
			err = add(k, hi)
			hi = k
		} else {
			err = add(lo, k)
			lo = k
		}
		if err != nil {
			return nil, err
		}
	}
	if lo != 0 { // the verifier knows the old root, which is [0, m)
		if err := add(lo, hi); err != nil {
			return nil, err
		}
	}
	for i, j := 0, len(proof)-1; i < j; i, j = i+1, j-1 {
		proof[i], proof[j] = proof[j], proof[i]
	}
	return proof, nil
}

// split gives the largest power of two smaller than n, n > 1.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// rangeHash gives the root of the leaves [lo, hi), lo a multiple of a power of
// two that is no smaller than hi-lo.
func rangeHash(lo, hi uint64, node nodeFunc) (Hash, error) {
	var unused [64]Hash
	return foldRight(hi-lo, &unused, func(h uint, i uint64) (Hash, error) { return node(h, lo>>h+i) })
}
