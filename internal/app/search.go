package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/internal/tlog"
)

// openIndex opens the search index of a log, before the log's service.
func (s *services) openIndex(ctx context.Context, log *tlog.Log, kinds ...string) (*search.Index, error) {
	x, err := search.Open(ctx, search.Config{Log: log, Kinds: kinds, Logger: s.app.cfg.Logger})
	if err != nil {
		return nil, err
	}
	return x, s.app.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sigbox_search_unindexed_entries", Help: "The oldest entries of the log, which have no rows in the search index yet.",
		ConstLabels: prometheus.Labels{"log": log.Origin()},
	}, func() float64 { return float64(x.CompleteFrom()) }))
}

// searched is what searches the logs, v2 first.
func (s *services) searched() *httpapi.Search {
	h := &httpapi.Search{Logger: s.app.cfg.Logger}
	if s.rekor != nil {
		h.Logs = append(h.Logs, httpapi.SearchedLog{Name: "v2", Trust: s.rekor.TransparencyLog(), Index: s.rekorIndex, Prove: s.rekor.ByIndex})
	}
	if s.rekorV1 != nil {
		h.Logs = append(h.Logs, httpapi.SearchedLog{
			Name: "v1", Trust: s.rekorV1.TransparencyLog(), Tree: s.rekorV1.Info().Tree, Index: s.rekorV1Index,
			Prove: func(ctx context.Context, index uint64) (sigbox.LogEntry, error) {
				e, err := s.rekorV1.ByIndex(ctx, int64(index)) // #nosec G115 -- one that was found
				return e.LogEntry, err
			},
		})
	}
	return h
}

// run does what the services do by themselves, until ctx ends.
func (s *services) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.tuf != nil {
		g.Go(func() error { return s.tuf.Run(ctx) })
	}
	g.Go(func() error { return s.outerCT.run(ctx) })
	g.Go(func() error { return s.rotations.run(ctx) })
	g.Go(func() error { return s.clock.Run(ctx) })
	for _, x := range []*search.Index{s.rekorIndex, s.rekorV1Index} {
		if x != nil {
			g.Go(func() error { return x.Run(ctx) })
		}
	}
	return g.Wait()
}

// checkIndex has the rows of a log's search index checked with the log.
func checkIndex(ctx context.Context, cfg *tlog.Config, part string) (err error) {
	if part != rekorPart && part != rekorV1Part {
		return nil
	}
	cfg.Given = search.Given
	cfg.RowsOf, err = search.RowsFrom(ctx, cfg.KV)
	return err
}
