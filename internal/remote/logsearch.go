package remote

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// maxSearchAnswer bounds a page of entries with their proofs, in bytes; maxIDs the
// entry IDs that are read of an answer.
const (
	maxSearchAnswer = 32 << 20
	maxIDs          = 10_000
)

// FoundEntry is an entry that a server has found: the entry is proven, when it was
// taken is not, but for a v1 log's promise.
type FoundEntry struct {
	ProvenEntry
	Claimed time.Time
}

// FoundPage is a page of what a server has found. That nothing is missing is its
// word alone.
type FoundPage struct {
	Entries []FoundEntry
	// Next is the cursor of the next page, "" on the last.
	Next string
	// Complete: the server says that it has looked through all of the log.
	Complete bool
}

// searchAnswer is the answer of /api/search; see docs/search.md.
type searchAnswer struct {
	Entries []struct {
		Time  time.Time      `json:"time"`
		Entry jsontext.Value `json:"transparencyLogEntry"`
	} `json:"entries"`
	Next string `json:"next"`
	Logs []struct {
		Complete bool `json:"complete"`
	} `json:"logs"`
}

// Search asks the log's server for entries, by the parameters of its GET
// /api/search, and proves what it answers; whether that is what was asked for is for
// the caller to see. The error is of kind NotFound when the server has no such route.
func (r *LogReader) Search(ctx context.Context, params url.Values) (FoundPage, error) {
	name, err := r.name(ctx)
	if err != nil {
		return FoundPage{}, err
	}
	q := url.Values{"proof": {"1"}, "log": {name}}
	for name, v := range params {
		q[name] = v
	}
	req := request{service: logService, method: http.MethodGet, url: join(r.base(), "/api/search?"+q.Encode()), limit: maxSearchAnswer}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return FoundPage{}, err
	}
	var answer searchAnswer
	if err := decodeJSON(resp.body, &answer); err != nil {
		return FoundPage{}, badAnswer(req, "entries").WithCause(err)
	}
	page := FoundPage{Next: answer.Next, Complete: true}
	for _, l := range answer.Logs {
		page.Complete = page.Complete && l.Complete
	}
	for _, found := range answer.Entries {
		le, err := entry.ParseLogEntry(found.Entry)
		if err != nil {
			return FoundPage{}, badAnswer(req, "an entry and its proof").WithCause(err)
		}
		p, err := r.proven(ctx, le)
		if err != nil {
			return FoundPage{}, err
		}
		if p.Origin != r.head.Origin {
			return FoundPage{}, sigbox.Mismatch(sigbox.NotVerified, "log of a found entry", r.head.Origin, p.Origin)
		}
		if err := r.numbered(&p); err != nil {
			return FoundPage{}, err
		}
		page.Entries = append(page.Entries, FoundEntry{p, found.Time})
	}
	return page, nil
}

// base is the server's URL.
func (r *LogReader) base() string {
	base, _, _ := strings.Cut(strings.TrimRight(r.cfg.URL, "/"), shardPath)
	for _, suffix := range []string{"/api/v2", "/api/v1/log"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return base
}

// Retrieve asks the index of a Rekor v1 server for entries of a digest or of a
// subject, or both; "" is not asked for. Nothing of the answer is proven: see
// [LogReader.ByID].
func (r *LogReader) Retrieve(ctx context.Context, hash, subject string) ([]entry.ID, error) {
	if r.server == "" {
		return nil, sigbox.Errorf(sigbox.NotFound, "the log %.100q has no search", r.head.Origin)
	}
	body, err := encodeJSON(struct {
		Hash     string `json:"hash,omitempty"`
		Email    string `json:"email,omitempty"`
		Operator string `json:"operator,omitempty"`
	}{hash, subject, map[bool]string{true: "and"}[hash != "" && subject != ""]})
	if err != nil {
		return nil, err
	}
	req := request{
		service: logService, method: http.MethodPost, url: join(r.server, "/api/v1/index/retrieve"),
		contentType: "application/json", body: body, limit: maxFoundBytes,
	}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var answer []string
	if err := decodeJSON(resp.body, &answer); err != nil || len(answer) > maxIDs {
		return nil, badAnswer(req, "a list of entry IDs").WithCause(err)
	}
	ids := make([]entry.ID, len(answer))
	for i, s := range answer {
		if ids[i], err = entry.ParseID(s); err != nil {
			return nil, badAnswer(req, "entry IDs").WithCause(err)
		}
	}
	return ids, nil
}
