package app

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/store"
	blobdir "github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/internal/tuf"
	"github.com/sigbox/sigbox/internal/web"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/trust"
)

// The parts of the one kv store, and of the one blob store. None begins another.
const (
	usersPart = "oidc/"
	// usedTokensPart holds the identity tokens that were used.
	usedTokensPart = "ca/used/"
)

// services are the parts of an instance that this host has, nil where another host has
// them; they know of each other by the interfaces of the root package alone.
type services struct {
	app    *App
	keeper *keeper
	keys   keyring  // those of the start; never changed
	late   lateKeys // and those that came since
	kv     *pebble.KV
	blob   store.Blob

	publishing sync.Mutex // held while what clients see is gathered and published
	meeting    sync.Mutex // held while what authorities and CT logs know of each other is

	clock    *clock.Clock
	page     statusPage
	pages    *web.Pages
	users    *oidc.Users
	provider *oidc.Provider
	ctLog    *ctlog.Shards
	outerCT  outerCT // stands for ctLog where another host has it
	others   atomic.Pointer[others]
	copies   *parts.Copies // of what the others say
	askNow   chan struct{} // has them asked at once; one slot
	told     telling       // what this host says to them
	ca       *ca.Service
	issuing  atomic.Pointer[authorities] // the CA's, nil on a host without it
	tsa      *tsa.Service
	rekor    *rekor.Shards
	rekorV1  *rekor1.Shards // nil when the instance has none
	tuf      *tuf.Repository
	// rotations replace keys.
	rotations *rotations

	// shards are the logs behind the three.
	shards shards
}

// issuerURL is the name of the built-in provider of an instance.
func issuerURL(instanceURL string) string { return instanceURL + "/oidc" }

// openServices makes the services, from what they stand on upwards.
func (a *App) openServices(ctx context.Context) error {
	s := &services{app: a, page: statusPage{app: a}}
	a.services = s
	at, err := url.Parse(a.state.get().URL)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	s.pages = web.New(at.Host)
	if err := s.openGround(ctx); err != nil {
		return err
	}
	if err := a.state.offerAll(a.cfg.Now()); err != nil { // their keys are there
		return err
	}
	if err := s.openParts(ctx); err != nil {
		return err
	}
	if err := s.openClock(ctx); err != nil {
		return err
	}
	for _, part := range []struct {
		role Role
		open func(context.Context) error
	}{
		{RoleOIDC, s.openProvider}, {RoleCA, s.openChain}, {RoleCTLog, s.openCTLog}, {RoleCA, s.openCA},
		{RoleLog, s.openRekor}, {RoleLogV1, s.openRekorV1}, {RoleTSA, s.openTSA}, {RoleTUF, s.openTUF},
	} {
		if !a.settings.has(part.role) {
			continue
		}
		if err := part.open(ctx); err != nil {
			return err
		}
	}
	s.clock.Passed(s.past())
	if err := s.writePart(); err != nil {
		return err
	}
	if err := s.recordRoot(ctx); err != nil {
		return err
	}
	return s.openRotations()
}

// openGround opens keys and stores, at the same time: a new instance spends most
// of its first second on an RSA key.
func (s *services) openGround(ctx context.Context) error {
	a := s.app
	keeper, err := newKeeper(&a.cfg, &a.settings)
	if err != nil {
		return err
	}
	s.keeper = keeper
	a.later(keeper.Close)
	var g errgroup.Group
	g.Go(func() (err error) {
		st := a.state.get()
		kinds := st.keyKinds(a.settings.rekorV1())
		maps.DeleteFunc(kinds, func(name string, _ sigbox.KeyDetails) bool { return !a.settings.has(roleOf(name)) })
		s.keys, err = keeper.openKeys(ctx, kinds, st.fresh)
		return err
	})
	err = s.openStores(ctx)
	if keysErr := g.Wait(); err == nil {
		err = keysErr
	}
	return err
}

func (s *services) openStores(ctx context.Context) error {
	a := s.app
	kv, err := openKV(ctx, a.cfg.Data, a.cfg.Logger)
	if err != nil {
		return err
	}
	a.later(kv.Close)
	blob, err := blobdir.Open(filepath.Join(a.cfg.Data, tileDir))
	if err != nil {
		return diskError(a.cfg.Data, err)
	}
	a.later(blob.Close)
	s.kv, s.blob = kv, blob
	a.later(s.closeLogs)
	if err := a.checkPlace(); err != nil {
		return err
	}
	return a.openAnchor()
}

// openKV opens the instance's kv store.
func openKV(ctx context.Context, dir string, log *slog.Logger) (*pebble.KV, error) {
	path := filepath.Join(dir, dbDir)
	if err := makePrivate(path); err != nil {
		return nil, diskError(dir, err)
	}
	kv, err := pebble.Open(ctx, path, pebble.Options{Logger: log})
	if err != nil {
		return nil, diskError(dir, err)
	}
	return kv, nil
}

func openUsers(kv store.KV, now func() time.Time) *oidc.Users {
	return oidc.NewUsers(oidc.UsersConfig{KV: store.WithPrefix(kv, usersPart), Now: now})
}

func (s *services) openProvider(ctx context.Context) (err error) {
	st := s.app.state.get()
	s.users = openUsers(s.kv, s.app.cfg.Now)
	cfg := oidc.Config{
		Issuer: issuerURL(st.URL), AllowHTTP: strings.HasPrefix(st.URL, "http://"), Key: s.keys[st.signing(oidcKey)],
		Users: s.users, Pages: s.pages, Now: s.app.cfg.Now, Logger: s.app.cfg.Logger,
	}
	s.app.broker(&cfg)
	if s.provider, err = oidc.New(cfg); err != nil {
		return err
	}
	return s.applyOIDC(ctx)
}

// openChain opens the certificates of the certificate authority.
func (s *services) openChain(context.Context) (err error) {
	a := s.app
	st := a.state.get()
	var now authorities
	if now.chain, err = openChain(a.cfg.Data, st.signing(caKey), st.begun(RoleCA), func() ([][]byte, error) {
		return ca.NewChain(ca.ChainConfig{Root: s.keys[caRootKey], Intermediate: s.keys[caKey].Public(), Now: a.cfg.Now})
	}); err != nil {
		return err
	}
	if now.all, err = s.caTrust(st.generations(caKey)); err != nil {
		return err
	}
	s.issuing.Store(&now)
	return nil
}

// openCTLog opens the log of certificates.
func (s *services) openCTLog(ctx context.Context) error {
	active, err := s.openShards(ctx, ctLogKey)
	if err == nil {
		s.ctLog = ctlog.NewShards(active.ct)
	}
	return err
}

// openCA opens the certificate authority, which logs its precertificates here or on
// another host.
func (s *services) openCA(context.Context) error {
	a := s.app
	var used store.KV
	if a.settings.OneTimeTokens {
		used = store.WithPrefix(s.kv, usedTokensPart)
	}
	bound, err := a.gate("ca", "the certificate authority")
	if err != nil {
		return err
	}
	key := s.keys[a.state.get().signing(caKey)]
	var log sigbox.CTLog = s.ctLog
	if s.ctLog == nil {
		if err := s.meet(); err != nil {
			return err
		}
		log = &s.outerCT
	}
	s.ca, err = ca.New(ca.Config{
		Gate: bound, Limit: a.limitIdentities(), Record: a.recordIssuance(), Clock: s.clock,
		Key: key, Chain: s.issuing.Load().chain, CTLog: log, URL: s.url(RoleCA), Issuers: s.issuers(a.settings), Providers: a.settings.Providers, Spent: used,
		Keys: remote.NewIssuerKeys(remote.IssuerKeysConfig{}), Now: a.cfg.Now, Logger: a.cfg.Logger,
	})
	if err != nil {
		return err
	}
	return s.ca.SetAuthority(key, s.issuing.Load().chain, s.issuing.Load().all)
}

// ctLogPath is where the CT log's prefix is on the one port.
const ctLogPath = "/ctlog"

// issuers are the outside issuers and the built-in provider, which is asked for
// its keys in this process.
func (s *services) issuers(from Settings) []ca.Issuer {
	if s.provider == nil {
		return from.Issuers
	}
	return from.issuers(s.app.state.get().URL, s.provider.Keys)
}

// issuers are the built-in provider of an instance, whose keys are those given, and the
// outside issuers.
func (s Settings) issuers(instanceURL string, keys func() []jose.JSONWebKey) []ca.Issuer {
	own := ca.Issuer{URL: issuerURL(instanceURL), Type: ca.Email, Keys: ca.StaticKeys(keys)}
	if s.Login.CertificateIssuer == oidc.IssuerConnector {
		own.IssuerClaim = oidc.FederatedIssuer
	}
	return append([]ca.Issuer{own}, s.Issuers...)
}

// prepareIssuers makes ready to replace the outside issuers whose tokens the CA takes,
// what CI providers there are, and how people sign in; apply does it.
func (s *services) prepareIssuers(from Settings) (apply func(), err error) {
	logins, issuers := func() {}, func() {}
	if s.provider != nil {
		logins, err = s.provider.SetLogins(privateLogins(from.Login))
	}
	if err == nil && s.ca != nil {
		issuers, err = s.ca.PrepareIssuers(s.issuers(from), from.Providers)
	}
	return func() { issuers(); logins() }, err
}

func (s *services) openTSA(ctx context.Context) error {
	st := s.app.state.get()
	chain, err := openChain(s.app.cfg.Data, st.signing(tsaKey), st.begun(RoleTSA), func() ([][]byte, error) {
		return tsa.NewChain(tsa.ChainConfig{Root: s.keys[tsaRootKey], Leaf: s.keys[tsaKey].Public(), Now: s.app.cfg.Now})
	})
	if err != nil {
		return err
	}
	bound, err := s.app.gate("tsa", "the timestamp authority")
	if err != nil {
		return err
	}
	s.tsa, err = tsa.New(tsa.Config{Gate: bound, Key: s.keys[st.signing(tsaKey)], Chain: chain, URL: s.timestampURL(), Clock: s.clock})
	if err != nil {
		return err
	}
	return s.applyTSA(ctx)
}

// past is the newest time that the logs have on record.
func (s *services) past() (newest time.Time) {
	for _, d := range s.shards.of("") {
		if at := d.tree.Head().Time; at.After(newest) {
			newest = at
		}
	}
	return newest
}

func (s *services) openRekor(ctx context.Context) error {
	active, err := s.openShards(ctx, rekorKey)
	if err == nil {
		s.rekor = rekor.NewShards(active.rekor)
	}
	return err
}

// openRekorV1 opens the v1 log, or begins it. One that is turned off is sealed: what
// it has stays readable and trusted.
func (s *services) openRekorV1(ctx context.Context) error {
	a := s.app
	if a.state.get().RekorV1.IsZero() && !a.settings.rekorV1() {
		return nil
	}
	if err := a.beginRekorV1(); err != nil {
		return err
	}
	active, err := s.openShards(ctx, rekorV1Key)
	if err != nil {
		return err
	}
	var sealed []*rekor1.Service
	for _, d := range s.shards.of(rekorV1Key) {
		if g, _ := a.state.get().generation(rekorV1Key, d.number); !g.Signing.IsZero() && d != active {
			sealed = append(sealed, d.rekorV1)
		}
	}
	s.rekorV1 = rekor1.NewShards(sealed, active.rekorV1)
	return nil
}

// beginRekorV1 notes that the v1 log exists, now that its key does.
func (a *App) beginRekorV1() error {
	if !a.state.get().RekorV1.IsZero() {
		return nil
	}
	return a.state.change(func(s *state) {
		s.RekorV1 = s.ValidFrom
		if s.Complete { // an instance that had none
			s.RekorV1 = validFrom(a.cfg.Now())
		}
	})
}

// openLog opens a log in its part of the stores.
func (s *services) openLog(ctx context.Context, part string, cfg tlog.Config) (*tlog.Log, error) {
	a := s.app
	cfg.KV, cfg.Blob = store.WithPrefix(s.kv, part), store.Sub(s.blob, part)
	cfg.Now, cfg.Logger, cfg.Metrics = a.cfg.Now, a.cfg.Logger, a.registry
	a.guardLog(&cfg, part)
	return tlog.Open(ctx, cfg)
}

// closeLogs closes the logs, all at the same time: each may have to wait for its
// anchor.
func (s *services) closeLogs() error {
	ctx, cancel := context.WithTimeout(context.Background(), logCloseTimeout)
	defer cancel()
	logs := s.shards.of("")
	errs := make([]error, len(logs))
	var wait sync.WaitGroup
	for i, d := range logs {
		wait.Go(func() { errs[i] = d.tree.Close(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// logCloseTimeout is how long the logs may take to publish what is left.
const logCloseTimeout = 5 * time.Second

// openTUF publishes what clients are to trust, and writes the root to hand out.
func (s *services) openTUF(context.Context) error {
	targets, err := s.targets()
	if err != nil {
		return err
	}
	a := s.app
	online, others := s.tufKeys()
	if s.tuf, err = tuf.Open(tuf.Config{
		Dir: filepath.Join(a.cfg.Data, tufDir), RootKeys: s.tufRootKeys(), OnlineKey: online, Others: others,
		Targets: targets, Approve: a.approveTrust(), KeepPublished: len(s.others.Load().hosts) > 0, // which may have what is missing
		Now: a.cfg.Now, Logger: a.cfg.Logger, Metrics: a.registry,
	}); err != nil {
		return err
	}
	return s.writeRoot()
}

// recordRoot makes the TUF root the first entry of each empty transparency log: what
// clients are told to trust is on record before anything else. It also spares
// clients the index 0 and the proof of a tree of one leaf, which is empty: cosign
// then leaves the fields out, and sigstore-python wants them.
func (s *services) recordRoot(ctx context.Context) error {
	for _, role := range []string{rekorKey, rekorV1Key} {
		if !s.shards.has(role) || role == rekorV1Key && !s.app.settings.rekorV1() {
			continue
		}
		d := s.active(role)
		if d.tree.Head().Size > 0 {
			continue
		}
		if why := d.tree.Err(); why != nil {
			if err := s.rootNotRecorded(why); err != nil {
				return err
			}
			continue
		}
		if err := s.recordRootIn(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// recordRootIn makes the TUF root an entry of a log.
func (s *services) recordRootIn(ctx context.Context, d *shard) error {
	if d.role == ctLogKey {
		return nil
	}
	e, err := s.rootEntry()
	if err != nil {
		return err
	}
	if d.role == rekorKey {
		_, err = d.rekor.Add(ctx, e)
		return err
	}
	p, err := entry.ParseProposal(entry.AppendProposal(nil, e))
	if err != nil {
		return err
	}
	_, _, err = d.rekorV1.Add(ctx, p)
	return err
}

// rootNotRecorded says why the root is not in an empty log that takes no entries: a new
// instance does not start without, for another one it is no reason to stay away.
func (s *services) rootNotRecorded(why error) error {
	if !s.app.state.get().Complete {
		return why
	}
	s.app.cfg.Logger.Warn("a log is empty and takes no entries: the TUF root will be its first at a start at which it does", "err", why)
	return nil
}

// rootEntry is the log entry of the TUF root, signed by the root's own key. A log
// that begins when that is kept elsewhere has it by the repository's other key. Where
// another host has the repository, a log begins with what it asks to be trusted for
// itself, signed by a key that is not kept.
func (s *services) rootEntry() (e sigbox.Entry, err error) {
	var key crypto.Signer
	var root []byte
	if s.tuf == nil {
		if root, err = trust.AppendRoot(nil, s.trustedRoot()); err == nil {
			key, err = keys.Generate(sigbox.ECDSAP256SHA256)
		}
	} else if root, key = s.tuf.Root(), s.keys[tufRootKey]; key == nil {
		key, _ = s.tufKeys()
	}
	if err != nil {
		return e, err
	}
	if e.Details, err = sigbox.DetailsOf(key.Public()); err != nil {
		return e, err
	}
	e.Digest = e.Details.Hash().Sum(root)
	if e.Signature, err = key.Sign(rand.Reader, e.Digest.Value, e.Details.SignerOpts()); err != nil {
		return e, sigbox.Errorf(sigbox.Internal, "signing the TUF root's log entry: %w", err)
	}
	if e.PublicKey, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return e, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return e, nil
}

// register adds the routes of the services that are served at a port to mux.
func (s *services) register(mux *http.ServeMux, on func(Role) bool) {
	log := s.app.cfg.Logger
	if s.ca != nil && on(RoleCA) {
		(&httpapi.Fulcio{Service: s.ca, Logger: log}).Register(mux)
	}
	if s.ctLog != nil && on(RoleCTLog) {
		(&httpapi.CT{Service: s.ctLog, Logger: log, Prefix: ctLogPath}).Register(mux)
	}
	if s.tsa != nil && on(RoleTSA) {
		(&httpapi.Timestamp{Service: s.tsa, Logger: log}).Register(mux)
	}
	if s.rekor != nil && on(RoleLog) {
		(&httpapi.Rekor{Service: s.rekor, Logger: log}).Register(mux)
	}
	if s.rekorV1 != nil && on(RoleLogV1) {
		(&httpapi.RekorV1{Service: s.rekorV1, Logger: log}).Register(mux)
	}
	if s.rekor != nil && on(RoleLog) || s.rekor == nil && s.rekorV1 != nil && on(RoleLogV1) {
		(&httpapi.Search{Logs: s.searched, Logger: log}).Register(mux)
	}
	if s.shards.has("") {
		(&httpapi.Shards{List: s.listShards, Handler: s.shardHandler(on), Logger: log}).Register(mux)
	}
	if s.tuf != nil && on(RoleTUF) {
		(&httpapi.TUF{Repository: s.tuf, Logger: log}).Register(mux)
		mux.HandleFunc("GET /{$}", s.front)
	} else {
		mux.Handle("GET /{$}", http.RedirectHandler("/status", http.StatusSeeOther))
	}
	if s.told.publisher != nil {
		(&httpapi.Part{Signed: s.told.publisher.Signed, Logger: log}).Register(mux)
	}
	mux.Handle("GET /status", &s.page)
	if s.provider != nil && on(RoleOIDC) {
		mux.Handle("/oidc/", s.provider.Handler())
	}
}

func (s *services) front(w http.ResponseWriter, _ *http.Request) {
	sum := sha256.Sum256(s.tuf.Root())
	s.pages.Front(w, web.FrontView{URL: s.app.state.get().URL, RootSHA256: hex.EncodeToString(sum[:])})
}

// checks are the services' own words on whether they can serve.
func (s *services) checks() []httpapi.Check {
	checks := []httpapi.Check{{Name: "store", Err: s.kv.Err}}
	add := func(name string, here bool, err func() error) {
		if here {
			checks = append(checks, httpapi.Check{Name: name, Err: err})
		}
	}
	add("certificate authority", s.ca != nil, func() error { return s.ca.Err() })
	add("CT log", s.ctLog != nil, s.shardErr(ctLogKey))
	add("CT log of another host", s.ca != nil && s.ctLog == nil, s.outerCT.Err)
	add("transparency log", s.rekor != nil, s.shardErr(rekorKey))
	add("timestamp authority", s.tsa != nil, func() error { return s.tsa.Err() })
	if s.tuf != nil {
		checks = append(checks, httpapi.Check{Name: "TUF repository", Err: s.tuf.Err, Notice: s.tuf.Notice})
	}
	add("transparency log, v1", s.rekorV1 != nil, s.shardErr(rekorV1Key))
	if len(s.app.settings.Only) > 0 {
		checks = append(checks, httpapi.Check{Name: "parts of other hosts", Err: s.missingParts, Notice: s.oldParts})
	}
	if len(s.app.settings.Only) > 0 {
		checks = append(checks, httpapi.Check{Name: "rotation", Err: func() error { return nil }, Notice: s.rotations.waits.any})
	}
	add("audit log", s.app.settings.Audit.Required, s.app.audit.err)
	add("TLS certificate", s.app.cert != nil, func() error { return s.app.cert.err(s.app.cfg.Now()) })
	for _, key := range s.watched() {
		checks = append(checks, httpapi.Check{Name: "key " + key.Name(), Err: key.Err})
	}
	return checks
}

// logs says how far each log has come, those that take entries first.
func (s *services) logs() []LogStatus {
	var logs []LogStatus
	for _, role := range []string{rekorKey, ctLogKey, rekorV1Key} {
		for _, d := range s.activeFirst(role) {
			log := LogStatus{Origin: d.origin(), Size: d.tree.Head().Size, Committed: committed(d.tree)}
			if d.index != nil {
				log.Unindexed = d.index.CompleteFrom()
			}
			logs = append(logs, log)
		}
	}
	return logs
}

// committed is when the last entry of a log was, nil for none.
func committed(l *tlog.Log) *time.Time {
	h := l.Head()
	if h.Size == 0 {
		return nil
	}
	at := h.Time.UTC()
	return &at
}
