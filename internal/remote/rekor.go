package remote

import (
	"context"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

const (
	logService = "the transparency log"
	// maxLogEntry bounds an answer: a leaf, a proof of at most 64 hashes and a
	// checkpoint with its witnesses' signatures.
	maxLogEntry = 1 << 20
)

// Log is the client of a transparency log that speaks Rekor's HTTP API v2.
type Log struct {
	client *Client
	url    string
}

var _ sigbox.Log = (*Log)(nil)

// Log gives the log at a base URL.
func (c *Client) Log(baseURL string) *Log { return &Log{c, baseURL} }

// Add logs e; see [sigbox.Log]. A retry sends the same bytes, which this
// project's log answers with the entry that it has. The answer has not been
// verified.
func (l *Log) Add(ctx context.Context, e sigbox.Entry) (sigbox.LogEntry, error) {
	r := request{
		service: logService, method: http.MethodPost, url: join(l.url, "/api/v2/log/entries"),
		contentType: "application/json", body: entry.AppendRequest(nil, e), limit: maxLogEntry,
	}
	resp, err := l.client.expect(ctx, r, http.StatusCreated, http.StatusOK)
	if err != nil {
		return sigbox.LogEntry{}, explainAdd(resp, err)
	}
	le, err := entry.ParseLogEntry(resp.body)
	if err != nil {
		return sigbox.LogEntry{}, badAnswer(r, "a log entry").WithCause(err)
	}
	return le, nil
}

// explainAdd adds the next step to a refusal of a log.
func explainAdd(resp response, err error) error {
	e, ok := err.(*sigbox.Error)
	if !ok {
		return err
	}
	switch resp.status {
	case http.StatusConflict:
		// rekor-tiles: the entry is there, but the answer has no proof of it.
		return e.WithHint("an earlier attempt was logged and its answer lost; sign again: a new signature is a new entry")
	case http.StatusMethodNotAllowed:
		frozen := *e
		frozen.Kind = sigbox.Frozen
		return frozen.WithHint("this log takes no further entries: refresh the trust root for its successor")
	}
	return err
}
