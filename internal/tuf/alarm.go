package tuf

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
)

// MaxRootPeriod is how long a root may be good that was signed elsewhere.
const MaxRootPeriod = 2 * 365 * day

// alarms are how long before its end a root that cannot be signed here is told of, the
// first first; after the last one daily.
func alarms() []time.Duration { return []time.Duration{90 * day, 30 * day, 7 * day} }

// alarm is what was told of a root.
type alarm struct {
	expires time.Time
	level   int // how many of the alarms
	at      time.Time
}

// ends is when what is published does, by role.
type ends struct {
	at map[string]time.Time
	// stuck is why the root cannot be signed again here, nil if it can.
	stuck error
}

func (st *state) ends(stuck error) *ends {
	return &ends{map[string]time.Time{
		metadata.ROOT: st.root.Expires, metadata.TARGETS: st.targets.Signed.Expires,
		metadata.SNAPSHOT: st.snapshot.Signed.Expires, metadata.TIMESTAMP: st.timestamp.Signed.Expires,
	}, stuck}
}

// first gives what ends first.
func (e *ends) first() (role string, at time.Time) {
	role = metadata.TIMESTAMP
	for _, other := range metadata.TOP_LEVEL_ROLE_NAMES {
		if e.at[other].Before(e.at[role]) {
			role = other
		}
	}
	return role, e.at[role]
}

// Err says what is wrong when clients refuse the repository because its metadata has
// expired.
func (r *Repository) Err() error {
	role, at := r.ends.Load().first()
	if r.cfg.Now().Before(at) {
		return nil
	}
	return r.told(role, "expired", at)
}

// Notice says what will be wrong if nobody does anything: metadata that was not signed
// again in time, a root that cannot be signed here, or targets that are not published.
func (r *Repository) Notice() error {
	e, now := r.ends.Load(), r.cfg.Now()
	if role, at := e.first(); !now.Before(at.Add(-soon)) {
		return r.told(role, "expires", at)
	}
	if at := e.at[metadata.ROOT]; e.stuck != nil && !now.Before(at.Add(-alarms()[0])) {
		return r.told(metadata.ROOT, "expires", at)
	}
	return r.Withheld()
}

func (r *Repository) told(role, what string, at time.Time) error {
	err := sigbox.Errorf(sigbox.Unavailable, "the TUF repository's %s %s at %s and was not signed again", role, what, at.UTC().Format(time.RFC3339))
	if role != metadata.ROOT || r.ends.Load().stuck == nil {
		return err.WithHint("see the log for why; a full disk or a wrong clock are usual")
	}
	return err.WithHint("its keys are not here: have it signed where they are, from sigbox ceremony request on, or put them back and restart")
}

// Expires is when what is published does, by role. It is not to be changed.
func (r *Repository) Expires() map[string]time.Time { return r.ends.Load().at }

// RootExpires is when the root does, and why it cannot be signed again here, nil if it
// can.
func (r *Repository) RootExpires() (at time.Time, stuck error) {
	e := r.ends.Load()
	return e.at[metadata.ROOT], e.stuck
}

// warn logs that a root which cannot be signed here ends: at each of the alarms once, in
// the last days daily. r.mu is held.
func (r *Repository) warn(now time.Time) {
	expires, stuck := r.RootExpires()
	if stuck == nil {
		r.alarm = alarm{}
		return
	}
	if !expires.Equal(r.alarm.expires) {
		r.alarm = alarm{expires: expires}
	}
	level := 0
	for _, before := range alarms() {
		if !now.Before(expires.Add(-before)) {
			level++
		}
	}
	daily := level == len(alarms()) && now.Sub(r.alarm.at) >= day
	if level <= r.alarm.level && !daily {
		return
	}
	r.alarm.level, r.alarm.at = level, now
	log := r.cfg.Logger.Warn
	if level == len(alarms()) {
		log = r.cfg.Logger.Error
	}
	log("the TUF root ends and cannot be signed again here: clients refuse everything then", "expires", expires.UTC(), "days", int(expires.Sub(now)/day), "err", stuck)
}

// measure adds a gauge for each role.
func (r *Repository) measure() {
	if r.cfg.Metrics == nil {
		return
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sigbox_tuf_expires_seconds", Help: "How long metadata of the TUF repository is still good; below 0 it has expired.",
			ConstLabels: prometheus.Labels{"role": role},
		}, func() float64 {
			e := r.ends.Load()
			if e == nil {
				return 0
			}
			return e.at[role].Sub(r.cfg.Now()).Seconds()
		}))
	}
}
