package remote

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

// Shard is a log that a server says it has. Nothing of that is proven: a log is what its
// key signs.
type Shard struct {
	Name string `json:"name"`
	// Log is "v2", "v1" or "ct".
	Log string `json:"log"`
	// Phase is [ShardPrepared], "active", [ShardSealed] or "abandoned".
	Phase  string     `json:"phase"`
	Origin string     `json:"origin"`
	LogID  []byte     `json:"logId"`
	URL    string     `json:"url"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until"`
	Size   uint64     `json:"treeSize"`
}

// What a server calls a log that is to take entries, and one that takes no more.
const (
	ShardPrepared = "prepared"
	ShardSealed   = "sealed"
)

// In is where a shard is read, and how: with the keys and the memory of a configuration.
func (s *Shard) In(cfg LogConfig) LogConfig {
	cfg.URL, cfg.CT, cfg.Version = s.URL, s.Log == "ct", 0
	switch s.Log {
	case "v2":
		cfg.Version = 2
	case "v1":
		cfg.Version = 1
	}
	return cfg
}

// Shards asks a server which logs it has, those before the present ones too: none for a
// server that does not say, as others than sigbox's.
func (c *Client) Shards(ctx context.Context, baseURL string) ([]Shard, error) {
	req := request{service: logService, method: http.MethodGet, url: join(baseURL, "/api/shards"), limit: maxCheckpoint}
	resp, err := c.expect(ctx, req, http.StatusOK)
	if err != nil && sigbox.KindOf(err) != sigbox.Unavailable {
		return nil, nil // it has no such route
	}
	if err != nil {
		return nil, err
	}
	var answer struct {
		Shards []Shard `json:"shards"`
	}
	if decodeJSON(resp.body, &answer) != nil {
		return nil, nil //nolint:nilerr // a page of a server that has one for everything
	}
	if len(answer.Shards) > 3*maxShards {
		return nil, badAnswer(req, fmt.Sprintf("at most %d logs", 3*maxShards))
	}
	if slices.ContainsFunc(answer.Shards, func(s Shard) bool { return len(s.Name) > maxShardName || strings.ContainsFunc(s.Name, oddInName) }) {
		return nil, badAnswer(req, "names of small letters, digits, dots and dashes")
	}
	return answer.Shards, nil
}

// maxShardName bounds the name of a shard, in bytes.
const maxShardName = 40

// oddInName reports whether the name of a shard cannot have a character. Names stand in
// commands that people are told to type.
func oddInName(r rune) bool {
	return ('a' > r || r > 'z') && ('0' > r || r > '9') && r != '.' && r != '-'
}

// shardPath stands before the name in the URL of a single shard.
const shardPath = "/shards/"

// IsShard reports whether a log's URL is that of a shard's own place, where it is read
// alone.
func IsShard(baseURL string) bool { return strings.Contains(baseURL, shardPath) }

// Shards gives the logs of the server that the log is read from, none if it does not say.
func (r *LogReader) Shards(ctx context.Context) ([]Shard, error) {
	return r.client.Shards(ctx, r.base())
}

// name is what the log's server calls it in its search: a shard, or the version where it
// does not say which it has.
func (r *LogReader) name(ctx context.Context) (string, error) {
	if name := r.called.Load(); name != nil {
		return *name, nil
	}
	shards, err := r.Shards(ctx)
	if err != nil {
		return "", err
	}
	name := "v2"
	if isV1Origin(r.head.Origin) {
		name = "v1"
	}
	for _, s := range shards {
		if bytes.Equal(s.LogID, r.LogID()) {
			name = s.Name
		}
	}
	r.called.Store(&name)
	return name, nil
}
