package verify

import (
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// Verdict says that a bundle was verified, and what was found. Only this package
// makes one. The zero Verdict is of no bundle: it says that nothing was found.
type Verdict struct{ t *trial }

// found is the trial that v is of, an empty one for the zero Verdict.
func (v *Verdict) found() *trial {
	if v == nil || v.t == nil {
		return &trial{inquiry: &inquiry{content: &content{}}, signer: &signer{}}
	}
	return v.t
}

// Check is a step that went well.
type Check struct {
	Step Step
	// Found says what was found, in a sentence without a final stop.
	Found string
	// Evidence is what the step looked at, for whoever wants to follow it by hand.
	Evidence []Fact
}

// Fact is a piece of evidence. Digests, key IDs and serial numbers are in hex,
// times are RFC 3339.
type Fact struct{ Name, Value string }

// Logged is an entry that a transparency log vouches for.
type Logged struct {
	// Log is the log's base URL.
	Log string
	// Index is the entry's in the log as the log has signed it: in a promise of
	// Rekor v1 across all trees of the log, else in the tree of the proof.
	Index int64
	// Kind and version of the entry, as in "hashedrekord 0.0.1".
	Kind string
	// Time is when the log says that it took the entry; zero for a log that says
	// no time (Rekor v2).
	Time time.Time
}

// Identity is who signed, and false when a key did.
func (v *Verdict) Identity() (sigbox.Identity, bool) {
	leaf := v.found().signer.leaf
	if leaf == nil {
		return sigbox.Identity{}, false
	}
	return leaf.identity, true
}

// Algorithm is what the signature was made with.
func (v *Verdict) Algorithm() sigbox.KeyDetails { return v.found().algorithm }

// Times are those at which the signature existed, as vouched for by authorities
// and logs, earliest first. There are none when a key signed and nobody was
// asked.
func (v *Verdict) Times() []time.Time {
	times := slices.Clone(v.found().times)
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// Time is the earliest of Times, or zero.
func (v *Verdict) Time() time.Time {
	if times := v.Times(); len(times) > 0 {
		return times[0]
	}
	return time.Time{}
}

// LogEntries are the entries that logs of the trust root vouch for.
func (v *Verdict) LogEntries() []Logged {
	logged := v.found().logged
	out := make([]Logged, 0, len(logged))
	for _, e := range logged {
		out = append(out, Logged{e.log.BaseURL, e.index(), e.body.Kind + " " + e.body.Version, e.at})
	}
	return out
}

// Key is the public key that signed without a certificate, and false when the
// signature is by a certificate.
func (v *Verdict) Key() (sigbox.SubjectPublicKeyInfo, bool) {
	s := v.found().signer
	return slices.Clone(s.spki), s.leaf == nil && s.spki != nil
}

// Bundle is the one that was verified. It is not to be changed.
func (v *Verdict) Bundle() *sigbox.Bundle { return v.found().bundle }

// Digest is the artifact's, as it was given or in one of the algorithms that it was
// verified with.
func (v *Verdict) Digest() sigbox.NamedDigest { return v.found().content.any() }

// Statement is the signed in-toto statement, nil when the artifact itself was
// signed. It is not to be changed.
func (v *Verdict) Statement() *statement.Statement { return v.found().statement }

// Subject is the statement's subject that the artifact is, and false when the
// artifact itself was signed.
func (v *Verdict) Subject() (statement.Subject, bool) {
	t := v.found()
	if t.subject == nil {
		return statement.Subject{}, false
	}
	return *t.subject, true
}

// Steps says for each check what was found, in order.
func (v *Verdict) Steps() []Check { return v.found().explain() }

// view is a Verdict in JSON.
type view struct {
	Verified   bool                 `json:"verified"`
	Identity   *identityView        `json:"identity,omitempty"`
	Key        string               `json:"key,omitempty"`
	Algorithm  string               `json:"algorithm"`
	Digest     string               `json:"digest"`
	Times      []time.Time          `json:"times,omitempty"`
	LogEntries []loggedView         `json:"logEntries,omitempty"`
	Statement  *statement.Statement `json:"statement,omitempty"`
	Steps      []checkView          `json:"steps"`
}

type identityView struct {
	Subject    string            `json:"subject"`
	Kind       string            `json:"kind"`
	Issuer     string            `json:"issuer"`
	Extensions sigbox.Extensions `json:"extensions,omitzero"`
}

type loggedView struct {
	Log   string    `json:"log"`
	Index int64     `json:"index"`
	Kind  string    `json:"kind"`
	Time  time.Time `json:"time,omitzero"`
}

type checkView struct {
	Step     string     `json:"step"`
	Found    string     `json:"found"`
	Evidence []factView `json:"evidence,omitempty"`
}

type factView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// MarshalJSON gives what was found. Only the zero Verdict has "verified" false.
func (v *Verdict) MarshalJSON() ([]byte, error) {
	if v == nil || v.t == nil {
		return json.Marshal(view{})
	}
	out := view{Verified: true, Algorithm: v.Algorithm().String(), Digest: v.Digest().String(), Times: v.Times(), Statement: v.Statement()}
	if id, ok := v.Identity(); ok {
		out.Identity = &identityView{id.Subject, id.Kind.String(), id.Issuer, id.Extensions}
	}
	if key, ok := v.Key(); ok {
		out.Key = fingerprint(key)
	}
	for _, e := range v.LogEntries() {
		out.LogEntries = append(out.LogEntries, loggedView(e))
	}
	for _, c := range v.Steps() {
		one := checkView{Step: c.Step.String(), Found: c.Found}
		for _, f := range c.Evidence {
			one.Evidence = append(one.Evidence, factView(f))
		}
		out.Steps = append(out.Steps, one)
	}
	return json.Marshal(out)
}
