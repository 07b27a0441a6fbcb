package gate

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
)

// TestPressure follows the share of callers through an overload and out of it.
func TestPressure(t *testing.T) {
	clock := fixture.NewClock(time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC))
	delay := time.Millisecond
	p := newPressure(clock.Now, func() time.Duration { return delay })
	g := New(Config{What: "the test", Slots: 1, Pressure: p, Now: clock.Now})
	look := func() {
		clock.Add(sampled)
		p.admits()
	}
	for range 100 {
		if err := g.Knock(); err != nil {
			t.Fatalf("refused without pressure: %v", err)
		}
	}
	delay = 40 * time.Millisecond
	look()
	if got := p.share.Load(); got != whole/2 {
		t.Errorf("the queue is twice too long: %d of %d are let in", got, whole)
	}
	for range 100 {
		p.admits() // too soon for another look
	}
	if got := p.share.Load(); got != whole/2 {
		t.Errorf("looked again too soon: %d", got)
	}
	delay = time.Hour
	for range 50 {
		look()
	}
	if got := p.share.Load(); got != leastShare*whole {
		t.Errorf("a hopeless queue: %d", got)
	}
	refused := 0
	for range 1000 {
		if err := g.Knock(); err != nil {
			if refused++; sigbox.KindOf(err) != sigbox.Unavailable {
				t.Fatal(err)
			}
		}
	}
	if refused == 0 || refused == 1000 || g.Refused() != uint64(refused) {
		t.Errorf("%d of 1000 refused, %d counted", refused, g.Refused())
	}
	delay = 0
	for range 50 {
		look()
	}
	if got := p.share.Load(); got != whole {
		t.Errorf("afterwards: %d", got)
	}
}

func TestMedian(t *testing.T) {
	bounds := []float64{math.Inf(-1), 0, .01, .02, math.Inf(1)}
	for _, tc := range []struct {
		counts []uint64
		want   float64
	}{
		{[]uint64{0, 0, 0, 0}, 0},
		{[]uint64{3, 0, 0, 0}, 0},
		{[]uint64{0, 9, 1, 0}, 0},
		{[]uint64{0, 4, 2, 4}, .01},
		{[]uint64{0, 1, 1, 9}, .02},
	} {
		if got := median(tc.counts, bounds); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.counts, got, tc.want)
		}
	}
}

// TestSchedulerDelay: a crowd of goroutines that wait for a processor is seen, and
// nothing without one.
func TestSchedulerDelay(t *testing.T) {
	delay := schedulerDelay()
	var end atomic.Bool
	var wg sync.WaitGroup
	for range 4 * crowd * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !end.Load() { // compute
			}
		})
	}
	for delay() == 0 { // until it is seen
		runtime.Gosched()
	}
	end.Store(true)
	wg.Wait()
	if got := delay(); got != 0 {
		t.Errorf("nobody waits: found a median of %v", got)
	}
}

func TestNoPressure(t *testing.T) {
	if err := New(Config{What: "the test"}).Knock(); err != nil {
		t.Error(err)
	}
	var g *Gate
	if err := g.Knock(); err != nil {
		t.Error(err)
	}
}
