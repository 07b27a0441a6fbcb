// Package store has the two contracts that everything durable stands on: [KV],
// hot and ordered, with atomic batches that carry a check; and [Blob], cold and
// immutable. Implementations are in the packages below it, and each passes the
// tests of storetest.
//
// Keys are ordered as bytes. Values and keys that a store hands out belong to
// the caller; those given to it must not be changed until the call returns, and
// may be changed after.
//
// A process shares one KV among its services: [WithPrefix] and [Sub] give each
// its own part of a store.
package store

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/sigbox/sigbox"
)

// SchemaVersion is the layout that this build reads and writes. A store with a
// newer one is refused, an older one is migrated.
const SchemaVersion = 1

var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a check of a batch failed; nothing was written.
	ErrConflict = errors.New("conflict")
	// ErrUnknown: the batch may or may not be durable (a failed fsync, a lost
	// connection). What Get gives then proves nothing: the caller must find out
	// with a further Commit that checks for what it wrote, which an embedded
	// store refuses until it is opened again.
	ErrUnknown = errors.New("outcome of the commit is unknown")
	// ErrExists: a blob of that name holds other bytes.
	ErrExists = errors.New("exists with other content")
)

// KV is an ordered map with durable atomic batches. Methods are safe for
// concurrent use.
type KV interface {
	// Get returns the value of key, or ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// Scan walks keys in [from, to) in order, as of the moment when the walk
	// begins; a nil to is the end. The walk ends after the first error.
	Scan(ctx context.Context, from, to []byte) iter.Seq2[Pair, error]
	// Commit applies b as a whole or not at all. It returns nil once b is
	// durable, ErrConflict when a check failed, ErrUnknown when it cannot tell,
	// and any other error when nothing was written. Other readers may see b
	// before it is durable. A batch of checks alone is durable knowledge: nil
	// means that what it checked for will survive a crash.
	Commit(ctx context.Context, b Batch) error
	// Lock waits until this process alone holds the named lock, which saves
	// replicas from working in vain; safety comes from Batch.Checks. The lock is
	// lost when the returned context ends; release gives it back.
	Lock(ctx context.Context, name string) (held context.Context, release func(), err error)
	// Close frees what the store holds. Calls under way end with an error.
	Close() error
}

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// Batch is a set of changes that happen together. Deletes are applied before
// writes, and a key stands at most once among the writes.
type Batch struct {
	Checks  []Check
	Writes  []Pair
	Deletes []Range
}

// Check says what a key must hold for its batch to apply; a nil Want means that
// the key must not exist.
type Check struct{ Key, Want []byte }

// Range is the keys in [From, To).
type Range struct{ From, To []byte }

// Blob is a map of immutable values. Names are slash-separated paths of
// [A-Za-z0-9._-] without empty, "." or ".." parts. Methods are safe for
// concurrent use.
type Blob interface {
	// Put stores data under name and returns once it is durable. The same data
	// again is fine; other data gives ErrExists and changes nothing.
	Put(ctx context.Context, name string, data []byte) error
	// Get returns the value, or ErrNotFound. More than limit bytes is an error.
	Get(ctx context.Context, name string, limit int64) ([]byte, error)
	// List walks names that begin with prefix, in order.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Ranger is a Blob that can read a part of a value.
type Ranger interface {
	Blob
	// GetRange returns length bytes from offset on, fewer where the value ends, or
	// ErrNotFound.
	GetRange(ctx context.Context, name string, offset, length int64) ([]byte, error)
}

// GetRange reads a part of a value of at most limit bytes as [Ranger] does, from
// any Blob.
func GetRange(ctx context.Context, b Blob, name string, offset, length, limit int64) ([]byte, error) {
	if r, ok := b.(Ranger); ok {
		return r.GetRange(ctx, name, offset, length)
	}
	v, err := b.Get(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	from := min(offset, int64(len(v)))
	return v[from:min(from+length, int64(len(v)))], nil
}

// Publisher is a Blob that can also be changed, for what a static web server
// hands out: a log's latest checkpoint, which is one name with ever new values,
// and partial tiles, which go when the full one is there.
type Publisher interface {
	Blob
	// Replace stores data under name, whatever was there, and returns once it is
	// durable. A reader sees the old or the new value as a whole.
	Replace(ctx context.Context, name string, data []byte) error
	// Remove deletes names; those that are not there do not matter.
	Remove(ctx context.Context, names ...string) error
}

// CheckName refuses what cannot name a blob: see [Blob]. The error is of kind
// Invalid.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return sigbox.Errorf(sigbox.Invalid, "blob name of %d bytes: expected 1 to %d", len(name), MaxName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexFunc(part, notInName) >= 0 {
			return sigbox.Errorf(sigbox.Invalid, "blob name %.100q: expected parts of letters, digits, dot, hyphen and underscore between single slashes", name)
		}
	}
	return nil
}

// MaxName bounds the name of a blob, in bytes.
const MaxName = 512

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
}

// TooLong is the error of a Get that was given too small a limit.
func TooLong(name string, limit int64) error {
	return sigbox.Errorf(sigbox.TooLarge, "the blob %.100q is larger than %d bytes", name, limit)
}
