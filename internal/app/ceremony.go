package app

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	desk "github.com/sigbox/sigbox/internal/ceremony"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/tuf"
	"github.com/sigbox/sigbox/wire/ceremony"
)

const (
	// requestFile is the last request, until its answer was taken.
	requestFile = "ceremony.request.json"
	// requestRoots is how many of the newest TUF roots a request has.
	requestRoots = 16
)

// newTUFKey is the role of a TUF root that names another key for the rest than before.
const newTUFKey = "tuf-key"

// CeremonyRoles are what roots sign for: keys of authorities, and the TUF root, with the
// present key for all the rest or with another.
func CeremonyRoles() []string { return []string{caKey, tsaKey, tufKey, newTUFKey} }

// ceremonyKey is the key that a role is about.
func ceremonyKey(role string) string {
	if role == newTUFKey {
		return tufKey
	}
	return role
}

// CeremonyAccepted is what came of the answer of a ceremony.
type CeremonyAccepted struct {
	// Keys are the names of those that were certified.
	Keys []string `json:"keys,omitempty"`
	// RootVersion is that of the TUF root, RootExpires when it ends; 0 and nil for none.
	RootVersion int64      `json:"rootVersion,omitempty"`
	RootExpires *time.Time `json:"rootExpires,omitempty"`
}

// BeginCeremony makes an instance whose roots are elsewhere, in a directory that has
// none, or one that waits for its ceremony: its own keys, and the request to the keepers
// of the roots. Errors: Conflict for an instance that has been started.
func BeginCeremony(ctx context.Context, cfg Config) (file []byte, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	if err := makeDir(cfg.Data); err != nil {
		return nil, err
	}
	settings, err := cfg.load()
	if err != nil {
		return nil, err
	}
	held, err := lockDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	at, err := intendedURL(settings)
	if err != nil {
		return nil, err
	}
	record, err := openRecord(cfg.Data, at, cfg.Now())
	if err != nil {
		return nil, err
	}
	if st := record.get(); st.Complete || !st.OfflineRoots && hasRoots(cfg.Data) {
		return nil, sigbox.Errorf(sigbox.Conflict, "the instance in %s has been started with roots of its own", cfg.Data)
	}
	if err := record.change(func(s *state) { s.OfflineRoots = true }); err != nil {
		return nil, err
	}
	keeper, err := newKeeper(&cfg, &settings)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	r := &rotator{cfg: &cfg, settings: &settings, keeper: keeper, state: record}
	return r.ask(ctx, nil)
}

// hasRoots reports whether an instance made roots of its own.
func hasRoots(dir string) bool {
	return slices.ContainsFunc([]string{caRootKey, tsaRootKey, tufRootKey}, func(name string) bool {
		_, err := os.Lstat(keyPath(dir, name))
		return err == nil
	})
}

// intendedURL is where clients will reach an instance that does not listen yet.
func intendedURL(s Settings) (string, error) {
	addr, err := net.ResolveTCPAddr("tcp", s.Listen)
	if err == nil && addr.Port == 0 && s.URL == "" {
		err = errors.New("no port")
	}
	if err != nil && s.URL == "" {
		return "", sigbox.Errorf(sigbox.Invalid, "it is not known where clients will reach the instance").
			WithHint("give --url, as in --url https://sigstore.example.com")
	}
	return publicURL(s, addr)
}

// ask makes a request for roles, writes it down and gives it.
func (r *rotator) ask(ctx context.Context, roles []string) ([]byte, error) {
	roles, err := r.rolesToAsk(roles)
	if err != nil {
		return nil, err
	}
	st := r.state.get()
	req := &ceremony.Request{Instance: st.LogHostname, URL: st.URL, Made: r.cfg.Now().UTC().Truncate(time.Second)}
	signers := map[string]crypto.Signer{}
	for _, role := range roles {
		if signers[ceremonyKey(role)], err = r.askFor(ctx, req, role); err != nil {
			return nil, err
		}
	}
	if err := req.Prove(func(role string) (crypto.Signer, error) { return signers[role], nil }); err != nil {
		return nil, err
	}
	file, err := req.Bytes()
	if err != nil {
		return nil, err
	}
	if err := atomicfile.Replace(filepath.Join(r.cfg.Data, requestFile), file, 0o600); err != nil {
		return nil, diskError(r.cfg.Data, err)
	}
	return file, nil
}

// rolesToAsk are the roles that are asked for, those that are needed if none is named.
func (r *rotator) rolesToAsk(named []string) ([]string, error) {
	if len(named) == 0 {
		if r.state.get().Complete {
			named = []string{tufKey}
		} else {
			named = slices.DeleteFunc([]string{caKey, tsaKey, tufKey}, func(role string) bool { return !r.settings.has(roleOf(role)) })
		}
	}
	for i, role := range named {
		if !slices.Contains(CeremonyRoles(), role) || slices.Contains(named[:i], role) {
			return nil, sigbox.Errorf(sigbox.Invalid, "no root signs for %.40q: expected some of %s, each once", role, strings.Join(CeremonyRoles(), ", "))
		}
		if key := ceremonyKey(role); !r.settings.has(roleOf(key)) {
			return nil, elsewhere(roleOf(key), "key "+key)
		}
	}
	if slices.Contains(named, tufKey) && slices.Contains(named, newTUFKey) {
		return nil, sigbox.Errorf(sigbox.Invalid, "a TUF root has the present key, or another: expected %s or %s", tufKey, newTUFKey)
	}
	if len(named) == 0 {
		return nil, sigbox.Errorf(sigbox.NotFound, "this host has no role that a root signs for")
	}
	return named, nil
}

// askFor adds what a role asks for to a request, and gives its key.
func (r *rotator) askFor(ctx context.Context, req *ceremony.Request, role string) (crypto.Signer, error) {
	name, number, err := r.keyToAsk(role)
	if err != nil {
		return nil, err
	}
	kind, _ := kindOf(name)
	present := role == tufKey && !r.state.get().fresh(name)
	key, err := r.keeper.open(ctx, name, kind, !present)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if ceremonyKey(role) != tufKey {
		req.Authorities = append(req.Authorities, ceremony.AuthorityRequest{Authority: ceremony.Authority(role), Number: number, Key: der})
		return key, nil
	}
	req.TUF = &ceremony.TUFRequest{Online: der}
	return key, r.askRoots(req.TUF)
}

// keyToAsk names the key that a role asks for: the first, the next, or of a TUF root the
// present one.
func (r *rotator) keyToAsk(role string) (name string, number int, err error) {
	st, key := r.state.get(), ceremonyKey(role)
	if role == tufKey || !st.begun(roleOf(key)) {
		if role == newTUFKey {
			return "", 0, sigbox.Errorf(sigbox.Conflict, "the instance has no TUF root yet").WithHint("ask for %s", tufKey)
		}
		return st.signing(key), 1, nil
	}
	k, err := rotatingKey(key)
	if err != nil {
		return "", 0, err
	}
	gens := st.generations(key)
	if g, waits := rotation.Next(gens); waits && role == newTUFKey { // asked for before
		return generationKey(key, g.Number), g.Number, nil
	}
	if err := rotation.Ready(gens, k.rules, r.cfg.Now()); err != nil {
		return "", 0, err
	}
	number = rotation.NextNumber(gens)
	return generationKey(key, number), number, nil
}

// askRoots adds the roots that there are.
func (r *rotator) askRoots(asked *ceremony.TUFRequest) error {
	dir := filepath.Join(r.cfg.Data, tufDir)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	roots, err := tuf.Roots(dir, requestRoots)
	if err != nil {
		return err
	}
	for _, root := range roots {
		if asked.Roots, err = ceremony.AppendRoot(asked.Roots, root); err != nil {
			return err
		}
	}
	return nil
}

// readAnswer reads the answer to the last request, which has to be whole.
func (r *rotator) readAnswer(ctx context.Context, file []byte) (*ceremony.Answer, error) {
	a, err := ceremony.ParseAnswer(file)
	if err != nil {
		return nil, err
	}
	asked, _, err := atomicfile.Read(filepath.Join(r.cfg.Data, requestFile), ceremony.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, sigbox.Errorf(sigbox.NotFound, "this instance waits for no answer").WithHint("sigbox ceremony request --data %s asks for one", r.cfg.Data)
	}
	if err != nil {
		return nil, diskError(r.cfg.Data, err)
	}
	answered, err := a.Request.Bytes()
	if err != nil {
		return nil, err
	}
	if string(asked) != string(answered) {
		return nil, sigbox.Errorf(sigbox.Conflict, "this is the answer to another request than the last of this instance, which was made at %s", a.Request.Made.Format(time.RFC3339)).
			WithHint("bring the answer to the newest request")
	}
	missing, err := a.Missing()
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		return nil, sigbox.Errorf(sigbox.NotVerified, "the answer is not whole: it lacks %s", strings.Join(missing, ", ")).
			WithHint("bring it to the others who keep roots: sigbox ceremony sign")
	}
	return a, r.checkChains(ctx, a)
}

// checkChains checks the certificates against the keys that they are for, as they will be
// used.
func (r *rotator) checkChains(ctx context.Context, a *ceremony.Answer) error {
	for _, c := range a.Chains {
		k, err := rotatingKey(string(c.Authority))
		if err != nil {
			return err
		}
		name := generationKey(k.key, c.Number)
		kind, _ := kindOf(name)
		key, err := r.keeper.open(ctx, name, kind, true)
		if err != nil {
			return err
		}
		if err := k.check(key, c.Certificates); err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "the certificates of %s: %w", name, err)
		}
		leaf, err := leafOf(c.Certificates)
		if err != nil {
			return err
		}
		if now := r.cfg.Now(); now.Before(leaf.NotBefore) {
			return sigbox.Errorf(sigbox.Invalid, "the certificate of %s is valid from %s on, and it is %s", name, leaf.NotBefore.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
				WithHint("the clock where it was signed is ahead: wait until then, or have it signed again")
		}
	}
	return nil
}

// accepted ends a request whose answer was taken.
func (r *rotator) accepted(a *ceremony.Answer) (CeremonyAccepted, error) {
	var out CeremonyAccepted
	for _, c := range a.Chains {
		out.Keys = append(out.Keys, generationKey(string(c.Authority), c.Number))
	}
	next, _, err := a.Next()
	if err != nil {
		return out, err
	}
	if next != nil {
		out.RootVersion, out.RootExpires = next.Version, &next.Expires
	}
	r.cfg.Logger.Info("the ceremony's answer was taken", "keys", out.Keys, "root", out.RootVersion)
	if err := os.Remove(filepath.Join(r.cfg.Data, requestFile)); err != nil {
		return out, diskError(r.cfg.Data, err)
	}
	return out, atomicfile.SyncDir(r.cfg.Data)
}

// acceptFirst takes the answer for an instance that was not started yet.
func (r *rotator) acceptFirst(ctx context.Context, file []byte) (CeremonyAccepted, error) {
	a, err := r.readAnswer(ctx, file)
	if err != nil {
		return CeremonyAccepted{}, err
	}
	if next, _, err := a.Next(); err != nil {
		return CeremonyAccepted{}, err
	} else if next != nil {
		root, err := next.Bytes()
		if err != nil {
			return CeremonyAccepted{}, err
		}
		online, err := a.Request.TUF.Public()
		if err != nil {
			return CeremonyAccepted{}, err
		}
		if err := tuf.Begin(filepath.Join(r.cfg.Data, tufDir), root, online, r.cfg.Now()); err != nil {
			return CeremonyAccepted{}, err
		}
	}
	for _, c := range a.Chains {
		if err := writeChain(r.cfg.Data, string(c.Authority), c.Certificates, atomicfile.Replace); err != nil {
			return CeremonyAccepted{}, err
		}
	}
	return r.accepted(a)
}

// acceptor takes the parts of an answer into an instance that exists.
type acceptor struct {
	*rotator
	// root publishes a TUF root, rotate has a role's next key, with its certificates.
	root   func(ctx context.Context, a *ceremony.Answer, root []byte) error
	rotate func(ctx context.Context, req RotateRequest) (RoleKeys, error)
}

// accept takes an answer. What was taken already, before something failed, is passed by.
func (t acceptor) accept(ctx context.Context, file []byte) (CeremonyAccepted, error) {
	a, err := t.readAnswer(ctx, file)
	if err != nil {
		return CeremonyAccepted{}, err
	}
	next, _, err := a.Next()
	if err != nil {
		return CeremonyAccepted{}, err
	}
	if next != nil {
		root, err := next.Bytes()
		if err == nil {
			err = t.root(ctx, a, root)
		}
		if err == nil {
			err = t.handOut(root)
		}
		if err != nil {
			return CeremonyAccepted{}, err
		}
	}
	for _, c := range a.Chains {
		if t.has(c) {
			continue
		}
		if _, err := t.rotate(ctx, RotateRequest{Role: string(c.Authority), Signed: encodeChain(c.Certificates)}); err != nil {
			return CeremonyAccepted{}, err
		}
	}
	return t.accepted(a)
}

// handOut writes the root that new clients are given.
func (t acceptor) handOut(root []byte) error {
	if err := atomicfile.Replace(filepath.Join(t.cfg.Data, rootFile), root, 0o644); err != nil {
		return diskError(t.cfg.Data, err)
	}
	return nil
}

// has reports whether a key with these certificates is one of the role's.
func (t acceptor) has(c ceremony.Chain) bool {
	role := string(c.Authority)
	if !slices.ContainsFunc(t.state.get().generations(role), func(g rotation.Generation) bool { return g.Number == c.Number }) {
		return false
	}
	chain, err := readChain(chainPath(t.cfg.Data, generationKey(role, c.Number)))
	return err == nil && slices.EqualFunc(chain, c.Certificates, func(a, b []byte) bool { return string(a) == string(b) })
}

// encodeChain writes certificates in PEM.
func encodeChain(chain [][]byte) string {
	var b strings.Builder
	for _, der := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return b.String()
}

func (l local) CeremonyRequest(ctx context.Context, roles []string) ([]byte, error) {
	r := l.app.services.rotations
	r.ceremony.Lock()
	defer r.ceremony.Unlock()
	return r.ask(ctx, roles)
}

func (l local) CeremonyAccept(ctx context.Context, answer []byte) (CeremonyAccepted, error) {
	s := l.app.services
	s.rotations.ceremony.Lock()
	defer s.rotations.ceremony.Unlock()
	return acceptor{&s.rotations.rotator, s.rotations.acceptRoot, s.rotations.rotate}.accept(ctx, answer)
}

func (o *offline) CeremonyRequest(ctx context.Context, roles []string) (file []byte, err error) {
	if !o.state.Complete {
		return BeginCeremony(ctx, o.cfg)
	}
	return file, o.withRotator(true, func(r *rotator) error {
		file, err = r.ask(ctx, roles)
		return err
	})
}

func (o *offline) CeremonyAccept(ctx context.Context, answer []byte) (accepted CeremonyAccepted, err error) {
	if !o.state.Complete {
		return o.acceptFirst(ctx, answer)
	}
	return accepted, o.withRotator(true, func(r *rotator) error {
		accepted, err = acceptor{r, r.acceptRoot, r.begin}.accept(ctx, answer)
		return err
	})
}

// acceptRoot publishes a TUF root without a server. That another key signs from then on
// is what the next start sees.
func (r *rotator) acceptRoot(ctx context.Context, a *ceremony.Answer, root []byte) error {
	next, _, err := r.onlineKey(ctx, a)
	if err != nil {
		return err
	}
	name := r.state.get().signing(tufKey)
	kind, _ := kindOf(name)
	present, err := r.keeper.open(ctx, name, kind, false)
	if err != nil {
		return err
	}
	repository, err := tuf.Open(tuf.Config{
		Dir: filepath.Join(r.cfg.Data, tufDir), OnlineKey: present, Others: []crypto.Signer{next}, Now: r.cfg.Now, Logger: r.cfg.Logger,
	})
	if err != nil {
		return err
	}
	return repository.Accept(root, next)
}

// acceptFirst takes the first answer, for an instance that waits for it.
func (o *offline) acceptFirst(ctx context.Context, answer []byte) (accepted CeremonyAccepted, err error) {
	settings, err := o.cfg.load()
	if err != nil {
		return accepted, err
	}
	held, err := lockDir(o.cfg.Data)
	if err != nil {
		return accepted, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	st, err := loadState(o.cfg.Data)
	if err != nil {
		return accepted, diskError(o.cfg.Data, err)
	}
	if st.Complete { // since this was begun
		return accepted, sigbox.Errorf(sigbox.Conflict, "the instance in %s was started meanwhile", o.cfg.Data).WithHint("try again")
	}
	keeper, err := newKeeper(&o.cfg, &settings)
	if err != nil {
		return accepted, err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	r := &rotator{cfg: &o.cfg, settings: &settings, keeper: keeper, state: &record{dir: o.cfg.Data, now: st}}
	return r.acceptFirst(ctx, answer)
}

// awaited refuses to start an instance that waits for its ceremony.
func (a *App) awaited() error {
	st := a.state.get()
	if !st.OfflineRoots || st.Complete {
		return nil
	}
	for role, path := range map[Role]string{
		RoleCA: chainPath(a.cfg.Data, caKey), RoleTSA: chainPath(a.cfg.Data, tsaKey), RoleTUF: filepath.Join(a.cfg.Data, tufDir, "1.root.json"),
	} {
		if _, err := os.Lstat(path); a.settings.has(role) && errors.Is(err, fs.ErrNotExist) {
			return sigbox.Errorf(sigbox.Conflict, "the instance in %s waits for the answer of its ceremony", a.cfg.Data).
				WithHint("sigbox ceremony accept ANSWER --data %s; a new request is made by sigbox ceremony request", a.cfg.Data)
		}
	}
	return nil
}

// DeskKeys opens the keys of a desk of a ceremony.
type DeskKeys struct {
	dir     string
	log     *slog.Logger
	keepers []*keeper
}

// NewDeskKeys is for the desk in a directory.
func NewDeskKeys(dir string) *DeskKeys {
	return &DeskKeys{dir: dir, log: slog.New(slog.DiscardHandler)}
}

// Open is a [desk.Opener].
func (d *DeskKeys) Open(ctx context.Context, key desk.Key, create bool) (crypto.Signer, error) {
	settings := Settings{Passphrase: key.Passphrase, Keys: KeyPlaces{key.Name: key.Place}}
	keeper, err := newKeeper(&Config{Data: d.dir, Logger: d.log}, &settings)
	if err != nil {
		return nil, err
	}
	d.keepers = append(d.keepers, keeper)
	kind, _ := kindOf(key.Name)
	signer, err := keeper.open(ctx, key.Name, kind, create)
	if err == nil && signer == nil {
		return nil, sigbox.Errorf(sigbox.NotFound, "the key %s is not in %s", key.Name, keyPath(d.dir, key.Name)).WithHint("put it back for the ceremony")
	}
	return signer, err
}

// Close gives back what the keys' sources hold.
func (d *DeskKeys) Close() error {
	var errs []error
	for _, k := range d.keepers {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}
