package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/parts"
)

// The keys of an instance; each stands in a file of that name in DIR/keys, unless the
// settings say that it is kept outside. Those of the roots are needed to make an
// instance, to rotate, and in the case of TUF twice a year; in between they may be kept
// elsewhere.
const (
	caRootKey  = "ca-root"
	caKey      = "ca"
	ctLogKey   = "ctlog"
	rekorKey   = "rekor2"
	rekorV1Key = "rekor1"
	tsaRootKey = "tsa-root"
	tsaKey     = "tsa"
	tufRootKey = "tuf-root"
	tufKey     = "tuf"
	oidcKey    = "oidc"
	// partKey signs what a host says of itself to the instance's other hosts. Only those
	// that the settings of the others name have to know it, so that it is no role's and is
	// made anew when it is gone.
	partKey = "part"
)

// keyKinds gives the algorithm of every key. P-256 where clients verify, since it
// costs them least; RSA for tokens, since cosign takes no others.
func keyKinds() map[string]sigbox.KeyDetails {
	return map[string]sigbox.KeyDetails{
		caRootKey:  sigbox.ECDSAP256SHA256,
		caKey:      sigbox.ECDSAP256SHA256,
		ctLogKey:   sigbox.ECDSAP256SHA256,
		rekorKey:   sigbox.Ed25519,
		rekorV1Key: sigbox.ECDSAP256SHA256,
		tsaRootKey: sigbox.ECDSAP256SHA256,
		tsaKey:     sigbox.ECDSAP256SHA256,
		tufRootKey: sigbox.ECDSAP256SHA256,
		tufKey:     sigbox.ECDSAP256SHA256,
		oidcKey:    sigbox.RSAPKCS1v15With2048,
	}
}

// generationKey names the key of a generation, the first of which has its role's name.
func generationKey(role string, generation int) string {
	if generation <= 1 {
		return role
	}
	return role + "." + strconv.Itoa(generation)
}

// roleKey is the name of the first key of the role that a key has.
func roleKey(name string) string {
	role, _, _ := strings.Cut(name, ".")
	return role
}

// kindOf gives the algorithm of a key of any generation.
func kindOf(name string) (sigbox.KeyDetails, bool) {
	if name == partKey {
		return parts.Kind, true
	}
	role, suffix, later := strings.Cut(name, ".")
	kind, ok := keyKinds()[role]
	if n, err := strconv.Atoi(suffix); later && (err != nil || n < 2 || strconv.Itoa(n) != suffix) {
		return 0, false
	}
	return kind, ok
}

func keyPath(dir, name string) string { return filepath.Join(dir, keyDir, name+".pem") }

// keyring holds an instance's keys by name.
type keyring map[string]crypto.Signer

// keysAtOnce bounds the keys that are opened at the same time: scrypt takes 64 MiB
// for an encrypted one. One place is the RSA key's, which takes long to make.
const keysAtOnce = 3

// openKeys opens the instance's keys, a few at a time. Those that are fresh are made
// when they are missing; of others clients trust those that were, and there is no
// replacing them in silence.
func (k *keeper) openKeys(ctx context.Context, kinds map[string]sigbox.KeyDetails, fresh func(name string) bool) (keyring, error) {
	var g errgroup.Group
	g.SetLimit(keysAtOnce)
	var mu sync.Mutex
	ring := keyring{}
	open := func(name string, details sigbox.KeyDetails) func() error {
		return func() error {
			key, err := k.open(ctx, name, details, fresh(name))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			ring[name] = key
			return nil
		}
	}
	slow := func(name string) int { // RSA
		if roleKey(name) == oidcKey {
			return 0
		}
		return 1
	}
	for _, name := range slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return slow(a) - slow(b) }) {
		g.Go(open(name, kinds[name]))
	}
	return ring, g.Wait()
}

// watched are the keys that are kept outside and that the instance needs all the time,
// by name.
func (r keyring) watched() (list []*keys.Outside) {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if o, ok := r[name].(*keys.Outside); ok && !isRoot(name) {
			list = append(list, o)
		}
	}
	return list
}

// openKey opens one key; the result is nil for one that is kept elsewhere.
func openKey(dir, name string, details sigbox.KeyDetails, pass keys.Passphrase, fresh bool) (crypto.Signer, error) {
	path := keyPath(dir, name)
	if fresh {
		return keys.LoadOrCreate(path, details, pass)
	}
	key, err := keys.LoadKind(path, details, pass)
	switch {
	case err == nil:
		return key, nil
	case sigbox.KindOf(err) == sigbox.Invalid:
		return nil, sigbox.Errorf(sigbox.Invalid, "%w", err).WithHint("if the file is damaged, put it back from a backup")
	case sigbox.KindOf(err) != sigbox.NotFound:
		return nil, err
	}
	if isRoot(name) {
		return nil, nil
	}
	if roleKey(name) != name {
		return nil, sigbox.Errorf(sigbox.Fatal, "the key %s is gone, and clients trust it for what it signed or will sign", path).
			WithHint("put it back from a backup; if it does not sign yet (sigbox rotate status), sigbox rotate %s --abandon takes it back", roleKey(name))
	}
	return nil, sigbox.Errorf(sigbox.Fatal, "the key %s is gone, and what it signed is trusted by clients", path).
		WithHint("put it back from a backup")
}

// maxChain bounds a file of certificates, in bytes.
const maxChain = 256 << 10

// openChain reads the certificates in DIR/certs/name.pem. Those of a new instance
// are made by fresh and kept there; later they are not replaced in silence, since
// new ones would not have been valid when the old ones were used. DER.
func openChain(dir, name string, complete bool, fresh func() ([][]byte, error)) ([][]byte, error) {
	path := chainPath(dir, name)
	chain, err := readChain(path)
	switch {
	case err == nil:
		return chain, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, diskError(dir, err)
	case complete:
		return nil, lostChain(path)
	}
	if chain, err = fresh(); err != nil {
		return nil, err
	}
	return chain, writeChain(dir, name, chain, atomicfile.Create)
}

func lostChain(path string) error {
	return sigbox.Errorf(sigbox.Fatal, "the certificates %s are gone, and clients trust what they vouch for", path).
		WithHint("put them back from a backup")
}

func readChain(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxChain {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s: larger than %d bytes", path, maxChain)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	chain, err := parseChain(file)
	if err != nil {
		return nil, damagedChain(path)
	}
	return chain, nil
}

// parseChain reads certificates in PEM, and nothing else between them.
func parseChain(rest []byte) (chain [][]byte, err error) {
	blocks := bytes.Count(rest, []byte("-----BEGIN"))
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, block.Bytes)
	}
	if len(chain) == 0 || len(chain) != blocks { // what cannot be read is passed over
		return nil, sigbox.Errorf(sigbox.Invalid, "expected certificates in PEM")
	}
	return chain, nil
}

func damagedChain(path string) error {
	return sigbox.Errorf(sigbox.Invalid, "%s is damaged: expected certificates in PEM", path).WithHint("restore the data directory from a backup")
}
