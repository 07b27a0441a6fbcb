package tlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/internal/store"
)

// checkedEntry is an entry of the log that is read once more.
type checkedEntry struct {
	index  uint64
	logged time.Time
	entry  []byte
}

// eachOf calls f for the first w entries of a bundle, wherever they are by now.
func (c *checker) eachOf(ctx context.Context, n, w uint64, f func(checkedEntry) error) error {
	next := uint64(0)
	for row, err := range c.cfg.KV.Scan(ctx, numberKey(rowEntry, n*TileWidth), numberKey(rowEntry, n*TileWidth+w)) {
		if err != nil {
			return err
		}
		e, err := parseEntry(row.Key, row.Value)
		if err != nil {
			return err
		}
		index := binary.BigEndian.Uint64(row.Key[1:])
		if err := f(checkedEntry{index, e.time, e.entry}); err != nil {
			return err
		}
		next++
	}
	if next > 0 {
		return nil
	}
	entries, times, err := c.readBundle(ctx, n)
	if err != nil {
		return err
	}
	for i, e := range entries[:w] {
		if err := f(checkedEntry{n*TileWidth + uint64(i), time.UnixMilli(times[i]).UTC(), e}); err != nil { // #nosec G115 -- not negative
			return err
		}
	}
	return nil
}

// each calls f for all entries of a log of some size, but for bundles of which
// entries are damaged: nothing follows from those.
func (c *checker) each(ctx context.Context, size uint64, f func(checkedEntry) error) error {
	for n := uint64(0); n*TileWidth < size; n++ {
		if c.lost[n] {
			continue
		}
		if err := c.eachOf(ctx, n, min(TileWidth, size-n*TileWidth), f); err != nil {
			return err
		}
	}
	return nil
}

// rowKind is a kind of rows that follow from entries.
type rowKind struct {
	kind byte
	what string
	want string // what rows of the kind are to hold
}

// checkRows compares the rows that are there with those that there must be. Equal
// sums say that they are the same; else each is looked for.
func (c *checker) checkRows(ctx context.Context) error {
	for _, k := range []struct {
		rowKind
		on         bool
		want, have *rowSum
	}{
		{rowKind{rowDedup, FoundKey, "the index of the entry with that key"}, c.cfg.KeyOf != nil, &c.want.keys, &c.have.keys},
		{rowKind{rowLeaf, FoundLeaf, "the index of that leaf"}, c.cfg.IndexLeaves, &c.want.leaves, &c.have.leaves},
		{rowKind{rowOther, FoundRow, "the row of an entry"}, c.cfg.RowsOf != nil, &c.want.rows, &c.have.rows},
	} {
		if !k.on || *k.want == *k.have {
			continue
		}
		// As many rounds as keep the memory of one bounded.
		parts := max(k.want.n, k.have.n)/maxPart + 1
		for part := range parts {
			c.progress(PhaseCompare, part, parts)
			if err := c.compareRows(ctx, k.rowKind, part, parts); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxPart is how many rows are compared at once; each takes some 40 bytes.
const maxPart = 1 << 21

// compareRows compares those rows of a kind whose hash falls into a part. Beside a
// running log, rows of entries that came after the head was read are no finding.
func (c *checker) compareRows(ctx context.Context, k rowKind, part, parts uint64) error {
	mine := func(h *Hash) bool { return binary.BigEndian.Uint64(h[:])%parts == part }
	have := map[[16]byte]bool{}
	err := c.rowsOfKind(ctx, k.kind, func(row store.Pair, h *Hash) error {
		if mine(h) {
			have[[16]byte(h[:])] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	now, err := c.headNow(ctx)
	if err != nil {
		return err
	}
	missing := mender{c: c}
	var buf []byte
	err = c.each(ctx, now.Size, func(e checkedEntry) error {
		leaf, err := c.cfg.leafHash(e.entry)
		if err != nil {
			return nil //nolint:nilerr // found before
		}
		var inner error
		_ = c.rowsOf(e.index, e.logged, e.entry, &leaf, func(kind byte, key, value []byte) {
			if kind != k.kind || inner != nil {
				return
			}
			var h Hash
			if h, buf = rowHash(buf, key, value); !mine(&h) {
				return
			}
			if have[[16]byte(h[:])] {
				delete(have, [16]byte(h[:]))
			} else if e.index < c.head.Size {
				inner = missing.row(ctx, k, key, value, e.index)
			}
		})
		return inner // an error of the entry's was found before
	})
	if err != nil {
		return err
	}
	if len(have) > 0 {
		if err := c.strays(ctx, k, have); err != nil {
			return err
		}
	}
	return missing.flush(ctx)
}

// headNow reads the head again: it may have moved on.
func (c *checker) headNow(ctx context.Context) (Head, error) {
	v, err := c.cfg.KV.Get(ctx, []byte{rowHead})
	if err != nil {
		return Head{}, err
	}
	return parseHead(v)
}

// rowsOfKind calls f for all rows of a kind, with their hashes.
func (c *checker) rowsOfKind(ctx context.Context, kind byte, f func(store.Pair, *Hash) error) error {
	var buf []byte
	var h Hash
	for row, err := range c.cfg.KV.Scan(ctx, []byte{kind}, []byte{kind + 1}) {
		if err != nil {
			return err
		}
		if kind == rowOther && c.cfg.given(row.Key) {
			continue
		}
		h, buf = rowHash(buf, row.Key, row.Value)
		if err := f(row, &h); err != nil {
			return err
		}
	}
	return nil
}

// strays notes rows that follow from no entry.
func (c *checker) strays(ctx context.Context, k rowKind, stray map[[16]byte]bool) error {
	wrong := mender{c: c}
	err := c.rowsOfKind(ctx, k.kind, func(row store.Pair, h *Hash) error {
		if !stray[[16]byte(h[:])] || c.mayBeLost(k, row.Value) {
			return nil
		}
		return wrong.stray(ctx, k, row)
	})
	if err != nil {
		return err
	}
	return wrong.flush(ctx)
}

// mayBeLost says whether a row may be one of an entry that is damaged.
func (c *checker) mayBeLost(k rowKind, value []byte) bool {
	if len(c.lost) == 0 {
		return false
	}
	index, err := parseNumber(nil, value)
	return k.kind == rowOther || err == nil && c.lost[index/TileWidth]
}

// mender repairs rows, many in one commit.
type mender struct {
	c       *checker
	writes  []store.Pair
	deletes []store.Range
}

// row notes a row that is missing.
func (m *mender) row(ctx context.Context, k rowKind, key, value []byte, index uint64) error {
	key, value = bytes.Clone(key), bytes.Clone(value)
	return m.c.find(Finding{What: k.what, Name: rowName(key), Want: fmt.Sprintf("%s, %d", k.want, index), Got: "none, or another"}, func() error {
		m.writes = append(m.writes, store.Pair{Key: key, Value: value})
		return m.some(ctx)
	})
}

// stray notes a row that follows from no entry.
func (m *mender) stray(ctx context.Context, k rowKind, row store.Pair) error {
	return m.c.find(Finding{What: k.what, Name: rowName(row.Key), Want: "a row that follows from an entry", Got: fmt.Sprintf("%.64x", row.Value)}, func() error {
		m.deletes = append(m.deletes, store.Range{From: row.Key, To: append(bytes.Clone(row.Key), 0)})
		return m.some(ctx)
	})
}

func (m *mender) some(ctx context.Context) error {
	if len(m.writes)+len(m.deletes) < 1000 {
		return nil
	}
	return m.flush(ctx)
}

func (m *mender) flush(ctx context.Context) error {
	if len(m.writes)+len(m.deletes) == 0 {
		return nil
	}
	err := m.c.commit(ctx, m.writes, m.deletes...)
	m.writes, m.deletes = nil, nil
	return err
}
