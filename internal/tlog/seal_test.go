package tlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// expectSealed fails unless err is that of a sealed log.
func expectSealed(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, ErrSealed) || sigbox.KindOf(err) != sigbox.Frozen {
		t.Fatalf("expected the error of a sealed log, found %v", err)
	}
}

// TestSeal: a sealed log refuses entries, also those that it has, has published its
// end, and does nothing by itself any more.
func TestSeal(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	for i := range 300 {
		add(t, l, fmt.Sprintf("entry %d", i))
	}
	head, err := l.Seal(t.Context())
	must(t, err)
	if head.Size != 300 || head != l.Head() {
		t.Fatalf("sealed with %d entries, and it has %d", head.Size, l.Head().Size)
	}
	for _, leaf := range []string{"entry 7", "another"} {
		_, err := l.Add(t.Context(), Leaf{Data: []byte(leaf)})
		expectSealed(t, err)
	}
	l.done.Wait() // mover, anchor and filter have ended
	expectEnded(t, l, anchor, head)
	if again, err := l.Seal(t.Context()); err != nil || again != head {
		t.Errorf("sealed again: %d entries, %v", again.Size, err)
	}
	closeLog(t, l)

	cfg.Sealed = true
	cfg.Now = func() time.Time { return time.Unix(1, 0) } // a clock that is behind is nothing to it
	l = openLog(t, cfg)
	l.done.Wait()
	_, err = l.Add(t.Context(), Leaf{Data: []byte("entry 7")})
	expectSealed(t, err)
	expectEnded(t, l, anchor, head)
	r, found, err := l.Lookup(t.Context(), LeafHash([]byte("entry 7")))
	if err != nil || !found || r.Index != 7 {
		t.Fatalf("entry 7 of a sealed log: %v, %v", found, err)
	}
	checkReceipt(t, r, []byte("entry 7"))
	closeLog(t, l)

	cfg.Sealed, cfg.Now = false, nil
	if r := add(t, openLog(t, cfg), "another"); r.Index != 300 {
		t.Errorf("opened again for writing, it goes on at %d", r.Index)
	}
}

// expectEnded: the head is published and at the anchor, the filter is gone, and nothing
// is wrong.
func expectEnded(t testing.TB, l *Log, anchor *memoryAnchor, head Head) {
	t.Helper()
	cp, found, err := l.publishedCheckpoint(t.Context())
	if err != nil || !found || cp.Size != head.Size || cp.Root != head.Root {
		t.Errorf("published: %+v, %v, %v", cp, found, err)
	}
	if anchor.size(t) != int64(head.Size) {
		t.Errorf("the anchor has %d entries", anchor.size(t))
	}
	if l.known.Load() != nil {
		t.Error("the filter of keys is still there")
	}
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

// TestSealUnderLoad: of many that write while the log is sealed each has a receipt, and
// its entry is in the log, or is told that the log is sealed, and it is not.
func TestSealUnderLoad(t *testing.T) {
	l := openLog(t, testConfig(t))
	const writers = 32
	var logged, refused sync.Map
	var wait, started sync.WaitGroup
	started.Add(writers)
	for w := range writers {
		wait.Go(func() {
			for i := 0; ; i++ {
				leaf := fmt.Sprintf("%d of %d", i, w)
				r, err := l.Add(context.Background(), Leaf{Data: []byte(leaf)})
				if i == 0 {
					started.Done()
				}
				if err != nil {
					refused.Store(leaf, err)
					return
				}
				logged.Store(leaf, r)
			}
		})
	}
	started.Wait()
	head, err := l.Seal(t.Context())
	must(t, err)
	wait.Wait()
	n := uint64(0)
	for leaf, r := range logged.Range {
		n++
		checkReceipt(t, r.(Receipt), []byte(leaf.(string)))
	}
	if n != head.Size || l.Head().Size != head.Size {
		t.Errorf("%d receipts, sealed with %d entries, now %d", n, head.Size, l.Head().Size)
	}
	for leaf, err := range refused.Range {
		expectSealed(t, err.(error))
		if _, found, _ := l.Lookup(t.Context(), LeafHash([]byte(leaf.(string)))); found {
			t.Errorf("%q was refused and is in the log", leaf)
		}
	}
}

// TestSealWithoutAnAnchorThatAnswers: it is sealed at once, and its last head is brought
// to the anchor when that is back.
func TestSealWithoutAnAnchorThatAnswers(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	cfg.AnchorInterval = time.Millisecond
	l := openLog(t, cfg)
	add(t, l, "entry")
	anchor.fail(errors.New("away"), true)
	head, err := l.Seal(t.Context())
	must(t, err)
	anchor.fail(nil, true)
	l.done.Wait()
	expectEnded(t, l, anchor, head)

	anchor.fail(errors.New("away"), false)
	cfg.Sealed = true
	l = openLogAgain(t, l, cfg)
	if err := l.Err(); err == nil || !errors.Is(err, ErrAnchor) {
		t.Errorf("a sealed log that was not compared with its anchor: %v", err)
	}
	closeLog(t, l) // does not wait for it
}

func openLogAgain(t testing.TB, l *Log, cfg Config) *Log {
	t.Helper()
	closeLog(t, l)
	return openLog(t, cfg)
}

// TestSealEndsWithItsContext: who waits no longer learns that the log is sealed all the
// same.
func TestSealEndsWithItsContext(t *testing.T) {
	cfg := testConfig(t)
	held := &heldKV{KV: cfg.KV}
	l := openLog(t, withKV(cfg, held))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begun, release := make(chan struct{}), make(chan struct{})
	held.before = func() { close(begun); <-release }
	added := make(chan error, 1)
	go func() {
		_, err := l.Add(context.Background(), Leaf{Data: []byte("entry")})
		added <- err
	}()
	<-begun
	_, err := l.Seal(ended)
	expectKind(t, err, sigbox.Unavailable)
	_, err = l.Add(t.Context(), Leaf{Data: []byte("another")})
	expectSealed(t, err)
	close(release)
	must(t, <-added) // what was on its way is logged
	if head, err := l.Seal(t.Context()); err != nil || head.Size != 1 {
		t.Errorf("sealed with %d entries: %v", head.Size, err)
	}
}
