package clock

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox/internal/clock/clocktest"
)

func ask(t testing.TB, server string) (Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	return (&sntp{now: time.Now}).query(ctx, server)
}

func TestSNTP(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour, 50 * 365 * 24 * time.Hour} {
		requests := make(chan []byte, 1)
		a, err := ask(t, clocktest.Serve(t, func(r []byte) [][]byte {
			requests <- slices.Clone(r)
			return [][]byte{clocktest.Good(r, ahead)}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if (a.Offset-ahead).Abs() > time.Second || a.Uncertainty > time.Second {
			t.Errorf("a clock that is %v ahead: found %+v", ahead, a)
		}
		if sent := <-requests; len(sent) != packetSize || sent[0] != 0x23 {
			t.Errorf("sent %x", sent)
		}
	}
}

// Whoever answers without having seen the question, or answers nonsense, is not believed.
func TestHostileServers(t *testing.T) {
	for name, tt := range map[string]struct {
		reply func([]byte) [][]byte
		want  string
	}{
		"another origin":     {clocktest.Changed(func(p []byte) { p[24] ^= 1 }), "do not answer"},
		"an empty origin":    {clocktest.Changed(func(p []byte) { clear(p[24:32]) }), "do not answer"},
		"a client's packet":  {clocktest.Changed(func(p []byte) { p[0] = version<<3 | modeClient }), "do not answer"},
		"a broadcast":        {clocktest.Changed(func(p []byte) { p[0] = version<<3 | 5 }), "do not answer"},
		"truncated":          {func(r []byte) [][]byte { return [][]byte{clocktest.Good(r, 0)[:47]} }, "do not answer"},
		"empty":              {func([]byte) [][]byte { return [][]byte{{}} }, "do not answer"},
		"silent":             {func([]byte) [][]byte { return nil }, "no answer"},
		"version 2":          {clocktest.Changed(func(p []byte) { p[0] = 2<<3 | modeServer }), "version 2"},
		"rate":               {clocktest.Changed(func(p []byte) { p[1] = 0; copy(p[12:], "RATE") }), "does not want to be asked: RATE"},
		"deny":               {clocktest.Changed(func(p []byte) { p[1] = 0; copy(p[12:], "DENY") }), "does not want to be asked: DENY"},
		"an escape sequence": {clocktest.Changed(func(p []byte) { p[1] = 0; copy(p[12:], "\x1b[2J") }), "no code"},
		"stratum 16":         {clocktest.Changed(func(p []byte) { p[1] = 16 }), "does not know the time"},
		"stratum 255":        {clocktest.Changed(func(p []byte) { p[1] = 255 }), "does not know the time"},
		"leap unknown":       {clocktest.Changed(func(p []byte) { p[0] |= 3 << 6 }), "does not know the time"},
		"no receive time":    {clocktest.Changed(func(p []byte) { clear(p[32:40]) }), "cannot be"},
		"no transmit time":   {clocktest.Changed(func(p []byte) { clear(p[40:48]) }), "cannot be"},
		"answered too early": {clocktest.Changed(func(p []byte) { p[35]++ }), "cannot be"},
		"busy for an hour":   {clocktest.Changed(func(p []byte) { binary.BigEndian.PutUint32(p[40:], binary.BigEndian.Uint32(p[32:])+3600) }), "cannot be"},
		"a flood": {func(r []byte) [][]byte {
			p := clocktest.Good(r, time.Hour)
			p[24] ^= 1
			flood := make([][]byte, 4*maxPackets)
			for i := range flood {
				flood[i] = p
			}
			return flood
		}, "answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := ask(t, clocktest.Serve(t, tt.reply))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("expected %q, found %+v (%v)", tt.want, a, err)
			}
			for _, r := range errText(err) {
				if r < ' ' && r != '\n' {
					t.Errorf("a control character in %q", err)
				}
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Among strangers the one who has seen the question is heard.
func TestSNTPAmongStrangers(t *testing.T) {
	a, err := ask(t, clocktest.Serve(t, func(r []byte) [][]byte {
		forged := clocktest.Good(r, time.Hour)
		forged[30] ^= 1
		return [][]byte{forged, forged, {}, clocktest.Good(r, 0)}
	}))
	if err != nil || a.Offset.Abs() > time.Minute {
		t.Errorf("found %+v (%v)", a, err)
	}
}

// What a server says of its own way to the time counts.
func TestRootDistance(t *testing.T) {
	a, err := ask(t, clocktest.Serve(t, clocktest.Changed(func(p []byte) {
		binary.BigEndian.PutUint32(p[4:], 2<<16)    // two seconds
		binary.BigEndian.PutUint32(p[8:], 3<<16>>1) // one and a half
	})))
	if err != nil || a.Uncertainty < 2500*time.Millisecond || a.Uncertainty > 3500*time.Millisecond {
		t.Errorf("found %+v (%v)", a, err)
	}
}

func TestUnreachable(t *testing.T) {
	if _, err := ask(t, "127.0.0.1:1"); err == nil {
		t.Error("nobody is there")
	}
	if _, err := ask(t, "no such name"); err == nil {
		t.Error("this is no name")
	}
}

// A server that does not want to be asked is left alone.
func TestKissOfDeath(t *testing.T) {
	for code, again := range map[string]time.Duration{"RATE": 10 * time.Minute, "DENY": 24 * time.Hour} {
		asked := 0
		mono := time.Duration(0)
		c, err := New(Config{
			Servers: []string{"a"}, Monotonic: func() time.Duration { return mono },
			Now: func() time.Time { return time.Unix(1_800_000_000, 0).Add(mono) },
			Query: func(context.Context, string) (Answer, error) {
				asked++
				return Answer{}, kissError(code)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if c.Measure(t.Context()) == nil {
				t.Fatal("nobody answers")
			}
		}
		if asked != 1 {
			t.Errorf("%s: asked %d times at once", code, asked)
		}
		mono = again
		_ = c.Measure(t.Context())
		if asked != 2 {
			t.Errorf("%s: asked %d times after %v", code, asked, again)
		}
	}
}

// An answer counts in its own round: a server that answers and then wants to be left alone
// is silent until it is asked again.
func TestKissAfterAnAnswer(t *testing.T) {
	mono, asked := time.Duration(0), 0
	c, err := New(Config{
		Servers: []string{"a"}, Required: true, Monotonic: func() time.Duration { return mono },
		Now:   func() time.Time { return time.Unix(1_800_000_000, 0).Add(mono) },
		Sleep: func(context.Context, time.Duration) error { return nil },
		Query: func(context.Context, string) (Answer, error) {
			if asked++; asked%2 == 0 {
				return Answer{}, kissError("DENY")
			}
			return Answer{Uncertainty: time.Millisecond}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	mono = defaultMaxAge + time.Second
	if err := c.Measure(t.Context()); err == nil || !strings.Contains(err.Error(), "less often") || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if _, err := c.Time(); err == nil {
		t.Error("what was said long ago counts as said now")
	}
	mono = 24 * time.Hour
	if err := c.Measure(t.Context()); err != nil || asked != 4 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// Times are read right over the end of an era, in 2036.
func TestEra(t *testing.T) {
	for _, near := range []time.Time{
		time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), time.Date(2036, 2, 7, 6, 28, 15, 0, time.UTC),
		time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		for _, by := range []time.Duration{0, time.Second, -time.Second, time.Hour, -time.Hour} {
			at := near.Add(by)
			ntp := uint64(at.Unix()+secondsTo1970) << 32
			if got := moment(ntp, near); !got.Equal(at) {
				t.Errorf("%v near %v: found %v", at, near, got.UTC())
			}
		}
	}
}

// The span begins and ends with a point that is in enough of the given ones, and no such
// point is beyond it.
func TestAgreed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var spans []span
		for range rapid.IntRange(0, 8).Draw(t, "n") {
			low := time.Duration(rapid.IntRange(-20, 20).Draw(t, "low"))
			spans = append(spans, span{low, low + time.Duration(rapid.IntRange(0, 15).Draw(t, "width"))})
		}
		in := func(at time.Duration) (n int) {
			for _, s := range spans {
				if s.low <= at && at <= s.high {
					n++
				}
			}
			return n
		}
		least := rapid.IntRange(1, 8).Draw(t, "least")
		var want span
		most := 0
		for at := time.Duration(-20); at <= 35; at++ {
			n := in(at)
			if n >= least {
				if most < least {
					want.low = at
				}
				want.high = at
			}
			most = max(most, n)
		}
		if got, n := agreed(spans, least); n != most || got != want {
			t.Fatalf("%v: found %d in %v, want %d in %v", spans, n, got, most, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	nonce := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	seed := clocktest.Good(request(nonce), 0)
	f.Add(seed)
	f.Add(seed[:47])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b, nonce)
		if err != nil {
			return
		}
		if [8]byte(b[24:32]) != nonce || p.rootDelay < 0 || p.rootDispersion < 0 {
			t.Errorf("%x: found %+v", b, p)
		}
		sent := time.Unix(1_800_000_000, 0)
		a, err := p.answer(sent, sent.Add(time.Second))
		if err == nil && a.Uncertainty < 0 {
			t.Errorf("%x: found %+v", b, a)
		}
	})
}
