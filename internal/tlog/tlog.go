// Package tlog is the log engine: it sequences entries, commits them, proves
// them and publishes them. Rekor v1, Rekor v2 and the certificate log are three
// logs of it.
//
// # One commit, one fsync
//
// Callers enqueue leaves with [Log.Add]; one sequencer takes all that wait, and
// while it commits them the next batch gathers. It hashes, signs the checkpoint
// and commits entries, tiles, dedup and index rows, the time and the head in one
// atomic batch that names the head it extends. When the batch is durable, and not
// before, everybody gets the index and an inclusion proof against the checkpoint
// of that very batch.
//
// A second writer on the same store cannot fork the log: its commit meets another
// head and fails, it reads the head again and goes on from there. When a store
// cannot tell whether a batch is durable, the engine finds out before it does
// anything else. When it cannot find out, the log stops taking entries
// ([Log.Err]); reads go on.
//
// # Tiles
//
// Full tiles and entry bundles move to the blob store as immutable files in the
// layout of https://c2sp.org/tlog-tiles and leave the kv store in a commit that
// raises a watermark; a crash between the two repeats the move, which writes the
// same bytes. Partial tiles are served from the kv store for each size.
//
// If the blob store is a [store.Publisher], the latest checkpoint and its partial
// tiles are written there every few seconds, so that a static web server can hand
// out the whole log. Only the name "checkpoint" ever changes its content; partial
// tiles are removed when the full tile is there. What is published is never ahead
// of what is durable: a log whose store ends before what is published has lost
// entries (an old backup, a copied disk) and refuses to start.
//
// # Rows
//
// In the kv store a log has these keys, numbers in big-endian order:
//
//	a                the log has an anchor
//	c<index>         an accepted step back of the clock: time before and after
//	h                head: batch ID, size, time, root, checkpoint
//	e<index>         entry not yet moved: time, leaf hash, entry
//	t<level><index>  tile not yet moved: full ones, partial ones from level 1 up
//	d<key>           index of the entry with that dedup key
//	l<leaf hash>     index of the leaf, with Config.IndexLeaves
//	m                number of bundles that are in the blob store
//	s<bundle>        times and lengths of the entries of a moved bundle
//	x<key>           rows of the service, from Leaf.Rows
package tlog

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// Hash is a node of the tree (RFC 6962 §2.1).
type Hash = [sha256.Size]byte

const (
	// MaxEntry is the length of the longest entry of a tlog-tiles bundle, in bytes.
	MaxEntry = 1<<16 - 1
	// MaxRawEntry bounds an entry with Config.RawEntries, in bytes.
	MaxRawEntry = 1 << 20
	// TileWidth is the number of hashes in a full tile, and of entries in a bundle.
	TileWidth = 256
)

// Config is what a log needs. Origin, KV, Blob and one signer are required.
type Config struct {
	// Origin is the first line of checkpoints.
	Origin string
	// KV holds what is hot. The log owns all keys: give it a part of its own
	// (store.WithPrefix).
	KV store.KV
	// Blob takes full tiles and bundles. If it is a store.Publisher, checkpoints
	// and partial tiles are published there too.
	Blob store.Blob
	// Signers sign each checkpoint, in this order.
	Signers []*note.Signer
	// Verifiers are for Check and Repair, in the place of Signers.
	Verifiers []*note.Verifier

	// Now is the clock; nil is time.Now. Times are kept to the millisecond.
	Now func() time.Time
	// Rand gives the random bytes that tell this process's commits from those of
	// others; nil is crypto/rand.
	Rand io.Reader
	// Logger takes what operators should know; nil discards it.
	Logger *slog.Logger
	// Metrics takes the log's metrics, labelled with its origin; nil has none.
	Metrics prometheus.Registerer
	// MaxPending bounds the entries that wait; beyond it Add answers Unavailable.
	// 0 is 8192.
	MaxPending int
	// PublishInterval is the time between two published checkpoints; 0 is five
	// seconds, negative publishes none.
	PublishInterval time.Duration

	// Anchor keeps the head outside of what the stores stand on; nil has none, and
	// then a restored backup of both stores cannot be told from the log. A log that had
	// one is shut without.
	Anchor Anchor
	// AnchorInterval is the time between two comparisons with the anchor, to which the
	// head is brought if it is another one by then; 0 is one second.
	AnchorInterval time.Duration
	// AcceptAnchor has the head take the place of an anchor that was read and
	// contradicts the log, is another's or is gone: an operator has found out why they
	// differ. Without Anchor, a log that had one goes on without.
	AcceptAnchor bool
	// Fellows are the logs that stop when this one is found to be forked; nil has none.
	Fellows *Fellows
	// Sealed opens a log that takes no entries, as [Log.Seal] leaves it: it is compared
	// with its anchor, and what is not published yet is.
	Sealed bool
	// AcceptClock lets time go back once, if the clock stands behind the log's last
	// time: an operator has found out that the clock was ahead then. The step is
	// kept on record.
	AcceptClock bool

	// BundleDir is the name of entry bundles in paths: "" is "entries"
	// (tlog-tiles); static-ct-api has "data".
	BundleDir string
	// RawEntries joins entries to bundles without length prefixes; then
	// SplitEntries is required.
	RawEntries bool
	// SplitEntries takes a bundle of raw entries apart, into slices of it that
	// follow each other. It must refuse what it cannot take apart.
	SplitEntries func(bundle []byte) ([][]byte, error)
	// IndexLeaves keeps the index of each leaf hash for [Log.LeafIndex].
	IndexLeaves bool

	// What follows from an entry is checked when the entry is read, and by [Check];
	// [Repair] makes it anew. The three functions must give the same for the same
	// entry as long as the log lives, and refuse what was never logged.

	// LeafOf gives the leaf that is hashed for an entry; nil is the entry itself.
	// RawEntries requires it.
	LeafOf func(entry []byte) ([]byte, error)
	// KeyOf gives the key that an entry was added with, as Leaf.Key; nil: keys do
	// not follow from entries, and are not checked. [LeafKey] is that of leaves
	// that are added without a Key.
	KeyOf func(entry []byte) ([32]byte, error)
	// RowsOf gives the rows of Leaf.Rows that [Check] compares. Their keys must be
	// this entry's alone. nil: the log's rows do not follow from single entries.
	RowsOf func(index uint64, logged time.Time, entry []byte) ([]store.Pair, error)
	// FileOf gives the name and the content of the file that is published of a row of
	// Leaf.Rows; "" if there is none. The error says that the row is damaged. [Check]
	// compares the files. nil: there are none.
	FileOf func(key, value []byte) (name string, data []byte, err error)
	// Given tells rows that do not follow from entries, such as those of what was
	// handed in with an entry and is not logged, by their keys. They are not
	// compared. nil: there are none.
	Given func(key []byte) bool
}

// Leaf is what Add takes.
type Leaf struct {
	// Key finds duplicates. If it is zero, the leaf hash is the key; that needs
	// Data.
	Key [32]byte
	// Data is both the leaf that is hashed and the entry that is stored.
	Data []byte
	// Make gives leaf and entry where they depend on the place in the log (CT);
	// Data is nil then. It is called by the sequencer and must be quick. It may be
	// called again, with another index and time, when a commit has to be repeated.
	Make func(index uint64, now time.Time) (leaf, entry []byte)
	// Check, if not nil, is called when no entry has the key, before the leaf is
	// queued; its error is that of Add. Dear checks of the entry belong here: a
	// duplicate does not need them again.
	Check func() error
	// Rows, if not nil, gives rows that are committed with the entry, to be read
	// with [Log.Row] and [Log.Rows]. It is called as Make is, after it.
	Rows func(index uint64) []store.Pair
	// RowBytes is about what Rows will give, in bytes, where that may be much: it
	// counts for the bounds of what waits and of a commit.
	RowBytes int
}

// Receipt says that an entry is durable in the log, and proves it.
type Receipt struct {
	Index uint64
	// Time is when the entry was logged, to the millisecond. Zero for a leaf of Data
	// that was there: nothing is read of an entry that is known.
	Time time.Time
	// Size and Root are those of Checkpoint; Proof leads from the leaf to Root
	// (RFC 6962 §2.1.1).
	Size       uint64
	Root       Hash
	Proof      []Hash
	Checkpoint string
	// Existing: the entry was in the log already, or another call is logging it.
	Existing bool
	// Entry is the stored entry. It is not to be changed.
	Entry []byte
}

// Head is the end of the log.
type Head struct {
	Size uint64
	Root Hash
	// Time is that of the last commit.
	Time       time.Time
	Checkpoint string
}

// Log is an open log. Its methods are safe for concurrent use.
type Log struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	instance [16]byte              // first part of the batch IDs of this process
	tiles    *tileCache            // full tiles
	known    atomic.Pointer[known] // filter of its keys; nil without one
	moved    atomic.Uint64         // bundles in the blob store, as far as known
	head     atomic.Pointer[snapshot]
	fatal    atomic.Pointer[sigbox.Error]
	sealed   atomic.Bool // takes no entries for good

	queue queue
	epoch atomic.Uint64 // how often the log has followed another process

	// The sequencer owns these.
	batches uint64 // number of the last batch
	arena   []byte
	writes  []store.Pair
	told    time.Time // when it was last logged that nothing can be written; zero when it can

	// shut is why nothing is written but by readers: the anchor contradicts the log,
	// or is not known to agree. nil when it does, and when there is none.
	shut    atomic.Pointer[sigbox.Error]
	watched atomic.Pointer[time.Time] // when the last comparison with the anchor began: what that has held since is not known; nil before the first
	asked   chan chan<- struct{}      // asks for one, and has the answer's channel closed
	pulse   pulse
	// unwatched is closed when there will be no more.
	unwatched chan struct{}

	// The anchor's goroutine owns these.
	anchored     string // checkpoint that the anchor had last, and that is one of this log
	anchoredSize uint64 // its size
	agreedAt     time.Time

	damageTold atomic.Int64 // when damage was last logged, in ms since 1970

	// The mover owns this.
	bundle []byte

	ctx    context.Context // ends when Close gives up, or is through
	cancel context.CancelFunc
	done   sync.WaitGroup // sequencer, mover and what else runs beside them
	full   chan struct{}  // tells the mover of a full bundle; capacity 1
	stop   chan struct{}  // closed by Close: the mover ends
	// relearn tells learn that the filter is too small, or was dropped; capacity 1.
	relearn chan struct{}
	// sequenced is closed when the sequencer has ended.
	sequenced chan struct{}
	once      sync.Once
}

// Open opens the log in cfg.KV, or begins it there, and checks that its right
// edge, its checkpoint and what is published agree. ctx bounds the opening only.
// A log that its anchor contradicts is opened for reading alone, and one whose anchor
// cannot be read until it can: see [Log.Err].
//
// The error is of kind Invalid for a Config that cannot be, Fatal for stores
// that are damaged, forked, behind what was published or without what was moved.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l, err := newLog(cfg)
	if err != nil {
		return nil, err
	}
	snap, err := l.load(ctx)
	if err != nil {
		return nil, err
	}
	if snap == nil {
		if snap, err = l.begin(ctx); err != nil {
			return nil, err
		}
	}
	l.head.Store(snap)
	if err := l.checkPublished(ctx, snap); err != nil {
		return nil, err
	}
	if err := l.checkMoved(ctx, snap); err != nil {
		return nil, err
	}
	if cfg.Anchor == nil {
		if err := l.openUnanchored(ctx); err != nil {
			return nil, err
		}
	}
	if err := l.register(); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if cfg.Fellows != nil {
		cfg.Fellows.join(l)
	}
	if cfg.Anchor != nil {
		l.startAnchor(ctx)
	}
	l.done.Go(func() {
		defer close(l.sequenced)
		l.sequence()
	})
	l.done.Go(l.move)
	if !cfg.Sealed {
		l.done.Go(l.learn)
	}
	return l, nil
}

func newLog(cfg Config) (*Log, error) {
	if cfg.Origin == "" || cfg.KV == nil || cfg.Blob == nil || len(cfg.Signers) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "a log needs an origin, a kv store, a blob store and a signer")
	}
	if cfg.RawEntries && (cfg.SplitEntries == nil || cfg.LeafOf == nil) {
		return nil, sigbox.Errorf(sigbox.Invalid, "the log %s has raw entries, so it needs SplitEntries and LeafOf", cfg.Origin)
	}
	cfg.defaults()
	l := &Log{
		cfg: cfg, log: cfg.Logger.With("log", cfg.Origin), tiles: newTileCache(cachedTiles, cachedAbove),
		full: make(chan struct{}, 1), relearn: make(chan struct{}, 1), stop: make(chan struct{}), sequenced: make(chan struct{}),
		asked: make(chan chan<- struct{}), unwatched: make(chan struct{}),
	}
	l.metrics = newMetrics()
	l.queue.init(cfg.MaxPending)
	if cfg.Sealed {
		l.sealed.Store(true)
		l.queue.close(l.sealedError())
	}
	if _, err := io.ReadFull(cfg.Rand, l.instance[:]); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "no random bytes: %w", err)
	}
	return l, nil
}

func (c *Config) defaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxPending <= 0 {
		c.MaxPending = 8192
	}
	if c.AnchorInterval <= 0 {
		c.AnchorInterval = time.Second
	}
	if c.PublishInterval == 0 {
		c.PublishInterval = 5 * time.Second
	}
	if c.BundleDir == "" {
		c.BundleDir = "entries"
	}
	if !c.RawEntries {
		c.SplitEntries = splitPrefixed
	}
}

// Head gives the end of the log as it was last published to callers.
func (l *Log) Head() Head { return l.head.Load().Head }

// Err says why the log takes no entries, or nil: an error of kind Fatal, which
// only a restart can heal, or Unavailable, with [ErrClock] while the clock stands
// behind the log, with [ErrAnchor] while it is not known that its anchor agrees. Of one
// that is sealed it says whether something else is wrong.
func (l *Log) Err() error {
	if err := cmp.Or(l.fatal.Load(), l.shut.Load()); err != nil {
		return err
	}
	if l.sealed.Load() {
		return nil
	}
	_, err := l.tick(l.Head().Time)
	return err
}

// fail stops the log for good.
func (l *Log) fail(err *sigbox.Error) {
	if l.fatal.CompareAndSwap(nil, err) {
		l.log.Error("the log takes no more entries", "err", err)
	}
}

// Close takes no more entries, finishes those that wait, and publishes what is
// left to publish. When ctx ends, it gives up on that and returns ctx's error;
// nothing that was acknowledged is lost.
func (l *Log) Close(ctx context.Context) error {
	l.once.Do(func() {
		l.queue.close(errStopping())
		close(l.stop)
	})
	through := make(chan struct{})
	go func() {
		l.done.Wait()
		close(through)
	}()
	defer l.cancel()
	select {
	case <-through:
		l.unregister()
		return nil
	case <-ctx.Done():
	}
	l.cancel()
	<-through
	l.unregister()
	return ctx.Err()
}
