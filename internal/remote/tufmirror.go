package remote

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
)

const (
	// maxTUFListed bounds the targets of a repository that is taken as a whole, and
	// maxTUFBytes their bytes.
	maxTUFListed = 256
	maxTUFBytes  = 64 << 20

	fileScheme = "file"
)

// Repository is a TUF repository as a whole, verified.
type Repository struct {
	// Files are what clients ask for, by path: roots, metadata and targets. Delegated
	// metadata is not among them.
	Files map[string][]byte
	// Root is the newest.
	Root []byte
	// Targets are the files that the repository publishes, by name.
	Targets map[string][]byte
	// Expires is when the first of the metadata does.
	Expires time.Time
}

// Repository gets the whole repository, for a mirror of it: from the first root that it
// has, or the trusted one if it does not have those before. A cache that there is
// guards against an older state and is not changed. Errors are those of
// [TUFClient.Target].
func (t *TUFClient) Repository(ctx context.Context) (*Repository, error) {
	old := &tufCache{}
	if t.cfg.Dir != "" {
		if cached, err := t.load(); err == nil {
			*old = *cached
		} else if sigbox.KindOf(err) == sigbox.Internal {
			return nil, err
		}
	}
	old.Root = t.cfg.Root
	u := t.begin(old)
	if err := u.run(ctx, u.everything); err != nil {
		return nil, err
	}
	if err := u.earlier(ctx); err != nil {
		return nil, err
	}
	return u.repository(), nil
}

// everything gets all targets that the repository lists.
func (u *tufUpdate) everything(ctx context.Context) error {
	listed := u.set.Targets[metadata.TARGETS].Signed.Targets
	if len(listed) > maxTUFListed {
		return sigbox.Errorf(sigbox.TooLarge, "the TUF repository %s has %d targets: at most %d are taken", u.cfg.Mirror, len(listed), maxTUFListed)
	}
	total := int64(0)
	for name, t := range listed {
		if err := validTarget(name); err != nil {
			return err
		}
		if total += t.Length; t.Length < 0 || total > maxTUFBytes {
			return sigbox.Errorf(sigbox.TooLarge, "the targets of the TUF repository %s: at most %d bytes are taken", u.cfg.Mirror, maxTUFBytes)
		}
		data, err := u.file(ctx, name, t)
		if err != nil {
			return err
		}
		u.next.Files[name] = data
	}
	return nil
}

// earlier gets the roots before the trusted one, as far back as the repository has
// them: clients that begin at one of those need the next. Each has to vouch for the one
// that follows it.
func (u *tufUpdate) earlier(ctx context.Context) error {
	next, err := new(metadata.Metadata[metadata.RootType]).FromBytes(u.cfg.Root)
	if err != nil {
		return u.untrusted("the trusted root", err)
	}
	for version := next.Signed.Version - 1; version > 0 && len(u.roots) <= maxTUFRoots; version-- {
		before, err := u.vouching(ctx, version, next)
		if err != nil || before == nil {
			return err
		}
		next = before
	}
	return nil
}

// vouching gets the root of a version, which has to vouch for next; nil if there is
// none.
func (u *tufUpdate) vouching(ctx context.Context, version int64, next *metadata.Metadata[metadata.RootType]) (*metadata.Metadata[metadata.RootType], error) {
	name := rootName(version)
	data, err := u.fetch(ctx, name, maxTUFRoot)
	if err != nil {
		if sigbox.KindOf(err) == sigbox.NotFound {
			err = nil
		}
		return nil, err
	}
	if err := u.check(data, metadata.ROOT, name); err != nil {
		return nil, err
	}
	root, err := new(metadata.Metadata[metadata.RootType]).FromBytes(data)
	if err == nil {
		err = root.VerifyDelegate(metadata.ROOT, next)
	}
	if err != nil || root.Signed.Version != version {
		return nil, u.untrusted(name, errors.Join(err, sigbox.Errorf(sigbox.NotVerified, "it does not vouch for the root that follows it")))
	}
	u.roots[name] = data
	return root, nil
}

// repository gives what the update has found.
func (u *tufUpdate) repository() *Repository {
	r := &Repository{Files: u.roots, Root: u.next.Root, Targets: u.next.Files, Expires: u.next.Expires}
	listed := u.set.Targets[metadata.TARGETS].Signed
	r.Files["root.json"] = u.next.Root
	r.Files["timestamp.json"] = u.next.Timestamp
	r.Files[u.metaName(metadata.SNAPSHOT, u.set.Snapshot.Signed.Version)] = u.next.Snapshot
	r.Files[u.metaName(metadata.TARGETS, listed.Version)] = u.next.Targets
	for name, data := range r.Targets {
		r.Files[u.targetPath(name, listed.Targets[name])] = data
	}
	return r
}

// FileMirror is the URL of a repository in a directory of this machine.
func FileMirror(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Invalid, "%w", err)
	}
	return (&url.URL{Scheme: fileScheme, Path: filepath.ToSlash(abs)}).String(), nil
}

// IsFileMirror reports whether a URL names a repository in a directory.
func IsFileMirror(mirror string) bool {
	_, ok := mirrorDir(mirror)
	return ok
}

// mirrorDir gives the directory that the URL of a repository names, if it names one.
func mirrorDir(mirror string) (dir string, ok bool) {
	u, err := url.Parse(mirror)
	if err != nil || u.Scheme != fileScheme {
		return "", false
	}
	return filepath.FromSlash(u.Path), true
}

// ReadMirror reads a file of at most limit bytes of a repository in a directory, which
// its URL names. What it holds is not verified.
func ReadMirror(mirror, name string, limit int64) ([]byte, error) {
	dir, ok := mirrorDir(mirror)
	if !ok {
		return nil, sigbox.Mismatch(sigbox.Invalid, "this is no repository in a directory", "file://DIR", mirror)
	}
	return readMirror(dir, name, limit)
}

// readMirror reads a file of a repository in a directory, and nothing outside of it.
func readMirror(dir, name string, limit int64) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unavailable, "cannot read the TUF repository: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sigbox.Errorf(sigbox.NotFound, "%s has no %s", dir, name)
	case err != nil:
		return nil, sigbox.Errorf(sigbox.Unavailable, "cannot read the TUF repository: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, sigbox.Errorf(sigbox.Unavailable, "%s in the TUF repository %s is no regular file", name, dir)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Unavailable, "cannot read the TUF repository: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s in the TUF repository %s is larger than %d bytes", name, dir, limit)
	}
	return b, nil
}
