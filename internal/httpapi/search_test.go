package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	xtlog "golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/internal/store/memory"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// searchable is a v2 and a v1 log that are searched.
type searchable struct {
	url    string
	search *Search
	v2     *rekor.Service
	v1     *rekor1.Service
	tree   uint64
	signer *note.Signer
	now    time.Time
}

func newSearchable(t testing.TB) *searchable {
	t.Helper()
	s := &searchable{now: time.Unix(1_700_000_000, 0)}
	open := func(cfg tlog.Config) (*tlog.Log, *search.Index) {
		cfg.KV, cfg.Blob, cfg.Now = memory.NewKV(), memory.NewBlob(), func() time.Time { return s.now }
		log, err := tlog.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = log.Close(t.Context()) })
		index, err := search.Open(t.Context(), search.Config{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		return log, index
	}
	var err error
	if s.signer, err = note.NewSigner("rekor.example", fixture.Key(t)); err != nil {
		t.Fatal(err)
	}
	log2, index2 := open(rekor.LogConfig(s.signer))
	if s.v2, err = rekor.New(rekor.Config{Log: log2, Signer: s.signer, Rows: search.Rows}); err != nil {
		t.Fatal(err)
	}
	key := fixture.Key(t)
	cfg, err := rekor1.LogConfig("v1.rekor.example", key)
	if err != nil {
		t.Fatal(err)
	}
	log1, index1 := open(cfg)
	if s.v1, err = rekor1.New(rekor1.Config{Log: log1, Key: key, Host: "v1.rekor.example", Rows: search.Rows, RowBytes: search.RowBytes}); err != nil {
		t.Fatal(err)
	}
	s.tree = s.v1.Info().Tree
	logs := []SearchedLog{
		{Name: "v2", Trust: s.v2.TransparencyLog(), Index: index2, Prove: s.v2.ByIndex},
		{Name: "v1", Number: 1, Trust: s.v1.TransparencyLog(), Index: index1, Tree: s.tree, Prove: func(ctx context.Context, index uint64) (sigbox.LogEntry, error) {
			e, err := s.v1.ByIndex(ctx, index)
			return e.LogEntry, err
		}},
	}
	s.search = &Search{Logger: slog.New(slog.DiscardHandler), Logs: func() []SearchedLog { return logs }}
	mux := http.NewServeMux()
	s.search.Register(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// signer is someone who signs: with a certificate, or a bare key.
type testSigner struct {
	key               *ecdsa.PrivateKey
	spki, certificate []byte
}

func newSigner(t testing.TB, id *sigbox.Identity) *testSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &testSigner{key: key}
	if s.spki, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		t.Fatal(err)
	}
	if id == nil {
		return s
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0)}
	if template.ExtraExtensions, err = cert.Extensions(*id); err != nil {
		t.Fatal(err)
	}
	if s.certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		t.Fatal(err)
	}
	return s
}

// entry signs an artifact.
func (s *testSigner) entry(t testing.TB, artifact string) sigbox.Entry {
	t.Helper()
	d := sigbox.SHA256.Sum([]byte(artifact))
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, d.Value)
	if err != nil {
		t.Fatal(err)
	}
	e := sigbox.Entry{Digest: d, Signature: sig, Details: sigbox.ECDSAP256SHA256, Certificate: s.certificate}
	if e.Certificate == nil {
		e.PublicKey = s.spki
	}
	return e
}

// envelope signs a statement about an artifact, as a v1 client posts it.
func (s *testSigner) envelope(t testing.TB, artifact string) []byte {
	t.Helper()
	payload := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%x"}}]}`, sha256.Sum256([]byte(artifact)))
	digest := sha256.Sum256(sigbox.PAE("application/vnd.in-toto+json", payload))
	sig, err := ecdsa.SignASN1(rand.Reader, s.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	envelope := fmt.Sprintf(`{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":%q}]}`, b64(payload), b64(sig))
	return fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":%q,"verifiers":[%q]}}}`, envelope, b64(s.pem()))
}

func (s *testSigner) pem() []byte {
	if s.certificate != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate})
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: s.spki})
}

// logV2 and logV1 log a signature over an artifact.
func (s *searchable) logV2(t testing.TB, by *testSigner, artifact string) {
	t.Helper()
	if _, err := s.v2.Add(t.Context(), by.entry(t, artifact)); err != nil {
		t.Fatal(err)
	}
}

func (s *searchable) logV1(t testing.TB, by *testSigner, artifact string) (id string) {
	t.Helper()
	return s.propose(t, entry.AppendProposal(nil, by.entry(t, artifact)))
}

func (s *searchable) propose(t testing.TB, body []byte) (id string) {
	t.Helper()
	p, err := entry.ParseProposal(body)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := s.v1.Add(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return e.ID.String()
}

// answer is the answer of /api/search as docs/search.md describes it.
type answer struct {
	Entries []struct {
		Log     string    `json:"log"`
		Shard   string    `json:"shard"`
		Index   uint64    `json:"index"`
		UUID    string    `json:"uuid"`
		Time    time.Time `json:"time"`
		Kind    string    `json:"kind"`
		Version string    `json:"version"`
		Digests []string  `json:"digests"`
		Signers []struct {
			Subjects     []string `json:"subjects"`
			Issuer       string   `json:"issuer"`
			Repositories []string `json:"repositories"`
			PublicKey    string   `json:"publicKey"`
			Certificate  string   `json:"certificate"`
		} `json:"signers"`
		Entry json.RawMessage `json:"transparencyLogEntry"`
	} `json:"entries"`
	Next string `json:"next"`
	Logs []struct {
		Name         string  `json:"name"`
		Shard        string  `json:"shard"`
		ID           []byte  `json:"id"`
		URL          string  `json:"url"`
		Size         uint64  `json:"size"`
		Complete     bool    `json:"complete"`
		CompleteFrom *uint64 `json:"completeFrom"`
	} `json:"logs"`
}

func (a *answer) places() (out []string) {
	for _, e := range a.Entries {
		out = append(out, fmt.Sprint(e.Log, " ", e.Index))
	}
	return out
}

func (s *searchable) get(t testing.TB, query url.Values) answer {
	t.Helper()
	resp, body := fetch(t, http.MethodGet, s.url+"/api/search?"+query.Encode(), nil)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%v: %s, %v: %s", query, resp.Status, resp.Header, body)
	}
	var a answer
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return a
}

func jane() *sigbox.Identity {
	return &sigbox.Identity{Issuer: "https://accounts.example.com", Kind: sigbox.EmailSAN, Subject: "jane@example.com"}
}

func build() *sigbox.Identity {
	return &sigbox.Identity{
		Issuer: "https://token.example.com", Kind: sigbox.URISAN, Subject: "https://github.com/some/thing/.github/workflows/b.yml@refs/heads/main",
		Extensions: sigbox.Extensions{SourceRepositoryURI: "https://github.com/some/thing"},
	}
}

// What is acknowledged is found, by all that an entry says, in both logs, newest
// first.
func TestSearch(t *testing.T) {
	s := newSearchable(t)
	bare, person, robot := newSigner(t, nil), newSigner(t, jane()), newSigner(t, build())
	s.logV2(t, bare, "a")
	s.logV2(t, person, "a")
	s.now = s.now.Add(time.Hour)
	s.logV2(t, robot, "b")
	s.logV1(t, person, "a")
	s.now = s.now.Add(time.Hour)
	id := s.propose(t, robot.envelope(t, "a"))
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte("a")))
	from := time.Unix(1_700_000_000, 0).UTC()
	hour := func(n int) string { return from.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	for _, tt := range []struct {
		query string
		want  []string
	}{
		{"", []string{"v2 2", "v2 1", "v2 0", "v1 1", "v1 0"}},
		{"log=v1", []string{"v1 1", "v1 0"}},
		{"hash=" + hash, []string{"v2 1", "v2 0", "v1 1", "v1 0"}},
		{"hash=sha256:" + hash + "&log=v2", []string{"v2 1", "v2 0"}},
		{"subject=JANE@example.com", []string{"v2 1", "v1 0"}},
		{"issuer=https://token.example.com", []string{"v2 2", "v1 1"}},
		{"repository=https://github.com/some/thing", []string{"v2 2", "v1 1"}},
		{"key=" + hexSHA256(bare.spki), []string{"v2 0"}},
		{"key=" + hexSHA256(person.certificate), []string{"v2 1", "v1 0"}},
		{"kind=dsse", []string{"v1 1"}},
		{"kind=rfc3161", nil},
		{"kind=hashedrekord&issuer=https://token.example.com", []string{"v2 2"}},
		{"hash=" + hash + "&subject=jane@example.com&issuer=https://accounts.example.com&log=v1", []string{"v1 0"}},
		{"after=" + hour(1), []string{"v2 2", "v1 1", "v1 0"}},
		{"before=" + hour(1), []string{"v2 1", "v2 0"}},
		{"after=" + hour(1) + "&before=" + hour(2) + "&hash=" + hash, []string{"v1 0"}},
		{"before=0001-01-01T00:00:00Z", nil},
		{"after=0001-01-01T00:00:00Z&log=v1", []string{"v1 1", "v1 0"}},
		{"subject=nobody@example.com", nil},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, s.walk(t, query, 100)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query, d)
		}
		if d := cmp.Diff(tt.want, s.walk(t, query, 1)); d != "" {
			t.Errorf("%s, one by one (-want +got):\n%s", tt.query, d)
		}
	}
	a := s.get(t, url.Values{"kind": {"dsse"}, "log": {"v1"}})
	e := a.Entries[0]
	if e.UUID != id || e.Kind != "dsse" || e.Version != "0.0.1" || !e.Time.Equal(from.Add(2*time.Hour)) || len(e.Digests) != 2 || e.Entry != nil {
		t.Errorf("%+v", e)
	}
	if got := e.Signers[0]; !slices.Equal(got.Subjects, []string{build().Subject}) || got.Issuer != build().Issuer || !slices.Equal(got.Repositories, []string{"https://github.com/some/thing"}) ||
		got.PublicKey != hexSHA256(robot.spki) || got.Certificate != hexSHA256(robot.certificate) {
		t.Errorf("%+v", got)
	}
	if l := a.Logs; len(l) != 1 || l[0].Name != "v1" || !bytes.Equal(l[0].ID, s.v1.TransparencyLog().LogID) || l[0].URL != "https://v1.rekor.example" || l[0].Size != 2 || !l[0].Complete || *l[0].CompleteFrom != 0 {
		t.Errorf("%+v", l)
	}
	if l := s.get(t, nil).Logs; len(l) != 2 || l[0].Name != "v2" || l[0].Size != 3 {
		t.Errorf("%+v", l)
	}
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// walk reads all pages of a search.
func (s *searchable) walk(t testing.TB, query url.Values, limit int) (found []string) {
	t.Helper()
	query.Set("limit", fmt.Sprint(limit))
	defer query.Del("cursor")
	for {
		a := s.get(t, query)
		if len(a.Entries) > limit {
			t.Fatalf("%d entries: at most %d were asked for", len(a.Entries), limit)
		}
		found = append(found, a.places()...)
		if a.Next == "" {
			return found
		}
		query.Set("cursor", a.Next)
	}
}

// Pages stay right while the logs grow.
func TestSearchGrows(t *testing.T) {
	s := newSearchable(t)
	by := newSigner(t, jane())
	for i := range 5 {
		s.logV2(t, by, fmt.Sprint(i))
	}
	query := url.Values{"subject": {"jane@example.com"}, "limit": {"2"}}
	var found []string
	for i := 0; ; i++ {
		a := s.get(t, query)
		found = append(found, a.places()...)
		if a.Next == "" {
			break
		}
		query.Set("cursor", a.Next)
		s.logV2(t, by, fmt.Sprint("more ", i))
	}
	if d := cmp.Diff([]string{"v2 4", "v2 3", "v2 2", "v2 1", "v2 0"}, found); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// With a proof a client need not believe what it is answered.
func TestSearchProof(t *testing.T) {
	s := newSearchable(t)
	by := newSigner(t, jane())
	for i := range 3 {
		s.logV2(t, by, fmt.Sprint(i))
		s.logV1(t, by, fmt.Sprint(i))
	}
	for _, e := range s.get(t, url.Values{"proof": {"1"}, "subject": {"jane@example.com"}}).Entries {
		le, err := entry.ParseLogEntry(e.Entry)
		if err != nil {
			t.Fatal(err)
		}
		verifier := s.signer.Verifier()
		if e.Log == "v1" {
			pub, err := sigbox.ParsePublicKey(s.v1.TransparencyLog().PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			if verifier, err = note.NewVerifier("v1.rekor.example", pub); err != nil {
				t.Fatal(err)
			}
			if le.SignedEntryTimestamp == nil || le.IntegratedTime != s.now.Unix() {
				t.Errorf("%+v", le)
			}
		}
		cp, err := note.Open(le.Inclusion.Checkpoint, verifier)
		if err != nil {
			t.Fatal(err)
		}
		var proof xtlog.RecordProof
		for _, h := range le.Inclusion.Hashes {
			proof = append(proof, xtlog.Hash(h))
		}
		if err := xtlog.CheckRecord(proof, int64(cp.Size), xtlog.Hash(cp.Root), le.LogIndex, xtlog.RecordHash(le.Body)); err != nil {
			t.Error(err)
		}
		b, err := entry.ParseBody(le.Body)
		if err != nil || b.Kind != le.Kind || b.Version != le.Version || uint64(le.LogIndex) != e.Index || b.Digest.String() != e.Digests[0] {
			t.Errorf("%+v, %v", le, err)
		}
	}
}

func TestSearchRefused(t *testing.T) {
	s := newSearchable(t)
	by := newSigner(t, jane())
	s.logV2(t, by, "a")
	s.logV2(t, by, "b")
	next := s.get(t, url.Values{"limit": {"1"}}).Next
	raw, err := base64.RawURLEncoding.DecodeString(next)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(i int, by byte) string {
		b := bytes.Clone(raw)
		b[i] = by
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for _, query := range []string{
		"foo=1", "Hash=" + strings.Repeat("a", 64), "hash=", "hash=abc", "hash=" + strings.Repeat("a", 64) + "&hash=" + strings.Repeat("b", 64), "hash=%zz", "hash=a;b=c",
		"subject=" + strings.Repeat("a", 5000), "key=abc", "kind=jar", "after=yesterday", "before=1700000000", "after=2026-01-02T00:00:00Z&before=2026-01-01T00:00:00Z",
		"log=v3", "limit=0", "limit=101", "limit=-1", "limit=x", "proof=yes",
		"cursor=x", "cursor=" + next[1:], "cursor=" + next + "A", "cursor=" + changed(0, 2), "cursor=" + changed(9, 2), "cursor=" + changed(3, ^raw[3]),
		"cursor=" + next + "&subject=jane@example.com", "cursor=" + next + "&cursor=" + next, "cursor=" + next + "%0A",
	} {
		resp, body := fetch(t, http.MethodGet, s.url+"/api/search?"+query, nil)
		if resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%.80s: %s: %s", query, resp.Status, body)
		}
		if len(body) > 500 {
			t.Errorf("%.80s: an answer of %d bytes", query, len(body))
		}
	}
	// Limit and proof may differ from page to page.
	if a := s.get(t, url.Values{"cursor": {next}, "limit": {"2"}, "proof": {"1"}}); len(a.Entries) != 1 || a.Next != "" {
		t.Errorf("%+v", a)
	}
}

// Of searches there are only so many at once.
func TestSearchBusy(t *testing.T) {
	s := newSearchable(t)
	for range cap(s.search.slots) {
		leave, err := s.search.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	for _, req := range []struct{ method, path, body string }{{http.MethodGet, "/api/search", ""}, {http.MethodPost, "/api/v1/index/retrieve", `{"email":"a@example.com"}`}} {
		resp, body := fetch(t, req.method, s.url+req.path, strings.NewReader(req.body))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" {
			t.Errorf("%s: %s: %s", req.path, resp.Status, body)
		}
	}
}

// slowReader is a client that reads its answer when others have searched.
type slowReader struct {
	*httptest.ResponseRecorder
	reads func()
}

func (w *slowReader) Write(b []byte) (int, error) {
	w.reads()
	return w.ResponseRecorder.Write(b)
}

// A search holds its place while it searches, not while its answer is read.
func TestSearchReadSlowly(t *testing.T) {
	s := newSearchable(t)
	mux := http.NewServeMux()
	s.search.Register(mux)
	for _, req := range []struct{ method, path, body string }{{http.MethodGet, "/api/search", ""}, {http.MethodPost, "/api/v1/index/retrieve", `{"email":"a@example.com"}`}} {
		w := &slowReader{httptest.NewRecorder(), func() {
			if n := len(s.search.slots); n > 0 {
				t.Errorf("%s: %d places are taken while the answer is read", req.path, n)
			}
		}}
		if mux.ServeHTTP(w, httptest.NewRequest(req.method, req.path, strings.NewReader(req.body))); w.Code != http.StatusOK {
			t.Errorf("%s: %d: %s", req.path, w.Code, w.Body)
		}
	}
}

// retrieved posts a query as a v1 client does.
func (s *searchable) retrieved(t testing.TB, query any) []string {
	t.Helper()
	b, err := json.Marshal(query)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := fetch(t, http.MethodPost, s.url+"/api/v1/index/retrieve", bytes.NewReader(b), "Content-Type", "application/json")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Search-Complete") != "true" {
		t.Fatalf("%s: %s: %s", b, resp.Status, body)
	}
	var ids []string
	if err := json.Unmarshal(body, &ids); err != nil || ids == nil {
		t.Fatalf("%s: %s, %v", b, body, err)
	}
	return ids
}

// The answers to v1 clients are the IDs of entries, as Rekor has them.
func TestIndexRetrieve(t *testing.T) {
	s := newSearchable(t)
	bare, person, robot := newSigner(t, nil), newSigner(t, jane()), newSigner(t, build())
	s.logV2(t, person, "a") // is not of this log
	ids := []string{s.logV1(t, bare, "a"), s.logV1(t, person, "a"), s.logV1(t, robot, "b"), s.propose(t, robot.envelope(t, "a"))}
	hash := func(artifact string) string { return hexSHA256([]byte(artifact)) }
	type object = map[string]any
	key := func(by *testSigner) object { return object{"format": "x509", "content": by.pem()} }
	for name, tt := range map[string]struct {
		query object
		want  []int
	}{
		"nothing":            {object{}, nil},
		"nothing, and":       {object{"operator": "and"}, nil},
		"hash":               {object{"hash": "sha256:" + hash("a")}, []int{3, 1, 0}},
		"digits":             {object{"hash": strings.ToUpper(hash("a"))}, []int{3, 1, 0}},
		"hash of nothing":    {object{"hash": hash("c")}, nil},
		"SHA-1":              {object{"hash": "sha1:" + hash("a")[:40]}, nil},
		"email":              {object{"email": "Jane@Example.com"}, []int{1}},
		"subject":            {object{"subject": strings.ToUpper(build().Subject)}, []int{3, 2}},
		"key":                {object{"publicKey": key(bare)}, []int{0}},
		"certificate":        {object{"publicKey": key(robot)}, []int{3, 2}},
		"or":                 {object{"hash": hash("a"), "subject": build().Subject, "operator": "or"}, []int{3, 2, 1, 0}},
		"no operator is or":  {object{"email": "jane@example.com", "publicKey": key(bare)}, []int{1, 0}},
		"and":                {object{"hash": hash("a"), "subject": build().Subject, "operator": "and"}, []int{3}},
		"and, all four":      {object{"hash": hash("a"), "subject": "jane@example.com", "email": "jane@example.com", "publicKey": key(person), "operator": "and"}, []int{1}},
		"and, of no entry":   {object{"hash": hash("b"), "email": "jane@example.com", "operator": "and"}, nil},
		"and, of one member": {object{"email": "jane@example.com", "operator": "and"}, []int{1}},
	} {
		want := []string{}
		for _, i := range tt.want {
			want = append(want, ids[i])
		}
		if d := cmp.Diff(want, s.retrieved(t, tt.query)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestIndexRetrieveRefused(t *testing.T) {
	s := newSearchable(t)
	for _, body := range []string{
		"", "[]", "null", "null x", `{"operator":"xor"}`, `{"hash":7}`, `{"hash":"abc"}`, `{"hash":"md5:00000000000000000000000000000000","operator":"xor"}`, `{"foo":1}`, `{"email":"a@b.c","email":"a@b.c"}`,
		`{"publicKey":{"format":"pgp","content":"AAAA"}}`, `{"publicKey":{"format":"x509"}}`, `{"publicKey":{"format":"x509","content":"AAAA"}}`, `{"publicKey":{"content":"AAAA"}}`,
		`{"publicKey":{"format":"x509","url":"http://127.0.0.1/"}}`, `{"email":"` + strings.Repeat("a", 5000) + `"}`, `{"email":"` + strings.Repeat("a", maxIndexQuery) + `"}`, `{"Email":"a@b.c"}`,
	} {
		resp, answer := fetch(t, http.MethodPost, s.url+"/api/v1/index/retrieve", strings.NewReader(body))
		var e errorV1
		if err := json.Unmarshal(answer, &e); err != nil || resp.StatusCode != http.StatusBadRequest || e.Code != http.StatusBadRequest || e.Message == "" {
			t.Errorf("%.60s: %s: %s", body, resp.Status, answer)
		}
	}
}

// Without a v1 log there is nothing for its clients.
func TestIndexRetrieveNone(t *testing.T) {
	s := newSearchable(t)
	mux := http.NewServeMux()
	(&Search{Logs: func() []SearchedLog { return s.search.Logs()[:1] }, Logger: slog.New(slog.DiscardHandler)}).Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/index/retrieve", strings.NewReader("{}")))
	if w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

func FuzzCursor(f *testing.F) {
	c := cursor{query: [8]byte{1, 2, 3}, log: 1, below: 7}
	f.Add(c.encode(5))
	logs := []SearchedLog{{Number: 9}, {Number: 5}}
	f.Add("AQECAwQFBgcIAP__________")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s, [8]byte{1, 2, 3}, logs)
		if err != nil {
			return
		}
		if again := c.encode(logs[c.log].Number); again != s {
			t.Fatalf("%q is read as %+v, which is %q", s, c, again)
		}
	})
}

func FuzzSearchParameters(f *testing.F) {
	f.Add("hash=" + strings.Repeat("a", 64) + "&limit=7&proof=1")
	f.Add("subject=a&issuer=b&repository=c&kind=dsse&after=2026-01-01T00:00:00Z&before=2027-01-01T00:00:00Z&log=v1")
	f.Add("key=" + strings.Repeat("b", 64) + "&cursor=AQECAwQFBgcIAP__________")
	f.Add("%&;=")
	logs := []SearchedLog{{Name: "v2"}, {Name: "v1", Number: 1, Tree: 1}}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseSearch(raw, logs)
		if err == nil && (q.limit < 1 || q.limit > maxPage || q.at.log >= len(logs)) {
			t.Fatalf("%q is read as %+v", raw, q)
		}
		if err != nil && sigbox.KindOf(err) != sigbox.Invalid {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}

func FuzzIndexQuery(f *testing.F) {
	f.Add([]byte(`{"email":"a@example.com","hash":"` + strings.Repeat("a", 64) + `","subject":"x","operator":"and","publicKey":{"format":"x509","content":"AAAA"}}`))
	f.Add([]byte(`{"operator":"or"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := parseIndexQuery(b)
		if err != nil {
			return
		}
		if q, empty, err := i.query(); err == nil && empty != (len(q.All) == 0) {
			t.Fatalf("%s: %+v, empty %v", b, q, empty)
		}
	})
}

// The parameters and members of docs/search.md are those that there are.
func TestSearchDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/search.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	var want []string
	for _, p := range conditionParameters {
		want = append(want, p.name)
	}
	if d := cmp.Diff(append(want, otherParameters[:]...), names); d != "" {
		t.Errorf("parameters (-there are +documented):\n%s", d)
	}
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("there is no example of an answer")
	}
	d := json.NewDecoder(bytes.NewReader(block[1]))
	d.DisallowUnknownFields()
	var a answer
	if err := d.Decode(&a); err != nil {
		t.Error(err)
	}
	if len(a.Entries) == 0 || len(a.Logs) == 0 || a.Next == "" {
		t.Errorf("%+v", a)
	}
}
