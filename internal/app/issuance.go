package app

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/limit"
)

// limitIdentities bounds what one identity is certified, as the settings say.
func (a *App) limitIdentities() func(sigbox.Identity) error {
	return func(id sigbox.Identity) error {
		err := a.limits.Load().identities.Allow(id.Issuer + "\x00" + id.Subject)
		if err == nil {
			return nil
		}
		a.metrics.Limited("identity")
		return sigbox.Errorf(sigbox.Unavailable, "too many certificates for %.200s: %w", id.Subject, err).WithHint("come again when Retry-After says")
	}
}

// recordIssuance counts what came of requests for certificates.
func (a *App) recordIssuance() func(context.Context, ca.Record) error {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sigbox_certificate_requests_total",
		Help: "Requests for certificates, by the type of the token's issuer (none for a token that was not accepted) and by what came of it: issued, or a class of refusals.",
	}, []string{"issuer_type", "outcome"})
	a.registry.MustRegister(requests)
	return func(ctx context.Context, r ca.Record) error {
		requests.WithLabelValues(issuerType(r), outcome(r.Err)).Inc()
		return a.audit.issuance(ctx, r)
	}
}

func issuerType(r ca.Record) string {
	if r.Type == "" {
		return "none"
	}
	return r.Type
}

// issued is the outcome of a request that was not refused.
const issued = "issued"

// outcome is the class of refusals that an error belongs to: few, whoever asks.
func outcome(err error) string {
	if err == nil {
		return issued
	}
	if _, limited := errors.AsType[*limit.Exceeded](err); limited {
		return "limited"
	}
	switch sigbox.KindOf(err) {
	case sigbox.Unauthenticated:
		return "token"
	case sigbox.Unavailable:
		return "unavailable"
	case sigbox.Internal, sigbox.Fatal:
		return "internal"
	}
	return "request"
}

// buildInfo is a metric with the version of the program.
func buildInfo() prometheus.Collector {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sigbox_build_info", Help: "1, with the version of sigbox and of Go.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
}
