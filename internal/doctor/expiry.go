package doctor

import (
	"fmt"
	"time"
)

const day = 24 * time.Hour

// ladder says how early an end is worth a word.
type ladder struct {
	warn, alarm time.Duration
}

// What people have to renew is told months ahead, and what renews itself as soon as it
// should have been.
func byHand() ladder { return ladder{warn: 90 * day, alarm: 7 * day} }
func byTLS() ladder  { return ladder{warn: 21 * day, alarm: 7 * day} } // usual are renewals 30 days before the end
func bySelf() ladder { return ladder{warn: 2 * day} }

// ends judges the end of something. What is its name, as in "the CA's root".
func (l ladder) ends(what string, at, now time.Time, means, do string) Finding {
	left := at.Sub(now)
	date := at.UTC().Format(time.RFC3339)
	switch {
	case left <= 0:
		return Finding{Level: Problem, Found: fmt.Sprintf("%s: expired at %s", what, date), Means: means, Do: do}
	case left <= l.alarm:
		return Finding{Level: Problem, Found: fmt.Sprintf("%s: expires in %s, at %s", what, span(left), date), Means: means, Do: do}
	case left <= l.warn:
		return Finding{Level: Warning, Found: fmt.Sprintf("%s: expires in %s, at %s", what, span(left), date), Means: means, Do: do}
	}
	return Finding{Level: OK, Found: fmt.Sprintf("%s: good for %s, until %s", what, span(left), date)}
}

// span writes how long something is, roughly.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d < time.Minute:
		return plural(int(d.Round(time.Second)/time.Second), "second")
	case d < 2*time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 2*day:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/day), "day")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
