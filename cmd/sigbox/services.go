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

// selectWitnesses chooses from a signing config what is good now; promised is for logs
// that promise at once to log, as those of Rekor v1 do.
func selectWitnesses(c *sigbox.SigningConfig, client *remote.Client, now time.Time, promised bool) (witnesses, error) {
	w, err := selectLogs(c, client, now, promised)
	if err != nil {
		return w, err
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

// selectLogs chooses the logs. Where those that promise are wanted and none is listed as
// such, one that is listed as Rekor v2 is asked in the way of v1: it may speak both, as
// sigbox does.
func selectLogs(c *sigbox.SigningConfig, client *remote.Client, now time.Time, promised bool) (w witnesses, err error) {
	if len(c.Logs) == 0 {
		return w, nil
	}
	if !promised {
		logs, err := trust.Select(c.Logs, c.LogSelector, now, []int{logV1, logV2})
		for _, l := range logs {
			w.logs = append(w.logs, newLog(client, l))
		}
		return w, err
	}
	one := sigbox.Selector{Mode: "ANY"} // of which cosign's form of before can hold no more
	logs, err := trust.Select(c.Logs, one, now, []int{logV1})
	if err != nil {
		logs, err = trust.Select(c.Logs, one, now, []int{logV2})
	}
	for _, l := range logs {
		w.logs = append(w.logs, client.LogV1(l.URL))
	}
	return w, err
}

func newLog(client *remote.Client, s sigbox.Service) sigbox.Log {
	if s.MajorAPIVersion == logV1 {
		return client.LogV1(s.URL)
	}
	return client.Log(s.URL)
}
