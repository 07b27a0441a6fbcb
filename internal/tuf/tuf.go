// Package tuf is the TUF repository of an instance: it publishes the trust root
// and the signing configuration as targets and signs its metadata again long
// before any of it expires.
//
// The layout is that of every Sigstore repository: consistent snapshots,
//
//	1.root.json 2.root.json …      every root since the first
//	1.targets.json 1.snapshot.json what timestamp.json leads to
//	timestamp.json                 written last: it makes the rest count
//	targets/SHA256.NAME            the targets, with one hash only, since some
//	                               clients take any one of several for the prefix
//
// The root is signed by one key or by a threshold of several, which may be elsewhere: a
// root that was signed there is taken by [Repository.Accept]. One key signs everything
// else. ECDSA P-256 (keytype ecdsa, PEM) and Ed25519 (hex) both work with the TUF
// libraries of Go, Python, JavaScript, Java and Rust.
//
// What clients do with it: cosign, sigstore-go and sigstore-js are given any root
// and walk on from there by asking for the next one until they get a 404 (a 403
// ends them with an error); sigstore-python takes the root that it is given as
// version 1 of its own cache. All ask for targets under targets/.
//
// Specification: https://theupdateframework.github.io/specification/latest/
package tuf

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/tufroot"
)

const (
	day = 24 * time.Hour

	// Periods of the public-good instance.
	rootPeriod      = 197 * day
	targetsPeriod   = 3650 * day // and the snapshot's
	timestampPeriod = 7 * day

	// Root, targets and snapshot are signed again when half of their period has
	// gone, the timestamp when a day has.
	timestampAge = 1 * day
	// soon is how close to its expiry metadata that was not signed again is worth a word.
	soon = 2 * day
	// checkEvery is how often Run looks whether something is due.
	checkEvery = time.Hour
	// tryEvery is how often Run tries to sign what it could not.
	tryEvery = time.Minute

	filePerm fs.FileMode = 0o644
	dirPerm  fs.FileMode = 0o755
)

// Config is what a [Repository] needs.
type Config struct {
	// Dir holds the repository; it is made when it does not exist. Required.
	Dir string
	// RootKeys sign root metadata, those that are at hand. With fewer than the root's
	// threshold it is not signed again here, of which Logger, Notice and the metrics tell
	// in time. A repository begins with all of them, and with Threshold of them to sign, 1
	// if 0.
	RootKeys  []crypto.Signer
	Threshold int
	// OnlineKey signs targets, snapshot and timestamp. Required. When it is not the
	// one that the root names, a new root is made that does.
	OnlineKey crypto.Signer
	// Others may have been named by a root that was accepted shortly before a crash: the
	// one that it names is used in the place of OnlineKey.
	Others []crypto.Signer
	// Targets are the files to publish, by name. Names consist of letters, digits
	// and ". _ -".
	Targets map[string][]byte
	// Approve is asked before a target takes the place of one that clients have; an error
	// publishes nothing. Nil approves of everything.
	Approve func(name string, published, next []byte) error
	// KeepPublished has a repository open also where Approve refuses its Targets, with those
	// that are published.
	KeepPublished bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger is told of what is signed and of what cannot be; nil is nobody.
	Logger *slog.Logger
	// Metrics takes when each role expires; nil is nobody.
	Metrics prometheus.Registerer
}

// Repository is a TUF repository on disk. It is safe for concurrent use; one
// process alone may have a directory open.
type Repository struct {
	cfg   Config
	roots []signer // those at hand

	mu     sync.Mutex // held while state changes
	state  state      // what is published; guarded by mu
	online signer     // guarded by mu
	alarm  alarm      // what was told of the root; guarded by mu
	// rootKeys are all that ever signed roots, by their IDs; guarded by mu.
	rootKeys map[string]bool
	// unpublished are the targets that could not be signed yet, nil for none; guarded
	// by mu.
	unpublished map[string][]byte

	// files is what clients see, by path; replaced as a whole, never changed.
	files atomic.Pointer[map[string][]byte]
	// ends is when what is published does.
	ends atomic.Pointer[ends]
	// withheld is why Approve has refused what was to be published last, nil if it has not.
	withheld atomic.Pointer[error]
}

// state is the current metadata. Versions of targets and snapshot are not taken
// twice, also not after a crash: next is above all that were ever written.
type state struct {
	root      *tufroot.Root
	targets   *metadata.Metadata[metadata.TargetsType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	next      struct{ targets, snapshot int64 }
}

// Open starts or continues the repository in cfg.Dir and publishes what is new or
// due. A repository whose key cannot be asked at present serves what it has, and Run
// publishes the rest. Errors: Invalid for keys that are not the repository's, Fatal for a
// directory that is damaged.
func Open(cfg Config) (*Repository, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Repository{cfg: cfg, rootKeys: map[string]bool{}}
	for _, key := range cfg.RootKeys {
		s, err := newSigner(key)
		if err != nil {
			return nil, err
		}
		r.roots = append(r.roots, s)
	}
	if err := atomicfile.MkdirAll(filepath.Join(cfg.Dir, "targets"), dirPerm); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "cannot make the TUF repository's directory: %w", err)
	}
	files, err := r.load()
	if err != nil {
		return nil, err
	}
	r.files.Store(&files)
	if err := r.checkKeys(); err != nil {
		return nil, err
	}
	r.measure()
	targets := cfg.Targets
	err = r.SetTargets(targets)
	if err != nil && cfg.KeepPublished && r.Withheld() != nil {
		cfg.Logger.Warn("what clients are told stays as it is", "err", err)
		targets, err = nil, r.SetTargets(nil)
	}
	if err != nil && sigbox.KindOf(err) == sigbox.Unavailable && r.state.timestamp != nil {
		// The key is elsewhere and cannot be asked: what is published is served.
		cfg.Logger.Error("TUF metadata could not be signed again", "err", err)
		r.unpublished, err = targets, nil
		r.ends.Store(r.state.ends(nil))
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Root gives the newest root metadata: what to hand out to new clients.
func (r *Repository) Root() []byte {
	files := *r.files.Load()
	return files["root.json"]
}

// Get gives a file by its path in the repository, such as "timestamp.json". Only
// what was published is found; the error is of kind NotFound.
func (r *Repository) Get(name string) ([]byte, error) {
	b, ok := (*r.files.Load())[name]
	if !ok {
		return nil, sigbox.Errorf(sigbox.NotFound, "the TUF repository has no file %.100q", name)
	}
	return b, nil
}

// Run signs again what is due, until ctx ends. Failures are logged and tried again.
func (r *Repository) Run(ctx context.Context) error {
	for {
		wait := checkEvery
		if err := r.Renew(); err != nil {
			r.cfg.Logger.ErrorContext(ctx, "TUF metadata could not be signed again", "err", err)
			wait = tryEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Renew signs again what is due now.
func (r *Repository) Renew() error { return r.SetTargets(nil) }

// SetTargets publishes other targets; nil keeps those that are published. Nothing
// is written when nothing changed and nothing is due.
func (r *Repository) SetTargets(targets map[string][]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publish(targets, r.online, nil)
}

// Rekey has another key sign targets, snapshot and timestamp, from a root that names it
// on. The error is of kind Invalid when the root cannot be signed here: see
// [Repository.Accept].
func (r *Repository) Rekey(online crypto.Signer) error {
	s, err := newSigner(online)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.publish(nil, s, nil)
}

// publish brings what is published up to date. r.mu is held.
func (r *Repository) publish(targets map[string][]byte, online signer, accepted *tufroot.Root) error {
	if targets == nil {
		targets = r.unpublished
	}
	now := r.cfg.Now().UTC().Truncate(time.Second)
	p := &publication{repo: r, state: r.state, now: now, files: maps.Clone(*r.files.Load()), online: online, accepted: accepted}
	if err := p.prepare(targets); err != nil {
		if p.refused != nil { // what is due is not to wait for it
			r.withheld.Store(&p.refused)
			r.unpublished = nil
		}
		return err
	}
	for _, f := range p.writes {
		if err := r.write(f.name, f.data); err != nil {
			return err
		}
		r.cfg.Logger.Info("TUF metadata published", "file", f.name)
	}
	r.state, r.online, r.unpublished = p.state, online, nil
	if targets != nil {
		r.withheld.Store(nil)
	}
	for _, k := range p.state.root.Root.Keys {
		r.rootKeys[k.ID] = true
	}
	r.files.Store(&p.files)
	r.ends.Store(p.state.ends(p.stuck))
	r.warn(now)
	return nil
}

// Withheld says why Approve has refused what was to be published last, nil if it has not.
func (r *Repository) Withheld() error {
	if why := r.withheld.Load(); why != nil {
		return *why
	}
	return nil
}

// write makes one file durable.
func (r *Repository) write(name string, data []byte) error {
	path := filepath.Join(r.cfg.Dir, filepath.FromSlash(name))
	if err := atomicfile.Replace(path, data, filePerm); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "cannot write the TUF repository").WithHint("is the disk full or read-only?").WithCause(err)
	}
	return nil
}

// read gives a file of the repository, nil when it does not exist.
func (r *Repository) read(name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(r.cfg.Dir, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// versioned names a metadata file of a consistent snapshot.
func versioned(version int64, role string) string {
	return strconv.FormatInt(version, 10) + "." + role + ".json"
}
