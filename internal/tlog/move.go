package tlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// maxMoved bounds the bundles that one commit of the mover lets go of.
const maxMoved = 16

// keptBuffer bounds the buffers, in bytes, that are kept for the next use.
const keptBuffer = 4 << 20

// move is the mover: it brings full bundles and tiles to the blob store and
// publishes checkpoints, until the log is closed, or sealed and published to its end.
func (l *Log) move() {
	interval := l.cfg.PublishInterval
	if interval < 0 {
		interval = time.Duration(1<<63 - 1)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	ended := l.sequenced
	var again <-chan time.Time // after the end, until all is published
	for {
		publish := false
		select {
		case <-l.full:
		case <-tick.C:
			publish = true
		case <-ended:
			ended, publish = nil, true
		case <-again:
			publish = true
		case <-l.stop:
			l.drain()
			return
		}
		last := publish && l.finished()
		if l.moveAndPublish(publish) && last {
			return
		}
		if last {
			again = time.After(sealPause)
		}
	}
}

// sealPause is how long a sealed log waits before it tries again to publish its end: its
// anchor may not have answered yet.
const sealPause = time.Second

// drain does the last round, after the sequencer's.
func (l *Log) drain() {
	select {
	case <-l.sequenced:
		l.moveAndPublish(true)
	case <-l.ctx.Done():
	}
}

// moveAndPublish does one round, and says whether that is done. What fails is tried
// again in the next.
func (l *Log) moveAndPublish(publish bool) (done bool) {
	err := l.round(publish)
	switch {
	case err == nil:
		return l.stopped() == nil
	case l.ctx.Err() != nil:
	case errors.Is(err, store.ErrExists):
		l.forked(sigbox.Errorf(sigbox.Fatal, "the log %s differs from what it has published: it was forked", l.cfg.Origin).
			WithHint("another instance may use the same directory or bucket").WithCause(fmt.Errorf("%w: %w", errForked, err)))
	default:
		l.metrics.moveErrors.Inc()
		l.log.Error("tiles were not moved or published; they stay where they are", "err", err)
	}
	return false
}

// round moves what is full and, if told to, publishes. A log that is shut does neither:
// what it has may be a fork.
func (l *Log) round(publish bool) error {
	if l.stopped() != nil {
		return nil
	}
	ctx, release, err := l.cfg.KV.Lock(l.ctx, "move")
	if err != nil {
		return err
	}
	defer release()
	snap := l.head.Load()
	if err := l.moveFull(ctx, snap); err != nil {
		return err
	}
	if p, ok := l.cfg.Blob.(store.Publisher); ok && publish && l.cfg.PublishInterval > 0 && l.stopped() == nil {
		return l.publish(ctx, p, snap)
	}
	return nil
}

// moveFull moves all full bundles of a tree, and the tiles above them.
func (l *Log) moveFull(ctx context.Context, snap *snapshot) error {
	full := snap.Size >> tileHeight
	for from := l.moved.Load(); from < full; from = l.moved.Load() {
		to := min(full, from+maxMoved)
		b, err := l.putBundles(ctx, snap, from, to)
		if err != nil {
			return l.movedMeanwhile(ctx, snap, from, err)
		}
		if err := l.cfg.KV.Commit(ctx, b); err != nil {
			return l.movedMeanwhile(ctx, snap, from, err)
		}
		l.raiseMoved(to)
		l.metrics.moved.Set(float64(to))
	}
	return nil
}

// movedMeanwhile looks whether another process has moved the same bundles, after
// which err means nothing: the next round goes on from there.
func (l *Log) movedMeanwhile(ctx context.Context, snap *snapshot, from uint64, err error) error {
	if loadErr := l.loadMoved(ctx, snap.Size); loadErr != nil {
		return errors.Join(err, loadErr)
	}
	if l.moved.Load() > from {
		return nil
	}
	return err
}

// putBundles writes bundles and tiles to the blob store, and gives the batch that
// then lets go of them in the kv store.
func (l *Log) putBundles(ctx context.Context, snap *snapshot, from, to uint64) (store.Batch, error) {
	b := store.Batch{
		Checks:  []store.Check{{Key: []byte{rowMoved}}},
		Writes:  []store.Pair{{Key: []byte{rowMoved}, Value: binary.BigEndian.AppendUint64(nil, to)}},
		Deletes: []store.Range{{From: numberKey(rowEntry, from*TileWidth), To: numberKey(rowEntry, to*TileWidth)}},
	}
	if from > 0 {
		b.Checks[0].Want = binary.BigEndian.AppendUint64(nil, from)
	}
	for n := from; n < to; n++ {
		row, err := l.putBundle(ctx, snap, n)
		if err != nil {
			return b, err
		}
		b.Writes = append(b.Writes, store.Pair{Key: numberKey(rowTimes, n), Value: row})
	}
	for lv := uint(0); from>>(tileHeight*lv) < to>>(tileHeight*lv); lv++ {
		first, end := from>>(tileHeight*lv), to>>(tileHeight*lv)
		for i := first; i < end; i++ {
			if err := l.putTile(ctx, snap, lv, i); err != nil {
				return b, err
			}
		}
		b.Deletes = append(b.Deletes, store.Range{From: tileKey(lv, first), To: tileKey(lv, end)})
	}
	return b, nil
}

// putBundle writes a full bundle to the blob store and gives the row of its
// entries' times and lengths.
// What is damaged stays where it is.
func (l *Log) putBundle(ctx context.Context, snap *snapshot, n uint64) ([]byte, error) {
	t, err := l.tileOf(ctx, snap, 0, n)
	if err != nil {
		return nil, err
	}
	bundle := l.bundle[:0]
	p := new(places)
	err = l.scanEntries(ctx, n*TileWidth, (n+1)*TileWidth, func(at uint64, row entryRow) error {
		bundle = l.cfg.appendBundled(bundle, row.entry)
		p.times[at%TileWidth], p.lengths[at%TileWidth] = row.time.UnixMilli(), uint32(len(row.entry)) // #nosec G115 -- at most MaxRawEntry
		return l.cfg.checkLeaf("", at, row.entry, t.at(0, at%TileWidth))
	})
	if err != nil {
		return nil, err
	}
	if cap(bundle) <= keptBuffer {
		l.bundle = bundle
	}
	return p.append(nil), l.putFull(ctx, l.cfg.bundlePath(n), bundle)
}

// putTile writes a full tile to the blob store.
func (l *Log) putTile(ctx context.Context, snap *snapshot, lv uint, index uint64) error {
	t, err := l.tileOf(ctx, snap, lv, index)
	if err != nil {
		return err
	}
	return l.putFull(ctx, tilePath(lv, index), t.hashes(TileWidth))
}

// putFull writes a full tile or bundle, and removes the partial ones that were
// published of it.
func (l *Log) putFull(ctx context.Context, name string, data []byte) error {
	if err := l.cfg.Blob.Put(ctx, name, data); err != nil {
		return err
	}
	p, ok := l.cfg.Blob.(store.Publisher)
	if !ok {
		return nil
	}
	var partial []string
	for n, err := range p.List(ctx, partialDir(name)) {
		if err != nil {
			return err
		}
		partial = append(partial, n)
	}
	if len(partial) == 0 {
		return nil
	}
	return p.Remove(ctx, partial...)
}

// publish writes the partial tiles of a tree and then its checkpoint, unless as
// much is published. All full tiles are there already.
func (l *Log) publish(ctx context.Context, p store.Publisher, snap *snapshot) error {
	cp, found, err := l.publishedCheckpoint(ctx)
	if err != nil || (found && cp.Size >= snap.Size) {
		return err
	}
	for i := range snap.tree.levels {
		lv := uint(i) // #nosec G115 -- not negative
		w := width(snap.Size, lv)
		if w == 0 {
			continue
		}
		index := tileIndex(snap.Size, lv)
		if err := p.Put(ctx, partialPath(tilePath(lv, index), w), snap.tree.tile(lv, index).hashes(w)); err != nil {
			return err
		}
	}
	if err := l.publishPartialBundle(ctx, p, snap); err != nil {
		return err
	}
	if l.stopped() != nil { // by now
		return nil //nolint:nilerr // whoever stopped it has said why
	}
	return p.Replace(ctx, checkpointPath, []byte(snap.Checkpoint))
}

func (l *Log) publishPartialBundle(ctx context.Context, p store.Publisher, snap *snapshot) error {
	w := width(snap.Size, 0)
	if w == 0 {
		return nil
	}
	index := tileIndex(snap.Size, 0)
	// It may be full by now, but it is not moved: that is the mover's work too.
	bundle, err := l.hotBundle(ctx, snap.tree.tile(0, index), index, w)
	if err != nil {
		return err
	}
	return p.Put(ctx, partialPath(l.cfg.bundlePath(index), w), bundle)
}
