package app

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// logRoles are the roles whose keys are those of logs, in the order in which logs are
// listed and checked. Each generation of such a key is a shard: a log of its own, with a
// name and a part of the stores of its own. One that is prepared is open, published and
// trusted, and nothing is in it; one that is sealed is read.
func logRoles() []string { return []string{rekorKey, rekorV1Key, ctLogKey} }

// versionOf is what clients call the logs of a role.
func versionOf(role string) string {
	return map[string]string{rekorKey: "v2", rekorV1Key: "v1", ctLogKey: "ct"}[role]
}

// shardPart is a shard's part of the stores. None begins another.
func shardPart(name string) string { return name + "/" }

// shardHost is the host in the name of a generation of a log. The first one's is the
// instance's; the trees of the v1 log have one host and differ in the tree ID, which
// follows from the key.
func (s state) shardHost(role string, g rotation.Generation) string {
	if role == rekorV1Key {
		return s.rekorV1Host()
	}
	if g.Number == 1 {
		return s.LogHostname
	}
	_, domain, _ := strings.Cut(s.LogHostname, ".")
	return fmt.Sprintf("log%d-%d.%s", g.Made.UTC().Year(), g.Number, domain)
}

// shardValid is when verifiers trust what a shard's key has signed. It begins a while
// before the first use, as that of everything does.
func shardValid(g rotation.Generation) sigbox.TimeRange {
	start := g.Made
	if g.Number > 1 {
		start = validFrom(start)
	}
	return sigbox.TimeRange{Start: start, End: g.Ends}
}

// sealed reports whether a generation will sign nothing any more.
func sealed(g rotation.Generation) bool { return !g.Ends.IsZero() }

// logConfig gives what is particular to a shard in the engine's configuration.
func (s state) logConfig(role string, g rotation.Generation, key crypto.Signer) (cfg tlog.Config, err error) {
	host := s.shardHost(role, g)
	switch role {
	case rekorKey:
		signer, err := note.NewSigner(host, key)
		if err != nil {
			return cfg, err
		}
		cfg = rekor.LogConfig(signer)
	case rekorV1Key:
		cfg, err = rekor1.LogConfig(host, key)
	default:
		cfg, err = ctlog.LogConfig(host+ctLogPath, key)
	}
	cfg.Sealed = sealed(g)
	return cfg, err
}

// shard is an open log. One of the services is set.
type shard struct {
	role   string
	number int
	key    crypto.Signer
	tree   *tlog.Log
	index  *search.Index // nil for a CT log

	rekor   *rekor.Service
	rekorV1 *rekor1.Service
	ct      *ctlog.Service

	handler func() http.Handler // at its own place; made once, when it is first asked for
}

func (d *shard) name() string { return generationKey(d.role, d.number) }

// origin names the log to people.
func (d *shard) origin() string { return d.tree.Origin() }

// trust is the shard's place in a trust root, but for its validity and a CT log's URL.
func (d *shard) trust() sigbox.TransparencyLog {
	switch d.role {
	case rekorKey:
		return d.rekor.TransparencyLog()
	case rekorV1Key:
		return d.rekorV1.TransparencyLog()
	}
	return d.ct.TransparencyLog()
}

// shards are the open logs of an instance.
type shards struct {
	mu   sync.RWMutex
	list []*shard // guarded by mu; those of a role in their order
}

func (x *shards) add(d *shard) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list = append(x.list, d)
}

// of gives the shards of a role, in their order; all of them if it is "".
func (x *shards) of(role string) (list []*shard) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, d := range x.list {
		if role == "" || d.role == role {
			list = append(list, d)
		}
	}
	return list
}

// has reports whether there is one of a role.
func (x *shards) has(role string) bool { return len(x.of(role)) > 0 }

// get gives a shard, nil if it is not open.
func (x *shards) get(name string) *shard {
	for _, d := range x.of("") {
		if d.name() == name {
			return d
		}
	}
	return nil
}

// openShards opens all shards of a role, and gives the one that takes entries.
func (s *services) openShards(ctx context.Context, role string) (active *shard, err error) {
	for _, g := range s.app.state.get().generations(role) {
		if !g.Trusted() {
			continue
		}
		d, err := s.openShard(ctx, role, g)
		if err != nil && g.Phase() == rotation.Made && sigbox.KindOf(err) == sigbox.Unavailable {
			s.app.cfg.Logger.Warn("the instance starts without a log that nobody knows yet: it is begun when its key's source is back", "key", generationKey(role, g.Number), "err", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if g.Phase() == rotation.Signing {
			active = d
		}
	}
	return active, nil
}

// openShard opens a log, or begins it. What it is has no part in anything yet but
// reading it.
func (s *services) openShard(ctx context.Context, role string, g rotation.Generation) (*shard, error) {
	d := &shard{role: role, number: g.Number}
	st := s.app.state.get()
	key, err := s.keeper.logKey(d.name(), g, func() (crypto.Signer, error) { return s.key(ctx, d.name()) })
	if err != nil {
		return nil, err
	}
	d.key = key
	cfg, err := st.logConfig(role, g, key)
	if err != nil {
		return nil, err
	}
	cfg.Sealed = cfg.Sealed || role == rekorV1Key && !s.app.settings.rekorV1()
	if d.tree, err = s.openLog(ctx, shardPart(d.name()), cfg); err != nil {
		return nil, err
	}
	if len(st.generations(role)) > 1 { // also where a switch was written down and not done
		err = s.rememberKey(d)
	}
	if err == nil {
		err = s.openShardService(ctx, d, st.shardHost(role, g), shardValid(g).Start)
	}
	if err != nil { // whoever tries again finds it closed
		return nil, errors.Join(err, d.tree.Close(context.WithoutCancel(ctx)))
	}
	d.handler = sync.OnceValue(func() http.Handler { return s.serve(d) })
	s.shards.add(d)
	return d, nil
}

func (s *services) openShardService(ctx context.Context, d *shard, host string, since time.Time) (err error) {
	switch d.role {
	case rekorKey:
		if d.index, err = s.openIndex(ctx, d.tree, entry.KindHashedRekord); err != nil {
			return err
		}
		signer, err := note.NewSigner(host, d.key)
		if err != nil {
			return err
		}
		d.rekor, err = rekor.New(rekor.Config{Log: d.tree, Signer: signer, Since: since, Rows: search.Rows})
		return err
	case rekorV1Key:
		if d.index, err = s.openIndex(ctx, d.tree); err != nil {
			return err
		}
		d.rekorV1, err = rekor1.New(rekor1.Config{
			Log: d.tree, Key: d.key, Host: host, Since: since, Rows: search.Rows, RowBytes: search.RowBytes,
		})
		return err
	}
	if d.ct, err = ctlog.New(ctlog.Config{
		Log: d.tree, Key: d.key, Chains: s.chains(), URL: s.url(RoleCTLog) + ctLogPath, Since: since, Files: store.Sub(s.blob, shardPart(d.name())),
	}); err != nil {
		return err
	}
	if err := d.ct.PublishIssuers(ctx); err != nil {
		s.app.cfg.Logger.Warn("the issuers' certificates were not published beside the CT log's tiles", "error", err) // they are served all the same
	}
	return nil
}

// logKey gives the key of a shard, which open opens. Of one that was given up the public
// half is left, which is all that reading needs; so it may be of one that never will sign.
func (k *keeper) logKey(name string, g rotation.Generation, open func() (crypto.Signer, error)) (crypto.Signer, error) {
	if held(roleKey(name), g) {
		if key, err := open(); err == nil || g.Phase() != rotation.Abandoned {
			return key, err
		}
	}
	pub, err := k.known(name)
	if err != nil {
		return nil, err
	}
	if pub == nil {
		return nil, sigbox.Errorf(sigbox.Fatal, "the key %s was given up, and its public half %s is gone: what the log has cannot be told from other logs'",
			name, publicPath(k.dir, name)).WithHint("put it back from a backup")
	}
	return formerKey{name, pub}, nil
}

// rememberKey writes down the public half of a shard's key, which is all that will be left
// of it one day.
func (s *services) rememberKey(d *shard) error { return s.keeper.remember(d.name(), d.key.Public()) }

// formerKey is a key that was given up.
type formerKey struct {
	name string
	pub  crypto.PublicKey
}

// Public gives the public half.
func (k formerKey) Public() crypto.PublicKey { return k.pub }

// Sign refuses.
func (k formerKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, sigbox.Errorf(sigbox.Frozen, "the key %s was given up", k.name)
}

// applyLog has the logs of a role be what the state says: those of generations that are
// on their way are made, and the one whose key signs takes entries. The one before is
// sealed then; each entry that is on its way meanwhile is logged, and answered, in the
// one or in the other. It may be called again after a failure.
func (s *services) applyLog(ctx context.Context, role string) error {
	if !s.shards.has(role) {
		return nil
	}
	st := s.app.state.get()
	for _, g := range st.generations(role) {
		if g.Trusted() && s.shards.get(generationKey(role, g.Number)) == nil {
			if _, err := s.openShard(ctx, role, g); err != nil {
				return err
			}
		}
	}
	if role == ctLogKey { // a part may have come while a log was opened
		if err := s.meet(); err != nil {
			return err
		}
	}
	for _, g := range st.generations(role) {
		if d := s.shards.get(generationKey(role, g.Number)); d != nil && g.Phase() == rotation.Abandoned {
			if _, err := d.tree.Seal(ctx); err != nil {
				return err
			}
		}
	}
	next := s.shards.get(generationKey(role, rotation.Current(st.generations(role)).Number))
	if next == s.active(role) {
		return nil
	}
	if err := s.rememberKey(s.active(role)); err != nil {
		return err
	}
	s.app.cfg.Logger.InfoContext(ctx, "the log goes on in another one, and is sealed", "log", s.active(role).tree.Origin(), "next", next.tree.Origin())
	return s.hand(context.WithoutCancel(ctx), next) // whoever asked for it may go away
}

// hand has a shard take entries in the place of the active one.
func (s *services) hand(ctx context.Context, next *shard) error {
	switch next.role {
	case rekorKey:
		return s.rekor.Hand(ctx, next.rekor)
	case rekorV1Key:
		return s.rekorV1.Hand(ctx, next.rekorV1)
	}
	return s.ctLog.Hand(ctx, next.ct)
}

// logReady says why a log cannot go on in another one now. Where that one is there, its
// first entry is too then. A log that takes nothing, for whatever reason, can be left
// behind when its key was stolen; else it is to be mended first.
func (s *services) logReady(ctx context.Context, role string, stolen bool) error {
	active := s.active(role)
	if active == nil {
		return sigbox.Errorf(sigbox.NotFound, "this instance has no log %s", role)
	}
	if role == rekorV1Key && !s.app.settings.rekorV1() {
		return sigbox.Errorf(sigbox.Frozen, "the v1 log is turned off: it takes no entries, and neither would another one").
			WithHint("rekor-v1: true in the settings turns it on")
	}
	if err := active.tree.Err(); err != nil && !stolen {
		return err
	}
	waiting, ok := rotation.Next(s.app.state.get().generations(role))
	next := s.shards.get(generationKey(role, waiting.Number))
	if !ok || next == nil {
		return nil
	}
	if err := next.tree.Err(); err != nil || next.tree.Head().Size > 0 {
		return err
	}
	return s.recordRootIn(ctx, next)
}

// active gives the shard of a role that takes entries, nil if the instance has none.
func (s *services) active(role string) *shard {
	var tree func(d *shard) bool
	switch {
	case role == rekorKey:
		tree = func(d *shard) bool { return d.rekor == s.rekor.Active() }
	case role == ctLogKey:
		tree = func(d *shard) bool { return d.ct == s.ctLog.Active() }
	case s.rekorV1 == nil:
		return nil
	default:
		tree = func(d *shard) bool { return d.rekorV1 == s.rekorV1.Active() }
	}
	list := s.shards.of(role)
	return list[slices.IndexFunc(list, tree)]
}

// setChains has the CT logs that take certificates, or will, take those of all
// authorities. s.meeting is held.
func (s *services) setChains() error {
	for _, d := range s.shards.of(ctLogKey) {
		if err := d.ct.SetChains(s.chains()); err != nil {
			return err
		}
	}
	return nil
}

// activeFirst gives the shards of a role, the active one first, then the newest first.
func (s *services) activeFirst(role string) []*shard {
	list := s.shards.of(role)
	if len(list) == 0 {
		return nil
	}
	active := s.active(role)
	slices.SortFunc(list, func(a, b *shard) int {
		return cmp.Or(boolOrder(b == active)-boolOrder(a == active), b.number-a.number)
	})
	return list
}

func boolOrder(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shardErr says what is wrong with one of a role's logs: first with the one that takes
// entries.
func (s *services) shardErr(role string) func() error {
	return func() error {
		for _, d := range s.activeFirst(role) {
			if err := d.tree.Err(); err != nil {
				return err
			}
		}
		return nil
	}
}

// trustedLogs gives the logs of a role as clients are told to trust them.
func (s *services) trustedLogs(role string) (logs []sigbox.TransparencyLog) {
	st := s.app.state.get()
	for _, d := range s.activeFirst(role) {
		g, ok := st.generation(role, d.number)
		if !ok || !g.Trusted() {
			continue
		}
		log := d.trust()
		log.ValidFor = shardValid(g)
		if role == ctLogKey && d != s.active(role) {
			log.BaseURL = s.shardURL(d)
		}
		logs = append(logs, log)
	}
	return logs
}

// shardURL is a shard's own place.
func (s *services) shardURL(d *shard) string {
	return s.url(roleOf(d.role)) + httpapi.ShardsPath + d.name()
}

// listShards says which shards there are.
func (s *services) listShards() []httpapi.Shard {
	st := s.app.state.get()
	list := []httpapi.Shard{}
	for _, role := range logRoles() {
		for _, d := range s.shards.of(role) {
			g, ok := st.generation(role, d.number)
			if !ok || !g.Trusted() {
				continue
			}
			trust, valid := d.trust(), shardValid(g)
			shard := httpapi.Shard{
				Name: d.name(), Log: versionOf(role), Phase: httpapi.ShardPrepared, Origin: d.tree.Origin(), LogID: trust.LogID,
				URL: s.shardURL(d), Since: valid.Start, Size: d.tree.Head().Size,
			}
			switch {
			case g.Phase() == rotation.Abandoned:
				shard.Phase, shard.Until = httpapi.ShardAbandoned, &valid.End
			case sealed(g):
				shard.Phase, shard.Until = httpapi.ShardSealed, &valid.End
			case g.Phase() == rotation.Signing:
				shard.Phase = httpapi.ShardActive
			}
			list = append(list, shard)
		}
	}
	return list
}

// shardHandler gives what serves a shard at its own place, on a port that has some roles.
func (s *services) shardHandler(on func(Role) bool) func(name string) http.Handler {
	return func(name string) http.Handler {
		d := s.shards.get(name)
		if d == nil || !on(roleOf(d.role)) {
			return nil
		}
		return d.handler()
	}
}

// serve makes the shard's handler.
func (s *services) serve(d *shard) http.Handler {
	log := s.app.cfg.Logger
	switch d.role {
	case rekorKey:
		return httpapi.RekorShard(d.rekor, log)
	case rekorV1Key:
		return httpapi.RekorV1Shard(s.rekorV1, d.rekorV1, log)
	}
	return httpapi.CTShard(d.ct, log)
}
