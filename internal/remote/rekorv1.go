package remote

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"path"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// LogV1 is the client of a transparency log that speaks Rekor's HTTP API v1; it
// writes hashedrekord 0.0.1 and dsse 0.0.1, and finds entries of any kind that signers
// use.
type LogV1 struct {
	client *Client
	url    string
}

var _ sigbox.Log = (*LogV1)(nil)

// LogV1 gives the log at a base URL.
func (c *Client) LogV1(baseURL string) *LogV1 { return &LogV1{c, baseURL} }

const entriesV1 = "/api/v1/log/entries"

// Add logs e; see [sigbox.Log]. An entry that the log has already is fetched.
// The answer has not been verified.
func (l *LogV1) Add(ctx context.Context, e sigbox.Entry) (sigbox.LogEntry, error) {
	return l.post(ctx, proposalV1(e))
}

// AddEnvelope logs a DSSE envelope as such, as dsse 0.0.1; of e the key or certificate
// is all that is looked at. The envelope is its text byte for byte: the log keeps the
// digest of that.
func (l *LogV1) AddEnvelope(ctx context.Context, e sigbox.Entry, envelope []byte) (sigbox.LogEntry, error) {
	le, err := l.post(ctx, proposalDSSE(envelope, verifierV1(e)))
	le.Kind = entry.KindDSSE
	return le, err
}

// post logs what is proposed.
func (l *LogV1) post(ctx context.Context, proposal any) (sigbox.LogEntry, error) {
	body, err := encodeJSON(proposal)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	r := request{
		service: logService, method: http.MethodPost, url: join(l.url, entriesV1),
		contentType: "application/json", body: body, limit: maxLogEntry,
	}
	resp, err := l.client.do(ctx, r)
	switch {
	case err != nil:
		return sigbox.LogEntry{}, err
	case resp.status == http.StatusConflict:
		return l.existing(ctx, r, resp)
	case resp.status == http.StatusNotFound:
		return sigbox.LogEntry{}, explainFind(resp, refused(r, resp))
	case resp.status != http.StatusCreated && resp.status != http.StatusOK:
		return sigbox.LogEntry{}, refused(r, resp)
	}
	return parseEntryV1(r, resp.body)
}

// existing fetches the entry that a refusal names. Of the Location only the last
// part is used: we go nowhere that the signing config does not name.
func (l *LogV1) existing(ctx context.Context, r request, resp response) (sigbox.LogEntry, error) {
	id := path.Base(resp.header.Get("Location"))
	if _, err := hex.DecodeString(id); err != nil || (len(id) != 64 && len(id) != 80) {
		return sigbox.LogEntry{}, refused(r, resp)
	}
	get := request{service: logService, method: http.MethodGet, url: join(l.url, entriesV1+"/"+id), limit: maxLogEntry}
	got, err := l.client.expect(ctx, get, http.StatusOK)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	return parseEntryV1(get, got.body)
}

// recordV1 is a hashedrekord 0.0.1.
//
// Source: sigstore/rekor, hashedrekord_v0_0_1_schema.json.
type recordV1 struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Data struct {
			Hash struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"hash"`
		} `json:"data"`
		Signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"` // PEM
			} `json:"publicKey"`
		} `json:"signature"`
	} `json:"spec"`
}

func proposalV1(e sigbox.Entry) recordV1 {
	r := recordV1{APIVersion: entry.Version001, Kind: entry.KindHashedRekord}
	r.Spec.Data.Hash.Algorithm = e.Digest.Algorithm.String()
	r.Spec.Data.Hash.Value = e.Digest.Hex()
	r.Spec.Signature.Content = e.Signature
	r.Spec.Signature.PublicKey.Content = verifierV1(e)
	return r
}

// verifierV1 is e's certificate or key in PEM, as a v1 log stores it.
func verifierV1(e sigbox.Entry) []byte {
	if e.Certificate != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate})
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: e.PublicKey})
}

// entryV1 is an element of a v1 log's answer.
type entryV1 struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogID          string `json:"logID"`
	LogIndex       int64  `json:"logIndex"`
	Verification   struct {
		Promise []byte   `json:"signedEntryTimestamp"`
		Proof   *proofV1 `json:"inclusionProof"`
	} `json:"verification"`
}

type proofV1 struct {
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"hashes"`
	LogIndex   int64    `json:"logIndex"`
	RootHash   string   `json:"rootHash"`
	TreeSize   int64    `json:"treeSize"`
}

func parseEntryV1(r request, body []byte) (sigbox.LogEntry, error) {
	var answer map[string]entryV1
	if err := decodeJSON(body, &answer); err != nil || len(answer) != 1 {
		return sigbox.LogEntry{}, badAnswer(r, "one log entry").WithCause(err)
	}
	for _, e := range answer {
		le, err := e.logEntry()
		if err != nil {
			return sigbox.LogEntry{}, badAnswer(r, "a log entry").WithCause(err)
		}
		return le, nil
	}
	return sigbox.LogEntry{}, badAnswer(r, "one log entry") // not reached: there is one
}

// logEntry turns hex into bytes.
func (e entryV1) logEntry() (sigbox.LogEntry, error) {
	logID, err := hex.DecodeString(e.LogID)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	le := sigbox.LogEntry{
		LogIndex: e.LogIndex, LogID: logID, Kind: entry.KindHashedRekord, Version: entry.Version001,
		IntegratedTime: e.IntegratedTime, SignedEntryTimestamp: e.Verification.Promise, Body: e.Body,
	}
	if p := e.Verification.Proof; p != nil {
		le.Inclusion, err = p.inclusion()
	}
	return le, err
}

func (p *proofV1) inclusion() (*sigbox.Inclusion, error) {
	root, err := hex.DecodeString(p.RootHash)
	if err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(p.Hashes))
	for i, h := range p.Hashes {
		if hashes[i], err = hex.DecodeString(h); err != nil {
			return nil, err
		}
	}
	return &sigbox.Inclusion{
		LogIndex: p.LogIndex, TreeSize: p.TreeSize, RootHash: root, Hashes: hashes, Checkpoint: p.Checkpoint,
	}, nil
}
