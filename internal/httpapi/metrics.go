package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts requests. Its labels are bounded: the route is the pattern that
// matched, never the path, and unknown methods are one.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	refused  prometheus.Counter
	limited  *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sigbox_http_requests_total",
			Help: "Requests answered, by route, method and class of status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "sigbox_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of the handler, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sigbox_http_requests_in_flight",
			Help: "Requests being answered now.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sigbox_http_requests_refused_total",
			Help: "Requests refused because too many were in flight.",
		}),
	}
	m.limited = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sigbox_limited_total",
		Help: "Requests and connections refused because of a limit, by whose it is: address, identity or connections.",
	}, []string{"limit"})
	for _, by := range []string{"address", "identity", "connections"} {
		m.limited.WithLabelValues(by)
	}
	reg.MustRegister(m.requests, m.seconds, m.inFlight, m.refused, m.limited)
	return m
}

// Limited counts a refusal because of a limit: address, identity or connections.
func (m *Metrics) Limited(by string) { m.limited.WithLabelValues(by).Inc() }

// observe counts one answered request. pattern is the mux's, "" where none
// matched.
func (m *Metrics) observe(pattern, method string, status int, took time.Duration) {
	route := routeLabel(pattern)
	m.requests.WithLabelValues(route, methodLabel(method), statusLabel(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// routeLabel is a mux pattern without its method.
func routeLabel(pattern string) string {
	if pattern == "" {
		return "none"
	}
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	return pattern
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func statusLabel(status int) string {
	switch status / 100 {
	case 1, 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	}
	return "5xx"
}
