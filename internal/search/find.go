package search

import (
	"context"
	"errors"
	"math"
	"slices"
)

// Newest is where a search begins.
const Newest = math.MaxUint64

// Found is what a search has found.
type Found struct {
	// Indexes of entries, the newest first.
	Indexes []uint64
	// Next is where the search goes on: the entries from there on have been looked
	// through. 0 is the end.
	Next uint64
}

// Find gives the entries below an index for which q holds, at most limit of them,
// the newest first. It reads no more than a bounded part of the index, and may thus
// end before limit, even without any: Next says where to go on, and what the log
// has meanwhile grown by does not matter to that.
//
// Of entries below [Index.CompleteFrom] it may miss some. Errors are of kind Invalid
// or TooLarge for the query, and those of the log.
func (x *Index) Find(ctx context.Context, q Query, below uint64, limit int) (Found, error) {
	var f Found
	if err := q.check(); err != nil {
		return f, err
	}
	f.Next = min(below, x.cfg.Log.Head().Size)
	s := search{ctx: ctx, index: x, share: x.work / max(1, q.terms())}
	defer s.close()
	l, err := s.list(&q)
	if err != nil || l == nil {
		return Found{}, err
	}
	for f.Next > 0 && len(f.Indexes) < limit {
		i, found, err := l.seek(f.Next - 1)
		switch {
		case errors.Is(err, errSpent):
			f.Next = i + 1
			return f, nil
		case err != nil:
			return Found{}, err
		case !found:
			f.Next = 0
		default:
			f.Indexes = append(f.Indexes, i)
			f.Next = i
		}
	}
	return f, nil
}

// search is one call of Find.
type search struct {
	ctx   context.Context
	index *Index
	// share is what each list may spend: one must not starve another, or a search
	// might not get on.
	share    int
	postings []*posting
}

func (s *search) close() {
	for _, p := range s.postings {
		p.close()
	}
}

// list gives the list of what a query wants, nil for nothing at all.
func (s *search) list(q *Query) (list, error) {
	kind := q.Kind
	if own := s.index.cfg.Kinds; kind != "" && own != nil {
		if !slices.Contains(own, kind) {
			return nil, nil
		}
		if len(own) == 1 {
			kind = ""
		}
	}
	all := intersection{everything{}}
	if !q.After.IsZero() || !q.Before.IsZero() {
		between, err := s.index.cfg.Log.Between(s.ctx, q.After, q.Before)
		if err != nil {
			return nil, err
		}
		all = append(all, spans(between))
	}
	for _, c := range q.All {
		all = append(all, s.condition(c, kind))
	}
	if len(q.All) == 0 && kind != "" {
		all = append(all, &ofKind{ctx: s.ctx, index: s.index, budget: budget{s.share}, kind: kind})
	}
	return all, nil
}

// condition gives the list of a condition's entries of a kind.
func (s *search) condition(c Condition, kind string) list {
	var u union
	for _, t := range c {
		p := &posting{ctx: s.ctx, log: s.index.cfg.Log, budget: budget{s.share}, term: t, kind: kindNumber(kind)}
		s.postings = append(s.postings, p)
		u = append(u, p)
	}
	return u
}
