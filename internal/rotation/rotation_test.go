package rotation_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rotation"
)

const day = 24 * time.Hour

// begun is when the roles of these tests begin.
func begun() time.Time { return time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC) }

func rules() rotation.Rules { return rotation.Rules{Overlap: 8 * day, Tail: 15 * time.Minute} }

// catchUp does what is due.
func catchUp(t rapid.TB, gens []rotation.Generation, r rotation.Rules, now time.Time) []rotation.Generation {
	t.Helper()
	for range 100 {
		steps := rotation.Plan(gens, r, now)
		if len(steps) == 0 || steps[0].At.After(now) {
			return gens
		}
		gens = rotation.Done(gens, steps[0], r, now)
	}
	t.Fatal("it does not end")
	return nil
}

func phases(gens []rotation.Generation) string {
	var s []string
	for _, g := range gens {
		s = append(s, string(g.Phase()))
	}
	return strings.Join(s, " ")
}

// TestRotation follows one rotation from its beginning to its end.
func TestRotation(t *testing.T) {
	r, now := rules(), begun().Add(300*day)
	gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{Overlap: rotation.Span(r.Overlap)}, r, now)
	if err != nil {
		t.Fatal(err)
	}
	plan := rotation.Plan(gens, r, now)
	want := []rotation.Step{
		{At: now, Action: rotation.Publish, Generation: 2},
		{At: now.Add(8 * day), Action: rotation.Switch, Generation: 2},
		{At: now.Add(8*day + 15*time.Minute), Action: rotation.Retire, Generation: 1},
	}
	if !slices.Equal(plan, want) {
		t.Fatalf("found the plan %v", plan)
	}
	for _, at := range []struct {
		after time.Duration
		want  string
	}{
		{0, "signing published"}, {8*day - time.Second, "signing published"}, {8 * day, "ending signing"},
		{8*day + 15*time.Minute - time.Second, "ending signing"}, {8*day + 15*time.Minute, "retired signing"}, {999 * day, "retired signing"},
	} {
		gens = catchUp(t, gens, r, now.Add(at.after))
		if got := phases(gens); got != at.want {
			t.Errorf("after %v: expected %s, found %s", at.after, at.want, got)
		}
	}
	if len(rotation.Plan(gens, r, now.Add(999*day))) != 0 {
		t.Error("something is left to do")
	}
}

// TestUnderWay: a role that is being rotated is not rotated again.
func TestUnderWay(t *testing.T) {
	r, now := rules(), begun().Add(day)
	gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{Overlap: rotation.Span(r.Overlap)}, r, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		after time.Duration
		want  string
	}{{0, "2026-05-15T07:08:09Z"}, {8 * day, "2026-05-15T07:23:09Z"}} {
		gens = catchUp(t, gens, r, now.Add(at.after))
		_, err := rotation.Begin(gens, rotation.Generation{}, r, now.Add(at.after))
		if sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), at.want) {
			t.Errorf("after %v: found %v", at.after, err)
		}
	}
	gens = catchUp(t, gens, r, now.Add(9*day))
	if gens, err = rotation.Begin(gens, rotation.Generation{}, r, now.Add(9*day)); err != nil || gens[2].Number != 3 {
		t.Errorf("afterwards: found %v, %v", gens, err)
	}
}

func TestCompromised(t *testing.T) {
	r, now := rules(), begun().Add(day)
	stolen := now.Add(-time.Hour)
	gens, err := rotation.Compromised(rotation.First(begun()), stolen, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	gens = catchUp(t, gens, r, now)
	if got := phases(gens); got != "retired signing" || !gens[0].Ends.Equal(stolen) {
		t.Errorf("found %s, %v", got, gens[0].Ends)
	}
	for _, since := range []time.Time{begun().Add(-time.Second), now.Add(time.Second)} {
		if _, err := rotation.Compromised(rotation.First(begun()), since, 0, now); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("since %v: found %v", since, err)
		}
	}
}

// TestCompromisedUnderWay: a key that waits already is the successor.
func TestCompromisedUnderWay(t *testing.T) {
	r, now := rules(), begun().Add(day)
	gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{Overlap: rotation.Span(r.Overlap), Root: 2}, r, now)
	if err != nil {
		t.Fatal(err)
	}
	gens = catchUp(t, gens, r, now)
	if gens, err = rotation.Compromised(gens, now, 0, now); err != nil {
		t.Fatal(err)
	}
	if gens = catchUp(t, gens, r, now); phases(gens) != "retired signing" || gens[1].Root != 2 {
		t.Errorf("found %v", gens)
	}
}

func TestAbandon(t *testing.T) {
	r, now := rules(), begun().Add(day)
	gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{Overlap: rotation.Span(r.Overlap)}, r, now)
	if err != nil {
		t.Fatal(err)
	}
	if gens, err = rotation.Abandon(catchUp(t, gens, r, now), now.Add(day)); err != nil {
		t.Fatal(err)
	}
	if gens = catchUp(t, gens, r, now.Add(day)); phases(gens) != "signing abandoned" || gens[1].Held() || !gens[1].Trusted() {
		t.Errorf("found %v", gens)
	}
	unknown, err := rotation.Begin(gens, rotation.Generation{}, r, now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	if unknown, err = rotation.Abandon(unknown, now.Add(day)); err != nil || unknown[2].Trusted() {
		t.Errorf("never published: %v, %v", unknown, err)
	}
	if _, err := rotation.Abandon(gens, now); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("twice: found %v", err)
	}
	if gens, err = rotation.Begin(gens, rotation.Generation{}, r, now.Add(day)); err != nil || gens[2].Number != 3 {
		t.Errorf("a number was given twice: %v, %v", gens, err)
	}
}

// TestAbandonCompromised: with the key that was to follow at once, what was said of the
// present one is taken back: the next rotation ends its validity as any does.
func TestAbandonCompromised(t *testing.T) {
	r, now := rules(), begun().Add(day)
	gens, err := rotation.Compromised(rotation.First(begun()), now, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	if gens, err = rotation.Abandon(gens, now); err != nil || !rotation.Current(gens).Compromised.IsZero() {
		t.Fatalf("found %v, %v", gens, err)
	}
	now = now.Add(300 * day)
	if gens, err = rotation.Begin(gens, rotation.Generation{}, r, now); err != nil {
		t.Fatal(err)
	}
	if gens = catchUp(t, gens, r, now); gens[0].Ends.Before(now) {
		t.Errorf("what was signed until %v is accepted until %v", now, gens[0].Ends)
	}
}

func TestCheck(t *testing.T) {
	first := rotation.First(begun())[0]
	second := rotation.Generation{Number: 2, Made: begun()}
	third := rotation.Generation{Number: 3, Made: begun()}
	for name, gens := range map[string][]rotation.Generation{
		"none": {}, "nobody signs": {second}, "two sign": {first, {Number: 2, Signing: begun()}}, "out of order": {first, second, second},
		"two wait": {first, second, third}, "number 0": {{Signing: begun()}}, "negative": {first, {Number: 2, Overlap: -1}},
	} {
		if rotation.Check(gens) == nil {
			t.Errorf("%s: nothing was found", name)
		}
	}
	if err := rotation.Check([]rotation.Generation{first, second}); err != nil {
		t.Error(err)
	}
}

// TestHistories makes histories of rotations, as operators and time may bring them
// about, and holds what clients rely on: what was signed at any time, by the key that
// signed then, stays within that key's validity, and clients had been told of the key.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rotation.Rules{
			Overlap: time.Duration(rapid.IntRange(0, 20).Draw(t, "overlap")) * day,
			Tail:    time.Duration(rapid.IntRange(0, 60).Draw(t, "tail")) * time.Minute,
		}
		now := begun()
		gens := rotation.First(now)
		type signature struct {
			by int
			at time.Time
		}
		var signed []signature
		numbers := map[int]bool{1: true}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(10*day)).Draw(t, "pause")))
			before := slices.Clone(gens)
			switch rapid.SampledFrom([]string{"begin", "at once", "stolen", "abandon", "one step", "catch up", "sign"}).Draw(t, "event") {
			case "begin":
				if next, err := rotation.Begin(gens, rotation.Generation{Overlap: rotation.Span(r.Overlap)}, r, now); err == nil {
					gens = next
				}
			case "at once":
				if next, err := rotation.Begin(gens, rotation.Generation{}, r, now); err == nil {
					gens = next
				}
			case "stolen":
				if next, err := rotation.Compromised(gens, now, 0, now); err == nil {
					gens = next
				}
			case "abandon":
				if next, err := rotation.Abandon(gens, now); err == nil {
					gens = next
				}
			case "one step": // and then the process is killed
				if steps := rotation.Plan(gens, r, now); len(steps) > 0 && !steps[0].At.After(now) {
					gens = rotation.Done(gens, steps[0], r, now)
				}
			case "catch up":
				gens = catchUp(t, gens, r, now)
			case "sign":
				signed = append(signed, signature{rotation.Current(gens).Number, now.Truncate(time.Second)})
			}
			if err := rotation.Check(gens); err != nil {
				t.Fatal(err)
			}
			for i := range before { // nothing that was said is taken back
				if b, g := before[i], gens[i]; b.Number != g.Number || b.Made != g.Made ||
					!b.Signing.IsZero() && b.Signing != g.Signing || !b.Ends.IsZero() && b.Ends != g.Ends || !b.Retired.IsZero() && b.Retired != g.Retired {
					t.Fatalf("%+v became %+v", b, g)
				}
			}
			for _, g := range gens[len(before):] {
				if numbers[g.Number] {
					t.Fatalf("number %d was given twice", g.Number)
				}
				numbers[g.Number] = true
			}
		}
		gens = catchUp(t, gens, r, now)
		for _, g := range gens {
			if g.Phase() == rotation.Signing && !g.Held() {
				t.Fatalf("%+v signs without a key", g)
			}
			if !g.Signing.IsZero() && (g.Published.IsZero() || g.Signing.Before(g.Published.Add(time.Duration(g.Overlap)))) {
				t.Fatalf("%+v signed before clients could know it", g)
			}
			if !g.Retired.IsZero() && g.Retired.Before(g.Ends) {
				t.Fatalf("%+v was given up before its end", g)
			}
		}
		for _, s := range signed {
			g := gens[slices.IndexFunc(gens, func(g rotation.Generation) bool { return g.Number == s.by })]
			if !g.Trusted() || s.at.Before(g.Published) || g.Compromised.IsZero() && !g.Ends.IsZero() && s.at.Add(r.Tail).After(g.Ends) {
				t.Fatalf("signed at %v by %+v", s.at, g)
			}
		}
		for _, step := range rotation.Plan(gens, r, now) {
			if step.At.Before(now.Truncate(time.Second)) {
				t.Fatalf("%+v is in the past at %v", step, now)
			}
		}
	})
}

// TestPlanIsWhatHappens: the steps of a plan come at their times.
func TestPlanIsWhatHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, now := rules(), begun().Add(day)
		overlap := time.Duration(rapid.Int64Range(0, 20*int64(day)).Draw(t, "overlap"))
		gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{Overlap: rotation.Span(overlap.Truncate(time.Second))}, r, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range rotation.Plan(gens, r, now) {
			got := rotation.Plan(gens, r, want.At)
			if len(got) == 0 || got[0] != want {
				t.Fatalf("expected %v, found %v", want, got)
			}
			gens = rotation.Done(gens, got[0], r, want.At)
		}
		if phases(gens) != "retired signing" {
			t.Fatalf("found %s", phases(gens))
		}
	})
}

// TestOffer: what is on its way is offered once, and stays trusted from then on, whether it
// is published or taken back.
func TestOffer(t *testing.T) {
	now := begun().Add(day)
	if _, changed := rotation.Offer(rotation.First(begun()), now); changed {
		t.Error("a key that signs is offered")
	}
	gens, err := rotation.Begin(rotation.First(begun()), rotation.Generation{}, rotation.Rules{}, now)
	if err != nil {
		t.Fatal(err)
	}
	offered, changed := rotation.Offer(gens, now)
	if !changed || !gens[1].Offered.IsZero() || offered[1].Offered.IsZero() || offered[1].Phase() != rotation.Made {
		t.Errorf("found %+v", offered)
	}
	if _, changed := rotation.Offer(offered, now); changed {
		t.Error("it is offered twice")
	}
	for trusted, gens := range map[bool][]rotation.Generation{true: offered, false: gens} {
		taken, err := rotation.Abandon(gens, now)
		if err != nil || taken[1].Trusted() != trusted {
			t.Errorf("offered %v: found %+v, %v", trusted, taken, err)
		}
	}
}

// TestSpan: a span is written as text, and read again.
func TestSpan(t *testing.T) {
	text, err := rotation.Span(36 * time.Hour).MarshalText()
	if err != nil || string(text) != "36h0m0s" {
		t.Fatalf("found %q, %v", text, err)
	}
	var s rotation.Span
	if err := s.UnmarshalText(text); err != nil || time.Duration(s) != 36*time.Hour {
		t.Errorf("found %v, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("tomorrow")); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v", err)
	}
}
