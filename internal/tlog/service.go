package tlog

import (
	"context"

	"github.com/sigbox/sigbox/internal/store"
)

// Bundle is Entries with each entry by itself.
func (l *Log) Bundle(ctx context.Context, index uint64, w int) ([][]byte, error) {
	b, err := l.Entries(ctx, index, w)
	if err != nil {
		return nil, err
	}
	entries, err := l.cfg.split(l.cfg.bundlePath(index), b)
	return entries, l.readError(ctx, err)
}

// PutRows writes rows beside those of Leaf.Rows, in one commit; a key stands at
// most once. It is for rows that are made after their entries. Whether they are
// durable is unknown after an error.
func (l *Log) PutRows(ctx context.Context, rows []store.Pair) error {
	b := store.Batch{Writes: make([]store.Pair, len(rows))}
	for i, row := range rows {
		b.Writes[i] = store.Pair{Key: otherKey(row.Key), Value: row.Value}
	}
	return l.cfg.KV.Commit(ctx, b)
}

// given says whether a service's row, by its key in the kv store, follows from no
// entry.
func (c *Config) given(key []byte) bool { return c.Given != nil && c.Given(key[1:]) }

// Origin is the log's name: the first line of its checkpoints.
func (l *Log) Origin() string { return l.cfg.Origin }

// ServiceRow is [Log.Row] for a log that is not open.
func ServiceRow(ctx context.Context, kv store.KV, key []byte) ([]byte, error) {
	return kv.Get(ctx, otherKey(key))
}
