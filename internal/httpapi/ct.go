package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
)

// maxCTBody bounds the body of a submission: a chain in base64.
const maxCTBody = 1 << 20

// CT serves the certificate log below a prefix, as RFC 6962 §4 and as
// https://c2sp.org/static-ct-api:
//
//	POST {prefix}/ct/v1/add-chain, add-pre-chain
//	GET  {prefix}/ct/v1/get-sth, get-sth-consistency, get-proof-by-hash,
//	     get-entries, get-roots, get-entry-and-proof
//	GET  {prefix}/checkpoint
//	GET  {prefix}/tile/{L}/{N}[.p/{W}], {prefix}/tile/data/{N}[.p/{W}]
//	GET  {prefix}/issuer/{fingerprint}
type CT struct {
	Service CTLog
	Logger  *slog.Logger
	// Prefix begins all paths, "/ctlog" if "".
	Prefix string
}

// CTLog is a certificate log, whichever shard of it takes certificates.
type CTLog interface {
	Add(ctx context.Context, chain [][]byte, precert bool) (cert.SCT, error)
	// Active gives the shard that does, to be read.
	Active() *ctlog.Service
}

// Register adds the routes to mux.
func (h *CT) Register(mux *http.ServeMux) {
	prefix := h.Prefix
	if prefix == "" {
		prefix = "/ctlog"
	}
	mux.HandleFunc("POST "+prefix+"/ct/v1/add-chain", h.json(h.addChain))
	mux.HandleFunc("POST "+prefix+"/ct/v1/add-pre-chain", h.json(h.addPreChain))
	h.registerReading(mux, prefix, shardCaching)
}

// CTShard serves a shard of a certificate log, to be read.
func CTShard(shard *ctlog.Service, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	(&CT{Service: shard, Logger: logger}).registerReading(mux, "", tileCaching)
	return mux
}

// registerReading adds the routes that read.
func (h *CT) registerReading(mux *http.ServeMux, prefix, caching string) {
	for route, answer := range map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"get-sth":             h.getSTH,
		"get-sth-consistency": h.getConsistency,
		"get-proof-by-hash":   h.getProofByHash,
		"get-entries":         h.getEntries,
		"get-roots":           h.getRoots,
		"get-entry-and-proof": h.getEntryAndProof,
	} {
		mux.HandleFunc("GET "+prefix+"/ct/v1/"+route, h.json(answer))
	}
	registerTiles(mux, prefix, "data", ctTiles{h.Service}, caching, h.Logger)
	mux.HandleFunc("GET "+prefix+"/issuer/{fingerprint}", h.issuer)
}

// ctTiles reads a certificate log as static-ct-api has it.
type ctTiles struct{ log CTLog }

func (t ctTiles) Checkpoint() string { return t.log.Active().Checkpoint() }

func (t ctTiles) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	return t.log.Active().Tile(ctx, level, index, width)
}

func (t ctTiles) Entries(ctx context.Context, index uint64, width int) ([]byte, error) {
	return t.log.Active().Data(ctx, index, width)
}

// json makes a handler of a method that answers with JSON.
func (h *CT) json(answer func(http.ResponseWriter, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(w, r)
		if err != nil {
			writeError(w, r, h.Logger, err)
			return
		}
		writeLarge(w, r, h.Logger, v)
	}
}

func (h *CT) addChain(w http.ResponseWriter, r *http.Request) (any, error) {
	return h.add(w, r, false)
}

func (h *CT) addPreChain(w http.ResponseWriter, r *http.Request) (any, error) {
	return h.add(w, r, true)
}

// add is RFC 6962 §4.1 and §4.2.
func (h *CT) add(w http.ResponseWriter, r *http.Request, precert bool) (any, error) {
	body, err := readBody(w, r, maxCTBody)
	if err != nil {
		return nil, err
	}
	var in struct {
		Chain [][]byte `json:"chain"`
	}
	if err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true)); err != nil {
		return nil, jsonerr.Of("the request body", err).WithHint("it is {\"chain\": [certificates, DER in base64]}")
	}
	sct, err := h.Service.Add(r.Context(), in.Chain, precert)
	if err != nil {
		return nil, err
	}
	return struct {
		Version    int    `json:"sct_version"`
		ID         []byte `json:"id"`
		Timestamp  uint64 `json:"timestamp"`
		Extensions string `json:"extensions"`
		Signature  []byte `json:"signature"`
	}{0, sct.LogID[:], sct.Timestamp, base64.StdEncoding.EncodeToString(sct.Extensions), sct.DigitallySigned()}, nil
}

// getSTH is RFC 6962 §4.3.
func (h *CT) getSTH(http.ResponseWriter, *http.Request) (any, error) {
	sth, err := h.Service.Active().TreeHead()
	if err != nil {
		return nil, err
	}
	return struct {
		Size      uint64 `json:"tree_size"`
		Timestamp int64  `json:"timestamp"`
		Root      []byte `json:"sha256_root_hash"`
		Signature []byte `json:"tree_head_signature"`
	}{sth.Size, sth.Time.UnixMilli(), sth.Root[:], sth.Signature}, nil
}

// getConsistency is RFC 6962 §4.4. From the empty tree, which has a tree head too, the
// proof is empty.
func (h *CT) getConsistency(_ http.ResponseWriter, r *http.Request) (any, error) {
	first, second, err := twoNumbers(r, "first", "second")
	if err != nil {
		return nil, err
	}
	proof, err := h.Service.Active().Consistency(r.Context(), first, second)
	return struct {
		Consistency [][]byte `json:"consistency"`
	}{hashes(proof)}, err
}

// getProofByHash is RFC 6962 §4.5.
func (h *CT) getProofByHash(_ http.ResponseWriter, r *http.Request) (any, error) {
	size, err := number(r, "tree_size")
	if err != nil {
		return nil, err
	}
	leaf, err := leafHash(r)
	if err != nil {
		return nil, err
	}
	index, proof, err := h.Service.Active().ProofByHash(r.Context(), leaf, size)
	return struct {
		Index uint64   `json:"leaf_index"`
		Path  [][]byte `json:"audit_path"`
	}{index, hashes(proof)}, err
}

// leafHash reads the query's hash, which has one spelling: package base64 passes over
// line ends and over bits that are left.
func leafHash(r *http.Request) (h tlog.Hash, err error) {
	text := r.URL.Query()["hash"]
	if len(text) == 1 {
		b, err := base64.StdEncoding.DecodeString(text[0])
		if err == nil && len(b) == len(h) && base64.StdEncoding.EncodeToString(b) == text[0] {
			return tlog.Hash(b), nil
		}
	}
	return h, sigbox.Errorf(sigbox.Invalid, "hash: expected a SHA-256 leaf hash in base64, found %.90q", text)
}

// ctEntry is an entry of RFC 6962 §4.6.
type ctEntry struct {
	LeafInput []byte `json:"leaf_input"`
	ExtraData []byte `json:"extra_data"`
}

// getEntries is RFC 6962 §4.6.
func (h *CT) getEntries(_ http.ResponseWriter, r *http.Request) (any, error) {
	start, end, err := twoNumbers(r, "start", "end")
	if err != nil {
		return nil, err
	}
	entries, err := h.Service.Active().Entries(r.Context(), start, end)
	if err != nil {
		return nil, err
	}
	out := make([]ctEntry, len(entries))
	for i, e := range entries {
		out[i] = ctEntry(e)
	}
	return struct {
		Entries []ctEntry `json:"entries"`
	}{out}, nil
}

// getRoots is RFC 6962 §4.7.
func (h *CT) getRoots(http.ResponseWriter, *http.Request) (any, error) {
	return struct {
		Certificates [][]byte `json:"certificates"`
	}{h.Service.Active().Roots()}, nil
}

// getEntryAndProof is RFC 6962 §4.8.
func (h *CT) getEntryAndProof(_ http.ResponseWriter, r *http.Request) (any, error) {
	index, size, err := twoNumbers(r, "leaf_index", "tree_size")
	if err != nil {
		return nil, err
	}
	e, proof, err := h.Service.Active().EntryAndProof(r.Context(), index, size)
	return struct {
		ctEntry
		Path [][]byte `json:"audit_path"`
	}{ctEntry(e), hashes(proof)}, err
}

// issuer is static-ct-api, Issuers. A fingerprint has one spelling.
func (h *CT) issuer(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("fingerprint")
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 32 || hex.EncodeToString(raw) != text {
		writeError(w, r, h.Logger, sigbox.Errorf(sigbox.NotFound, "issuer %.80q: expected a SHA-256 in lower-case hex", text))
		return
	}
	der, err := h.Service.Active().Issuer(r.Context(), [32]byte(raw))
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	w.Header().Set("Cache-Control", tileCaching)
	writeBytes(w, http.StatusOK, "application/pkix-cert", der)
}

// number reads a decimal parameter of the query, which must be there once: of two,
// servers take the one or the other.
func number(r *http.Request, name string) (uint64, error) {
	values := r.URL.Query()[name]
	if len(values) != 1 {
		return 0, sigbox.Errorf(sigbox.Invalid, "%s: expected a decimal number, found %d of them", name, len(values))
	}
	n, err := strconv.ParseUint(values[0], 10, 63)
	if err != nil {
		return 0, sigbox.Errorf(sigbox.Invalid, "%s: expected a decimal number, found %.40q", name, values[0])
	}
	return n, nil
}

func twoNumbers(r *http.Request, first, second string) (a, b uint64, err error) {
	if a, err = number(r, first); err != nil {
		return 0, 0, err
	}
	b, err = number(r, second)
	return a, b, err
}

// hashes gives a proof as JSON has it: a list, also when it is empty.
func hashes(proof []tlog.Hash) [][]byte {
	out := make([][]byte, len(proof))
	for i := range proof {
		out[i] = proof[i][:]
	}
	return out
}
