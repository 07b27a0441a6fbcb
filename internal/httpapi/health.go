package httpapi

import (
	"errors"
	"net/http"

	"github.com/sigbox/sigbox"
)

// Health answers whether the process lives and whether it can serve:
//
//	GET /healthz   200 {"status":"SERVING"} as long as the process answers
//	GET /readyz    200 or 503, and what each service says of itself
type Health struct {
	Checks []Check
}

// Check is one service's own word on whether it can serve.
type Check struct {
	Name string
	// Err is nil while the service can serve. It is called for every request and
	// must answer at once.
	Err func() error
	// Notice says what will keep the service from serving if nobody does anything, nil
	// for nothing. It may be nil itself.
	Notice func() error
}

// CheckResult is what a [Check] said. Error is "" while the service can serve, Notice
// while it will go on to.
type CheckResult struct {
	Name   string `json:"name"`
	Error  string `json:"error,omitempty"`
	Notice string `json:"notice,omitempty"`
}

// Run asks every check, in order, and reports whether all can serve.
func (h *Health) Run() (results []CheckResult, ready bool) {
	ready = true
	results = make([]CheckResult, len(h.Checks))
	for i, c := range h.Checks {
		results[i].Name = c.Name
		if err := c.Err(); err != nil {
			results[i].Error, ready = PublicText(err), false
		} else if c.Notice != nil && c.Notice() != nil {
			results[i].Notice = PublicText(c.Notice())
		}
	}
	return results, ready
}

// Register adds the routes to mux.
func (h *Health) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeBytes(w, http.StatusOK, "application/json", []byte(`{"status":"SERVING"}`))
	})
	mux.HandleFunc("GET /readyz", h.ready)
}

func (h *Health) ready(w http.ResponseWriter, _ *http.Request) {
	results, ok := h.Run()
	answer := struct {
		Status   string        `json:"status"`
		Services []CheckResult `json:"services"`
	}{"SERVING", results}
	code := http.StatusOK
	if !ok {
		answer.Status, code = "NOT_SERVING", http.StatusServiceUnavailable
	}
	writeJSON(w, code, answer)
}

// PublicText is what anybody may read of err: our own words, never the cause's.
func PublicText(err error) string {
	if e, ok := errors.AsType[*sigbox.Error](err); ok {
		return e.Kind.String() + ": " + e.Public()
	}
	return sigbox.Internal.String() + ", see the server's log"
}
