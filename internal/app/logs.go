package app

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/store"
	blobdir "github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/s3"
	"github.com/sigbox/sigbox/internal/tlog"
)

// guardLog adds what the settings say of a log's publishing and of its anchor, and
// what an operator has accepted.
func (a *App) guardLog(cfg *tlog.Config, part string) {
	cfg.PublishInterval = a.settings.PublishInterval
	cfg.AcceptAnchor, cfg.AcceptClock, cfg.Fellows = a.cfg.Accept.Anchor, a.cfg.Accept.Clock, &a.fellows
	a.anchors.guard(cfg, a.state.get().anchorName(part))
}

// anchorName is what the anchor of a log is called.
func (s state) anchorName(part string) string {
	return strings.TrimSuffix(part, "/") + "." + s.LogHostname
}

// anchors is where the heads of an instance's logs are brought to: a bucket or a
// directory, or nowhere.
type anchors struct {
	bucket *s3.Bucket
	dir    string
}

// guard gives a log the anchor of a name, if there are anchors.
func (x anchors) guard(cfg *tlog.Config, name string) {
	switch {
	case x.bucket != nil:
		cfg.Anchor, cfg.AnchorInterval = x.bucket.Anchor(name), bucketAnchorInterval
	case x.dir != "":
		cfg.Anchor = blobdir.NewAnchor(filepath.Join(x.dir, name))
	}
}

// bucketAnchorInterval is the time between two comparisons with a bucket, each of
// which costs a call, and a second one if there is a new head.
const bucketAnchorInterval = 5 * time.Second

// openAnchor says what an instance without an anchor cannot know.
func (a *App) openAnchor() (err error) {
	if a.settings.Anchor == "" && slices.ContainsFunc([]Role{RoleCTLog, RoleLog, RoleLogV1}, a.settings.has) {
		a.cfg.Logger.Warn("no anchor is set: if the data directory is ever replaced by an older copy, the logs fork and nobody here notices",
			"hint", "give --anchor a directory on another disk, or a bucket")
	}
	if a.anchors, err = openAnchors(a.settings.Anchor, a.cfg.Data); err != nil || a.anchors.dir == "" {
		return err
	}
	here, _ := inode(a.cfg.Data)
	if there, _ := inode(a.anchors.dir); here != 0 && here == there {
		a.cfg.Logger.Warn("the anchor is on the file system of the data: a snapshot of it takes both back, and nobody here notices",
			"anchor", a.anchors.dir, "hint", "give --anchor a directory on another disk, or a bucket")
	}
	return nil
}

// openAnchors prepares for the anchors in a place, and refuses one that would be copied
// with the data.
func openAnchors(place, data string) (anchors, error) {
	switch {
	case place == "":
		return anchors{}, nil
	case strings.HasPrefix(place, s3.Scheme):
		at, err := s3.ParseURL(place)
		if err != nil {
			return anchors{}, err
		}
		bucket, err := s3.Open(at)
		return anchors{bucket: bucket}, err
	}
	dir, err := filepath.Abs(place)
	if err != nil {
		return anchors{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if rel, err := filepath.Rel(resolved(data), resolved(dir)); err == nil && filepath.IsLocal(rel) {
		return anchors{}, sigbox.Errorf(sigbox.Invalid, "the anchor %s is in the data directory: it would be copied and restored with it", dir).
			WithHint("give --anchor a directory on another disk")
	}
	return anchors{dir: dir}, nil
}

// resolved gives a path without symbolic links, as far as it can be followed.
func resolved(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(resolved(dir), filepath.Base(path))
	}
	return path
}

// CheckLogsOptions change what [CheckLogs] does.
type CheckLogsOptions struct {
	// Log is the log to check: a shard such as rekor2.2, or all v2, v1 or ct; all of them
	// if "".
	Log string
	// Repair makes anew what follows from entries.
	Repair bool
	// SkipContents leaves out what entries say: their signatures above all, which
	// take most of the time.
	SkipContents bool
	// Progress, if not nil, is told how far the check of a log is; see
	// [tlog.CheckOptions].
	Progress func(log string, phase tlog.Phase, done, total uint64)
}

// CheckLogs checks the logs of an instance that no server runs on, entry by entry,
// and repairs them if it is told to; see [tlog.Check] and [tlog.Repair]. Errors:
// NotFound when there is no instance or log, Conflict when a server runs on it.
func CheckLogs(ctx context.Context, cfg Config, o CheckLogsOptions) (_ []LogReport, err error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	st, err := loadState(cfg.Data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, sigbox.Errorf(sigbox.NotFound, "there is no instance in %s", cfg.Data).WithHint("give the --data of sigbox serve")
	case err != nil:
		return nil, diskError(cfg.Data, err)
	}
	settings, err := cfg.load()
	if err != nil {
		return nil, err
	}
	at, err := openAnchors(settings.Anchor, cfg.Data)
	if err != nil {
		return nil, err
	}
	held, err := lockDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	kv, err := openKV(ctx, cfg.Data, cfg.Logger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, kv.Close()) }()
	blob, err := blobdir.Open(filepath.Join(cfg.Data, tileDir))
	if err != nil {
		return nil, diskError(cfg.Data, err)
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	keeper, err := newKeeper(&cfg, &settings)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	c := logChecker{cfg: cfg, settings: settings, keeper: keeper, anchors: at, state: st, kv: kv, blob: blob, o: o}
	return c.all(ctx)
}

// logChecker checks the logs in open stores.
type logChecker struct {
	cfg      Config
	settings Settings
	keeper   *keeper
	anchors  anchors
	state    state
	kv       store.KV
	blob     store.Blob
	o        CheckLogsOptions
}

func (c *logChecker) all(ctx context.Context) ([]LogReport, error) {
	var reports []LogReport
	var names []string
	for _, role := range logRoles() {
		for _, g := range c.state.generations(role) {
			name := generationKey(role, g.Number)
			names = append(names, name)
			if !g.Trusted() || c.o.Log != "" && c.o.Log != versionOf(role) && c.o.Log != name {
				continue
			}
			r, err := c.one(ctx, role, g)
			if errors.Is(err, fs.ErrNotExist) || err != nil && sigbox.KindOf(err) == sigbox.NotFound && c.o.Log != name {
				continue // an instance need not have each log
			}
			if err != nil {
				return reports, err
			}
			reports = append(reports, r)
		}
	}
	if len(reports) == 0 {
		return nil, sigbox.Errorf(sigbox.NotFound, "the instance has no log %q", c.o.Log).WithHint("logs are %s; v2, v1 and ct are all of a kind", strings.Join(names, ", "))
	}
	return reports, nil
}

// one checks one log.
func (c *logChecker) one(ctx context.Context, role string, g rotation.Generation) (LogReport, error) {
	name := generationKey(role, g.Number)
	log, err := c.config(ctx, role, g)
	if err != nil {
		return LogReport{}, err
	}
	says := newContents(ctx, role, log.KV)
	o := tlog.CheckOptions{Entry: says.entry}
	if c.o.SkipContents {
		o.Entry = nil
	}
	if c.o.Progress != nil {
		o.Progress = func(p tlog.Phase, done, total uint64) { c.o.Progress(name, p, done, total) }
	}
	check := tlog.Check
	if c.o.Repair {
		check = tlog.Repair
	}
	r, err := check(ctx, log, o)
	return LogReport{r, name, says.signed.Load(), says.hashed.Load()}, err
}

// config gives what the log engine needs to know of a log. Of its key that is the one that
// tells the log's own checkpoints from others, be it given up.
func (c *logChecker) config(ctx context.Context, role string, g rotation.Generation) (tlog.Config, error) {
	name := generationKey(role, g.Number)
	key, err := c.keeper.logKey(name, g, func() (crypto.Signer, error) { return c.keeper.lazily(name) })
	if err != nil {
		return tlog.Config{}, err
	}
	log, err := c.state.logConfig(role, g, key)
	if err != nil {
		return tlog.Config{}, err
	}
	part := shardPart(name)
	log.KV, log.Blob, log.Logger = store.WithPrefix(c.kv, part), store.Sub(c.blob, part), c.cfg.Logger
	log.PublishInterval, log.Now = c.settings.PublishInterval, c.cfg.Now
	c.anchors.guard(&log, c.state.anchorName(part))
	return log, checkIndex(ctx, &log, role)
}
