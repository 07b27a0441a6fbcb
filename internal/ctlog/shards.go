package ctlog

import (
	"context"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
)

// Shards are the log at the one place where it takes certificates: that of the shard
// which does so at present. Shards are logs of their own, with other names and keys, that
// follow each other.
type Shards struct{ relay *tlog.Relay[*Service] }

var _ sigbox.CTLog = (*Shards)(nil)

// NewShards begins with the shard that takes certificates.
func NewShards(active *Service) *Shards { return &Shards{tlog.NewRelay(active)} }

// Active gives the shard that takes certificates.
func (s *Shards) Active() *Service { return s.relay.Now() }

// Hand seals the active shard and has next take its place. Of the entries that are on
// their way each is logged in the one or in the other.
func (s *Shards) Hand(ctx context.Context, next *Service) error {
	return s.relay.Hand(next, func() error {
		_, err := s.Active().log.Seal(ctx)
		return err
	})
}

// AddPreChain logs a precertificate in the active shard; see [Service.AddPreChain].
func (s *Shards) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	sct, err := s.Add(ctx, chain, true)
	if err != nil {
		return nil, err
	}
	return sct.Marshal()
}

// Add logs a chain in the active shard; see [Service.Add].
func (s *Shards) Add(ctx context.Context, chain [][]byte, precert bool) (cert.SCT, error) {
	for leg := s.relay.Leg(); ; {
		sct, err := leg.Log.Add(ctx, chain, precert)
		next := leg.Next(ctx, err)
		if next == nil {
			return sct, err
		}
		leg = next
	}
}
