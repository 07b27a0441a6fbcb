package tuf_test

import (
	"bytes"
	"crypto"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tuf"
	"github.com/sigbox/sigbox/wire/tufroot"
)

func policy(t testing.TB, threshold int, signers ...crypto.Signer) tufroot.Policy {
	t.Helper()
	p := tufroot.Policy{Threshold: threshold}
	for _, s := range signers {
		k, err := tufroot.NewKey(s.Public())
		if err != nil {
			t.Fatal(err)
		}
		p.Keys = append(p.Keys, k)
	}
	return p
}

func only(t testing.TB, signer crypto.Signer) tufroot.Policy { return policy(t, 1, signer) }

// signedElsewhere makes the root that follows old, nil for the first.
func signedElsewhere(t testing.TB, old []byte, root tufroot.Policy, online crypto.Signer, expires time.Time, signers ...crypto.Signer) []byte {
	t.Helper()
	version := int64(1)
	if old != nil {
		before, err := tufroot.Parse(old)
		if err != nil {
			t.Fatal(err)
		}
		version = before.Version + 1
	}
	next, err := tufroot.New(version, expires, root, only(t, online))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if err := next.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := next.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSeveralRootKeys: a threshold of the root's keys signs it, whichever are there.
func TestSeveralRootKeys(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	keys := []crypto.Signer{newKey(t), newKey(t), newKey(t)}
	cfg.RootKeys, cfg.Threshold = keys, 2
	r := open(t, cfg)
	first := r.Root()

	// Two of them are enough, and one does not do.
	cfg.RootKeys = []crypto.Signer{keys[2], keys[0]}
	c.now = c.now.Add(110 * day)
	r = open(t, cfg)
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{2, 1, 1, 2})
	if root, err := tufroot.Parse(r.Root()); err != nil || !root.Root.Equal(policy(t, 2, keys...)) {
		t.Errorf("the root has other keys than before: %+v, %v", root, err)
	}
	cfg.RootKeys = keys[:1]
	c.now = c.now.Add(110 * day)
	r = open(t, cfg)
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{2, 1, 1, 3})
	if _, stuck := r.RootExpires(); stuck == nil || !strings.Contains(stuck.Error(), "signed by 2 of its keys, and 1 of them are here") {
		t.Errorf("found %v", stuck)
	}
	if err := r.Rekey(newKey(t)); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("another key was named without the root's: %v", err)
	}

	// One that cannot be asked is not missed as long as there are others.
	cfg.RootKeys = []crypto.Signer{keys[0], &awayKey{Signer: keys[1], away: true}, keys[2]}
	r = open(t, cfg)
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{3, 1, 1, 3})

	// Another online key, while it runs.
	online := newKey(t)
	if err := r.Rekey(online); err != nil {
		t.Fatal(err)
	}
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{4, 2, 2, 4})
	cfg.OnlineKey = online
	expect(t, open(t, cfg), first, c.now, `{"root":1}`, [4]int64{4, 2, 2, 4})
}

// TestThresholds: go-tuf GHSA-fphv-w9fq-2525 and GHSA-3633-5h82-39pq: a threshold that
// nobody has to meet, and a key that counts twice.
func TestThresholds(t *testing.T) {
	key := newKey(t)
	for _, p := range []tufroot.Policy{policy(t, 0, key), policy(t, -1, key), policy(t, 2, key), policy(t, 2, key, key), policy(t, 1)} {
		if _, err := tufroot.New(1, time.Now().Add(day), p, only(t, key)); err == nil {
			t.Errorf("a policy was taken: %+v", p)
		}
	}
	c := newClock()
	cfg := newConfig(t, c)
	cfg.RootKeys, cfg.Threshold = []crypto.Signer{key, key}, 2
	if _, err := tuf.Open(cfg); err == nil {
		t.Error("one key is two of two")
	}
}

// TestAccept: a root that was signed elsewhere is published while the repository runs, if
// clients go on to it.
func TestAccept(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	old := []crypto.Signer{newKey(t), newKey(t), newKey(t)}
	next := []crypto.Signer{newKey(t), newKey(t)}
	online := cfg.OnlineKey
	first := signedElsewhere(t, nil, policy(t, 2, old...), online, c.now.Add(200*day), old[0], old[2])
	if err := tuf.Begin(cfg.Dir, first, online.Public(), c.now); err != nil {
		t.Fatal(err)
	}
	cfg.RootKeys = nil
	r := open(t, cfg)
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})

	later := c.now.Add(400 * day)
	both := policy(t, 2, next...)
	stranger := newKey(t)
	for what, tt := range map[string]struct {
		root []byte
		kind sigbox.Kind
	}{
		"too few of the old keys":     {signedElsewhere(t, first, both, online, later, old[0], next[0], next[1]), sigbox.NotVerified},
		"too few of the new keys":     {signedElsewhere(t, first, both, online, later, old[0], old[1], next[1]), sigbox.NotVerified},
		"a stranger's":                {signedElsewhere(t, first, only(t, stranger), online, later, stranger), sigbox.NotVerified},
		"another online key":          {signedElsewhere(t, first, both, stranger, later, old[0], old[1], next[0], next[1]), sigbox.Invalid},
		"expired":                     {signedElsewhere(t, first, both, online, c.now, old[0], old[1], next[0], next[1]), sigbox.Invalid},
		"good for ever":               {signedElsewhere(t, first, both, online, c.now.Add(9000*day), old[0], old[1], next[0], next[1]), sigbox.Invalid},
		"a version left out":          {signedElsewhere(t, signedElsewhere(t, first, both, online, later), both, online, later, old[0], old[1], next[0], next[1]), sigbox.Conflict},
		"another of the same version": {signedElsewhere(t, nil, policy(t, 2, old...), online, later, old[0], old[2]), sigbox.Conflict},
		"none":                        {[]byte(`{}`), sigbox.Invalid},
	} {
		if err := r.Accept(tt.root, nil); err == nil || sigbox.KindOf(err) != tt.kind {
			t.Errorf("%s: expected %v, found %v", what, tt.kind, err)
		}
	}
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{1, 1, 1, 1})

	second := signedElsewhere(t, first, both, online, later, old[1], old[2], next[0], next[1])
	for range 2 { // it may come again
		if err := r.Accept(second, nil); err != nil {
			t.Fatal(err)
		}
		expect(t, r, first, c.now, `{"root":1}`, [4]int64{2, 1, 1, 1})
	}
	if !bytes.Equal(r.Root(), second) {
		t.Error("the root was changed")
	}

	// With another key for all the rest, which the repository has from then on.
	fresh := newKey(t)
	third := signedElsewhere(t, second, both, fresh, later, next...)
	if err := r.Accept(third, fresh); err != nil {
		t.Fatal(err)
	}
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{3, 2, 2, 2})
	cfg.Others = []crypto.Signer{stranger, fresh}
	r = open(t, cfg)
	expect(t, r, first, c.now, `{"root":1}`, [4]int64{3, 2, 2, 2})

	// A key that was replaced may still lie there; it is of no use.
	cfg.RootKeys = []crypto.Signer{old[0]}
	c.now = c.now.Add(300 * day)
	if _, stuck := open(t, cfg).RootExpires(); stuck == nil {
		t.Error("a key that was replaced can sign")
	}
}

func TestBegin(t *testing.T) {
	c := newClock()
	cfg := newConfig(t, c)
	key, other := newKey(t), newKey(t)
	good := signedElsewhere(t, nil, only(t, key), cfg.OnlineKey, c.now.Add(100*day), key)
	for what, root := range map[string][]byte{
		"not signed":         signedElsewhere(t, nil, only(t, key), cfg.OnlineKey, c.now.Add(100*day)),
		"by another":         signedElsewhere(t, nil, only(t, key), cfg.OnlineKey, c.now.Add(100*day), other),
		"the second":         signedElsewhere(t, good, only(t, key), cfg.OnlineKey, c.now.Add(100*day), key),
		"another online key": signedElsewhere(t, nil, only(t, key), other, c.now.Add(100*day), key),
		"none":               nil,
	} {
		if err := tuf.Begin(cfg.Dir, root, cfg.OnlineKey.Public(), c.now); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	for range 2 {
		if err := tuf.Begin(cfg.Dir, good, cfg.OnlineKey.Public(), c.now); err != nil {
			t.Fatal(err)
		}
	}
	another := signedElsewhere(t, nil, only(t, other), cfg.OnlineKey, c.now.Add(100*day), other)
	if err := tuf.Begin(cfg.Dir, another, cfg.OnlineKey.Public(), c.now); err == nil || sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("expected Conflict, found %v", err)
	}
}

// TestAlarms: a root that cannot be signed here is told of 90, 30 and 7 days before its
// end once, then daily; the repository is well until it has expired.
func TestAlarms(t *testing.T) {
	t.Parallel()
	c := newClock()
	cfg := newConfig(t, c)
	open(t, cfg)
	rootKeys := cfg.RootKeys
	var messages bytes.Buffer
	cfg.RootKeys = nil
	cfg.Logger = slog.New(slog.NewTextHandler(&messages, &slog.HandlerOptions{Level: slog.LevelWarn}))
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	r := open(t, cfg)
	begin := c.now
	want := map[int]bool{107: true, 167: true}
	for d := 190; d < 200; d++ {
		want[d] = true
	}
	for d := range 200 {
		c.now = begin.Add(time.Duration(d) * day)
		for range 24 {
			messages.Reset()
			hour := c.now
			if err := r.Renew(); err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(messages.String(), "the TUF root ends"); told != (want[d] && hour.Equal(begin.Add(time.Duration(d)*day))) {
				t.Fatalf("after %d days, %v: %s", d, hour.Sub(begin), &messages)
			}
			c.now = c.now.Add(time.Hour)
		}
		c.now = begin.Add(time.Duration(d) * day)
		if (r.Notice() != nil) != (d >= 107) || (r.Err() != nil) != (d >= 197) {
			t.Fatalf("after %d days: %v and %v", d, r.Notice(), r.Err())
		}
		if left, want := gauge(t, registry, "root"), (197*day - c.now.Sub(begin)).Seconds(); left < want-1 || left > want {
			t.Fatalf("after %d days: the metric is %v, expected %v", d, left, want)
		}
	}
	if hint := r.Err().(*sigbox.Error).Hint; !strings.Contains(hint, "ceremony") {
		t.Errorf("unexpected hint %q", hint)
	}
	root, err := tufroot.Parse(r.Root())
	if err != nil {
		t.Fatal(err)
	}
	next := signedElsewhere(t, r.Root(), root.Root, cfg.OnlineKey, c.now.Add(300*day), rootKeys...)
	if err := r.Accept(next, nil); err != nil {
		t.Fatal(err)
	}
	if r.Err() != nil || r.Notice() != nil {
		t.Errorf("after a new root: %v and %v", r.Notice(), r.Err())
	}
}

// gauge reads how long a role's metadata is still good.
func gauge(t *testing.T, registry *prometheus.Registry, role string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "sigbox_tuf_expires_seconds" && m.GetLabel()[0].GetValue() == role {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatal("there is no such metric")
	return 0
}

// world is a repository with clients of many ages, over years.
type world struct {
	t      *testing.T
	random *rand.Rand
	clock  *clock
	cfg    tuf.Config
	repo   *tuf.Repository
	// clients are the roots that they have seen last; some come rarely.
	clients map[int][]byte
	seen    map[int][4]int64
}

func newWorld(t *testing.T) *world {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), clock: newClock(), clients: map[int][]byte{}, seen: map[int][4]int64{}}
	w.cfg = newConfig(t, w.clock)
	return w
}

// open starts the repository, again.
func (w *world) open() { w.repo = open(w.t, w.cfg) }

// hour lets one pass: what is due is signed, and clients come, client n about every 2^n
// hours, with clocks that are some hours ahead or behind.
func (w *world) hour() {
	w.t.Helper()
	w.clock.now = w.clock.now.Add(time.Hour)
	if err := w.repo.Renew(); err != nil && sigbox.KindOf(err) != sigbox.Unavailable {
		w.t.Fatal(err)
	}
	if err := w.repo.Err(); err != nil {
		w.t.Fatalf("at %v: %v", w.clock.now, err)
	}
	for n := 6; n < 15; n++ {
		if w.random.IntN(1<<n) == 0 {
			w.follow(n)
		}
	}
}

// follow has a client come: it goes on from the root that it saw last, and nothing that
// it sees is older than what it has seen before.
func (w *world) follow(n int) {
	w.t.Helper()
	root := w.clients[n]
	if root == nil {
		root = w.repo.Root()
	}
	skew := time.Duration(w.random.IntN(24)-12) * time.Hour
	_, versions, err := client(w.repo, root, w.clock.now.Add(skew))
	if err != nil {
		w.t.Fatalf("client %d at %v: %v", n, w.clock.now, err)
	}
	for i, v := range versions {
		if v < w.seen[n][i] {
			w.t.Fatalf("client %d at %v: versions %v after %v", n, w.clock.now, versions, w.seen[n])
		}
	}
	w.clients[n], w.seen[n] = w.repo.Root(), versions
}

// TestTwoYears: with the root's key at hand nobody is handed metadata that has expired,
// however rarely they come, while the repository is restarted at any time and its keys
// are away for days, the root's for weeks.
func TestTwoYears(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	online, root := &awayKey{Signer: w.cfg.OnlineKey}, &awayKey{Signer: w.cfg.RootKeys[0]}
	w.cfg.OnlineKey, w.cfg.RootKeys = online, []crypto.Signer{root}
	w.open()
	first := w.repo.Root()
	for n := range 15 {
		w.clients[n] = first
	}
	until := map[*awayKey]time.Time{}
	for range 2 * 365 * 24 {
		for key, longest := range map[*awayKey]int{online: 4 * 24, root: 60 * 24} {
			if w.clock.now.After(until[key].Add(2*day)) && w.random.IntN(20*24) == 0 {
				until[key] = w.clock.now.Add(time.Duration(w.random.IntN(longest)) * time.Hour)
			}
			key.away = w.clock.now.Before(until[key])
		}
		if w.random.IntN(10*24) == 0 {
			w.open()
		}
		if w.random.IntN(60*24) == 0 {
			w.cfg.Targets = targets(fmt.Sprint(w.random.IntN(10)))
			w.open()
		}
		w.hour()
	}
	root.away, online.away = false, false
	w.open()
	_, v, err := client(w.repo, first, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if v[0] < 5 || v[0] > 12 || v[3] < 300 || v[3] > 800 {
		t.Errorf("unexpected versions %v of root, targets, snapshot and timestamp", v)
	}
}

// TestTwoYearsOffline: the root's keys are never here. Its end is told of in time, a root
// that a ceremony has signed is taken while the repository runs, sometimes with other
// keys and another threshold, and clients follow over all versions.
func TestTwoYearsOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := []crypto.Signer{newKey(t), newKey(t), newKey(t)}
	threshold := 2
	first := signedElsewhere(t, nil, policy(t, threshold, keys...), w.cfg.OnlineKey, w.clock.now.Add(197*day), keys...)
	if err := tuf.Begin(w.cfg.Dir, first, w.cfg.OnlineKey.Public(), w.clock.now); err != nil {
		t.Fatal(err)
	}
	w.cfg.RootKeys = nil
	w.open()
	for n := range 15 {
		w.clients[n] = first
	}
	noticed, ceremonies := 0, 0
	for range 2 * 365 * 24 {
		w.hour()
		if w.random.IntN(20*24) == 0 {
			w.open()
		}
		if w.repo.Notice() == nil {
			continue
		}
		if noticed++; noticed < 24*(1+w.random.IntN(60)) { // people take their time
			continue
		}
		noticed = 0
		ceremonies++
		before, signers := keys, keys[:threshold]
		switch ceremonies % 3 {
		case 1: // one key is replaced
			keys = append([]crypto.Signer{newKey(t)}, before[1:]...)
		case 2: // a key more, and one more has to sign
			keys, threshold = append([]crypto.Signer{newKey(t)}, before...), threshold+1
		}
		next := signedElsewhere(t, w.repo.Root(), policy(t, threshold, keys...), w.cfg.OnlineKey, w.clock.now.Add(197*day), append(keys[:threshold:threshold], signers...)...)
		if err := w.repo.Accept(next, nil); err != nil {
			t.Fatalf("ceremony %d: %v", ceremonies, err)
		}
	}
	_, v, err := client(w.repo, first, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if ceremonies < 3 || v[0] != int64(1+ceremonies) {
		t.Errorf("%d ceremonies, and versions %v", ceremonies, v)
	}
}
