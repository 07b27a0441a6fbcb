package tlog

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// Add logs a leaf and returns once it is durable. The same key again gives the
// first index, also while the first is on its way.
//
// Errors: Invalid for a leaf that does not fit into a bundle, Unavailable when
// the log is overloaded, stopping or stopped, or when ctx ends; in that last case
// the leaf may be logged all the same; Frozen, with [ErrSealed], for a log that takes
// no entries any more, not even those that it has.
func (l *Log) Add(ctx context.Context, leaf Leaf) (Receipt, error) {
	r, err := l.request(leaf)
	if err != nil {
		return Receipt{}, err
	}
	for {
		if err := l.stopped(); err != nil {
			return Receipt{}, err
		}
		if l.sealed.Load() {
			return Receipt{}, l.sealedError()
		}
		other, known := l.queue.reserve(r)
		if other == nil {
			return l.lead(ctx, r)
		}
		select {
		case <-known:
		case <-ctx.Done():
			return Receipt{}, cancelled(ctx)
		}
		if other.err == nil {
			return l.receipt(ctx, other, true)
		}
		if !errors.Is(other.err, errAbandoned) {
			return Receipt{}, other.err
		}
	}
}

// errAbandoned is the outcome of a request whose caller went away before it was
// queued: whoever follows it must try for himself.
var errAbandoned = errors.New("abandoned")

// guessedEntry is what an entry counts for that is not made yet, in bytes.
const guessedEntry = 4096

func (l *Log) request(leaf Leaf) (*request, error) {
	r := &request{leaf: leaf, key: leaf.Key, entry: leaf.Data, size: entryHeader + len(leaf.Data) + leaf.RowBytes}
	if leaf.Make != nil {
		if leaf.Data != nil || leaf.Key == (Hash{}) {
			return nil, sigbox.Errorf(sigbox.Internal, "a leaf with Make has a Key and no Data")
		}
		r.size += guessedEntry
		return r, nil
	}
	if err := l.checkLength(leaf.Data); err != nil {
		return nil, err
	}
	r.hash = LeafHash(leaf.Data)
	if r.key == (Hash{}) {
		r.key = r.hash
	}
	return r, nil
}

func (l *Log) checkLength(entry []byte) error {
	if n, most := len(entry), l.cfg.maxEntry(); n > most {
		return sigbox.Errorf(sigbox.Invalid, "the log entry has %d bytes: at most %d fit into a log", n, most)
	}
	return nil
}

// stopped says why the log takes nothing more, to callers.
func (l *Log) stopped() error {
	if err := cmp.Or(l.fatal.Load(), l.shut.Load()); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "the log takes no entries at present").WithHint("its operator finds the reason in the server's log").WithCause(err)
	}
	return nil
}

// lead takes a request, whose key it has reserved, through the log.
func (l *Log) lead(ctx context.Context, r *request) (Receipt, error) {
	b, err := l.findOrQueue(ctx, r)
	if err != nil || b == nil {
		if r.err = err; ctx.Err() != nil {
			r.err = errAbandoned
		}
		l.queue.release(r)
		if err != nil {
			return Receipt{}, err
		}
		return l.receipt(ctx, r, true)
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return Receipt{}, cancelled(ctx)
	}
	if r.err != nil {
		return Receipt{}, r.err
	}
	return l.receipt(ctx, r, r.existing)
}

// staleEpoch makes the sequencer look for a key again.
const staleEpoch = 1<<64 - 1

// findOrQueue gives the batch that r will be in, or nil when the log has r's key
// already. Since the key is reserved, nobody in this process can log it between
// the two; if another process does, the commit finds another head.
func (l *Log) findOrQueue(ctx context.Context, r *request) (*batch, error) {
	r.epoch = l.epoch.Load()
	if !l.isNew(&r.key) {
		index, found, err := l.find(ctx, r.key)
		if err != nil {
			return nil, err
		}
		snap := l.head.Load()
		if found && index >= snap.Size { // another process has just logged it
			r.epoch = staleEpoch
		} else if found {
			r.index, r.existing, r.snap = index, true, snap
			return nil, nil
		}
	}
	if r.leaf.Check != nil {
		if err := r.leaf.Check(); err != nil {
			return nil, err
		}
	}
	return l.queue.put(r)
}

// find looks for the index of a key.
func (l *Log) find(ctx context.Context, key Hash) (index uint64, found bool, err error) {
	row := hashKey(rowDedup, &key)
	v, err := l.cfg.KV.Get(ctx, row)
	if errors.Is(err, store.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, l.readError(ctx, err)
	}
	index, err = parseNumber(row, v)
	return index, err == nil, err
}

// receipt makes the receipt of a request that succeeded.
func (l *Log) receipt(ctx context.Context, r *request, existing bool) (Receipt, error) {
	h := r.snap.Head
	rc := Receipt{Index: r.index, Time: h.Time, Size: h.Size, Root: h.Root, Checkpoint: h.Checkpoint, Existing: existing, Entry: r.entry}
	var err error
	if r.existing { // logged by an earlier commit, at another time
		if rc.Entry, rc.Time, err = l.existing(ctx, r); err != nil {
			return Receipt{}, err
		}
	}
	rc.Proof, err = prove(r.index, h.Size, &r.snap.tree.ragged, l.nodes(ctx, r.snap))
	return rc, err
}

// existing gives the entry that has r's key already, and when it was logged. One
// whose leaf r holds is not read: the tree has its hash.
func (l *Log) existing(ctx context.Context, r *request) ([]byte, time.Time, error) {
	if r.leaf.Data != nil {
		t, err := l.tileOf(ctx, r.snap, 0, r.index/TileWidth)
		if err != nil {
			return nil, time.Time{}, err
		}
		if *t.at(0, r.index%TileWidth) == r.hash {
			return r.entry, time.Time{}, nil
		}
	}
	entry, at, err := l.Entry(ctx, r.index)
	if err != nil {
		return nil, time.Time{}, err
	}
	return entry, at, l.readError(ctx, l.cfg.checkKey(&r.key, r.index, entry))
}

// Lookup finds the entry with a key and proves it against the head.
func (l *Log) Lookup(ctx context.Context, key Hash) (Receipt, bool, error) {
	index, found, err := l.find(ctx, key)
	snap := l.head.Load()
	if err != nil || !found || index >= snap.Size {
		return Receipt{}, false, err
	}
	rc, err := l.receipt(ctx, &request{key: key, index: index, existing: true, snap: snap}, true)
	return rc, err == nil, err
}

func cancelled(ctx context.Context) error {
	return sigbox.Errorf(sigbox.Unavailable, "the request ended before the entry was durable").
		WithHint("send the same entry again: it is logged once").WithCause(context.Cause(ctx))
}

// readError gives the error for a failed read, and has operators told of damage.
// nil stays nil.
func (l *Log) readError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if d, ok := errors.AsType[*Damage](err); ok {
		l.tellDamage(d)
		return err
	}
	if ctx.Err() != nil {
		return sigbox.Errorf(sigbox.Unavailable, "the request ended while the log was read").WithCause(err)
	}
	if _, ok := errors.AsType[*sigbox.Error](err); ok {
		return err
	}
	return sigbox.Errorf(sigbox.Internal, "the log's store cannot be read").WithCause(err)
}
