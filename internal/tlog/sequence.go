package tlog

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

const (
	// maxStep is how far the clock may go back before the log refuses to write;
	// until then it holds the last time.
	maxStep = time.Second
	// maxAttempts bounds how often a batch is made anew after somebody else's
	// commit was first.
	maxAttempts = 10
	// maxUnknown bounds how often the fate of a commit is asked for.
	maxUnknown = 8
	// tellEvery is how often it is logged that nothing can be written, while that
	// lasts: the messages may go to the disk that is full.
	tellEvery = 10 * time.Second
)

// snapshot is a published head with what proofs against it need. It is never
// changed.
type snapshot struct {
	Head
	row  []byte // value of the head's row
	tree *tree
}

// sequence is the sequencer: it commits batch after batch until the queue is
// closed and empty.
func (l *Log) sequence() {
	for {
		b, open := l.queue.take()
		switch {
		case b != nil:
			l.process(b)
		case !open:
			return
		default:
			select {
			case <-l.queue.wake:
			case <-l.ctx.Done():
				l.queue.close(errStopping())
			}
		}
	}
}

// process commits a batch and tells everybody the outcome.
func (l *Log) process(b *batch) {
	l.metrics.batchSize.Observe(float64(len(b.requests)))
	if err := l.commit(b.requests); err != nil {
		for _, r := range b.requests {
			if r.err == nil && !r.existing {
				r.err = err
			}
		}
	}
	l.queue.release(b.requests...)
	close(b.done)
}

// commit logs those requests that are not in the log, in order. An error is the
// outcome of all that have none yet.
func (l *Log) commit(requests []*request) error {
	if err := l.stopped(); err != nil {
		return err
	}
	if err := l.lookFirst(); err != nil {
		return err
	}
	_, release, err := l.cfg.KV.Lock(l.ctx, "sequence")
	if err != nil {
		return l.notWritten(err)
	}
	defer release()
	for range maxAttempts {
		if err := l.recheck(requests); err != nil {
			return err
		}
		next, b, err := l.build(requests)
		if err != nil || next.Size == l.head.Load().Size {
			return err
		}
		switch err := l.settle(b, next); {
		case err == nil:
			l.written()
			if err := l.lookFirst(); err != nil { // it took long, and a copy went on meanwhile: nobody is shown this head
				return err
			}
			l.publishHead(next, requests)
			return nil
		case !errors.Is(err, store.ErrConflict):
			return err
		}
		if err := l.follow(); err != nil {
			return err
		}
	}
	return busy()
}

// settle commits b and makes sure of the outcome: nil when it is durable,
// ErrConflict when the head was another one and nothing, or something that the
// caller will find, was written.
func (l *Log) settle(b store.Batch, next *snapshot) error {
	start := l.cfg.Now()
	err := l.cfg.KV.Commit(l.ctx, b)
	l.metrics.commitTime.Observe(l.cfg.Now().Sub(start).Seconds())
	switch {
	case err == nil || errors.Is(err, store.ErrConflict):
		return err
	case errors.Is(err, store.ErrUnknown):
		l.log.Warn("the outcome of a commit is unknown", "size", next.Size, "err", err)
		return l.resolve(next)
	}
	return l.notWritten(err)
}

// resolve finds out whether next is durable, by a commit of nothing that checks
// for it. Until it knows, nothing else is sequenced, and nobody has seen next.
func (l *Log) resolve(next *snapshot) error {
	wait := 10 * time.Millisecond
	var err error
	for range maxUnknown {
		err = l.cfg.KV.Commit(l.ctx, store.Batch{Checks: []store.Check{{Key: []byte{rowHead}, Want: next.row}}})
		if err == nil || errors.Is(err, store.ErrConflict) {
			l.log.Info("the outcome of the commit is known", "size", next.Size, "durable", err == nil)
			return err
		}
		if sigbox.KindOf(err) == sigbox.Fatal {
			break
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-l.ctx.Done():
		}
	}
	l.fail(sigbox.Errorf(sigbox.Fatal, "it cannot be known whether the last commit is durable").
		WithHint("look for disk errors, then restart: the log goes on from what is durable").WithCause(err))
	return l.stopped()
}

// notWritten is the error for a commit that certainly did not happen.
func (l *Log) notWritten(err error) error {
	l.metrics.commitErrs.Inc()
	l.tellNotWritten(err)
	if sigbox.KindOf(err) == sigbox.Fatal {
		l.fail(sigbox.Errorf(sigbox.Fatal, "the log's store takes no more writes").WithCause(err))
		return l.stopped()
	}
	if e, ok := errors.AsType[*sigbox.Error](err); ok && e.Kind == sigbox.Unavailable {
		return e
	}
	return sigbox.Errorf(sigbox.Unavailable, "the log cannot write at present").WithHint("try again later").WithCause(err)
}

// tellNotWritten logs the first failure to write, and a later one now and then.
func (l *Log) tellNotWritten(err error) {
	now := l.cfg.Now()
	if since := now.Sub(l.told); !l.told.IsZero() && since >= 0 && since < tellEvery {
		return
	}
	l.told = now
	l.log.Error("nothing was written", "err", err)
}

// written notes that a commit is durable.
func (l *Log) written() {
	if !l.told.IsZero() {
		l.told = time.Time{}
		l.log.Info("the log writes again")
	}
}

// follow takes over the head that another process has committed, once it is sure
// that it is durable.
func (l *Log) follow() error {
	for range maxAttempts {
		snap, err := l.load(l.ctx)
		if err == nil {
			err = l.checkExtends(l.ctx, l.head.Load(), snap)
		}
		if err != nil {
			return l.lost(err)
		}
		err = l.cfg.KV.Commit(l.ctx, store.Batch{Checks: []store.Check{{Key: []byte{rowHead}, Want: snap.row}}})
		if err == nil {
			if err := l.lookFirst(); err != nil { // it may be what was durable and not shown
				return err
			}
			l.head.Store(snap)
			l.known.Store(nil) // keys of others are not in it
			l.epoch.Add(1)
			l.renewKnown()
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return l.lost(err)
		}
	}
	return busy()
}

// busy is the error when other processes are always first.
func busy() error {
	return sigbox.Errorf(sigbox.Unavailable, "other writers of the log were first %d times", maxAttempts).WithHint("try again")
}

// recheck finds out which requests another process has logged: those that looked
// for their key before the log followed that process may have missed it.
func (l *Log) recheck(requests []*request) error {
	for range maxAttempts {
		behind, err := l.recheckAt(l.head.Load(), requests)
		if err != nil {
			return l.lost(err)
		}
		if !behind {
			return nil
		}
		before := l.head.Load()
		if err := l.follow(); err != nil {
			return err
		}
		if l.head.Load().Size == before.Size {
			return l.lost(damaged("rows d", "keys of entries in the log alone", "one beyond size %d", before.Size))
		}
	}
	return busy()
}

// recheckAt is recheck at a head; behind says that there is a newer one.
func (l *Log) recheckAt(snap *snapshot, requests []*request) (behind bool, err error) {
	epoch := l.epoch.Load()
	for _, r := range requests {
		if r.epoch == epoch || r.err != nil || r.existing {
			continue
		}
		index, found, err := l.find(l.ctx, r.key)
		switch {
		case err != nil:
			return false, err
		case found && index >= snap.Size:
			return true, nil
		case found:
			r.index, r.existing, r.snap = index, true, snap
		}
		r.epoch = epoch
	}
	return false, nil
}

// lost stops the log if err is fatal, and gives the error for callers.
func (l *Log) lost(err error) error {
	if e, ok := errors.AsType[*sigbox.Error](err); ok && e.Kind == sigbox.Fatal {
		l.fail(e)
		return l.stopped()
	}
	return sigbox.Errorf(sigbox.Unavailable, "the log cannot read its head at present").WithHint("try again later").WithCause(err)
}

// checkExtends makes sure that snap's tree begins with old's.
func (l *Log) checkExtends(ctx context.Context, old, snap *snapshot) error {
	if snap == nil || snap.Size < old.Size {
		return sigbox.Errorf(sigbox.Fatal, "the log's store went back: expected at least %d entries", old.Size).
			WithHint("was it restored while the log was running?")
	}
	root, err := l.rootAt(ctx, snap, old.Size)
	if err != nil {
		return err
	}
	if root != old.Root {
		return sigbox.Errorf(sigbox.Fatal, "the log's store holds another log: the first %d entries differ", old.Size)
	}
	return nil
}

// publishHead makes a durable head visible and sets the outcome of requests.
func (l *Log) publishHead(next *snapshot, requests []*request) {
	old := l.head.Swap(next)
	keys := l.known.Load()
	added := 0
	for _, r := range requests {
		if r.err == nil && !r.existing {
			r.snap = next
			added++
			if keys != nil {
				keys.add(&r.key)
			}
		}
	}
	if keys != nil && keys.full(next.Size) {
		l.renewKnown()
	}
	l.metrics.entries.Add(float64(added))
	l.metrics.size.Set(float64(next.Size))
	for i, lv := range next.tree.levels {
		for j, t := range lv.tiles {
			if at := lv.first + uint64(j); at < tileIndex(next.Size, uint(i)) { // #nosec G115 -- not negative
				l.tiles.add(tileID{uint(i), at}, t) // #nosec G115 -- not negative
			}
		}
	}
	if old.Size>>tileHeight != next.Size>>tileHeight {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// ErrClock is in the chain of the error that refuses entries while the clock
// stands more than a second behind the log's last time.
var ErrClock = errors.New("the clock stands behind the log")

// acceptClock lets time go back, if it has to and an operator accepts that.
func (l *Log) acceptClock(ctx context.Context) error {
	snap := l.head.Load()
	if _, err := l.tick(snap.Time); err == nil || !l.cfg.AcceptClock || l.sealed.Load() {
		return nil
	}
	now := l.cfg.Now().UTC().Truncate(time.Millisecond)
	next, err := l.seal(snap.tree, now)
	if err != nil {
		return err
	}
	step := binary.BigEndian.AppendUint64(nil, uint64(snap.Time.UnixMilli())) // #nosec G115 -- read back as int64
	step = binary.BigEndian.AppendUint64(step, uint64(now.UnixMilli()))       // #nosec G115 -- the same
	err = l.cfg.KV.Commit(ctx, store.Batch{
		Checks: []store.Check{{Key: []byte{rowHead}, Want: snap.row}},
		Writes: []store.Pair{{Key: numberKey(rowStep, snap.Size), Value: step}, {Key: []byte{rowHead}, Value: next.row}},
	})
	if err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "cannot set the time of the log %s back", l.cfg.Origin).WithCause(err)
	}
	l.log.Warn("the log's time was set back, as accepted", "from", snap.Time, "to", now, "size", snap.Size)
	l.head.Store(next)
	return nil
}

// tick gives the time of the next commit: never before the last one.
func (l *Log) tick(last time.Time) (time.Time, error) {
	now := l.cfg.Now().UTC().Truncate(time.Millisecond)
	back := last.Sub(now)
	if back > maxStep {
		return time.Time{}, sigbox.Errorf(sigbox.Unavailable, "the server's clock went back: it shows %s, and the log's last entry is of %s",
			now.Format(time.RFC3339), last.Format(time.RFC3339)).
			WithHint("set the clock right; the log goes on when it is past that time; if it was ahead then, docs/operations.md has the way out").WithCause(ErrClock)
	}
	if back > 0 {
		return last, nil
	}
	return now, nil
}

// build makes the batch that appends requests to the head, and what the log will
// then be. Requests that turn out to be impossible get their error.
func (l *Log) build(requests []*request) (*snapshot, store.Batch, error) {
	head := l.head.Load()
	now, err := l.tick(head.Time)
	if err != nil {
		return nil, store.Batch{}, l.notWritten(err)
	}
	w := writer{log: l, now: now, tree: head.tree.grow(), arena: l.arena[:0], writes: l.writes[:0]}
	for _, r := range requests {
		if r.err == nil && !r.existing {
			w.add(r)
		}
	}
	w.tiles(head.Size)
	w.tree.seal()
	next, err := l.seal(w.tree, now)
	if err != nil {
		return nil, store.Batch{}, err
	}
	w.writes = append(w.writes, store.Pair{Key: []byte{rowHead}, Value: next.row})
	l.arena, l.writes = w.arena, w.writes
	if cap(l.arena) > keptBuffer {
		l.arena = nil
	}
	return next, store.Batch{
		Checks: []store.Check{{Key: []byte{rowHead}, Want: head.row}},
		Writes: w.writes,
	}, nil
}

// seal signs the checkpoint of a tree and makes its snapshot.
func (l *Log) seal(t *tree, now time.Time) (*snapshot, error) {
	h := Head{Size: t.size, Root: t.root, Time: now}
	var err error
	h.Checkpoint, err = note.SignAt(sigbox.Checkpoint{Origin: l.cfg.Origin, Size: h.Size, Root: h.Root}, now, l.cfg.Signers...)
	if err != nil {
		return nil, l.notWritten(err)
	}
	l.batches++
	var id batchID
	copy(id[:], l.instance[:])
	binary.BigEndian.PutUint64(id[len(l.instance):], l.batches)
	return &snapshot{h, appendHead(nil, id, h), t}, nil
}

// writer gathers the writes of a batch. Keys and values are slices of one
// growing array; those that were cut from an earlier, smaller one stay valid.
type writer struct {
	log    *Log
	now    time.Time
	tree   *tree
	arena  []byte
	writes []store.Pair
}

// add appends a request to the tree and writes its rows.
func (w *writer) add(r *request) {
	index := w.tree.size
	if r.leaf.Make != nil {
		leaf, entry := r.leaf.Make(index, w.now)
		if r.err = w.log.checkLength(entry); r.err != nil {
			return
		}
		r.hash, r.entry = LeafHash(leaf), entry
	}
	r.index = index
	w.tree.append(r.hash)

	at := len(w.arena)
	w.arena = appendNumberKey(w.arena, rowEntry, index)
	key := len(w.arena)
	w.arena = appendEntry(w.arena, w.now.UnixMilli(), &r.hash, r.entry)
	w.put(at, key)
	w.index(rowDedup, &r.key, index)
	if w.log.cfg.IndexLeaves {
		w.index(rowLeaf, &r.hash, index)
	}
	if r.leaf.Rows != nil {
		for _, row := range r.leaf.Rows(index) {
			w.writes = append(w.writes, store.Pair{Key: otherKey(row.Key), Value: row.Value})
		}
	}
}

// put adds a write whose key begins at at in the arena, and whose value at value.
func (w *writer) put(at, value int) {
	end := len(w.arena)
	w.writes = append(w.writes, store.Pair{Key: w.arena[at:value:value], Value: w.arena[value:end:end]})
}

// index writes a row that leads from a hash to an index.
func (w *writer) index(kind byte, h *Hash, index uint64) {
	at := len(w.arena)
	w.arena = appendHashKey(w.arena, kind, h)
	key := len(w.arena)
	w.arena = binary.BigEndian.AppendUint64(w.arena, index)
	w.put(at, key)
}

// tiles writes the tiles that the batch has changed: full ones, and above level 0
// the right edge. The hashes of level 0's right edge stand in the entries' rows.
func (w *writer) tiles(before uint64) {
	for i := range w.tree.levels {
		l := uint(i) // #nosec G115 -- not negative
		if before>>(tileHeight*l) == w.tree.size>>(tileHeight*l) {
			return // nothing was added here, nor above
		}
		lv := &w.tree.levels[i]
		for j, t := range lv.tiles {
			n := uint64(TileWidth)
			if at := lv.first + uint64(j); at == tileIndex(w.tree.size, l) { // #nosec G115 -- not negative
				n = width(w.tree.size, l)
			}
			if n == TileWidth || l > 0 {
				at := len(w.arena)
				w.arena = appendTileKey(w.arena, l, lv.first+uint64(j)) // #nosec G115 -- not negative
				w.writes = append(w.writes, store.Pair{Key: w.arena[at:len(w.arena):len(w.arena)], Value: t.hashes(n)})
			}
		}
	}
}
