package tuf

import (
	"crypto"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/tufroot"
)

// checkKeys takes the key that the root names of those that may sign online, and
// refuses root keys that are none of the repository's. One that has signed roots and
// does not any longer is of no use, and no mistake.
func (r *Repository) checkKeys() (err error) {
	if r.online, err = newSigner(r.cfg.OnlineKey); err != nil {
		return err
	}
	root := r.state.root
	if root == nil {
		return nil
	}
	for _, key := range r.cfg.Others {
		other, err := newSigner(key)
		if err != nil {
			return err
		}
		if !names(root, r.online) && names(root, other) {
			r.online = other
		}
	}
	for _, s := range r.roots {
		switch {
		case root.Root.Has(s.public.ID):
		case r.rootKeys[s.public.ID]:
			r.cfg.Logger.Warn("this key signs TUF roots no longer: it was replaced, and can be taken away", "key", s.public.ID)
		default:
			return sigbox.Errorf(sigbox.Invalid, "the TUF repository's root names another root key than the one given").WithHint("put the key back that made the repository")
		}
	}
	return nil
}

// Accept publishes a root that was signed elsewhere, and what follows from it. online is
// the key for all but the root if it is another one now, else nil. The root has to be the
// next version, signed by the thresholds of the one before and of its own, not expired,
// and to name the online key for all other roles. The one that is published already is
// accepted again. Errors: Conflict for another version, NotVerified for signatures,
// Invalid for what it says.
func (r *Repository) Accept(root []byte, online crypto.Signer) error {
	next, err := tufroot.Parse(root)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	signs := r.online
	if online != nil {
		if signs, err = newSigner(online); err != nil {
			return err
		}
	}
	if err := CheckRoot(next, signs.public.Public, r.cfg.Now()); err != nil {
		return err
	}
	if next.Version == r.state.root.Version {
		return r.acceptedBefore(next)
	}
	if err := tufroot.Follows(r.state.root, next); err != nil {
		return err
	}
	return r.publish(nil, signs, next)
}

// CheckRoot says whether a root can be published at now by an instance with that online
// key. Signatures are for [tufroot.Follows].
func CheckRoot(root *tufroot.Root, online crypto.PublicKey, now time.Time) error {
	key, err := tufroot.NewKey(online)
	if err != nil {
		return err
	}
	if policy, one := root.Online(); !one || !policy.Equal(tufroot.Only(key)) {
		return sigbox.Errorf(sigbox.Invalid, "the TUF root names another key for targets, snapshot and timestamp than this instance signs them with").
			WithHint("make a new request, and have that answered")
	}
	if !now.Before(root.Expires) {
		return sigbox.Errorf(sigbox.Invalid, "the TUF root ended at %s", root.Expires.Format(time.RFC3339)).WithHint("is the clock right, here and where it was signed?")
	}
	if root.Expires.After(now.Add(MaxRootPeriod)) {
		return sigbox.Errorf(sigbox.Invalid, "the TUF root ends at %s, more than %d days from now", root.Expires.Format(time.RFC3339), MaxRootPeriod/day).WithHint("is the clock right, here and where it was signed?")
	}
	return nil
}

// Names reports whether the root names a key, and no other, for all but itself.
func (r *Repository) Names(online crypto.PublicKey) bool {
	key, err := tufroot.NewKey(online)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return names(r.state.root, signer{public: key})
}

// acceptedBefore accepts the root that is published, and no other of its version.
func (r *Repository) acceptedBefore(root *tufroot.Root) error {
	ours, err := r.state.root.Payload()
	if err != nil {
		return err
	}
	theirs, err := root.Payload()
	if err != nil {
		return err
	}
	if string(ours) != string(theirs) {
		return sigbox.Errorf(sigbox.Conflict, "there is another TUF root of version %d, which clients have seen", root.Version).
			WithHint("make a new request, and have that answered")
	}
	return nil
}

// Begin puts the first root of a repository that is made elsewhere in its place: the
// repository opens with it, without a root key. Errors: Conflict when there is another.
func Begin(dir string, root []byte, online crypto.PublicKey, now time.Time) error {
	first, err := tufroot.Parse(root)
	if err != nil {
		return err
	}
	if err := tufroot.Follows(&tufroot.Root{Version: 0, Root: first.Root}, first); err != nil {
		return err
	}
	if err := CheckRoot(first, online, now); err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(dir, dirPerm); err != nil {
		return sigbox.Errorf(sigbox.Internal, "cannot make the TUF repository's directory: %w", err)
	}
	r := &Repository{cfg: Config{Dir: dir}}
	name := versioned(1, metadata.ROOT)
	there, err := r.read(name)
	switch {
	case err != nil:
		return sigbox.Errorf(sigbox.Internal, "cannot read the TUF repository: %w", err)
	case there == nil:
		if err := atomicfile.Create(filepath.Join(dir, name), root, filePerm); err != nil {
			return sigbox.Errorf(sigbox.Internal, "cannot write the TUF repository: %w", err)
		}
	case string(there) != string(root):
		return sigbox.Errorf(sigbox.Conflict, "the TUF repository has begun with another root")
	}
	return nil
}

// Roots gives the newest roots of the repository in a directory, at most so many, the
// newest last. Nothing is checked.
func Roots(dir string, most int) (roots [][]byte, err error) {
	r := &Repository{cfg: Config{Dir: dir}}
	newest, err := r.scan()
	if err != nil {
		return nil, err
	}
	for v := max(1, newest-int64(most)+1); v <= newest; v++ {
		root, err := r.read(versioned(v, metadata.ROOT))
		if err != nil || root == nil {
			return nil, damaged(versioned(v, metadata.ROOT))
		}
		roots = append(roots, root)
	}
	return roots, nil
}
