package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/httpapi"
)

// TimeSettings say how the machine's clock is watched; see [clock.Config].
type TimeSettings struct {
	// Servers are NTP servers, HOST or HOST:PORT, three or more; none leaves out all but
	// steps.
	Servers []string `yaml:"ntp-servers"`
	// Samples is how often each is asked in a round, 3 if 0.
	Samples int `yaml:"samples"`
	// Accuracy is how far the clock may be off, 1 s if 0, which is also the most: it is
	// what timestamps state.
	Accuracy time.Duration `yaml:"accuracy"`
	// Interval is the time between two rounds, 5 min if 0.
	Interval time.Duration `yaml:"interval"`
	// Required refuses to certify and to timestamp when the servers have not agreed for
	// MaxAge, 30 min if 0.
	Required bool          `yaml:"required"`
	MaxAge   time.Duration `yaml:"max-age"`
}

// config is that of the clock.
func (s TimeSettings) config() clock.Config {
	return clock.Config{
		Servers: s.Servers, Samples: s.Samples, Accuracy: s.Accuracy, Interval: s.Interval, Required: s.Required, MaxAge: s.MaxAge,
	}
}

// firstRound bounds the wait for NTP servers at a start.
const firstRound = 3 * time.Second

// openClock begins to watch the clock. Servers that do not answer do not keep the
// instance from starting: who vouches for times refuses, if it has to.
func (s *services) openClock(ctx context.Context) (err error) {
	a := s.app
	cfg := a.settings.Time.config()
	cfg.Now, cfg.Logger = a.cfg.Now, a.cfg.Logger
	if s.clock, err = clock.New(cfg); err != nil {
		return err
	}
	if !a.settings.has(RoleCA) && !a.settings.has(RoleTSA) && len(cfg.Servers) == 0 {
		return nil // nobody here vouches for times
	}
	if len(cfg.Servers) == 0 {
		a.cfg.Logger.Warn("no NTP servers are set: if this machine's clock is wrong, certificates and timestamps are wrong, and nobody here notices",
			"hint", "name three or more as time: ntp-servers in the settings")
		return nil
	}
	a.registry.MustRegister(s.clockMetrics()...)
	ctx, cancel := context.WithTimeout(ctx, firstRound)
	defer cancel()
	_ = s.clock.First(ctx) // the log tells, and so do the services
	return nil
}

// clockMetrics say how the clock is.
func (s *services) clockMetrics() []prometheus.Collector {
	gauge := func(name, help string, value func(clock.State) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(s.clock.State()) })
	}
	measured := func(value func(*clock.Measurement) float64) func(clock.State) float64 {
		return func(s clock.State) float64 {
			if s.Measured == nil {
				return 0
			}
			return value(s.Measured)
		}
	}
	return []prometheus.Collector{
		gauge("sigbox_clock_offset_seconds", "How far the true time is ahead of the machine's clock, as NTP servers have it.",
			measured(func(m *clock.Measurement) float64 { return m.Offset.Seconds() })),
		gauge("sigbox_clock_uncertainty_seconds", "How far the offset may be off.",
			measured(func(m *clock.Measurement) float64 { return m.Uncertainty.Seconds() })),
		gauge("sigbox_clock_last_success_timestamp_seconds", "When more than half of the NTP servers last agreed; 0 for never.",
			measured(func(m *clock.Measurement) float64 { return float64(m.At.Unix()) })),
		gauge("sigbox_clock_trusted", "Whether certificates and timestamps are issued with the clock's time.", func(s clock.State) float64 {
			if s.Err != nil {
				return 0
			}
			return 1
		}),
	}
}

// ClockStatus is how the machine's clock is. Offsets are in seconds: how far the true time
// is ahead.
type ClockStatus struct {
	// Error is why nothing is certified and timestamped; "" if it is.
	Error string `json:"error,omitempty"`
	// Measured is when the NTP servers last agreed.
	Measured    *time.Time     `json:"measured,omitempty"`
	Offset      float64        `json:"offset"`
	Uncertainty float64        `json:"uncertainty"`
	Servers     []ServerStatus `json:"servers,omitempty"`
	// Stepped is when the clock was last set, or the machine slept, and Step by how many
	// seconds.
	Stepped *time.Time `json:"stepped,omitempty"`
	Step    float64    `json:"step,omitzero"`
}

// ServerStatus is how an NTP server was when it was last asked.
type ServerStatus struct {
	Name        string  `json:"name"`
	Offset      float64 `json:"offset"`
	Uncertainty float64 `json:"uncertainty"`
	Error       string  `json:"error,omitempty"`
}

// clockStatus says how the clock is.
func (s *services) clockStatus() *ClockStatus {
	state := s.clock.State()
	out := &ClockStatus{}
	if state.Err != nil {
		out.Error = httpapi.PublicText(state.Err)
	}
	if m := state.Measured; m != nil {
		out.Measured, out.Offset, out.Uncertainty = &m.At, m.Offset.Seconds(), m.Uncertainty.Seconds()
	}
	if step := state.Step; step != nil {
		out.Stepped, out.Step = &step.At, step.By.Seconds()
	}
	for _, one := range state.Servers {
		server := ServerStatus{Name: one.Name, Offset: one.Offset.Seconds(), Uncertainty: one.Uncertainty.Seconds()}
		if one.Err != nil {
			server.Error = one.Err.Error()
		}
		out.Servers = append(out.Servers, server)
	}
	return out
}
