package tlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// Anchor keeps the last checkpoint of a log outside of what the log's stores stand
// on, so that an older copy of all of them is known for what it is.
type Anchor interface {
	// Load gives the checkpoint that was stored last, or store.ErrNotFound.
	Load(ctx context.Context) (string, error)
	// Store keeps a checkpoint in the place of the last one. It is durable when
	// Store returns.
	Store(ctx context.Context, checkpoint string) error
}

// ErrAnchor is in the chain of the error of a log that is shut because its anchor
// contradicts it, is gone or cannot be read.
var ErrAnchor = errors.New("log and anchor are not known to agree")

// errContradicted is ErrAnchor when the anchor was read and shows another log, or a
// longer one.
var errContradicted = fmt.Errorf("%w about the log's entries", ErrAnchor)

// becauseOf is ErrAnchor with its reason, or without when that is nil.
func becauseOf(err error) error {
	if err == nil {
		return ErrAnchor
	}
	return fmt.Errorf("%w: %w", ErrAnchor, err)
}

const (
	// anchorPatience is how long opening a log waits for its anchor; what has not
	// answered by then is waited for beside everything else.
	anchorPatience = 2 * time.Second
	// firstAnchorWait and lastAnchorWait are the shortest and the longest time
	// between two tries to open a log for writing.
	firstAnchorWait, lastAnchorWait = time.Second, 30 * time.Second
)

// startAnchor compares the head with the anchor, beside everything else, and waits
// a while for the outcome; if there are no entries to be read meanwhile, as long as it
// takes. Until it is known the log is shut: what is there is read, nothing is written.
func (l *Log) startAnchor(ctx context.Context) {
	l.shut.Store(l.shutFor("the anchor has not answered yet").WithCause(ErrAnchor))
	tried := make(chan struct{})
	l.done.Go(func() {
		if l.awaitAnchor(func() { close(tried) }) {
			l.anchor()
		}
	})
	var enough <-chan time.Time
	if l.Head().Size > 0 {
		enough = time.After(anchorPatience)
	}
	select {
	case <-tried:
	case <-enough:
		l.tellShut()
	case <-ctx.Done():
	}
}

// awaitAnchor opens the log for writing once its anchor agrees: one that cannot be
// read now may come later. It gives false if the log stays shut, since its anchor
// contradicts it, and if it is closed. tried is called after the first try.
func (l *Log) awaitAnchor(tried func()) bool {
	ctx, cancel := context.WithCancel(l.ctx) // ends when the log is closed: there is nothing to bring to the anchor
	defer cancel()
	l.done.Go(func() {
		defer cancel()
		select {
		case <-l.stop:
		case <-ctx.Done():
		}
	})
	why := l.tryAnchor(ctx)
	tried()
	if why == nil {
		return true
	}
	for wait := firstAnchorWait; why != nil; wait = min(2*wait, lastAnchorWait) {
		if why.Kind == sigbox.Fatal || l.pause(wait) != nil {
			return false
		}
		why = l.tryAnchor(ctx)
	}
	l.log.Info("log and anchor agree: entries are taken", "size", l.Head().Size)
	return true
}

// tryAnchor opens the log for writing, or says why not.
func (l *Log) tryAnchor(ctx context.Context) *sigbox.Error {
	why := l.checkAnchor(ctx)
	l.shut.Store(why)
	switch {
	case why == nil || ctx.Err() != nil:
	case why.Kind == sigbox.Fatal:
		l.fail(why)
	default:
		l.metrics.anchorErrs.Inc()
		l.tellShut()
	}
	return why
}

func (l *Log) tellShut() {
	if why := l.shut.Load(); why != nil {
		l.log.Error("the log takes no entries yet", "err", why)
	}
}

// checkAnchor compares the head with the anchor, and has it take the anchor's place.
// The error is why the log is shut, of kind Fatal if a restart is needed.
func (l *Log) checkAnchor(ctx context.Context) *sigbox.Error {
	why, err := l.contradicted(ctx)
	if err != nil {
		return l.notCompared(err)
	}
	if why != nil && !l.cfg.AcceptAnchor {
		return why
	}
	if why != nil {
		l.log.Warn("the head takes the anchor's place, as accepted", "size", l.Head().Size, "why", why)
	}
	if err := l.noteAnchor(ctx); err != nil {
		return l.notCompared(err)
	}
	if err := l.storeAnchor(ctx, l.Head()); err != nil {
		return l.shutFor("the anchor cannot be written").WithCause(becauseOf(err))
	}
	if err := l.acceptClock(ctx); err != nil {
		return l.notCompared(err)
	}
	return nil
}

// noteAnchor notes in the log's store that the log has an anchor.
func (l *Log) noteAnchor(ctx context.Context) error {
	_, err := l.cfg.KV.Get(ctx, []byte{rowAnchor})
	if errors.Is(err, store.ErrNotFound) {
		err = l.cfg.KV.Commit(ctx, store.Batch{Writes: []store.Pair{{Key: []byte{rowAnchor}, Value: []byte{1}}}})
	}
	return err
}

// notCompared is the error when it is the log's own store that fails.
func (l *Log) notCompared(err error) *sigbox.Error {
	why := l.shutFor("it cannot be compared with its anchor").WithCause(err)
	if sigbox.KindOf(err) == sigbox.Fatal {
		why.Kind = sigbox.Fatal
	}
	return why
}

// openUnanchored opens a log without an anchor for writing. It has operators told
// when there was one.
func (l *Log) openUnanchored(ctx context.Context) error {
	_, err := l.cfg.KV.Get(ctx, []byte{rowAnchor})
	switch {
	case err == nil:
		l.log.Warn("the log had an anchor, and none is set now: an older copy would not be noticed")
	case !errors.Is(err, store.ErrNotFound):
		return l.readError(ctx, err)
	}
	return l.acceptClock(ctx)
}

// contradicted says why the head cannot be that of the log whose anchor this is;
// nil if it can.
func (l *Log) contradicted(ctx context.Context) (why *sigbox.Error, err error) {
	text, err := l.cfg.Anchor.Load(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return l.unanchored(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, l.readError(ctx, err)
		}
		return l.shutFor("the anchor cannot be read").WithCause(becauseOf(err)), nil
	}
	if text == l.anchored {
		return nil, nil
	}
	cp, err := note.Open(text, l.cfg.Signers[0].Verifier())
	if err != nil || cp.Origin != l.cfg.Origin {
		return l.anchorError("the anchor is not one of this log").WithCause(becauseOf(err)), nil
	}
	snap := l.head.Load()
	if cp.Size > snap.Size {
		if snap, err = l.load(ctx); err != nil { // another process of the same store
			return nil, err
		}
	}
	if snap == nil || cp.Size > snap.Size {
		return l.anchorError(fmt.Sprintf("the log has %d entries and its anchor %d: it is an older copy", l.Head().Size, cp.Size)).WithCause(errContradicted), nil
	}
	root, err := l.rootAt(ctx, snap, cp.Size)
	if err != nil {
		return nil, err
	}
	if root != cp.Root {
		return l.anchorError(fmt.Sprintf("the log's first %d entries are not those of its anchor: it was forked", cp.Size)).WithCause(errContradicted), nil
	}
	return nil, nil
}

// unanchored says whether it is wrong that the anchor is empty: a log that had one
// has lost it, or the disk that it is on is not there.
func (l *Log) unanchored(ctx context.Context) (*sigbox.Error, error) {
	_, err := l.cfg.KV.Get(ctx, []byte{rowAnchor})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // it begins now
	}
	if err != nil {
		return nil, l.readError(ctx, err)
	}
	return l.anchorError("the log had an anchor, and it is gone").WithCause(ErrAnchor), nil
}

// shutFor is why the log is shut as long as that lasts.
func (l *Log) shutFor(what string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Unavailable, "the log %s is shut for writing: %s", l.cfg.Origin, what).
		WithHint("it is tried again, and the log opens when its anchor agrees; docs/operations.md says more")
}

// anchorError is why the log is shut until it is opened anew.
func (l *Log) anchorError(what string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Fatal, "the log %s is shut for writing: %s", l.cfg.Origin, what).
		WithHint("docs/operations.md says what to do when log and anchor disagree")
}

// anchor brings heads to the anchor until the log is closed, the last one after
// the last commit.
func (l *Log) anchor() {
	tick := time.NewTicker(l.cfg.AnchorInterval)
	defer tick.Stop()
	var told time.Time
	for open := true; open; {
		select {
		case <-tick.C:
		case <-l.sequenced:
			open = false
		case <-l.ctx.Done():
			return
		}
		err := l.anchorHead(l.ctx)
		if err == nil || l.ctx.Err() != nil {
			continue
		}
		l.metrics.anchorErrs.Inc()
		if now := l.cfg.Now(); now.Sub(told) >= tellEvery || now.Before(told) {
			told = now
			l.log.Error("the head was not brought to the anchor", "err", err)
		}
	}
}

// anchorHead brings the head to the anchor if it is another one by now, and stops
// the log if the anchor shows that somebody else writes a log of its name.
func (l *Log) anchorHead(ctx context.Context) error {
	h := l.Head()
	if h.Checkpoint == l.anchored {
		return nil
	}
	why, err := l.contradicted(ctx)
	if err != nil {
		return err
	}
	if why != nil {
		if errors.Is(why, errContradicted) {
			l.fail(why)
		}
		return why
	}
	return l.storeAnchor(ctx, h)
}

func (l *Log) storeAnchor(ctx context.Context, h Head) error {
	if err := l.cfg.Anchor.Store(ctx, h.Checkpoint); err != nil {
		return err
	}
	l.anchored = h.Checkpoint
	l.metrics.anchored.Set(float64(h.Size))
	return nil
}
