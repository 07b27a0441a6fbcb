package httpapi

import (
	"cmp"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/wire/entry"
)

// RekorV1 serves the transparency log of Rekor's API v1.
//
//	POST /api/v1/log/entries                 a proposed entry in, 201 and the entry out
//	GET  /api/v1/log/entries?logIndex=       the entry with an index
//	GET  /api/v1/log/entries/{id}            the entry with a UUID or an entry ID
//	POST /api/v1/log/entries/retrieve        the entries of a query, at most 10
//	GET  /api/v1/log                         size, root hash, checkpoint, tree ID
//	GET  /api/v1/log/proof                   a consistency proof
//	GET  /api/v1/log/publicKey               the key, in PEM
//
// The /ping that Rekor has too is [Timestamp]'s, on the same port. An entry that is in the log already is answered with 409 and its Location, as v1
// clients expect it. For monitors the log reads as C2SP tlog-tiles too:
//
//	GET  /api/v1/log/checkpoint                   the latest checkpoint
//	GET  /api/v1/log/tile/{L}/{N}[.p/{W}]         a tile of hashes
//	GET  /api/v1/log/tile/entries/{N}[.p/{W}]     an entry bundle
//
// Sources: openapi.yaml of sigstore/rekor; C2SP tlog-tiles.
type RekorV1 struct {
	Service *rekor1.Shards
	Logger  *slog.Logger

	// shard is the one at whose place this is, nil for the active one.
	shard *rekor1.Service
}

// entriesV1 is where entries are.
const entriesV1 = "/api/v1/log/entries"

// Register adds the routes to mux.
func (h *RekorV1) Register(mux *http.ServeMux) {
	h.handle(mux, "POST "+entriesV1, h.add)
	h.handle(mux, "POST "+entriesV1+"/retrieve", h.retrieve)
	h.handle(mux, "POST "+entriesV1+"/retrieve/{$}", h.retrieve)
	h.registerReading(mux)
	registerTiles(mux, "/api/v1/log", "entries", h.Service, shardCaching, h.Logger)
}

// RekorV1Shard serves a shard, to be read as if it were the last one. Entries of all
// shards are found.
func RekorV1Shard(log *rekor1.Shards, shard *rekor1.Service, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	(&RekorV1{Service: log, Logger: logger, shard: shard}).registerReading(mux)
	registerTiles(mux, "/api/v1/log", "entries", shard, tileCaching, logger)
	return mux
}

// registerReading adds the routes that read by GET.
func (h *RekorV1) registerReading(mux *http.ServeMux) {
	h.handle(mux, "GET "+entriesV1, h.byIndex)
	h.handle(mux, "GET "+entriesV1+"/{id}", h.byID)
	h.handle(mux, "GET /api/v1/log", h.info)
	h.handle(mux, "GET /api/v1/log/proof", h.proof)
	h.handle(mux, "GET /api/v1/log/publicKey", h.publicKey)
}

// handle adds a route whose errors have Rekor v1's form.
func (h *RekorV1) handle(mux *http.ServeMux, pattern string, f func(http.ResponseWriter, *http.Request) error) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			writeErrorV1(w, r, h.Logger, err)
		}
	})
}

// shardOf gives the shard that a request names by the tree's ID.
func (h *RekorV1) shardOf(r *http.Request) (*rekor1.Service, error) {
	tree, err := numberOr(r, "treeID", 0)
	if err != nil {
		return nil, err
	}
	if tree == 0 && h.shard != nil {
		return h.shard, nil
	}
	return h.Service.Shard(tree)
}

// errorV1 is the error body of Rekor v1; the code is the HTTP status.
type errorV1 struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// writeErrorV1 is writeError in Rekor v1's form, which answers 400 to what is too
// large too.
func writeErrorV1(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	code, _, msg := refuse(w, r, log, asInvalid(err))
	writeJSON(w, code, errorV1{code, msg})
}

func (h *RekorV1) add(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, entry.MaxProposalSize)
	if err != nil {
		return err
	}
	p, err := entry.ParseProposal(body)
	if err != nil {
		return err
	}
	e, added, err := h.Service.Add(r.Context(), p)
	if err != nil {
		return err
	}
	id := e.ID.String()
	w.Header().Set("Location", entriesV1+"/"+id)
	if !added {
		// Clients take the words apart to find the entry.
		writeJSON(w, http.StatusConflict, errorV1{http.StatusConflict, "an equivalent entry already exists in the transparency log with UUID " + id})
		return nil
	}
	w.Header()["Etag"] = []string{id} // without quotes, as clients of Rekor know it
	writeEntry(w, http.StatusCreated, entry.AppendEntry(nil, e.ID, &e.LogEntry))
	return nil
}

// writeEntry answers with an entry. It ends in a newline, as Rekor's answers do:
// sigstore-rs cuts an answer's last two bytes off to take the entry out.
func writeEntry(w http.ResponseWriter, code int, answer []byte) {
	answer = append(answer, '\n')
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	writeBytes(w, code, "application/json", answer)
}

func (h *RekorV1) byIndex(w http.ResponseWriter, r *http.Request) error {
	index, err := number(r, "logIndex")
	if err != nil {
		return err
	}
	e, err := h.Service.ByIndex(r.Context(), int64(index)) // #nosec G115 -- number reads 63 bits
	return readEntry(w, e, err)
}

func (h *RekorV1) byID(w http.ResponseWriter, r *http.Request) error {
	id, err := entry.ParseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	e, err := h.Service.ByID(r.Context(), id)
	return readEntry(w, e, err)
}

// readEntry answers with an entry that was read, if there is room for it.
func readEntry(w http.ResponseWriter, e rekor1.Entry, err error) error {
	if err != nil {
		return err
	}
	answer := entry.AppendEntry(nil, e.ID, &e.LogEntry)
	if err := holdAnswer(w, len(answer)); err != nil {
		return err
	}
	writeEntry(w, http.StatusOK, answer)
	return nil
}

func (h *RekorV1) retrieve(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, entry.MaxProposalSize)
	if err != nil {
		return err
	}
	q, err := entry.ParseQuery(body)
	if sigbox.KindOf(err) == sigbox.TooLarge { // more than is answered at once
		writeJSON(w, http.StatusUnprocessableEntity, errorV1{http.StatusUnprocessableEntity, err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	found, err := h.Service.Retrieve(r.Context(), q)
	if err != nil {
		return err
	}
	answer := []byte{'['}
	for i := range found {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = entry.AppendEntry(answer, found[i].ID, &found[i].LogEntry)
	}
	if err := holdAnswer(w, len(answer)); err != nil {
		return err
	}
	writeBytes(w, http.StatusOK, "application/json", append(answer, ']'))
	return nil
}

// logInfo is LogInfo of openapi.yaml.
type logInfo struct {
	InactiveShards []shardInfo `json:"inactiveShards"`
	shardInfo
}

// shardInfo is InactiveShardLogInfo of openapi.yaml.
type shardInfo struct {
	RootHash       string `json:"rootHash"`
	SignedTreeHead string `json:"signedTreeHead"`
	TreeID         string `json:"treeID"`
	TreeSize       uint64 `json:"treeSize"`
}

func newShardInfo(shard *rekor1.Service) shardInfo {
	i := shard.Info()
	return shardInfo{hex.EncodeToString(i.Root[:]), i.Checkpoint, strconv.FormatUint(i.Tree, 10), i.Size}
}

func (h *RekorV1) info(w http.ResponseWriter, _ *http.Request) error {
	shard := cmp.Or(h.shard, h.Service.Active())
	info := logInfo{[]shardInfo{}, newShardInfo(shard)}
	for _, before := range h.Service.Before(shard) {
		info.InactiveShards = append(info.InactiveShards, newShardInfo(before))
	}
	writeJSON(w, http.StatusOK, info)
	return nil
}

func (h *RekorV1) proof(w http.ResponseWriter, r *http.Request) error {
	first, err := numberOr(r, "firstSize", 1)
	if err != nil {
		return err
	}
	last, err := number(r, "lastSize")
	if err != nil {
		return err
	}
	shard, err := h.shardOf(r)
	if err != nil {
		return err
	}
	c, err := shard.Consistency(r.Context(), first, last)
	if err != nil {
		return err
	}
	answer := struct {
		Hashes   []string `json:"hashes"`
		RootHash string   `json:"rootHash"`
	}{make([]string, len(c.Hashes)), hex.EncodeToString(c.Root[:])}
	for i := range c.Hashes {
		answer.Hashes[i] = hex.EncodeToString(c.Hashes[i][:])
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (h *RekorV1) publicKey(w http.ResponseWriter, r *http.Request) error {
	shard, err := h.shardOf(r)
	if err != nil {
		return err
	}
	writeBytes(w, http.StatusOK, "application/x-pem-file", shard.PublicKey())
	return nil
}

// numberOr is number for a parameter that may be missing.
func numberOr(r *http.Request, name string, missing uint64) (uint64, error) {
	if values := r.URL.Query()[name]; len(values) == 0 || len(values) == 1 && values[0] == "" {
		return missing, nil
	}
	return number(r, name)
}
