package main

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// shardNamed asks an instance for the log of its that a person names: by what the
// instance calls it, such as rekor2.2, or by its origin.
func (e *env) shardNamed(ctx context.Context, config *sigbox.SigningConfig, name string) (remote.Shard, error) {
	s, err := e.logService(config, "")
	if err != nil {
		return remote.Shard{}, err
	}
	shards, err := e.remote().Shards(ctx, s.URL)
	if err != nil {
		return remote.Shard{}, err
	}
	names := []string{"v2", "v1", "ct"}
	for _, s := range shards {
		if name == s.Name || name == s.Origin {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return remote.Shard{}, usage("--log: expected %s or a URL, found %q", strings.Join(names, ", "), name)
}

// openShard opens the log that is meant, of those that the server of another one has: r if
// it is that itself.
func (e *env) openShard(ctx context.Context, c logPlace, r *remote.LogReader, what string, meant func(origin string, id []byte) bool) (*remote.LogReader, error) {
	if head, _ := r.Head(); meant(head.Origin, r.LogID()) {
		return r, nil
	}
	shards, err := r.Shards(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(shards, func(s remote.Shard) bool { return meant(s.Origin, s.LogID) })
	if i < 0 {
		head, _ := r.Head()
		return nil, sigbox.Errorf(sigbox.NotFound, "%s is of another log than %.100q, and the server does not say where that is", what, head.Origin).
			WithHint("name the log by its URL: --log URL")
	}
	found, err := e.openAt(ctx, c, shards[i].In(c.LogConfig))
	if err != nil {
		return nil, err
	}
	if head, _ := found.Head(); !meant(head.Origin, found.LogID()) {
		return nil, sigbox.Mismatch(sigbox.NotVerified, "the log at "+shards[i].URL, shards[i].Origin, head.Origin)
	}
	return found, nil
}

// openLogs opens the log that the flags name, and those whose entries the same server has
// from before, the newest first.
func (e *env) openLogs(ctx context.Context, f *logFlags) ([]*remote.LogReader, error) {
	c, err := e.logConfig(ctx, f)
	if err != nil {
		return nil, err
	}
	r, err := e.openAt(ctx, c, c.LogConfig)
	if err != nil {
		return nil, err
	}
	logs := []*remote.LogReader{r}
	if !f.byName() || f.key != "" {
		return logs, nil
	}
	shards, err := r.Shards(ctx)
	if err != nil {
		return nil, err
	}
	of := slices.IndexFunc(shards, func(s remote.Shard) bool { return bytes.Equal(s.LogID, r.LogID()) })
	for _, s := range slices.Backward(shards) {
		if of < 0 || s.Log != shards[of].Log || s.Phase != remote.ShardSealed || bytes.Equal(s.LogID, r.LogID()) {
			continue
		}
		earlier, err := e.openAt(ctx, c, s.In(c.LogConfig))
		if err != nil {
			return nil, err
		}
		logs = append(logs, earlier)
	}
	return logs, nil
}

// openLogOf opens the log that a bundle says its entry is in, and gives what to ask it for.
func (e *env) openLogOf(ctx context.Context, f *logFlags, file string) (*remote.LogReader, wanted, error) {
	bundles, err := readBundles(file)
	if err != nil {
		return nil, wanted{}, err
	}
	if len(bundles) != 1 || len(bundles[0].Entries) != 1 {
		return nil, wanted{}, usage("%s: expected one bundle with one log entry", file)
	}
	le := &bundles[0].Entries[0]
	if f.log == "" && le.IntegratedTime != 0 {
		f.log = "v1"
	}
	c, err := e.logConfig(ctx, f)
	if err != nil {
		return nil, wanted{}, err
	}
	r, err := e.openAt(ctx, c, c.LogConfig)
	if err != nil {
		return nil, wanted{}, err
	}
	r, err = e.openShard(ctx, c, r, "the bundle's entry", func(_ string, id []byte) bool { return bytes.Equal(id, le.LogID) })
	w := wanted{index: uint64(le.LogIndex), leaf: le.Body} // #nosec G115 -- a bundle's is not negative
	if le.Inclusion != nil && err == nil && !r.IsV1() {
		w.index = uint64(le.Inclusion.LogIndex) // #nosec G115 -- the same
	}
	return r, w, err
}
