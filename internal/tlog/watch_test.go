package tlog

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// forkOf starts a copy of a log, in spite of all, and adds entries to it, whose head
// is then the anchor's.
func forkOf(t testing.TB, cfg Config, leaves ...string) {
	t.Helper()
	fork := copyOf(t, cfg)
	fork.Logger, fork.Fellows, fork.Now = nil, nil, nil
	l := openLog(t, fork)
	for _, leaf := range leaves {
		add(t, l, leaf)
	}
	closeLog(t, l)
}

// An idle log reads its anchor too: when a copy of it goes on elsewhere, it stops, and
// so do its fellows, and nothing more is published.
func TestIdleLogIsForked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, anchor := anchoredConfig(t)
		cfg.AnchorInterval, cfg.PublishInterval = time.Second, 5*time.Second
		cfg.Fellows = &Fellows{}
		l := openLog(t, cfg)
		other, _ := anchoredConfig(t)
		other.Origin, other.Fellows = "ct.example.com", cfg.Fellows
		fellow := openLog(t, other)
		add(t, fellow, "a")
		for _, leaf := range []string{"1", "2", "3", "4", "5"} {
			add(t, l, leaf)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		must(t, l.Err())

		forkOf(t, cfg, "x", "y")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		expectKind(t, l.Err(), sigbox.Fatal)
		if !errors.Is(l.Err(), ErrAnchor) || !strings.Contains(l.Err().Error(), "5 entries and its anchor 7: it is an older copy, or was forked") {
			t.Errorf("found %v", l.Err())
		}
		_, err := l.Add(t.Context(), Leaf{Data: []byte("forked")})
		expectKind(t, err, sigbox.Unavailable)
		expectKind(t, fellow.Err(), sigbox.Fatal)
		if !strings.Contains(fellow.Err().Error(), origin) {
			t.Errorf("it does not say which log it was: %v", fellow.Err())
		}
		_, err = fellow.Add(t.Context(), Leaf{Data: []byte("forked")})
		expectKind(t, err, sigbox.Unavailable)
		if n := anchor.size(t); n != 7 {
			t.Errorf("the anchor has %d", n)
		}
		// One that is opened later is no better.
		late, _ := anchoredConfig(t)
		late.Origin, late.Fellows = "v1.example.com", cfg.Fellows
		expectKind(t, openLog(t, late).Err(), sigbox.Fatal)
	})
}

// A log that has stood still, with its process or its machine, compares before it
// commits: what has happened meanwhile must not be contradicted once.
func TestFirstCommitAfterAStandstill(t *testing.T) {
	for name, forked := range map[string]bool{"alone": false, "a copy went on": true} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := anchoredConfig(t)
			var clock testClock
			cfg.Now = clock.now
			l := openLog(t, cfg)
			add(t, l, "a")
			if forked {
				must(t, l.anchorHead(t.Context()))
				forkOf(t, cfg, "b", "c")
			}
			add(t, l, "d") // no time has passed
			size := l.Head().Size
			clock.add(2 * cfg.AnchorInterval)
			_, err := l.Add(t.Context(), Leaf{Data: []byte("e")})
			if !forked {
				must(t, err)
				return
			}
			expectKind(t, err, sigbox.Unavailable)
			expectKind(t, l.Err(), sigbox.Fatal)
			if l.Head().Size != size {
				t.Error("it was logged")
			}
		})
	}
}

// Nobody sees that the log was compared, and not yet that it is shut since it could not
// be: after a standstill, a copy may have gone on.
func TestComparedIsSeenAfterShut(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	var clock testClock
	var asked func() // whenever the time is asked for, as the sequencer may come at any
	cfg.Now = func() time.Time {
		if f := asked; f != nil {
			asked = nil // it asks for the time itself
			f()
			asked = f
		}
		return clock.now()
	}
	cfg.PublishInterval = -1
	l := openLog(t, cfg)
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	anchor.fail(errors.New("no route"), false)
	clock.add(24 * time.Hour)
	asked = func() {
		if l.lookedLately() && l.stopped() == nil {
			t.Error("a commit would go on")
		}
	}
	err := l.anchorHead(t.Context())
	asked = nil
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Unavailable)
}

// A log that stands still in the midst of a commit does not show its head before it has
// looked again; nor one that cannot look after it has stood still for long.
func TestStandstillInACommit(t *testing.T) {
	for name, tt := range map[string]struct {
		meanwhile func(t *testing.T, cfg Config, anchor *memoryAnchor)
		kind      sigbox.Kind // of the log's error; 0: it goes on
		seen      bool        // it was compared after the standstill, before the commit is through
	}{
		"alone":                       {meanwhile: func(*testing.T, Config, *memoryAnchor) {}},
		"a copy went on":              {meanwhile: func(t *testing.T, cfg Config, _ *memoryAnchor) { forkOf(t, cfg, "b", "c", "d") }, kind: sigbox.Fatal},
		"a copy went on, and is seen": {meanwhile: func(t *testing.T, cfg Config, _ *memoryAnchor) { forkOf(t, cfg, "b", "c", "d") }, kind: sigbox.Fatal, seen: true},
		"the anchor cannot be read":   {meanwhile: func(_ *testing.T, _ Config, a *memoryAnchor) { a.fail(errors.New("no route"), false) }, kind: sigbox.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, anchor := anchoredConfig(t)
			cfg.AnchorInterval = time.Second
			var clock testClock
			cfg.Now = clock.now
			kv := &heldKV{KV: cfg.KV}
			l := openLog(t, withKV(cfg, kv))
			add(t, l, "a")
			must(t, l.anchorHead(t.Context()))
			size := l.Head().Size
			kv.before = func() {
				tt.meanwhile(t, cfg, anchor)
				clock.add(time.Minute)
				if tt.seen {
					l.lookNow()
				}
			}
			_, err := l.Add(t.Context(), Leaf{Data: []byte("x")})
			if tt.kind == 0 {
				must(t, err)
				must(t, l.Err())
				return
			}
			expectKind(t, err, sigbox.Unavailable)
			expectKind(t, l.Err(), tt.kind)
			if l.Head().Size != size {
				t.Error("its head is shown")
			}
			if tt.kind == sigbox.Fatal {
				return
			}
			anchor.fail(nil, false)
			must(t, l.anchorHead(t.Context()))
			if r := add(t, l, "x"); r.Index != size || !r.Existing {
				t.Errorf("what is durable is found as %+v", r)
			}
			add(t, l, "y")
		})
	}
}

// A log that stands still while it is compared with its anchor does not take what was
// there before for what is there now.
func TestStandstillInAComparison(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	cfg.AnchorInterval = time.Hour
	var clock testClock
	cfg.Now = clock.now
	held := &heldAnchor{memoryAnchor: anchor}
	cfg.Anchor = held
	l := openLog(t, cfg)
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	size := l.Head().Size
	held.after = func() {
		fork := cfg
		fork.Anchor = anchor
		forkOf(t, fork, "b", "c", "d")
		clock.add(3 * cfg.AnchorInterval)
	}
	must(t, l.bringHead(t.Context())) // by what it has read they agree
	_, err := l.Add(t.Context(), Leaf{Data: []byte("x")})
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Fatal)
	if l.Head().Size != size {
		t.Error("it was logged")
	}

	// The same in the comparison that a commit asks for when it is through.
	clock = testClock{}
	cfg, anchor = anchoredConfig(t)
	cfg.Now = clock.now
	held = &heldAnchor{memoryAnchor: anchor}
	cfg.Anchor = held
	kv := &heldKV{KV: cfg.KV}
	l = openLog(t, withKV(cfg, kv))
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	kv.before = func() {
		clock.add(3 * cfg.AnchorInterval)
		held.after = func() {
			fork := cfg
			fork.Anchor = anchor
			forkOf(t, fork, "b", "c", "d")
			clock.add(3 * cfg.AnchorInterval)
		}
	}
	_, err = l.Add(t.Context(), Leaf{Data: []byte("x")})
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Fatal)
	if l.Head().Size != 1 {
		t.Error("its head is shown")
	}
}

// What is durable and was not shown is not shown by the next commit either, if a copy
// goes on in the midst of that.
func TestStandstillBeforeFollowing(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	cfg.AnchorInterval = time.Second
	var clock testClock
	cfg.Now = clock.now
	kv := &heldKV{KV: cfg.KV}
	l := openLog(t, withKV(cfg, kv))
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	backup := copyOf(t, cfg)
	kv.before = func() {
		anchor.fail(errors.New("no route"), false)
		clock.add(time.Minute)
	}
	_, err := l.Add(t.Context(), Leaf{Data: []byte("x")})
	expectKind(t, err, sigbox.Unavailable)
	anchor.fail(nil, false)
	l.lookNow()
	must(t, l.Err())
	kv.before = func() {
		forkOf(t, backup, "b", "c", "d")
		clock.add(time.Minute)
	}
	_, err = l.Add(t.Context(), Leaf{Data: []byte("y")})
	expectKind(t, err, sigbox.Unavailable)
	expectKind(t, l.Err(), sigbox.Fatal)
	if l.Head().Size != 1 {
		t.Error("a head is shown")
	}
}

// A log that is closed while it stands still in a commit, and whose anchor does not answer
// before Close gives up, does not show its head.
func TestStandstillInTheLastCommit(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	var clock testClock
	cfg.Now = clock.now
	hung := &switchAnchor{memoryAnchor: anchor}
	cfg.Anchor = hung
	kv := &heldKV{KV: cfg.KV}
	l := openLog(t, withKV(cfg, kv))
	add(t, l, "a")
	ctx, giveUp := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	kv.after = func() {
		hung.hang(true)
		clock.add(3 * cfg.AnchorInterval)
		go func() { closed <- l.Close(ctx) }()
		giveUp()
	}
	_, err := l.Add(t.Context(), Leaf{Data: []byte("x")})
	expectKind(t, err, sigbox.Unavailable)
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
	if l.Head().Size != 1 {
		t.Error("its head is shown")
	}
}

// Commits do not wait for an anchor that is slow or silent, as long as the log goes on.
func TestSlowAnchor(t *testing.T) {
	for name, tt := range map[string]struct{ interval, load, store time.Duration }{
		"reads and writes are slow":     {time.Second, 900 * time.Millisecond, 900 * time.Millisecond},
		"reads are slow":                {time.Second, 1900 * time.Millisecond, 0},
		"writes are silent":             {time.Second, 20 * time.Millisecond, time.Hour},
		"silent":                        {time.Second, time.Hour, time.Hour},
		"a bucket's reads are slow":     {5 * time.Second, 9 * time.Second, 0},
		"a bucket's writes are silent":  {5 * time.Second, time.Second, time.Hour},
		"a bucket that does not answer": {5 * time.Second, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, anchor := anchoredConfig(t)
				slow := &delayedAnchor{memoryAnchor: anchor}
				cfg.Anchor, cfg.AnchorInterval = slow, tt.interval
				l := openLog(t, cfg)
				add(t, l, "a")
				time.Sleep(tt.interval / 2)
				slow.delay(tt.load, tt.store)
				for end := time.Now().Add(anchorGrace - tt.interval); time.Now().Before(end); time.Sleep(90 * time.Millisecond) {
					begun := time.Now()
					add(t, l, begun.String())
					if took := time.Since(begun); took > 0 {
						t.Fatalf("a commit took %v", took)
					}
				}
				slow.delay(0, 0)
				time.Sleep(3 * l.patience())
				closeLog(t, l)
			})
		})
	}
}

// delayedAnchor takes its time for each call.
type delayedAnchor struct {
	*memoryAnchor
	load, store atomic.Int64
}

func (a *delayedAnchor) delay(load, store time.Duration) {
	a.load.Store(int64(load))
	a.store.Store(int64(store))
}

func pass(ctx context.Context, d *atomic.Int64) error {
	select {
	case <-time.After(time.Duration(d.Load())):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *delayedAnchor) Load(ctx context.Context) (string, error) {
	if err := pass(ctx, &a.load); err != nil {
		return "", err
	}
	return a.memoryAnchor.Load(ctx)
}

func (a *delayedAnchor) Store(ctx context.Context, text string) error {
	if err := pass(ctx, &a.store); err != nil {
		return err
	}
	return a.memoryAnchor.Store(ctx, text)
}

func TestPulse(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_700_000_000+int64(s), 0) }
	for name, tt := range map[string]struct {
		beats   []int
		at, now int
		since   bool
	}{
		"none":                      {nil, 0, 0, false},
		"one":                       {[]int{0}, 0, 0, true},
		"of before it":              {[]int{1}, 0, 1, false},
		"no gap":                    {[]int{0, 2, 4}, 0, 6, true},
		"a gap":                     {[]int{0, 3, 4}, 0, 4, false},
		"a gap before":              {[]int{0, 3, 4}, 3, 4, true},
		"a gap that lasts":          {[]int{0, 2}, 0, 5, false},
		"the clock was set back":    {[]int{10, 5}, 10, 5, true},
		"and it beat in the future": {[]int{10}, 10, 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			var p pulse
			for _, s := range tt.beats {
				p.beat(at(s), 2*time.Second)
			}
			if got := p.since(at(tt.at), at(tt.now), 2*time.Second); got != tt.since {
				t.Errorf("expected %v, found %v", tt.since, got)
			}
		})
	}
}

// heldAnchor has something happen after it was read next.
type heldAnchor struct {
	*memoryAnchor
	after func()
}

func (a *heldAnchor) Load(ctx context.Context) (string, error) {
	text, err := a.memoryAnchor.Load(ctx)
	if f := a.after; f != nil {
		a.after = nil
		f()
	}
	return text, err
}

// heldKV has something happen before its next commit, or after it.
type heldKV struct {
	store.KV
	before, after func()
}

func (kv *heldKV) Commit(ctx context.Context, b store.Batch) error {
	if f := kv.before; f != nil {
		kv.before = nil
		f()
	}
	err := kv.KV.Commit(ctx, b)
	if f := kv.after; f != nil {
		kv.after = nil
		f()
	}
	return err
}

func withKV(cfg Config, kv store.KV) Config {
	cfg.KV = kv
	return cfg
}

// A log that is known to be forked publishes nothing of what it has.
func TestForkedLogPublishesNothing(t *testing.T) {
	cfg, _ := anchoredConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	must(t, l.round(true))
	before := blobNames(t, cfg.Blob)
	published, err := cfg.Blob.Get(t.Context(), checkpointPath, 1<<16)
	must(t, err)
	forkOf(t, cfg, "b", "c")
	fill(t, l, nil, 300)
	if err := l.anchorHead(t.Context()); !errors.Is(err, errForked) {
		t.Fatalf("found %v", err)
	}
	must(t, l.round(true))
	closeLog(t, l)
	after, err := cfg.Blob.Get(t.Context(), checkpointPath, 1<<16)
	must(t, err)
	for _, name := range blobNames(t, cfg.Blob) {
		if strings.Contains(name, ".p/") && len(before) < len(blobNames(t, cfg.Blob)) && string(after) != string(published) {
			t.Errorf("%s was published", name)
		}
	}
	if string(after) != string(published) {
		t.Errorf("a forked checkpoint was published: %s", after)
	}
}

// counted gives the value of a counter.
func counted(t testing.TB, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// A log whose anchor is gone, or cannot be read, or hangs, while it runs goes on for a
// while and says so; then it is shut, until the two are seen to agree.
func TestAnchorIsLostWhileRunning(t *testing.T) {
	for name, tt := range map[string]struct {
		lose, mend func(*memoryAnchor, *switchAnchor)
		say        string
		idle       bool // nothing is wrong until there is something to write
	}{
		"gone": {
			lose: func(a *memoryAnchor, _ *switchAnchor) { a.mu.Lock(); a.kept, a.text = a.text, ""; a.mu.Unlock() },
			mend: func(a *memoryAnchor, _ *switchAnchor) { a.mu.Lock(); a.text = a.kept; a.mu.Unlock() },
			say:  "it is gone",
		},
		"emptied": {
			lose: func(a *memoryAnchor, _ *switchAnchor) {
				a.mu.Lock()
				a.kept, a.text, a.emptied = a.text, "", true
				a.mu.Unlock()
			},
			mend: func(a *memoryAnchor, _ *switchAnchor) {
				a.mu.Lock()
				a.text, a.emptied = a.kept, false
				a.mu.Unlock()
			},
			say: "is not one of this log",
		},
		"unreadable": {
			lose: func(a *memoryAnchor, _ *switchAnchor) { a.fail(errors.New("connection refused"), false) },
			mend: func(a *memoryAnchor, _ *switchAnchor) { a.fail(nil, false) },
			say:  "cannot be read",
		},
		"unwritable": {
			lose: func(a *memoryAnchor, _ *switchAnchor) { a.fail(errors.New("no space left"), true) },
			mend: func(a *memoryAnchor, _ *switchAnchor) { a.fail(nil, false) },
			say:  "cannot be written",
			idle: true,
		},
		"always written by another": {
			lose: func(a *memoryAnchor, _ *switchAnchor) { a.fail(store.ErrConflict, true) },
			mend: func(a *memoryAnchor, _ *switchAnchor) { a.fail(nil, false) },
			say:  "cannot be written",
			idle: true,
		},
		"silent": {
			lose: func(_ *memoryAnchor, s *switchAnchor) { s.hang(true) },
			mend: func(_ *memoryAnchor, s *switchAnchor) { s.hang(false) },
			say:  "does not answer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, anchor := anchoredConfig(t)
				hung := &switchAnchor{memoryAnchor: anchor}
				var messages syncedText
				cfg.Anchor, cfg.AnchorInterval, cfg.Logger = hung, time.Second, slog.New(slog.NewTextHandler(&messages, nil))
				reg := prometheus.NewRegistry()
				cfg.Metrics = reg
				l := openLog(t, cfg)
				add(t, l, "a")
				time.Sleep(3 * time.Second)
				tt.lose(anchor, hung)
				if tt.idle {
					time.Sleep(2 * anchorGrace)
					add(t, l, "after a while")
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				must(t, l.Err())
				add(t, l, "b")
				if said := messages.String(); !strings.Contains(said, tt.say) || !strings.Contains(said, "takes_entries=true") || strings.Contains(said, "is shut for writing: ") {
					t.Errorf("it said:\n%s", said)
				}
				if n := counted(t, reg, "sigbox_log_anchor_errors_total"); n < 3 {
					t.Errorf("%v errors are counted", n)
				}
				time.Sleep(anchorGrace)
				synctest.Wait()
				expectKind(t, l.Err(), sigbox.Unavailable)
				if !errors.Is(l.Err(), ErrAnchor) || !strings.Contains(l.Err().Error(), tt.say) || !strings.Contains(messages.String(), "takes_entries=false") {
					t.Errorf("found %v; it said:\n%s", l.Err(), &messages)
				}
				_, err := l.Add(t.Context(), Leaf{Data: []byte("c")})
				expectKind(t, err, sigbox.Unavailable)

				tt.mend(anchor, hung)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				must(t, l.Err())
				add(t, l, "c")
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if !strings.Contains(messages.String(), "log and anchor agree again") || uint64(anchor.size(t)) != l.Head().Size {
					t.Errorf("the anchor has %d; it said:\n%s", anchor.size(t), &messages)
				}
				hung.hang(true)
				start := time.Now()
				closeLog(t, l)
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("closing took %v", took)
				}
			})
		})
	}
}

// An anchor that somebody writes to between reading and writing is compared again at
// once.
func TestAnchorConflict(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	text := anchor.text
	forkOf(t, cfg, "x", "y", "z")
	fork := anchor.text
	anchor.text = text
	add(t, l, "b")
	l.cfg.Anchor = &racedAnchor{memoryAnchor: anchor, then: fork}
	if err := l.anchorHead(t.Context()); !errors.Is(err, errForked) {
		t.Fatalf("found %v", err)
	}
	if anchor.text != fork {
		t.Error("the other's head was replaced")
	}
}

// racedAnchor is written to by somebody else before its first Store.
type racedAnchor struct {
	*memoryAnchor
	then string
}

func (a *racedAnchor) Store(context.Context, string) error {
	a.memoryAnchor.mu.Lock()
	defer a.memoryAnchor.mu.Unlock()
	a.text = a.then
	return sigbox.Errorf(sigbox.Conflict, "raced").WithCause(store.ErrConflict)
}
