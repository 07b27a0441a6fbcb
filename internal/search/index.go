package search

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// Config is what an index needs. Log is required.
type Config struct {
	// Log is the log, which commits [Rows] with each entry from before Open is
	// called. Whoever opened it closes it.
	Log *tlog.Log
	// Kinds are those of the log's entries; nil is any.
	Kinds []string
	// Logger takes what operators should know; nil discards it.
	Logger *slog.Logger
}

// Index is the search index of one log. It is safe for concurrent use.
type Index struct {
	cfg Config
	// from is the index from which on all entries have their rows. Run lowers it.
	from atomic.Uint64
	work int // that one search may spend
}

const (
	// backfillPause is left between two bundles of entries that get their rows
	// late, so that those who wait for the log do not notice.
	backfillPause = 10 * time.Millisecond
	// backfillRetry is how long Run waits after a failure.
	backfillRetry = time.Minute
)

// Open opens the index of a log, before the first entry is added. Entries that have
// no rows get them from Run.
func Open(ctx context.Context, cfg Config) (*Index, error) {
	if cfg.Log == nil {
		return nil, sigbox.Errorf(sigbox.Internal, "a search index needs a log")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Index{cfg: cfg, work: maxWork}
	from, err := x.indexedFrom(ctx)
	if err != nil {
		return nil, err
	}
	if size := cfg.Log.Head().Size; from > 0 {
		cfg.Logger.Info("older entries of the log are being indexed", "log", cfg.Log.Origin(), "entries", from, "of", size)
	}
	x.from.Store(from)
	return x, nil
}

// CompleteFrom gives the index from which on all entries are found; 0 when the
// index is complete.
func (x *Index) CompleteFrom() uint64 { return x.from.Load() }

// Log is the log that is searched.
func (x *Index) Log() *tlog.Log { return x.cfg.Log }

// fromKey is the key of the row that says from which index on there are rows.
func fromKey() []byte { return []byte{version, 0} }

func fromRow(from uint64) store.Pair {
	return store.Pair{Key: fromKey(), Value: binary.BigEndian.AppendUint64(nil, from)}
}

// RowsFrom gives tlog.Config.RowsOf for a log that is not open, which may have
// entries that Run has not come to. Of those it gives no rows.
func RowsFrom(ctx context.Context, kv store.KV) (func(uint64, time.Time, []byte) ([]store.Pair, error), error) {
	from := uint64(Newest)
	v, err := tlog.ServiceRow(ctx, kv, fromKey())
	switch {
	case err == nil && len(v) == 8:
		from = binary.BigEndian.Uint64(v)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, sigbox.Errorf(sigbox.KindOf(err), "the search index cannot be read").WithCause(err)
	}
	return func(index uint64, logged time.Time, leaf []byte) ([]store.Pair, error) {
		rows, err := RowsOf(index, logged, leaf)
		if index < from {
			return nil, err
		}
		return rows, err
	}, nil
}

// indexedFrom reads from which index on there are rows. A log without an index gets
// one that begins at its end; so does one whose last entry has no rows, because a
// version without an index has written it.
func (x *Index) indexedFrom(ctx context.Context) (uint64, error) {
	size := x.cfg.Log.Head().Size
	v, err := x.cfg.Log.Row(ctx, fromKey())
	if err == nil && len(v) == 8 {
		from := binary.BigEndian.Uint64(v)
		has, err := x.lastHasRows(ctx, size)
		if err != nil {
			return 0, err
		}
		if from <= size && has {
			return from, nil
		}
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, sigbox.Errorf(sigbox.KindOf(err), "the search index of the log %s cannot be read", x.cfg.Log.Origin()).WithCause(err)
	}
	if err := x.cfg.Log.PutRows(ctx, []store.Pair{fromRow(size)}); err != nil {
		return 0, sigbox.Errorf(sigbox.KindOf(err), "the search index of the log %s cannot be begun", x.cfg.Log.Origin()).WithCause(err)
	}
	return size, nil
}

// lastHasRows says whether the last entry of a log has its rows.
func (x *Index) lastHasRows(ctx context.Context, size uint64) (bool, error) {
	if size == 0 {
		return true, nil
	}
	leaf, at, err := x.cfg.Log.Entry(ctx, size-1)
	if err != nil {
		return false, err
	}
	rows, err := RowsOf(size-1, at, leaf)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		if _, err := x.cfg.Log.Row(ctx, row.Key); errors.Is(err, store.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// Run gives rows to entries that were logged without them, the newest first, and
// returns when all have them, or with ctx's error. It goes on where the last one
// stopped. What fails is tried again.
func (x *Index) Run(ctx context.Context) error {
	for from := x.from.Load(); from > 0; from = x.from.Load() {
		wait := backfillPause
		if err := x.backfill(ctx, from); err != nil && ctx.Err() == nil {
			x.cfg.Logger.Error("older entries of the log cannot be indexed now; they are not found by search", "log", x.cfg.Log.Origin(), "below", from, "err", err)
			wait = backfillRetry
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// backfill gives rows to the last bundle of entries below from.
func (x *Index) backfill(ctx context.Context, from uint64) error {
	bundle := (from - 1) / tlog.TileWidth
	first := bundle * tlog.TileWidth
	entries, err := x.cfg.Log.Bundle(ctx, bundle, int(from-first)) // #nosec G115 -- at most 256
	if err != nil {
		return err
	}
	rows := []store.Pair{fromRow(first)}
	for i, leaf := range entries {
		r, err := RowsOf(first+uint64(i), time.Time{}, leaf) // #nosec G115 -- not negative
		if err != nil {
			return err
		}
		rows = append(rows, r...)
	}
	if err := x.cfg.Log.PutRows(ctx, rows); err != nil {
		return err
	}
	if x.from.Store(first); first == 0 {
		x.cfg.Logger.Info("all entries of the log are indexed", "log", x.cfg.Log.Origin())
	}
	return nil
}

// kindsOf gives the kinds of a bundle's first w entries.
func (x *Index) kindsOf(ctx context.Context, bundle uint64, w int) ([]string, error) {
	entries, err := x.cfg.Log.Bundle(ctx, bundle, w)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(entries))
	for i, leaf := range entries {
		b, err := entry.ParseBody(leaf)
		if err != nil {
			return nil, err
		}
		out[i] = b.Kind
	}
	return out, nil
}
