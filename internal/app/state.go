package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/store"
)

// The data directory.
const (
	stateFile  = "instance.json"
	lockFile   = "lock"
	socketFile = "admin.sock"
	rootFile   = "root.json"
	partFile   = "part.json"
	hostFile   = "host.yaml"
	// signedPartFile is what this host gives to others, partsDir has what these gave.
	signedPartFile = "part.signed.json"
	partsDir       = "parts"
	publishedDir   = "published"
	settingsFile   = "config.yaml"
	keyDir         = "keys"
	dbDir          = "db"
	tileDir        = "tiles"
	tufDir         = "tuf"
	certDir        = "certs"

	maxState = 1 << 20
)

// backdate is by how much the services' validity starts before they are first
// used: timestamps are cut to the second and clocks differ.
const backdate = 5 * time.Minute

// state is what an instance fixed when it was first started, in instance.json.
type state struct {
	// Schema is the layout of the data directory, as store.SchemaVersion.
	Schema int `json:"schema"`
	// LogHostname is the origin of the Rekor v2 log, and so a part of its key ID
	// and of every checkpoint.
	LogHostname string `json:"logHostname"`
	// ValidFrom is when the services' validity begins: a whole UTC second.
	ValidFrom time.Time `json:"validFrom"`
	// RekorV1 is when the validity of the Rekor v1 log began, zero while there is
	// none. Its key exists from then on.
	RekorV1 time.Time `json:"rekorV1,omitzero"`
	// Generations are the keys of the roles that were rotated, by the name of the
	// role's first key, in their order. Of a log each is a shard.
	Generations map[string][]rotation.Generation `json:"generations,omitempty"`
	// Roles are those that were begun here; none on record is all.
	Roles []Role `json:"roles,omitempty"`
	// OfflineRoots says that the keys of the roots were never here: what they sign comes
	// from a ceremony.
	OfflineRoots bool `json:"offlineRoots,omitzero"`
	// URL is the public one of the last start.
	URL string `json:"url"`
	// Complete says that the first start came to its end, so that all keys and
	// certificates were made.
	Complete bool `json:"complete"`
}

// rekorV1Host is the name of the Rekor v1 log.
func (s state) rekorV1Host() string { return "v1." + s.LogHostname }

// newState is the state of a fresh instance that clients reach at publicURL.
func newState(publicURL string, now time.Time) (state, error) {
	u, err := url.Parse(publicURL)
	if err != nil {
		return state{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return state{
		Schema:      store.SchemaVersion,
		LogHostname: fmt.Sprintf("log%d-1.%s", now.UTC().Year(), logDomain(u.Hostname())),
		ValidFrom:   validFrom(now),
		URL:         publicURL,
	}, nil
}

// validFrom is when the validity of a service begins that is new now.
func validFrom(now time.Time) time.Time { return now.UTC().Truncate(time.Second).Add(-backdate) }

// logDomain is a name that no other instance's log has: the instance's own, or a
// random one when it has none that is its alone.
func logDomain(host string) string {
	if host != "localhost" && net.ParseIP(host) == nil {
		return host
	}
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails
	return "sigbox-" + hex.EncodeToString(b[:]) + ".internal"
}

// loadState reads instance.json; the error is fs.ErrNotExist for an instance
// that was never started.
func loadState(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	f, err := os.Open(path)
	if err != nil {
		return state{}, err
	}
	defer func() { _ = f.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return state{}, err
	}
	var s state
	if err := json.Unmarshal(b, &s, json.RejectUnknownMembers(true)); err != nil {
		return state{}, sigbox.Errorf(sigbox.Invalid, "%s is damaged: %w", path, err).WithHint("restore the data directory from a backup")
	}
	if s.Schema > store.SchemaVersion {
		return state{}, sigbox.Mismatch(sigbox.Invalid, path+": written by a newer sigbox", fmt.Sprintf("schema %d or older", store.SchemaVersion), s.Schema).
			WithHint("use that version of sigbox")
	}
	if s.Schema < 1 || s.LogHostname == "" || s.ValidFrom.IsZero() || s.URL == "" {
		return state{}, sigbox.Errorf(sigbox.Invalid, "%s is damaged: fields are missing", path).WithHint("restore the data directory from a backup")
	}
	return s, s.checkGenerations(path)
}

// openState reads the instance's state, or makes that of a new one, and notes
// the public URL.
func openState(dir, publicURL string, now time.Time) (state, error) {
	s, err := loadState(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := unused(dir); err != nil {
			return state{}, err
		}
		if s, err = newState(publicURL, now); err != nil {
			return state{}, err
		}
	case err != nil:
		return state{}, err
	case s.URL == publicURL:
		return s, nil
	}
	s.URL = publicURL
	return s, s.save(dir)
}

// unused refuses a directory that has a store and has lost its state, which is the
// first thing that is written: a new one would give the log another name.
func unused(dir string) error {
	_, err := os.Stat(filepath.Join(dir, dbDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return diskError(dir, err)
	}
	return sigbox.Errorf(sigbox.Fatal, "%s is gone, and there is a store beside it: clients know the log by the name in it", filepath.Join(dir, stateFile)).
		WithHint("put it back from a backup, or give --data a new directory")
}

// record is the state of an instance that runs. It is safe for concurrent use.
type record struct {
	dir string

	mu  sync.Mutex // held while the file changes
	now state      // guarded by mu; its maps and slices are replaced, never changed
}

// openRecord is openState for an instance that is started.
func openRecord(dir, publicURL string, now time.Time) (*record, error) {
	s, err := openState(dir, publicURL, now)
	return &record{dir: dir, now: s}, err
}

// get gives the state as it is now.
func (f *record) get() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// change makes another state durable, and then what get gives.
func (f *record) change(change func(*state)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.now
	change(&next)
	if err := next.save(f.dir); err != nil {
		return err
	}
	f.now = next
	return nil
}

// save makes the state durable.
func (s state) save(dir string) error {
	b, err := json.Marshal(s, jsontext.WithIndent("  "))
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if err := atomicfile.Replace(filepath.Join(dir, stateFile), append(b, '\n'), 0o600); err != nil {
		return diskError(dir, err)
	}
	return nil
}

// makeDir makes the data directory, or takes the one that is there.
func makeDir(dir string) error {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return diskError(dir, err)
	}
	return nil
}

// makePrivate makes a directory that nobody else can look into, whatever the data
// directory's own mode: the store holds accounts.
func makePrivate(path string) error {
	if err := atomicfile.MkdirAll(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(path, 0o700) // #nosec G302 -- a directory
}

// clean removes what writers that were killed left in a data directory. It is locked.
func clean(dir string) error {
	for _, sub := range []string{"", partsDir, keyDir, certDir, tufDir, filepath.Join(tufDir, "targets")} {
		if err := atomicfile.Clean(filepath.Join(dir, sub)); err != nil {
			return diskError(dir, err)
		}
	}
	return nil
}

// diskError says what to do about a failure to write below dir.
func diskError(dir string, err error) error {
	if _, ok := errors.AsType[*sigbox.Error](err); ok {
		return err
	}
	e := sigbox.Errorf(sigbox.Internal, "cannot use the data directory %s: %w", dir, err)
	switch {
	case errors.Is(err, syscall.EROFS):
		return e.WithHint("it is on a read-only file system: give --data a directory that can be written")
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return e.WithHint("give --data a directory that this user may write, or change its owner")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return e.WithHint("the disk is full: free some space and start again; nothing that was acknowledged is lost")
	case errors.Is(err, syscall.ENOTDIR):
		return e.WithHint("a part of its path is a file: give --data a directory")
	}
	return e
}
