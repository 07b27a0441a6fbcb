package remote

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox"
)

// Bounds of what is read from a repository, in bytes.
const (
	maxTUFRoot      = 512 << 10
	maxTUFTimestamp = 16 << 10
	maxTUFSnapshot  = 2 << 20
	maxTUFTargets   = 2 << 20
	maxTUFTarget    = 8 << 20
	// maxTUFRoots bounds how many roots one refresh walks over.
	maxTUFRoots = 256
)

// tufUpdate is one run of the client workflow (TUF specification §5). The trusted
// set checks signatures, versions, hashes and expiry of what checkTUF let through.
type tufUpdate struct {
	*TUFClient
	set  *trustedmetadata.TrustedMetadata
	old  *tufCache
	next *tufCache
	// roots are those of the walk, by their names.
	roots map[string][]byte
}

// update asks the repository and gives the state that follows old, which is nil
// the first time.
func (t *TUFClient) update(ctx context.Context, old *tufCache) (*tufCache, error) {
	if old == nil {
		old = &tufCache{Root: t.cfg.Root, Files: t.cfg.Seed}
	}
	u := t.begin(old)
	if err := u.run(ctx, u.files); err != nil {
		return nil, err
	}
	return u.next, nil
}

// begin prepares an update of the state old.
func (t *TUFClient) begin(old *tufCache) *tufUpdate {
	return &tufUpdate{TUFClient: t, old: old, roots: map[string][]byte{}, next: &tufCache{
		Pinned: hex.EncodeToString(t.pinned[:]), Refreshed: t.client.now().UTC(), Files: map[string][]byte{},
	}}
}

// run does the update; files gets the targets.
func (u *tufUpdate) run(ctx context.Context, files func(context.Context) error) error {
	if err := u.trust(u.old.Root, u.next.Refreshed); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{u.root, u.timestamp, u.snapshot, u.targets, files} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	u.next.Expires = u.expires()
	return nil
}

// trust begins with a root that is trusted already (§5.2).
func (u *tufUpdate) trust(root []byte, now time.Time) error {
	if err := u.check(root, metadata.ROOT, "the trusted root"); err != nil {
		return err
	}
	set, err := trustedmetadata.New(root)
	if err != nil {
		return u.untrusted("the trusted root", err)
	}
	set.RefTime = now
	u.set, u.next.Root = set, root
	u.roots[rootName(set.Root.Signed.Version)] = root
	return nil
}

// root walks to the newest root, each signed by the one before; the first that is
// not there ends the walk (§5.3).
func (u *tufUpdate) root(ctx context.Context) error {
	for range maxTUFRoots {
		name := rootName(u.set.Root.Signed.Version + 1)
		data, err := u.fetch(ctx, name, maxTUFRoot)
		if err != nil {
			if sigbox.KindOf(err) == sigbox.NotFound {
				return nil
			}
			return err
		}
		if err := u.check(data, metadata.ROOT, name); err != nil {
			return err
		}
		if _, err := u.set.UpdateRoot(data); err != nil {
			return u.untrusted(name, err)
		}
		u.next.Root, u.roots[name] = data, data
	}
	return sigbox.Errorf(sigbox.TooLarge, "the TUF repository %s has more than %d new roots", u.cfg.Mirror, maxTUFRoots)
}

// rootName is the file of a version of the root.
func rootName(version int64) string { return strconv.FormatInt(version, 10) + ".root.json" }

// timestamp gets the timestamp; the one that is known guards against an older one,
// unless new roots have replaced the key (§5.4, §5.3.11).
func (u *tufUpdate) timestamp(ctx context.Context) error {
	const name = "timestamp.json"
	if u.check(u.old.Timestamp, metadata.TIMESTAMP, name) == nil {
		_, _ = u.set.UpdateTimestamp(u.old.Timestamp) // expired, or of a key that is gone: both will do
	}
	data, err := u.must(ctx, name, maxTUFTimestamp)
	if err != nil {
		return err
	}
	if err := u.check(data, metadata.TIMESTAMP, name); err != nil {
		return err
	}
	_, err = u.set.UpdateTimestamp(data)
	if _, same := errors.AsType[*metadata.ErrEqualVersionNumber](err); same {
		data, err = u.old.Timestamp, nil
	}
	if err != nil {
		return u.untrusted(name, err)
	}
	u.next.Timestamp = data
	return nil
}

// snapshot gets the snapshot that the timestamp names, if it is not known (§5.5).
func (u *tufUpdate) snapshot(ctx context.Context) error {
	const role = metadata.SNAPSHOT
	if u.check(u.old.Snapshot, role, role) == nil {
		if _, err := u.set.UpdateSnapshot(u.old.Snapshot, true); err == nil {
			u.next.Snapshot = u.old.Snapshot
			return nil
		}
	}
	data, name, err := u.fetchMeta(ctx, role, u.set.Timestamp.Signed.Meta[role+".json"], maxTUFSnapshot)
	if err != nil {
		return err
	}
	if _, err := u.set.UpdateSnapshot(data, false); err != nil {
		return u.untrusted(name, err)
	}
	u.next.Snapshot = data
	return nil
}

// targets gets the targets metadata that the snapshot names, if it is not known
// (§5.6).
func (u *tufUpdate) targets(ctx context.Context) error {
	const role = metadata.TARGETS
	if u.check(u.old.Targets, role, role) == nil {
		if _, err := u.set.UpdateTargets(u.old.Targets); err == nil {
			u.next.Targets = u.old.Targets
			return nil
		}
	}
	data, name, err := u.fetchMeta(ctx, role, u.set.Snapshot.Signed.Meta[role+".json"], maxTUFTargets)
	if err != nil {
		return err
	}
	if _, err := u.set.UpdateTargets(data); err != nil {
		return u.untrusted(name, err)
	}
	u.next.Targets = data
	return nil
}

// files gets the targets themselves, if they are not known (§5.7). Their names are
// our own: nothing that a repository says becomes a path.
func (u *tufUpdate) files(ctx context.Context) error {
	listed := u.set.Targets[metadata.TARGETS].Signed.Targets
	for _, name := range u.cfg.Targets {
		if err := validTarget(name); err != nil {
			return err
		}
		t := listed[name]
		if t == nil {
			continue
		}
		data, err := u.file(ctx, name, t)
		if err != nil {
			return err
		}
		u.next.Files[name] = data
	}
	return nil
}

func (u *tufUpdate) file(ctx context.Context, name string, t *metadata.TargetFiles) ([]byte, error) {
	if data, ok := u.old.Files[name]; ok && t.VerifyLengthHashes(data) == nil {
		return data, nil
	}
	if t.Length < 0 || t.Length > maxTUFTarget {
		return nil, sigbox.Errorf(sigbox.TooLarge, "target %s of the TUF repository %s has %d bytes: at most %d are read", name, u.cfg.Mirror, t.Length, maxTUFTarget)
	}
	path := u.targetPath(name, t)
	data, err := u.must(ctx, path, t.Length)
	if err != nil {
		return nil, err
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, u.untrusted(path, err)
	}
	return data, nil
}

// targetPath is where a target lies.
func (u *tufUpdate) targetPath(name string, t *metadata.TargetFiles) string {
	if !u.set.Root.Signed.ConsistentSnapshot {
		return "targets/" + name
	}
	hash := cmp.Or(hex.EncodeToString(t.Hashes["sha256"]), hex.EncodeToString(t.Hashes["sha512"]))
	return "targets/" + hash + "." + name
}

// metaName is the file of a version of snapshot or targets.
func (u *tufUpdate) metaName(role string, version int64) string {
	if !u.set.Root.Signed.ConsistentSnapshot {
		return role + ".json"
	}
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}

// fetchMeta reads the metadata file of role that meta describes, and checks its
// shape.
func (u *tufUpdate) fetchMeta(ctx context.Context, role string, meta *metadata.MetaFiles, limit int64) (data []byte, name string, err error) {
	name = u.metaName(role, meta.Version)
	if meta.Length > 0 {
		limit = min(limit, meta.Length)
	}
	if data, err = u.must(ctx, name, limit); err != nil {
		return nil, name, err
	}
	return data, name, u.check(data, role, name)
}

// fetch reads one file of the repository; NotFound when there is none.
func (u *tufUpdate) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	if dir, ok := mirrorDir(u.cfg.Mirror); ok {
		return readMirror(dir, name, limit)
	}
	resp, err := u.client.expect(ctx, request{
		service: "the TUF repository", method: http.MethodGet, url: join(u.cfg.Mirror, "/"+name), limit: limit,
	}, http.StatusOK)
	return resp.body, err
}

// must reads a file that a whole repository has.
func (u *tufUpdate) must(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := u.fetch(ctx, name, limit)
	if err != nil && sigbox.KindOf(err) == sigbox.NotFound {
		err = sigbox.Errorf(sigbox.Unavailable, "the TUF repository %s has no %s: it is incomplete, or the URL is not its own", u.cfg.Mirror, name).WithCause(err)
	}
	return data, err
}

// check holds a file against the shape of its role.
func (u *tufUpdate) check(data []byte, role, name string) error {
	if err := checkTUF(data, role); err != nil {
		return u.untrusted(name, err)
	}
	return nil
}

// expires is when the first of the metadata does.
func (u *tufUpdate) expires() time.Time {
	first := u.set.Root.Signed.Expires
	for _, t := range []time.Time{
		u.set.Timestamp.Signed.Expires, u.set.Snapshot.Signed.Expires, u.set.Targets[metadata.TARGETS].Signed.Expires,
	} {
		if t.Before(first) {
			first = t
		}
	}
	return first.UTC()
}

// untrusted makes the error for what a repository must not say.
func (u *tufUpdate) untrusted(name string, err error) error {
	e := sigbox.Errorf(sigbox.NotVerified, "the TUF repository %s: %s is not to be trusted: %w", u.cfg.Mirror, name, err)
	if _, ok := errors.AsType[*metadata.ErrExpiredMetadata](err); ok {
		return e.WithHint("its operator must sign it again; if it is current, this machine's clock is wrong")
	}
	if _, ok := errors.AsType[*metadata.ErrBadVersionNumber](err); ok {
		return e.WithHint("an older state than one that was seen before, or a mix of states: a backup gone live, a stale mirror, or an attack")
	}
	return e
}
