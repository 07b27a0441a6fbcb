package tlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// relayed adds to what takes entries.
func relayed(ctx context.Context, r *Relay[*Log], data string) (Receipt, error) {
	for leg := r.Leg(); ; {
		rc, err := leg.Log.Add(ctx, Leaf{Data: []byte(data)})
		next := leg.Next(ctx, err)
		if next == nil {
			return rc, err
		}
		leg = next
	}
}

// TestRelay: writers that write while one log follows another notice nothing, and each
// entry is in the one or in the other.
func TestRelay(t *testing.T) {
	logs := []*Log{openLog(t, testConfig(t)), openLog(t, testConfig(t)), openLog(t, testConfig(t))}
	r := NewRelay(logs[0])
	const writers, each = 16, 60
	var began, wait sync.WaitGroup
	began.Add(writers)
	receipts := make([][]Receipt, writers)
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				rc, err := relayed(t.Context(), r, fmt.Sprintf("%d of %d", i, w))
				if err != nil {
					t.Errorf("%d of %d: %v", i, w, err)
				}
				receipts[w] = append(receipts[w], rc)
				if i == 0 {
					began.Done()
				}
			}
		})
	}
	began.Wait()
	for i, next := range logs[1:] {
		must(t, r.Hand(next, func() error {
			_, err := logs[i].Seal(t.Context())
			return err
		}))
	}
	wait.Wait()
	if r.Now() != logs[2] {
		t.Error("not the last log takes entries")
	}
	total := uint64(0)
	for _, l := range logs {
		total += l.Head().Size
	}
	if total != writers*each {
		t.Errorf("the logs have %d entries", total)
	}
	for w := range receipts {
		for i, rc := range receipts[w] {
			leaf := fmt.Sprintf("%d of %d", i, w)
			checkReceipt(t, rc, []byte(leaf))
			in := 0
			for _, l := range logs {
				if _, found, err := l.Lookup(t.Context(), LeafHash([]byte(leaf))); err == nil && found {
					in++
				}
			}
			if in != 1 {
				t.Errorf("%s is in %d logs", leaf, in)
			}
		}
	}
}

// TestRelayThatEnds: a sealed log that none follows says that it is sealed; so does one
// whose successor does not come, and who waits no longer is told as much.
func TestRelayThatEnds(t *testing.T) {
	sealed := func(t *testing.T) *Log {
		l := openLog(t, testConfig(t))
		_, err := l.Seal(t.Context())
		must(t, err)
		return l
	}
	t.Run("none follows", func(t *testing.T) {
		_, err := relayed(t.Context(), NewRelay(sealed(t)), "entry")
		expectSealed(t, err)
	})
	t.Run("not sealed", func(t *testing.T) {
		r := NewRelay(sealed(t))
		failed, outcome := errors.New("failed"), make(chan error)
		err := r.Hand(openLog(t, testConfig(t)), func() error {
			go func() {
				_, err := relayed(t.Context(), r, "entry")
				outcome <- err
			}()
			return failed
		})
		if !errors.Is(err, failed) {
			t.Errorf("found %v", err)
		}
		expectSealed(t, <-outcome)
	})
	t.Run("the caller goes away", func(t *testing.T) {
		r := NewRelay(sealed(t))
		must(t, r.Hand(openLog(t, testConfig(t)), func() error {
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := relayed(ended, r, "entry")
			expectSealed(t, err)
			return nil
		}))
		_, err := relayed(t.Context(), r, "entry")
		must(t, err)
	})
}
