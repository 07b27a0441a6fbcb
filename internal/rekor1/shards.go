package rekor1

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// Shards are the log as its clients know it: trees with keys of their own that follow
// each other under one name. The active one takes entries; entries of all are found, by
// their IDs, and by an index that counts on from one tree to the next, which is what the
// log promises. In a proof the index is that of the tree.
//
// Source: package sharding of sigstore/rekor.
type Shards struct {
	relay *tlog.Relay[*Service]
	list  atomic.Pointer[[]*Service] // in their order, the active one last; never changed
}

// NewShards begins with those that are sealed, in their order, and the one that takes
// entries.
func NewShards(sealed []*Service, active *Service) *Shards {
	s := &Shards{relay: tlog.NewRelay(active)}
	list := append(slices.Clone(sealed), active)
	s.list.Store(&list)
	var before uint64
	for _, shard := range list {
		shard.before.Store(before)
		before += shard.cfg.Log.Head().Size
	}
	return s
}

// Active gives the shard that takes entries.
func (s *Shards) Active() *Service { return s.relay.Now() }

// Hand seals the active shard and has next take its place, which counts on from its last
// entry. Of the entries that are on their way each is logged in the one or in the other.
func (s *Shards) Hand(ctx context.Context, next *Service) error {
	return s.relay.Hand(next, func() error {
		active := s.Active()
		head, err := active.cfg.Log.Seal(ctx)
		if err != nil {
			return err
		}
		next.before.Store(active.before.Load() + head.Size)
		list := append(slices.Clone(*s.list.Load()), next)
		s.list.Store(&list) // before next takes entries: whoever has one finds it
		return nil
	})
}

// Add logs p in the active shard; see [Service.Add].
func (s *Shards) Add(ctx context.Context, p *entry.Proposal) (e Entry, added bool, err error) {
	for leg := s.relay.Leg(); ; {
		e, added, err = leg.Log.Add(ctx, p)
		next := leg.Next(ctx, err)
		if next == nil {
			return e, added, err
		}
		leg = next
	}
}

// ByIndex finds the entry with an index of the log. The error is of kind NotFound beyond
// the end.
func (s *Shards) ByIndex(ctx context.Context, index int64) (Entry, error) {
	if index < 0 {
		return Entry{}, sigbox.Errorf(sigbox.Invalid, "logIndex: expected a number of 0 and more, found %d", index)
	}
	at := uint64(index) // #nosec G115 -- not negative
	for _, shard := range slices.Backward(*s.list.Load()) {
		if before := shard.before.Load(); at >= before {
			return shard.ByIndex(ctx, at-before)
		}
	}
	return Entry{}, sigbox.Errorf(sigbox.Internal, "the v1 log does not begin at 0")
}

// ByID finds the entry that an ID names, in the newest shard that has it if the ID names
// none. The error is of kind NotFound when there is none.
func (s *Shards) ByID(ctx context.Context, id entry.ID) (e Entry, err error) {
	for _, shard := range slices.Backward(*s.list.Load()) {
		e, err = shard.ByID(ctx, id)
		if err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			return e, err
		}
	}
	return e, err
}

// Shard gives the shard of a tree, the active one for 0. The error is of kind Invalid
// when there is none.
func (s *Shards) Shard(tree uint64) (*Service, error) {
	if tree == 0 {
		return s.Active(), nil
	}
	for _, shard := range *s.list.Load() {
		if shard.tree == tree {
			return shard, nil
		}
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "the log has no tree %d: its active one is %d", tree, s.Active().tree)
}

// Before gives the shards that were sealed before one was active, in their order.
func (s *Shards) Before(shard *Service) []*Service {
	list := *s.list.Load()
	if i := slices.Index(list, shard); i >= 0 {
		return list[:i]
	}
	return list // of one that is to follow
}

// Retrieve answers a query with the entries that there are, in the order in which
// they were asked for. A proposed entry that the log does not have is verified, so
// that who asks learns that nobody could have logged it: the error is that of Add.
func (s *Shards) Retrieve(ctx context.Context, q entry.Query) ([]Entry, error) {
	var found []Entry
	keep := func(e Entry, err error) error {
		if err == nil {
			found = append(found, e)
		} else if sigbox.KindOf(err) != sigbox.NotFound {
			return err
		}
		return nil
	}
	for _, id := range q.IDs {
		if err := keep(s.ByID(ctx, id)); err != nil {
			return nil, err
		}
	}
	for _, p := range q.Proposals {
		if err := keep(s.proposed(ctx, p)); err != nil {
			return nil, err
		}
	}
	for _, index := range q.Indexes {
		if err := keep(s.ByIndex(ctx, index)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// proposed finds the entry that a proposal would be.
func (s *Shards) proposed(ctx context.Context, p *entry.Proposal) (Entry, error) {
	e, err := s.ByID(ctx, entry.ID{Leaf: tlog.LeafHash(p.Leaf())})
	if err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		return e, err
	}
	if ended := ctx.Err(); ended != nil { // nobody waits for what comes now, the dear part
		return Entry{}, sigbox.Errorf(sigbox.Unavailable, "the request ended").WithCause(ended)
	}
	if wrong := verify(p); wrong != nil {
		return Entry{}, wrong
	}
	return Entry{}, err
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
