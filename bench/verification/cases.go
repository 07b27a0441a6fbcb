package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// subject is something to verify: one bundle, or many as one.
type subject struct {
	name   string
	root   []byte
	list   []signed
	primer signed // of the same authorities, with another certificate
}

// Who signed the conformance suite's bundles.
const (
	beacon        = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
	githubActions = "https://token.actions.githubusercontent.com"
)

// gather collects what there is to measure.
func gather(o options) ([]subject, error) {
	public, err := publicGood(o)
	if err != nil {
		return nil, err
	}
	var own []subject
	if o.material != "" {
		if own, err = ownInstance(o.material); err != nil {
			return nil, err
		}
	}
	var out []subject
	for _, s := range append(public, own...) {
		if o.profile != "" || strings.Contains(s.name, o.only) {
			out = append(out, s)
		}
	}
	return out, nil
}

// publicGood gives bundles of the public-good instance: the conformance suite's,
// else one of sigstore-go's examples.
func publicGood(o options) ([]subject, error) {
	if _, err := os.Stat(filepath.Join(o.conformance, "bundle-verify")); o.conformance == "" || err != nil {
		if o.sigstore == "" {
			return nil, nil
		}
		return examples(o.sigstore)
	}
	read := func(name string, folders [2]string, root string) (subject, error) {
		s := subject{name: name, list: make([]signed, 1)}
		var err error
		if s.root, err = os.ReadFile(filepath.Join(o.conformance, root)); err != nil {
			return s, err
		}
		for i, to := range []*signed{&s.list[0], &s.primer} {
			to.identity, to.issuer = beacon, githubActions
			if to.bundle, err = os.ReadFile(filepath.Join(o.conformance, "bundle-verify", folders[i], "bundle.sigstore.json")); err != nil {
				return s, err
			}
			if to.artifact, err = os.ReadFile(filepath.Join(o.conformance, "bundle-verify", "a.txt")); err != nil {
				return s, err
			}
		}
		return s, nil
	}
	v1, err := read("public good, v0.3", [2]string{"happy-path-v0.3", "happy-path-v0.2"}, "public-good.trusted_root.json")
	if err != nil {
		return nil, err
	}
	v2, err := read("Rekor v2 with timestamp", [2]string{"rekor2-happy-path", "rekor2-timestamp-without-embedded-cert"}, "bundle-verify/rekor2-happy-path/trusted_root.json")
	return []subject{v1, v2}, err
}

// examples gives the provenance of an npm package, from sigstore-go's source. It
// stands alone there, so there is no warm state.
func examples(dir string) ([]subject, error) {
	data := filepath.Join(dir, "pkg", "testing", "data")
	s := subject{name: "public good, v0.1", list: make([]signed, 1)}
	to := &s.list[0]
	var err error
	if s.root, err = os.ReadFile(filepath.Join(data, "trusted-roots", "public-good.json")); err != nil {
		return nil, err
	}
	if to.bundle, err = os.ReadFile(filepath.Join(data, "bundles", "sigstore.js@2.0.0-provenance.sigstore.json")); err != nil {
		return nil, err
	}
	to.identity, to.issuer = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main", githubActions
	to.digest, err = subjectOf(to.bundle)
	return []subject{s}, err
}

// ownInstance gives what the program bench had an instance of our own sign.
func ownInstance(dir string) ([]subject, error) {
	root, err := os.ReadFile(filepath.Join(dir, "trusted_root.json"))
	if err != nil {
		return nil, err
	}
	who, err := os.ReadFile(filepath.Join(dir, "identity")) // two lines
	if err != nil {
		return nil, err
	}
	identity, issuer, _ := strings.Cut(strings.TrimSpace(string(who)), "\n")
	read := func(folder string) ([]signed, error) {
		bundles, err := filepath.Glob(filepath.Join(dir, folder, "*.sigstore.json"))
		if err != nil || len(bundles) < 2 {
			return nil, fmt.Errorf("%s: %d bundles, at least 2 are needed: %w", folder, len(bundles), err)
		}
		list := make([]signed, len(bundles))
		for i, file := range bundles {
			list[i] = signed{identity: identity, issuer: issuer}
			if list[i].bundle, err = os.ReadFile(file); err != nil {
				return nil, err
			}
			if list[i].artifact, err = os.ReadFile(strings.TrimSuffix(file, ".sigstore.json")); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	one, err := read("one")
	if err != nil {
		return nil, err
	}
	many, err := read("many")
	if err != nil {
		return nil, err
	}
	statements, err := read("statement")
	if err != nil {
		return nil, err
	}
	return []subject{
		{"own instance", root, many[:1], many[1]},
		{"statement of 100 KB", root, statements[:1], statements[1]},
		{thousands(float64(len(one))) + " under one certificate, each", root, one, signed{}},
		{thousands(float64(len(many))) + " under a certificate each, each", root, many, signed{}},
	}, nil
}

// measure prints a row for each state.
func (s *subject) measure(w io.Writer, rounds int) error {
	ours, err := sigboxLibrary(s.root)
	if err != nil {
		return err
	}
	theirs, err := sigstoreGo(s.root)
	if err != nil {
		return err
	}
	for name, c := range map[string]contender{"sigbox": ours, "sigstore-go": theirs} {
		if err := refuses(c, s.list[0]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	g, err := s.checks()
	if err != nil {
		return err
	}
	states, n := s.states(), 16
	if len(s.list) > 1 {
		// A directory: what is known of one artifact helps with the next.
		n, rounds = 1, max(1, rounds/5)
	}
	for _, st := range states {
		costs, err := compare(rounds, n, processor, s.prepare(ours, st), s.prepare(theirs, st), checking(g.needed(st)))
		if err != nil {
			return err
		}
		if err := s.row(w, st, len(g.needed(st)), costs); err != nil {
			return err
		}
	}
	return nil
}

// large is a statement whose reading is worth a line, in bytes.
const large = 16 << 10

// measureReading says, of bundles with large statements, how much of the time that
// goes beyond the checks is spent by anybody who reads them strictly.
func measureReading(w io.Writer, cases []subject, rounds int) error {
	for i := range cases {
		s := &cases[i]
		b, err := bundle.Parse(s.list[0].bundle)
		if err != nil {
			return err
		}
		if len(s.list) > 1 || b.Envelope == nil || len(b.Envelope.Payload) < large {
			continue
		}
		ours, err := sigboxLibrary(s.root)
		if err != nil {
			return err
		}
		g, err := s.checks()
		if err != nil {
			return err
		}
		for _, st := range s.states() {
			costs, err := compare(rounds, 16, processor, s.prepare(ours, st), checking(g.needed(st)), reading(s.list[0].bundle, b.Envelope.Payload))
			if err != nil {
				return err
			}
			all, bare, read := medians(costs[0]).micros, medians(costs[1]).micros, medians(costs[2]).micros
			if _, err := fmt.Fprintf(w, "\n%s, %s: checks %s, reading it strictly with libraries %s, sigbox %s: %.2f of both\n", s.name, st, micros(bare), micros(read), micros(all), all/(bare+read)); err != nil {
				return err
			}
		}
	}
	return nil
}

// reading does what it takes to read a bundle and the statement in it with the
// libraries that there are, jsontext and base64, and nothing with what was read.
func reading(file, payload []byte) preparer {
	text := base64.StdEncoding.AppendEncode(nil, payload)
	return func(n int) (batch, error) {
		return func() error {
			for range n {
				for _, doc := range [][]byte{file, payload} {
					if _, err := jsontext.NewDecoder(bytes.NewBuffer(doc)).ReadValue(); err != nil {
						return err
					}
				}
				if _, err := base64.StdEncoding.Decode(make([]byte, len(text)), text); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

// states gives those that can be had.
func (s *subject) states() []state {
	switch {
	case len(s.list) > 1:
		return []state{cold}
	case s.primer.bundle == nil:
		return []state{cold, seen}
	}
	return []state{cold, warm, seen}
}

// checks gathers those of all bundles, and makes sure that the primer helps with
// nothing but the authorities' certificates.
func (s *subject) checks() (*gatherer, error) {
	r, err := trust.ParseRoot(s.root)
	if err != nil {
		return nil, err
	}
	g := newGatherer(r)
	for i := range s.list {
		b, err := bundle.Parse(s.list[i].bundle)
		if err != nil {
			return nil, err
		}
		if err := g.bundle(b, s.list[i].artifact); err != nil {
			return nil, err
		}
	}
	if s.primer.bundle == nil {
		return g, nil
	}
	p, err := bundle.Parse(s.primer.bundle)
	if err != nil {
		return nil, err
	}
	primer := newGatherer(r)
	if err := primer.bundle(p, s.primer.artifact); err != nil {
		return nil, err
	}
	for _, c := range g.list {
		if primer.have[c.name()] != (c.until == cold) {
			return nil, errors.New("the primer is not of the same authorities, or not another bundle")
		}
	}
	return g, nil
}

// prepare makes n verifiers, in the state, and then has each verify all bundles.
func (s *subject) prepare(c contender, st state) preparer {
	return func(n int) (batch, error) {
		if st == cold {
			return func() error {
				for range n {
					j, err := c()
					if err != nil {
						return err
					}
					if err := s.all(j); err != nil {
						return err
					}
				}
				return nil
			}, nil
		}
		judges := make([]judge, n)
		for i := range judges {
			var err error
			if judges[i], err = c(); err != nil {
				return nil, err
			}
			primer := &s.primer
			if st == seen {
				primer = &s.list[0]
			}
			if err := judges[i](primer); err != nil {
				return nil, err
			}
		}
		return func() error {
			for _, j := range judges {
				if err := s.all(j); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
}

func (s *subject) all(j judge) error {
	for i := range s.list {
		if err := j(&s.list[i]); err != nil {
			return err
		}
	}
	return nil
}

// checking does nothing but the checks.
func checking(checks []check) preparer {
	return func(n int) (batch, error) {
		return func() error {
			for range n {
				for i := range checks {
					if !checks[i].good() {
						return fmt.Errorf("check %d: the signature does not verify", i)
					}
				}
			}
			return nil
		}, nil
	}
}

// row prints what was found.
func (s *subject) row(w io.Writer, st state, checks int, costs [][]cost) error {
	per := float64(len(s.list))
	ours, theirs, bare := medians(costs[0]).over(per), medians(costs[1]).over(per), medians(costs[2]).over(per)
	goal := goalWarm
	if st == cold && per == 1 {
		goal = goalCold
	}
	_, err := fmt.Fprintf(w, "| %s | %s | %s in %s | %s | %s | %s | %s | %s |\n", s.name, s.state(st), count(float64(checks)/per), micros(bare.micros),
		ours, held(ratio(costs[0], costs[2]), goalChecks, false), theirs, held(ratio(costs[0], costs[1]), goal, false), held(ours.bytes/theirs.bytes, goalBytes, false))
	return err
}

// count writes a number with a decimal if it has one.
func count(f float64) string {
	if f == math.Trunc(f) {
		return thousands(f)
	}
	return fmt.Sprintf("%.1f", f)
}

func (s *subject) state(st state) string {
	if len(s.list) > 1 {
		return "new verifier"
	}
	return st.String()
}

// held says whether a goal is: a least, or a most.
func held(v, goal float64, least bool) string {
	if (v >= goal) == least || v == goal {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2f, missed", v)
}

func (c cost) over(n float64) cost { return cost{c.micros / n, c.allocations / n, c.bytes / n} }

// subjectOf gives the digest of a statement's first subject.
func subjectOf(text []byte) (sigbox.Digest, error) {
	b, err := bundle.Parse(text)
	if err != nil {
		return sigbox.Digest{}, err
	}
	if b.Envelope == nil {
		return sigbox.Digest{}, errors.New("no statement")
	}
	var s struct {
		Subject []struct{ Digest map[string]string }
	}
	if err := json.Unmarshal(b.Envelope.Payload, &s); err != nil {
		return sigbox.Digest{}, err
	}
	for name, value := range s.Subject[0].Digest {
		return sigbox.ParseDigest(name + ":" + value)
	}
	return sigbox.Digest{}, errors.New("a subject without a digest")
}
