package httpapi

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/sigbox/sigbox/internal/tuf"
)

// TUF serves the instance's TUF repository:
//
//	GET /tuf/{path...}   metadata and targets; 404 ends a client's walk over the roots
//	GET /root.json       the root to hand out
//
// Files with a version or a hash in their name never change and may be cached for
// ever. The timestamp, and a root that is not there yet, must be asked for anew.
type TUF struct {
	Repository *tuf.Repository
	Logger     *slog.Logger
}

// Register adds the routes to mux.
func (h *TUF) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /tuf/{path...}", h.file)
	mux.HandleFunc("GET /root.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		writeBytes(w, http.StatusOK, "application/json", h.Repository.Root())
	})
}

func (h *TUF) file(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("path")
	b, err := h.Repository.Get(name)
	if err != nil {
		w.Header().Set("Cache-Control", "no-cache")
		writeError(w, r, h.Logger, err)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	if name == "timestamp.json" || name == "root.json" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	contentType := "application/octet-stream"
	if strings.HasSuffix(name, ".json") {
		contentType = "application/json"
	}
	writeBytes(w, http.StatusOK, contentType, b)
}
