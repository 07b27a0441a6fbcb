package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/sigbox/sigbox"
)

// ShardsPath begins the paths of single shards.
const ShardsPath = "/shards/"

// Shards serves each shard of an instance's logs at a place of its own, where it stays
// when another one takes entries.
//
//	GET /api/shards        which there are, also on other ports
//	GET /shards/{shard}/…  what the log's own routes read, of that shard
//
// Below its place a shard of Rekor v2 has /api/v2/checkpoint and /api/v2/tile/…, one of
// Rekor v1 /api/v1/log…, and one of a CT log what is below the log's prefix.
type Shards struct {
	// List gives the shards as they are now.
	List func() []Shard
	// Handler gives what serves a shard, without the prefix of its place; nil if there
	// is none of that name.
	Handler func(name string) http.Handler
	Logger  *slog.Logger
}

// Shard is what /api/shards says of one.
type Shard struct {
	Name string `json:"name"`
	// Log is "v2", "v1" or "ct".
	Log string `json:"log"`
	// Phase is "prepared" before the shard takes entries, "active", or "sealed" after;
	// "abandoned" for one that never will.
	Phase  string `json:"phase"`
	Origin string `json:"origin"`
	LogID  []byte `json:"logId"`
	// URL is its own place.
	URL   string     `json:"url"`
	Since time.Time  `json:"since"`
	Until *time.Time `json:"until,omitempty"`
	Size  uint64     `json:"treeSize"`
}

// Phases of a [Shard].
const (
	ShardPrepared  = "prepared"
	ShardActive    = "active"
	ShardSealed    = "sealed"
	ShardAbandoned = "abandoned"
)

// Register adds the routes to mux.
func (h *Shards) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/shards", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, struct {
			Shards []Shard `json:"shards"`
		}{h.List()})
	})
	mux.HandleFunc("GET "+ShardsPath+"{shard}/{path...}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("shard")
		shard := h.Handler(name)
		if shard == nil {
			writeError(w, r, h.Logger, sigbox.Errorf(sigbox.NotFound, "there is no shard %.40q", name).WithHint("GET /api/shards lists them"))
			return
		}
		http.StripPrefix(ShardsPath+name, shard).ServeHTTP(w, r)
	})
}

// RekorShard serves a shard of Rekor v2.
func RekorShard(log ReadLog, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	registerTiles(mux, "/api/v2", "entries", log, tileCaching, logger)
	return mux
}
