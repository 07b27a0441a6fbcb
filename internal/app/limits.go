package app

import (
	"time"

	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/limit"
)

// limits are what bounds connections and requests, as settings say. It is never changed:
// other settings make another one.
type limits struct {
	settings                     Limits
	proxies                      *httpapi.Proxies
	clients, entries, identities *limit.Limiter
}

// newLimits makes the limits of settings. A rate that is what it was in old goes on with
// what was counted, so that a reload gives nobody a new allowance.
func newLimits(s Settings, old *limits, now func() time.Time) (*limits, error) {
	proxies, err := httpapi.NewProxies(s.Proxies.Trusted, s.Proxies.Header)
	if err != nil {
		return nil, err
	}
	limiter := func(rate, was limit.Rate, counted *limit.Limiter) *limit.Limiter {
		if rate == was {
			return counted
		}
		return limit.New(rate, now)
	}
	l, was := s.Limits, old.settings
	return &limits{
		settings:   l,
		proxies:    proxies,
		clients:    limiter(l.PerAddress, was.PerAddress, old.clients),
		entries:    limiter(l.EntriesPerAddress, was.EntriesPerAddress, old.entries),
		identities: limiter(l.CertificatesPerIdentity, was.CertificatesPerIdentity, old.identities),
	}, nil
}

// guard stands before all routes.
func (l *limits) guard(a *App) httpapi.Guard {
	return httpapi.Guard{
		Logger:       a.cfg.Logger,
		Metrics:      a.metrics,
		MaxInFlight:  l.settings.Requests,
		MaxBodyBytes: l.settings.BodyBytes,
		Proxies:      l.proxies,
		PerClient:    l.clients,
		Entries:      l.entries,
	}
}

// use has limits hold from now on, for connections and requests to come.
func (a *App) use(l *limits) {
	a.limits.Store(l)
	a.slots.change(l.settings.ConnectionsPerAddress, l.proxies.Trusts)
	a.guarded.Change(l.guard(a))
}
