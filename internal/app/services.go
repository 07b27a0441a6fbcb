package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/internal/web"
)

// The parts of the one kv store. None begins another.
const (
	usersPrefix = "oidc/"
)

// services are the parts of an instance; they know of each other by the
// interfaces of the root package alone.
type services struct {
	app  *App
	keys keyring

	pages    *web.Pages
	users    *oidc.Users
	provider *oidc.Provider
	tsa      *tsa.Service
}

// issuerURL is the name of the built-in provider of an instance.
func issuerURL(instanceURL string) string { return instanceURL + "/oidc" }

// openServices makes the services, from what they stand on upwards.
func (a *App) openServices(ctx context.Context) error {
	pass, err := keys.PassphraseFrom(a.settings.Passphrase)
	if err != nil {
		return err
	}
	s := &services{app: a}
	a.services = s
	var kv store.KV
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s.keys, err = openKeys(gctx, a.cfg.Data, pass)
		return err
	})
	g.Go(func() (err error) {
		kv, err = openKV(a.cfg.Data, a.cfg.Logger)
		return err
	})
	err = g.Wait()
	if kv != nil {
		a.later(kv.Close)
	}
	if err != nil {
		return err
	}
	for _, step := range []func(context.Context, store.KV) error{s.openProvider, s.openTSA} {
		if err := step(ctx, kv); err != nil {
			return err
		}
	}
	return nil
}

// openKV opens the instance's kv store.
func openKV(dir string, log *slog.Logger) (store.KV, error) { return memory.NewKV(), nil }

func openUsers(kv store.KV, now func() time.Time) *oidc.Users {
	return oidc.NewUsers(oidc.UsersConfig{KV: store.WithPrefix(kv, usersPrefix), Now: now})
}

func (s *services) openProvider(_ context.Context, kv store.KV) error {
	u, err := url.Parse(s.app.state.URL)
	if err != nil {
		return err
	}
	if s.pages, err = web.New(u.Host); err != nil {
		return err
	}
	s.users = openUsers(kv, s.app.cfg.Now)
	s.provider, err = oidc.New(oidc.Config{
		Issuer: issuerURL(s.app.state.URL), AllowHTTP: true, Key: s.keys[oidcKey],
		Users: s.users, Pages: s.pages, Now: s.app.cfg.Now, Logger: s.app.cfg.Logger,
	})
	return err
}

func (s *services) openTSA(context.Context, store.KV) error {
	chain, err := openChain(s.app.cfg.Data, "tsa", func() ([][]byte, error) {
		return tsa.NewChain(tsa.ChainConfig{Root: s.keys[tsaRootKey], Leaf: s.keys[tsaKey], Now: s.app.cfg.Now})
	})
	if err != nil {
		return err
	}
	s.tsa, err = tsa.New(tsa.Config{Key: s.keys[tsaKey], Chain: chain, URL: s.app.state.URL + "/api/v1/timestamp", Now: s.app.cfg.Now})
	return err
}

// register adds the routes of all services to mux.
func (s *services) register(mux *http.ServeMux) {
	log := s.app.cfg.Logger
	(&httpapi.Timestamp{Service: s.tsa, Logger: log}).Register(mux)
	mux.Handle("/oidc/", s.provider.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		s.pages.Front(w, web.FrontView{URL: s.app.state.URL})
	})
}

// checks are the services' own words on whether they can serve.
func (s *services) checks() []httpapi.Check {
	return []httpapi.Check{
		{Name: "timestamp authority", Err: s.tsa.Err},
	}
}

// logs says how far each log has come.
func (s *services) logs() []LogStatus { return nil }

// run does what the services do by themselves, until ctx ends.
func (s *services) run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// setIssuers replaces the outside issuers whose tokens the CA takes.
func (s *services) setIssuers(issuers []Issuer) error { return nil }

var _ = strings.TrimSpace
