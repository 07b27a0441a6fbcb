// Package ceremony is the machine at which roots are kept and sign, away from any network:
// the root of the certificate authority, that of the timestamp authority, and keys of the
// root of TUF. What it signs is what it has shown before.
//
//	desk, err := ceremony.Open(dir, opener)
//	plan, err := desk.Plan(file, now)   // of a request, or of an answer that others began
//	…                                   // show plan.Lines to those who are there
//	answer, err := plan.Sign(ctx)
//
// A desk is a directory:
//
//	ceremony.json              which keys it has and who signs TUF's roots
//	keys/                      private keys, 0600, unless they are kept outside
//	public/NAME.pem            their public halves, for other desks
//	certs/ca-root.pem …        certificates of roots, from their first use on
//	tuf/INSTANCE/N.root.json   the newest root that was signed here for an instance
package ceremony

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/wire/ceremony"
	"github.com/sigbox/sigbox/wire/tufroot"
)

const (
	deskFile = "ceremony.json"
	maxFile  = 1 << 20

	// The keys that a desk may have. TUF's are several: tuf-root, tuf-root.2 and so on.
	CARootKey  = "ca-root"
	TSARootKey = "tsa-root"
	TUFRootKey = "tuf-root"

	day = 24 * time.Hour
	// DefaultPeriod is how long TUF roots are good, and MaxPeriod the longest.
	DefaultPeriod = 197 * day
	MaxPeriod     = 730 * day
)

// Opener opens the private key of a desk by its name and where that is kept; with create
// it makes one that is missing.
type Opener func(ctx context.Context, key Key, create bool) (crypto.Signer, error)

// Key is a private key of a desk.
type Key struct {
	Name string `json:"name"`
	// Place is where it is kept, as in an instance's settings; "" for a file.
	Place string `json:"place,omitempty"`
	// Passphrase is where the file's passphrase is; "" for a file in the clear.
	Passphrase string `json:"passphrase,omitempty"`
	// Public is a DER SubjectPublicKeyInfo.
	Public []byte `json:"public,omitempty"`
}

// settings are what ceremony.json holds.
type settings struct {
	Organization string `json:"organization"`
	Keys         []Key  `json:"keys"`
	// Root says who signs TUF roots that are begun here; without keys those that signed
	// before go on, and this desk begins none.
	Root rootPolicy `json:"tufRoot"`
}

type rootPolicy struct {
	Keys      [][]byte `json:"keys,omitempty"` // DER SubjectPublicKeyInfo
	Threshold int      `json:"threshold,omitzero"`
}

// Desk keeps roots. It is for one caller at a time.
type Desk struct {
	dir    string
	open   Opener
	config settings
	root   tufroot.Policy // that of the settings; no keys for none
}

// NewDesk says what [Create] makes.
type NewDesk struct {
	// Organization stands in certificates; "" is "sigbox".
	Organization string
	// Keys are those to make, or to find where they are kept already; without public halves.
	Keys []Key
	// Others are public halves of TUF root keys of other desks.
	Others []crypto.PublicKey
	// Threshold is how many of all TUF root keys sign a root; 0 is more than half.
	Threshold int
	// Join has the desk begin no TUF root, and sign those that others begin.
	Join bool
}

// Create makes a desk in a directory that has none. Errors: Conflict when there is one.
func Create(ctx context.Context, dir string, n NewDesk, open Opener) (*Desk, error) {
	d := &Desk{dir: dir, open: open, config: settings{Organization: n.Organization, Keys: slices.Clone(n.Keys)}}
	if d.config.Organization == "" {
		d.config.Organization = "sigbox"
	}
	if _, err := os.Lstat(filepath.Join(dir, deskFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, sigbox.Errorf(sigbox.Conflict, "%s keeps roots already", dir).WithHint("name another directory; sigbox ceremony show --dir %s shows what it has", dir)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	for i := range d.config.Keys {
		if err := d.make(ctx, &d.config.Keys[i]); err != nil {
			return nil, err
		}
	}
	if n.Join {
		if len(n.Others) > 0 || n.Threshold != 0 {
			return nil, sigbox.Errorf(sigbox.Invalid, "a desk that signs the TUF roots of others does not say who signs them")
		}
		return d, d.save(atomicfile.Create)
	}
	if err := d.choose(n.Others, n.Threshold); err != nil {
		return nil, err
	}
	return d, d.save(atomicfile.Create)
}

// make makes a key and writes its public half out.
func (d *Desk) make(ctx context.Context, k *Key) error {
	signer, err := d.open(ctx, *k, true)
	if err != nil {
		return err
	}
	if k.Public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	path := filepath.Join(d.dir, "public", k.Name+".pem")
	return d.write(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public}), 0o644)
}

// write makes a file that may be there already, with the same content.
func (d *Desk) write(path string, data []byte, perm fs.FileMode) error {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskError(err)
	}
	err := atomicfile.Create(path, data, perm)
	if errors.Is(err, fs.ErrExist) {
		there, readErr := readFile(path)
		if readErr == nil && string(there) == string(data) {
			return nil
		}
		return sigbox.Errorf(sigbox.Conflict, "%s is there already, with something else in it", path).WithHint("nothing is overwritten: move it away if it is not needed")
	}
	if err != nil {
		return diskError(err)
	}
	return nil
}

// choose sets who signs TUF roots: this desk's keys and those of others.
func (d *Desk) choose(others []crypto.PublicKey, threshold int) error {
	var all [][]byte
	for _, k := range d.config.Keys {
		if isTUFRoot(k.Name) {
			all = append(all, k.Public)
		}
	}
	for _, pub := range others {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return sigbox.Errorf(sigbox.Invalid, "a public key of another desk: %s", sigbox.DescribeX509(err))
		}
		all = append(all, der)
	}
	if len(all) == 0 {
		if threshold != 0 {
			return sigbox.Errorf(sigbox.Invalid, "a threshold of %d without a TUF root key", threshold)
		}
		return nil
	}
	if threshold == 0 {
		threshold = len(all)/2 + 1
	}
	return d.setRoot(rootPolicy{all, threshold})
}

// setRoot takes a policy, if TUF does.
func (d *Desk) setRoot(p rootPolicy) error {
	policy, err := p.policy()
	if err != nil {
		return err
	}
	if len(policy.Keys) > 0 || p.Threshold != 0 {
		if _, err := tufroot.New(1, time.Unix(1<<31, 0), policy, policy); err != nil {
			return err
		}
	}
	d.config.Root, d.root = p, policy
	return nil
}

func (p rootPolicy) policy() (tufroot.Policy, error) {
	policy := tufroot.Policy{Threshold: p.Threshold}
	for _, der := range p.Keys {
		pub, err := sigbox.ParsePublicKey(der)
		if err != nil {
			return policy, err
		}
		key, err := tufroot.NewKey(pub)
		if err != nil {
			return policy, err
		}
		policy.Keys = append(policy.Keys, key)
	}
	return policy, nil
}

// isTUFRoot reports whether a key of that name signs TUF roots.
func isTUFRoot(name string) bool {
	return name == TUFRootKey || strings.HasPrefix(name, TUFRootKey+".")
}

// check refuses keys and names that a desk cannot have.
func (d *Desk) check() error {
	if !regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} .,&'()_-]{0,63}$`).MatchString(d.config.Organization) {
		return sigbox.Errorf(sigbox.Invalid, "the organization's name: expected up to 64 letters, digits, spaces and . , & ' ( ) _ -")
	}
	if len(d.config.Keys) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "a desk without keys has nothing to sign with")
	}
	name := regexp.MustCompile(`^(ca-root|tsa-root|tuf-root(\.([2-9]|[1-9][0-9]))?)$`)
	seen := map[string]bool{}
	for _, k := range d.config.Keys {
		if !name.MatchString(k.Name) || seen[k.Name] {
			return sigbox.Errorf(sigbox.Invalid, "a desk cannot have the key %.40q: expected ca-root, tsa-root, tuf-root, tuf-root.2 and so on, each once", k.Name)
		}
		seen[k.Name] = true
	}
	return nil
}

// save writes ceremony.json.
func (d *Desk) save(write func(string, []byte, fs.FileMode) error) error {
	b, err := json.Marshal(d.config, jsontext.WithIndent("  "))
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if err := write(filepath.Join(d.dir, deskFile), append(b, '\n'), 0o600); err != nil {
		return diskError(err)
	}
	return nil
}

// Open opens the desk in a directory. Errors: NotFound when there is none.
func Open(dir string, open Opener) (*Desk, error) {
	path := filepath.Join(dir, deskFile)
	b, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sigbox.Errorf(sigbox.NotFound, "%s keeps no roots", dir).WithHint("sigbox ceremony init --dir %s makes them", dir)
	}
	if err != nil {
		return nil, err
	}
	d := &Desk{dir: dir, open: open}
	if err := json.Unmarshal(b, &d.config, json.RejectUnknownMembers(true)); err != nil {
		return nil, jsonerr.Of(path, err)
	}
	if err := d.check(); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %w", path, err)
	}
	return d, d.setRoot(d.config.Root)
}

// Keys are the keys of the desk.
func (d *Desk) Keys() []Key { return slices.Clone(d.config.Keys) }

// Organization stands in the certificates.
func (d *Desk) Organization() string { return d.config.Organization }

// Root says who signs TUF roots that are begun here; there are no keys if none are.
func (d *Desk) Root() tufroot.Policy { return d.root }

// Change is another policy for TUF roots; the next root that is begun here has it.
type Change struct {
	Add       []crypto.PublicKey
	Remove    []string // IDs of keys, or beginnings of at least 8 letters
	Threshold int      // 0 keeps it
}

// Change changes who signs TUF roots from the next one on.
func (d *Desk) Change(c Change) error {
	p := rootPolicy{Keys: slices.Clone(d.config.Root.Keys), Threshold: d.config.Root.Threshold}
	for _, prefix := range c.Remove {
		at := slices.IndexFunc(d.root.Keys, func(k tufroot.Key) bool {
			return len(strings.TrimPrefix(prefix, "TUF:")) >= 8 && strings.HasPrefix(k.ID, strings.TrimPrefix(prefix, "TUF:"))
		})
		if at < 0 {
			return sigbox.Errorf(sigbox.NotFound, "no TUF root key has an ID that begins with %.64q", prefix).WithHint("sigbox ceremony show --dir %s shows them", d.dir)
		}
		gone := d.config.Root.Keys[at]
		p.Keys = slices.DeleteFunc(p.Keys, func(der []byte) bool { return string(der) == string(gone) })
	}
	for _, pub := range c.Add {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			return sigbox.Errorf(sigbox.Invalid, "a public key of another desk: %s", sigbox.DescribeX509(err))
		}
		p.Keys = append(p.Keys, der)
	}
	if c.Threshold != 0 {
		p.Threshold = c.Threshold
	}
	if err := d.setRoot(p); err != nil {
		return err
	}
	return d.save(atomicfile.Replace)
}

// Fingerprint is by what people compare the key with what is shown elsewhere.
func (k Key) Fingerprint() string {
	if !isTUFRoot(k.Name) {
		return ceremony.Fingerprint(k.Public)
	}
	id, err := ceremony.TUFFingerprint(k.Public)
	if err != nil { // a desk has none such
		return ceremony.Fingerprint(k.Public)
	}
	return id
}

// key gives a key of the desk by its name.
func (d *Desk) key(name string) (Key, bool) {
	i := slices.IndexFunc(d.config.Keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return d.config.Keys[i], true
}

// signer opens a private key, which has to be the one on record.
func (d *Desk) signer(ctx context.Context, k Key) (crypto.Signer, error) {
	signer, err := d.open(ctx, k, false)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil || string(der) != string(k.Public) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the key %s is another one than the desk was made with", k.Name).WithHint("put its own key back")
	}
	return signer, nil
}

// readFile reads a file of the desk; the error wraps fs.ErrNotExist.
func readFile(path string) ([]byte, error) {
	b, _, err := atomicfile.Read(path, maxFile)
	if _, told := errors.AsType[*sigbox.Error](err); err != nil && !told {
		return nil, diskError(err)
	}
	return b, err
}

func diskError(err error) error { return sigbox.Errorf(sigbox.Internal, "%w", err) }
