package app

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/store"
	blobdir "github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/internal/tuf"
	"github.com/sigbox/sigbox/internal/web"
	"github.com/sigbox/sigbox/wire/note"
)

// The parts of the one kv store, and of the one blob store. None begins another.
const (
	usersPart = "oidc/"
	rekorPart = "rekor2/"
	ctLogPart = "ctlog/"
)

// services are the parts of an instance; they know of each other by the
// interfaces of the root package alone.
type services struct {
	app  *App
	keys keyring
	kv   *pebble.KV
	blob store.Blob

	pages    *web.Pages
	users    *oidc.Users
	provider *oidc.Provider
	ctLog    *ctlog.Service
	ca       *ca.Service
	tsa      *tsa.Service
	rekor    *rekor.Service
	tuf      *tuf.Repository

	// The two logs of the engine.
	ctTree, rekorTree *tlog.Log
}

// issuerURL is the name of the built-in provider of an instance.
func issuerURL(instanceURL string) string { return instanceURL + "/oidc" }

// openServices makes the services, from what they stand on upwards.
func (a *App) openServices(ctx context.Context) error {
	s := &services{app: a}
	a.services = s
	if err := s.openGround(ctx); err != nil {
		return err
	}
	for _, open := range []func(context.Context) error{s.openProvider, s.openCA, s.openRekor, s.openTSA, s.openTUF, s.recordRoot} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openGround opens keys and stores, at the same time: a new instance spends most
// of its first second on an RSA key.
func (s *services) openGround(ctx context.Context) error {
	a := s.app
	pass, err := keys.PassphraseFrom(a.settings.Passphrase)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() (err error) {
		s.keys, err = openKeys(a.cfg.Data, pass, !a.state.Complete)
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
	return nil
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

func (s *services) openProvider(context.Context) error {
	u, err := url.Parse(s.app.state.URL)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if s.pages, err = web.New(u.Host); err != nil {
		return err
	}
	s.users = openUsers(s.kv, s.app.cfg.Now)
	s.provider, err = oidc.New(oidc.Config{
		Issuer: issuerURL(s.app.state.URL), AllowHTTP: u.Scheme == "http", Key: s.keys[oidcKey],
		Users: s.users, Pages: s.pages, Now: s.app.cfg.Now, Logger: s.app.cfg.Logger,
	})
	return err
}

// openCA opens the certificate authority and the log that its precertificates
// have to be in first.
func (s *services) openCA(ctx context.Context) error {
	a := s.app
	chain, err := openChain(a.cfg.Data, "ca", a.state.Complete, func() ([][]byte, error) {
		return ca.NewChain(ca.ChainConfig{Root: s.keys[caRootKey], Intermediate: s.keys[caKey], Now: a.cfg.Now})
	})
	if err != nil {
		return err
	}
	logConfig, err := ctlog.LogConfig(a.state.LogHostname+ctLogPath, s.keys[ctLogKey])
	if err != nil {
		return err
	}
	if s.ctTree, err = s.openLog(ctx, ctLogPart, logConfig); err != nil {
		return err
	}
	if s.ctLog, err = ctlog.New(ctlog.Config{
		Log: s.ctTree, Key: s.keys[ctLogKey], Chains: [][][]byte{chain}, URL: a.state.URL + ctLogPath, Since: a.state.ValidFrom,
	}); err != nil {
		return err
	}
	s.ca, err = ca.New(ca.Config{
		Key: s.keys[caKey], Chain: chain, CTLog: s.ctLog, URL: a.state.URL, Issuers: s.issuers(a.settings.Issuers),
		Keys: remote.NewIssuerKeys(remote.IssuerKeysConfig{}), Now: a.cfg.Now, Logger: a.cfg.Logger,
	})
	return err
}

// ctLogPath is where the CT log's prefix is on the one port.
const ctLogPath = "/ctlog"

// issuers are the outside issuers and the built-in provider, which is asked for
// its keys in this process.
func (s *services) issuers(outside []ca.Issuer) []ca.Issuer {
	own := ca.Issuer{URL: issuerURL(s.app.state.URL), Type: ca.Email, Keys: ca.StaticKeys(s.provider.Keys)}
	return append([]ca.Issuer{own}, outside...)
}

// setIssuers replaces the outside issuers whose tokens the CA takes.
func (s *services) setIssuers(outside []ca.Issuer) error {
	return s.ca.SetIssuers(s.issuers(outside))
}

func (s *services) openTSA(context.Context) error {
	chain, err := openChain(s.app.cfg.Data, "tsa", s.app.state.Complete, func() ([][]byte, error) {
		return tsa.NewChain(tsa.ChainConfig{Root: s.keys[tsaRootKey], Leaf: s.keys[tsaKey], Now: s.app.cfg.Now})
	})
	if err != nil {
		return err
	}
	s.tsa, err = tsa.New(tsa.Config{Key: s.keys[tsaKey], Chain: chain, URL: s.timestampURL(), Past: s.past(), Now: s.app.cfg.Now})
	return err
}

// past is the newest time that the logs have on record.
func (s *services) past() time.Time {
	ct, rekor := s.ctTree.Head().Time, s.rekorTree.Head().Time
	if ct.After(rekor) {
		return ct
	}
	return rekor
}

func (s *services) openRekor(ctx context.Context) error {
	signer, err := note.NewSigner(s.app.state.LogHostname, s.keys[rekorKey])
	if err != nil {
		return err
	}
	if s.rekorTree, err = s.openLog(ctx, rekorPart, tlog.Config{Origin: signer.Name(), Signers: []*note.Signer{signer}}); err != nil {
		return err
	}
	s.rekor, err = rekor.New(rekor.Config{Log: s.rekorTree, Signer: signer, Since: s.app.state.ValidFrom})
	return err
}

// openLog opens a log in its part of the stores.
func (s *services) openLog(ctx context.Context, part string, cfg tlog.Config) (*tlog.Log, error) {
	a := s.app
	cfg.KV, cfg.Blob = store.WithPrefix(s.kv, part), store.Sub(s.blob, part)
	cfg.Now, cfg.Logger, cfg.Metrics = a.cfg.Now, a.cfg.Logger, a.registry
	l, err := tlog.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	a.later(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), logCloseTimeout)
		defer cancel()
		return l.Close(ctx)
	})
	return l, nil
}

// logCloseTimeout is how long a log may take to publish what is left.
const logCloseTimeout = 5 * time.Second

// openTUF publishes what clients are to trust, and writes the root to hand out.
func (s *services) openTUF(context.Context) error {
	targets, err := s.targets()
	if err != nil {
		return err
	}
	a := s.app
	if s.tuf, err = tuf.Open(tuf.Config{
		Dir: filepath.Join(a.cfg.Data, tufDir), RootKey: s.keys[tufRootKey], OnlineKey: s.keys[tufKey],
		Targets: targets, Now: a.cfg.Now, Logger: a.cfg.Logger,
	}); err != nil {
		return err
	}
	if err := atomicfile.Replace(a.RootFile(), s.tuf.Root(), 0o644); err != nil {
		return diskError(a.cfg.Data, err)
	}
	return nil
}

// recordRoot makes the TUF root the first entry of an empty transparency log,
// signed by the root's own key: what clients are told to trust is on record before
// anything else. It also spares clients the proof of a tree of one leaf, which is
// empty: cosign then leaves the fields out, and sigstore-python wants them.
func (s *services) recordRoot(ctx context.Context) error {
	key := s.keys[tufRootKey]
	if s.rekorTree.Head().Size > 0 || key == nil {
		return nil
	}
	details, err := sigbox.DetailsOf(key.Public())
	if err != nil {
		return err
	}
	digest := details.Hash().Sum(s.tuf.Root())
	signature, err := key.Sign(rand.Reader, digest.Value, details.SignerOpts())
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "signing the TUF root's log entry: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	_, err = s.rekor.Add(ctx, sigbox.Entry{Digest: digest, Signature: signature, PublicKey: public, Details: details})
	return err
}

// register adds the routes of all services to mux.
func (s *services) register(mux *http.ServeMux) {
	log := s.app.cfg.Logger
	(&httpapi.Fulcio{Service: s.ca, Logger: log}).Register(mux)
	(&httpapi.CT{Service: s.ctLog, Logger: log, Prefix: ctLogPath}).Register(mux)
	(&httpapi.Timestamp{Service: s.tsa, Logger: log}).Register(mux)
	(&httpapi.Rekor{Service: s.rekor, Logger: log}).Register(mux)
	(&httpapi.TUF{Repository: s.tuf, Logger: log}).Register(mux)
	mux.Handle("/oidc/", s.provider.Handler())
	mux.HandleFunc("GET /{$}", s.front)
}

func (s *services) front(w http.ResponseWriter, _ *http.Request) {
	sum := sha256.Sum256(s.tuf.Root())
	s.pages.Front(w, web.FrontView{URL: s.app.state.URL, RootSHA256: hex.EncodeToString(sum[:])})
}

// checks are the services' own words on whether they can serve.
func (s *services) checks() []httpapi.Check {
	return []httpapi.Check{
		{Name: "store", Err: s.kv.Err},
		{Name: "certificate authority", Err: s.ca.Err},
		{Name: "CT log", Err: s.ctLog.Err},
		{Name: "transparency log", Err: s.rekorTree.Err},
		{Name: "timestamp authority", Err: s.tsa.Err},
		{Name: "TUF repository", Err: s.tuf.Err},
	}
}

// logs says how far each log has come.
func (s *services) logs() []LogStatus {
	return []LogStatus{
		{Origin: s.app.state.LogHostname, Size: s.rekorTree.Head().Size},
		{Origin: s.app.state.LogHostname + ctLogPath, Size: s.ctTree.Head().Size},
	}
}

// run does what the services do by themselves, until ctx ends.
func (s *services) run(ctx context.Context) error { return s.tuf.Run(ctx) }
