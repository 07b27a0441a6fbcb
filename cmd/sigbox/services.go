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

// services are what a signing config chooses for one signature.
type services struct {
	ca       sigbox.CA
	issuer   string // of the OpenID provider; "" when there is none
	logs     []sigbox.Log
	stampers []sigbox.Stamper
}

// selectServices chooses from a signing config what is good now.
func selectServices(c *sigbox.SigningConfig, client *remote.Client, now time.Time) (services, error) {
	one := sigbox.Selector{Mode: "ANY"}
	var s services
	cas, err := trust.Select(c.CAs, one, now, []int{caVersion})
	if err != nil {
		return s, err
	}
	s.ca = client.CA(cas[0].URL)
	if providers, err := trust.Select(c.OIDC, one, now, []int{oidcVersion}); err == nil {
		s.issuer = providers[0].URL
	}
	if len(c.Logs) > 0 {
		logs, err := trust.Select(c.Logs, c.LogSelector, now, []int{logV1, logV2})
		if err != nil {
			return s, err
		}
		for _, l := range logs {
			s.logs = append(s.logs, newLog(client, l))
		}
	}
	if len(c.TSAs) > 0 {
		tsas, err := trust.Select(c.TSAs, c.TSASelector, now, []int{tsaVersion})
		if err != nil {
			return s, err
		}
		for _, t := range tsas {
			s.stampers = append(s.stampers, client.Stamper(t.URL))
		}
	}
	return s, nil
}

func newLog(client *remote.Client, s sigbox.Service) sigbox.Log {
	if s.MajorAPIVersion == logV1 {
		return client.LogV1(s.URL)
	}
	return client.Log(s.URL)
}
