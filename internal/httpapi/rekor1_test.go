package httpapi

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// newRekorV1 serves a v1 log in memory.
func newRekorV1(t testing.TB, change func(*rekor1.Config)) (*httptest.Server, *rekor1.Service) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lc, err := rekor1.LogConfig("v1.rekor.example", key)
	if err != nil {
		t.Fatal(err)
	}
	lc.KV, lc.Blob = memory.NewKV(), memory.NewBlob()
	log, err := tlog.Open(t.Context(), lc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := rekor1.Config{Log: log, Key: key, Host: "v1.rekor.example"}
	if change != nil {
		change(&cfg)
	}
	service, err := rekor1.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&RekorV1{Service: rekor1.NewShards(nil, service), Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		_ = log.Close(t.Context()) // in memory
	})
	return server, service
}

// proposeV1 makes n hashedrekords as a client posts them.
func proposeV1(t testing.TB, n int) (bodies [][]byte) {
	t.Helper()
	key := fixture.Key(t)
	for i := range n {
		bodies = append(bodies, entry.AppendProposal(nil, fixture.Entry(t, key, fmt.Appendf(nil, "artifact %d", i))))
	}
	return bodies
}

// answerV1 is LogEntry of openapi.yaml.
type answerV1 map[string]struct {
	Body           []byte
	IntegratedTime int64
	LogID          string
	LogIndex       int64
	Verification   struct {
		InclusionProof struct {
			Checkpoint, RootHash string
			Hashes               []string
			LogIndex, TreeSize   int64
		}
		SignedEntryTimestamp []byte
	}
}

// postV1 logs a proposal that is not logged yet, and gives its ID.
func postV1(t testing.TB, server *httptest.Server, body []byte) string {
	t.Helper()
	resp, b := fetch(t, http.MethodPost, server.URL+"/api/v1/log/entries", bytes.NewReader(body))
	var a answerV1
	if err := json.Unmarshal(b, &a); err != nil || resp.StatusCode != http.StatusCreated || len(a) != 1 {
		t.Fatalf("%d: %s", resp.StatusCode, b)
	}
	for id, e := range a {
		if leaf := sha256.Sum256(append([]byte{0}, body...)); len(id) != 80 || id[16:] != hex.EncodeToString(leaf[:]) {
			t.Errorf("ID %s, expected one of leaf %x", id, leaf)
		}
		if resp.Header.Get("ETag") != id || resp.Header.Get("Location") != "/api/v1/log/entries/"+id || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("headers %v", resp.Header)
		}
		if !bytes.HasSuffix(b, []byte("}}}\n")) { // sigstore-rs cuts the last two bytes off
			t.Errorf("the answer ends in %q", b[len(b)-4:])
		}
		if !bytes.Equal(e.Body, body) || e.IntegratedTime == 0 || len(e.LogID) != 64 || len(e.Verification.SignedEntryTimestamp) == 0 || e.Verification.InclusionProof.Hashes == nil {
			t.Errorf("%s", b)
		}
		return id
	}
	panic("not reached")
}

func TestRekorV1(t *testing.T) {
	server, _ := newRekorV1(t, nil)
	bodies := proposeV1(t, 3)
	var ids []string
	for _, body := range bodies {
		ids = append(ids, postV1(t, server, body))
	}
	entries := server.URL + "/api/v1/log/entries"
	for i, id := range ids {
		for _, path := range []string{"?logIndex=" + fmt.Sprint(i), "/" + id, "/" + strings.ToUpper(id), "/" + id[16:]} {
			resp, b := fetch(t, http.MethodGet, entries+path, nil)
			var a answerV1
			if err := json.Unmarshal(b, &a); err != nil || resp.StatusCode != http.StatusOK || a[id].LogIndex != int64(i) || !bytes.Equal(a[id].Body, bodies[i]) {
				t.Errorf("%s: %d: %s", path, resp.StatusCode, b)
			}
		}
	}
	query := fmt.Appendf(nil, `{"entryUUIDs":[%q],"logIndexes":[0,99],"entries":[%s]}`, ids[2], bodies[1])
	for _, path := range []string{"/retrieve", "/retrieve/"} {
		resp, b := fetch(t, http.MethodPost, entries+path, bytes.NewReader(query))
		var found []answerV1
		if err := json.Unmarshal(b, &found); err != nil || resp.StatusCode != http.StatusOK || len(found) != 3 || found[0][ids[2]].LogIndex != 2 || found[1][ids[1]].LogIndex != 1 || len(found[2][ids[0]].Body) == 0 {
			t.Errorf("%s: %d: %s", path, resp.StatusCode, b)
		}
	}
	if resp, b := fetch(t, http.MethodPost, entries+"/retrieve", bytes.NewReader([]byte(`{"logIndexes":[99]}`))); resp.StatusCode != http.StatusOK || string(b) != "[]" {
		t.Errorf("nothing is found: %d: %s", resp.StatusCode, b)
	}
}

// TestRekorV1Duplicate: clients find what is there by Location, or by the words.
func TestRekorV1Duplicate(t *testing.T) {
	server, _ := newRekorV1(t, nil)
	body := proposeV1(t, 1)[0]
	id := postV1(t, server, body)
	resp, b := fetch(t, http.MethodPost, server.URL+"/api/v1/log/entries", bytes.NewReader(body))
	if resp.StatusCode != http.StatusConflict || resp.Header.Get("Location") != "/api/v1/log/entries/"+id {
		t.Errorf("%d: %v", resp.StatusCode, resp.Header)
	}
	if want := `{"code":409,"message":"an equivalent entry already exists in the transparency log with UUID ` + id + `"}`; string(b) != want {
		t.Errorf("found %s", b)
	}
}

func TestRekorV1Log(t *testing.T) {
	server, service := newRekorV1(t, nil)
	for _, body := range proposeV1(t, 5) {
		postV1(t, server, body)
	}
	_, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log", nil)
	var info struct {
		InactiveShards                   []any
		RootHash, SignedTreeHead, TreeID string
		TreeSize                         int
	}
	if err := json.Unmarshal(b, &info); err != nil || info.InactiveShards == nil || len(info.RootHash) != 64 || info.TreeSize != 5 || info.SignedTreeHead != service.Checkpoint() ||
		!strings.HasPrefix(info.SignedTreeHead, "v1.rekor.example - "+info.TreeID+"\n5\n") {
		t.Errorf("%v: %s", err, b)
	}
	for path, hashes := range map[string]int{"?lastSize=5": 3, "?firstSize=5&lastSize=5": 0, "?firstSize=4&lastSize=5&treeID=" + info.TreeID: 1} {
		resp, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log/proof"+path, nil)
		var proof struct {
			RootHash string
			Hashes   []string
		}
		if err := json.Unmarshal(b, &proof); err != nil || resp.StatusCode != http.StatusOK || proof.RootHash != info.RootHash || proof.Hashes == nil || len(proof.Hashes) != hashes {
			t.Errorf("%s: %d: %s", path, resp.StatusCode, b)
		}
	}
	for _, path := range []string{"", "?treeID=" + info.TreeID} {
		resp, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log/publicKey"+path, nil)
		block, _ := pem.Decode(b)
		if resp.Header.Get("Content-Type") != "application/x-pem-file" || block == nil || !bytes.Equal(block.Bytes, service.TransparencyLog().PublicKey) {
			t.Errorf("%v: %s", resp.Header, b)
		}
	}
	if _, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log/checkpoint", nil); string(b) != info.SignedTreeHead {
		t.Errorf("checkpoint %s", b)
	}
	if _, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log/tile/0/000.p/5", nil); len(b) != 5*sha256.Size {
		t.Errorf("tile %x", b)
	}
	if resp, b := fetch(t, http.MethodGet, server.URL+"/api/v1/log/tile/entries/000.p/5", nil); resp.StatusCode != http.StatusOK || !bytes.Contains(b, []byte(`"kind":"hashedrekord"`)) {
		t.Errorf("bundle %x", b)
	}
}

// TestRekorV1Refusals: each refusal has Rekor's status and form.
func TestRekorV1Refusals(t *testing.T) {
	server, service := newRekorV1(t, nil)
	two := proposeV1(t, 2)
	id := postV1(t, server, two[0])
	tree := service.Info().Tree
	forged := bytes.Replace(two[1], []byte(sigbox.SHA256.Sum([]byte("artifact 1")).Hex()), []byte(sigbox.SHA256.Sum(nil).Hex()), 1)
	large := entry.AppendProposal(nil, sigbox.Entry{Digest: sigbox.SHA256.Sum(nil), Signature: []byte{1}, PublicKey: make([]byte, 9000)})
	eleven := []byte(`{"logIndexes":[0,0,0,0,0,0,0,0,0,0,0]}`)
	for name, test := range map[string]struct {
		method, path string
		body         []byte
		code         int
		says         string
	}{
		"no body":               {"POST", "/entries", nil, 400, "empty"},
		"no JSON":               {"POST", "/entries", []byte("x"), 400, "JSON"},
		"another kind":          {"POST", "/entries", []byte(`{"kind":"rekord","apiVersion":"0.0.1","spec":{}}`), 400, "not taken"},
		"a forged entry":        {"POST", "/entries", forged, 400, "does not verify"},
		"a large body":          {"POST", "/entries", make([]byte, entry.MaxProposalSize+1), 400, "larger than"},
		"a large key":           {"POST", "/entries", large, 400, "at most 8192"},
		"no index":              {"GET", "/entries", nil, 400, "logIndex"},
		"a negative index":      {"GET", "/entries?logIndex=-1", nil, 400, "logIndex"},
		"an index beyond":       {"GET", "/entries?logIndex=1", nil, 404, "no entry"},
		"a far index":           {"GET", "/entries?logIndex=9223372036854775807", nil, 404, "no entry"},
		"a bad ID":              {"GET", "/entries/x", nil, 400, "64 hex digits"},
		"an ID of another leaf": {"GET", "/entries/" + strings.Repeat("0", 64), nil, 404, "no entry"},
		"an ID of another tree": {"GET", "/entries/" + strings.Repeat("1", 16) + id[16:], nil, 404, "another tree"},
		"too many queries":      {"POST", "/entries/retrieve", eleven, 422, "more than"},
		"a bad query":           {"POST", "/entries/retrieve", []byte(`{"x":1}`), 400, "unknown member"},
		"a query for two":       {"GET", "/entries?logIndex=0&logIndex=1", nil, 400, "2 of them"},
		"a query for a large":   {"POST", "/entries/retrieve", fmt.Appendf(nil, `{"entries":[%s]}`, large), 400, "at most 8192"},
		"a query for a forgery": {"POST", "/entries/retrieve", fmt.Appendf(nil, `{"entries":[%s]}`, forged), 400, "does not verify"},
		"a proof of nothing":    {"GET", "/proof", nil, 400, "lastSize"},
		"a proof backwards":     {"GET", "/proof?firstSize=2&lastSize=1", nil, 400, "firstSize(2)"},
		"a proof beyond":        {"GET", "/proof?lastSize=2", nil, 400, "greater than what is currently observable(1)"},
		"a proof of a tree":     {"GET", fmt.Sprintf("/proof?lastSize=1&treeID=%d", tree+1), nil, 400, "no tree"},
		"a proof of two trees":  {"GET", "/proof?lastSize=1&treeID=&treeID=1", nil, 400, "2 of them"},
		"a proof of no number":  {"GET", "/proof?lastSize=1&treeID=x", nil, 400, "treeID"},
		"the key of a tree":     {"GET", fmt.Sprintf("/publicKey?treeID=%d", tree+1), nil, 400, "no tree"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, b := fetch(t, test.method, server.URL+"/api/v1/log"+test.path, bytes.NewReader(test.body))
			var e errorV1
			if err := json.Unmarshal(b, &e); err != nil || resp.StatusCode != test.code || e.Code != test.code || !strings.Contains(e.Message, test.says) {
				t.Errorf("expected %d and %q, found %d: %s", test.code, test.says, resp.StatusCode, b)
			}
		})
	}
	if service.Info().Size != 1 {
		t.Errorf("%d entries", service.Info().Size)
	}
}

func TestRekorV1Frozen(t *testing.T) {
	server, _ := newRekorV1(t, func(c *rekor1.Config) { seal(t, c.Log) })
	resp, b := fetch(t, http.MethodPost, server.URL+"/api/v1/log/entries", bytes.NewReader(proposeV1(t, 1)[0]))
	if resp.StatusCode != http.StatusMethodNotAllowed || !bytes.Contains(b, []byte(`"code":405`)) {
		t.Errorf("%d: %s", resp.StatusCode, b)
	}
}
