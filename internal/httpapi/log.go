package httpapi

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// refusedMessage is logged for each request that is refused.
	refusedMessage = "request refused"
	// maxRefusals is how many of those are logged in a second. Whoever can reach the
	// port can cause them, and a full disk causes one for each request.
	maxRefusals = 50
)

// LogHandler adds the request's id to what is logged with its context, and leaves
// out refusals that come too often; how many, the next one says as left_out.
func LogHandler(h slog.Handler) slog.Handler { return logHandler{h, new(refusals)} }

type logHandler struct {
	slog.Handler
	refusals *refusals
}

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == refusedMessage {
		admitted, left := h.refusals.admit(r.Time)
		if !admitted {
			return nil
		}
		if left > 0 {
			r.AddAttrs(slog.Int("left_out", left))
		}
	}
	if id := RequestID(ctx); id != "" {
		r.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs), h.refusals}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name), h.refusals}
}

// refusals counts the refusals of a second.
type refusals struct {
	mu     sync.Mutex
	second int64 // guarded by mu; since 1970
	logged int   // guarded by mu; in that second
	left   int   // guarded by mu; not logged and not yet told of
}

// admit says whether a refusal is to be logged, and then how many were left out
// since the last one.
func (q *refusals) admit(now time.Time) (admitted bool, left int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s := now.Unix(); s != q.second {
		q.second, q.logged = s, 0
	}
	if q.logged >= maxRefusals {
		q.left++
		return false, 0
	}
	q.logged++
	left, q.left = q.left, 0
	return true, left
}
