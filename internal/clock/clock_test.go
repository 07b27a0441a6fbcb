package clock_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/clock"
)

// machine is a clock that can be set, with a monotonic one beside it.
type machine struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
	// truth is how far the true time is ahead of wall.
	truth time.Duration
}

func newMachine() *machine { return &machine{wall: time.Unix(1_800_000_000, 0)} }

func (m *machine) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wall
}

func (m *machine) monotonic() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mono
}

// pass lets time go by.
func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.mono = m.wall.Add(d), m.mono+d
}

// set steps the clock.
func (m *machine) set(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wall, m.truth = m.wall.Add(by), m.truth-by
}

// honest answers with the truth.
func (m *machine) honest(context.Context, string) (clock.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clock.Answer{Offset: m.truth, Uncertainty: 10 * time.Millisecond}, nil
}

func (m *machine) config() clock.Config {
	return clock.Config{
		Servers: []string{"a.example", "b.example", "c.example"}, Now: m.now, Monotonic: m.monotonic, Query: m.honest,
		Sleep: func(_ context.Context, d time.Duration) error { return nil },
	}
}

func newClock(t *testing.T, cfg clock.Config) *clock.Clock {
	t.Helper()
	c, err := clock.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refuses holds that a clock gives no time, and says why and when to come again.
func refuses(t *testing.T, c *clock.Clock, why string) {
	t.Helper()
	now, err := c.Time()
	if err == nil {
		t.Fatalf("the time %v was given, expected %q", now, why)
	}
	if sigbox.KindOf(err) != sigbox.Unavailable || !strings.Contains(err.Error(), why) {
		t.Errorf("expected %q, found %v: %v", why, sigbox.KindOf(err), err)
	}
	retry, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok || retry.RetryAfter() <= 0 {
		t.Error("it does not say when to try again")
	}
	if c.Err() == nil || c.State().Err == nil {
		t.Error("it does not say so before it is asked")
	}
}

func gives(t *testing.T, c *clock.Clock) {
	t.Helper()
	if _, err := c.Time(); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
}

func measure(t *testing.T, c *clock.Clock) {
	t.Helper()
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutServers(t *testing.T) {
	m := newMachine()
	cfg := m.config()
	cfg.Servers = nil
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c := newClock(t, cfg)
	gives(t, c)
	m.set(-900 * time.Millisecond) // no further than is stated
	gives(t, c)
	m.set(-2 * time.Second)
	refuses(t, c, "stepped back")
	m.pass(3 * time.Second)
	gives(t, c)
	m.set(time.Hour)
	gives(t, c)
	gives(t, c)
	if s := c.State().Step; s == nil || s.By != time.Hour {
		t.Errorf("the step was not noticed: %+v", s)
	}
	if n := strings.Count(log.String(), "clock was set"); n != 2 { // each once
		t.Errorf("the steps were told %d times: %s", n, &log)
	}
	if c.Run(t.Context()) != nil || c.Measure(t.Context()) != nil {
		t.Error("there is nothing to ask")
	}
}

func TestPast(t *testing.T) {
	m := newMachine()
	cfg := m.config()
	cfg.Servers = nil
	c := newClock(t, cfg)
	c.Passed(m.now().Add(time.Minute))
	c.Passed(m.now())
	c.Passed(time.Time{})
	refuses(t, c, "stepped back")
	m.pass(time.Minute)
	gives(t, c)
}

// The clock is held to its accuracy: beyond it nothing is given, until it is right again.
func TestAccuracy(t *testing.T) {
	m := newMachine()
	c := newClock(t, m.config())
	gives(t, c) // nobody requires to know
	measure(t, c)
	gives(t, c)

	m.truth = 985 * time.Millisecond // with 10 ms of uncertainty within
	measure(t, c)
	gives(t, c)
	m.truth = 995 * time.Millisecond // and beyond
	if c.Measure(t.Context()) == nil {
		t.Error("it is beyond what is stated")
	}
	refuses(t, c, "behind")
	m.truth = -2 * time.Second
	if c.Measure(t.Context()) == nil {
		t.Error("it is beyond what is stated")
	}
	refuses(t, c, "ahead")
	m.truth = 0
	measure(t, c)
	gives(t, c)
	if s := c.State(); s.Err != nil || s.Measured == nil || s.Measured.Agree != 3 || len(s.Servers) != 3 || s.Servers[0].Err != nil {
		t.Errorf("found %+v", s)
	}
}

// A step is held against the clock at once, before the servers are asked again.
func TestAStepCountsAtOnce(t *testing.T) {
	for _, by := range []time.Duration{2 * time.Second, -2 * time.Second, 90 * 24 * time.Hour} {
		m := newMachine()
		c := newClock(t, m.config())
		measure(t, c)
		m.set(by)
		refuses(t, c, "it ")
		m.set(-by)
		gives(t, c)
	}
}

// Also a step to the right time is known to be one.
func TestAStepToTheRightTime(t *testing.T) {
	m := newMachine()
	m.truth = time.Minute
	c := newClock(t, m.config())
	if c.Measure(t.Context()) == nil {
		t.Error("it is a minute behind")
	}
	refuses(t, c, "1m0s behind")
	m.set(time.Minute)
	gives(t, c)
	measure(t, c)
	if s := c.State().Step; s == nil || s.By != time.Minute {
		t.Errorf("found %+v", s)
	}
}

func TestRequired(t *testing.T) {
	m := newMachine()
	cfg := m.config()
	away := errors.New("no answer")
	var answer error
	cfg.Query = func(ctx context.Context, s string) (clock.Answer, error) {
		if answer != nil {
			return clock.Answer{}, answer
		}
		return m.honest(ctx, s)
	}
	cfg.Required = true
	c := newClock(t, cfg)
	refuses(t, c, "not known") // nobody was asked
	measure(t, c)
	gives(t, c)
	answer = away
	m.pass(29 * time.Minute)
	if err := c.Measure(t.Context()); err == nil || !strings.Contains(err.Error(), "a.example: no answer") {
		t.Errorf("found %v", err)
	}
	gives(t, c) // what was known holds for a while
	m.pass(2 * time.Minute)
	refuses(t, c, "not known")
	answer = nil
	measure(t, c)
	gives(t, c)

	cfg.Required = false
	c = newClock(t, cfg)
	measure(t, c)
	m.pass(60 * 24 * time.Hour) // a minute of drift might be
	gives(t, c)
	m.set(2 * time.Second) // and what is known to be wrong stays wrong
	refuses(t, c, "ahead")
}

// More than half of the servers have to agree: liars and those who are away do not move
// the time.
func TestMajority(t *testing.T) {
	const lie = time.Hour
	for name, tt := range map[string]struct {
		offsets []time.Duration // a negative one beyond a day is away
		agree   int             // 0 is none
		offset  time.Duration
	}{
		"one":                   {[]time.Duration{0}, 1, 0},
		"one that lies":         {[]time.Duration{lie}, 1, lie}, // nobody can tell
		"two":                   {[]time.Duration{0, time.Millisecond}, 2, 500 * time.Microsecond},
		"two that differ":       {[]time.Duration{0, lie}, 0, 0},
		"one of two away":       {[]time.Duration{0, gone}, 0, 0},
		"three":                 {[]time.Duration{0, 0, 0}, 3, 0},
		"one of three lies":     {[]time.Duration{0, lie, 0}, 2, 0},
		"one of three away":     {[]time.Duration{0, gone, 0}, 2, 0},
		"two of three away":     {[]time.Duration{gone, gone, 0}, 0, 0},
		"two of three conspire": {[]time.Duration{lie, lie, 0}, 2, lie},
		"each another":          {[]time.Duration{lie, -lie, 0}, 0, 0},
		"two of five lie":       {[]time.Duration{lie, 0, lie, 0, 0}, 3, 0},
		"one a bit off":         {[]time.Duration{0, 15 * time.Millisecond, 25 * time.Millisecond}, 2, 15 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			cfg := m.config()
			cfg.Servers = nil
			for i := range tt.offsets {
				cfg.Servers = append(cfg.Servers, string(rune('a'+i)))
			}
			cfg.Query = func(_ context.Context, s string) (clock.Answer, error) {
				offset := tt.offsets[s[0]-'a']
				if offset == gone {
					return clock.Answer{}, errors.New("no answer")
				}
				return clock.Answer{Offset: offset, Uncertainty: 10 * time.Millisecond}, nil
			}
			c := newClock(t, cfg)
			err := c.Measure(t.Context())
			got := c.State().Measured
			switch {
			case tt.agree == 0:
				if err == nil || got != nil {
					t.Errorf("they do not agree: %+v (%v)", got, err)
				}
			case got == nil || got.Agree != tt.agree || got.Offset != tt.offset:
				t.Errorf("found %+v (%v)", got, err)
			}
		})
	}
}

const gone = -48 * time.Hour

// One liar of three does not hide how wrong the clock is behind a server that does not
// know the time well, whose span reaches to the lie.
func TestALieBesideAWideSpan(t *testing.T) {
	const truth = 1700 * time.Millisecond
	answers := map[string]clock.Answer{
		"a.example": {Offset: 0, Uncertainty: 5 * time.Millisecond},
		"b.example": {Offset: 850 * time.Millisecond, Uncertainty: 860 * time.Millisecond},
		"c.example": {Offset: truth, Uncertainty: 5 * time.Millisecond},
	}
	m := newMachine()
	cfg := m.config()
	cfg.Query = func(_ context.Context, s string) (clock.Answer, error) { return answers[s], nil }
	c := newClock(t, cfg)
	if c.Measure(t.Context()) == nil {
		t.Error("a clock that is 1.7 s behind is taken for right")
	}
	refuses(t, c, "behind")
	if got := c.State().Measured; got.Offset+got.Uncertainty < truth {
		t.Errorf("the true time is not in what was found: %+v", got)
	}
}

// A server that is too far away to tell does not count.
func TestTooFarAway(t *testing.T) {
	m := newMachine()
	cfg := m.config()
	cfg.Query = func(context.Context, string) (clock.Answer, error) {
		return clock.Answer{Uncertainty: 1100 * time.Millisecond}, nil
	}
	c := newClock(t, cfg)
	if err := c.Measure(t.Context()); err == nil || !strings.Contains(err.Error(), "too far away") {
		t.Errorf("found %v", err)
	}
	if s := c.State().Servers[0]; s.Err == nil {
		t.Errorf("found %+v", s)
	}
}

// Of several answers the one counts that can be off least.
func TestTheBestSampleCounts(t *testing.T) {
	m := newMachine()
	cfg := m.config()
	cfg.Servers = cfg.Servers[:1]
	answers := []clock.Answer{
		{Offset: 300 * time.Millisecond, Uncertainty: 300 * time.Millisecond},
		{Offset: time.Millisecond, Uncertainty: 2 * time.Millisecond},
		{Offset: 50 * time.Millisecond, Uncertainty: 60 * time.Millisecond},
	}
	asked := 0
	cfg.Query = func(context.Context, string) (clock.Answer, error) {
		asked++
		return answers[asked-1], nil
	}
	c := newClock(t, cfg)
	measure(t, c)
	if got := c.State().Measured; asked != 3 || got.Offset != time.Millisecond {
		t.Errorf("asked %d times: %+v", asked, got)
	}
	asked = 0
	if err := c.First(t.Context()); err != nil || asked != 1 {
		t.Errorf("asked %d times (%v)", asked, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	many := make([]string, clock.MaxServers+1)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	for name, cfg := range map[string]clock.Config{
		"too many servers":   {Servers: many},
		"too many samples":   {Samples: clock.MaxSamples + 1},
		"negative samples":   {Samples: -1},
		"twice the same":     {Servers: []string{"a", "a"}},
		"no name":            {Servers: []string{""}},
		"a URL":              {Servers: []string{"ntp://a.example"}},
		"no port":            {Servers: []string{"a:"}},
		"port 0":             {Servers: []string{"a:0"}},
		"a port too high":    {Servers: []string{"a:65536"}},
		"too coarse":         {Accuracy: 2 * time.Second},
		"too fine":           {Accuracy: time.Microsecond},
		"too often":          {Interval: time.Second},
		"too seldom":         {Interval: 48 * time.Hour},
		"a negative age":     {MaxAge: -time.Hour},
		"required of nobody": {Required: true},
	} {
		if _, err := clock.New(cfg); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", name, err)
		}
	}
	for _, server := range []string{"a", "a.example:1123", "127.0.0.1", "[::1]", "[::1]:123", "::1"} {
		if _, err := clock.New(clock.Config{Servers: []string{server}}); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
}

// Run asks at once, then seldom, and soon again when something is wrong.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []time.Time
		var mu sync.Mutex
		truth := time.Duration(0)
		began := time.Now()
		c := newClock(t, clock.Config{
			Servers: []string{"a"}, Samples: 1,
			Query: func(context.Context, string) (clock.Answer, error) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, time.Now())
				return clock.Answer{Offset: truth}, nil
			},
		})
		rounds := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		synctest.Wait()
		if rounds() != 1 {
			t.Fatalf("asked %d times at the start", rounds())
		}
		time.Sleep(11 * time.Minute)
		if rounds() != 3 {
			t.Errorf("asked %d times in %v", rounds(), time.Since(began))
		}
		mu.Lock()
		truth = time.Minute
		mu.Unlock()
		time.Sleep(5 * time.Minute) // to the next round
		refuses(t, c, "behind")
		mu.Lock()
		truth = 0
		mu.Unlock()
		time.Sleep(16 * time.Second)
		synctest.Wait()
		gives(t, c)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
