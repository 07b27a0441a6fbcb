package limit

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
)

// clock is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func TestAllow(t *testing.T) {
	c := newClock()
	l := New(Rate{3, time.Minute}, c.now)
	for i := range 3 {
		if err := l.Allow("a"); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	e, ok := errors.AsType[*Exceeded](l.Allow("a"))
	if !ok || e.After != 20*time.Second || e.Error() != "more than 3/m" {
		t.Fatalf("found %v", e)
	}
	if err := l.Allow("b"); err != nil {
		t.Errorf("another key: %v", err)
	}
	c.at = c.at.Add(e.After)
	if err := l.Allow("a"); err != nil {
		t.Errorf("when it was told to come: %v", err)
	}
	if l.Allow("a") == nil {
		t.Error("one place was free, and two were given")
	}
	c.at = c.at.Add(time.Hour)
	for i := range 3 {
		if err := l.Allow("a"); err != nil {
			t.Errorf("an hour later, event %d: %v", i, err)
		}
	}
	if New(Rate{}, nil).Allow("a") != nil {
		t.Error("no limit refuses")
	}
}

// TestNeverMore: whatever the order of events, no key gets more than its rate, and one
// that keeps to it is never refused where it is alone.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		rate := Rate{rapid.Int64Range(1, 20).Draw(t, "events"), time.Minute}
		l := New(rate, c.now)
		start, got := c.at, map[string]int64{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			c.at = c.at.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			if l.Allow(key) == nil {
				got[key]++
			}
			if most := rate.Events + int64(c.at.Sub(start)/(rate.Per/time.Duration(rate.Events))); got[key] > most {
				t.Fatalf("%s: %d events of %s in %v", key, got[key], rate, c.at.Sub(start))
			}
		}
	})
}

// TestFlood: a flood of addresses makes who was limited before it no less so, and locks
// out nobody who comes after it.
func TestFlood(t *testing.T) {
	c := newClock()
	l := New(Rate{10, time.Minute}, c.now)
	for range 10 {
		_ = l.Allow("greedy")
	}
	for i := range 200_000 {
		_ = l.Allow("flood " + strconv.Itoa(i))
	}
	if l.Allow("greedy") == nil {
		t.Error("a flood of others has made it unlimited")
	}
	refused := 0
	for i := range 1000 {
		if l.Allow("honest "+strconv.Itoa(i)) != nil {
			refused++
		}
	}
	if refused > 50 {
		t.Errorf("%d of 1,000 who had done nothing were refused", refused)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"1/s": {1, time.Second}, "100/m": {100, time.Minute}, "5/h": {5, time.Hour}, "2000000/d": {2_000_000, 24 * time.Hour},
	} {
		got, err := ParseRate(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: found %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1/", "/s", "0/s", "-1/s", "1/y", "1/s/s", "1e3/s", "99999999999/s", " 1/s"} {
		if _, err := ParseRate(text); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%q: found %v", text, err)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	f.Add("100/m")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRate(text)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Errorf("%v was written as %s and read as %v, %v", r, r, again, err)
		}
	})
}

func TestAddressKey(t *testing.T) {
	for _, same := range [][2]string{
		{"2001:db8::1", "2001:db8::ffff:ffff"}, {"192.0.2.1", "::ffff:192.0.2.1"}, {"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if a, b := AddressKey(netip.MustParseAddr(same[0])), AddressKey(netip.MustParseAddr(same[1])); a != b {
			t.Errorf("%s and %s are %s and %s", same[0], same[1], a, b)
		}
	}
	for _, other := range [][2]string{{"2001:db8::1", "2001:db8:0:1::1"}, {"192.0.2.1", "192.0.2.2"}, {"::1", "127.0.0.1"}} {
		if a, b := AddressKey(netip.MustParseAddr(other[0])), AddressKey(netip.MustParseAddr(other[1])); a == b {
			t.Errorf("%s and %s are both %s", other[0], other[1], a)
		}
	}
}
