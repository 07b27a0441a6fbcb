package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/proof"
)

// tiledLog is a log of C2SP tlog-tiles in memory.
type tiledLog struct {
	url    string
	signer *note.Signer
	key    LogKey

	mu     sync.Mutex
	leaves [][]byte
	hashes []tlog.Hash
	shown  int // size of the checkpoint, which may lag behind
	// tamper changes what is answered; nil is honest.
	tamper func(path string, body []byte) []byte
}

func newTiledLog(t *testing.T, leaves ...string) *tiledLog {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := new(tiledLog)
	if l.signer, err = note.NewSigner("log.example.com", priv); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if l.key, err = ParseLogKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})); err != nil {
		t.Fatal(err)
	}
	l.add(t, leaves...)
	l.url = serve(t, l.answer)
	return l
}

// numbered gives n leaves.
func numbered(n int, with string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(with, i)
	}
	return out
}

func (l *tiledLog) add(t *testing.T, leaves ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, leaf := range leaves {
		h, err := tlog.StoredHashes(int64(len(l.leaves)), []byte(leaf), l)
		if err != nil {
			t.Fatal(err)
		}
		l.leaves, l.hashes = append(l.leaves, []byte(leaf)), append(l.hashes, h...)
	}
	l.shown = len(l.leaves)
}

// set changes how the log lies.
func (l *tiledLog) set(tamper func(path string, body []byte) []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tamper = tamper
}

// show has the checkpoint be of an older tree.
func (l *tiledLog) show(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = size
}

// ReadHashes makes it a tlog.HashReader.
func (l *tiledLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = l.hashes[n]
	}
	return out, nil
}

func (l *tiledLog) checkpoint() string {
	root, err := tlog.TreeHash(int64(l.shown), l)
	if err != nil {
		panic(err)
	}
	text, err := note.Sign(sigbox.Checkpoint{Origin: "log.example.com", Size: uint64(l.shown), Root: root}, l.signer)
	if err != nil {
		panic(err)
	}
	return text
}

func (l *tiledLog) answer(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	body, ok := l.file(strings.TrimPrefix(r.URL.Path, "/"))
	if ok && l.tamper != nil {
		body = l.tamper(r.URL.Path, body)
	}
	if !ok || body == nil {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(body)
}

func (l *tiledLog) file(path string) ([]byte, bool) {
	if path == "checkpoint" {
		return []byte(l.checkpoint()), true
	}
	rest, entries := strings.CutPrefix(path, "tile/entries/")
	if entries {
		path = "tile/0/" + rest
	}
	tile, err := tlog.ParseTilePath("tile/8/" + strings.TrimPrefix(path, "tile/"))
	if err != nil || (tile.N*256+int64(tile.W))<<(8*tile.L) > int64(len(l.leaves)) {
		return nil, false
	}
	if !entries {
		data, err := tlog.ReadTileData(tile, l)
		return data, err == nil
	}
	var out []byte
	for _, leaf := range l.leaves[tile.N*256:][:tile.W] {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(leaf))), leaf...)
	}
	return out, true
}

func (l *tiledLog) open(t *testing.T, memory string) (*LogReader, error) {
	t.Helper()
	return New(Config{Retries: -1}).OpenLog(t.Context(), LogConfig{URL: l.url, Keys: []LogKey{l.key}, Memory: memory})
}

func (l *tiledLog) mustOpen(t *testing.T, memory string) *LogReader {
	t.Helper()
	r, err := l.open(t, memory)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLogSizes: logs whose trees end in each kind of place are read and found whole.
func TestLogSizes(t *testing.T) {
	for _, size := range []int{1, 2, 255, 256, 257, 512, 600, 256*256 + 300} {
		l := newTiledLog(t, numbered(size, "leaf ")...)
		r := l.mustOpen(t, "")
		for _, index := range []int{0, size / 2, size - 1} {
			e, err := r.Entry(t.Context(), uint64(index))
			if err != nil || string(e.Body) != fmt.Sprint("leaf ", index) {
				t.Fatalf("%d of %d: %q, %v", index, size, e.Body, err)
			}
			p := proof.Proof{Index: e.Index, Checkpoint: e.Inclusion.Checkpoint}
			for _, h := range e.Inclusion.Hashes {
				p.Hashes = append(p.Hashes, [32]byte(h))
			}
			if _, err := CheckProof(&p, e.Body, []LogKey{l.key}); err != nil {
				t.Errorf("%d of %d: %v", index, size, err)
			}
			if _, err := CheckProof(&p, []byte("another"), []LogKey{l.key}); sigbox.KindOf(err) != sigbox.NotVerified {
				t.Errorf("%d of %d: another leaf: %v", index, size, err)
			}
		}
		if _, err := r.Entry(t.Context(), uint64(size)); sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%d of %d: %v", size, size, err)
		}
		next := uint64(size / 3)
		if err := r.Entries(t.Context(), next, uint64(size), func(index uint64, leaf *Leaf) error {
			if index != next || string(leaf.Data) != fmt.Sprint("leaf ", index) {
				return fmt.Errorf("%d: %q, want entry %d", index, leaf.Data, next)
			}
			next++
			return nil
		}); err != nil || next != uint64(size) {
			t.Errorf("of %d %d were read: %v", size, next, err)
		}
		report, err := r.Check(t.Context(), LogCheck{})
		if err != nil || report.Found > 0 || report.Entries != uint64(size) {
			t.Errorf("of %d: %+v, %v", size, report, err)
		}
	}
}

// TestLogTampered: no byte of what a server sends can be another without being
// noticed, and fsck names the file.
func TestLogTampered(t *testing.T) {
	l := newTiledLog(t, numbered(600, "leaf ")...)
	for _, path := range []string{
		"/tile/entries/000", "/tile/entries/002.p/88", "/tile/0/000", "/tile/0/001", "/tile/0/002.p/88", "/tile/1/000.p/2",
	} {
		for what, change := range map[string]func([]byte) []byte{
			"a bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
			"short":   func(b []byte) []byte { return b[:len(b)-1] },
			"missing": func([]byte) []byte { return nil },
			"endless": func(b []byte) []byte { return append(b, make([]byte, maxBundle)...) },
			"swapped": func(b []byte) []byte { // two entries of one length, or two hashes
				n := tlog.HashSize
				if strings.HasPrefix(path, "/tile/entries/") {
					n = 2 + int(b[1])
				}
				return slices.Concat(b[n:2*n], b[:n], b[2*n:])
			},
		} {
			l.set(func(p string, body []byte) []byte {
				if p == path {
					return change(append([]byte(nil), body...))
				}
				return body
			})
			report, err := l.mustOpen(t, "").Check(t.Context(), LogCheck{})
			if err != nil {
				t.Errorf("%s of %s: %v", what, path, err)
				continue
			}
			named := false
			for _, f := range report.Findings {
				named = named || strings.HasPrefix("/"+f.Name, strings.TrimSuffix(path, ".p/88")) || strings.HasPrefix("/"+f.Name, strings.TrimSuffix(path, ".p/2"))
			}
			if !named {
				t.Errorf("%s of %s: found %+v", what, path, report.Findings)
			}
			err = l.mustOpen(t, "").Entries(t.Context(), 0, 600, func(uint64, *Leaf) error { return nil })
			if !broken(err) {
				t.Errorf("%s of %s: entries were read: %v", what, path, err)
			}
		}
	}
	l.set(func(path string, body []byte) []byte {
		if path == "/checkpoint" {
			return []byte(strings.Replace(string(body), "\n600\n", "\n601\n", 1))
		}
		return body
	})
	if _, err := l.open(t, ""); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("a checkpoint of another size: %v", err)
	}
}

// TestLogOrigin: a key of a trust root signs for the log that the root names, and for
// no other.
func TestLogOrigin(t *testing.T) {
	l := newTiledLog(t, numbered(3, "leaf ")...)
	for url, good := range map[string]bool{"https://log.example.com": true, "https://log.example.org": false, "": false, "https://example.com/log.example.com": false} {
		trust := sigbox.TransparencyLog{BaseURL: url, PublicKey: l.key.trust.PublicKey, Details: sigbox.Ed25519, LogID: l.key.trust.LogID}
		keys := LogKeys([]*sigbox.TrustedRoot{{Logs: []sigbox.TransparencyLog{trust}}})
		_, err := New(Config{Retries: -1}).OpenLog(t.Context(), LogConfig{URL: l.url, Keys: keys})
		if (err == nil) != good || !good && sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestLogMemory: a log has to continue what was seen of it.
func TestLogMemory(t *testing.T) {
	l := newTiledLog(t, numbered(300, "leaf ")...)
	memory := filepath.Join(t.TempDir(), "seen")
	l.mustOpen(t, memory)
	l.add(t, numbered(300, "more ")...)
	r := l.mustOpen(t, memory)
	if seen, ok := r.LastSeen(); !ok || seen.Checkpoint.Size != 300 {
		t.Errorf("last seen: %v, %v", seen.Checkpoint.Size, ok)
	}

	// A checkpoint that lags behind, of a log that still has all: nothing is lost.
	l.show(400)
	if head, _ := l.mustOpen(t, memory).Head(); head.Size != 600 {
		t.Errorf("the head has %d entries, want those that were seen, 600", head.Size)
	}

	// An older copy, a fork of the same size, and one that has grown.
	for name, leaves := range map[string][]string{
		"rolled back": numbered(300, "leaf "),
		"forked":      append(numbered(300, "leaf "), numbered(300, "else ")...),
		"grown":       append(numbered(300, "leaf "), numbered(900, "else ")...),
	} {
		other := newTiledLog(t, leaves...)
		other.signer, other.key = l.signer, l.key
		if _, err := other.open(t, memory); sigbox.KindOf(err) != sigbox.NotVerified || !strings.Contains(err.Error(), "ALARM") {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.show(600)
	l.mustOpen(t, memory)

	// What was kept is damaged: nothing is known, which is no good sign.
	files, err := filepath.Glob(filepath.Join(memory, "*.checkpoint"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.open(t, memory); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("damaged memory: %v", err)
	}
}

func TestLogKeys(t *testing.T) {
	// The example of C2SP signed-note.
	const vkey = "example.com/foo+530d903b+AccLfjsTMYJDCXCoOi1kcA4LwJFG0kMyVMzUVcaD0gkd"
	if k, err := ParseLogKey([]byte("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n")); err != nil || k.host != "PeterNeumann" {
		t.Errorf("%+v, %v", k, err)
	}
	for _, bad := range []string{
		"", "x", vkey + "A", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
		"PeterNeumann+c74f20a3+AhpcmQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		strings.Repeat("x", maxLogKey+1),
	} {
		if _, err := ParseLogKey([]byte(bad)); err == nil {
			t.Errorf("%.80q was read", bad)
		}
	}
}

func FuzzParseLogKey(f *testing.F) {
	f.Add([]byte("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParseLogKey(b); err == nil && len(k.trust.LogID) != 32 {
			t.Errorf("a key without ID: %+v", k)
		}
	})
}

func FuzzSplitBundle(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x00"), 2)
	f.Fuzz(func(t *testing.T, b []byte, width int) {
		width = max(1, min(width, tileWidth))
		entries, ok := splitBundle(b, width)
		if ok && len(entries) != width {
			t.Errorf("%d entries of %d", len(entries), width)
		}
	})
}
