// Package doctor finds out what is wrong with an instance, or will be soon: from
// outside, as its clients see it, and in its data directory, whether a server runs on
// that or not.
//
//	report := doctor.Run(ctx, doctor.Config{URL: "https://sigstore.example.com", Root: root, Client: client})
//	for _, f := range report.Findings {
//		fmt.Println(f.Level, f.Check, f.Found, f.Do)
//	}
//
// Nothing is changed by it, but for the one entry and certificate of Config.Sign. Each
// check stands alone, all run at the same time, and none lasts longer than the whole
// may: what has to be broken for one to fail must not keep the others from telling.
package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/remote"
)

// Level is how bad a finding is.
type Level string

// The levels, by what an operator has to do.
const (
	OK      Level = "ok"      // nothing
	Warning Level = "warning" // something, in time
	Problem Level = "problem" // something, now: it does not work, or is in danger
	Unknown Level = "unknown" // to find out: it could not be checked
)

// rank orders levels, the worst last. What is not known may be the worst, but what is
// known to be broken is worth more.
func (l Level) rank() int { return slices.Index([]Level{OK, Warning, Unknown, Problem}, l) }

// Finding is what one check has found.
type Finding struct {
	Level Level `json:"level"`
	// Check names what was looked at.
	Check string `json:"check"`
	// Found says how it is.
	Found string `json:"found"`
	// Means says what follows from it; "" if it is well.
	Means string `json:"means,omitempty"`
	// Do is the next step; "" if there is none.
	Do string `json:"do,omitempty"`
}

// Report is all that was found.
type Report struct {
	// Instance is the URL, and Data the directory, that was examined; one may be "".
	Instance string    `json:"instance,omitempty"`
	Data     string    `json:"data,omitempty"`
	Findings []Finding `json:"findings"`
}

// Worst gives the highest level of the findings: Problem above Unknown, above Warning,
// above OK.
func (r Report) Worst() Level {
	worst := OK
	for _, f := range r.Findings {
		if f.Level.rank() > worst.rank() {
			worst = f.Level
		}
	}
	return worst
}

// Sorted gives findings with the worst last.
func Sorted(findings []Finding) []Finding {
	return slices.SortedStableFunc(slices.Values(findings), func(a, b Finding) int { return cmp.Compare(a.Level.rank(), b.Level.rank()) })
}

// Config says what to examine, and by what means. Client and either URL or Data are
// required.
type Config struct {
	// URL is where clients reach the instance, without a slash at its end; "" leaves out
	// all that is to be seen from outside.
	URL string
	// Mirror is the URL of its TUF repository, that of a sigbox instance if "".
	Mirror string
	// Root is the TUF root that is trusted; nil takes the server's, of which a finding
	// tells.
	Root []byte
	// Cache is a directory with what was fetched from the instance before, and Logs one
	// with the checkpoints of logs that were seen; "" is none. They are only read.
	Cache, Logs string
	// Data is the data directory, "" for none, and File its settings, "" for config.yaml
	// in it.
	Data, File string
	// Sign signs with the instance's services a digest of its own making, and verifies
	// that; nil leaves it out, for the reason that NoSign gives. ErrNoToken is its error
	// if there is no identity token to be had.
	Sign func(context.Context, *sigbox.TrustedRoot, *sigbox.SigningConfig) (*sigbox.Bundle, error)
	// NoSign says why Sign is nil; "" is that nobody wants it.
	NoSign string
	// Client sends requests. It should not repeat them.
	Client *remote.Client
	// Roots are the TLS authorities to trust; nil are the system's.
	Roots *x509.CertPool
	// Version is the program's, to be compared with the server's.
	Version string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Timeout bounds each of the three rounds of checks, 20 s if 0.
	Timeout time.Duration
}

// ErrNoToken says that nothing was signed, since nobody gives an identity token.
var ErrNoToken = errors.New("no identity token")

// defaultTimeout is of one round.
const defaultTimeout = 20 * time.Second

// Run examines an instance.
func Run(ctx context.Context, c Config) Report {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	e := &exam{Config: c, ground: app.Examine(app.Config{Data: c.Data, File: c.File, Now: c.Now})}
	e.settle()
	report := Report{Instance: e.URL, Data: c.Data, Findings: []Finding{}}
	if c.Data != "" {
		report.Data = e.ground.Data
	}
	for _, checks := range []func() []check{e.first, e.second, e.third} {
		report.Findings = append(report.Findings, e.round(ctx, checks())...)
	}
	return report
}

// exam is one examination. What a round learns is read by the next: whether there is a
// server, whom to trust and where the services are, how these do.
type exam struct {
	Config
	ground app.Ground

	mu      sync.Mutex // held while what follows is used: a check may outlast its round
	away    bool       // the server does not answer
	learned published
}

// published is what a TUF repository says; nil while it is not known.
type published struct {
	rootJSON, configJSON []byte
	root                 *sigbox.TrustedRoot
	config               *sigbox.SigningConfig
	// verified says that a client that trusts the root would believe it.
	verified bool
}

func (e *exam) learn(p published) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.learned.verified {
		e.learned = p
	}
}

func (e *exam) known() published {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.learned
}

// settle takes from the data directory what the caller has not said.
func (e *exam) settle() {
	if e.Data == "" {
		return
	}
	e.URL = cmp.Or(e.URL, e.ground.URL)
	if at := e.ground.Elsewhere; at != nil {
		e.Root, e.Mirror = at.Root, at.URL
		return
	}
	if e.Root == nil {
		e.Root, _ = os.ReadFile(e.ground.RootFile) // a finding tells if it is gone
	}
	if e.Mirror == "" && e.URL != "" {
		e.Mirror = e.URL + "/tuf"
	}
}

// check looks at one thing. Its name goes into the findings that have none.
type check struct {
	name string
	run  func(context.Context) []Finding
}

// first are the checks that need nothing of others.
func (e *exam) first() []check {
	var all []check
	if e.Data != "" {
		all = append(all, e.local()...)
	}
	if e.URL != "" {
		all = append(all, check{"server", e.server})
	}
	if strings.HasPrefix(e.URL, "https:") {
		all = append(all, check{"TLS", func(ctx context.Context) []Finding { return e.tls(ctx, e.URL) }})
	}
	return all
}

// round runs checks at the same time, and gives what they find in their order.
func (e *exam) round(ctx context.Context, checks []check) (all []Finding) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	found := make([][]Finding, len(checks))
	var wait sync.WaitGroup
	for i, c := range checks {
		wait.Go(func() { found[i] = e.one(ctx, c) })
	}
	wait.Wait()
	for _, f := range found {
		all = append(all, f...)
	}
	return all
}

// one runs a check for as long as ctx lasts. One that hangs, in a disk that does not
// answer above all, is left behind.
func (e *exam) one(ctx context.Context, c check) []Finding {
	done := make(chan []Finding, 1)
	go func() { done <- c.run(ctx) }()
	select {
	case found := <-done:
		return named(c.name, found)
	case <-ctx.Done():
	}
	select { // it may have come to its end with ctx
	case found := <-done:
		return named(c.name, found)
	case <-time.After(grace):
	}
	return []Finding{{Unknown, c.name, "no answer within " + e.Timeout.String(), "", "try again; give it longer by --timeout"}}
}

// grace is what a check may take to say that its time is over.
const grace = time.Second

func named(name string, found []Finding) []Finding {
	for i := range found {
		found[i].Check = cmp.Or(found[i].Check, name)
	}
	return found
}

// well is a finding that needs nobody.
func well(found string) []Finding { return []Finding{{Level: OK, Found: found}} }

// failed makes a finding of an error: its words, and its hint as what to do unless
// something better is known.
func failed(level Level, err error, means, do string) Finding {
	text, hint := split(err)
	return Finding{Level: level, Found: text, Means: means, Do: cmp.Or(do, hint, lookFurther)}
}

// lookFurther is what to do where an error does not say it.
const lookFurther = "see the server's log, and docs/operations.md, \"When something breaks\""

// astray is what to do where a service gives an answer that is not its own.
const astray = "see whether url: and listeners: in its settings, and what stands in front, lead there"

// hint is an error's next step, "" if it has none.
func hint(err error) string {
	_, hint := split(err)
	return hint
}

// split gives an error's text without its next step, and that.
func split(err error) (text, hint string) {
	text = err.Error()
	for e, ok := errors.AsType[*sigbox.Error](err); ok; e, ok = errors.AsType[*sigbox.Error](e.Err) {
		if said := " (" + e.Hint + ")"; e.Hint != "" && strings.Contains(text, said) {
			return strings.Replace(text, said, "", 1), e.Hint
		}
	}
	return text, ""
}
