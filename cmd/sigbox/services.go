package main

import (
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// The API versions that sigbox speaks, as signing configs number them: that of
// the CA is 1 although its routes say v2.
const (
	caVersion, oidcVersion, tsaVersion = 1, 1, 1
	logV1, logV2                       = 1, 2
)

// authority is where certificates come from.
type authority struct {
	ca     sigbox.CA
	issuer string // of the OpenID provider; "" when there is none
}

// selectAuthority chooses from a signing config what is good now.
func selectAuthority(c *sigbox.SigningConfig, client *remote.Client, now time.Time) (authority, error) {
	one := sigbox.Selector{Mode: "ANY"}
	cas, err := trust.Select(c.CAs, one, now, []int{caVersion})
	if err != nil {
		return authority{}, err
	}
	a := authority{ca: client.CA(cas[0].URL)}
	if providers, err := trust.Select(c.OIDC, one, now, []int{oidcVersion}); err == nil {
		a.issuer = providers[0].URL
	}
	return a, nil
}

// witnesses record and timestamp signatures.
type witnesses struct {
	logs     []sigbox.Log
	stampers []sigbox.Stamper
}

// selectWitnesses chooses from a signing config what is good now.
func selectWitnesses(c *sigbox.SigningConfig, client *remote.Client, now time.Time) (witnesses, error) {
	var w witnesses
	if len(c.Logs) > 0 {
		logs, err := trust.Select(c.Logs, c.LogSelector, now, []int{logV1, logV2})
		if err != nil {
			return w, err
		}
		for _, l := range logs {
			w.logs = append(w.logs, newLog(client, l))
		}
	}
	if len(c.TSAs) > 0 {
		tsas, err := trust.Select(c.TSAs, c.TSASelector, now, []int{tsaVersion})
		if err != nil {
			return w, err
		}
		for _, t := range tsas {
			w.stampers = append(w.stampers, client.Stamper(t.URL))
		}
	}
	return w, nil
}

func newLog(client *remote.Client, s sigbox.Service) sigbox.Log {
	if s.MajorAPIVersion == logV1 {
		return client.LogV1(s.URL)
	}
	return client.Log(s.URL)
}
