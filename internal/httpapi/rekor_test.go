package httpapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// newRekor serves a log in memory.
func newRekor(t testing.TB, change func(*rekor.Config)) (*httptest.Server, *note.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner("rekor.example", key)
	if err != nil {
		t.Fatal(err)
	}
	log, err := tlog.Open(t.Context(), tlog.Config{Origin: signer.Name(), KV: memory.NewKV(), Blob: memory.NewBlob(), Signers: []*note.Signer{signer}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := rekor.Config{Log: log, Signer: signer}
	if change != nil {
		change(&cfg)
	}
	service, err := rekor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	(&Rekor{Service: service, Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.Close()
		if err := log.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return server, signer
}

// rekorEntry makes the n-th entry of a key.
func rekorEntry(t testing.TB, key *ecdsa.PrivateKey, n int) sigbox.Entry {
	t.Helper()
	return fixture.Entry(t, key, binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// fetch sends a request and gives the answer with its body.
func fetch(t testing.TB, method, url string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // as it is sent: no redirects
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func TestRekorAdd(t *testing.T) {
	server, signer := newRekor(t, nil)
	key := fixture.Key(t)
	for n := range 3 {
		body := entry.AppendRequest(nil, rekorEntry(t, key, n))
		var first []byte
		for range 2 { // the second time it is a duplicate
			resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", bytes.NewReader(body))
			if resp.StatusCode != http.StatusCreated || resp.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%s: %s", resp.Status, answer)
			}
			le, err := entry.ParseLogEntry(answer)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := note.Open(le.Inclusion.Checkpoint, signer.Verifier()); err != nil || le.LogIndex != int64(n) {
				t.Errorf("index %d, %v", le.LogIndex, err)
			}
			if first == nil {
				first = answer
			} else if !bytes.Equal(first, answer) {
				t.Errorf("the duplicate's answer differs:\n%s\n%s", first, answer)
			}
		}
		// Every field is there, as rekor-tiles answers.
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(first, &fields); err != nil {
			t.Fatal(err)
		}
		if string(fields["integratedTime"]) != `"0"` || string(fields["inclusionPromise"]) != "null" || len(fields) != 7 {
			t.Errorf("%s", first)
		}
	}
}

func TestRekorRefused(t *testing.T) {
	server, _ := newRekor(t, nil)
	key := fixture.Key(t)
	e := rekorEntry(t, key, 1)
	good := string(entry.AppendRequest(nil, e))
	post := func(change func(e *sigbox.Entry)) string {
		c := e
		change(&c)
		return string(entry.AppendRequest(nil, c))
	}
	for name, test := range map[string]struct{ body, says string }{
		"empty":              {"", "empty"},
		"truncated":          {good[:100], "ends early"},
		"not JSON":           {"digest=1", "JSON"},
		"huge":               {`{"hashedRekordRequestV002":{"digest":"` + strings.Repeat("A", 5<<20) + `"}}`, "larger than"},
		"deep":               {strings.Repeat(`{"hashedRekordRequestV002":`, 100000), "unknown member"},
		"wrong type":         {`{"hashedRekordRequestV002":[]}`, "expected an object"},
		"large certificate":  {post(func(e *sigbox.Entry) { e.PublicKey, e.Certificate = nil, make([]byte, 60000) }), "at most 65535"},
		"large key":          {post(func(e *sigbox.Entry) { e.PublicKey = make([]byte, 9000) }), "at most 8192"},
		"another signature":  {post(func(e *sigbox.Entry) { e.Signature = rekorEntry(t, key, 2).Signature }), "does not verify"},
		"another key":        {post(func(e *sigbox.Entry) { e.PublicKey = rekorEntry(t, fixture.Key(t), 1).PublicKey }), "does not verify"},
		"pure Ed25519":       {post(func(e *sigbox.Entry) { e.Details = sigbox.Ed25519 }), "Ed25519ph"},
		"a v1 entry":         {`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}`, "unknown member"},
		"certificate no DER": {post(func(e *sigbox.Entry) { e.PublicKey, e.Certificate = nil, []byte("certificate") }), "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", strings.NewReader(test.body))
			var status rpcStatus
			if err := json.Unmarshal(answer, &status); err != nil {
				t.Fatalf("%v: %.200s", err, answer)
			}
			if resp.StatusCode != http.StatusBadRequest || status.Code != 3 || !strings.Contains(status.Message, test.says) {
				t.Errorf("%s: %s, expected 400 and %q", resp.Status, answer, test.says)
			}
			if len(answer) > 2000 {
				t.Errorf("the answer is %d bytes long", len(answer))
			}
		})
	}
	// A body without a length is bounded all the same.
	resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", io.LimitReader(endless{}, 64<<20))
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%s: %s", resp.Status, answer)
	}
	if resp, _ := fetch(t, http.MethodGet, server.URL+"/api/v2/log/entries", nil); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET of the entries: %s", resp.Status)
	}
	if _, note := fetch(t, http.MethodGet, server.URL+"/api/v2/checkpoint", nil); !strings.HasPrefix(string(note), "rekor.example\n0\n") {
		t.Errorf("something was logged: %s", note)
	}
}

// TestRekorFetchesNothing: a key is sent, never named (rekor GHSA-4c4x-jm2x-pf9j),
// and what is packed stays packed (GHSA-2h5h-59f5-c5x9, GHSA-47q9-m4ww-924m).
func TestRekorFetchesNothing(t *testing.T) {
	server, _ := newRekor(t, nil)
	asked := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a URL of the request was fetched") }))
	defer asked.Close()
	e := rekorEntry(t, fixture.Key(t), 1)
	good := entry.AppendRequest(nil, e)
	raw := fmt.Sprintf(`{"rawBytes":%q}`, base64.StdEncoding.EncodeToString(e.PublicKey))
	named := strings.Replace(string(good), raw, fmt.Sprintf(`{"url":%q}`, asked.URL), 1)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, endless{}, 100<<20); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ body, encoding, says string }{
		"a key by its URL":     {named, "identity", "unknown member"},
		"a decompression bomb": {bomb.String(), "gzip", "JSON"},
	} {
		resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", strings.NewReader(test.body), "Content-Encoding", test.encoding)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), test.says) {
			t.Errorf("%s: %s, %s", name, resp.Status, answer)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestRekorFrozen(t *testing.T) {
	server, _ := newRekor(t, func(c *rekor.Config) { seal(t, c.Log) })
	body := entry.AppendRequest(nil, rekorEntry(t, fixture.Key(t), 1))
	resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", bytes.NewReader(body))
	if resp.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(string(answer), "no further entries") {
		t.Errorf("%s: %s", resp.Status, answer)
	}
}

// TestRekorTiles logs more than a full tile and reads it all back.
func TestRekorTiles(t *testing.T) {
	server, signer := newRekor(t, nil)
	key := fixture.Key(t)
	const size = 300
	var leaves [][]byte
	for n := range size {
		e := rekorEntry(t, key, n)
		resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", bytes.NewReader(entry.AppendRequest(nil, e)))
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", resp.Status, answer)
		}
		leaf, err := entry.Leaf(e)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
	}
	resp, text := fetch(t, http.MethodGet, server.URL+"/api/v2/checkpoint", nil)
	cp, err := note.Open(string(text), signer.Verifier())
	if err != nil || cp.Size != size || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" || resp.Header.Get("Cache-Control") != "public, max-age=1" {
		t.Errorf("%v %+v %v", err, cp, resp.Header)
	}
	read := func(path string, header ...string) ([]byte, http.Header) {
		t.Helper()
		resp, b := fetch(t, http.MethodGet, server.URL+"/api/v2/tile/"+path, nil, header...)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/octet-stream" || resp.Header.Get("Cache-Control") != shardCaching {
			t.Fatalf("%s: %s, %v", path, resp.Status, resp.Header)
		}
		return b, resp.Header
	}
	var hashes, bundles []byte
	for _, path := range []string{"0/000", "0/001.p/44"} {
		b, _ := read(path)
		hashes = append(hashes, b...)
	}
	for _, path := range []string{"entries/000", "entries/001.p/44"} {
		plain, _ := read(path, "Accept-Encoding", "identity")
		packed, h := read(path, "Accept-Encoding", "gzip")
		if h.Get("Content-Encoding") != "gzip" || h.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%v", h)
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain) {
			t.Errorf("%s: unlike when packed: %v", path, err)
		}
		bundles = append(bundles, plain...)
	}
	for n, leaf := range leaves {
		h := sha256.Sum256(append([]byte{0}, leaf...))
		if !bytes.Equal(h[:], hashes[32*n:32*n+32]) {
			t.Fatalf("hash %d differs", n)
		}
		length := int(binary.BigEndian.Uint16(bundles))
		if !bytes.Equal(leaf, bundles[2:2+length]) {
			t.Fatalf("entry %d differs", n)
		}
		bundles = bundles[2+length:]
	}
	if len(bundles) > 0 || len(hashes) != 32*size {
		t.Errorf("%d bytes of entries too many, %d of hashes", len(bundles), len(hashes))
	}
	top, _ := read("1/000.p/1")
	if want := treeHash(hashes[:32*256]); !bytes.Equal(top, want) {
		t.Errorf("the tile above: %x, expected %x", top, want)
	}
	if earlier, _ := read("0/001.p/43"); !bytes.Equal(earlier, hashes[32*256:32*299]) {
		t.Error("a partial tile of an earlier size differs")
	}
}

// treeHash gives the root of a full tree over hashes (RFC 6962 §2.1).
func treeHash(hashes []byte) []byte {
	if len(hashes) == 32 {
		return hashes
	}
	half := len(hashes) / 2
	h := sha256.New()
	h.Write([]byte{1})
	h.Write(treeHash(hashes[:half]))
	h.Write(treeHash(hashes[half:]))
	return h.Sum(nil)
}

func TestRekorTilesNotFound(t *testing.T) {
	server, _ := newRekor(t, nil)
	body := entry.AppendRequest(nil, rekorEntry(t, fixture.Key(t), 1))
	if resp, _ := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", bytes.NewReader(body)); resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	for _, path := range []string{
		"", "0", "0/000", "0/000.p/2", "0/001.p/1", "1/000.p/1", "8/000.p/1", "63/000.p/1", "0/x000/000.p/1", "0/0%30%30.p/1", "%30/000.p/1",
		"entries", "entries/000", "entries/000.p/2", "entries/x999/x999/x999/x999/x999/999", "data/000.p/1", "names/000", "0/000.p/01",
	} {
		resp, answer := fetch(t, http.MethodGet, server.URL+"/api/v2/tile/"+path, nil)
		if resp.StatusCode != http.StatusNotFound || strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%q: %s, %s", path, resp.Status, answer)
		}
	}
	if resp, _ := fetch(t, http.MethodGet, server.URL+"/api/v2/tile/0/000.p/1", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("the tile that is there: %s", resp.Status)
	}
}

// TestRekorDSSE posts what sigstore-js posts for an attestation.
func TestRekorDSSE(t *testing.T) {
	server, _ := newRekor(t, nil)
	e := rekorEntry(t, fixture.Key(t), 1)
	b64 := base64.StdEncoding.EncodeToString
	body := fmt.Sprintf(`{"dsseRequestV002":{"envelope":{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q,"keyid":""}]},`+
		`"verifiers":[{"publicKey":{"rawBytes":%q},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}]}}`, b64([]byte("{}")), b64(e.Signature), b64(e.PublicKey))
	resp, answer := fetch(t, http.MethodPost, server.URL+"/api/v2/log/entries", strings.NewReader(body))
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), "does not verify") {
		t.Errorf("%s: %s, expected a refusal: the signature is over something else", resp.Status, answer)
	}
}

// BenchmarkRekorAdd measures the whole way of an entry into a log in memory, over
// a real connection, the load included.
func BenchmarkRekorAdd(b *testing.B) {
	server, _ := newRekor(b, nil)
	key := fixture.Key(b)
	bodies := make([][]byte, b.N)
	for i := range bodies {
		bodies[i] = entry.AppendRequest(nil, rekorEntry(b, key, i))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.ResetTimer()
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Post(server.URL+"/api/v2/log/entries", "application/json", bytes.NewReader(bodies[next.Add(1)-1]))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				b.Error(resp.Status)
			}
		}
	})
}

// seal has a log take no more entries.
func seal(t testing.TB, l *tlog.Log) {
	t.Helper()
	if _, err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}
