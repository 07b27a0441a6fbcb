// Package rotation plans how a role of an instance, such as its certificate
// authority, goes from one key to the next without that a client notices.
//
//	gens, err := rotation.Begin(gens, rules, now)    // its key exists
//	for steps := rotation.Plan(gens, rules, now); len(steps) > 0 && !steps[0].At.After(now); … {
//		…                                        // do steps[0]
//		gens = rotation.Done(gens, steps[0], rules, now)
//	}
//
// Each key of a role is a generation, and each goes the same way:
//
//	made       its key exists, and nobody knows it
//	published  clients are told to trust it, and nothing is signed with it
//	signing    it is the one that signs
//	ending     its successor signs; what it has signed last is still being used
//	retired    its private key is given up; what it has signed verifies for ever
//
// One that is taken back before it has signed anything is abandoned instead.
//
// Everything here is a function of what was recorded and of the time: what an
// operator is shown beforehand is what is done.
package rotation

import (
	"cmp"
	"slices"
	"time"

	"github.com/sigbox/sigbox"
)

// Rules say how long the phases of a role's keys are.
type Rules struct {
	// Overlap is how long a key is published before it signs, unless a rotation says
	// otherwise: until every client has seen it.
	Overlap time.Duration
	// Tail is how long after its last signature a key's validity ends: as long as what it
	// signs is shown to verifiers for the first time, with a margin for clocks.
	Tail time.Duration
}

// Generation is a key of a role with what was done with it, and when. Times are
// whole UTC seconds, zero for what was not done yet.
type Generation struct {
	// Number counts a role's keys from 1. It is never given twice.
	Number int `json:"number"`
	// Overlap is how long this key is published before it signs.
	Overlap Span `json:"overlap,omitzero"`
	// Made is when the key was made, Offered since when somebody may have been told of it,
	// Published since when clients are told to trust it, Signing since when it signs.
	// Between Offered and Published lies what is not known to be done.
	Made      time.Time `json:"made,omitzero"`
	Offered   time.Time `json:"offered,omitzero"`
	Published time.Time `json:"published,omitzero"`
	Signing   time.Time `json:"signing,omitzero"`
	// Compromised is since when others may have had the key; zero for never.
	Compromised time.Time `json:"compromised,omitzero"`
	// Ends is the last second of its validity: verifiers accept what was signed until
	// then. It is set when another key signs, and for one that is abandoned when that
	// was.
	Ends time.Time `json:"ends,omitzero"`
	// Retired is when the private key was given up.
	Retired time.Time `json:"retired,omitzero"`
	// Root is the generation of the root that certifies this key, for roles that have
	// one; the first one's if 0.
	Root int `json:"root,omitzero"`
}

// Span is a time.Duration that is written as text, such as 24h0m0s.
type Span time.Duration

// MarshalText gives the text.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// UnmarshalText reads it.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "expected a time span like 24h, found %.40q", text)
	}
	*s = Span(d)
	return nil
}

// Phase is how far a generation has come.
type Phase string

// The phases, in their order; Abandoned follows the first two instead of the others.
const (
	Made      Phase = "made"
	Published Phase = "published"
	Signing   Phase = "signing"
	Ending    Phase = "ending"
	Retired   Phase = "retired"
	Abandoned Phase = "abandoned"
)

// Phase gives how far the generation has come.
func (g Generation) Phase() Phase {
	switch {
	case g.Signing.IsZero() && !g.Ends.IsZero():
		return Abandoned
	case !g.Retired.IsZero():
		return Retired
	case !g.Ends.IsZero():
		return Ending
	case !g.Signing.IsZero():
		return Signing
	case !g.Published.IsZero():
		return Published
	}
	return Made
}

// Trusted reports whether clients are told of the generation: that they trust it for what
// it has signed, or will sign. One of which they may have been told stays, with its end.
func (g Generation) Trusted() bool {
	return g.Phase() != Abandoned || !g.Published.IsZero() || !g.Offered.IsZero()
}

// Held reports whether its private key is there to be used.
func (g Generation) Held() bool { return g.Retired.IsZero() }

// waits reports whether the generation is on its way to sign.
func (g Generation) waits() bool { return g.Signing.IsZero() && g.Ends.IsZero() }

// First gives the generations of a role that was never rotated.
func First(made time.Time) []Generation {
	at := second(made)
	return []Generation{{Number: 1, Made: at, Published: at, Signing: at}}
}

// Current gives the generation that signs. There is always one, as long as the list
// began with First.
func Current(gens []Generation) Generation {
	i := slices.IndexFunc(gens, func(g Generation) bool { return g.Phase() == Signing })
	return gens[i]
}

// Next gives the generation that is on its way to sign.
func Next(gens []Generation) (Generation, bool) {
	g := gens[len(gens)-1]
	return g, g.waits()
}

// NextNumber is the number of a generation that is made now.
func NextNumber(gens []Generation) int { return gens[len(gens)-1].Number + 1 }

// Action is what is done in a step.
type Action string

// The actions, in the order in which they are done at one time.
const (
	// Publish tells clients to trust a generation.
	Publish Action = "publish"
	// Switch has a generation sign, and sets the end of its predecessor's validity.
	Switch Action = "switch"
	// Retire gives up a generation's private key.
	Retire Action = "retire"
)

// Step is an action that remains to be done, and when it is due.
type Step struct {
	At         time.Time `json:"at"`
	Action     Action    `json:"action"`
	Generation int       `json:"generation"`
}

// Plan gives all steps that remain, in their order. The times are what they are if
// everything that is due is done now; the first step is due when its time has come.
func Plan(gens []Generation, rules Rules, now time.Time) (steps []Step) {
	now = second(now)
	for _, g := range gens {
		switch {
		case g.waits():
			published := g.Published
			if published.IsZero() {
				published = now
				steps = append(steps, Step{now, Publish, g.Number})
			}
			at := later(published.Add(time.Duration(g.Overlap)), now)
			before := Current(gens)
			steps = append(steps, Step{at, Switch, g.Number}, Step{later(ends(before, rules, at), at), Retire, before.Number})
		case !g.Ends.IsZero() && g.Held():
			steps = append(steps, Step{later(g.Ends, now), Retire, g.Number})
		}
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Or(a.At.Compare(b.At), order(a.Action)-order(b.Action)) })
	return steps
}

func order(a Action) int { return slices.Index([]Action{Publish, Switch, Retire}, a) }

// ends is when the validity of a generation ends whose successor signs from at on.
func ends(g Generation, rules Rules, at time.Time) time.Time {
	if !g.Compromised.IsZero() {
		return g.Compromised
	}
	return at.Add(rules.Tail)
}

// Offer records that clients may be told of the generation that is on its way to sign from
// now on. It is recorded before the first of them can be. The list that is given stays as
// it is; changed is false if that has it, or there is none.
func Offer(gens []Generation, now time.Time) (offered []Generation, changed bool) {
	last := len(gens) - 1
	if g := gens[last]; !g.waits() || !g.Offered.IsZero() || !g.Published.IsZero() {
		return gens, false
	}
	gens = slices.Clone(gens)
	gens[last].Offered = second(now)
	return gens, true
}

// Done records that a step was done at now. The list that is given stays as it is.
func Done(gens []Generation, s Step, rules Rules, now time.Time) []Generation {
	now = second(now)
	before := Current(gens).Number
	gens = slices.Clone(gens)
	for i := range gens {
		g := &gens[i]
		switch {
		case g.Number == s.Generation && s.Action == Publish:
			g.Published = now
		case g.Number == s.Generation && s.Action == Switch:
			g.Signing = now
		case g.Number == s.Generation && s.Action == Retire:
			g.Retired = now
		case g.Number == before && s.Action == Switch:
			g.Ends = ends(*g, rules, now)
		}
	}
	return gens
}

// Begin records a new generation g, of which Overlap and Root count, whose key was
// made now and which is to sign next. Errors: Conflict while another one is on its
// way, or the one before is still ending.
func Begin(gens []Generation, g Generation, rules Rules, now time.Time) ([]Generation, error) {
	if err := Ready(gens, rules, now); err != nil {
		return nil, err
	}
	return begin(gens, g, now), nil
}

func begin(gens []Generation, g Generation, now time.Time) []Generation {
	g = Generation{Number: NextNumber(gens), Overlap: max(0, g.Overlap), Made: second(now), Root: g.Root}
	return append(slices.Clone(gens), g)
}

// Ready says why a role cannot be rotated now: Conflict with the dates of the rotation
// that is under way.
func Ready(gens []Generation, rules Rules, now time.Time) error {
	next, waits := Next(gens)
	if !waits && !slices.ContainsFunc(gens, func(g Generation) bool { return g.Phase() == Ending }) {
		return nil
	}
	steps := Plan(gens, rules, now)
	last := steps[len(steps)-1].At.Format(time.RFC3339)
	if waits {
		at := steps[slices.IndexFunc(steps, func(s Step) bool { return s.Action == Switch })].At
		return sigbox.Errorf(sigbox.Conflict, "a rotation is under way: key %d signs from %s on, and it is over at %s", next.Number, at.Format(time.RFC3339), last).
			WithHint("wait until then, or take it back with --abandon; --compromised switches at once")
	}
	return sigbox.Errorf(sigbox.Conflict, "a rotation is under way: the key before the present one is still trusted, and given up at %s", last).
		WithHint("wait until then; --compromised does not")
}

// Compromised records that others may have had the current key since a time: its
// validity ends there, and its successor, which waits or else is begun with root, signs
// at once. Errors: Invalid for a time at which the key did not sign yet, or to come.
func Compromised(gens []Generation, since time.Time, root int, now time.Time) ([]Generation, error) {
	now, since = second(now), second(since)
	current := Current(gens)
	if since.After(now) || since.Before(current.Signing) {
		return nil, sigbox.Mismatch(sigbox.Invalid, "the key cannot have been stolen then",
			"a time from "+current.Signing.Format(time.RFC3339)+", when it began to sign, to now", since.Format(time.RFC3339))
	}
	if _, waits := Next(gens); waits {
		gens = slices.Clone(gens)
	} else {
		gens = begin(gens, Generation{Root: root}, now)
	}
	for i := range gens {
		switch {
		case gens[i].Number == current.Number:
			gens[i].Compromised = since
		case gens[i].waits():
			gens[i].Overlap = 0
		}
	}
	return gens, nil
}

// Abandon takes back the generation that is on its way to sign, and with it that others
// have the key that signs, of which clients were not told yet. Errors: NotFound if there
// is none.
func Abandon(gens []Generation, now time.Time) ([]Generation, error) {
	if _, waits := Next(gens); !waits {
		return nil, sigbox.Errorf(sigbox.NotFound, "there is nothing to take back: no key waits to sign").
			WithHint("a key that signs already is replaced by another rotation")
	}
	gens = slices.Clone(gens)
	gens[len(gens)-1].Ends = second(now)
	for i := range gens {
		if gens[i].Phase() == Signing { // or the next rotation would end its validity in the past
			gens[i].Compromised = time.Time{}
		}
	}
	return gens, nil
}

// Check says what is wrong with a list of generations that was read: it is not one that
// the functions of this package make.
func Check(gens []Generation) error {
	signing := 0
	for i, g := range gens {
		if g.Number < 1 || g.Overlap < 0 || i > 0 && g.Number <= gens[i-1].Number {
			return sigbox.Errorf(sigbox.Invalid, "generation %d is numbered %d", i+1, g.Number)
		}
		if g.waits() && i < len(gens)-1 {
			return sigbox.Errorf(sigbox.Invalid, "generation %d waits, and another follows it", g.Number)
		}
		if g.Phase() == Signing {
			signing++
		}
	}
	if signing != 1 {
		return sigbox.Errorf(sigbox.Invalid, "%d generations sign, expected one", signing)
	}
	return nil
}

// second cuts a time to what trust roots hold.
func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
