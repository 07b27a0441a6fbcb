package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// The targets of a Sigstore repository.
const (
	TrustedRootTarget   = "trusted_root.json"
	SigningConfigTarget = "signing_config.v0.2.json"
)

const (
	defaultMaxAge = 24 * time.Hour
	// maxCache bounds the cache file; targets and metadata have bounds of their own.
	maxCache = 64 << 20

	cacheFile = "tuf.json"
	lockFile  = "tuf.lock"
)

// TUFConfig says which repository a [TUFClient] follows.
type TUFConfig struct {
	// Mirror is the repository's URL: metadata is below it, targets are below its
	// targets/.
	Mirror string
	// Root is root metadata that the user trusts, of any version.
	Root []byte
	// Dir is the cache directory, for this repository alone; it is made when
	// needed. Several processes may share it.
	Dir string
	// Targets are the names to keep; nil is the trust root and the signing config.
	// A target that the repository does not have is left out.
	Targets []string
	// Seed are targets to use until the repository was reached for the first time.
	Seed map[string][]byte
	// MaxAge is how long the repository need not be asked again; 0 is 24 hours,
	// negative is to ask always.
	MaxAge time.Duration
}

// TUFClient follows a TUF repository and keeps its targets in a cache:
//
//	t := remote.New(remote.Config{}).TUF(remote.TUFConfig{Mirror: url, Root: root, Dir: dir})
//	target, err := t.Target(ctx, remote.TrustedRootTarget)  // asks when it is due
//	target, err := t.Cached(remote.TrustedRootTarget)       // never asks
//
// The cache is one file that is replaced as a whole, so that processes see the
// old state or the new one; a lock keeps them from refreshing at the same time.
// Delegated targets are not followed: Sigstore has its own at the top.
//
// Methods are safe for concurrent use.
//
// Specification: https://theupdateframework.github.io/specification/latest/#detailed-client-workflow
type TUFClient struct {
	client *Client
	cfg    TUFConfig
	pinned [sha256.Size]byte // of the root that the user trusts
}

// Target is a file of a repository, with how much the caller may rely on it.
type Target struct {
	Data []byte
	// Refreshed is when the repository was last asked and answered; zero for a seed.
	Refreshed time.Time
	// Expires is when the repository's word for Data ends; zero for a seed.
	Expires time.Time
	// Expired says that Expires has gone by. Only [TUFClient.Cached] gives such a
	// target, and the user should be told.
	Expired bool
	// Offline is why the repository could not be asked although that was due, nil
	// otherwise. The user should be told.
	Offline error
}

// TUF follows a repository.
func (c *Client) TUF(cfg TUFConfig) *TUFClient {
	cfg.MaxAge = cmp.Or(cfg.MaxAge, defaultMaxAge)
	if cfg.Targets == nil {
		cfg.Targets = []string{TrustedRootTarget, SigningConfigTarget}
	}
	return &TUFClient{c, cfg, sha256.Sum256(cfg.Root)}
}

// Target gives a target that is current: from the cache while that is younger than
// MaxAge, else after a refresh. When the repository cannot be reached, what is in
// the cache will do as long as its metadata has not expired. Errors: Unavailable
// when there is nothing that will do, NotVerified when what the repository says is
// not to be trusted, NotFound when it has no such target.
func (t *TUFClient) Target(ctx context.Context, name string) (Target, error) {
	now := t.client.now()
	cached, err := t.load()
	if err == nil && cached.fresh(now, t.cfg.MaxAge) {
		return cached.target(name, now)
	}
	refreshErr := t.Refresh(ctx)
	if refreshErr == nil {
		if cached, err = t.load(); err != nil {
			return Target{}, err
		}
		return cached.target(name, now)
	}
	if sigbox.KindOf(refreshErr) != sigbox.Unavailable || ctx.Err() != nil {
		return Target{}, refreshErr
	}
	target, err := t.Cached(name)
	switch {
	case err != nil && sigbox.KindOf(err) == sigbox.NotFound:
		return Target{}, refreshErr
	case err != nil:
		return Target{}, err
	}
	if target.Expired {
		return Target{}, sigbox.Errorf(sigbox.Unavailable, "the trust data of %s expired at %s and cannot be refreshed: %w", t.cfg.Mirror, target.Expires.Format(time.RFC3339), refreshErr)
	}
	target.Offline = refreshErr
	return target, nil
}

// Cached gives a target without asking the repository: the last that was verified,
// expired or not, or the seed if none was ever. The error is of kind NotFound when
// there is none. A cache that is there and cannot be read is another error: the
// seed in its place could bring back what has been withdrawn since.
func (t *TUFClient) Cached(name string) (Target, error) {
	cached, err := t.load()
	if err == nil {
		return cached.target(name, t.client.now())
	}
	if data, ok := t.cfg.Seed[name]; ok && sigbox.KindOf(err) == sigbox.NotFound {
		return Target{Data: data}, nil
	}
	return Target{}, err
}

// Refresh asks the repository now, or waits for another process that does. Errors
// are those of [TUFClient.Target].
func (t *TUFClient) Refresh(ctx context.Context) error {
	before, _ := t.load() // nil when there is none
	if err := os.MkdirAll(t.cfg.Dir, 0o700); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "cannot make the directory for trust data: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(t.cfg.Dir, lockFile), t.client.sleep)
	if err != nil {
		return err
	}
	defer unlock()
	cached, err := t.load()
	if err != nil && sigbox.KindOf(err) == sigbox.Internal {
		return err
	}
	if cached != nil && (before == nil || !cached.Refreshed.Equal(before.Refreshed)) {
		return nil // while this process waited for the lock
	}
	next, err := t.update(ctx, cached)
	if err != nil {
		return err
	}
	return t.store(next)
}

// tufCache is what is known of a repository: metadata as it was signed, and the
// targets. It was verified when it was written and is again when it is updated.
type tufCache struct {
	// Pinned is the SHA-256, in hex, of the root that the user trusted. Another one
	// makes the cache void.
	Pinned    string    `json:"pinned"`
	Refreshed time.Time `json:"refreshed"`
	Expires   time.Time `json:"expires"`
	Root      []byte    `json:"root"`
	Timestamp []byte    `json:"timestamp"`
	Snapshot  []byte    `json:"snapshot"`
	Targets   []byte    `json:"targets"`
	// Files are the targets by name.
	Files map[string][]byte `json:"files"`
}

// fresh reports whether the repository need not be asked. A time of refresh in the
// future tells of a clock that was wrong, and is not relied on.
func (c *tufCache) fresh(now time.Time, maxAge time.Duration) bool {
	age := now.Sub(c.Refreshed)
	return age >= 0 && age < maxAge && now.Before(c.Expires)
}

func (c *tufCache) target(name string, now time.Time) (Target, error) {
	data, ok := c.Files[name]
	if !ok {
		return Target{}, sigbox.Errorf(sigbox.NotFound, "the TUF repository has no target %.100q", name)
	}
	return Target{Data: data, Refreshed: c.Refreshed, Expires: c.Expires, Expired: !now.Before(c.Expires)}, nil
}

// load reads the cache. The error is of kind NotFound when there is none that goes
// with the trusted root, Unavailable for one that is damaged, which the next refresh
// replaces, and Internal for one that cannot be read.
func (t *TUFClient) load() (*tufCache, error) {
	path := filepath.Join(t.cfg.Dir, cacheFile)
	none := sigbox.Errorf(sigbox.NotFound, "there is no trust data of %s yet", t.cfg.Mirror).WithHint("connect to it once")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, none
	}
	if err == nil && info.Size() > maxCache {
		return nil, t.damaged(path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "cannot read the trust data of %s: %w", t.cfg.Mirror, err).
			WithHint("make it readable, or remove it to fetch it anew")
	}
	var c tufCache
	switch err := decodeJSON(b, &c); {
	case err != nil || c.Pinned == "":
		return nil, t.damaged(path)
	case c.Pinned != hex.EncodeToString(t.pinned[:]):
		return nil, none // of another root: begin anew
	}
	return &c, nil
}

func (t *TUFClient) damaged(path string) error {
	return sigbox.Errorf(sigbox.Unavailable, "the trust data of %s in %s is damaged", t.cfg.Mirror, path).
		WithHint("connect to it once, or remove the file")
}

// store replaces the cache.
func (t *TUFClient) store(c *tufCache) error {
	b, err := encodeJSON(c)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(filepath.Join(t.cfg.Dir, cacheFile), b, 0o600); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "cannot write the trust data of %s: %w", t.cfg.Mirror, err)
	}
	return nil
}

// validTarget refuses names that are more than a file's name: they become part of
// a URL, and must never become a path.
func validTarget(name string) error {
	if name == "" || len(name) > 128 || name[0] == '.' || strings.ContainsAny(name, "/\\:%?#\x00") || strings.Contains(name, "..") {
		return sigbox.Errorf(sigbox.Invalid, "%.100q cannot be the name of a TUF target", name)
	}
	return nil
}
