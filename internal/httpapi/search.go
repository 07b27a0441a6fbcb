package httpapi

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/wire/entry"
)

// Search finds entries of the transparency logs.
//
//	GET  /api/search               entries of all logs, in pages, with proofs if wanted
//	POST /api/v1/index/retrieve    entry IDs of the v1 logs, as Rekor v1 answers
//
// docs/search.md describes the first; openapi.yaml of sigstore/rekor (SearchIndex)
// the second, which is there if a log has a tree ID.
type Search struct {
	// Logs gives what is searched, one after another. Which there are may change; it
	// has one with a tree ID from the beginning, or never.
	Logs   func() []SearchedLog
	Logger *slog.Logger
	// Concurrent is how many searches run at once, 2 if 0: they must not slow those
	// who log. Others wait for a second, and are then told to come again.
	Concurrent int

	slots chan struct{}
}

// SearchedLog is a log that is searched.
type SearchedLog struct {
	Name string // "v1" or "v2"
	// Shard names it among those of one name, and Number tells it from all others for
	// good.
	Shard  string
	Number byte
	Trust  sigbox.TransparencyLog
	// Tree is the ID of a v1 log's tree, 0 for others.
	Tree  uint64
	Index *search.Index
	// Prove gives an entry with its proof.
	Prove func(ctx context.Context, index uint64) (sigbox.LogEntry, error)
}

const (
	// searchWait is how long a search waits for others to end.
	searchWait = time.Second
	// defaultPage and maxPage are numbers of entries.
	defaultPage = 20
	maxPage     = 100
	// maxRetrieved bounds the entry IDs of one answer, maxRounds the searches that
	// it is made of.
	maxRetrieved = 5000
	maxRounds    = 16
	// maxIndexQuery bounds what a v1 client asks, in bytes.
	maxIndexQuery = 128 << 10
	// idBytes is what an entry ID takes in an answer.
	idBytes = 80 + len(`"",`)
	// completeHeader says whether a v1 client has been told all.
	completeHeader = "X-Search-Complete"
)

// Register adds the routes to mux.
func (h *Search) Register(mux *http.ServeMux) {
	h.slots = make(chan struct{}, cmp.Or(h.Concurrent, 2))
	mux.HandleFunc("GET /api/search", func(w http.ResponseWriter, r *http.Request) {
		answer, err := h.search(r)
		if err != nil {
			writeError(w, r, h.Logger, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		writeLarge(w, r, h.Logger, answer)
	})
	if len(withTree(h.Logs())) > 0 {
		mux.HandleFunc("POST /api/v1/index/retrieve", func(w http.ResponseWriter, r *http.Request) {
			if err := h.retrieve(w, r); err != nil {
				writeErrorV1(w, r, h.Logger, err)
			}
		})
	}
}

// withTree gives the v1 logs.
func withTree(logs []SearchedLog) []SearchedLog {
	return slices.DeleteFunc(slices.Clone(logs), func(l SearchedLog) bool { return l.Tree == 0 })
}

// enter waits for a place among the searches; leave gives it back.
func (h *Search) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return leave, nil
	default:
	}
	wait := time.NewTimer(searchWait)
	defer wait.Stop()
	select {
	case h.slots <- struct{}{}:
		return leave, nil
	case <-wait.C:
		return nil, sigbox.Errorf(sigbox.Unavailable, "too many searches at once").WithHint("try again in a second")
	case <-ctx.Done():
		return nil, sigbox.Errorf(sigbox.Unavailable, "the request ended").WithCause(ctx.Err())
	}
}

// foundPage is the answer of /api/search.
type foundPage struct {
	Entries []foundEntry `json:"entries"`
	// Next is the cursor of the next page; the last has none.
	Next string        `json:"next,omitempty"`
	Logs []searchedLog `json:"logs"`
}

// foundEntry is an entry as it says itself.
type foundEntry struct {
	Log   string `json:"log"`
	Shard string `json:"shard,omitempty"`
	Index uint64 `json:"index"`
	// UUID is the entry ID of a v1 log.
	UUID    string        `json:"uuid,omitempty"`
	Time    time.Time     `json:"time"`
	Kind    string        `json:"kind"`
	Version string        `json:"version"`
	Digests []string      `json:"digests"`
	Signers []foundSigner `json:"signers"`
	// Entry is a TransparencyLogEntry, with the proof.
	Entry rawJSON `json:"transparencyLogEntry,omitempty"`
}

// rawJSON is JSON as it stands.
type rawJSON []byte

// MarshalJSON gives it.
func (j rawJSON) MarshalJSON() ([]byte, error) { return j, nil }

type foundSigner struct {
	Subjects     []string `json:"subjects,omitempty"`
	Issuer       string   `json:"issuer,omitempty"`
	Repositories []string `json:"repositories,omitempty"`
	PublicKey    string   `json:"publicKey,omitempty"`   // SHA-256 of the SubjectPublicKeyInfo, hex
	Certificate  string   `json:"certificate,omitempty"` // SHA-256, hex
}

// searchedLog says what was searched.
type searchedLog struct {
	Name  string `json:"name"`
	Shard string `json:"shard,omitempty"`
	ID    []byte `json:"id"` // as logId in entries
	URL   string `json:"url"`
	Size  uint64 `json:"size"`
	// Complete: all entries are indexed; else those from CompleteFrom on are.
	Complete     bool   `json:"complete"`
	CompleteFrom uint64 `json:"completeFrom"`
}

func (h *Search) search(r *http.Request) (*foundPage, error) {
	logs := h.Logs()
	q, err := parseSearch(r.URL.RawQuery, logs)
	if err != nil {
		return nil, err
	}
	ctx := r.Context()
	leave, err := h.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	page := &foundPage{Entries: []foundEntry{}}
	for i := range logs {
		if q.wants(&logs[i]) {
			page.Logs = append(page.Logs, logs[i].searched())
		}
	}
	at, err := q.find(ctx, logs, page)
	if err != nil {
		return nil, err
	}
	if at.log < len(logs) {
		page.Next = at.encode(logs[at.log].Number)
	}
	return page, nil
}

// find adds the entries of a page, and gives where the next one begins.
func (q *searchQuery) find(ctx context.Context, logs []SearchedLog, page *foundPage) (cursor, error) {
	at := q.at
	for at.log < len(logs) && len(page.Entries) < q.limit {
		l := &logs[at.log]
		if !q.wants(l) {
			at.log++
			continue
		}
		found, err := l.Index.Find(ctx, q.Query, at.below, q.limit-len(page.Entries))
		if err != nil {
			return at, err
		}
		for _, index := range found.Indexes {
			e, err := l.entry(ctx, index, q.proof)
			if err != nil {
				return at, err
			}
			page.Entries = append(page.Entries, e)
		}
		if at.below = found.Next; at.below > 0 {
			break
		}
		at.log, at.below = at.log+1, search.Newest
	}
	for at.log < len(logs) && !q.wants(&logs[at.log]) {
		at.log++
	}
	return at, nil
}

func (l *SearchedLog) searched() searchedLog {
	from := l.Index.CompleteFrom()
	return searchedLog{
		Name: l.Name, Shard: l.Shard, ID: l.Trust.LogID, URL: l.Trust.BaseURL, Size: l.Index.Log().Head().Size, Complete: from == 0, CompleteFrom: from,
	}
}

// entry gives an entry as it is answered.
func (l *SearchedLog) entry(ctx context.Context, index uint64, proof bool) (foundEntry, error) {
	f, err := l.Index.Facts(ctx, index)
	if err != nil {
		return foundEntry{}, err
	}
	e := foundEntry{Log: l.Name, Shard: l.Shard, Index: index, Time: f.Logged, Kind: f.Kind, Version: f.Version, Digests: f.Digests, Signers: []foundSigner{}}
	if l.Tree != 0 {
		e.UUID = entry.ID{Tree: l.Tree, Leaf: f.Leaf}.String()
	}
	for i := range f.Signers {
		s := &f.Signers[i]
		e.Signers = append(e.Signers, foundSigner{s.Subjects, s.Issuer, s.Repositories, s.Key(), s.Certificate()})
	}
	if !proof {
		return e, nil
	}
	le, err := l.Prove(ctx, index)
	if err != nil {
		return foundEntry{}, err
	}
	le.Kind, le.Version = f.Kind, f.Version
	e.Entry = entry.AppendLogEntry(nil, &le)
	return e, nil
}

// searchQuery is what a client asks for.
type searchQuery struct {
	search.Query
	log   string // "" is all
	limit int
	proof bool
	at    cursor
}

func (q *searchQuery) wants(l *SearchedLog) bool {
	return q.log == "" || q.log == l.Name || q.log == l.Shard
}

// conditionParameters are those that say what an entry must say.
var conditionParameters = [...]struct {
	name string
	by   func(string) (search.Condition, error)
}{
	{"hash", search.ByHash}, {"subject", search.BySubject}, {"issuer", search.ByIssuer},
	{"key", search.ByKey}, {"repository", search.ByRepository},
}

// otherParameters are the rest.
var otherParameters = [...]string{"kind", "after", "before", "log", "limit", "cursor", "proof"}

// parseSearch reads a query strictly: what is unknown, empty or there twice is refused.
func parseSearch(raw string, logs []SearchedLog) (*searchQuery, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the query cannot be read: expected name=value, joined by &")
	}
	if err := checkParameters(values); err != nil {
		return nil, err
	}
	q := &searchQuery{log: values.Get("log"), limit: defaultPage, at: cursor{query: queryID(values), below: search.Newest}}
	for _, p := range conditionParameters {
		if v := values.Get(p.name); v != "" {
			c, err := p.by(v)
			if err != nil {
				return nil, err
			}
			q.All = append(q.All, c)
		}
	}
	q.Kind = values.Get("kind")
	if q.After, err = timeParameter(values, "after"); err != nil {
		return nil, err
	}
	if q.Before, err = timeParameter(values, "before"); err != nil {
		return nil, err
	}
	return q, q.parseRest(values, logs)
}

// parseRest reads what does not say which entries are wanted.
func (q *searchQuery) parseRest(values url.Values, logs []SearchedLog) (err error) {
	if q.log != "" && !slices.ContainsFunc(logs, func(l SearchedLog) bool { return q.wants(&l) }) {
		return sigbox.Errorf(sigbox.Invalid, "log %.40q: this instance has no such log", q.log).WithHint("leave it out to search all")
	}
	if v := values.Get("limit"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n < 1 || n > maxPage {
			return sigbox.Errorf(sigbox.Invalid, "limit: expected a number of 1 to %d, found %.40q", maxPage, v)
		}
		q.limit = int(n)
	}
	switch v := values.Get("proof"); v {
	case "", "0":
	case "1":
		q.proof = true
	default:
		return sigbox.Errorf(sigbox.Invalid, "proof: expected 1 or 0, found %.40q", v)
	}
	if v := values.Get("cursor"); v != "" {
		q.at, err = parseCursor(v, q.at.query, logs)
	}
	return err
}

func checkParameters(values url.Values) error {
	for name, v := range values {
		switch {
		case !slices.Contains(otherParameters[:], name) && !isCondition(name):
			return sigbox.Errorf(sigbox.Invalid, "unknown parameter %.40q", name).WithHint("docs/search.md lists them")
		case len(v) > 1:
			return sigbox.Errorf(sigbox.Invalid, "%s is there %d times: expected it once", name, len(v))
		case v[0] == "":
			return sigbox.Errorf(sigbox.Invalid, "%s is empty", name).WithHint("leave it out")
		}
	}
	return nil
}

func isCondition(name string) bool {
	for _, p := range conditionParameters {
		if p.name == name {
			return true
		}
	}
	return false
}

func timeParameter(values url.Values, name string) (time.Time, error) {
	v := values.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return t, sigbox.Errorf(sigbox.Invalid, "%s: expected a time like 2026-01-31T12:00:00Z (RFC 3339), found %.40q", name, v)
	}
	if t.IsZero() { // no bound, to the index; no log is as old
		t = time.Unix(0, 0).UTC()
	}
	return t, nil
}

// cursor is where a search goes on.
type cursor struct {
	query [8]byte // which search it is of
	log   int     // among those that are searched
	below uint64  // the index
}

const (
	cursorVersion = 1
	cursorLen     = 1 + 8 + 1 + 8
)

// queryID tells searches apart. Pages of one may differ in length and proofs.
func queryID(values url.Values) [8]byte {
	asked := url.Values{}
	for name, v := range values {
		if name != "limit" && name != "cursor" && name != "proof" {
			asked[name] = v
		}
	}
	sum := sha256.Sum256([]byte(asked.Encode()))
	return [8]byte(sum[:])
}

// encode gives the cursor as clients have it, with the log's number; what is in it is
// not for them.
func (c cursor) encode(number byte) string {
	b := append([]byte{cursorVersion}, c.query[:]...)
	b = append(b, number)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, c.below))
}

// parseCursor reads the cursor of a search.
func parseCursor(s string, query [8]byte, logs []SearchedLog) (cursor, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != cursorLen || b[0] != cursorVersion || strings.ContainsAny(s, "\r\n") {
		return cursor{}, sigbox.Errorf(sigbox.Invalid, "cursor: expected the next of an answer").WithHint("begin again without it")
	}
	log := slices.IndexFunc(logs, func(l SearchedLog) bool { return l.Number == b[9] })
	c := cursor{[8]byte(b[1:]), log, binary.BigEndian.Uint64(b[10:])}
	if c.query != query || log < 0 {
		return cursor{}, sigbox.Errorf(sigbox.Invalid, "the cursor is of another search").WithHint("a search's pages differ in cursor, limit and proof alone")
	}
	return c, nil
}

// indexQuery is SearchIndex of openapi.yaml.
type indexQuery struct {
	Email     string `json:"email"`
	Hash      string `json:"hash"`
	Subject   string `json:"subject"`
	Operator  string `json:"operator"`
	PublicKey *struct {
		Format  string `json:"format"`
		Content []byte `json:"content"`
	} `json:"publicKey"`
}

// query gives the search that is asked for; empty says that it is for nothing.
func (i *indexQuery) query() (q search.Query, empty bool, err error) {
	conditions, err := i.conditions()
	switch {
	case err != nil:
		return q, true, err
	case i.Operator != "" && i.Operator != "and" && i.Operator != "or":
		return q, true, sigbox.Errorf(sigbox.Invalid, `operator %.40q: expected "and" or "or"`, i.Operator)
	case len(conditions) == 0:
		return q, true, nil
	case i.Operator != "and":
		conditions = []search.Condition{slices.Concat(conditions...)}
	}
	q.All = conditions
	return q, false, nil
}

func (i *indexQuery) conditions() (all []search.Condition, err error) {
	add := func(c search.Condition, e error) {
		all = append(all, c)
		if err == nil {
			err = e
		}
	}
	if i.Hash != "" {
		add(search.ByHash(i.Hash))
	}
	if i.PublicKey != nil {
		if i.PublicKey.Format != "x509" {
			return nil, sigbox.Errorf(sigbox.Invalid, "publicKey: format %.40q: expected x509, which all keys of this log are", i.PublicKey.Format)
		}
		add(search.ByPublicKey(i.PublicKey.Content))
	}
	if i.Email != "" {
		add(search.BySubject(i.Email))
	}
	if i.Subject != "" {
		add(search.BySubject(i.Subject))
	}
	return all, err
}

// parseIndexQuery reads what a v1 client asks.
func parseIndexQuery(b []byte) (i indexQuery, err error) {
	const fields = "its members are email, hash, publicKey, subject and operator"
	if jsontext.Value(b).Kind() == 'n' { // which json takes for an object without members
		return i, sigbox.Errorf(sigbox.Invalid, "the query: expected an object, found null").WithHint(fields)
	}
	if err := json.Unmarshal(b, &i, json.RejectUnknownMembers(true)); err != nil {
		return i, jsonerr.Of("the query", err).WithHint(fields)
	}
	return i, nil
}

// retrieve answers with entry IDs, the newest first. Rekor's answer has no pages: of
// very many the oldest are left out, which the header says.
func (h *Search) retrieve(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, maxIndexQuery)
	if err != nil {
		return err
	}
	i, err := parseIndexQuery(body)
	if err != nil {
		return err
	}
	q, empty, err := i.query()
	if err != nil {
		return err
	}
	ids, complete := []string{}, true
	if !empty {
		if ids, complete, err = h.ids(r.Context(), q); err != nil {
			return err
		}
	}
	if err := holdAnswer(w, len(ids)*idBytes); err != nil {
		return err
	}
	w.Header().Set(completeHeader, strconv.FormatBool(complete))
	writeJSON(w, http.StatusOK, ids)
	return nil
}

// ids is SearchedLog.ids for all v1 logs, in a place among the searches, which is free
// again before the answer is written: a client may read that as slowly as it likes.
func (h *Search) ids(ctx context.Context, q search.Query) (ids []string, complete bool, err error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	ids, complete = []string{}, true
	logs := withTree(h.Logs())
	for i := range logs {
		found, all, err := logs[i].ids(ctx, q, maxRetrieved-len(ids))
		if err != nil {
			return nil, false, err
		}
		ids, complete = append(ids, found...), complete && all
	}
	return ids, complete, nil
}

// ids gives the IDs of the entries for which q holds, at most limit, and whether they are
// all.
func (l *SearchedLog) ids(ctx context.Context, q search.Query, limit int) (ids []string, complete bool, err error) {
	var indexes []uint64
	below := uint64(search.Newest)
	for n := 0; n < maxRounds && below > 0 && len(indexes) < limit; n++ {
		found, err := l.Index.Find(ctx, q, below, limit-len(indexes))
		if err != nil {
			return nil, false, err
		}
		indexes, below = append(indexes, found.Indexes...), found.Next
	}
	leaves, err := l.Index.Leaves(ctx, indexes)
	if err != nil {
		return nil, false, err
	}
	ids = make([]string, len(leaves))
	for i, leaf := range leaves {
		ids[i] = entry.ID{Tree: l.Tree, Leaf: leaf}.String()
	}
	return ids, below == 0 && l.Index.CompleteFrom() == 0, nil
}
