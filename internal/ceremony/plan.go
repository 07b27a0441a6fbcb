package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/ceremony"
	"github.com/sigbox/sigbox/wire/tufroot"
)

const (
	// ahead is by how much the clock of an instance may be ahead of the desk's.
	ahead = 10 * time.Minute
	// oldest is how old a request may be.
	oldest = 90 * day
)

// Plan is what a desk would sign, of a request or of an answer that others have begun.
type Plan struct {
	// Lines say all of it, for people.
	Lines []string
	// Nothing says that there is nothing for this desk to sign.
	Nothing bool

	desk     *Desk
	now      time.Time
	file     []byte
	answer   ceremony.Answer
	chains   []chainPlan
	root     *tufroot.Root // as it is before this desk signs; nil for none
	resumed  bool          // root was signed here before, for the same
	rootKeys []Key         // those that sign it
}

// Options say how a desk plans.
type Options struct {
	// Period is how long a TUF root is good that is begun here, DefaultPeriod if 0.
	Period time.Duration
	// Again begins a TUF root of a version of which this desk has signed another before.
	Again bool
}

// Plan reads a request or an answer and says what there is to sign. Nothing is signed.
// Errors: Invalid and NotVerified for what no honest instance asks, Conflict for what
// contradicts what was signed before.
func (d *Desk) Plan(file []byte, now time.Time, o Options) (*Plan, error) {
	p := &Plan{desk: d, now: now.UTC().Truncate(time.Second), file: file}
	if o.Period == 0 {
		o.Period = DefaultPeriod
	}
	if o.Period < day || o.Period > MaxPeriod {
		return nil, sigbox.Errorf(sigbox.Invalid, "a TUF root is good for 1 to %d days", MaxPeriod/day)
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	p.head()
	if err := p.planChains(); err != nil {
		return nil, err
	}
	if err := p.planRoot(o); err != nil {
		return nil, err
	}
	p.Nothing = len(p.chains) == 0 && len(p.rootKeys) == 0 && !p.resumed
	return p, nil
}

// read takes the file as what it is.
func (p *Plan) read() error {
	if ceremony.IsAnswer(p.file) {
		a, err := ceremony.ParseAnswer(p.file)
		if err != nil {
			return err
		}
		p.answer = *a
	} else {
		r, err := ceremony.ParseRequest(p.file)
		if err != nil {
			return err
		}
		p.answer = ceremony.Answer{Request: *r}
	}
	made := p.answer.Request.Made
	if made.After(p.now.Add(ahead)) {
		return sigbox.Errorf(sigbox.Invalid, "the request was made at %s, and here it is %s", made.Format(time.RFC3339), p.now.Format(time.RFC3339)).
			WithHint("set this machine's clock, which stands in what it signs; if it is right, the instance's is wrong")
	}
	if p.now.Sub(made) > oldest {
		return sigbox.Errorf(sigbox.Invalid, "the request was made at %s, more than %d days ago", made.Format(time.RFC3339), oldest/day).
			WithHint("have a new one made; if it is new, this machine's clock is wrong")
	}
	return nil
}

func (p *Plan) say(format string, args ...any) {
	p.Lines = append(p.Lines, fmt.Sprintf(format, args...))
}

// head says what it is about.
func (p *Plan) head() {
	r := &p.answer.Request
	sum := sha256.Sum256(p.file)
	p.say("instance       %s", r.Instance)
	p.say("address        %s", r.URL)
	p.say("requested      %s", r.Made.Format(time.RFC3339))
	p.say("clock here     %s", p.now.Format(time.RFC3339))
	p.say("file           SHA256:%s", hex.EncodeToString(sum[:]))
}

// planRoot says what happens to the TUF root.
func (p *Plan) planRoot(o Options) error {
	asked := p.answer.Request.TUF
	if asked == nil {
		return nil
	}
	present, all, err := asked.Present()
	if err != nil {
		return err
	}
	if err := p.checkRecord(all, o.Again); err != nil {
		return err
	}
	next, _, err := p.answer.Next()
	if err != nil {
		return err
	}
	if next == nil && p.resumed {
		next = p.root
	}
	if next == nil {
		if next, err = p.beginRoot(present, o.Period); err != nil || next == nil {
			return err
		}
	}
	if err := p.checkPeriod(next); err != nil {
		return err
	}
	p.root = next
	p.rootKeys, err = p.ours(next, present)
	if err != nil {
		return err
	}
	return p.sayRoot(next, present)
}

// checkPeriod refuses a root that others have begun with times that nobody means.
func (p *Plan) checkPeriod(root *tufroot.Root) error {
	if root.Expires.After(p.now.Add(MaxPeriod)) || !root.Expires.After(p.now) {
		return sigbox.Errorf(sigbox.Invalid, "the TUF root ends at %s, and here it is %s: expected an end within %d days",
			root.Expires.Format(time.RFC3339), p.now.Format(time.RFC3339), MaxPeriod/day).
			WithHint("compare this machine's clock with that of the one that began the root")
	}
	return nil
}

// beginRoot makes the root that follows present, nil if this desk begins none.
func (p *Plan) beginRoot(present *tufroot.Root, period time.Duration) (*tufroot.Root, error) {
	policy := p.desk.root
	if len(policy.Keys) == 0 {
		p.say("TUF root       not begun: this desk has no key of it")
		return nil, nil
	}
	version := int64(1)
	if present != nil {
		version = present.Version + 1
		if !slices.ContainsFunc(policy.Keys, func(k tufroot.Key) bool { return present.Root.Has(k.ID) }) {
			return nil, sigbox.Errorf(sigbox.NotVerified, "the instance's TUF root is signed by none of the keys that this desk knows").
				WithHint("is this the right instance? the keys that sign it are %s", strings.Join(ids(present.Root), ", "))
		}
	}
	pub, err := p.answer.Request.TUF.Public()
	if err != nil {
		return nil, err
	}
	online, err := tufroot.NewKey(pub)
	if err != nil {
		return nil, err
	}
	return tufroot.New(version, p.now.Add(period), policy, tufroot.Only(online))
}

func ids(p tufroot.Policy) (list []string) {
	for _, k := range p.Keys {
		list = append(list, k.ID[:16]+"…")
	}
	return list
}

// ours are the keys of this desk that the root calls for and that have not signed it.
func (p *Plan) ours(root, present *tufroot.Root) (keys []Key, err error) {
	policies := []tufroot.Policy{root.Root}
	if present != nil {
		policies = append(policies, present.Root)
	}
	signed := map[string]bool{}
	for _, policy := range policies {
		signers, err := root.Signers(policy)
		if err != nil {
			return nil, err
		}
		for _, k := range signers {
			signed[k.ID] = true
		}
	}
	for _, k := range p.desk.config.Keys {
		if !isTUFRoot(k.Name) {
			continue
		}
		id, err := tufID(k)
		if err != nil {
			return nil, err
		}
		called := slices.ContainsFunc(policies, func(policy tufroot.Policy) bool { return policy.Has(id) })
		if called && !signed[id] {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// tufID is what TUF calls a key.
func tufID(k Key) (string, error) {
	pub, err := sigbox.ParsePublicKey(k.Public)
	if err != nil {
		return "", err
	}
	key, err := tufroot.NewKey(pub)
	return key.ID, err
}

// sayRoot says all that the root says, and what it changes.
func (p *Plan) sayRoot(root, present *tufroot.Root) error {
	online, _ := root.Online()
	p.say("")
	p.say("TUF root       version %d, good until %s (%d days)", root.Version, root.Expires.Format(time.RFC3339), root.Expires.Sub(p.now)/day)
	p.say("  signed by    %d of %d keys:", root.Root.Threshold, len(root.Root.Keys))
	signers, err := root.Signers(root.Root)
	if err != nil {
		return err
	}
	for _, k := range root.Root.Keys {
		p.say("    TUF:%s%s", k.ID, p.about(k, signers, present))
	}
	if present != nil {
		if err := p.sayChange(root, present); err != nil {
			return err
		}
	}
	if len(p.desk.root.Keys) > 0 && !p.desk.root.Equal(root.Root) {
		p.say("    (not as this desk has it on record)")
	}
	for _, k := range online.Keys {
		note := ""
		if present != nil {
			if before, one := present.Online(); !one || !before.Equal(online) {
				note = "  (another one than before)"
			}
		}
		p.say("  online key   TUF:%s%s", k.ID, note)
	}
	return nil
}

// about says of a root key what people want to know.
func (p *Plan) about(k tufroot.Key, signers []tufroot.Key, present *tufroot.Root) string {
	var notes []string
	for _, own := range p.desk.config.Keys {
		if id, err := tufID(own); err == nil && id == k.ID {
			notes = append(notes, own.Name+" of this desk")
		}
	}
	if present != nil && !present.Root.Has(k.ID) {
		notes = append(notes, "new")
	}
	if slices.ContainsFunc(signers, func(s tufroot.Key) bool { return s.ID == k.ID }) {
		notes = append(notes, "has signed")
	}
	if len(notes) == 0 {
		return ""
	}
	return "  (" + strings.Join(notes, ", ") + ")"
}

// sayChange says what is no longer as in the present root, which also has to agree.
func (p *Plan) sayChange(root, present *tufroot.Root) error {
	for _, k := range present.Root.Keys {
		if !root.Root.Has(k.ID) {
			p.say("    TUF:%s  (signs no longer)", k.ID)
		}
	}
	if present.Root.Threshold != root.Root.Threshold {
		p.say("    %d of them signed before", present.Root.Threshold)
	}
	signers, err := root.Signers(present.Root)
	if err != nil {
		return err
	}
	p.say("  follows      version %d, good until %s; %d of %d of its keys have signed, %d have to",
		present.Version, present.Expires.Format(time.RFC3339), len(signers), len(present.Root.Keys), present.Root.Threshold)
	return nil
}

// recordDir is where the newest root is kept that was signed here for an instance.
func (d *Desk) recordDir(instance string) string { return filepath.Join(d.dir, "tuf", instance) }

// record gives the newest root that was signed here for an instance, nil for none.
func (d *Desk) record(instance string) (*tufroot.Root, error) {
	entries, err := os.ReadDir(d.recordDir(instance))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, diskError(err)
	}
	newest := int64(0)
	for _, e := range entries {
		var version int64
		if n, err := fmt.Sscanf(e.Name(), "%d.root.json", &version); n == 1 && err == nil && e.Name() == rootName(version) {
			newest = max(newest, version)
		}
	}
	return d.signed(instance, newest)
}

// checkRecord holds the roots of a request against what was signed here before: an
// instance that shows an older state, or another one, is not given a second root of a
// version that there is.
func (p *Plan) checkRecord(all []*tufroot.Root, again bool) error {
	known, err := p.desk.record(p.answer.Request.Instance)
	if err != nil {
		return err
	}
	if known == nil {
		if err := p.desk.checkOthers(p.answer.Request.Instance, all); err != nil {
			return err
		}
		if len(all) > 0 {
			p.say("")
			p.say("This desk has signed no TUF root of this instance before: compare the keys below with others' records.")
		}
		return nil
	}
	newest := int64(0)
	if len(all) > 0 {
		newest = all[len(all)-1].Version
	}
	p.resumed = known.Version == newest+1 && !again && p.resumes(known)
	switch {
	case p.resumed:
		p.root = known
		return nil
	case known.Version > newest+1, known.Version == newest+1 && !again && !p.continues(known):
		return sigbox.Errorf(sigbox.Conflict, "this desk has signed version %d of the instance's TUF root already, and the request is for version %d", known.Version, newest+1).
			WithHint("bring the answer of then to the instance, and have a new request made; only if it never got there, and is destroyed, sign again with --again")
	case known.Version == newest+1:
		return nil
	case all[0].Version == known.Version+1: // the request has the roots since
		return tufroot.Follows(known, all[0])
	}
	for _, root := range all {
		if root.Version == known.Version {
			return same(root, known)
		}
	}
	return sigbox.Errorf(sigbox.Conflict, "this desk has signed version %d of the instance's TUF root, and the request has versions %d to %d: what is between them is not known",
		known.Version, all[0].Version, newest).WithHint("let a desk sign that has signed since")
}

// checkOthers refuses roots that were signed here for another instance: under a name that
// nothing is known of, an instance could have a second root of a version.
func (d *Desk) checkOthers(instance string, all []*tufroot.Root) error {
	others, err := os.ReadDir(d.recordDir(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(err)
	}
	for _, other := range others {
		for _, root := range all {
			known, err := d.signed(other.Name(), root.Version)
			if err != nil {
				return err
			}
			if known != nil && same(root, known) == nil {
				return sigbox.Errorf(sigbox.Conflict, "version %d of the TUF root was signed here for %s, and the request is of %s", root.Version, other.Name(), instance).
					WithHint("an instance's name never changes: find out who asks before you sign anything")
			}
		}
	}
	return nil
}

// signed gives the root of a version that was signed here for an instance, nil for none.
func (d *Desk) signed(instance string, version int64) (*tufroot.Root, error) {
	b, err := readFile(filepath.Join(d.recordDir(instance), rootName(version)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return tufroot.Parse(b)
}

func rootName(version int64) string { return fmt.Sprintf("%d.root.json", version) }

// continues reports whether an answer has the very root that this desk knows.
func (p *Plan) continues(known *tufroot.Root) bool {
	next, _, err := p.answer.Next()
	return err == nil && next != nil && same(next, known) == nil
}

// resumes reports whether a root that was signed here is one for this very request, as
// this desk would begin it now: what came of it was lost, and may be had again.
func (p *Plan) resumes(known *tufroot.Root) bool {
	pub, err := p.answer.Request.TUF.Public()
	if err != nil || len(p.answer.Root) > 0 {
		return false
	}
	key, err := tufroot.NewKey(pub)
	online, one := known.Online()
	return err == nil && one && online.Equal(tufroot.Only(key)) && known.Root.Equal(p.desk.root) && known.Expires.After(p.now)
}

// same refuses a root of which this desk has signed another.
func same(root, known *tufroot.Root) error {
	a, err := root.Payload()
	if err != nil {
		return err
	}
	b, err := known.Payload()
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return sigbox.Errorf(sigbox.Conflict, "the instance has another version %d of its TUF root than this desk has signed", root.Version).
			WithHint("find out who has signed it before you sign anything")
	}
	return nil
}
