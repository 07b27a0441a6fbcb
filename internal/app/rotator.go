package app

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/rotation"
)

// rotator begins rotations: it makes keys and certificates and writes down what is to
// come of them. What that is, is done by the instance when it runs.
type rotator struct {
	cfg      *Config
	settings *Settings
	keeper   *keeper
	state    *record
	waits    *waits // nil without a server
}

// here are the keys that this host has.
func (r *rotator) here() []rotating {
	return slices.DeleteFunc(rotatings(), func(k rotating) bool { return !r.has(k.key) })
}

// has reports whether this host has a role's keys.
func (r *rotator) has(key string) bool {
	return r.settings.has(roleOf(key)) && (key != rekorV1Key || !r.state.get().RekorV1.IsZero())
}

// find gives the key of a name, if this host has it.
func (r *rotator) find(name string) (rotating, error) {
	k, err := rotatingKey(name)
	if err == nil && !r.has(k.key) {
		err = elsewhere(roleOf(k.key), "key "+k.key)
	}
	return k, err
}

// status describes the keys of all roles.
func (r *rotator) status() (all []RoleKeys, err error) {
	for _, k := range r.here() {
		one, err := r.describe(k, r.state.get().generations(k.key))
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// begin does what is asked for as far as it can be done without services, and gives the
// role's keys with what will follow.
func (r *rotator) begin(ctx context.Context, req RotateRequest) (RoleKeys, error) {
	k, err := r.find(req.Role)
	if err != nil {
		return RoleKeys{}, err
	}
	gens := r.state.get().generations(k.key)
	next, err := req.next(k, gens, r.cfg.Now())
	if err != nil {
		return RoleKeys{}, err
	}
	if !req.DryRun {
		if len(next) > len(gens) {
			if err := r.make(ctx, k, next[len(next)-1], req); err != nil {
				return RoleKeys{}, err
			}
		}
		if err := r.state.change(func(s *state) { s.setGenerations(k.key, next) }); err != nil {
			return RoleKeys{}, err
		}
	}
	return r.describe(k, next)
}

// make makes the key of a generation, with its certificates. Nothing names it yet: what
// an attempt has left behind is used or replaced.
func (r *rotator) make(ctx context.Context, k rotating, g rotation.Generation, req RotateRequest) error {
	name := generationKey(k.key, g.Number)
	key, err := r.keeper.openNew(ctx, name)
	if err != nil {
		return err
	}
	if slices.Contains(logRoles(), k.key) { // what it has is read by that half alone one day
		return r.keeper.remember(name, key.Public())
	}
	if k.certify == nil {
		return nil
	}
	chain, err := r.chain(ctx, k, g, key, req)
	if err != nil {
		return err
	}
	if err := k.check(key, chain); err != nil {
		return err
	}
	return writeChain(r.cfg.Data, name, chain, atomicfile.Replace)
}

// chain gives the certificates of a new key.
func (r *rotator) chain(ctx context.Context, k rotating, g rotation.Generation, key crypto.Signer, req RotateRequest) ([][]byte, error) {
	if req.Signed != "" {
		return parseSigned(req.Signed, key)
	}
	c := certification{public: key.Public(), number: g.Number, now: r.cfg.Now}
	rootName := generationKey(k.root, g.Root)
	if !req.Root {
		path := chainPath(r.cfg.Data, r.state.get().signing(k.key))
		old, err := readChain(path)
		if err != nil {
			return nil, diskError(r.cfg.Data, err)
		}
		c.rootCertificate = old[len(old)-1]
	}
	kind, _ := kindOf(rootName)
	var err error
	if c.root, err = r.keeper.open(ctx, rootName, kind, req.Root); err != nil {
		return nil, err
	}
	if c.root == nil {
		return nil, sigbox.Errorf(sigbox.NotFound, "the key %s is not here, and it has to certify %s", rootName, generationKey(k.key, g.Number)).
			WithHint("put %s back for the time of this command, or have the key certified where its root is: sigbox ceremony request --role %s", keyPath(r.cfg.Data, rootName), k.key)
	}
	return k.certify(c)
}

// parseSigned reads the certificates of a key that were made elsewhere.
func parseSigned(text string, key crypto.Signer) ([][]byte, error) {
	chain, err := parseChain([]byte(text))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the signed certificates: %w", err)
	}
	leaf, err := leafOf(chain)
	if err != nil {
		return nil, err
	}
	if !keys.SamePublic(leaf.PublicKey, key.Public()) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the signed certificates are of another key than the one that was made here").
			WithHint("have the newest request signed")
	}
	return chain, nil
}

// destroyRetired destroys the private halves of a role's keys that were given up, as far
// as they are files: what is kept outside is the operator's.
func (r *rotator) destroyRetired(role string) error {
	for _, g := range r.state.get().generations(role) {
		if held(role, g) {
			continue
		}
		if err := removeKey(r.cfg.Data, generationKey(role, g.Number), r.cfg.Logger); err != nil {
			return err
		}
	}
	return nil
}

// removeKey removes the file of a key, if there is one.
func removeKey(dir, name string, log *slog.Logger) error {
	path := keyPath(dir, name)
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = atomicfile.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return diskError(dir, err)
	}
	log.Info("the private key was destroyed", "key", name, "file", path)
	return nil
}

// writeChain writes the certificates of a key.
func writeChain(dir, name string, chain [][]byte, write func(path string, data []byte, perm fs.FileMode) error) error {
	var file []byte
	for _, der := range chain {
		file = append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	path := chainPath(dir, name)
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return diskError(dir, err)
	}
	if err := write(path, file, 0o644); err != nil {
		return diskError(dir, err)
	}
	return nil
}
