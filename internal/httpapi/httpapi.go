// Package httpapi is the server side of every protocol that sigbox speaks, a
// file each: parse, call one method, encode. Error kinds become statuses here
// and nowhere else.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/gate"
	"github.com/sigbox/sigbox/internal/limit"
)

// Codes of google.rpc.Code.
const (
	rpcNotFound          = 5
	rpcResourceExhausted = 8
	rpcUnimplemented     = 12
)

// status gives the HTTP status and the gRPC code (google.rpc.Code) of a kind.
// Sigstore's servers answer bad tokens with 400, and their clients expect it.
func status(kind sigbox.Kind) (httpStatus, rpcCode int) {
	switch kind {
	case sigbox.Invalid, sigbox.Unauthenticated, sigbox.NotVerified:
		return http.StatusBadRequest, 3 // INVALID_ARGUMENT
	case sigbox.Denied:
		return http.StatusForbidden, 7 // PERMISSION_DENIED
	case sigbox.NotFound:
		return http.StatusNotFound, rpcNotFound
	case sigbox.Conflict:
		return http.StatusConflict, 6 // ALREADY_EXISTS
	case sigbox.TooLarge:
		return http.StatusRequestEntityTooLarge, 8 // RESOURCE_EXHAUSTED
	case sigbox.Unavailable, sigbox.Fatal:
		return http.StatusServiceUnavailable, 14 // UNAVAILABLE
	case sigbox.Frozen:
		return http.StatusMethodNotAllowed, rpcUnimplemented
	}
	return http.StatusInternalServerError, 13 // INTERNAL
}

// requestInfo is google.rpc.RequestInfo in JSON, a detail of a status.
type requestInfo struct {
	Type string `json:"@type"`
	ID   string `json:"requestId"`
}

// newStatus makes the body of an answer to w's request, which names the request where
// it is known.
func newStatus(w http.ResponseWriter, rpc int, msg string) rpcStatus {
	s := rpcStatus{rpc, msg, []any{}}
	if id := w.Header().Get(requestIDHeader); id != "" {
		s.Details = append(s.Details, requestInfo{"type.googleapis.com/google.rpc.RequestInfo", id})
	}
	return s
}

// rpcStatus is google.rpc.Status in JSON, the error body of Fulcio and Rekor.
type rpcStatus struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Details []any  `json:"details"`
}

// writeError answers with err's status. Causes and internal failures are logged
// and never shown.
func writeError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	code, rpc, msg := refuse(w, r, log, err)
	writeJSON(w, code, newStatus(w, rpc, msg))
}

// refuse logs err and gives what to answer with, for a protocol to put into its own
// form.
func refuse(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) (httpStatus, rpcCode int, msg string) {
	kind := sigbox.KindOf(err)
	httpStatus, rpcCode = status(kind)
	_, limited := errors.AsType[*limit.Exceeded](err)
	if limited {
		httpStatus, rpcCode = http.StatusTooManyRequests, rpcResourceExhausted
	}
	if ended := r.Context().Err(); ended != nil && errors.Is(err, ended) {
		httpStatus, rpcCode = endedStatus(ended)
	}
	switch e, ok := errors.AsType[*sigbox.Error](err); {
	case kind == sigbox.Fatal:
		msg = stoppedMessage
	case ok && kind != sigbox.Internal:
		msg = e.Public()
	default:
		msg = internalMessage
	}
	level := refusalLevel(httpStatus)
	if _, overload := errors.AsType[*gate.Overload](err); overload {
		level = slog.LevelDebug // there are thousands a second: they are counted
	}
	log.Log(r.Context(), level, refusedMessage, "method", r.Method, "path", r.URL.Path, "status", httpStatus, "err", err)
	if httpStatus == http.StatusServiceUnavailable || limited {
		w.Header().Set("Retry-After", strconv.Itoa(patience(err)))
	}
	return httpStatus, rpcCode, msg
}

// What callers are told of what is no business of theirs. The first is for what an
// operator has to mend: damage in a store above all.
const (
	stoppedMessage  = "this cannot be answered before the server's operator has seen to it; the reason is in the server's log"
	internalMessage = "internal error; the reason is in the server's log"
)

const (
	// retryAfter is how long clients are asked to wait when there is no room for them,
	// in seconds.
	retryAfter = 1
	// retryStopped is the same for what goes on after a restart alone.
	retryStopped = 30
)

// patience is how long clients are asked to wait after an error, in seconds. A cause may
// say so itself.
func patience(err error) int {
	if e, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err); ok {
		return int(max(e.RetryAfter()/time.Second, retryAfter))
	}
	for e, ok := errors.AsType[*sigbox.Error](err); ok; e, ok = errors.AsType[*sigbox.Error](e.Unwrap()) {
		if e.Kind == sigbox.Fatal {
			return retryStopped
		}
	}
	return retryAfter
}

// statusClientClosed is what Rekor's servers log for a client that went away.
const statusClientClosed = 499

// endedStatus is status for a request that its client gave up, by going away or by
// its deadline.
func endedStatus(ended error) (httpStatus, rpcCode int) {
	if errors.Is(ended, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout, 4 // DEADLINE_EXCEEDED
	}
	return statusClientClosed, 1 // CANCELLED
}

// refusalLevel is how much a refusal is worth in the log. Asking for what is not
// there is a part of some protocols: every client walks on to the next TUF root.
func refusalLevel(status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case status == http.StatusNotFound:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	writeBytes(w, code, "application/json", b)
}

// writeLarge is writeJSON for what may be large, if there is room for it.
func writeLarge(w http.ResponseWriter, r *http.Request, log *slog.Logger, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = holdAnswer(w, len(b))
	}
	if err != nil {
		writeError(w, r, log, err)
		return
	}
	writeBytes(w, http.StatusOK, "application/json", b)
}

// writeBytes answers with b.
func writeBytes(w http.ResponseWriter, code int, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(b) // the client has gone: nothing to be done
}

// smallBody is as much as is set aside for a body on its sender's word alone.
const smallBody = 64 << 10

// readBody reads a request's body of at most limit bytes. Memory follows what
// has arrived, not what was announced.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body := http.MaxBytesReader(w, r.Body, limit)
	var b []byte
	var err error
	if 0 <= r.ContentLength && r.ContentLength <= smallBody {
		b = make([]byte, r.ContentLength)
		_, err = io.ReadFull(body, b)
	} else {
		b, err = io.ReadAll(body)
	}
	if err != nil {
		return nil, bodyError(err, limit)
	}
	if len(b) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the request body is empty")
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return sigbox.Errorf(sigbox.TooLarge, "the request body is larger than %d bytes", limit)
}

// mediaType gives the request's media type without parameters, "" if it has none
// or a broken one.
func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}
