package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/note"
)

// memory keeps the last checkpoint of each log: what was signed once must stay part
// of the log for ever.
type memory struct {
	dir   string // "" remembers nothing
	sleep func(context.Context, time.Duration) error
	// before is what was seen last before the reader opened the log. It is written
	// by OpenLog alone.
	before Seen
}

// Seen is a checkpoint that was seen before.
type Seen struct {
	Checkpoint sigbox.Checkpoint
	Text       string
	At         time.Time
}

// LastSeen gives the checkpoint of a log that was remembered before this reader
// opened it; ok is false when there was none.
func (r *LogReader) LastSeen() (Seen, bool) {
	return r.memory.before, r.memory.before.Text != ""
}

func (r *LogReader) memoryFile(origin string, k *LogKey) string {
	return filepath.Join(r.memory.dir, k.keyName(origin)+".checkpoint")
}

// load reads the checkpoint in a file. What is there must have the log's signature.
func (m *memory) load(file string, k *LogKey) (Seen, bool, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Seen{}, false, nil
	}
	if err != nil {
		return Seen{}, false, sigbox.Errorf(sigbox.Unavailable, "the checkpoint that was seen last cannot be read: %w", err)
	}
	var text []byte
	if info.Size() <= note.MaxSize {
		text, err = os.ReadFile(file) // #nosec G304 -- a name that was made here
	}
	if err != nil {
		return Seen{}, false, sigbox.Errorf(sigbox.Unavailable, "the checkpoint that was seen last cannot be read: %w", err)
	}
	cp, err := k.open(string(text))
	if err != nil {
		return Seen{}, false, sigbox.Errorf(sigbox.Unavailable, "what was seen last of the log, %s, is damaged", file).
			WithHint("remove the file, and with it what it knew").WithCause(err)
	}
	return Seen{cp, string(text), info.ModTime()}, true, nil
}

// accept compares a checkpoint with the last one that was seen of its log, and
// remembers the later of them, which it gives back: a server, or a cache before it,
// may lag behind, as long as it still has the tree that it has shown.
//
// The error is of kind NotVerified when one is no continuation of the other.
func (r *LogReader) accept(ctx context.Context, text string, cp sigbox.Checkpoint, k *LogKey) (sigbox.Checkpoint, string, error) {
	if r.memory.dir == "" {
		return cp, text, nil
	}
	if err := os.MkdirAll(r.memory.dir, 0o700); err != nil {
		return cp, text, sigbox.Errorf(sigbox.Unavailable, "the directory for what was seen of logs: %w", err)
	}
	file := r.memoryFile(cp.Origin, k)
	unlock, err := lock(ctx, file+".lock", r.memory.sleep)
	if err != nil {
		return cp, text, err
	}
	defer unlock()
	seen, any, err := r.memory.load(file, k)
	if err != nil {
		return cp, text, err
	}
	if any {
		if r.opening {
			r.memory.before = seen
		}
		older, newer := seen.Checkpoint, cp
		if older.Size > newer.Size {
			older, newer = newer, older
		}
		if err := r.consistent(ctx, older, newer); err != nil {
			return cp, text, contradiction(err, seen, text, cp, file)
		}
		if seen.Checkpoint.Size >= cp.Size {
			return seen.Checkpoint, seen.Text, nil
		}
	}
	if err := atomicfile.Replace(file, []byte(text), 0o600); err != nil {
		return cp, text, sigbox.Errorf(sigbox.Unavailable, "the log's checkpoint cannot be kept: %w", err)
	}
	return cp, text, nil
}

// contradiction says what it means that a log does not continue what was seen of it.
func contradiction(err error, seen Seen, text string, cp sigbox.Checkpoint, file string) error {
	if sigbox.KindOf(err) == sigbox.Unavailable {
		return err
	}
	what := "it has forked"
	if seen.Checkpoint.Size > cp.Size {
		what = "it has gone back or forked"
		if sigbox.KindOf(err) == sigbox.NotFound {
			return goneBack(err, seen, cp, file)
		}
	}
	e := sigbox.Mismatch(sigbox.NotVerified,
		fmt.Sprintf("ALARM: the log %.100q contradicts what it has signed before: %s", cp.Origin, what),
		fmt.Sprintf("a continuation of the %d entries with root %x, seen %s", seen.Checkpoint.Size, seen.Checkpoint.Root, seen.At.UTC().Format(time.RFC3339)),
		fmt.Sprintf("%d entries with root %x", cp.Size, cp.Root))
	return e.WithHint("keep both checkpoints, they prove it: the old one is in %s, the new one is %q; tell the log's operator and its monitors", file, text).WithCause(err)
}

// goneBack says what it means that a log shows fewer entries than were seen of it,
// and does not have the others, so that nothing can be compared.
func goneBack(err error, seen Seen, cp sigbox.Checkpoint, file string) error {
	e := sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("ALARM: the log %.100q has gone back, unless this is an older copy of it", cp.Origin),
		fmt.Sprintf("the %d entries that it has signed, seen %s", seen.Checkpoint.Size, seen.At.UTC().Format(time.RFC3339)),
		fmt.Sprintf("%d entries, and not the others", cp.Size))
	return e.WithHint("read a mirror or a backup as it is with --ignore-history; a log that has gone back breaks its promise, which the checkpoint in %s proves: tell its operator and its monitors", file).WithCause(err)
}

// consistent checks that older is a prefix of newer.
func (r *LogReader) consistent(ctx context.Context, older, newer sigbox.Checkpoint) error {
	_, err := r.prefixProof(ctx, older, newer)
	return err
}

// prefixProof gives the consistency proof of two trees (RFC 6962 §2.1.2), checked.
func (r *LogReader) prefixProof(ctx context.Context, older, newer sigbox.Checkpoint) (tlog.TreeProof, error) {
	switch {
	case sameTree(older, newer) || older.Size == 0:
		return nil, nil
	case older.Size == newer.Size:
		return nil, sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("two trees of %d entries", newer.Size),
			fmt.Sprintf("root %x", older.Root), fmt.Sprintf("root %x", newer.Root))
	}
	proof, err := r.fetchPrefixProof(ctx, older, newer)
	if err != nil {
		return nil, err
	}
	m, n := int64(older.Size), int64(newer.Size) // #nosec G115 -- checkpoints have 63 bits
	if tlog.CheckTree(proof, n, newer.Root, m, older.Root) != nil {
		return nil, sigbox.Errorf(sigbox.NotVerified, "no proof leads from the tree of %d entries to that of %d", m, n)
	}
	return proof, nil
}

func (r *LogReader) fetchPrefixProof(ctx context.Context, older, newer sigbox.Checkpoint) (tlog.TreeProof, error) {
	switch {
	case r.tiles == "" && r.key.ct:
		return r.consistencyCT(ctx, older, newer)
	case r.tiles == "" || r.server != "" && newer.Origin != r.head.Origin: // whose tiles are elsewhere
		return r.proofV1(ctx, older, newer)
	}
	proof, err := tlog.ProveTree(int64(newer.Size), int64(older.Size), r.hashes(ctx, newer)) // #nosec G115 -- 63 bits
	return proof, tileError(err)
}

// Consistency proves that a checkpoint's tree is a prefix of another's, of the same
// log; both are signed. The proof has been checked. The error is of kind
// NotVerified when there is none, Invalid when they cannot be compared.
func (r *LogReader) Consistency(ctx context.Context, older, newer sigbox.Checkpoint) ([][]byte, error) {
	switch {
	case older.Origin != newer.Origin && !r.key.ct:
		return nil, sigbox.Mismatch(sigbox.Invalid, "checkpoints of one log", older.Origin, newer.Origin)
	case older.Size > newer.Size:
		return nil, sigbox.Errorf(sigbox.Invalid, "the first checkpoint has %d entries, the second %d", older.Size, newer.Size).
			WithHint("the older one comes first")
	}
	proof, err := r.prefixProof(ctx, older, newer)
	if err != nil {
		return nil, err
	}
	out := make([][]byte, len(proof))
	for i := range proof {
		out[i] = proof[i][:]
	}
	return out, nil
}
