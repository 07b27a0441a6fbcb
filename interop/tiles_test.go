package interop

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	tdev "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	tessera "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tiledLog is a log as the strict readers know it.
type tiledLog struct {
	name     string // below the published folder
	live     string // its prefix on the server, after the instance's URL
	bundles  string // "entries", or "data" for static-ct-api
	origin   string
	verifier note.Verifier
	// leaves takes a bundle apart.
	leaves func(bundle []byte) ([][]byte, error)
}

// logs gives the logs of an instance, with keys from its trusted root.
func (in *instance) logs(t *testing.T) []tiledLog {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(in.data, "tuf", "targets", "*.trusted_root.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("trusted roots %q, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	type log struct {
		BaseURL   string `json:"baseUrl"`
		PublicKey struct {
			RawBytes []byte `json:"rawBytes"`
		} `json:"publicKey"`
	}
	var root struct{ Tlogs, Ctlogs []log }
	if err := json.Unmarshal(text, &root); err != nil || len(root.Tlogs) != 2 || len(root.Ctlogs) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	host := func(l log) string { return strings.TrimPrefix(l.BaseURL, "https://") }
	must := func(v note.Verifier, err error) note.Verifier {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return v
	}
	v2, v1, ct := root.Tlogs[0], root.Tlogs[1], root.Ctlogs[0]
	if strings.HasPrefix(host(v2), "v1.") {
		v2, v1 = v1, v2
	}
	raw := v2.PublicKey.RawBytes[len(v2.PublicKey.RawBytes)-32:] // of an Ed25519 key
	key, err := note.NewEd25519VerifierKey(host(v2), raw)
	if err != nil {
		t.Fatal(err)
	}
	v1Origin, _, _ := strings.Cut(string(get(t, http.DefaultClient, in.url+"/api/v1/log/checkpoint")), "\n")
	pub, err := x509.ParsePKIXPublicKey(ct.PublicKey.RawBytes)
	if err != nil {
		t.Fatal(err)
	}
	ctKey, err := tdev.RFC6962VerifierString("https://"+host(v2)+"/ctlog", pub)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(v1.PublicKey.RawBytes)
	v1Key := fmt.Sprintf("%s+%x+%s", host(v1), sum[:4], base64.StdEncoding.EncodeToString(append([]byte{2}, v1.PublicKey.RawBytes...)))
	return []tiledLog{
		{"rekor2", "/api/v2", "entries", host(v2), must(note.NewVerifier(key)), entryLeaves},
		{"rekor1", "/api/v1/log", "entries", v1Origin, must(tdev.NewECDSAVerifier(v1Key)), entryLeaves},
		{"ctlog", "/ctlog", "data", host(v2) + "/ctlog", must(tdev.NewRFC6962Verifier(ctKey)), certificateLeaves},
	}
}

// entryLeaves is the reading of tlog-tiles that tessera has.
func entryLeaves(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	err := b.UnmarshalText(bundle)
	return b.Entries, err
}

// certificateLeaves reads a data tile of static-ct-api: of each TileLeaf the
// TimestampedEntry is what the MerkleTreeLeaf holds behind two zero bytes.
func certificateLeaves(tile []byte) ([][]byte, error) {
	var leaves [][]byte
	for len(tile) > 0 {
		at, ok := 0, true
		skip := func(n int) {
			if at += n; at > len(tile) {
				at, ok = len(tile), false
			}
		}
		vector := func(lengthBytes int) {
			n := 0
			for i := range lengthBytes {
				if at+i < len(tile) {
					n = n<<8 | int(tile[at+i])
				}
			}
			skip(lengthBytes + n)
		}
		skip(10)
		precert := ok && binary.BigEndian.Uint16(tile[8:]) == 1
		if precert {
			skip(32)
		}
		vector(3)
		vector(2)
		leaf := append([]byte{0, 0}, tile[:at]...)
		if precert {
			vector(3)
		}
		vector(2)
		if !ok {
			return nil, fmt.Errorf("a cut data tile")
		}
		leaves, tile = append(leaves, leaf), tile[at:]
	}
	return leaves, nil
}

// fetcher is tessera's, but for where bundles are.
type fetcher struct {
	*tessera.HTTPFetcher
	log  tiledLog
	base string
}

func (l tiledLog) fetcher(base string) (*fetcher, error) {
	u, err := url.Parse(base + "/")
	if err != nil {
		return nil, err
	}
	f, err := tessera.NewHTTPFetcher(u, nil)
	return &fetcher{f, l, base}, err
}

func (f *fetcher) ReadEntryBundle(ctx context.Context, i uint64, p uint8) ([]byte, error) {
	if f.log.bundles == "entries" {
		return f.HTTPFetcher.ReadEntryBundle(ctx, i, p)
	}
	return fetch(ctx, f.base+"/tile/data/"+layout.NWithSuffix(0, i, p))
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return b, err
}

// readTessera has tessera's fsck read a log.
func readTessera(ctx context.Context, l tiledLog, base string) error {
	f, err := l.fetcher(base)
	if err != nil {
		return err
	}
	hashes := func(bundle []byte) ([][]byte, error) {
		leaves, err := l.leaves(bundle)
		for i := range leaves {
			leaves[i] = rfc6962.DefaultHasher.HashLeaf(leaves[i])
		}
		return leaves, err
	}
	// As many workers as a small log has tiles: it does not end when all of them have.
	return fsck.New(l.origin, l.verifier, f, hashes, fsck.Opts{N: 32}).Check(ctx)
}

// head reads a checkpoint with x/mod.
func (l tiledLog) head(ctx context.Context, base string) (tlog.Tree, error) {
	text, err := fetch(ctx, base+"/checkpoint")
	if err != nil {
		return tlog.Tree{}, err
	}
	n, err := note.Open(text, note.VerifierList(l.verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	var size int64
	var root string
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != l.origin {
		return tlog.Tree{}, fmt.Errorf("a checkpoint of another form: %s", text)
	}
	if _, err := fmt.Sscan(lines[1]+" "+lines[2], &size, &root); err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(root)
	return tlog.Tree{N: size, Hash: hash}, err
}

// bundle reads the leaves of a bundle of a tree.
func (l tiledLog) bundle(ctx context.Context, base string, n, size int64) ([][]byte, error) {
	path := base + "/tile/" + l.bundles + "/" + layout.NWithSuffix(0, uint64(n), layout.PartialTileSize(0, uint64(n), uint64(size)))
	b, err := fetch(ctx, path)
	if err != nil {
		return nil, err
	}
	leaves, err := l.leaves(b)
	if err == nil && int64(len(leaves)) != min(size-n*256, 256) {
		err = fmt.Errorf("%s has %d entries", path, len(leaves))
	}
	return leaves, err
}

// xmodTiles is a tlog.TileReader.
type xmodTiles struct {
	ctx  context.Context
	base string
}

func (xmodTiles) Height() int { return 8 }

func (x xmodTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		var err error
		if out[i], err = fetch(x.ctx, x.base+"/tile/"+strings.TrimPrefix(t.Path(), "tile/8/")); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (xmodTiles) SaveTiles([]tlog.Tile, [][]byte) {}

// readXMod has golang.org/x/mod/sumdb/tlog read a log: each leaf is in the signed
// tree, and so is each older tree.
func readXMod(ctx context.Context, l tiledLog, base string) error {
	tree, err := l.head(ctx, base)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, xmodTiles{ctx, base})
	for n := int64(0); n*256 < tree.N; n++ {
		leaves, err := l.bundle(ctx, base, n, tree.N)
		if err != nil {
			return err
		}
		at := make([]int64, len(leaves))
		for i := range at {
			at[i] = tlog.StoredHashIndex(0, n*256+int64(i))
		}
		stored, err := hashes.ReadHashes(at)
		if err != nil {
			return err
		}
		for i, leaf := range leaves {
			if stored[i] != tlog.RecordHash(leaf) {
				return fmt.Errorf("entry %d is not the one of its hash", n*256+int64(i))
			}
		}
	}
	for _, size := range []int64{1, tree.N / 3, tree.N - 1} {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return err
		}
		p, err := tlog.ProveTree(tree.N, size, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(p, tree.N, tree.Hash, size, root); err != nil {
			return err
		}
	}
	return nil
}

// readMerkle has transparency-dev/merkle make the root from the entries.
func readMerkle(ctx context.Context, l tiledLog, base string) error {
	tree, err := l.head(ctx, base)
	if err != nil {
		return err
	}
	all := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for n := int64(0); n*256 < tree.N; n++ {
		leaves, err := l.bundle(ctx, base, n, tree.N)
		if err != nil {
			return err
		}
		for _, leaf := range leaves {
			if err := all.Append(rfc6962.DefaultHasher.HashLeaf(leaf), nil); err != nil {
				return err
			}
		}
	}
	root, err := all.GetRootHash(nil)
	if err == nil && !bytes.Equal(root, tree.Hash[:]) {
		err = fmt.Errorf("entries give the root %x, signed is %x", root, tree.Hash)
	}
	return err
}

// TestStrictReaders: tessera's fsck, x/mod and transparency-dev/merkle agree that our
// logs are whole: those of a server, and the published folder behind a plain file
// server. Of a damaged copy they say that it is not.
func TestStrictReaders(t *testing.T) {
	in := serve(t)
	const sizeV2, sizeV1, sizeCT = 600, 300, 270
	fill(t, in, sizeV2, sizeV1, sizeCT)
	readers := map[string]func(context.Context, tiledLog, string) error{"tessera": readTessera, "x/mod": readXMod, "merkle": readMerkle}
	for _, l := range in.logs(t) {
		folder := filepath.Join(in.data, "tiles", l.name)
		live, err := l.head(t.Context(), in.url+l.live)
		if err != nil || live.N < map[string]int64{"rekor2": sizeV2, "rekor1": sizeV1, "ctlog": sizeCT}[l.name] {
			t.Fatalf("%s has %d entries, %v", l.name, live.N, err)
		}
		files := plain(t, folder)
		waitFor(t, func() bool {
			published, err := l.head(t.Context(), files)
			return err == nil && published == live
		})
		for name, read := range readers {
			for where, base := range map[string]string{"server": in.url + l.live, "folder": files} {
				if err := read(t.Context(), l, base); err != nil {
					t.Errorf("%s, %s, by %s: %v", l.name, where, name, err)
				}
			}
		}
		proveByAPI(t, in, l, live)
		if l.name == "ctlog" {
			if _, err := tdev.RFC6962STHToCheckpoint(get(t, http.DefaultClient, in.url+"/ctlog/ct/v1/get-sth"), l.verifier); err != nil {
				t.Errorf("the tree head: %v", err)
			}
		}
		last := fmt.Sprintf("%03d.p/%d", live.N/256, live.N%256)
		for _, file := range []string{
			"checkpoint", "tile/0/000", "tile/0/" + last, fmt.Sprintf("tile/1/000.p/%d", live.N/256), "tile/" + l.bundles + "/000", "tile/" + l.bundles + "/" + last,
		} {
			for what, damage := range map[string]func(path string, b []byte) error{
				// Of a precertificate the leaf has a part alone: that is at the beginning.
				"a bit":   func(path string, b []byte) error { b[20] ^= 1; return os.WriteFile(path, b, 0o600) },
				"cut":     func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)-1], 0o600) },
				"missing": func(path string, _ []byte) error { return os.Remove(path) },
			} {
				copied := filepath.Join(t.TempDir(), "copy")
				if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(copied, filepath.FromSlash(file))
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := damage(path, b); err != nil {
					t.Fatal(err)
				}
				base := plain(t, copied)
				for name, read := range readers {
					if name == "merkle" && strings.HasPrefix(file, "tile/") && !strings.Contains(file, l.bundles) {
						continue // it does not look at tiles
					}
					if err := read(t.Context(), l, base); err == nil {
						t.Errorf("%s, %s of %s: %s finds it whole", l.name, what, file, name)
					}
				}
			}
		}
	}
}

// plain serves a folder.
func plain(t *testing.T, folder string) string {
	t.Helper()
	s := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(s.Close)
	return s.URL
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 300 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("it did not come about in 30 s")
}

// fill adds entries to the logs of an instance.
func fill(t *testing.T, in *instance, v2, v1, ct int) {
	t.Helper()
	key := newLogKey(t)
	var wg sync.WaitGroup
	const clients = 8
	for c := range clients {
		wg.Go(func() {
			for i := c; i < v2; i += clients {
				postEntry(t, in, http.DefaultClient, key.request(t, fmt.Sprint("v2 ", i)))
			}
		})
		wg.Go(func() {
			for i := c; i < v1; i += clients {
				digest, sig := key.sign(t, fmt.Sprint("v1 ", i))
				post(t, in.url+"/api/v1/log/entries", map[string]any{
					"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
						"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%x", digest)}},
						"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": publicPEM(t, key.PrivateKey)}},
					},
				})
			}
		})
		token := in.token(t)
		wg.Go(func() {
			for i := c; i < ct; i += clients {
				certify(t, in, token)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func publicPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// certify gets a certificate for a fresh key, which puts it into the CT log.
func certify(t *testing.T, in *instance, token string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Error(err)
		return
	}
	digest := sha256.Sum256([]byte(email))
	possession, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Error(err)
		return
	}
	post(t, in.url+"/api/v2/signingCert", map[string]any{
		"credentials": map[string]any{"oidcIdentityToken": token},
		"publicKeyRequest": map[string]any{
			"publicKey": map[string]any{"algorithm": "ECDSA", "content": string(publicPEM(t, key))}, "proofOfPossession": possession,
		},
	})
}

func post(t *testing.T, url string, v any) {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode/100 != 2 {
		t.Errorf("%s: %s, %v: %s", url, resp.Status, err, answer)
	}
}

// proveByAPI has transparency-dev/merkle check what a server proves where it has
// routes for that.
func proveByAPI(t *testing.T, in *instance, l tiledLog, tree tlog.Tree) {
	t.Helper()
	hashes := tlog.TileHashReader(tree, xmodTiles{t.Context(), in.url + l.live})
	for _, older := range []int64{1, 7, 256, tree.N} {
		root, err := tlog.TreeHash(older, hashes)
		if err != nil {
			t.Fatal(err)
		}
		var path [][]byte
		switch l.name {
		case "rekor1":
			var answer struct{ Hashes []string }
			getJSON(t, fmt.Sprintf("%s/api/v1/log/proof?firstSize=%d&lastSize=%d", in.url, older, tree.N), &answer)
			path = unhex(t, answer.Hashes)
		case "ctlog":
			var answer struct{ Consistency [][]byte }
			getJSON(t, fmt.Sprintf("%s/ctlog/ct/v1/get-sth-consistency?first=%d&second=%d", in.url, older, tree.N), &answer)
			path = answer.Consistency
		default:
			continue // tiles alone
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(older), uint64(tree.N), path, root[:], tree.Hash[:]); err != nil {
			t.Errorf("%s: trees of %d and %d entries: %v", l.name, older, tree.N, err)
		}
	}
	for _, index := range []int64{0, 255, 256, tree.N - 1} {
		leaves, err := l.bundle(t.Context(), in.url+l.live, index/256, tree.N)
		if err != nil {
			t.Fatal(err)
		}
		leaf := rfc6962.DefaultHasher.HashLeaf(leaves[index%256])
		var path [][]byte
		switch l.name {
		case "rekor1":
			var answer map[string]struct {
				Verification struct {
					InclusionProof struct {
						TreeSize int64
						Hashes   []string
					}
				}
			}
			getJSON(t, fmt.Sprintf("%s/api/v1/log/entries?logIndex=%d", in.url, index), &answer)
			for _, e := range answer {
				if e.Verification.InclusionProof.TreeSize != tree.N {
					t.Fatalf("the log has grown to %d", e.Verification.InclusionProof.TreeSize)
				}
				path = unhex(t, e.Verification.InclusionProof.Hashes)
			}
		case "ctlog":
			var answer struct {
				LeafIndex int64    `json:"leaf_index"`
				Path      [][]byte `json:"audit_path"`
			}
			getJSON(t, fmt.Sprintf("%s/ctlog/ct/v1/get-proof-by-hash?hash=%s&tree_size=%d", in.url, url.QueryEscape(base64.StdEncoding.EncodeToString(leaf)), tree.N), &answer)
			if path = answer.Path; answer.LeafIndex != index {
				t.Errorf("%s: entry %d is said to be %d", l.name, index, answer.LeafIndex)
			}
		default:
			continue
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(tree.N), leaf, path, tree.Hash[:]); err != nil {
			t.Errorf("%s: entry %d: %v", l.name, index, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(tree.N), slices.Repeat([]byte{1}, 32), path, tree.Hash[:]); err == nil {
			t.Errorf("%s: another leaf is taken for entry %d", l.name, index)
		}
	}
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	if err := json.Unmarshal(get(t, http.DefaultClient, url), into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, list []string) [][]byte {
	t.Helper()
	out := make([][]byte, len(list))
	for i, s := range list {
		if _, err := fmt.Sscanf(s, "%x", &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
