package gate

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
)

// at makes callers whose requests came so long ago.
func at(t *testing.T, d time.Duration) context.Context {
	return WithWaited(t.Context(), func() time.Duration { return d })
}

// work goes through a gate, and takes before until it enters, and d inside.
func work(t *testing.T, g *Gate, before, d time.Duration) error {
	t.Helper()
	return workAt(t, t.Context(), g, before, d)
}

func workAt(t *testing.T, ctx context.Context, g *Gate, before, d time.Duration) error {
	t.Helper()
	visit, err := g.Knock(ctx)
	if err == nil {
		defer visit.End()
		time.Sleep(before) // in a bubble: no time passes
		err = visit.Enter(ctx)
	}
	if err != nil {
		if sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("refused with %v", err)
		}
		return err
	}
	time.Sleep(d)
	return nil
}

// left wants a gate with nobody in it.
func left(t *testing.T, g *Gate) {
	t.Helper()
	if g.inside != 0 || g.queue.Len() != 0 || g.coming.Len() != 0 {
		t.Errorf("%d inside, %d in the queue, %d coming", g.inside, g.queue.Len(), g.coming.Len())
	}
}

// TestBurst: as many as are let in, and twice as many again, are all served when they
// come at once.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 4})
		var wg sync.WaitGroup
		for range 4 { // these are inside
			wg.Go(func() {
				if err := work(t, g, 0, 9*time.Millisecond); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
		}
		synctest.Wait()
		for range 8 {
			wg.Go(func() {
				if err := work(t, g, 0, 9*time.Millisecond); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
		}
		synctest.Wait()
		if err := work(t, g, 0, 0); err == nil {
			t.Error("the line has no end")
		}
		wg.Wait()
		if g.Refused() != 1 {
			t.Errorf("%d refused", g.Refused())
		}
		left(t, g)
	})
}

// TestOverload: when twice as much comes as can be done, half is refused, and what is
// answered has waited for twenty milliseconds at most.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 4})
		const each = 10 * time.Millisecond // 400/s can be done
		begin := time.Now()
		var mu sync.Mutex
		var late, done, refused int
		var wg sync.WaitGroup
		for range 800 * 10 { // ten seconds of 800/s
			time.Sleep(time.Second / 800)
			wg.Go(func() {
				from := time.Now()
				err := work(t, g, time.Millisecond, each)
				mu.Lock()
				defer mu.Unlock()
				switch took := time.Since(from); {
				case from.Sub(begin) < 3*time.Second: // it is no overload yet
				case err != nil:
					refused++
				case took > time.Millisecond+standing+each:
					late++
				default:
					done++
				}
			})
		}
		wg.Wait()
		if late != 0 || done < 7*400*95/100 || refused < 7*400*95/100 {
			t.Errorf("%d late, %d done, %d refused", late, done, refused)
		}
		left(t, g)
		time.Sleep(time.Minute)
		if err := work(t, g, 0, 0); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestLate: who has waited before its request was looked at has waited.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 2})
		for _, step := range []struct {
			name  string
			sleep time.Duration
			waits time.Duration
			in    bool
		}{
			{"promptly", 0, prompt, true},
			{"held up", time.Hour, time.Minute, true},
			{"held up", 0, time.Minute, true},
			{"held up again and again", 0, time.Minute, false},
			{"in a burst", 0, burst, false}, // since nobody has come for long
			{"promptly", 0, prompt, true},
			{"held up, whoever came promptly", 0, time.Minute, false},
			{"held up, half a second later", time.Second / 2, time.Minute, true},
			{"held up", 0, time.Minute, false},
			{"promptly", 0, prompt, true},
			{"longer than a burst", 0, burst + 1, false},
			{"in a burst", 0, standing + 1, true},
			{"long, and nobody has come promptly", calmed + 1, standing + 1, false},
			{"as long as one may", 0, standing, true},
			{"promptly", 0, prompt, true},
			{"in another burst", 0, burst, true},
		} {
			time.Sleep(step.sleep)
			if err := workAt(t, at(t, step.waits), g, 0, 0); (err == nil) != step.in {
				t.Errorf("%s: %v", step.name, err)
			}
		}
	})
}

// TestComeBack: until all have come back who were refused, the line is short.
func TestComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 2})
		inLine := func(n int) (is int) { // of n who come at once
			for range n {
				if v, err := g.Knock(t.Context()); err == nil {
					defer v.End()
					is++
				}
			}
			return is
		}
		if got := inLine(5); got != 4 {
			t.Errorf("at first: %d, want 4", got)
		}
		time.Sleep(retryLast)
		if got := inLine(3); got != 2 {
			t.Errorf("as they come back: %d, want 2", got)
		}
		time.Sleep(retryLast + time.Second)
		if got := inLine(4); got != 4 {
			t.Errorf("afterwards: %d, want 4", got)
		}
		left(t, g)
	})
}

// TestHeldUp: callers who are held up between knocking and entering, as by an issuer that
// does not answer, are not in the way of others; and they have not waited at the gate.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 1})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := work(t, g, time.Hour, 0); err != nil {
					t.Errorf("after an hour elsewhere: %v", err)
				}
			})
		}
		synctest.Wait()
		if err := work(t, g, 0, 0); err == nil {
			t.Error("the line has no end")
		}
		time.Sleep(time.Minute)
		if err := work(t, g, 0, 0); err != nil {
			t.Errorf("others are held up: %v", err)
		}
		wg.Wait()
		left(t, g)
	})
}

// TestStuck: when nobody inside comes back, those outside are told.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const before = 10 * time.Millisecond
		g := New(Config{What: "the test", Slots: 1})
		inside, err := g.Knock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := inside.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if err := workAt(t, at(t, before), g, 0, 0); err == nil || time.Since(from) != burst-before {
			t.Errorf("%v after %v", err, time.Since(from))
		}
		inside.End()
		inside.End() // is no second one
		if err := work(t, g, 0, 0); err != nil {
			t.Error(err)
		}
		left(t, g)
	})
}

// TestGone: who goes away leaves no trace.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 1})
		inside, err := g.Knock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := inside.Enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		visit, err := g.Knock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := visit.Enter(ctx); !errors.Is(err, gone) {
			t.Errorf("found %v", err)
		}
		visit.End()
		inside.End()
		left(t, g)
	})
}

// TestTold: an overload is told of once a minute, and callers when to come again.
func TestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		g := New(Config{What: "the test", Slots: 1, Overloaded: func() { told++ }})
		_ = workAt(t, at(t, time.Second), g, 0, 0) // the first is not refused
		waits := map[time.Duration]bool{}
		for range 100 {
			o, ok := errors.AsType[*Overload](workAt(t, at(t, time.Second), g, 0, 0))
			if !ok || o.RetryAfter() < retryFirst || o.RetryAfter() > retryLast || o.RetryAfter()%time.Second != 0 {
				t.Fatalf("found %v", o)
			}
			waits[o.RetryAfter()] = true
		}
		if told != 1 || len(waits) < 2 {
			t.Errorf("told %d times, to come again in %v", told, waits)
		}
		time.Sleep(time.Minute)
		for range 2 { // the first is not refused
			_ = workAt(t, at(t, time.Second), g, 0, 0)
		}
		if told != 2 {
			t.Errorf("told %d times", told)
		}
	})
}

// TestNil: no gate lets everybody in.
func TestNil(t *testing.T) {
	var g *Gate
	visit, err := g.Knock(t.Context())
	if err != nil || g.Refused() != 0 {
		t.Fatal(err)
	}
	if err := visit.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	visit.End()
}
