package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// maxTimestampBody bounds the body of a timestamp request; the parsers of both
// forms have lower bounds of their own.
const maxTimestampBody = 1 << 20

// Timestamp serves the timestamp authority as sigstore/timestamp-authority does:
//
//	POST /api/v1/timestamp            DER (RFC 3161 §3.4) or JSON in, a TimeStampResp out
//	GET  /api/v1/timestamp/certchain  the certificates, PEM, leaf first
//	GET  /ping
//
// A timestamp is answered with 200. A DER request for what the authority does not
// do is answered with 200 and a rejection, all other faults with their status.
type Timestamp struct {
	Service *tsa.Service
	Logger  *slog.Logger
}

// Register adds the routes to mux.
func (h *Timestamp) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/timestamp", h.stamp)
	mux.HandleFunc("GET /api/v1/timestamp/certchain", func(w http.ResponseWriter, _ *http.Request) {
		writeBytes(w, http.StatusOK, pemChainType, h.Service.ChainPEM())
	})
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) {
		writeBytes(w, http.StatusOK, "text/plain", []byte("."))
	})
}

func (h *Timestamp) stamp(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(w, r, maxTimestampBody)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	resp, err := h.answer(r, body)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	writeBytes(w, http.StatusOK, "application/timestamp-reply", resp)
}

// answer takes either form.
func (h *Timestamp) answer(r *http.Request, body []byte) ([]byte, error) {
	switch mediaType(r) {
	case "application/timestamp-query":
		return h.Service.Stamp(r.Context(), body)
	case "application/json":
		req, err := timestamp.ParseJSONRequest(body)
		if err != nil {
			return nil, err
		}
		return h.Service.StampRequest(r.Context(), req)
	}
	return nil, sigbox.Mismatch(sigbox.Invalid, "timestamp request of an unexpected Content-Type",
		"application/timestamp-query or application/json", fmt.Sprintf("%.80q", mediaType(r)))
}
