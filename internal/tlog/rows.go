package tlog

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/sigbox/sigbox"
)

// First bytes of keys; the package documentation lists them.
const (
	rowAnchor = 'a'
	rowStep   = 'c'
	rowHead   = 'h'
	rowEntry  = 'e'
	rowTile   = 't'
	rowDedup  = 'd'
	rowLeaf   = 'l'
	rowMoved  = 'm'
	rowTimes  = 's'
	rowOther  = 'x'
)

const (
	entryHeader = 8 + sha256.Size // time and leaf hash
	batchIDLen  = 16 + 8          // instance and number
	headHeader  = batchIDLen + 8 + 8 + sha256.Size
)

func numberKey(kind byte, n uint64) []byte { return appendNumberKey(nil, kind, n) }

func appendNumberKey(dst []byte, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), n)
}

func hashKey(kind byte, h *Hash) []byte { return appendHashKey(nil, kind, h) }

func appendHashKey(dst []byte, kind byte, h *Hash) []byte {
	return append(append(dst, kind), h[:]...)
}

func tileKey(l uint, index uint64) []byte { return appendTileKey(nil, l, index) }

func appendTileKey(dst []byte, l uint, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, rowTile, byte(l)), index) // #nosec G115 -- l < 64
}

// otherKey gives the key of a service's row; nil stands for the end of them.
func otherKey(key []byte) []byte {
	if key == nil {
		return []byte{rowOther + 1}
	}
	return append([]byte{rowOther}, key...)
}

// parseNumber reads a value that is one number.
func parseNumber(key, v []byte) (uint64, error) {
	if len(v) != 8 {
		return 0, damaged(rowName(key), "a number of 8 bytes", "%d bytes", len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// appendEntry makes the value of an entry's row.
func appendEntry(dst []byte, ms int64, leaf *Hash, entry []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(ms)) // #nosec G115 -- read back as int64
	dst = append(dst, leaf[:]...)
	return append(dst, entry...)
}

// entryRow is an entry as it stands in the kv store. It shares memory with the
// value that it was read from.
type entryRow struct {
	time  time.Time
	leaf  *Hash
	entry []byte
}

func parseEntry(key, v []byte) (entryRow, error) {
	if len(v) < entryHeader {
		return entryRow{}, damaged(rowName(key), "an entry", "%d bytes", len(v))
	}
	return entryRow{millis(v), (*Hash)(v[8:]), v[entryHeader:]}, nil
}

// millis reads a time from the first 8 bytes of v.
func millis(v []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v))).UTC() // #nosec G115 -- written as int64
}

// batchID tells commits apart: who made it, and which one it is.
type batchID [batchIDLen]byte

// appendHead makes the value of the head's row.
func appendHead(dst []byte, id batchID, h Head) []byte {
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Size)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Time.UnixMilli())) // #nosec G115 -- read back as int64
	dst = append(dst, h.Root[:]...)
	return append(dst, h.Checkpoint...)
}

func parseHead(v []byte) (h Head, err error) {
	if len(v) <= headHeader {
		return Head{}, damaged(rowName([]byte{rowHead}), "a head", "%d bytes", len(v))
	}
	v = v[batchIDLen:]
	h.Size = binary.BigEndian.Uint64(v)
	h.Time = millis(v[8:])
	h.Root = Hash(v[16:])
	h.Checkpoint = string(v[16+sha256.Size:])
	if h.Size >= 1<<62 {
		return Head{}, damaged(rowName([]byte{rowHead}), "a size", "%d", h.Size)
	}
	return h, nil
}

// places says of the entries of a full bundle when they were logged, in
// milliseconds since 1970, and how long they are.
type places struct {
	times   [TileWidth]int64
	lengths [TileWidth]uint32
	// measured: the lengths are known, which older rows do not have.
	measured bool
}

// append makes the row of a bundle: the first time, then differences, then the
// lengths.
func (p *places) append(dst []byte) []byte {
	last := int64(0)
	for _, t := range p.times {
		dst = binary.AppendVarint(dst, t-last)
		last = t
	}
	for _, n := range p.lengths {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return dst
}

// parsePlaces reads the row of a bundle with a key.
func parsePlaces(key, v []byte) (*places, error) {
	p := new(places)
	ms := int64(0)
	for i := range p.times {
		d, n := binary.Varint(v)
		if n <= 0 {
			return nil, damaged(rowName(key), "the times of a bundle", "%d", i)
		}
		ms, v = ms+d, v[n:]
		p.times[i] = ms
	}
	if len(v) == 0 {
		return p, nil
	}
	for i := range p.lengths {
		d, n := binary.Uvarint(v)
		if n <= 0 || d > MaxRawEntry {
			return nil, damaged(rowName(key), "the lengths of a bundle's entries", "%d", i)
		}
		p.lengths[i], v = uint32(d), v[n:]
	}
	if p.measured = true; len(v) > 0 {
		return nil, damaged(rowName(key), "the times and lengths of a bundle", "%d bytes more", len(v))
	}
	return p, nil
}

// time is when entry i was logged.
func (p *places) time(i uint64) time.Time { return time.UnixMilli(p.times[i]).UTC() }

// place gives where entry i is in its bundle, without its prefix.
func (p *places) place(c *Config, i uint64) (offset, length int64) {
	for _, n := range p.lengths[:i] {
		offset += int64(n)
	}
	return offset + int64(i+1)*c.prefixLen(), int64(p.lengths[i]) // #nosec G115 -- i < 256
}

// splitPrefixed takes a bundle of tlog-tiles apart (Log entries): each entry
// after its length of 16 bits.
func splitPrefixed(b []byte) ([][]byte, error) {
	out := make([][]byte, 0, TileWidth)
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, sigbox.Errorf(sigbox.Invalid, "an entry bundle that ends within an entry")
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		out = append(out, b[2:n:n])
		b = b[n:]
	}
	return out, nil
}

// appendBundled appends an entry to a bundle.
func (c *Config) appendBundled(dst, entry []byte) []byte {
	if !c.RawEntries {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(entry))) // #nosec G115 -- at most MaxEntry
	}
	return append(dst, entry...)
}

// bundledLen is the number of bytes that an entry takes in a bundle.
func (c *Config) bundledLen(entry []byte) int {
	return int(c.prefixLen()) + len(entry)
}

// prefixLen is the number of bytes before each entry of a bundle.
func (c *Config) prefixLen() int64 {
	if c.RawEntries {
		return 0
	}
	return 2
}

// maxEntry is the length of the longest entry that fits into a bundle.
func (c *Config) maxEntry() int {
	if c.RawEntries {
		return MaxRawEntry
	}
	return MaxEntry
}

// split takes a stored bundle apart; one that cannot be is damaged.
func (c *Config) split(name string, bundle []byte) ([][]byte, error) {
	entries, err := c.SplitEntries(bundle)
	if err != nil {
		return nil, damaged(name, "a bundle of whole entries", "%d bytes that are none", len(bundle))
	}
	return entries, nil
}

// leafHash gives the leaf hash of a stored entry.
func (c *Config) leafHash(entry []byte) (Hash, error) {
	if c.LeafOf == nil {
		return LeafHash(entry), nil
	}
	leaf, err := c.LeafOf(entry)
	if err != nil {
		return Hash{}, err
	}
	return LeafHash(leaf), nil
}

// LeafKey is Config.KeyOf of a log whose leaves are their entries and are added
// without a Key.
func LeafKey(entry []byte) ([32]byte, error) { return LeafHash(entry), nil }
