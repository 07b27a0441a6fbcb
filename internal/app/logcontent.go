package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
)

// LogReport is what [CheckLogs] has seen of a log.
type LogReport struct {
	*tlog.Report
	// Name is the log's part of the stores.
	Name string
	// Signed counts the entries whose signatures were found good; Hashed those that
	// hold no more than the hash of what was signed, an envelope.
	Signed, Hashed uint64
}

// contents looks at what the entries of a log say.
type contents struct {
	check          func(index uint64, logged time.Time, entry []byte) (signed bool, err error)
	signed, hashed atomic.Uint64
}

// newContents gives what looks at the entries of a log of a role.
func newContents(ctx context.Context, role string, kv store.KV) *contents {
	leaf := func(check func([]byte) (bool, error)) *contents {
		return &contents{check: func(_ uint64, _ time.Time, entry []byte) (bool, error) { return check(entry) }}
	}
	switch role {
	case rekorKey:
		return leaf(rekor.CheckLeaf)
	case rekorV1Key:
		return leaf(rekor1.CheckLeaf)
	}
	c := ctlog.NewChecker(kv)
	return &contents{check: func(index uint64, logged time.Time, entry []byte) (bool, error) {
		err := c.Entry(ctx, index, logged, entry)
		return err == nil, err
	}}
}

// entry is tlog.CheckOptions.Entry.
func (c *contents) entry(index uint64, logged time.Time, entry []byte) error {
	signed, err := c.check(index, logged, entry)
	switch {
	case err != nil:
		return err
	case signed:
		c.signed.Add(1)
	default:
		c.hashed.Add(1)
	}
	return nil
}
