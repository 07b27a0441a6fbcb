package tlog

import (
	"encoding/hex"
	"fmt"

	"github.com/sigbox/sigbox"
)

// Damage is in the chain of every error that says that a store does not give back
// what was written to it. Nothing of what it gave has been used or served.
type Damage struct {
	// Name is that of the file below the log's directory, or of the row: "row e"
	// and the rest of its key in hexadecimal.
	Name string
	// Want and Got are what was expected and what was found.
	Want, Got string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%s: expected %s, found %s", d.Name, d.Want, d.Got)
}

// damaged is the error for a file or a row that is not what was written. It has a
// [Damage] in its chain.
func damaged(name, want, format string, args ...any) *sigbox.Error {
	d := &Damage{name, want, fmt.Sprintf(format, args...)}
	return sigbox.Errorf(sigbox.Fatal, "the log's store is damaged: %w", d).
		WithHint("sigbox log fsck says what is damaged, and --repair makes anew what follows from entries; entries come back from a backup that is not older than what was published")
}

// tellDamage counts damage, and logs it, but not for each request that meets it.
func (l *Log) tellDamage(d *Damage) {
	l.metrics.damage.Inc()
	now := l.cfg.Now().UnixMilli()
	if last := l.damageTold.Load(); now-last >= tellEvery.Milliseconds() || now < last {
		if l.damageTold.CompareAndSwap(last, now) {
			l.log.Error("the log's store is damaged; what is damaged is not served", "where", d.Name, "expected", d.Want, "found", d.Got)
		}
	}
}

// rowName is what errors call a row of the kv store.
func rowName(key []byte) string {
	if len(key) == 0 {
		return "row"
	}
	if len(key) == 1 {
		return "row " + string(key[:1])
	}
	return "row " + string(key[:1]) + " " + hex.EncodeToString(key[1:])
}

// checkLeaf makes sure that an entry has a leaf hash. The name is that of the file
// that it was read from, "" for the entry's row.
func (c *Config) checkLeaf(name string, index uint64, entry []byte, want *Hash) error {
	h, err := c.leafHash(entry)
	if err == nil && h == *want {
		return nil
	}
	if name == "" {
		name = rowName(numberKey(rowEntry, index))
	}
	if err != nil {
		return damaged(name, fmt.Sprintf("entry %d", index), "%d bytes that are none", len(entry))
	}
	return damaged(name, fmt.Sprintf("entry %d with the leaf hash %x", index, *want), "one with %x", h)
}

// checkKey makes sure that an entry is the one that was asked for by its key.
func (c *Config) checkKey(key *Hash, index uint64, entry []byte) error {
	if c.KeyOf == nil {
		return nil
	}
	if k, err := c.KeyOf(entry); err != nil || k != *key {
		return damaged(rowName(hashKey(rowDedup, key)), "the index of the entry with that key", "%d, of another", index)
	}
	return nil
}
