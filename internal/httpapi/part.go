package httpapi

import (
	"log/slog"
	"net/http"

	"github.com/sigbox/sigbox"
)

// Part serves what the host has, signed, to the instance's other hosts:
//
//	GET /part.json
type Part struct {
	// Signed gives it as it is now. What it gives beside an error will do.
	Signed func() ([]byte, error)
	Logger *slog.Logger
}

// Register adds the route to mux.
func (h *Part) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /part.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		b, err := h.Signed()
		if b == nil && err == nil {
			err = sigbox.Errorf(sigbox.Unavailable, "the host is not ready to say what it has")
		}
		if b == nil {
			writeError(w, r, h.Logger, err)
			return
		}
		writeBytes(w, http.StatusOK, "application/json", b)
	})
}
