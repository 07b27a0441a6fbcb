package tlog

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/wire/note"
)

// memoryAnchor is an anchor for tests.
type memoryAnchor struct {
	mu      sync.Mutex
	text    string // guarded by mu
	emptied bool   // guarded by mu; what is there is the empty text
	err     error  // guarded by mu; of every call
	// readable: err is that of Store alone; guarded by mu
	readable bool
	kept     string // guarded by mu; of whoever wants to bring text back
}

// fail has every call fail, or writes alone; nil has none.
func (a *memoryAnchor) fail(err error, readable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err, a.readable = err, readable
}

func (a *memoryAnchor) Load(context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.err != nil && !a.readable:
		return "", a.err
	case a.text == "" && !a.emptied:
		return "", store.ErrNotFound
	}
	return a.text, nil
}

func (a *memoryAnchor) Store(_ context.Context, text string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.text, a.emptied = text, false
	}
	return a.err
}

// slowAnchor is read once answer is closed.
type slowAnchor struct {
	*memoryAnchor
	answer chan struct{}
}

func (a slowAnchor) Load(ctx context.Context) (string, error) {
	select {
	case <-a.answer:
		return a.memoryAnchor.Load(ctx)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// switchAnchor can be made to hang, until the call's context ends.
type switchAnchor struct {
	*memoryAnchor
	hangs atomic.Bool
}

func (a *switchAnchor) hang(on bool) { a.hangs.Store(on) }

func (a *switchAnchor) Load(ctx context.Context) (string, error) {
	if a.hangs.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return a.memoryAnchor.Load(ctx)
}

// testClock is a clock that stands still until it is told to go on.
type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time {
	return time.UnixMilli(1_700_000_000_000).UTC().Add(time.Duration(c.ahead.Load()))
}

func (c *testClock) add(d time.Duration) { c.ahead.Add(int64(d)) }

// syncedText is a text that several goroutines write.
type syncedText struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (s *syncedText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *syncedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (a *memoryAnchor) size(t testing.TB) int64 {
	t.Helper()
	text, err := a.Load(t.Context())
	must(t, err)
	cp, _, err := note.Parse(text)
	must(t, err)
	return int64(cp.Size)
}

// copyOf makes a copy of a log's stores, as a backup does.
func copyOf(t testing.TB, cfg Config) Config {
	t.Helper()
	kv, blob := memory.NewKV(), memory.NewBlob()
	must(t, kv.Commit(t.Context(), store.Batch{Writes: rows(t, cfg.KV)}))
	for _, name := range blobNames(t, cfg.Blob) {
		b, err := cfg.Blob.Get(t.Context(), name, maxBlob)
		must(t, err)
		must(t, blob.Put(t.Context(), name, b))
	}
	cfg.KV, cfg.Blob = kv, blob
	return cfg
}

func anchoredConfig(t testing.TB) (Config, *memoryAnchor) {
	a := &memoryAnchor{}
	cfg := testConfig(t)
	cfg.Anchor, cfg.AnchorInterval = a, time.Hour
	return cfg, a
}

// expectShut opens a log that must be shut for writing, for good or for now, and
// serve reads.
func expectShut(t testing.TB, cfg Config, kind sigbox.Kind, say string) {
	t.Helper()
	l := openLog(t, cfg)
	expectKind(t, l.Err(), kind)
	if !errors.Is(l.Err(), ErrAnchor) || !strings.Contains(l.Err().Error(), say) || !strings.Contains(l.Err().Error(), "docs/operations.md") {
		t.Fatalf("expected %q, found %v", say, l.Err())
	}
	size := l.Head().Size
	_, err := l.Add(t.Context(), Leaf{Data: []byte("not to be logged")})
	expectKind(t, err, sigbox.Unavailable)
	if l.Head().Size != size {
		t.Fatal("it was logged")
	}
	if size > 0 {
		_, _, err = l.Entry(t.Context(), 0)
		must(t, err)
	}
	before := blobNames(t, cfg.Blob)
	must(t, l.round(true))
	if len(before) != len(blobNames(t, cfg.Blob)) {
		t.Fatal("it publishes")
	}
	closeLog(t, l)
}

// A restored backup, also of both stores together, is known by the anchor.
func TestAnchorKnowsAnOlderCopy(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	fill(t, l, nil, 300)
	closeLog(t, l)
	if n := anchor.size(t); n != 300 {
		t.Fatalf("after Close, the anchor has %d", n)
	}
	backup := copyOf(t, cfg)
	l = openLog(t, cfg)
	add(t, l, "one more")
	closeLog(t, l)

	expectShut(t, backup, sigbox.Fatal, "300 entries and its anchor 301")
	if n := anchor.size(t); n != 301 {
		t.Fatalf("the anchor was changed: %d", n)
	}
	// The newest copy opens.
	l = openLog(t, cfg)
	must(t, l.Err())
	closeLog(t, l)
	// An operator who knows what he does can go on with the older one.
	backup.AcceptAnchor = true
	l = openLog(t, backup)
	must(t, l.Err())
	add(t, l, "another")
	closeLog(t, l)
	// From then on it is the other one that is a fork.
	expectShut(t, cfg, sigbox.Fatal, "forked")
}

func TestAnchorIsGone(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	closeLog(t, l)
	text := anchor.text
	anchor.text = ""
	expectShut(t, cfg, sigbox.Fatal, "it is gone")
	anchor.err = errors.New("stale file handle")
	expectShut(t, cfg, sigbox.Unavailable, "cannot be read")
	// What was not read is not known to be wrong: nobody can have accepted it.
	accepting := cfg
	accepting.AcceptAnchor = true
	anchor.readable = false
	expectShut(t, accepting, sigbox.Unavailable, "cannot be read")
	if anchor.text != "" {
		t.Errorf("an anchor that was not read was written: %q", anchor.text)
	}
	anchor.err, anchor.text = nil, "rubbish"
	expectShut(t, cfg, sigbox.Fatal, "not one of this log")
	other, err := note.Sign(sigbox.Checkpoint{Origin: origin, Size: 1}, testSigner(t, "another"))
	must(t, err)
	anchor.text = other
	expectShut(t, cfg, sigbox.Fatal, "not one of this log")
	// An empty one is not what a log that has just been opened has seen last.
	anchor.text, anchor.emptied = "", true
	expectShut(t, cfg, sigbox.Fatal, "not one of this log")
	anchor.emptied = false
	anchor.text = text
	must(t, openLog(t, cfg).Err())

	// None is set any more: somebody has forgotten it, until he says that he has not.
	cfg = copyOf(t, cfg)
	cfg.Anchor = nil
	expectShut(t, cfg, sigbox.Fatal, "had an anchor, and none is set now")
	cfg.AcceptAnchor = true
	l = openLog(t, cfg)
	must(t, l.Err())
	add(t, l, "without an anchor")
	closeLog(t, l)
	cfg.AcceptAnchor = false
	must(t, openLog(t, cfg).Err())
}

// An anchor that cannot be read when the log is opened may come later: the log then
// opens for writing by itself, or stays shut if it contradicts.
func TestAnchorComesLater(t *testing.T) {
	for name, tt := range map[string]struct {
		unwritable bool
		older      bool
	}{
		"it cannot be read":           {},
		"it cannot be written":        {unwritable: true},
		"it then shows an older copy": {older: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, anchor := anchoredConfig(t)
				l := openLog(t, cfg)
				add(t, l, "a")
				closeLog(t, l)
				backup := copyOf(t, cfg)
				l = openLog(t, cfg)
				add(t, l, "b")
				closeLog(t, l)
				if tt.older {
					cfg = backup
				}

				var messages strings.Builder
				cfg.Logger = slog.New(slog.NewTextHandler(&messages, nil))
				anchor.fail(errors.New("connection refused"), tt.unwritable)
				start := time.Now()
				l = openLog(t, cfg)
				if took := time.Since(start); took > 0 {
					t.Errorf("opening took %v", took)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if err := l.Err(); sigbox.KindOf(err) != sigbox.Unavailable || !errors.Is(err, ErrAnchor) {
					t.Fatalf("found %v", err)
				}
				_, err := l.Add(t.Context(), Leaf{Data: []byte("not to be logged")})
				expectKind(t, err, sigbox.Unavailable)
				if n := strings.Count(messages.String(), "takes no entries yet"); n < 10 || n > 40 {
					t.Errorf("it was told %d times in ten minutes:\n%s", n, &messages)
				}

				anchor.fail(nil, false)
				time.Sleep(lastAnchorWait)
				synctest.Wait()
				if tt.older {
					expectKind(t, l.Err(), sigbox.Fatal)
					if l.Head().Size != 1 || anchor.size(t) != 2 {
						t.Errorf("the log has %d, the anchor %d", l.Head().Size, anchor.size(t))
					}
					return
				}
				must(t, l.Err())
				add(t, l, "c")
				closeLog(t, l)
				if !strings.Contains(messages.String(), "log and anchor agree") || anchor.size(t) != 3 {
					t.Errorf("the anchor has %d, and it was said: %s", anchor.size(t), &messages)
				}
			})
		})
	}
}

// An anchor that does not answer at all holds up neither the opening nor reads.
func TestAnchorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, anchor := anchoredConfig(t)
		answer := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(answer) })
		cfg.Anchor = slowAnchor{anchor, answer}
		begun := time.Now()
		first := openLog(t, cfg) // a log without entries waits for longer, but not for ever
		if took := time.Since(begun); took != firstPatience {
			t.Errorf("beginning took %v", took)
		}
		expectKind(t, first.Err(), sigbox.Unavailable)
		time.Sleep(time.Minute)
		synctest.Wait()
		add(t, first, "first")
		closeLog(t, first)

		answer = make(chan struct{})
		cfg.Anchor = slowAnchor{anchor, answer}
		start := time.Now()
		l := openLog(t, cfg)
		if took := time.Since(start); took != anchorPatience {
			t.Errorf("opening took %v", took)
		}
		if err := l.Err(); err == nil || !strings.Contains(err.Error(), "has not answered yet") {
			t.Errorf("found %v", err)
		}
		closed := time.Now()
		closeLog(t, l)
		if took := time.Since(closed); took > 0 {
			t.Errorf("closing took %v", took)
		}
		l = openLog(t, cfg)
		close(answer)
		synctest.Wait()
		must(t, l.Err())
		add(t, l, "a")
	})
}

// The clock's step back, which an operator has accepted, is taken when the anchor
// has come.
func TestAcceptClockWithAnAnchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg, anchor := anchoredConfig(t)
		now := time.UnixMilli(1_700_000_000_000).UTC()
		cfg.Now = func() time.Time { return now }
		l := openLog(t, cfg)
		add(t, l, "a")
		closeLog(t, l)
		now = now.AddDate(-1, 0, 0)
		cfg.AcceptClock = true
		anchor.fail(errors.New("connection refused"), false)
		l = openLog(t, cfg)
		if h := l.Head(); !h.Time.After(now) {
			t.Errorf("time was set back while the log is shut: %v", h.Time)
		}
		anchor.fail(nil, false)
		time.Sleep(firstAnchorWait)
		synctest.Wait()
		must(t, l.Err())
		if r := add(t, l, "b"); !r.Time.Equal(now) {
			t.Errorf("found %v", r.Time)
		}
	})
}

// While the log runs, heads come to the anchor; an anchor that fails is told of and
// stops nothing; one that another log has written stops the log.
func TestAnchorWhileRunning(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	backup := copyOf(t, cfg)
	add(t, l, "a")
	must(t, l.anchorHead(t.Context()))
	if n := anchor.size(t); n != 1 {
		t.Fatalf("the anchor has %d", n)
	}
	anchor.mu.Lock()
	anchor.err = errors.New("stale file handle")
	anchor.mu.Unlock()
	add(t, l, "b")
	if err := l.anchorHead(t.Context()); err == nil {
		t.Fatal("no error")
	}
	must(t, l.Err())
	anchor.mu.Lock()
	anchor.err = nil
	anchor.mu.Unlock()
	must(t, l.anchorHead(t.Context()))

	// A copy of the directory is started elsewhere, in spite of all.
	backup.AcceptAnchor = true
	fork := openLog(t, backup)
	for _, leaf := range []string{"x", "y", "z"} {
		add(t, fork, leaf)
	}
	must(t, fork.anchorHead(t.Context()))
	add(t, l, "c")
	if err := l.anchorHead(t.Context()); !errors.Is(err, ErrAnchor) {
		t.Fatalf("expected ErrAnchor, found %v", err)
	}
	expectKind(t, l.Err(), sigbox.Fatal)
}

// Two processes on one store share an anchor.
func TestAnchorOfTwoWriters(t *testing.T) {
	cfg, _ := anchoredConfig(t)
	a, b := openLog(t, cfg), openLog(t, cfg)
	for _, leaf := range []string{"1", "2", "3", "4"} {
		add(t, a, leaf)
		must(t, a.anchorHead(t.Context()))
		must(t, b.anchorHead(t.Context()))
		add(t, b, leaf+"b")
		must(t, b.anchorHead(t.Context()))
	}
	must(t, a.Err())
	must(t, b.Err())
}

// An entry was logged while the clock was a year ahead. An operator can have the
// log go on, and the step is on record.
func TestAcceptClock(t *testing.T) {
	cfg := checkedConfig(t)
	now := time.UnixMilli(1_700_000_000_000).UTC()
	cfg.Now = func() time.Time { return now }
	l := openLog(t, cfg)
	add(t, l, "a")
	now = now.AddDate(1, 0, 0)
	add(t, l, "b")
	now = now.AddDate(-1, 0, 1)
	_, err := l.Add(t.Context(), Leaf{Data: []byte("c")})
	expectKind(t, err, sigbox.Unavailable)
	if !errors.Is(err, ErrClock) {
		t.Fatalf("expected ErrClock, found %v", err)
	}
	closeLog(t, l)

	cfg.AcceptClock = true
	l = openLog(t, cfg)
	must(t, l.Err())
	for i := range 300 {
		if r := add(t, l, string(testLeaf(uint64(i)))); !r.Time.Equal(now) {
			t.Fatalf("expected %v, found %v", now, r.Time)
		}
	}
	settleTiles(t, l)
	if _, at, err := l.Entry(t.Context(), 1); err != nil || !at.After(now) {
		t.Fatalf("the entry from the future: %v, %v", at, err)
	}
	closeLog(t, l)
	cfg.RowsOf = nil
	r := mustCheck(t, cfg)
	if !r.OK() {
		t.Fatalf("the step is on record, and was found: %+v", r)
	}
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Deletes: []store.Range{{From: []byte{rowStep}, To: []byte{rowStep + 1}}}}))
	if r := mustCheck(t, cfg); r.OK() || r.Findings[0].What != FoundTime {
		t.Fatalf("a step that nobody accepted: %+v", r)
	}
	// With a clock that is right, accepting changes nothing.
	cfg.Now = func() time.Time { return now.Add(time.Hour) }
	must(t, openLog(t, cfg).Err())
	if rows := rows(t, cfg.KV); rows[0].Key[0] == rowStep {
		t.Fatal("a step where there was none")
	}
}
