package app

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin"
	"github.com/sigbox/sigbox/internal/keys/vault"
	"github.com/sigbox/sigbox/internal/parts"
)

// KeyPlaces says where the keys of an instance are, by their names; [keys.ParsePlace]
// reads each, with the key's name in the place of "{key}". A later generation of a key
// that is not named is where the first one is named to be. What stands at "default" is
// for keys that are named in neither way; without it they are files.
type KeyPlaces map[string]string

const (
	defaultPlace = "default"
	placeholder  = "{key}"
)

// parse reads the places of all keys that are named or that each instance has, those
// of files left out.
func (p KeyPlaces) parse() (map[string]keys.Place, error) {
	names := keyKinds()
	names[partKey] = parts.Kind
	for name := range p {
		kind, ok := kindOf(name)
		if !ok && name != defaultPlace {
			return nil, sigbox.Errorf(sigbox.Invalid, "keys: there is no key %.40q", name).
				WithHint("keys are %s, later generations of them %s.2 and so on; %s is for those that are not named",
					strings.Join(slices.Sorted(maps.Keys(names)), ", "), caKey, defaultPlace)
		}
		if ok {
			names[name] = kind
		}
	}
	places := map[string]keys.Place{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := p.add(places, name); err != nil {
			return nil, err
		}
	}
	return places, nil
}

// add puts the place of a key to those of others, unless it is a file's.
func (p KeyPlaces) add(places map[string]keys.Place, name string) error {
	text, named := p[name]
	if !named {
		text, named = p[roleKey(name)]
	}
	if !named {
		text = p[defaultPlace]
	}
	place, err := keys.ParsePlace(strings.ReplaceAll(text, placeholder, name))
	if err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "keys: %s: %w", name, err)
	}
	if place.IsFile() {
		return nil
	}
	for _, other := range slices.Sorted(maps.Keys(places)) {
		if other != name && places[other] == place {
			return sigbox.Errorf(sigbox.Invalid, "keys: %s and %s are in the same place, and each needs a key of its own", other, name).
				WithHint("put %s where the keys' names differ, or say where %s is", placeholder, name)
		}
	}
	places[name] = place
	return nil
}

// keeper opens keys where they are kept.
type keeper struct {
	dir    string
	pass   keys.Passphrase
	hidden []string // variables that plugins are not given
	where  KeyPlaces
	log    *slog.Logger

	adopting sync.Mutex // held while a key is compared with the others and written down

	mu       sync.Mutex
	places   map[string]keys.Place
	programs *plugin.Programs // nil before one is needed
	vault    *vault.Server    // the same
}

func newKeeper(cfg *Config, s *Settings) (*keeper, error) {
	pass, err := keys.PassphraseFrom(s.Passphrase)
	if err != nil {
		return nil, err
	}
	places, err := s.Keys.parse()
	if err != nil {
		return nil, err
	}
	k := &keeper{dir: cfg.Data, pass: pass, where: s.Keys, places: places, log: cfg.Logger}
	if name, ok := strings.CutPrefix(s.Passphrase, "env:"); ok {
		k.hidden = []string{name}
	}
	return k, nil
}

// Close gives back what sources hold.
func (k *keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	if k.programs != nil {
		errs = append(errs, k.programs.Close())
	}
	if k.vault != nil {
		errs = append(errs, k.vault.Close())
	}
	return errors.Join(errs...)
}

// place gives where a key is kept, if that is no file.
func (k *keeper) place(name string) (_ keys.Place, outside bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.where.add(k.places, name); err != nil {
		return keys.Place{}, false, err
	}
	place, outside := k.places[name]
	return place, outside, nil
}

// source gives what holds a key that is kept outside.
func (k *keeper) source(place keys.Place) (_ keys.Source, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if place.Scheme == keys.SchemeVault || place.Scheme == keys.SchemeOpenBao {
		if k.vault == nil {
			if k.vault, err = vault.New(vault.Config{}); err != nil {
				return nil, err
			}
		}
		return k.vault.Key(place.Key), nil
	}
	if k.programs == nil {
		k.programs = plugin.New(plugin.Config{Hide: k.hidden})
	}
	if place.Scheme == keys.SchemePKCS11 {
		return k.programs.Token(place.Key)
	}
	return k.programs.Key(place.Scheme, place.Key)
}

// open opens a key. One that is fresh is made if there is none; the result is nil for
// a root's that is kept elsewhere.
func (k *keeper) open(ctx context.Context, name string, details sigbox.KeyDetails, fresh bool) (crypto.Signer, error) {
	place, outside, err := k.place(name)
	if err != nil {
		return nil, err
	}
	known, err := k.known(name)
	if err != nil {
		return nil, err
	}
	if !outside {
		return k.openFile(name, details, known, fresh)
	}
	if known == nil && !fresh {
		if known, err = k.before(name, details, place); err != nil {
			return nil, err
		}
	}
	o, err := k.outside(name, details, place, known)
	if err != nil {
		return nil, err
	}
	if isRoot(name) && !fresh {
		return o, nil // it is asked when something is to be signed
	}
	if err := o.Connect(ctx, fresh); err != nil {
		if fresh || sigbox.KindOf(err) == sigbox.Invalid {
			return nil, rolesHint(err, details)
		}
		k.log.Warn("the instance starts without a key: what needs it is refused until its source is back", "key", name, "err", err)
	}
	return o, k.adopt(name, o.Public(), fresh)
}

// adopt writes down which key is used from now on. One that is fresh has to be another
// than all that the instance has.
func (k *keeper) adopt(name string, pub crypto.PublicKey, fresh bool) error {
	k.adopting.Lock()
	defer k.adopting.Unlock()
	if fresh {
		if err := k.single(name, pub); err != nil {
			return err
		}
	}
	return k.remember(name, pub)
}

// openNew opens or makes a key that nothing names yet. What an attempt has left on record
// of it, and is no more, is forgotten.
func (k *keeper) openNew(ctx context.Context, name string) (crypto.Signer, error) {
	kind, _ := kindOf(name)
	key, err := k.open(ctx, name, kind, true)
	known, knownErr := k.known(name)
	if err == nil || knownErr == nil && known == nil || sigbox.KindOf(err) == sigbox.Unavailable {
		return key, err
	}
	if err := os.Remove(publicPath(k.dir, name)); err != nil {
		return nil, diskError(k.dir, err)
	}
	return k.open(ctx, name, kind, true)
}

// single refuses a new key that is one which this instance has under another name.
func (k *keeper) single(name string, pub crypto.PublicKey) error {
	files, err := os.ReadDir(filepath.Join(k.dir, keyDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError(k.dir, err)
	}
	for _, file := range files {
		other, public := strings.CutSuffix(file.Name(), ".pub")
		if !public || other == name {
			continue
		}
		its, err := k.known(other)
		if err != nil {
			return err
		}
		if keys.SamePublic(pub, its) {
			return sigbox.Errorf(sigbox.Invalid, "the key %s is the same as %s, and each needs a key of its own", name, other).
				WithHint("make another key in its place, or say in the settings where %s is", name)
		}
	}
	return nil
}

// outside prepares a key that is kept outside.
func (k *keeper) outside(name string, details sigbox.KeyDetails, place keys.Place, known crypto.PublicKey) (*keys.Outside, error) {
	source, err := k.source(place)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "the key %s in %s: %w", name, place, err)
	}
	return keys.NewOutside(keys.OutsideConfig{
		Name: name, Place: place, Source: source, Details: details, Public: known, Logger: k.log,
	}), nil
}

// openFile opens a key that is a file. One that was kept outside before is the same.
func (k *keeper) openFile(name string, details sigbox.KeyDetails, known crypto.PublicKey, fresh bool) (crypto.Signer, error) {
	key, err := openKey(k.dir, name, details, k.pass, fresh && known == nil)
	if err == nil && key != nil && known != nil && !keys.SamePublic(key.Public(), known) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the key %s is another one than %s says, and clients trust that", keyPath(k.dir, name), publicPath(k.dir, name)).
			WithHint("put the instance's own key there, or say in the settings where it is kept")
	}
	return key, err
}

// before gives the public half of a key that was a file until now, and says that the
// file is still there.
func (k *keeper) before(name string, details sigbox.KeyDetails, place keys.Place) (crypto.PublicKey, error) {
	path := keyPath(k.dir, name)
	key, err := keys.LoadKind(path, details, k.pass)
	switch {
	case err == nil:
		k.log.Warn("this key is kept elsewhere now: when you have seen the instance sign, take its file away", "key", name, "place", place.String(), "file", path)
		return key.Public(), k.remember(name, key.Public())
	case sigbox.KindOf(err) != sigbox.NotFound:
		return nil, err
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "the key %s is to be in %s, and it is not known which key that has to be", name, place).
		WithHint("put %s back for one start, or write its public half, as PEM, to %s", path, publicPath(k.dir, name))
}

// publicPath is where the public half of a key stands that is kept outside.
func publicPath(dir, name string) string { return filepath.Join(dir, keyDir, name+".pub") }

// maxPublic bounds a file with a public key, in bytes.
const maxPublic = 16 << 10

// known gives the public half of a key that is or was kept outside, nil if there is
// none on record.
func (k *keeper) known(name string) (crypto.PublicKey, error) {
	path := publicPath(k.dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var file []byte
	if err == nil && info.Size() <= maxPublic {
		file, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, diskError(k.dir, err)
	}
	block, _ := pem.Decode(file)
	if block == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s is damaged: expected a public key in PEM", path).WithHint("put it back from a backup")
	}
	pub, err := sigbox.ParsePublicKey(block.Bytes)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %w", path, err).WithHint("put it back from a backup")
	}
	return pub, nil
}

// remember writes down which key is used, for the next start.
func (k *keeper) remember(name string, pub crypto.PublicKey) error {
	if known, err := k.known(name); err != nil || keys.SamePublic(pub, known) {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	path := publicPath(k.dir, name)
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return diskError(k.dir, err)
	}
	if err := atomicfile.Create(path, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		return diskError(k.dir, err)
	}
	return nil
}

// isRoot reports whether a key is one that an instance runs without.
func isRoot(name string) bool {
	role := roleKey(name)
	return role == caRootKey || role == tsaRootKey || role == tufRootKey
}

// lazily opens a key of a complete instance for one purpose, and asks its source for
// nothing yet.
func (k *keeper) lazily(name string) (crypto.Signer, error) {
	place, outside, err := k.place(name)
	if err != nil {
		return nil, err
	}
	if !outside {
		key, err := keys.Load(keyPath(k.dir, name), k.pass)
		if sigbox.KindOf(err) == sigbox.NotFound {
			return nil, sigbox.Errorf(sigbox.NotFound, "the key %s is not in %s", name, k.dir).
				WithHint("where the instance is new, sigbox serve makes it; on hosts apart it is on the one with its role; a key that was lost comes back from a backup")
		}
		return key, err
	}
	known, err := k.known(name)
	if err != nil {
		return nil, err
	}
	if known == nil {
		return nil, sigbox.Errorf(sigbox.NotFound, "the key %s in %s was not used yet", name, place).WithHint("start the instance with it first")
	}
	kind, _ := kindOf(name)
	return k.outside(name, kind, place, known)
}

// rolesHint adds to the error of a source that has not what a key needs which keys it
// can hold: sources without Ed25519, or without RSA, are many.
func rolesHint(err error, details sigbox.KeyDetails) error {
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok || e.Kind != sigbox.Invalid {
		return err
	}
	var others []string
	for name, kind := range keyKinds() {
		if kind != details && kind == sigbox.ECDSAP256SHA256 {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return err
	}
	slices.Sort(others)
	return sigbox.Errorf(e.Kind, "%w; a source that has ECDSA P-256 alone can hold %s, and the others stay files (KEY: file)", err, strings.Join(others, ", "))
}
