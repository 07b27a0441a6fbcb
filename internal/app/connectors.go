package app

import (
	"context"
	"net/url"

	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/remote"
)

// broker lets people sign in at the connectors of the settings.
func (a *App) broker(cfg *oidc.Config) {
	issuers := remote.NewIssuerKeys(remote.IssuerKeysConfig{})
	cfg.Logins, cfg.Secrets, cfg.Outside = privateLogins(a.settings.Login), clientSecret, lines(issuers)
	cfg.IDTokens = func(c oidc.Connector) (oidc.IDTokens, error) {
		return ca.NewTokens(ca.TokensConfig{
			Issuers: []ca.Issuer{{URL: c.URL, Type: ca.Email, Audience: c.ClientID, AllowPrivate: c.AllowPrivate, CAFile: c.CAFile}},
			Keys:    issuers, Now: a.cfg.Now, Logger: a.cfg.Logger,
		})
	}
}

// lines gives the line to each connector's provider.
func lines(issuers *remote.IssuerKeys) func(oidc.Connector) oidc.Outside {
	return func(c oidc.Connector) oidc.Outside {
		return issuers.Issuer(ca.KeyRequest{Issuer: c.URL, AllowPrivate: c.AllowPrivate, CAFile: c.CAFile})
	}
}

// CheckConnectors asks the providers at which people may sign in how they are.
func (s Settings) CheckConnectors(ctx context.Context) []oidc.ConnectorCheck {
	issuers := remote.NewIssuerKeys(remote.IssuerKeysConfig{})
	return oidc.CheckConnectors(ctx, privateLogins(s.Login), lines(issuers), clientSecret)
}

// checkLogins refuses what cannot be meant.
func checkLogins(l oidc.Logins) error { return privateLogins(l).Check() }

// privateLogins allows private addresses to connectors whose URL is written with one, as
// for issuers.
func privateLogins(l oidc.Logins) oidc.Logins {
	connectors := make([]oidc.Connector, len(l.Connectors))
	for i, c := range l.Connectors {
		if u, err := url.Parse(c.URL); err == nil && ca.PrivateHost(u.Hostname()) {
			c.AllowPrivate = true
		}
		connectors[i] = c
	}
	l.Connectors = connectors
	return l
}

// clientSecret reads the secret of a connector's client.
func clientSecret(source string) (string, error) {
	read, err := keys.SecretFrom("client-secret", source)
	if err != nil {
		return "", err
	}
	secret, err := read()
	return string(secret), err
}
