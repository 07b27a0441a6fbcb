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

// searched is what is searched: the v2 logs first, the newest of them first.
func (s *services) searched() (logs []httpapi.SearchedLog) {
	for _, d := range s.activeFirst(rekorKey) {
		logs = append(logs, d.searched(0, d.rekor.ByIndex))
	}
	for _, d := range s.activeFirst(rekorV1Key) {
		v1 := d.searched(128, func(ctx context.Context, index uint64) (sigbox.LogEntry, error) {
			e, err := d.rekorV1.ByIndex(ctx, index)
			return e.LogEntry, err
		})
		v1.Tree = d.rekorV1.Info().Tree
		logs = append(logs, v1)
	}
	return logs
}

// searched is the shard as it is searched; numbers of other logs than those of its role
// begin elsewhere than at first.
func (d *shard) searched(first int, prove func(context.Context, uint64) (sigbox.LogEntry, error)) httpapi.SearchedLog {
	return httpapi.SearchedLog{
		Name: versionOf(d.role), Shard: d.name(), Number: byte(first + d.number%128), // #nosec G115 -- below 256
		Trust: d.trust(), Index: d.index, Prove: prove,
	}
}

// run does what the services do by themselves, until ctx ends.
func (s *services) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if s.tuf != nil {
		g.Go(func() error { return s.tuf.Run(ctx) })
	}
	g.Go(func() error { return s.outerCT.run(ctx) })
	g.Go(func() error { return s.askHosts(ctx) })
	g.Go(func() error { return s.rotations.run(ctx) })
	g.Go(func() error { return s.clock.Run(ctx) })
	for _, d := range s.shards.of("") {
		if d.index != nil {
			g.Go(func() error { return d.index.Run(ctx) })
		}
	}
	return g.Wait()
}

// checkIndex has the rows of a log's search index checked with the log.
func checkIndex(ctx context.Context, cfg *tlog.Config, role string) (err error) {
	if role == ctLogKey {
		return nil
	}
	cfg.Given = search.Given
	cfg.RowsOf, err = search.RowsFrom(ctx, cfg.KV)
	return err
}
