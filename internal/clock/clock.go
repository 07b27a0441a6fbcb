// Package clock watches the machine's clock for those who vouch for times: the timestamp
// authority and the certificate authority.
//
//	c, err := clock.New(clock.Config{Servers: []string{"ntp1.example.com", "ntp2.example.com", "ntp3.example.com"}})
//	go c.Run(ctx)
//	now, err := c.Time() // an error while the clock is not to be trusted
//
// A [Clock] gives no time
//   - that is before one that it gave already, or that is otherwise known to have been;
//   - that is further from the true one, as NTP servers have it, than the accuracy that
//     is stated. Steps and drift since they were asked are counted in, at once;
//   - if it is required to know: when the servers have not agreed for too long.
//
// It goes on by itself. The clock is never set: that is for the system's time daemon.
//
// Servers are asked by SNTP (RFC 5905, section 14), without authentication: who sits
// between can have times refused, and cannot have wrong ones given.
package clock

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	// MaxAccuracy is what timestamps state.
	MaxAccuracy = time.Second
	// MaxServers bounds the servers that are asked.
	MaxServers = 16
	// MaxSamples bounds how often each is asked in a round.
	MaxSamples = 8

	defaultSamples  = 3
	defaultInterval = 5 * time.Minute
	defaultMaxAge   = 30 * time.Minute
	// retryInterval is the time between rounds while the clock is not known to be right:
	// NTP's least (RFC 5905, MINPOLL).
	retryInterval = 16 * time.Second
	// pause stands between two questions to one server in a round, as in a burst of NTP.
	pause = 2 * time.Second
	// phi is how fast a clock may drift: 15 ppm (RFC 5905, PHI).
	phi = 15e-6
)

// Config is what a [Clock] needs. The zero value watches for steps back alone.
type Config struct {
	// Servers are NTP servers, HOST or HOST:PORT. More than half of them must agree.
	Servers []string
	// Samples is how often each is asked in a round, of which the best answer counts; 3
	// if 0.
	Samples int
	// Accuracy is how far the clock may be from the true time, at most MaxAccuracy, which
	// is also the value of 0.
	Accuracy time.Duration
	// Interval is the time between two rounds, 5 min if 0.
	Interval time.Duration
	// Required refuses to give a time when the servers have not agreed for MaxAge, 30 min
	// if 0, or not at all.
	Required bool
	MaxAge   time.Duration
	// Now is the clock; nil is time.Now. Its steps are known by the monotonic reading of
	// its times, if they have one, else by Monotonic.
	Now func() time.Time
	// Monotonic is a clock that nobody sets, from any beginning; nil is that of Now.
	Monotonic func() time.Duration
	// Query asks one server; nil does so by SNTP.
	Query func(ctx context.Context, server string) (Answer, error)
	// Sleep waits; nil waits on the real clock.
	Sleep func(context.Context, time.Duration) error
	// Logger is told of what changes; nil is nobody.
	Logger *slog.Logger
}

func (c *Config) setDefaults() error {
	c.Samples = cmp.Or(c.Samples, defaultSamples)
	c.Accuracy = cmp.Or(c.Accuracy, MaxAccuracy)
	c.Interval = cmp.Or(c.Interval, defaultInterval)
	c.MaxAge = cmp.Or(c.MaxAge, defaultMaxAge)
	if err := c.Check(); err != nil {
		return err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Query == nil {
		c.Query = (&sntp{now: c.Now}).query
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Check refuses what cannot be meant. Zero values are the defaults.
func (c *Config) Check() error {
	within := func(name string, d, least, most time.Duration) error {
		if d == 0 || d >= least && d <= most {
			return nil
		}
		return sigbox.Errorf(sigbox.Invalid, "time: %s: expected %v to %v, found %v", name, least, most, d)
	}
	if len(c.Servers) > MaxServers || c.Samples < 0 || c.Samples > MaxSamples {
		return sigbox.Errorf(sigbox.Invalid, "time: expected at most %d ntp-servers and %d samples, found %d and %d", MaxServers, MaxSamples, len(c.Servers), c.Samples)
	}
	if c.Required && len(c.Servers) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "time: required is set, and no ntp-servers are").WithHint("name three or more")
	}
	seen := map[string]bool{}
	for _, s := range c.Servers {
		if _, err := address(s); err != nil {
			return err
		}
		if seen[s] {
			return sigbox.Errorf(sigbox.Invalid, "time: the NTP server %s is named twice: its voice counts once", s)
		}
		seen[s] = true
	}
	return errors.Join(
		within("accuracy", c.Accuracy, time.Millisecond, MaxAccuracy),
		within("interval", c.Interval, retryInterval, 24*time.Hour),
		within("max-age", c.MaxAge, retryInterval, 7*24*time.Hour),
	)
}

// Clock is a clock that is watched. Its methods are safe for concurrent use.
type Clock struct {
	cfg   Config
	began time.Time // has a monotonic reading if Now's times have one
	// latest is the newest time that has been, in seconds since 1970; 0 if none is known.
	latest atomic.Int64
	// known is the last round in which the servers agreed; nil before the first.
	known atomic.Pointer[Measurement]
	// kick has Run ask at once.
	kick chan struct{}

	mu      sync.Mutex // held by a round
	servers []server   // guarded by mu
	said    string     // guarded by mu; what was last logged
	// asked are the servers after the last round.
	asked atomic.Pointer[[]server]
	// step is the last step of the system's clock; nil if there was none.
	step atomic.Pointer[Step]
	// base is what steps are counted from when no servers are asked.
	base atomic.Pointer[reading]
}

// server is one that is asked.
type server struct {
	name string
	last Answer
	err  error
	// quiet is until when it wants to be left alone, and patience for how long the next
	// time.
	quiet    time.Duration
	patience time.Duration
}

// reading is both clocks at one moment.
type reading struct {
	wall time.Time
	mono time.Duration
}

// Step is a step of the system's clock: somebody set it, or the machine slept.
type Step struct {
	At time.Time
	By time.Duration
}

// Measurement is what the servers agree on.
type Measurement struct {
	// At is when they were asked.
	At time.Time
	// Offset is how far the true time is ahead of the clock, and Uncertainty how far that
	// may be off.
	Offset, Uncertainty time.Duration
	// Agree is how many servers did.
	Agree int

	at reading
}

// New makes a clock. No server was asked yet: see [Clock.Measure] and [Clock.Run].
func New(cfg Config) (*Clock, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c := &Clock{cfg: cfg, began: cfg.Now(), kick: make(chan struct{}, 1)}
	for _, name := range cfg.Servers {
		c.servers = append(c.servers, server{name: name, err: errNotAsked})
	}
	c.noteAsked()
	first := c.read()
	c.base.Store(&first)
	return c, nil
}

// Passed notes a time that is known to have been, such as the newest that a log has on
// record: none before it is given.
func (c *Clock) Passed(at time.Time) {
	for !at.IsZero() {
		latest := c.latest.Load()
		if at.Unix() <= latest || c.latest.CompareAndSwap(latest, at.Unix()) {
			return
		}
	}
}

// errNotAsked is of a server before the first round.
var errNotAsked = errors.New("not asked yet")

// errQuiet is of a server that answered, and then did not want to be asked again for now.
var errQuiet = errors.New("it wants to be asked less often")

// read reads both clocks.
func (c *Clock) read() reading {
	now := c.cfg.Now()
	if c.cfg.Monotonic != nil {
		return reading{now.Round(0), c.cfg.Monotonic()}
	}
	return reading{now.Round(0), now.Sub(c.began)} // by the monotonic reading, if there is one
}

// stepped is how far the wall clock has gone more than time went by.
func (r reading) stepped(since reading) time.Duration {
	return r.wall.Sub(since.wall) - (r.mono - since.mono)
}

// Time gives the time, if it is to be vouched for. The error is of kind Unavailable and
// says when to try again ([RetryAfter]).
func (c *Clock) Time() (time.Time, error) {
	r := c.read()
	if err := c.check(r); err != nil {
		return time.Time{}, err
	}
	c.Passed(r.wall)
	return r.wall.UTC(), nil
}

// Err says why Time would give none now.
func (c *Clock) Err() error { return c.check(c.read()) }

func (c *Clock) check(r reading) error {
	latest := c.latest.Load()
	if last := time.Unix(latest, 0); latest != 0 && r.wall.Before(last.Add(-MaxAccuracy)) {
		c.look()
		return refuse("it stepped back to %s, it has been %s before", stamp(r.wall), stamp(last)).
			WithHint("set the clock right; it goes on by itself when it is past that time")
	}
	if len(c.cfg.Servers) == 0 {
		c.noteStep(r)
		return nil
	}
	m := c.known.Load()
	if m == nil || r.mono-m.at.mono > c.cfg.MaxAge {
		if c.cfg.Required {
			return refuse("whether it is right is not known, the NTP servers do not answer or do not agree").
				WithHint("sigbox status says how each of them is; it goes on by itself when more than half of them agree")
		}
		if m == nil {
			return nil
		}
	}
	return c.checkOffset(r, m)
}

// checkOffset holds the clock against what the servers said, and what has happened since.
func (c *Clock) checkOffset(r reading, m *Measurement) error {
	offset, unsure := m.now(r)
	if r.mono-m.at.mono > c.cfg.MaxAge {
		unsure = 0 // nobody requires to know it, and drift alone is not held against the clock
	}
	if offset.Abs()+unsure <= c.cfg.Accuracy {
		return nil
	}
	c.look()
	which := "behind"
	if offset < 0 {
		which = "ahead"
	}
	return refuse("it is %v %s, give or take %v, as %d NTP servers have it: more than the %v that is stated", round(offset.Abs()), which, round(unsure), m.Agree, c.cfg.Accuracy).
		WithHint("have the machine's clock follow NTP; it goes on by itself when the clock is right")
}

// now is the offset at a later reading, and how far that may be off.
func (m *Measurement) now(r reading) (offset, unsure time.Duration) {
	age := r.mono - m.at.mono
	return m.Offset - r.stepped(m.at), m.Uncertainty + time.Duration(float64(age)*phi)
}

// noteStep notes a step where no server can tell whether it was right.
func (c *Clock) noteStep(r reading) {
	base := c.base.Load()
	by := r.stepped(*base)
	if by.Abs() <= c.cfg.Accuracy || !c.base.CompareAndSwap(base, &r) {
		return
	}
	c.step.Store(&Step{At: r.wall.UTC(), By: by})
	c.cfg.Logger.Warn("the system's clock was set, or the machine slept; no NTP servers are configured to tell whether it is right",
		"step", by.String(), "time", stamp(r.wall), "hint", "name ntp-servers in the settings")
}

// look has Run ask the servers soon.
func (c *Clock) look() {
	select {
	case c.kick <- struct{}{}:
	default: // it was asked to already
	}
}

// refuse makes the error of a clock that is not to be trusted.
func refuse(format string, args ...any) *sigbox.Error {
	return sigbox.Errorf(sigbox.Unavailable, "%w: "+format, append([]any{later{}}, args...)...)
}

// later is the cause of refusals: it says when to try again.
type later struct{}

func (later) Error() string { return "the clock is not to be trusted" }

// RetryAfter is how long it is worth to wait.
func (later) RetryAfter() time.Duration { return retryInterval }

// Run asks the servers again and again, until ctx ends.
func (c *Clock) Run(ctx context.Context) error {
	if len(c.cfg.Servers) == 0 {
		return nil
	}
	for {
		wait := c.cfg.Interval
		if c.Measure(ctx) != nil {
			wait = min(wait, retryInterval)
		}
		if !c.rest(ctx, wait) {
			return nil
		}
	}
}

// rest waits for the next round, the first part of it in any case; false is the end.
func (c *Clock) rest(ctx context.Context, wait time.Duration) bool {
	select {
	case <-c.kick: // what was wrong before this round
	default:
	}
	if c.cfg.Sleep(ctx, min(wait, retryInterval)) != nil {
		return false
	}
	if wait -= retryInterval; wait <= 0 {
		return ctx.Err() == nil
	}
	timer, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.cfg.Sleep(timer, wait) // its end is all that is wanted
	}()
	select {
	case <-c.kick:
	case <-done:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// Measure asks all servers, and notes what they agree on. The error says that they do
// not, or why the clock is not to be trusted.
func (c *Clock) Measure(ctx context.Context) error { return c.measure(ctx, c.cfg.Samples) }

// First is a Measure with one question to each server, for a start that should not take
// long.
func (c *Clock) First(ctx context.Context) error { return c.measure(ctx, 1) }

func (c *Clock) measure(ctx context.Context, samples int) error {
	if len(c.cfg.Servers) == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var wait sync.WaitGroup
	for i := range c.servers {
		wait.Go(func() { c.ask(ctx, &c.servers[i], samples) })
	}
	wait.Wait()
	c.noteAsked()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	at := c.read()
	m, err := c.agreement(at)
	if err == nil {
		c.noteMeasured(m)
		err = c.Err()
	}
	c.tell(err)
	return err
}

// noteAsked keeps how the servers are for those who ask meanwhile.
func (c *Clock) noteAsked() {
	asked := slices.Clone(c.servers)
	c.asked.Store(&asked)
}

// ask asks one server as often as is wanted, and keeps the answer that can be off least.
func (c *Clock) ask(ctx context.Context, s *server, samples int) {
	if now := c.read().mono; now < s.quiet { // as it asked for
		s.err = cmp.Or(s.err, errQuiet) // what it said before that is of another round
		return
	}
	best, got := Answer{}, false
	for i := range samples {
		if i > 0 && c.cfg.Sleep(ctx, pause) != nil {
			break
		}
		a, err := c.cfg.Query(ctx, s.name)
		a.at = c.read()
		if err != nil {
			s.err = err
			c.quieten(s, err)
			break
		}
		if !got || a.Uncertainty < best.Uncertainty {
			best, got = a, true
		}
	}
	if got {
		s.last, s.err, s.patience = best, nil, 0
	}
}

// quieten leaves a server alone that wants to be (RFC 5905, section 7.4).
func (c *Clock) quieten(s *server, err error) {
	if kiss, ok := errors.AsType[kissError](err); ok {
		s.patience = min(max(2*s.patience, 2*c.cfg.Interval), 24*time.Hour)
		if kiss.denied() {
			s.patience = 24 * time.Hour
		}
		s.quiet = c.read().mono + s.patience
	}
}

// noteMeasured takes a round in which the servers agreed.
func (c *Clock) noteMeasured(m *Measurement) {
	if before := c.known.Load(); before != nil {
		if by := m.at.stepped(before.at); by.Abs() > c.cfg.Accuracy {
			c.step.Store(&Step{At: m.At, By: by})
			c.cfg.Logger.Warn("the system's clock was set, or the machine slept", "step", by.String())
		}
	}
	c.known.Store(m)
}

// tell logs what has changed.
func (c *Clock) tell(err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	switch {
	case said != "" && c.said == "":
		c.cfg.Logger.Error("the clock is not known to be right", "err", err)
	case said == "" && c.said != "":
		c.cfg.Logger.Info("the clock is right again")
	}
	c.said = said
}

// agreement finds where the true time can lie: between the first and the last point that
// lies in the spans of more than half of all servers. When more than half are honest, the
// truth is one of those points; a liar can make the span wider, and not lead out of it.
func (c *Clock) agreement(at reading) (*Measurement, error) {
	var spans []span
	for _, s := range c.servers {
		if s.err == nil && s.last.Uncertainty <= c.cfg.Accuracy {
			m := Measurement{Offset: s.last.Offset, Uncertainty: s.last.Uncertainty, at: s.last.at}
			offset, unsure := m.now(at)
			spans = append(spans, span{offset - unsure, offset + unsure})
		}
	}
	common, agree := agreed(spans, len(c.servers)/2+1)
	if agree*2 <= len(c.servers) {
		return nil, sigbox.Errorf(sigbox.Unavailable, "%d of %d NTP servers agree on the time, more than half have to: %s", agree, len(c.servers), c.complaints())
	}
	return &Measurement{
		At: at.wall.UTC(), Offset: (common.low + common.high) / 2, Uncertainty: (common.high - common.low) / 2, Agree: agree, at: at,
	}, nil
}

// complaints says what is wrong with the servers.
func (c *Clock) complaints() string {
	var all []string
	for _, s := range c.servers {
		if text := c.complaint(s); text != "" {
			all = append(all, s.name+": "+text)
		}
	}
	if len(all) == 0 {
		return "each has another one"
	}
	return strings.Join(all, "; ")
}

func (c *Clock) complaint(s server) string {
	switch {
	case s.err != nil:
		return s.err.Error()
	case s.last.Uncertainty > c.cfg.Accuracy:
		return "too far away, its time may be off by " + round(s.last.Uncertainty).String()
	}
	return ""
}

// span is where the true offset lies.
type span struct{ low, high time.Duration }

// agreed gives the smallest span that has all points that are in at least so many of the
// given ones, and in how many the most are.
func agreed(spans []span, least int) (common span, most int) {
	type edge struct {
		at    time.Duration
		opens bool
	}
	var edges []edge
	for _, s := range spans {
		edges = append(edges, edge{s.low, true}, edge{s.high, false})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if n := cmp.Compare(a.at, b.at); n != 0 || a.opens == b.opens {
			return n
		}
		if a.opens { // spans that touch have a point in common
			return -1
		}
		return 1
	})
	open := 0
	for _, e := range edges {
		if e.opens {
			if open++; open == least && most < least {
				common.low = e.at
			}
			most = max(most, open)
			continue
		}
		if open == least {
			common.high = e.at
		}
		open--
	}
	return common, most
}

// State is how the clock is.
type State struct {
	// Err is why no time is given; nil if it is.
	Err error
	// Measured is the last round in which the servers agreed, its offset brought to now;
	// nil if there was none.
	Measured *Measurement
	// Step is the last step of the system's clock; nil if there was none.
	Step *Step
	// Servers are those that are asked.
	Servers []ServerState
}

// ServerState is how one server was when it was last asked.
type ServerState struct {
	Name                string
	Offset, Uncertainty time.Duration
	// Err is why its answer does not count.
	Err error
}

// State says how the clock is.
func (c *Clock) State() State {
	r := c.read()
	s := State{Err: c.check(r), Step: c.step.Load()}
	if m := c.known.Load(); m != nil {
		brought := *m
		brought.Offset, brought.Uncertainty = m.now(r)
		s.Measured = &brought
	}
	for _, one := range *c.asked.Load() {
		state := ServerState{Name: one.name, Offset: one.last.Offset, Uncertainty: one.last.Uncertainty, Err: one.err}
		if text := c.complaint(one); text != "" && one.err == nil {
			state.Err = errors.New(text)
		}
		s.Servers = append(s.Servers, state)
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// round shortens a span for people.
func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
