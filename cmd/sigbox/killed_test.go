package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

// server is a sigbox serve in a process of its own.
type server struct {
	url    string
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *bytes.Buffer
}

// startServer starts sigbox serve and waits until it is ready. wrap, if not empty, is
// a command line that runs it.
func startServer(t *testing.T, wrap []string, args ...string) *server {
	t.Helper()
	line := append(append(append([]string{}, wrap...), "sigbox", "serve", "--listen", "127.0.0.1:0"), args...)
	s := &server{cmd: exec.Command(line[0], line[1:]...), stderr: new(bytes.Buffer)}
	s.cmd.Env = append(os.Environ(), "GORACE="+gorace)
	s.cmd.Stderr = s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	s.stdout = bufio.NewReader(out)
	first, err := s.stdout.ReadString('\n')
	url, found := strings.CutPrefix(strings.TrimSpace(first), "sigbox is ready at ")
	if err != nil || !found {
		_ = s.cmd.Wait()
		t.Fatalf("sigbox serve is not ready: %q, %v\n%s", first, err, s.stderr)
	}
	s.url = url
	return s
}

// kill ends the process as kill -9 does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may be dead already
	_, _ = io.Copy(io.Discard, s.stdout)
	_ = s.cmd.Wait()
}

// stop ends the process as an operator does.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, s.stdout)
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("sigbox serve ended with %v\n%s", err, s.stderr)
	}
}

// ack is what a log has acknowledged: an entry, as the log's tiles hold it, and its
// index.
type ack struct {
	index uint64
	leaf  []byte
	// again asks the log for the same, after which it must give the same index.
	again func(ctx context.Context, url string) (sigbox.LogEntry, error)
}

// wireLog is a log as those who write to it see it, and monitors.
type wireLog struct {
	name string
	// Where checkpoint, tiles and bundles are, below the server's URL.
	checkpoint, tiles, bundles string
	// add has a client log the next thing.
	add func(ctx context.Context, url string, client *writer, n int) (ack, string, error)
	// split cuts a bundle into what acks and the tree have of its entries.
	split func(bundle []byte) (entries, leaves [][]byte, err error)

	mu          sync.Mutex
	acks        []ack           // guarded by mu
	checkpoints map[string]bool // guarded by mu; all that were handed out
}

func (l *wireLog) saw(a ack, checkpoints ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.leaf != nil {
		l.acks = append(l.acks, a)
	}
	for _, c := range checkpoints {
		l.checkpoints[c] = true
	}
}

func (l *wireLog) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

// writer is a client with a key of its own.
type writer struct {
	name   string
	key    crypto.Signer
	client *remote.Client
	token  string
}

// entry is the n-th signature of a client.
func (w *writer) entry(n int) (sigbox.Entry, error) {
	digest := sha256.Sum256(fmt.Appendf(nil, "%s, entry %d", w.name, n))
	sig, err := w.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return sigbox.Entry{}, err
	}
	pub, err := x509.MarshalPKIXPublicKey(w.key.Public())
	return sigbox.Entry{
		Digest: sigbox.Digest{Algorithm: sigbox.SHA256, Value: digest[:]}, Signature: sig,
		PublicKey: pub, Details: sigbox.ECDSAP256SHA256,
	}, err
}

// addEntry logs a signature in a transparency log.
func addEntry(log func(c *remote.Client, url string) sigbox.Log) func(context.Context, string, *writer, int) (ack, string, error) {
	return func(ctx context.Context, url string, w *writer, n int) (ack, string, error) {
		e, err := w.entry(n)
		if err != nil {
			return ack{}, "", err
		}
		again := func(ctx context.Context, url string) (sigbox.LogEntry, error) {
			return log(w.client, url).Add(ctx, e)
		}
		le, err := again(ctx, url)
		if err != nil {
			return ack{}, "", err
		}
		return ack{index: uint64(le.Inclusion.LogIndex), leaf: le.Body, again: again}, le.Inclusion.Checkpoint, nil
	}
}

// addCertificate has a certificate issued, which the certificate log has to have.
func addCertificate(ctx context.Context, url string, w *writer, _ int) (ack, string, error) {
	const subject = "ada@example.com"
	digest := sha256.Sum256([]byte(subject))
	proof, err := w.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return ack{}, "", err
	}
	chain, err := w.client.CA(url).Issue(ctx, sigbox.CertificateRequest{Token: w.token, PublicKey: w.key.Public(), Proof: proof})
	if err != nil {
		return ack{}, "", err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return ack{}, "", err
	}
	scts, err := cert.SCTList(leaf)
	if err != nil {
		return ack{}, "", err
	}
	index, ok, err := scts[0].LeafIndex()
	if err != nil || !ok {
		return ack{}, "", fmt.Errorf("an SCT without an index: %w", err)
	}
	tbs, err := cert.PrecertTBS(chain[0])
	return ack{index: index, leaf: tbs}, "", err
}

func splitEntries(b []byte) (entries, leaves [][]byte, err error) {
	for len(b) > 0 {
		length := 2 + int(binary.BigEndian.Uint16(b))
		entries, b = append(entries, b[2:length]), b[length:]
	}
	return entries, entries, nil
}

func splitCertificates(b []byte) (entries, leaves [][]byte, err error) {
	for len(b) > 0 {
		var e cert.Entry
		if e, b, err = cert.ParseTileLeaf(b); err != nil {
			return nil, nil, err
		}
		entries, leaves = append(entries, e.Certificate), append(leaves, e.MerkleTreeLeaf())
	}
	return entries, leaves, nil
}

func wireLogs() []*wireLog {
	v2 := func(c *remote.Client, url string) sigbox.Log { return c.Log(url) }
	v1 := func(c *remote.Client, url string) sigbox.Log { return c.LogV1(url) }
	return []*wireLog{
		{name: "v2", checkpoint: "/api/v2/checkpoint", tiles: "/api/v2/tile/", bundles: "entries", add: addEntry(v2), split: splitEntries, checkpoints: map[string]bool{}},
		{name: "v1", checkpoint: "/api/v1/log/checkpoint", tiles: "/api/v1/log/tile/", bundles: "entries", add: addEntry(v1), split: splitEntries, checkpoints: map[string]bool{}},
		{name: "ct", checkpoint: "/ctlog/checkpoint", tiles: "/ctlog/tile/", bundles: "data", add: addCertificate, split: splitCertificates, checkpoints: map[string]bool{}},
	}
}

// TestKilled kills a server, without warning, while clients write to its three logs
// and a monitor follows them, some lives long. Then the logs are read over the wire:
// what was acknowledged is there, once and at its index, and every checkpoint that
// was handed out is a prefix of the tree.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts processes")
	}
	dir := filepath.Join(t.TempDir(), "data")
	startServer(t, nil, "--data", dir).stop(t)
	logs := wireLogs()
	rng := mathrand.New(mathrand.NewPCG(11, 12))
	for life := range 4 {
		killedLife(t, dir, life, logs, 20+rng.IntN(120))
	}
	s := startServer(t, nil, "--data", dir)
	for _, l := range logs {
		if len(l.acks) == 0 {
			t.Errorf("%s: nothing was acknowledged", l.name)
		}
		l.repeat(t, s.url)
		l.check(t, s.url)
	}
	s.stop(t)
	b := newBench(t)
	b.must("log", "fsck", "--data", dir)
}

// killedLife has clients write until the first log has acknowledged so much more, and
// kills the server.
func killedLife(t *testing.T, dir string, life int, logs []*wireLog, enough int) {
	t.Helper()
	s := startServer(t, nil, "--data", dir)
	token := mintToken(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	enough += logs[0].acknowledged()
	reached := make(chan struct{}, 1)
	var wg sync.WaitGroup
	for _, l := range logs {
		for c := range 3 {
			key, err := keys.Generate(sigbox.ECDSAP256SHA256)
			if err != nil {
				t.Fatal(err)
			}
			w := &writer{name: fmt.Sprintf("%s, life %d, client %d", l.name, life, c), key: key, client: remote.New(remote.Config{Retries: -1}), token: token}
			wg.Go(func() {
				for n := 0; ; n++ {
					a, checkpoint, err := l.add(ctx, s.url, w, n)
					if err != nil {
						return // the server was killed
					}
					l.saw(a)
					if checkpoint != "" {
						l.saw(ack{}, checkpoint)
					}
					if l == logs[0] && l.acknowledged() >= enough {
						select {
						case reached <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		wg.Go(func() {
			for {
				text, err := get(ctx, s.url+l.checkpoint)
				if err != nil {
					return
				}
				l.saw(ack{}, string(text))
			}
		})
	}
	through := make(chan struct{})
	go func() { wg.Wait(); close(through) }()
	select {
	case <-reached:
	case <-through:
		t.Errorf("life %d: all clients have ended before", life)
	}
	s.kill()
	cancel()
	<-through
}

// mintToken makes an identity token, with what lies in the data directory.
func mintToken(t *testing.T, dir string) string {
	t.Helper()
	admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	token, err := admin.Token(t.Context(), app.TokenRequest{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// repeat asks again for what was acknowledged.
func (l *wireLog) repeat(t *testing.T, url string) {
	t.Helper()
	for _, a := range l.acks {
		if a.again == nil {
			continue
		}
		le, err := a.again(t.Context(), url)
		if err != nil || uint64(le.Inclusion.LogIndex) != a.index || !bytes.Equal(le.Body, a.leaf) {
			t.Fatalf("%s: entry %d came back as %d (%v)", l.name, a.index, le.Inclusion.LogIndex, err)
		}
	}
}

// check reads the whole log as a monitor does, with the tile reader of x/mod, which
// trusts nothing but the checkpoint.
func (l *wireLog) check(t *testing.T, url string) {
	t.Helper()
	head, _, err := note.Parse(string(fetch(t, url+l.checkpoint)))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(head.Size)
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: head.Root}, wireTiles{t, url + l.tiles})
	index := map[string]uint64{}
	for n := int64(0); n*256 < size; n++ {
		path := strings.Replace(tlog.Tile{H: 8, L: 0, N: n, W: int(min(256, size-n*256))}.Path(), "tile/8/0/", l.bundles+"/", 1)
		entries, leaves, err := l.split(fetch(t, url+l.tiles+path))
		if err != nil || len(entries) != int(min(256, size-n*256)) {
			t.Fatalf("%s: %s has %d entries, %v", l.name, path, len(entries), err)
		}
		for j, e := range entries {
			at := n*256 + int64(j)
			if _, twice := index[string(e)]; twice {
				t.Errorf("%s: entry %d is there twice", l.name, at)
			}
			index[string(e)] = uint64(at)
			stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
			if err != nil || stored[0] != tlog.RecordHash(leaves[j]) {
				t.Fatalf("%s: entry %d is not the one of its leaf hash (%v)", l.name, at, err)
			}
		}
	}
	for _, a := range l.acks {
		if i, ok := index[string(a.leaf)]; !ok || i != a.index {
			t.Errorf("%s: acknowledged at %d, found %v %d", l.name, a.index, ok, i)
		}
	}
	for text := range l.checkpoints {
		cp, _, err := note.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if cp.Size == 0 {
			continue
		}
		root, err := tlog.TreeHash(int64(cp.Size), hashes)
		if err != nil || root != tlog.Hash(cp.Root) {
			t.Errorf("%s: the checkpoint of %d entries is no prefix of the log of %d (%v)", l.name, cp.Size, size, err)
		}
	}
	t.Logf("%s: %d entries, %d acknowledged, %d checkpoints", l.name, size, len(l.acks), len(l.checkpoints))
}

// wireTiles reads tiles from a server.
type wireTiles struct {
	t   *testing.T
	url string
}

func (w wireTiles) Height() int                     { return 8 }
func (w wireTiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (w wireTiles) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		data = append(data, fetch(w.t, w.url+strings.TrimPrefix(tile.Path(), "tile/8/")))
	}
	return data, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(b))
	}
	return b, err
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	b, err := get(t.Context(), url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return b
}
