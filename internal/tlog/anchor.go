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

// errForked is in the chain of the error of a log that is shut for good since there is
// another log of its name.
var errForked = errors.New("there is another log of this name, or a longer copy of it")

// errContradicted is ErrAnchor when the anchor was read and shows another log, or a
// longer one.
func errContradicted() error {
	return fmt.Errorf("%w about the log's entries: %w", ErrAnchor, errForked)
}

// becauseOf is ErrAnchor with its reason, or without when that is nil.
func becauseOf(err error) error {
	if err == nil {
		return ErrAnchor
	}
	return fmt.Errorf("%w: %w", ErrAnchor, err)
}

const (
	// anchorPatience is how long opening a log waits for its anchor, and the least that
	// an anchor has for one answer; what has not answered by then is waited for beside
	// everything else.
	anchorPatience = 2 * time.Second
	// firstPatience is how long opening a log without entries waits: what begins with
	// it may want to log something at once.
	firstPatience = 10 * time.Second
	// anchorGrace is how long an open log goes on that cannot be compared with its
	// anchor.
	anchorGrace = 30 * time.Second
	// firstAnchorWait and lastAnchorWait are the shortest and the longest time
	// between two tries to open a log for writing.
	firstAnchorWait, lastAnchorWait = time.Second, 30 * time.Second
)

// doubt is why it is not known that log and anchor agree.
type doubt struct {
	what  string
	cause error // has ErrAnchor in its chain, unless it is the log's own store that fails
	// answered: the anchor was read, and what it holds is wrong. A log that is being
	// opened stays shut then until an operator has decided.
	answered bool
}

func (d *doubt) Error() string { return d.what }

func (d *doubt) Unwrap() error { return d.cause }

// startAnchor compares the head with the anchor, beside everything else, and waits
// a while for the outcome; if there are no entries to be read meanwhile, for longer.
// Until it is known the log is shut: what is there is read, nothing is written.
func (l *Log) startAnchor(ctx context.Context) {
	l.shut.Store(l.shutFor("the anchor has not answered yet").WithCause(ErrAnchor))
	tried := make(chan struct{})
	l.done.Go(func() {
		defer close(l.unwatched)
		if l.awaitAnchor(func() { close(tried) }) {
			l.anchor()
		}
	})
	patience := anchorPatience
	switch {
	case l.sealed.Load(): // nothing is written to it in any case
		return
	case l.Head().Size == 0:
		patience = firstPatience
	}
	select {
	case <-tried:
	case <-time.After(patience):
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
	within, cancel := context.WithTimeout(ctx, l.patience())
	defer cancel()
	rest := l.stayAwake()
	why := l.checkAnchor(within)
	rest()
	l.shut.Store(why)
	switch {
	case why == nil || ctx.Err() != nil:
	case errors.Is(why, errForked):
		l.forked(why)
	case why.Kind == sigbox.Fatal:
		l.fail(why)
	default:
		l.metrics.anchorErrs.Inc()
		l.tellShut()
	}
	return why
}

// patience is how long an anchor has for an answer.
func (l *Log) patience() time.Duration { return max(anchorPatience, 2*l.cfg.AnchorInterval) }

func (l *Log) tellShut() {
	if why := l.shut.Load(); why != nil {
		l.log.Error("the log takes no entries yet", "err", why)
	}
}

// checkAnchor compares the head with the anchor, and has it take the anchor's place.
// The error is why the log is shut, of kind Fatal if a restart is needed.
func (l *Log) checkAnchor(ctx context.Context) *sigbox.Error {
	begun := l.cfg.Now()
	d := l.compare(ctx)
	if d != nil && !(d.answered && l.cfg.AcceptAnchor) {
		return l.shutBy(d)
	}
	if why := l.fatal.Load(); why != nil { // a fellow was forked
		return why
	}
	if d != nil {
		l.log.Warn("the head takes the anchor's place, as accepted", "size", l.Head().Size, "why", d)
	}
	if err := l.noteAnchor(ctx); err != nil {
		return l.shutBy(notCompared(err))
	}
	if err := l.storeAnchor(ctx, l.Head()); err != nil {
		d := unwritten(err)
		return l.shutFor(d.what).WithCause(d.cause)
	}
	if err := l.acceptClock(ctx); err != nil {
		return l.shutBy(notCompared(err))
	}
	l.watched.Store(&begun)
	l.agreed(begun)
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

// notCompared is the doubt when it is the log's own store that fails.
func notCompared(err error) *doubt {
	return &doubt{what: "it cannot be compared with its anchor", cause: err}
}

// unwritten is the doubt when the anchor does not take the head.
func unwritten(err error) *doubt {
	return &doubt{what: "the anchor cannot be written", cause: becauseOf(err)}
}

// openUnanchored opens a log without an anchor for writing. One that had an anchor stays
// shut, unless an operator has accepted that there is to be none any more: whoever
// restores an older copy may forget to name it.
func (l *Log) openUnanchored(ctx context.Context) error {
	_, err := l.cfg.KV.Get(ctx, []byte{rowAnchor})
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return l.readError(ctx, err)
	case !l.cfg.AcceptAnchor:
		why := l.anchorError("it had an anchor, and none is set now").WithCause(ErrAnchor).
			WithHint("give --anchor as before; if there is to be none any more, start once with --accept anchor; docs/operations.md says more")
		l.shut.Store(why)
		l.fail(why)
		return nil
	default:
		l.log.Warn("the log goes on without its anchor, as accepted: an older copy will not be noticed")
		row := store.Range{From: []byte{rowAnchor}, To: []byte{rowAnchor + 1}}
		if err := l.cfg.KV.Commit(ctx, store.Batch{Deletes: []store.Range{row}}); err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "cannot note that the log %s has no anchor any more", l.cfg.Origin).WithCause(err)
		}
	}
	return l.acceptClock(ctx)
}

// compare says why the head cannot be that of the log whose anchor this is, or why
// that is not known; nil if the two agree.
func (l *Log) compare(ctx context.Context) *doubt {
	text, err := l.cfg.Anchor.Load(ctx)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return l.unanchored(ctx)
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &doubt{what: "the anchor does not answer", cause: becauseOf(err)}
	case err != nil:
		return &doubt{what: "the anchor cannot be read", cause: becauseOf(err)}
	case text == l.anchored && text != "": // an empty one is no checkpoint: somebody has emptied it
		return nil
	}
	cp, err := note.Open(text, l.cfg.Signers[0].Verifier())
	if err != nil || cp.Origin != l.cfg.Origin {
		return &doubt{what: "the anchor is not one of this log", cause: becauseOf(err), answered: true}
	}
	snap := l.head.Load()
	if cp.Size > snap.Size {
		if snap, err = l.load(ctx); err != nil { // another process of the same store
			return notCompared(err)
		}
	}
	if snap == nil || cp.Size > snap.Size {
		return contradicted("the log has %d entries and its anchor %d: it is an older copy, or was forked: is there another instance?", l.Head().Size, cp.Size)
	}
	root, err := l.rootAt(ctx, snap, cp.Size)
	if err != nil {
		return notCompared(err)
	}
	if root != cp.Root {
		return contradicted("the log's first %d entries are not those of its anchor: it was forked: is there another instance?", cp.Size)
	}
	l.anchored, l.anchoredSize = text, cp.Size
	return nil
}

func contradicted(format string, args ...any) *doubt {
	return &doubt{what: fmt.Sprintf(format, args...), cause: errContradicted(), answered: true}
}

// unanchored says whether it is wrong that the anchor is empty: a log that had one
// has lost it, or the disk that it is on is not there.
func (l *Log) unanchored(ctx context.Context) *doubt {
	_, err := l.cfg.KV.Get(ctx, []byte{rowAnchor})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // it begins now
	case err != nil:
		return notCompared(l.readError(ctx, err))
	}
	l.anchored, l.anchoredSize = "", 0
	return &doubt{what: "the log had an anchor, and it is gone", cause: ErrAnchor, answered: true}
}

// shutBy is why a log that is being opened stays shut.
func (l *Log) shutBy(d *doubt) *sigbox.Error {
	if d.answered || sigbox.KindOf(d.cause) == sigbox.Fatal {
		return l.anchorError(d.what).WithCause(d.cause)
	}
	return l.shutFor(d.what).WithCause(d.cause)
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
