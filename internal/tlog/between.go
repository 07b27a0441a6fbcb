package tlog

import (
	"context"
	"time"
)

// Span is the indexes from From on that are below To.
type Span struct{ From, To uint64 }

// Between gives the entries that were logged in [after, before), as spans in rising
// order; a zero time is no bound. There is more than one only where an operator has
// had time go back.
func (l *Log) Between(ctx context.Context, after, before time.Time) ([]Span, error) {
	size := l.head.Load().Size
	steps, err := l.steps(ctx, size)
	if err != nil {
		return nil, err
	}
	var spans []Span
	from := uint64(0)
	for _, to := range append(steps, size) {
		s := Span{from, to}
		if !after.IsZero() {
			if s.From, err = l.firstAt(ctx, s, after); err != nil {
				return nil, err
			}
		}
		if !before.IsZero() {
			if s.To, err = l.firstAt(ctx, s, before); err != nil {
				return nil, err
			}
		}
		if s.From < s.To {
			spans = append(spans, s)
		}
		from = to
	}
	return spans, nil
}

// steps gives the indexes of entries, below size, at which time was allowed to go
// back.
func (l *Log) steps(ctx context.Context, size uint64) ([]uint64, error) {
	var steps []uint64
	for row, err := range l.cfg.KV.Scan(ctx, numberKey(rowStep, 1), numberKey(rowStep, size)) {
		if err != nil {
			return nil, l.readError(ctx, err)
		}
		n, err := parseNumber(row.Key, row.Key[1:])
		if err != nil {
			return nil, l.readError(ctx, err)
		}
		steps = append(steps, n)
	}
	return steps, nil
}

// firstAt gives the first entry of a span, in which time does not go back, that was
// logged at t or later; the span's end if there is none.
func (l *Log) firstAt(ctx context.Context, s Span, t time.Time) (uint64, error) {
	for s.From < s.To {
		middle := s.From + (s.To-s.From)/2
		at, err := l.timeAt(ctx, middle)
		if err != nil {
			return 0, err
		}
		if at.Before(t) {
			s.From = middle + 1
		} else {
			s.To = middle
		}
	}
	return s.From, nil
}

// timeAt gives when an entry was logged, without reading the entry.
func (l *Log) timeAt(ctx context.Context, index uint64) (time.Time, error) {
	at, err := movable(l.isMoved(index/TileWidth), func(moved bool) (time.Time, error) {
		if moved {
			key := numberKey(rowTimes, index/TileWidth)
			v, err := l.get(ctx, key)
			if err != nil {
				return time.Time{}, err
			}
			p, err := parsePlaces(key, v)
			if err != nil {
				return time.Time{}, err
			}
			return p.time(index % TileWidth), nil
		}
		key := numberKey(rowEntry, index)
		v, err := l.get(ctx, key)
		if err != nil {
			return time.Time{}, err
		}
		row, err := parseEntry(key, v)
		return row.time, err
	})
	return at, l.readError(ctx, err)
}
