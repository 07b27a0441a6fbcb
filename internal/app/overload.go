package app

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/gate"
)

// gate makes the bound of what a service that computes does at once, and counts whom it
// refuses under the service's name.
func (a *App) gate(name, what string) (*gate.Gate, error) {
	g := gate.New(gate.Config{What: what, Slots: gateSlots(runtime.NumCPU()), Overloaded: func() {
		a.cfg.Logger.Warn("requests are refused because there is more to do than can be done", "service", name)
	}})
	return g, a.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name:        "sigbox_overload_refused_total",
		Help:        "Requests that were refused because there was more to do than could be done.",
		ConstLabels: prometheus.Labels{"service": name},
	}, func() float64 { return float64(g.Refused()) }))
}

// gateSlots is how many requests are worked on at once. That is more than there are
// processors, so that those which wait for the same fsync fill its batch.
func gateSlots(processors int) int { return max(64, 32*processors) }
