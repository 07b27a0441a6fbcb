// Package pebble is the embedded [store.KV]: a directory of Pebble's
// (https://github.com/cockroachdb/pebble), with a synced write-ahead log.
//
// Each commit is one record of the log and one fsync; commits that wait at the
// same time share it. A commit whose fsync fails may or may not be durable, and
// what this process would read of it proves nothing: the answer is
// [store.ErrUnknown], and the store takes no commit any more until it is opened
// again. The same holds when Pebble cannot write its tables or its metadata: it
// would end the process then; here it writes nothing more, and reads go on. To keep
// a full disk from ending that way, commits are refused while there is still some
// space left.
package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

const (
	// format pins Pebble's on-disk format, so that a new version of the library
	// does not make a store unreadable for the last release.
	format = pebble.FormatValueSeparation

	// cacheSize includes memory tables, of which there are mostly one or two: what
	// is left keeps the indexes of ten million keys in memory.
	cacheSize    = 56 << 20
	memTableSize = 16 << 20
	openFiles    = 512

	// defaultMinFree is what a flush and a compaction may need, and more.
	defaultMinFree = 128 << 20

	defaultMaxStall = 10 * time.Second
)

// Options change how a store is opened. The zero value is for use.
type Options struct {
	// Logger takes what Pebble reports; nil discards it.
	Logger *slog.Logger
	// MinFree is the space in bytes below which commits are refused; 0 is 128 MiB.
	MinFree uint64
	// MaxStall bounds how long a commit waits while the disk is full; 0 is 10 seconds.
	MaxStall time.Duration
	// FS is the file system; nil is the machine's.
	FS vfs.FS
}

// Open opens the store in dir, or makes one. One process may have it open at a
// time. The error is of kind Conflict when another one has, Invalid for a store
// of a newer version.
func Open(ctx context.Context, dir string, o Options) (*KV, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MinFree == 0 {
		o.MinFree = defaultMinFree
	}
	if o.MaxStall == 0 {
		o.MaxStall = defaultMaxStall
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	kv := &KV{dir: dir, minFree: o.MinFree, maxStall: o.MaxStall, log: o.Logger, failed: make(chan struct{}), wedged: make(chan struct{})}
	kv.fs = fuse{o.FS, kv}
	if err := kv.roomToOpen(); err != nil {
		return nil, err
	}
	fresh, err := kv.fresh()
	if err != nil {
		return nil, err
	}
	if err := kv.open(); err != nil {
		return nil, openError(dir, err)
	}
	kv.opened.Store(true)
	if err := kv.prepare(ctx, fresh); err != nil {
		_ = kv.Close() // nothing is in it that was acknowledged
		return nil, err
	}
	return kv, nil
}

// fresh reports whether there is no store yet, and refuses one of which Pebble would
// leave out a part: it would make a new one where the file is missing that leads to
// the rest of an old one.
func (kv *KV) fresh() (bool, error) {
	there, err := pebble.Peek(kv.dir, kv.fs.Unwrap()) // what cannot be read now is no failed store
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, openError(kv.dir, err)
	case err == nil && there.Exists:
		return false, kv.checkManifest(there.ManifestFilename)
	}
	names, err := kv.fs.List(kv.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, openError(kv.dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".sst") {
			return false, sigbox.Errorf(sigbox.Fatal, "the store in %s has no manifest, and there is %s", kv.dir, name).
				WithHint("restore a backup of the directory as a whole")
		}
	}
	return true, nil
}

// open has Pebble open the store.
func (kv *KV) open() error {
	return kv.unless(kv.failed, func() (err error) {
		kv.db, err = pebble.Open(kv.dir, kv.options())
		return err
	})
}

// prepare brings the store to this build's schema. The first log file of a new
// store is of the oldest format, in which a hole cannot be told from the end: it is
// exchanged for one of ours.
func (kv *KV) prepare(ctx context.Context, fresh bool) error {
	if err := store.Prepare(ctx, kv); err != nil || !fresh {
		return err
	}
	return kv.unless(kv.failed, kv.db.Flush)
}

// roomToOpen refuses a disk on which Pebble could not write out what its log holds:
// it would try for ever and not return. That needs less room than commits do, so
// that a store whose disk is nearly full can still be opened and read.
func (kv *KV) roomToOpen() error {
	u, err := kv.fs.GetDiskUsage(kv.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a new store has nothing to write out
		return nil
	case err != nil:
		return openError(kv.dir, err)
	case u.AvailBytes < kv.minFree/2:
		return sigbox.Errorf(sigbox.Unavailable, "the disk is full: %s cannot be opened below %d MiB of free space", kv.dir, kv.minFree>>21).
			WithHint("make room and start again; nothing that was acknowledged is lost")
	}
	return nil
}

// pause is how long Pebble waits after a flush or compaction that failed: left to
// itself it tries again at once, for as long as the disk is full.
const pause = 100 * time.Millisecond

func (kv *KV) options() *pebble.Options {
	o := &pebble.Options{
		FS:                 kv.fs,
		Logger:             logger{kv},
		FormatMajorVersion: format,
		CacheSize:          cacheSize,
		MemTableSize:       memTableSize,
		MaxOpenFiles:       openFiles,
	}
	last := len(o.Levels) - 1
	for i := range last {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	o.Levels[last].FilterPolicy = pebble.NoFilterPolicy // Get would not use it
	o.EventListener = &pebble.EventListener{
		BackgroundError: kv.backgroundFailed,
		DataCorruption:  kv.corrupted,
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { kv.log.Debug("store: a commit waits", "for", i.Reason) },
		DiskSlow:        func(i pebble.DiskSlowInfo) { kv.log.Warn("store: the disk is slow", "what", i.String()) },
	}
	return o
}

// backgroundFailed is told that a flush or compaction has failed, which is then
// tried again. On a full disk that may come out well, as long as no commit waits for
// it: with memory full, Pebble lets one wait for ever. Anything else that goes wrong
// with the disk, and a disk that is full while it says that it has room, will soon
// hold up commits.
func (kv *KV) backgroundFailed(err error) {
	if kv.broken.Load() == nil {
		kv.log.Error("store: background work failed", "err", err)
		if ready := kv.ready(); ready == nil || sigbox.KindOf(ready) != sigbox.Unavailable || kv.stalled() {
			_ = kv.breakDown(err) // commits give it
		}
	}
	time.Sleep(pause) // with Pebble's lock, which readers do not need
}

// stalled reports whether a commit has waited for too long.
func (kv *KV) stalled() bool {
	since := kv.applying.Load()
	return since != nil && time.Since(*since) >= kv.maxStall
}

func openError(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN), strings.Contains(err.Error(), "lock held by current process"):
		return sigbox.Errorf(sigbox.Conflict, "the store in %s is in use by another process", dir).
			WithHint("stop it first, or use another directory").WithCause(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return sigbox.Errorf(sigbox.Denied, "the store in %s cannot be written", dir).
			WithHint("check the owner and the permissions of the directory").WithCause(err)
	case errors.Is(err, syscall.ENOSPC):
		return sigbox.Errorf(sigbox.Unavailable, "no space is left for the store in %s", dir).WithCause(err)
	}
	if pebble.IsCorruptionError(err) {
		return damaged(dir, err)
	}
	return sigbox.Errorf(sigbox.Fatal, "the store in %s cannot be opened", dir).
		WithHint("if it is damaged, restore a backup").WithCause(err)
}

// KV is an open store.
type KV struct {
	db      *pebble.DB
	dir     string
	minFree uint64
	// A commit that has waited for maxStall on a full disk is given up.
	maxStall time.Duration
	applying atomic.Pointer[time.Time] // when the commit under way was given to Pebble
	fs       vfs.FS
	log      *slog.Logger
	locks    store.Locks
	calls    gate
	broken   atomic.Pointer[sigbox.Error] // set once: no commits any more
	blown    atomic.Bool                  // set with broken: nothing is written any more
	opened   atomic.Bool
	failed   chan struct{} // closed with broken
	once     sync.Once     // closes wedged
	wedged   chan struct{} // closed when Pebble was stopped in mid-course: its locks may be held

	mu sync.Mutex // orders commits: checks and write are one step
}

var _ store.KV = (*KV)(nil)

// breakDown ends commits for the life of this process, and gives the reason.
func (kv *KV) breakDown(cause error) error {
	e := sigbox.Errorf(sigbox.Fatal, "the store in %s failed and takes no more writes", kv.dir).
		WithHint("look for disk errors in the system's log, then restart: what was acknowledged is there").WithCause(cause)
	return kv.breakWith(e)
}

// breakWith is breakDown with the reason in the form of the error.
func (kv *KV) breakWith(e *sigbox.Error) error {
	if kv.broken.CompareAndSwap(nil, e) {
		kv.blown.Store(true)
		close(kv.failed)
		kv.log.Error("store: failed, no more writes", "err", cmp.Or[error](e.Unwrap(), e))
	}
	return kv.broken.Load()
}

// Get implements [store.KV].
func (kv *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := kv.calls.enter(ctx); err != nil {
		return nil, err
	}
	defer kv.calls.leave()
	return kv.get(key)
}

func (kv *KV) get(key []byte) ([]byte, error) {
	v, closer, err := kv.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, store.ErrNotFound
	}
	if err != nil {
		return nil, kv.readError(err)
	}
	out := append([]byte{}, v...)
	return out, closer.Close()
}

// Scan implements [store.KV].
func (kv *KV) Scan(ctx context.Context, from, to []byte) iter.Seq2[store.Pair, error] {
	return func(yield func(store.Pair, error) bool) {
		if err := kv.scan(ctx, from, to, func(p store.Pair) bool { return yield(p, nil) }); err != nil {
			yield(store.Pair{}, err)
		}
	}
}

// scan calls f for each pair until it returns false.
func (kv *KV) scan(ctx context.Context, from, to []byte, f func(store.Pair) bool) (err error) {
	if err := kv.calls.enter(ctx); err != nil {
		return err
	}
	defer kv.calls.leave()
	it, err := kv.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return kv.readError(err)
	}
	more := true
	for ok := it.First(); ok && more; ok = more && it.Next() {
		if err := kv.calls.check(ctx); err != nil {
			return errors.Join(err, it.Close())
		}
		v, err := it.ValueAndErr()
		if err != nil {
			_ = it.Close() // it says the same
			return kv.readError(err)
		}
		more = f(clonePair(it.Key(), v))
	}
	if err := it.Close(); more {
		return kv.readError(err)
	}
	return nil // the walk was left: nobody is there to hear of an error
}

// clonePair makes a pair of copies, in one allocation.
func clonePair(key, value []byte) store.Pair {
	b := make([]byte, 0, len(key)+len(value))
	b = append(append(b, key...), value...)
	return store.Pair{Key: b[:len(key):len(key)], Value: b[len(key):]}
}

// Commit implements [store.KV].
func (kv *KV) Commit(ctx context.Context, b store.Batch) error {
	if err := kv.calls.enter(ctx); err != nil {
		return err
	}
	defer kv.calls.leave()
	pb := kv.db.NewBatch()
	if err := kv.fill(pb, b); err != nil {
		return errors.Join(err, pb.Close())
	}
	if err := kv.apply(pb, b.Checks); err != nil {
		return err
	}
	if err := pb.SyncWait(); err != nil {
		return unknown(kv.breakDown(err))
	}
	return pb.Close()
}

// unknown is ErrUnknown with its reason.
func unknown(err error) error { return fmt.Errorf("%w: %w", store.ErrUnknown, err) }

// fill translates a batch. One of checks alone still has to wait until what it
// sees is durable, so it is given an empty record.
func (kv *KV) fill(pb *pebble.Batch, b store.Batch) error {
	for _, d := range b.Deletes {
		if err := kv.deleteRange(pb, d); err != nil {
			return err
		}
	}
	for _, w := range b.Writes {
		if err := pb.Set(w.Key, w.Value, nil); err != nil {
			return err
		}
	}
	if pb.Empty() {
		return pb.LogData(nil, nil)
	}
	return nil
}

func (kv *KV) deleteRange(pb *pebble.Batch, d store.Range) error {
	to := d.To
	if to == nil { // Pebble wants an end
		it, err := kv.db.NewIter(&pebble.IterOptions{LowerBound: d.From})
		if err != nil {
			return err
		}
		if it.Last() {
			to = append(bytes.Clone(it.Key()), 0)
		}
		if err := it.Close(); err != nil {
			return err
		}
	}
	if bytes.Compare(d.From, to) >= 0 {
		return nil
	}
	return pb.DeleteRange(d.From, to, nil)
}

// apply checks, and writes to the log and to memory, as one step among commits.
// The order of the log is the order of the checks: if a commit is durable, all
// that it has seen is.
func (kv *KV) apply(pb *pebble.Batch, checks []store.Check) error {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if err := kv.ready(); err != nil {
		return errors.Join(err, pb.Close())
	}
	for _, c := range checks {
		if err := kv.check(c); err != nil {
			return errors.Join(err, pb.Close())
		}
	}
	start := time.Now()
	kv.applying.Store(&start)
	err := kv.unless(kv.failed, func() error { return kv.db.ApplyNoSyncWait(pb, pebble.Sync) })
	kv.applying.Store(nil)
	switch {
	case err == nil:
		return nil
	case kv.broken.Load() != nil: // the batch may still be Pebble's
		return unknown(kv.breakDown(err))
	}
	return errors.Join(err, pb.Close())
}

// unless gives f's error, or what has broken the store if that ends first: a commit
// may wait for a flush that will never come. Pebble panics when it cannot write to
// its log any more.
func (kv *KV) unless(ended <-chan struct{}, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- kv.wedge(fmt.Errorf("%v", p))
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ended:
	}
	select {
	case err := <-done:
		return err
	default: // f is still at work in Pebble, which must not be closed below it
		return kv.wedge(kv.broken.Load())
	}
}

// wedge notes that a call is left in Pebble, where it may stay for ever.
func (kv *KV) wedge(cause error) error {
	err := kv.breakDown(cause)
	kv.once.Do(func() { close(kv.wedged) })
	return err
}

func (kv *KV) isWedged() bool {
	select {
	case <-kv.wedged:
		return true
	default:
		return false
	}
}

// Err says why the store takes no commits now, for readiness checks; nil if it
// does.
func (kv *KV) Err() error { return kv.ready() }

// ready says whether the store can take a commit.
func (kv *KV) ready() error {
	if err := kv.broken.Load(); err != nil {
		return err
	}
	u, err := kv.fs.GetDiskUsage(kv.dir)
	if err != nil {
		return err
	}
	if u.AvailBytes < kv.minFree {
		return sigbox.Errorf(sigbox.Unavailable, "the disk is nearly full: nothing is written below %d MiB of free space", kv.minFree>>20).
			WithHint("make room on the disk of the data directory").WithCause(errors.New(kv.dir)) // callers afar need not know where that is
	}
	return nil
}

func (kv *KV) check(c store.Check) error {
	have, closer, err := kv.db.Get(c.Key)
	if errors.Is(err, pebble.ErrNotFound) {
		if c.Want == nil {
			return nil
		}
		return store.ErrConflict
	}
	if err != nil {
		return kv.readError(err)
	}
	same := c.Want != nil && bytes.Equal(have, c.Want)
	if err := closer.Close(); err != nil {
		return err
	}
	if !same {
		return store.ErrConflict
	}
	return nil
}

// Lock implements [store.KV]: the directory belongs to this process alone.
func (kv *KV) Lock(ctx context.Context, name string) (context.Context, func(), error) {
	return kv.locks.Lock(ctx, name)
}

// Close implements [store.KV]. It waits for calls under way.
func (kv *KV) Close() error {
	if !kv.calls.close() {
		return nil
	}
	if kv.isWedged() {
		return kv.broken.Load() // Pebble would wait for its own locks
	}
	err := kv.unless(kv.wedged, kv.db.Close)
	if kv.broken.Load() != nil && !kv.isWedged() {
		return nil // what has broken it was told; what Pebble cannot write any more is no news
	}
	return err
}

// gate lets calls in until it is closed.
type gate struct {
	mu     sync.Mutex
	inside int           // guarded by mu
	empty  chan struct{} // guarded by mu; made by close, closed when the last call leaves
}

var errClosed = errors.New("the store is closed")

func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return errClosed
	}
	g.inside++
	return nil
}

// check says whether a call that is inside should end.
func (g *gate) check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.empty != nil {
		return errClosed
	}
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.inside == 0 && g.empty != nil {
		close(g.empty)
	}
}

// close lets no further calls in and waits for those inside; false when it was
// closed before.
func (g *gate) close() bool {
	g.mu.Lock()
	if g.empty != nil {
		g.mu.Unlock()
		return false
	}
	empty := make(chan struct{})
	g.empty = empty
	if g.inside == 0 {
		close(empty)
	}
	g.mu.Unlock()
	<-empty
	return true
}

// logger gives Pebble's messages to slog.
type logger struct{ kv *KV }

func (l logger) Infof(format string, args ...any) {
	if l.kv.log.Enabled(context.Background(), slog.LevelDebug) {
		l.kv.log.Debug("store: " + fmt.Sprintf(format, args...))
	}
}

func (l logger) Errorf(format string, args ...any) {
	l.kv.log.Error("store: " + fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble's state is not to be relied on any more. In a call
// of ours, the panic becomes its error; a goroutine of Pebble's own ends, with what
// it holds given back that it gives back when it panics. Nothing follows, since
// nothing is written any more; what can be read can still be read.
func (l logger) Fatalf(format string, args ...any) {
	err := l.kv.wedge(fmt.Errorf(format, args...))
	if called() {
		panic(err)
	}
	runtime.Goexit()
}
