package oidc

import (
	"strconv"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(3, time.Minute)
	for range 3 {
		if _, ok := l.take("alice", now); !ok {
			t.Fatal("refused within the burst")
		}
	}
	wait, ok := l.take("alice", now)
	if ok || wait != time.Minute {
		t.Fatalf("after the burst: wait %v, ok %v; want 1m, false", wait, ok)
	}
	if _, ok := l.take("bob", now); !ok {
		t.Error("another key is refused")
	}
	if _, ok := l.take("alice", now.Add(wait)); !ok {
		t.Error("refused after the wait")
	}
	l.giveBack("alice")
	if _, ok := l.take("alice", now.Add(wait)); !ok {
		t.Error("refused after a take was given back")
	}
}

func TestLimiterSurvivesAClockThatJumpsBack(t *testing.T) {
	l := newLimiter(3, time.Minute)
	later := time.Unix(1_700_000_000, 0)
	l.take("alice", later)
	earlier := later.Add(-24 * time.Hour)
	wait, ok := l.take("alice", earlier)
	if ok {
		wait = 0
	}
	if wait > time.Minute {
		t.Errorf("must wait %v after the clock jumped back", wait)
	}
}

func TestExpiring(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	e := newExpiring[int](3, time.Minute)
	for i := range 4 {
		e.put(strconv.Itoa(i), i, now.Add(time.Duration(i)*time.Second))
	}
	if _, ok := e.get("0", now); ok {
		t.Error("the oldest stayed beyond the limit")
	}
	if v, ok := e.take("1", now); !ok || v != 1 {
		t.Errorf("take: %d, %v", v, ok)
	}
	if _, ok := e.take("1", now); ok {
		t.Error("taken twice")
	}
	if _, ok := e.get("2", now.Add(2*time.Second+time.Minute)); ok {
		t.Error("a value outlived its time")
	}
	e.put("5", 5, now.Add(time.Hour))
	if len(e.items) != 1 || e.order.Len() != 1 {
		t.Errorf("%d items and %d in order stay, want 1", len(e.items), e.order.Len())
	}
}
