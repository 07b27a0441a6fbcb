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

// work goes through a gate and takes d.
func work(t *testing.T, g *Gate, d time.Duration) error {
	t.Helper()
	leave, err := g.Enter(t.Context())
	if err != nil {
		if sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("refused with %v", err)
		}
		return err
	}
	defer leave()
	time.Sleep(d) // in a bubble: no time passes
	return nil
}

// TestBurst: what can be done within a tenth of a second is done, however much comes at once.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 4})
		var wg sync.WaitGroup
		for range 4 * 11 { // 11 rounds of 9 ms
			wg.Go(func() {
				if err := work(t, g, 9*time.Millisecond); err != nil {
					t.Errorf("refused: %v", err)
				}
			})
		}
		wg.Wait()
		if g.Refused() != 0 || g.inside != 0 {
			t.Errorf("%d refused, %d inside", g.Refused(), g.inside)
		}
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
				err := work(t, g, each)
				mu.Lock()
				defer mu.Unlock()
				switch took := time.Since(from); {
				case from.Sub(begin) < 3*time.Second: // it is no overload yet
				case err != nil:
					refused++
				case took > standing+each:
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
		if g.inside != 0 || g.queue.Len() != 0 {
			t.Errorf("%d inside, %d in the queue", g.inside, g.queue.Len())
		}
		if err := work(t, g, 0); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestStuck: when nobody inside comes back, those outside are told.
func TestStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 1})
		leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if err := work(t, g, 0); err == nil || time.Since(from) != burst {
			t.Errorf("%v after %v", err, time.Since(from))
		}
		leave()
		if err := work(t, g, 0); err != nil {
			t.Error(err)
		}
	})
}

// TestGone: who goes away leaves no trace.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{What: "the test", Slots: 1})
		leave, err := g.Enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if _, err := g.Enter(ctx); !errors.Is(err, gone) {
			t.Errorf("found %v", err)
		}
		if g.queue.Len() != 0 {
			t.Error("it still waits")
		}
		leave()
		if g.inside != 0 {
			t.Errorf("%d inside", g.inside)
		}
	})
}

// TestNil: no gate lets everybody in.
func TestNil(t *testing.T) {
	var g *Gate
	leave, err := g.Enter(t.Context())
	if err != nil || g.Refused() != 0 {
		t.Fatal(err)
	}
	leave()
}
