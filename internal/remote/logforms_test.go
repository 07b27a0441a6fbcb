package remote

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// formLog is a log that is served in another form than tlog-tiles: "static" is
// static-ct-api, "rfc6962" has no tiles, and "v1" is Rekor v1 without tiles.
type formLog struct {
	tiledLog
	form    string
	key     *ecdsa.PrivateKey
	logKey  LogKey
	entries []cert.Entry // of certificate logs
	before  int          // entries in older trees (v1)
	older   []jsonObject // what is said of them; nil is the truth
	most    int          // entries that get-entries gives at once
	origin  string
	index   map[string]int // by leaf hash in base64
}

const (
	formStatic = "static"
	formCT     = "rfc6962"
	formV1     = "v1"
	v1Origin   = "log.example.com - 7"
)

func newFormLog(t *testing.T, form string, size int) *formLog {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &formLog{form: form, most: 1000, index: map[string]int{}}
	l.setKey(t, key, "log.example.com/ct")
	l.grow(t, size, "")
	l.url = serve(t, l.serve)
	return l
}

// setKey has the log sign with a key, by a name if it is a certificate log.
func (l *formLog) setKey(t *testing.T, key *ecdsa.PrivateKey, name string) {
	t.Helper()
	var err error
	l.key, l.logKey, l.origin = key, ecdsaLogKey(t, key), name
	if l.form == formV1 {
		l.origin = v1Origin
		l.signer, err = note.NewSigner("log.example.com", key)
	} else {
		l.signer, err = note.NewTreeHeadSigner(name, key)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func ecdsaLogKey(t *testing.T, key *ecdsa.PrivateKey) LogKey {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseLogKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// grow adds entries.
func (l *formLog) grow(t *testing.T, size int, with string) {
	t.Helper()
	for i := len(l.leaves); i < size; i++ {
		leaf := fmt.Appendf(nil, "leaf %s%d", with, i)
		if l.form != formV1 {
			ext, err := cert.LeafIndexExtension(uint64(i))
			if err != nil {
				t.Fatal(err)
			}
			e := cert.Entry{Timestamp: uint64(1000 * i), Certificate: leaf, Extensions: ext, Chain: [][32]byte{sha256.Sum256([]byte("issuer"))}}
			if i%2 == 1 {
				e.Precert, e.Precertificate = true, []byte("a precertificate")
			}
			l.entries = append(l.entries, e)
			leaf = e.MerkleTreeLeaf()
		}
		h := tlog.RecordHash(leaf)
		l.index[h.String()] = i
		l.add(t, string(leaf))
	}
}

func (l *formLog) root(size int) tlog.Hash {
	root, err := tlog.TreeHash(int64(size), &l.tiledLog)
	if err != nil {
		panic(err)
	}
	return root
}

func (l *formLog) note() string {
	text, err := note.SignAt(sigbox.Checkpoint{Origin: l.origin, Size: uint64(l.shown), Root: l.root(l.shown)}, time.Unix(1700000000, 0), l.signer)
	if err != nil {
		panic(err)
	}
	return text
}

func (l *formLog) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var body []byte
	if l.form == formStatic {
		body = l.static(strings.TrimPrefix(r.URL.Path, "/"))
	} else if v := l.api(r); v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			panic(err)
		}
	}
	if body != nil && l.tamper != nil {
		body = l.tamper(r.URL.RequestURI(), body)
	}
	if body == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(body)
}

// static answers by static-ct-api.
func (l *formLog) static(path string) []byte {
	switch rest, data := strings.CutPrefix(path, "tile/data/"); {
	case path == "checkpoint":
		return []byte(l.note())
	case path == fmt.Sprintf("issuer/%x", sha256.Sum256([]byte("issuer"))):
		return []byte("issuer")
	case data:
		tile, err := tlog.ParseTilePath("tile/8/0/" + rest)
		if err != nil || tile.N*256+int64(tile.W) > int64(len(l.leaves)) {
			return nil
		}
		var out []byte
		for i := range l.entries[tile.N*256:][:tile.W] {
			out = l.entries[int(tile.N)*256+i].AppendTileLeaf(out)
		}
		return out
	}
	body, _ := l.file(path)
	return body
}

type jsonObject map[string]any

// shards says which trees were filled before.
func (l *formLog) shards() []jsonObject {
	if l.older != nil {
		return l.older
	}
	if l.before == 0 {
		return nil
	}
	return []jsonObject{l.shard("log.example.com - 5", l.before-1, l.signer), l.shard("log.example.com - 6", 1, l.signer)}
}

// shard is an earlier tree.
func (l *formLog) shard(origin string, size int, signer *note.Signer) jsonObject {
	text, err := note.Sign(sigbox.Checkpoint{Origin: origin, Size: uint64(size)}, signer)
	if err != nil {
		panic(err)
	}
	return jsonObject{"treeSize": size, "signedTreeHead": text}
}

// api answers by RFC 6962 or by Rekor v1.
func (l *formLog) api(r *http.Request) any {
	q := r.URL.Query()
	number := func(name string) int {
		n, _ := strconv.Atoi(q.Get(name))
		return n
	}
	switch path := r.URL.Path; {
	case l.form == formV1 && path == "/api/v1/log":
		return jsonObject{"rootHash": "", "treeSize": l.shown, "signedTreeHead": l.note(), "inactiveShards": l.shards()}
	case (l.form == formV1 || l.form == formCT) && max(number("lastSize"), number("second"), number("tree_size")) > len(l.leaves):
		return nil
	case l.form == formV1 && path == "/api/v1/log/proof":
		return jsonObject{"hashes": hexes(l.treeProof(number("firstSize"), number("lastSize")))}
	case l.form == formV1 && path == "/api/v1/log/entries/retrieve":
		var query struct{ LogIndexes []int }
		if err := json.NewDecoder(r.Body).Decode(&query); err != nil || len(query.LogIndexes) > 10 {
			return nil
		}
		var all []jsonObject
		for _, i := range query.LogIndexes {
			if i -= l.before; i >= 0 && i < len(l.leaves) {
				all = append(all, jsonObject{hex.EncodeToString(make([]byte, 40)): l.entryV1(i)})
			}
		}
		slices.Reverse(all) // servers answer in any order
		return all
	case l.form == formV1 && path == "/api/v1/log/entries":
		if i := number("logIndex") - l.before; i >= 0 && i < len(l.leaves) {
			return jsonObject{hex.EncodeToString(make([]byte, 40)): l.entryV1(i)}
		}
	case path == "/ct/v1/get-sth" && l.form == formCT:
		_, sigs, err := note.Parse(l.note())
		if err != nil {
			panic(err)
		}
		return jsonObject{"tree_size": l.shown, "timestamp": binary.BigEndian.Uint64(sigs[0].Bytes), "sha256_root_hash": l.root(l.shown), "tree_head_signature": sigs[0].Bytes[8:]}
	case path == "/ct/v1/get-sth-consistency":
		return jsonObject{"consistency": l.treeProof(number("first"), number("second"))}
	case path == "/ct/v1/get-entries":
		var all []jsonObject
		for i := number("start"); i <= number("end") && i < len(l.leaves) && len(all) < l.most; i++ {
			all = append(all, jsonObject{"leaf_input": l.leaves[i], "extra_data": l.entries[i].ExtraData([][]byte{[]byte("issuer")})})
		}
		return jsonObject{"entries": all}
	case path == "/ct/v1/get-proof-by-hash":
		if i, ok := l.index[q.Get("hash")]; ok {
			return jsonObject{"leaf_index": i, "audit_path": l.recordProof(number("tree_size"), i)}
		}
	}
	return nil
}

func (l *formLog) recordProof(size, index int) [][]byte {
	p, err := tlog.ProveRecord(int64(size), int64(index), &l.tiledLog)
	if err != nil {
		panic(err)
	}
	return flatProof(p)
}

func (l *formLog) treeProof(first, second int) [][]byte {
	p, err := tlog.ProveTree(int64(second), int64(first), &l.tiledLog)
	if err != nil {
		panic(err)
	}
	return flatProof(p)
}

func flatProof(p []tlog.Hash) [][]byte {
	out := make([][]byte, len(p))
	for i := range p {
		out[i] = p[i][:]
	}
	return out
}

func hexes(hashes [][]byte) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = hex.EncodeToString(h)
	}
	return out
}

// entryV1 is an entry with its promise, and its proof in the newest tree, which may
// be another than the one that is shown.
func (l *formLog) entryV1(i int) jsonObject {
	der, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		panic(err)
	}
	id := sha256.Sum256(der)
	le := sigbox.LogEntry{Body: l.leaves[i], IntegratedTime: 1700000000, LogID: id[:], LogIndex: int64(i + l.before)}
	digest := sha256.Sum256(entry.SETPayload(&le))
	set, err := l.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	shown := l.shown
	l.shown = len(l.leaves)
	checkpoint := l.note()
	l.shown = shown
	root := l.root(len(l.leaves))
	return jsonObject{
		"body": le.Body, "integratedTime": le.IntegratedTime, "logID": hex.EncodeToString(le.LogID), "logIndex": le.LogIndex,
		"verification": jsonObject{"signedEntryTimestamp": set, "inclusionProof": jsonObject{
			"checkpoint": checkpoint, "hashes": hexes(l.recordProof(len(l.leaves), i)), "logIndex": i,
			"rootHash": hex.EncodeToString(root[:]), "treeSize": len(l.leaves),
		}},
	}
}

func (l *formLog) open(t *testing.T, memory string) (*LogReader, error) {
	t.Helper()
	return New(Config{Retries: -1}).OpenLog(t.Context(), LogConfig{URL: l.url, Keys: []LogKey{l.logKey}, Memory: memory})
}

func (l *formLog) mustOpen(t *testing.T, memory string) *LogReader {
	t.Helper()
	r, err := l.open(t, memory)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func forms() []string { return []string{formStatic, formCT, formV1} }

// TestLogForms: logs in all forms and of many sizes are read and found whole, as a
// whole and in parts.
func TestLogForms(t *testing.T) {
	for _, form := range forms() {
		for _, size := range []int{1, 2, 3, 7, 99, 256, 257, 1024, 1025, 2100} {
			if form == formV1 && size > 300 {
				continue // each entry takes signatures
			}
			t.Run(fmt.Sprint(form, size), func(t *testing.T) {
				t.Parallel()
				l := newFormLog(t, form, size)
				l.most = 300
				l.before = 5
				r := l.mustOpen(t, "")
				if r.IsCT() != (form != formV1) || r.IsV1() == r.IsCT() || r.HasTiles() != (form == formStatic) {
					t.Fatalf("it is CT: %v, v1: %v, with tiles: %v", r.IsCT(), r.IsV1(), r.HasTiles())
				}
				for _, part := range [][2]int{{0, size}, {0, (size + 1) / 2}, {size / 2, size}, {size / 3, size/3 + 1}, {size - 1, 0}} {
					checkPart(t, l, r, uint64(part[0]), uint64(part[1]))
				}
				if form == formV1 {
					return
				}
				for _, i := range []int{0, size / 2, size - 1} {
					e, err := r.Entry(t.Context(), uint64(i))
					if err != nil || string(e.Body) != string(l.leaves[i]) || !e.Time.Equal(time.Unix(int64(i), 0)) || e.Kind != []string{KindCertificate, KindPrecertificate}[i%2] {
						t.Fatalf("entry %d: %+v, %v", i, e, err)
					}
				}
				if _, err := r.Entry(t.Context(), uint64(size)); sigbox.KindOf(err) != sigbox.NotFound {
					t.Errorf("beyond the end: %v", err)
				}
			})
		}
	}
}

// checkPart checks a part of a log and reads it.
func checkPart(t *testing.T, l *formLog, r *LogReader, from, to uint64) {
	t.Helper()
	var mu sync.Mutex
	seen := map[uint64]int{}
	look := func(index uint64, leaf *Leaf) error {
		mu.Lock()
		defer mu.Unlock()
		seen[index]++
		if string(leaf.Data) != string(l.leaves[index]) || (leaf.Certificate == nil) != (l.form == formV1) || leaf.Time.IsZero() {
			return fmt.Errorf("it is %q of %s", leaf.Data, leaf.Time)
		}
		if leaf.Certificate != nil {
			if issuers, err := r.Issuers(t.Context(), leaf); err != nil || len(issuers) != 1 || string(issuers[0]) != "issuer" {
				return fmt.Errorf("issuers %q: %w", issuers, err)
			}
		}
		return nil
	}
	report, err := r.Check(t.Context(), LogCheck{From: from, To: to, Entry: func(_ context.Context, index uint64, leaf *Leaf) error { return look(index, leaf) }})
	if to == 0 {
		to = uint64(len(l.leaves))
	}
	if err != nil || report.Found > 0 || report.Entries != to-from || report.From != from || report.To != to || report.Done != to {
		t.Errorf("%d to %d: %+v, %v", from, to, report, err)
	}
	if err := r.Entries(t.Context(), from, to, look); err != nil {
		t.Errorf("%d to %d: %v", from, to, err)
	}
	for i := from; i < to; i++ {
		if seen[i] != 2 {
			t.Errorf("%d to %d: entry %d was seen %d times", from, to, i, seen[i])
		}
	}
	if uint64(len(seen)) != to-from {
		t.Errorf("%d to %d: %d entries were seen", from, to, len(seen))
	}
}

// TestLogFormsLie: whatever a server sends that is not the log's is seen.
func TestLogFormsLie(t *testing.T) {
	swap := func(a, b string) func([]byte) []byte {
		return func(body []byte) []byte {
			s := strings.ReplaceAll(string(body), a, "\x00")
			return []byte(strings.ReplaceAll(strings.ReplaceAll(s, b, a), "\x00", b))
		}
	}
	put := func(path string, v any) func([]byte) []byte {
		return func(body []byte) []byte {
			var o jsonObject
			if err := json.Unmarshal(body, &o); err != nil {
				panic(err)
			}
			o[path] = v
			out, err := json.Marshal(o)
			if err != nil {
				panic(err)
			}
			return out
		}
	}
	leaf := func(l *formLog, i int) string { return base64.StdEncoding.EncodeToString(l.leaves[i]) }
	endless := func([]byte) []byte { return []byte(strings.Repeat(" ", maxEntriesCT+1)) }
	type lie struct {
		path   string
		change func(l *formLog) func([]byte) []byte
	}
	always := func(f func([]byte) []byte) func(*formLog) func([]byte) []byte {
		return func(*formLog) func([]byte) []byte { return f }
	}
	for name, c := range map[string]struct {
		forms []string
		lie   lie
	}{
		"another leaf":    {[]string{formStatic}, lie{"/tile/data/000.p/20", always(swap("leaf 3", "leaf X"))}},
		"swapped leaves":  {[]string{formStatic}, lie{"/tile/data/000.p/20", always(swap("leaf 3", "leaf 5"))}},
		"cut":             {[]string{formStatic}, lie{"/tile/data/000.p/20", always(func(b []byte) []byte { return b[:len(b)-1] })}},
		"another tile":    {[]string{formStatic}, lie{"/tile/0/000.p/20", always(func(b []byte) []byte { b[5] ^= 1; return b })}},
		"endless":         {[]string{formStatic}, lie{"/tile/data/000.p/20", always(endless)}},
		"an endless tile": {[]string{formStatic}, lie{"/tile/0/000.p/20", always(endless)}},
		"swapped entries": {[]string{formCT, formV1}, lie{"ntries", func(l *formLog) func([]byte) []byte { return swap(leaf(l, 3), leaf(l, 5)) }}},
		"another entry":   {[]string{formCT, formV1}, lie{"ntries", func(l *formLog) func([]byte) []byte { return swap(leaf(l, 3), leaf(l, 5)[:len(leaf(l, 5))-4]+"AAAA") }}},
		"an entry twice":  {[]string{formCT, formV1}, lie{"ntries", func(l *formLog) func([]byte) []byte { return swap(leaf(l, 4), leaf(l, 6)) }}},
		"endless entries": {[]string{formCT, formV1}, lie{"ntries", always(endless)}},
		"no entries":      {[]string{formCT}, lie{"get-entries", always(put("entries", []any{}))}},
		"null":            {[]string{formCT, formV1}, lie{"ntries", always(func([]byte) []byte { return []byte("null") })}},
		"none":            {[]string{formV1}, lie{"ntries", always(func([]byte) []byte { return []byte("[]") })}},
		"another place":   {[]string{formCT}, lie{"get-proof-by-hash", always(put("leaf_index", 4))}},
		"no path":         {[]string{formCT}, lie{"get-proof-by-hash", always(put("audit_path", []any{}))}},
		"a long path":     {[]string{formCT}, lie{"get-proof-by-hash", always(put("audit_path", slices.Repeat([]any{make([]byte, 32)}, 60)))}},
		"another path":    {[]string{formCT}, lie{"get-proof-by-hash", always(put("audit_path", slices.Repeat([]any{make([]byte, 32)}, 5)))}},
		"an odd path":     {[]string{formCT}, lie{"get-proof-by-hash", always(put("audit_path", []any{[]byte("short")}))}},
		"another index":   {[]string{formV1}, lie{"ntries", always(swap(`"logIndex":3`, `"logIndex":4`))}},
		"another time":    {[]string{formV1}, lie{"ntries", always(swap(`"integratedTime":17`, `"integratedTime":16`))}},
		"another log's":   {[]string{formV1}, lie{"ntries", always(swap(`log.example.com - 7`, `log.example.com - 8`))}},
		"no proof":        {[]string{formV1}, lie{"ntries", always(swap(`"inclusionProof"`, `"nothing"`))}},
	} {
		for _, form := range c.forms {
			t.Run(form+" "+name, func(t *testing.T) {
				t.Parallel()
				l := newFormLog(t, form, 20)
				r := l.mustOpen(t, "")
				changed := false
				change := c.lie.change(l)
				l.set(func(path string, body []byte) []byte {
					if !strings.Contains(path, c.lie.path) {
						return body
					}
					out := change(slices.Clone(body))
					changed = changed || string(out) != string(body)
					return out
				})
				report, err := r.Check(t.Context(), LogCheck{})
				if err != nil || report.Found == 0 || !changed {
					t.Errorf("changed: %v, found %+v, %v", changed, report, err)
				}
				err = r.Entries(t.Context(), 0, 20, func(uint64, *Leaf) error { return nil })
				if err == nil || !broken(err) {
					t.Errorf("entries were read: %v", err)
				}
			})
		}
	}
}

// What stands beside leaves is not in the tree: a server cannot fill memory with it,
// however it parts its answers.
func TestEntriesWithLongChains(t *testing.T) {
	const size = 40
	l := newFormLog(t, formCT, size)
	l.most = 1
	r := l.mustOpen(t, "")
	chain := slices.Repeat([][]byte{make([]byte, cert.MaxCertificate)}, 16)
	asked := 0
	l.set(func(path string, body []byte) []byte {
		if !strings.Contains(path, "get-entries") {
			return body
		}
		asked++
		out, err := json.Marshal(jsonObject{"entries": []jsonObject{{"leaf_input": l.leaves[asked-1], "extra_data": l.entries[asked-1].ExtraData(chain)}}})
		if err != nil {
			panic(err)
		}
		return out
	})
	if _, err := r.entriesCT(t.Context(), 0, size); sigbox.KindOf(err) != sigbox.TooLarge || asked >= size {
		t.Errorf("%d answers were taken: %v", asked, err)
	}
}

// A v1 server cannot give an entry another index by leaving its promise out.
func TestEntryOfAnotherIndex(t *testing.T) {
	l := newFormLog(t, formV1, 20)
	l.before = 100
	r := l.mustOpen(t, "")
	want := uint64(l.before + 3)
	if e, err := r.Entry(t.Context(), want); err != nil || e.Index != 3 {
		t.Fatal(e.Index, err)
	}
	for name, promised := range map[string]bool{"no promise": false, "promise": true} {
		l.set(func(string, []byte) []byte {
			e := l.entryV1(5)
			e["logIndex"] = want
			if !promised {
				delete(e["verification"].(jsonObject), "signedEntryTimestamp")
			}
			out, err := json.Marshal(jsonObject{hex.EncodeToString(make([]byte, 40)): e})
			if err != nil {
				panic(err)
			}
			return out
		})
		if e, err := r.Entry(t.Context(), want); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: entry %d of the tree is taken for %d: %v", name, e.Index, e.LogIndex, err)
		}
	}
}

// TestEarlierTrees: how many entries were in earlier trees of a v1 log is what the log
// has signed.
func TestEarlierTrees(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := note.NewSigner("log.example.com", key)
	if err != nil {
		t.Fatal(err)
	}
	l := newFormLog(t, formV1, 3)
	elsewhere, err := note.NewSigner("other.example.com", l.key)
	if err != nil {
		t.Fatal(err)
	}
	tree := func(id int) string { return fmt.Sprintf("log.example.com - %d", id) }
	good := l.shard(tree(6), 10, l.signer)
	l.older = []jsonObject{good, l.shard(tree(5), 20, l.signer)}
	if r := l.mustOpen(t, ""); r.LogIndex(2) != 32 {
		t.Errorf("expected index 32, found %d", r.LogIndex(2))
	}
	many := make([]jsonObject, maxShards+1)
	for i := range many {
		many[i] = l.shard(tree(1000+i), 1, l.signer)
	}
	for name, older := range map[string][]jsonObject{
		"unsigned":               {{"treeSize": 10}},
		"signed by another":      {good, l.shard(tree(5), 20, foreign)},
		"another size":           {{"treeSize": 11, "signedTreeHead": good["signedTreeHead"]}},
		"a negative size":        {{"treeSize": -1, "signedTreeHead": good["signedTreeHead"]}},
		"twice":                  {good, good},
		"the head's own tree":    {l.shard(v1Origin, 2, l.signer)},
		"of another log":         {l.shard("other.example.com - 6", 10, elsewhere)},
		"of a log of one tree":   {l.shard("log.example.com", 10, l.signer)},
		"more than one believes": many,
	} {
		l.older = older
		if _, err := l.open(t, ""); err == nil {
			t.Errorf("%s: it is believed", name)
		}
	}
}

// TestLogFormsMemory: a log in any form has to continue what was seen of it, and is
// known by its key, whatever name a server gives it.
func TestLogFormsMemory(t *testing.T) {
	for _, form := range forms() {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			l := newFormLog(t, form, 20)
			memory := filepath.Join(t.TempDir(), "seen")
			older, _ := l.mustOpen(t, memory).Head()
			l.grow(t, 40, "")
			r := l.mustOpen(t, memory)
			if seen, ok := r.LastSeen(); !ok || seen.Checkpoint.Size != 20 {
				t.Errorf("last seen: %v, %v", seen.Checkpoint.Size, ok)
			}
			head, _ := r.Head()
			if proof, err := r.Consistency(t.Context(), older, head); err != nil || len(proof) == 0 {
				t.Errorf("%x, %v", proof, err)
			}
			l.show(30) // lags behind
			if head, _ := l.mustOpen(t, memory).Head(); head.Size != 40 {
				t.Errorf("the head has %d entries", head.Size)
			}
			for name, size := range map[string]int{"rolled back": 20, "forked": 40, "grown": 60} {
				other := newFormLog(t, form, 0)
				other.setKey(t, l.key, "other.example.com/ct") // the name is the server's to choose
				other.grow(t, 20, "")
				other.grow(t, size, "else ")
				if _, err := other.open(t, memory); sigbox.KindOf(err) != sigbox.NotVerified || !strings.Contains(err.Error(), "ALARM") {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestLogFormsKeys: a log is taken by its key alone.
func TestLogFormsKeys(t *testing.T) {
	for _, form := range forms() {
		l := newFormLog(t, form, 3)
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		open := func(keys ...LogKey) error {
			_, err := New(Config{Retries: -1}).OpenLog(t.Context(), LogConfig{URL: l.url, Keys: keys})
			return err
		}
		if err := open(ecdsaLogKey(t, key)); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: %v", form, err)
		}
		if err := open(ecdsaLogKey(t, key), l.logKey); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		trust := sigbox.TransparencyLog{BaseURL: "https://log.example.com/ct", PublicKey: l.logKey.trust.PublicKey, LogID: l.logKey.trust.LogID}
		if err := open(LogKeys([]*sigbox.TrustedRoot{{Logs: []sigbox.TransparencyLog{trust}}})...); (err == nil) != (form == formV1) {
			t.Errorf("%s, as a transparency log: %v", form, err)
		}
		if err := open(LogKeys([]*sigbox.TrustedRoot{{CTLogs: []sigbox.TransparencyLog{trust}}})...); (err == nil) != (form != formV1) {
			t.Errorf("%s, as a certificate log: %v", form, err)
		}
	}
}

// TestLogByLeaf: a certificate log finds by leaf hashes, if it has the route.
func TestLogByLeaf(t *testing.T) {
	l := newFormLog(t, formCT, 20)
	r := l.mustOpen(t, "")
	id := entry.ID{Leaf: tlog.RecordHash(l.leaves[7])}
	if e, err := r.ByID(t.Context(), id); err != nil || e.Index != 7 {
		t.Errorf("%d, %v", e.Index, err)
	}
	if _, err := r.ByID(t.Context(), entry.ID{}); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("%v", err)
	}
	l.set(func(path string, body []byte) []byte {
		if strings.Contains(path, "get-proof-by-hash") {
			return []byte(strings.Replace(string(body), `"leaf_index":7`, `"leaf_index":8`, 1))
		}
		return body
	})
	if _, err := r.ByID(t.Context(), id); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("%v", err)
	}
}

// TestLogCheckStops: what was read of a log is told when the rest cannot be, and can
// be gone on with.
func TestLogCheckStops(t *testing.T) {
	l := newFormLog(t, formCT, 3000)
	l.set(func(path string, body []byte) []byte {
		if strings.Contains(path, "start=2048") {
			panic(http.ErrAbortHandler)
		}
		return body
	})
	r := l.mustOpen(t, "")
	report, err := r.Check(t.Context(), LogCheck{From: 10})
	if sigbox.KindOf(err) != sigbox.Unavailable || report.Done != 2048 || report.Entries != 2038 {
		t.Errorf("%+v, %v", report, err)
	}
	l.set(nil)
	if report, err := r.Check(t.Context(), LogCheck{From: report.Done}); err != nil || report.Entries != 3000-2048 || report.Found > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := r.Check(t.Context(), LogCheck{From: 3001}); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("%v", err)
	}
	bad := errors.New("bad")
	report, err = r.Check(t.Context(), LogCheck{To: 2000, Entry: func(_ context.Context, index uint64, _ *Leaf) error {
		if index%1000 == 999 {
			return bad
		}
		return nil
	}})
	if err != nil || report.Found != 2 || report.Findings[0].Name != "entry 999" || report.Findings[1].Name != "entry 1999" || report.Findings[0].What != BadContent {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestWholeCheckStops: of a log that is read as a whole, what is told to be proven when
// the rest cannot be read was compared with the signed tree.
func TestWholeCheckStops(t *testing.T) {
	l := newTiledLog(t, numbered(140_000, "leaf ")...)
	stopsAt := func(path string) func(string, []byte) []byte {
		return func(p string, body []byte) []byte {
			if p == path {
				panic(http.ErrAbortHandler)
			}
			return body
		}
	}
	forged := stopsAt("/tile/entries/530")
	for name, tt := range map[string]struct {
		tamper     func(string, []byte) []byte
		entry      func(index uint64) error
		done, read uint64
	}{
		"in the first part": {tamper: stopsAt("/tile/entries/200"), read: 200 * 256},
		"in the third part": {tamper: stopsAt("/tile/entries/530"), done: 2 * 65_536, read: 530 * 256},
		"an entry that cannot be looked at": {entry: func(index uint64) error {
			if index == 70_000 {
				return sigbox.Errorf(sigbox.Unavailable, "no answer")
			}
			return nil
		}, done: 70_000, read: 140_000},
		"a part that is not the signed tree's": {tamper: func(path string, body []byte) []byte {
			if path == "/tile/0/255" || path == "/tile/entries/255" { // the two agree with each other
				body = slices.Clone(body)
			}
			switch path {
			case "/tile/0/255":
				h := tlog.RecordHash([]byte("leaf 99999"))
				copy(body, h[:])
			case "/tile/entries/255":
				copy(body[2:], "leaf 99999")
			}
			return forged(path, body)
		}, read: 530 * 256},
	} {
		t.Run(name, func(t *testing.T) {
			l.set(tt.tamper)
			r := l.mustOpen(t, "")
			o := LogCheck{}
			if tt.entry != nil {
				o.Entry = func(_ context.Context, index uint64, _ *Leaf) error { return tt.entry(index) }
			}
			report, err := r.Check(t.Context(), o)
			if sigbox.KindOf(err) != sigbox.Unavailable || report.Done != tt.done || report.Read != tt.read {
				t.Errorf("%+v, %v", report, err)
			}
		})
	}
}

// TestRangeRoot: a part of a tree and its outermost proofs give the root, and nothing
// else does.
func TestRangeRoot(t *testing.T) {
	l := newFormLog(t, formCT, 70)
	hashes := make([]tlog.Hash, len(l.leaves))
	for i := range hashes {
		hashes[i] = tlog.RecordHash(l.leaves[i])
	}
	proofOf := func(size, i int) tlog.RecordProof {
		p, err := tlog.ProveRecord(int64(size), int64(i), &l.tiledLog)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, size := range []int{1, 2, 3, 8, 9, 31, 64, 65, 70} {
		for from := range size {
			for _, to := range []int{from + 1, (from + size + 1) / 2, size} {
				if to <= from {
					continue
				}
				first, last := proofOf(size, from), proofOf(size, to-1)
				part := slices.Clone(hashes[from:to])
				root, err := rangeRoot(uint64(size), uint64(from), part, first, last)
				if err != nil || root != l.root(size) {
					t.Fatalf("%d to %d of %d: %v", from, to, size, err)
				}
				part[len(part)/2][3] ^= 1
				if root, err := rangeRoot(uint64(size), uint64(from), part, first, last); err == nil && root == l.root(size) {
					t.Fatalf("%d to %d of %d: another leaf is taken", from, to, size)
				}
				if len(first) > 0 {
					if _, err := rangeRoot(uint64(size), uint64(from), part, first[1:], last); err == nil {
						t.Fatalf("%d to %d of %d: a short proof is taken", from, to, size)
					}
				}
				if _, err := rangeRoot(uint64(size), uint64(from), part, first, append(last, tlog.Hash{})); err == nil {
					t.Fatalf("%d to %d of %d: a long proof is taken", from, to, size)
				}
			}
		}
		if _, err := rangeRoot(uint64(size), uint64(size), hashes[:1], nil, nil); err == nil {
			t.Error("beyond the end")
		}
		if _, err := rangeRoot(uint64(size), 0, nil, nil, nil); err == nil {
			t.Error("nothing")
		}
	}
}
