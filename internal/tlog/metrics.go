package tlog

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
)

// metrics are those of one log.
type metrics struct {
	entries    prometheus.Counter
	size       prometheus.Gauge
	moved      prometheus.Gauge
	batchSize  prometheus.Histogram
	commitTime prometheus.Histogram
	moveErrors prometheus.Counter
	commitErrs prometheus.Counter
	damage     prometheus.Counter
	anchorErrs prometheus.Counter
	anchored   prometheus.Gauge
}

func newMetrics() *metrics {
	return &metrics{
		entries:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_log_entries_total", Help: "Entries that this process has logged."}),
		size:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_log_size", Help: "Entries in the log."}),
		moved:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_log_moved_bundles", Help: "Full entry bundles in the blob store."}),
		moveErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_log_move_errors_total", Help: "Failed moves of tiles to the blob store, and failed publications."}),
		commitErrs: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_log_commit_errors_total", Help: "Batches that could not be written."}),
		damage:     prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_log_damage_total", Help: "Reads that met damage in the log's files or rows."}),
		anchorErrs: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_log_anchor_errors_total", Help: "Heads that could not be brought to the anchor."}),
		anchored:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_log_anchored_size", Help: "Size of the head that the anchor has; 0 without an anchor."}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sigbox_log_batch_entries", Help: "Entries in a commit.", Buckets: prometheus.ExponentialBuckets(1, 4, 7),
		}),
		commitTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sigbox_log_commit_seconds", Help: "Time of a durable commit.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
		}),
	}
}

// collectors gives everything that is registered.
func (l *Log) collectors() []prometheus.Collector {
	m := l.metrics
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sigbox_log_pending_entries", Help: "Entries that wait for a commit."},
		func() float64 { return float64(l.queue.pending()) })
	behind := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sigbox_log_clock_behind_seconds", Help: "How far the clock stands behind the log's last time; above 1 the log takes no entries."},
		func() float64 { return max(0, l.Head().Time.Sub(l.cfg.Now()).Seconds()) })
	return []prometheus.Collector{behind, m.anchorErrs, m.anchored, m.entries, m.size, m.moved, m.moveErrors, m.commitErrs, m.damage, m.batchSize, m.commitTime, pending}
}

func (l *Log) registerer() prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"log": l.cfg.Origin}, l.cfg.Metrics)
}

func (l *Log) register() error {
	l.metrics.size.Set(float64(l.Head().Size))
	l.metrics.moved.Set(float64(l.moved.Load()))
	if l.cfg.Metrics == nil {
		return nil
	}
	for _, c := range l.collectors() {
		if err := l.registerer().Register(c); err != nil {
			return sigbox.Errorf(sigbox.Internal, "metrics of the log %s: %w", l.cfg.Origin, err)
		}
	}
	return nil
}

func (l *Log) unregister() {
	if l.cfg.Metrics == nil {
		return
	}
	for _, c := range l.collectors() {
		l.registerer().Unregister(c)
	}
}
