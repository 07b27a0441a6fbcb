package search

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
)

// list is a set of indexes that is walked from the greatest down.
type list interface {
	// seek gives the greatest index of the list that is at most limit; found is
	// false if there is none. The limits of calls never rise. With errSpent, index
	// is where to go on: nothing above it, up to limit, is in the list.
	seek(limit uint64) (index uint64, found bool, err error)
}

// errSpent ends a search that has read as much as one may.
var errSpent = errors.New("the search has read as much as one may")

// budget bounds what a list reads.
type budget struct{ left int }

func (b *budget) spend(n int) bool {
	b.left -= n
	return b.left >= 0
}

const (
	// maxWork is what one search may spend. Reading on to the next row of a term
	// costs 1, going to another place seekCost, looking at an entry entryCost: they
	// take as long, some 2 µs in all for a unit.
	maxWork   = 20_000
	seekCost  = 16
	entryCost = 4
	// near is how many rows are read on before going to another place.
	near = 16
)

// posting is the entries that say a term.
type posting struct {
	ctx    context.Context
	log    *tlog.Log
	budget budget
	term   Term
	kind   byte // 0 is any

	next func() (store.Pair, error, bool)
	stop func()
	// at is the index of the row that was read last; below it nothing is known.
	at   uint64
	kept bool // the row at at is of the kind
	end  bool
}

func (p *posting) close() {
	if p.stop != nil {
		p.stop()
		p.next, p.stop = nil, nil
	}
}

func (p *posting) seek(limit uint64) (uint64, bool, error) {
	for n := 0; ; n++ {
		switch {
		case p.end:
			return 0, false, nil
		case p.next != nil && p.kept && p.at <= limit:
			return p.at, true, nil
		}
		far := p.next == nil || p.at > limit && n >= near
		if !p.budget.spend(1) || far && !p.budget.spend(seekCost) {
			return p.unread(limit), true, errSpent
		}
		if far {
			p.open(limit)
		}
		if err := p.read(); err != nil {
			return 0, false, err
		}
	}
}

// unread gives the greatest index, up to limit, of which nothing is known.
func (p *posting) unread(limit uint64) uint64 {
	if p.next == nil || p.at > limit {
		return limit
	}
	return p.at - 1 // it is not of the kind; index 0 would have been the end
}

// open goes to the first row of an index of at most limit.
func (p *posting) open(limit uint64) {
	p.close()
	from := p.term.appendKey(nil, limit)
	p.next, p.stop = iter.Pull2(p.log.Rows(p.ctx, from, store.PrefixEnd(from[:termLen])))
}

func (p *posting) read() error {
	row, err, more := p.next()
	if err != nil {
		return err
	}
	index, ok := indexIn(row.Key)
	if !more || !ok {
		p.end = true
		return nil
	}
	p.at = index
	p.kept = p.kind == 0 || len(row.Value) == 1 && row.Value[0] == p.kind
	p.end = !p.kept && index == 0
	return nil
}

// union is what is in any of some lists.
type union []list

func (u union) seek(limit uint64) (index uint64, found bool, err error) {
	var unread uint64 // up to where lists that are spent have not been read
	for _, l := range u {
		i, ok, e := l.seek(limit)
		switch {
		case errors.Is(e, errSpent):
			unread, err = max(unread, i), e
		case e != nil:
			return 0, false, e
		case ok:
			index, found = max(index, i), true
		}
	}
	if err != nil && (!found || index < unread) {
		return unread, true, err
	}
	return index, found, nil
}

// intersection is what is in all of some lists, of which there is at least one.
type intersection []list

func (s intersection) seek(limit uint64) (uint64, bool, error) {
	for agreed := 0; agreed < len(s); {
		for _, l := range s {
			i, ok, err := l.seek(limit)
			if !ok || err != nil {
				return i, ok, err
			}
			if agreed++; i < limit {
				limit, agreed = i, 1
			}
			if agreed == len(s) {
				break
			}
		}
	}
	return limit, true, nil
}

// everything is all indexes.
type everything struct{}

func (everything) seek(limit uint64) (uint64, bool, error) { return limit, true, nil }

// spans are the indexes of spans in rising order.
type spans []tlog.Span

func (s spans) seek(limit uint64) (uint64, bool, error) {
	for _, span := range slices.Backward(s) {
		if span.From <= limit {
			return min(limit, span.To-1), true, nil
		}
	}
	return 0, false, nil
}

// ofKind is the entries of a kind, found by looking at each.
type ofKind struct {
	ctx    context.Context
	index  *Index
	budget budget
	kind   string

	bundle uint64
	kinds  []string // of the bundle's entries; nil before the first
}

func (k *ofKind) seek(limit uint64) (uint64, bool, error) {
	for i := limit; ; i-- {
		bundle, place := i/tlog.TileWidth, int(i%tlog.TileWidth) // #nosec G115 -- below 256
		if k.kinds == nil || bundle != k.bundle {
			if !k.budget.spend((place + 1) * entryCost) {
				return i, true, errSpent
			}
			var err error
			if k.kinds, err = k.index.kindsOf(k.ctx, bundle, place+1); err != nil {
				return 0, false, err
			}
			k.bundle = bundle
		}
		if k.kinds[place] == k.kind {
			return i, true, nil
		}
		if i == 0 {
			return 0, false, nil
		}
	}
}
