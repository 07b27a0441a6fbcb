package rekor

import (
	"context"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tlog"
)

// Shards are the log at the one place where clients write it: that of the shard which
// takes entries at present. Shards are logs of their own, with other names and keys, that
// follow each other.
type Shards struct{ relay *tlog.Relay[*Service] }

var _ sigbox.Log = (*Shards)(nil)

// NewShards begins with the shard that takes entries.
func NewShards(active *Service) *Shards { return &Shards{tlog.NewRelay(active)} }

// Active gives the shard that takes entries.
func (s *Shards) Active() *Service { return s.relay.Now() }

// Hand seals the active shard and has next take its place. Of the entries that are on
// their way each is logged in the one or in the other.
func (s *Shards) Hand(ctx context.Context, next *Service) error {
	return s.relay.Hand(next, func() error {
		_, err := s.Active().cfg.Log.Seal(ctx)
		return err
	})
}

// Add logs e in the active shard; see [Service.Add].
func (s *Shards) Add(ctx context.Context, e sigbox.Entry) (sigbox.LogEntry, error) {
	for leg := s.relay.Leg(); ; {
		le, err := leg.Log.Add(ctx, e)
		next := leg.Next(ctx, err)
		if next == nil {
			return le, err
		}
		leg = next
	}
}

// Checkpoint gives the signed note of the active shard's latest tree.
func (s *Shards) Checkpoint() string { return s.Active().Checkpoint() }

// Tile gives a tile of hashes of the active shard; see [Service.Tile].
func (s *Shards) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	return s.Active().Tile(ctx, level, index, width)
}

// Entries gives an entry bundle of the active shard; see [Service.Entries].
func (s *Shards) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	return s.Active().Entries(ctx, index, width)
}
