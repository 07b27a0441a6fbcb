package tuf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/tufroot"
)

// publication is one step from what is published to what should be: the new state,
// the files that clients shall see, and what is to be written, in order. Roles
// whose metadata changes get new values; the old ones stay as they are, so that a
// publication that fails leaves no trace in memory.
type publication struct {
	repo   *Repository
	state  state
	now    time.Time
	files  map[string][]byte
	writes []file
	// online signs all but the root.
	online signer
	// accepted is a root that was signed elsewhere, nil for none.
	accepted *tufroot.Root
	// stuck is why a root that is due cannot be signed here, nil if it can.
	stuck error
	// refused is why a target is not approved of, nil if all are.
	refused error
}

type file struct {
	name string
	data []byte
}

// put plans a file. Every file is complete before one that refers to it: a crash
// between any two leaves a repository that is whole, old or new.
func (p *publication) put(name string, data []byte) {
	p.writes = append(p.writes, file{name, data})
	p.files[name] = data
}

// prepare plans what is new or due: root, targets, snapshot, timestamp.
func (p *publication) prepare(targets map[string][]byte) error {
	rekeyed, err := p.prepareRoot()
	if err != nil {
		return err
	}
	changed, err := p.prepareTargets(targets, rekeyed)
	if err != nil {
		return err
	}
	if changed, err = p.prepareSnapshot(changed || rekeyed); err != nil {
		return err
	}
	return p.prepareTimestamp(changed || rekeyed)
}

// halfGone reports whether at least half of the period before expires has gone.
func (p *publication) halfGone(expires time.Time, period time.Duration) bool {
	return expires.Sub(p.now) <= period/2
}

// prepareRoot plans a root when there is none, when one was signed elsewhere, when half
// of its period has gone, or when the online key is another one; rekeyed says the
// latter. A root that is only due and cannot be signed keeps nothing else back.
func (p *publication) prepareRoot() (rekeyed bool, err error) {
	old := p.state.root
	if old == nil {
		return false, p.begin()
	}
	p.stuck = p.cannotSign(old)
	rekeyed = !names(old, p.online)
	switch {
	case p.accepted != nil:
		return rekeyed || !old.Targets.Equal(p.accepted.Targets), p.putRoot(p.accepted)
	case !rekeyed && !p.halfGone(old.Expires, rootPeriod):
		return false, nil
	}
	err = p.stuck
	if err == nil {
		err = p.renewRoot(old)
		if err != nil && sigbox.KindOf(err) == sigbox.Unavailable {
			p.stuck = err
		}
	}
	if p.stuck != nil && !rekeyed {
		err = nil // all else is signed without
	}
	return rekeyed, err
}

// names reports whether a root names s, and nothing else, for all but the root.
func names(root *tufroot.Root, s signer) bool {
	online, one := root.Online()
	return one && online.Equal(tufroot.Only(s.public))
}

// atHand are the keys here that root names for itself.
func (r *Repository) atHand(root *tufroot.Root) (list []signer) {
	for _, s := range r.roots {
		if root.Root.Has(s.public.ID) {
			list = append(list, s)
		}
	}
	return list
}

// cannotSign says why a root that follows old cannot be signed here, nil if it can.
func (p *publication) cannotSign(old *tufroot.Root) error {
	here := len(p.repo.atHand(old))
	if here >= old.Root.Threshold {
		return nil
	}
	return sigbox.Errorf(sigbox.Invalid, "the TUF root is signed by %d of its keys, and %d of them are here", old.Root.Threshold, here).
		WithHint("have it signed where its keys are: sigbox ceremony request --data DIR")
}

// begin plans the first root.
func (p *publication) begin() error {
	if len(p.repo.roots) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "the TUF repository needs a root key to begin with, or a root that was signed elsewhere").
			WithHint("put the key back, or accept the answer of the ceremony")
	}
	policy := tufroot.Policy{Threshold: max(1, p.repo.cfg.Threshold)}
	for _, s := range p.repo.roots {
		policy.Keys = append(policy.Keys, s.public)
	}
	root, err := tufroot.New(1, p.now.Add(rootPeriod), policy, tufroot.Only(p.online.public))
	if err != nil {
		return err
	}
	return p.signRoot(root, p.repo.roots)
}

// renewRoot plans the root that follows old, with the same root keys.
func (p *publication) renewRoot(old *tufroot.Root) error {
	root, err := tufroot.New(old.Version+1, p.now.Add(rootPeriod), old.Root, tufroot.Only(p.online.public))
	if err != nil {
		return err
	}
	return p.signRoot(root, p.repo.atHand(old))
}

// signRoot plans a root that is signed here. Of more keys than are needed some may be
// away.
func (p *publication) signRoot(root *tufroot.Root, signers []signer) error {
	var errs []error
	for _, s := range signers {
		if err := root.Sign(s.key); err != nil {
			errs = append(errs, err)
		}
	}
	if err := root.Check(root.Root); err != nil {
		if len(errs) > 0 {
			return sigbox.Errorf(sigbox.KindOf(errs[0]), "the TUF root cannot be signed: %w", errs[0])
		}
		return err
	}
	return p.putRoot(root)
}

// putRoot plans a root that is signed.
func (p *publication) putRoot(root *tufroot.Root) error {
	data, err := root.Bytes()
	if err != nil {
		return err
	}
	p.state.root, p.stuck = root, p.cannotSign(root)
	p.put(versioned(root.Version, metadata.ROOT), data)
	p.files["root.json"] = data
	return nil
}

// prepareTargets plans targets metadata when the targets are others than before,
// when it is due, or when force says so; the targets' own files come first.
func (p *publication) prepareTargets(targets map[string][]byte, force bool) (changed bool, err error) {
	old := p.state.targets
	if targets == nil && old == nil {
		return false, sigbox.Errorf(sigbox.Internal, "the TUF repository has no targets")
	}
	due := old == nil || force || p.halfGone(old.Signed.Expires, targetsPeriod)
	listed := map[string]*metadata.TargetFiles{}
	if targets == nil {
		listed = old.Signed.Targets
	}
	for name, data := range targets {
		if !validName(name) {
			return false, sigbox.Errorf(sigbox.Invalid, "%.60q cannot be a TUF target: expected letters, digits and . _ -", name)
		}
		sum := sha256.Sum256(data)
		listed[name] = &metadata.TargetFiles{Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}, Path: name}
		path := targetPath(name, listed[name])
		if err := p.approve(name, data); err != nil {
			return false, err
		}
		if _, ok := p.files[path]; !ok {
			p.put(path, data)
		}
	}
	if !due && sameTargets(old.Signed.Targets, listed) {
		return false, nil
	}
	m := metadata.Targets(p.now.Add(targetsPeriod))
	m.Signed.Version, m.Signed.Targets = p.state.next.targets, listed
	data, err := seal(m, p.online)
	if err != nil {
		return false, err
	}
	p.state.targets = m
	p.state.next.targets++
	p.put(versioned(m.Signed.Version, metadata.TARGETS), data)
	return true, nil
}

// approve asks whether a target may take the place of the one that is published, if
// there is one that is another.
func (p *publication) approve(name string, data []byte) error {
	if p.repo.cfg.Approve == nil || p.state.targets == nil || p.state.targets.Signed.Targets[name] == nil {
		return nil
	}
	published := p.files[targetPath(name, p.state.targets.Signed.Targets[name])]
	if bytes.Equal(published, data) {
		return nil
	}
	p.refused = p.repo.cfg.Approve(name, published, data)
	return p.refused
}

// prepareSnapshot plans a snapshot when there are new targets or it is due.
func (p *publication) prepareSnapshot(force bool) (changed bool, err error) {
	old := p.state.snapshot
	if old != nil && !force && !p.halfGone(old.Signed.Expires, targetsPeriod) {
		return false, nil
	}
	m := metadata.Snapshot(p.now.Add(targetsPeriod))
	m.Signed.Version = p.state.next.snapshot
	version := p.state.targets.Signed.Version
	m.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": metaOf(version, p.files[versioned(version, metadata.TARGETS)])}
	data, err := seal(m, p.online)
	if err != nil {
		return false, err
	}
	p.state.snapshot = m
	p.state.next.snapshot++
	p.put(versioned(m.Signed.Version, metadata.SNAPSHOT), data)
	return true, nil
}

// prepareTimestamp plans a timestamp when there is a new snapshot or it is due. It
// is the last file, and what makes the others count.
func (p *publication) prepareTimestamp(force bool) error {
	old := p.state.timestamp
	if old != nil && !force && old.Signed.Expires.Sub(p.now) > timestampPeriod-timestampAge {
		return nil
	}
	m := metadata.Timestamp(p.now.Add(timestampPeriod))
	if old != nil {
		m.Signed.Version = old.Signed.Version + 1
	}
	version := p.state.snapshot.Signed.Version
	m.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": metaOf(version, p.files[versioned(version, metadata.SNAPSHOT)])}
	data, err := seal(m, p.online)
	if err != nil {
		return err
	}
	p.state.timestamp = m
	p.put(timestampFile, data)
	return nil
}

const timestampFile = "timestamp.json"

// metaOf describes a metadata file with length and hash, so that clients know how
// much to read.
func metaOf(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// targetPath is where a target lies: with its hash in front of its name.
func targetPath(name string, t *metadata.TargetFiles) string {
	return "targets/" + hex.EncodeToString(t.Hashes["sha256"]) + "." + name
}

func sameTargets(a, b map[string]*metadata.TargetFiles) bool {
	if len(a) != len(b) {
		return false
	}
	for name, t := range a {
		if o, ok := b[name]; !ok || targetPath(name, t) != targetPath(name, o) {
			return false
		}
	}
	return true
}

// validName keeps names within one directory and free of what URLs escape.
func validName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 128 && name[0] != '.' && strings.Trim(name, allowed) == ""
}
