package tlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// Fellows are logs that stand on the same stores. When one is found to be forked, or
// an older copy, the others are no better, even if nothing of theirs shows it: all of
// them take no more entries. The zero value is for use.
type Fellows struct {
	mu     sync.Mutex
	logs   []*Log // guarded by mu
	forked string // guarded by mu; origin of the first that was
}

// join adds a log that is being opened.
func (f *Fellows) join(l *Log) {
	f.mu.Lock()
	f.logs = append(f.logs, l)
	forked := f.forked
	f.mu.Unlock()
	if forked != "" {
		l.failWith(forked)
	}
}

// fail stops all logs but the one that was found to be forked.
func (f *Fellows) fail(by *Log) {
	f.mu.Lock()
	f.forked = by.cfg.Origin
	logs := f.logs
	f.mu.Unlock()
	for _, l := range logs {
		if l != by {
			l.failWith(by.cfg.Origin)
		}
	}
}

// failWith stops the log since another one was forked.
func (l *Log) failWith(other string) {
	l.fail(l.anchorError("the log " + other + " of this instance was forked, or is an older copy, and this one with it").WithCause(errForked))
}

// forked stops the log for good, and its fellows.
func (l *Log) forked(why *sigbox.Error) {
	l.fail(why)
	if l.cfg.Fellows != nil {
		l.cfg.Fellows.fail(l)
	}
}

// isForked reports whether the log was stopped by forked, or as a fellow.
func (l *Log) isForked() bool {
	why := l.fatal.Load()
	return why != nil && errors.Is(why, errForked)
}

// anchor compares the log with its anchor again and again, and brings heads to it,
// until the log is closed; the last one after the last commit. A log that is sealed is
// compared until its last head is there.
func (l *Log) anchor() {
	tick := time.NewTicker(l.cfg.AnchorInterval)
	defer tick.Stop()
	w := watcher{log: l}
	ended, stop := l.sequenced, (chan struct{})(nil)
	for last := false; !last && !l.isForked(); {
		var asked chan<- struct{}
		select {
		case <-tick.C:
		case asked = <-l.asked:
		case <-ended:
			ended, stop = nil, l.stop
		case <-stop:
			last = true
		case <-l.ctx.Done():
			return
		}
		agrees := w.look()
		last = last || ended == nil && (agrees || !l.sealed.Load())
		if asked != nil {
			close(asked)
		}
		select {
		case asked = <-l.asked: // meanwhile: this comparison may do
			close(asked)
		default:
		}
	}
}

// watcher tells operators how log and anchor get on.
type watcher struct {
	log  *Log
	told time.Time // when trouble was last logged; zero while there is none
	shut bool      // what was logged is that the log takes no entries
}

// look brings the head to the anchor once, and says whether it is there.
func (w *watcher) look() bool {
	l := w.log
	ctx, cancel := context.WithTimeout(l.ctx, l.patience())
	defer cancel()
	rest := l.stayAwake()
	err := l.anchorHead(ctx)
	rest()
	if l.ctx.Err() != nil {
		return false
	}
	if err == nil {
		if !w.told.IsZero() {
			l.log.Info("log and anchor agree again", "size", l.Head().Size)
		}
		w.told, w.shut = time.Time{}, false
		return true
	}
	l.metrics.anchorErrs.Inc()
	now, shut := l.cfg.Now(), l.shut.Load() != nil
	if !l.isForked() && (w.told.IsZero() || shut && !w.shut || now.Sub(w.told) >= tellEvery || now.Before(w.told)) {
		w.told, w.shut = now, shut
		l.log.Error("the head was not brought to the anchor", "takes_entries", !shut, "err", err)
	}
	return false
}

// anchorHead compares the log with its anchor, and brings the head there if it is
// another one by now. It stops the log if the anchor shows that somebody else writes a
// log of its name; what cannot be compared, or brought there, stops it after a while,
// until it can.
func (l *Log) anchorHead(ctx context.Context) error {
	err := l.bringHead(ctx)
	if errors.Is(err, store.ErrConflict) { // somebody has just written to it
		err = l.bringHead(ctx)
	}
	if errors.Is(err, store.ErrConflict) {
		err = l.doubted(unwritten(err))
	}
	return err
}

func (l *Log) bringHead(ctx context.Context) error {
	h, begun := l.Head(), l.cfg.Now()
	d := l.compare(ctx)
	switch {
	case l.isForked():
		return l.Err()
	case d != nil && errors.Is(d, errForked):
		why := l.shutBy(d)
		l.forked(why)
		return why
	case l.ctx.Err() != nil: // Close has given up: nothing is known
		return l.ctx.Err()
	}
	if d != nil {
		err := l.doubted(d)
		l.watched.Store(&begun) // whoever sees that it was compared sees what came of it
		return err
	}
	l.watched.Store(&begun)
	if l.anchored == "" || l.anchoredSize < h.Size {
		switch err := l.storeAnchor(ctx, h); {
		case errors.Is(err, store.ErrConflict):
			return err
		case err != nil:
			return l.doubted(unwritten(err))
		}
	}
	l.agreed(begun)
	return nil
}

// agreed notes that log and anchor were seen to agree, and that the anchor has the head.
func (l *Log) agreed(at time.Time) {
	l.agreedAt = at
	l.shut.Store(nil)
}

// doubted notes that it is not known whether log and anchor agree, or that the anchor
// falls behind. The log goes on for a while, then it is shut until that has ended.
func (l *Log) doubted(d *doubt) error {
	if l.since(l.agreedAt) >= anchorGrace {
		why := l.shutFor(d.what).WithCause(d.cause)
		l.shut.Store(why)
		return why
	}
	return sigbox.Errorf(sigbox.Unavailable, "the log %s goes on without its anchor: %s", l.cfg.Origin, d.what).
		WithHint("after %v it is shut for writing until the two agree; docs/operations.md says more", anchorGrace).WithCause(d.cause)
}

// since is how long ago a time was: by the clock, which goes on while a machine sleeps,
// or by what is left of that when the clock was set back.
func (l *Log) since(at time.Time) time.Duration {
	now := l.cfg.Now()
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0)))
}

// storeAnchor brings a head to the anchor.
func (l *Log) storeAnchor(ctx context.Context, h Head) error {
	if err := l.cfg.Anchor.Store(ctx, h.Checkpoint); err != nil {
		return err
	}
	l.anchored, l.anchoredSize = h.Checkpoint, h.Size
	l.metrics.anchored.Set(float64(h.Size))
	return nil
}

// lookFirst has the log compared with its anchor before a commit, and before its head
// is shown, if that was not done a moment ago: the process, or its machine, has stood
// still for a while, in which a copy may have gone on. The error says that the log takes
// no entries.
func (l *Log) lookFirst() error {
	if l.cfg.Anchor == nil {
		return nil
	}
	for try := 0; try < maxLooks && !l.lookedLately(); try++ {
		l.lookNow()
	}
	if err := l.stopped(); err != nil { // also by a comparison that was made meanwhile
		return err
	}
	if !l.lookedLately() { // it stands still again and again, or Close has given up
		return sigbox.Errorf(sigbox.Unavailable, "the log %s was not compared with its anchor in time", l.cfg.Origin).
			WithHint("try again").WithCause(ErrAnchor)
	}
	return nil
}

// maxLooks bounds the comparisons before a commit: the first may be one that was under
// way already, and standing still may make one old while it is made.
const maxLooks = 3

// lookNow has the log compared with its anchor, and waits for the outcome, or for that of
// a comparison that is under way.
func (l *Log) lookNow() {
	answer := make(chan struct{})
	select {
	case l.asked <- answer:
	case <-l.unwatched:
		return
	case <-l.ctx.Done():
		return
	}
	select {
	case <-answer:
	case <-l.unwatched:
	case <-l.ctx.Done():
	}
}

// lookedLately reports whether the last comparison is no older than ticks are apart, or
// no older than an anchor that is slow makes it while nothing stands still. The clocks'
// time is what goes on while a machine sleeps.
func (l *Log) lookedLately() bool {
	at, now := l.watched.Load(), l.cfg.Now()
	return at != nil && (lately(now, *at, l.standstill()) ||
		lately(now, *at, l.cfg.AnchorInterval+2*l.patience()) && l.pulse.since(*at, now, l.standstill()))
}

// standstill is the least gap in what the log does about its anchor that shows that it
// has stood still.
func (l *Log) standstill() time.Duration { return l.cfg.AnchorInterval * 3 / 2 }

// lately reports whether a time was at most d ago, by the clock.
func lately(now, at time.Time, d time.Duration) bool {
	age := now.Round(0).Sub(at.Round(0))
	return age >= 0 && age <= d
}

// stayAwake has the pulse beat until rest is called: a comparison that takes long is told
// by it from one in which the process, or its machine, stood still.
func (l *Log) stayAwake() (rest func()) {
	l.pulse.beat(l.cfg.Now(), l.standstill())
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(l.cfg.AnchorInterval / 4)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.pulse.beat(l.cfg.Now(), l.standstill())
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// pulse tells since when a log has not stood still. The zero value is for use.
type pulse struct {
	mu   sync.Mutex
	last time.Time // guarded by mu; of the last beat
	from time.Time // guarded by mu; of the first beat after the last gap
}

// beat notes that the log is awake.
func (p *pulse) beat(now time.Time, gap time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !lately(now, p.last, gap) {
		p.from = now
	}
	p.last = now
}

// since reports whether there was no gap between a time and now.
func (p *pulse) since(at, now time.Time, gap time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !at.Round(0).Before(p.from.Round(0)) && lately(now, p.last, gap)
}
