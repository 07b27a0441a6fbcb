package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// Rekor serves the transparency log: Rekor's API v2 to write, C2SP tlog-tiles to
// read.
//
//	POST /api/v2/log/entries                a CreateEntryRequest in, 201 and a TransparencyLogEntry out
//	GET  /api/v2/checkpoint                 the latest checkpoint
//	GET  /api/v2/tile/{L}/{N}[.p/{W}]       a tile of hashes
//	GET  /api/v2/tile/entries/{N}[.p/{W}]   an entry bundle
//	POST /dev.sigstore.rekor.v2.Rekor/…     the same by gRPC
//
// An entry that is in the log already is answered with its first index, 201, and
// a fresh proof, where rekor-tiles answers 409 without one.
//
// Sources: rekor-v2-spec.md of sigstore/architecture-docs; C2SP tlog-tiles.
type Rekor struct {
	Service RekorLog
	Logger  *slog.Logger
}

// RekorLog is a Rekor v2 log, whichever shard of it takes entries.
type RekorLog interface {
	sigbox.Log
	ReadLog
}

// ReadLog is a log that is read as C2SP tlog-tiles has it.
type ReadLog interface {
	// Checkpoint gives the signed note of the latest tree.
	Checkpoint() string
	// Tile gives a tile of hashes, of width 1 to 256; the error is of kind NotFound
	// beyond the tree.
	Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error)
	// Entries gives an entry bundle in the same way.
	Entries(ctx context.Context, index uint64, width int) ([]byte, error)
}

// Register adds the routes to mux.
func (h *Rekor) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v2/log/entries", h.add)
	h.registerRPC(mux, registerTiles(mux, "/api/v2", "entries", h.Service, shardCaching, h.Logger))
}

func (h *Rekor) add(w http.ResponseWriter, r *http.Request) {
	le, err := h.create(w, r)
	if err != nil {
		writeError(w, r, h.Logger, asInvalid(err))
		return
	}
	answer := entry.AppendLogEntry(nil, &le)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	writeBytes(w, http.StatusCreated, "application/json", answer)
}

func (h *Rekor) create(w http.ResponseWriter, r *http.Request) (sigbox.LogEntry, error) {
	body, err := readBody(w, r, entry.MaxRequestSize)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	e, err := entry.ParseRequest(body)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	return h.Service.Add(r.Context(), e)
}

// asInvalid makes what is too large plainly invalid: Rekor answers 400 to both.
func asInvalid(err error) error {
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok || e.Kind != sigbox.TooLarge {
		return err
	}
	invalid := *e
	invalid.Kind = sigbox.Invalid
	return &invalid
}
