// Package instance keeps what one user trusts: Sigstore instances side by side,
// each with the TUF root that its trust begins at, and which of them is in use.
//
//	s := instance.Open(home, cache)
//	err := s.Add(instance.Instance{Name: "acme", URL: "https://sigstore.acme.example", …}, root)
//	i, err := s.Find("acme") // or by its URL
//
// It reads and writes files and nothing else: fetching is for internal/remote.
// Several processes may use a store at once: an instance appears and goes as a
// whole. On disk:
//
//	HOME/current                       the name of the instance in use
//	HOME/instances/NAME/instance.json  an [Instance]
//	HOME/instances/NAME/root.json      the TUF root as it was added, never changed
//	CACHE/instances/NAME/              what was fetched; safe to delete
//	CACHE/logs/                        the last checkpoint of each log that was read
package instance

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

const (
	instanceFile = "instance.json"
	rootFile     = "root.json"
	currentFile  = "current"
	// maxFile bounds each of them, in bytes.
	maxFile = 1 << 20
)

// Instance is one Sigstore instance.
type Instance struct {
	// Name is what its user calls it.
	Name string `json:"name"`
	// URL is where it was added from, without a slash at its end.
	URL string `json:"url"`
	// Mirror is the URL of its TUF repository.
	Mirror string `json:"mirror"`
	// Added says when.
	Added time.Time `json:"added"`
	// InsecureHTTP lets identity tokens go to it over plain http.
	InsecureHTTP bool `json:"insecureHTTP,omitzero"`
	// BuiltIn instances came with the program and cannot be removed.
	BuiltIn bool `json:"-"`
}

// Store is a directory of instances.
type Store struct{ home, cache string }

// Open gives the store in the directory home, with a cache directory beside it.
// Neither has to exist.
func Open(home, cache string) *Store { return &Store{home, cache} }

// Directories says where a user's instances are kept: below $SIGBOX_HOME when
// set, else in the system's places for configuration and caches (XDG on Linux).
func Directories(getenv func(string) string) (home, cache string, err error) {
	if dir := getenv("SIGBOX_HOME"); dir != "" {
		return dir, filepath.Join(dir, "cache"), nil
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return "", "", noPlace(err)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", "", noPlace(err)
	}
	return filepath.Join(config, "sigbox"), filepath.Join(caches, "sigbox"), nil
}

func noPlace(err error) error {
	return sigbox.Errorf(sigbox.Invalid, "no place to keep instances in: %w", err).WithHint("set SIGBOX_HOME to a directory")
}

// maxName bounds a name, in bytes.
const maxName = 63

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// CheckName says whether an instance can have this name.
func CheckName(name string) error {
	if !validName(name) {
		return sigbox.Mismatch(sigbox.Invalid, "an instance cannot have this name",
			"up to 63 of the characters A-Z a-z 0-9 . _ -, the first a letter or digit", name)
	}
	return nil
}

// CleanURL brings a URL into the form in which instances are compared. It must
// be http or https, without user, query or fragment.
func CleanURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", sigbox.Mismatch(sigbox.Invalid, "this is no URL of an instance", "https://HOST or http://HOST, with a path or without", raw)
	}
	u.Host = strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/"), nil
}

// List gives all instances, the built-in one first, the others by name. A
// damaged one is an error.
func (s *Store) List() ([]Instance, error) {
	list := []Instance{publicGood()}
	entries, err := os.ReadDir(filepath.Join(s.home, "instances"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, diskError(err)
	}
	for _, e := range entries {
		if !validName(e.Name()) {
			continue // one that is being added or removed
		}
		i, err := s.load(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, i)
	}
	return list, nil
}

// Find gives the instance of that name or URL. The error is of kind NotFound
// when there is none.
func (s *Store) Find(nameOrURL string) (Instance, error) {
	if nameOrURL == PublicGood {
		return publicGood(), nil
	}
	if strings.Contains(nameOrURL, "://") {
		return s.findURL(nameOrURL)
	}
	if err := CheckName(nameOrURL); err != nil {
		return Instance{}, err
	}
	i, err := s.load(nameOrURL)
	if errors.Is(err, fs.ErrNotExist) {
		return Instance{}, sigbox.Errorf(sigbox.NotFound, "there is no instance %q", nameOrURL).
			WithHint("sigbox instance list shows those that there are, sigbox instance add adds one")
	}
	return i, err
}

func (s *Store) findURL(raw string) (Instance, error) {
	want, err := CleanURL(raw)
	if err != nil {
		return Instance{}, err
	}
	list, err := s.List()
	if err != nil {
		return Instance{}, err
	}
	at := slices.IndexFunc(list, func(i Instance) bool { return i.URL == want })
	if at < 0 {
		return Instance{}, sigbox.Errorf(sigbox.NotFound, "no instance was added from %s", want).
			WithHint("trust has to begin somewhere: sigbox instance add NAME %s --root FILE", want)
	}
	return list[at], nil
}

// ScratchCache makes a directory to fetch things into before an instance is
// added. [Store.Add] takes it over; whoever does not add removes it.
func (s *Store) ScratchCache() (string, error) {
	parent := filepath.Join(s.cache, "instances")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", diskError(err)
	}
	dir, err := os.MkdirTemp(parent, ".adding-")
	if err != nil {
		return "", diskError(err)
	}
	return dir, nil
}

// Add keeps a new instance with the TUF root that its trust begins at. scratch is
// a directory from [Store.ScratchCache] that becomes its cache, or "". The error
// is of kind Conflict when the name is taken.
func (s *Store) Add(i Instance, root []byte, scratch string) error {
	if err := CheckName(i.Name); err != nil {
		return err
	}
	if i.Name == PublicGood {
		return taken(i.Name)
	}
	if err := s.add(i, root); err != nil || scratch == "" {
		return err
	}
	// A cache that an instance of that name left behind is of no use; if ours
	// cannot take its place, the first use fetches anew.
	cache := s.Cache(i.Name)
	if os.RemoveAll(cache) == nil {
		_ = os.Rename(scratch, cache)
	}
	return nil
}

// add makes an instance's directory, as a whole or not at all.
func (s *Store) add(i Instance, root []byte) error {
	b, err := json.Marshal(i, jsontext.WithIndent("  "))
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "cannot write an instance").WithCause(err)
	}
	parent := filepath.Join(s.home, "instances")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return diskError(err)
	}
	tmp, err := os.MkdirTemp(parent, ".adding-")
	if err != nil {
		return diskError(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // gone already when all went well
	if err := errors.Join(
		atomicfile.Create(filepath.Join(tmp, instanceFile), b, 0o600),
		atomicfile.Create(filepath.Join(tmp, rootFile), root, 0o600),
	); err != nil {
		return diskError(err)
	}
	if err := os.Rename(tmp, filepath.Join(parent, i.Name)); err != nil {
		if _, lerr := os.Lstat(filepath.Join(parent, i.Name)); lerr == nil {
			return taken(i.Name)
		}
		return diskError(err)
	}
	return atomicfile.SyncDir(parent)
}

func taken(name string) error {
	return sigbox.Errorf(sigbox.Conflict, "there is an instance %q already", name).
		WithHint("choose another name, or remove that one: sigbox instance remove %s", name)
}

// Remove forgets an instance and what was fetched from it. If it was in use, the
// built-in one is in use afterwards.
func (s *Store) Remove(name string) error {
	i, err := s.Find(name)
	if err != nil {
		return err
	}
	if i.BuiltIn {
		return sigbox.Errorf(sigbox.Denied, "%s is built in and cannot be removed", i.Name)
	}
	if current, err := s.Current(); err == nil && current == i.Name {
		if err := s.Use(PublicGood); err != nil {
			return err
		}
	}
	parent := filepath.Join(s.home, "instances")
	// Out of sight first, so that nobody finds half of it.
	gone, err := os.MkdirTemp(parent, ".removing-")
	if err != nil {
		return diskError(err)
	}
	if err := os.Rename(filepath.Join(parent, i.Name), filepath.Join(gone, i.Name)); err != nil {
		return diskError(errors.Join(err, os.Remove(gone)))
	}
	if err := errors.Join(os.RemoveAll(gone), os.RemoveAll(s.Cache(i.Name))); err != nil {
		return diskError(err)
	}
	return nil
}

// Use makes an instance the one in use.
func (s *Store) Use(name string) error {
	i, err := s.Find(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.home, 0o700); err != nil {
		return diskError(err)
	}
	if err := atomicfile.Replace(filepath.Join(s.home, currentFile), []byte(i.Name+"\n"), 0o600); err != nil {
		return diskError(err)
	}
	return nil
}

// Current names the instance in use: public-good unless [Store.Use] has said
// otherwise.
func (s *Store) Current() (string, error) {
	b, err := readFile(filepath.Join(s.home, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return PublicGood, nil
	}
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(string(b))
	return name, CheckName(name)
}

// Root gives the TUF root that trust in the instance begins at.
func (s *Store) Root(i Instance) ([]byte, error) {
	if i.BuiltIn {
		return PublicGoodSeed().Root, nil
	}
	return readFile(filepath.Join(s.home, "instances", i.Name, rootFile))
}

// Cache is the directory for what is fetched from the instance of that name. It
// need not exist.
func (s *Store) Cache(name string) string { return filepath.Join(s.cache, "instances", name) }

// Logs is the directory for what was seen of transparency logs, of any instance. It
// need not exist.
func (s *Store) Logs() string { return filepath.Join(s.cache, "logs") }

// load reads an added instance. The error wraps [fs.ErrNotExist] when there is
// none of that name.
func (s *Store) load(name string) (Instance, error) {
	path := filepath.Join(s.home, "instances", name, instanceFile)
	b, err := readFile(path)
	if err != nil {
		return Instance{}, err
	}
	var i Instance
	if err := json.Unmarshal(b, &i, json.RejectUnknownMembers(true)); err != nil {
		return Instance{}, sigbox.Errorf(sigbox.Invalid, "the instance %q is damaged: %w", name, jsonerr.Of(instanceFile, err)).
			WithHint("remove %s and add it again", filepath.Dir(path))
	}
	if i.Name != name {
		return Instance{}, sigbox.Mismatch(sigbox.Invalid, "the instance in "+path+" bears another name", name, i.Name)
	}
	return i, nil
}

// readFile reads a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	b, _, err := atomicfile.Read(path, maxFile)
	if _, told := errors.AsType[*sigbox.Error](err); err != nil && !told {
		return nil, diskError(err)
	}
	return b, err
}

// diskError is what the file system said. The caller can still see
// [fs.ErrNotExist] in it.
func diskError(err error) error {
	return sigbox.Errorf(sigbox.Internal, "cannot use the store of instances: %w", err).
		WithHint("SIGBOX_HOME names another place for it")
}
