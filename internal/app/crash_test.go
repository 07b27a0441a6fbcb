package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// serveDir makes this test binary an instance on the directory that it names.
const serveDir = "SIGBOX_TEST_SERVE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serveDir); dir != "" {
		os.Exit(serveUntilKilled(dir))
	}
	os.Exit(m.Run())
}

// serveUntilKilled prints the instance's URL and serves until its standard input
// ends: the test that started it has gone, if it was not killed before.
func serveUntilKilled(dir string) int {
	a, err := app.Start(context.Background(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(a.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestKilledUnderLoad kills a server, without warning, while clients write, and
// again in its next life. Then the log is read over the wire: what was acknowledged
// is there, once and at its index, and every checkpoint that was handed out is a
// prefix of the tree.
func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	var all []ack
	for life := range 2 {
		all = append(all, killedLife(t, dir, life)...)
	}
	again := apptest.Start(t, apptest.In(dir))
	for _, a := range all {
		le, err := post(t.Context(), again.URL(), a.request)
		if err != nil || le.LogIndex != a.entry.LogIndex || !bytes.Equal(le.Body, a.entry.Body) {
			t.Fatalf("entry %d came back as %d (%v)", a.entry.LogIndex, le.LogIndex, err)
		}
	}
	checkOverTheWire(t, again.URL(), all)
}

// killedLife has clients write until a number of entries are acknowledged, and
// kills the server.
func killedLife(t *testing.T, dir string, life int) []ack {
	t.Helper()
	server, url := startProcess(t, dir)
	const clients, enough = 8, 200

	acknowledged := make(chan ack, clients)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() { writeEntries(ctx, t, url, fmt.Sprintf("life %d, client %d", life, client), acknowledged) })
	}
	var all []ack
	for len(all) < enough {
		all = append(all, <-acknowledged)
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	stop()
	go func() {
		wg.Wait()
		close(acknowledged)
	}()
	for a := range acknowledged {
		all = append(all, a)
	}
	_ = server.Wait() // it was killed
	return all
}

// checkOverTheWire reads the whole log as a monitor does, with the tile reader of
// x/mod, which trusts nothing but the checkpoint.
func checkOverTheWire(t *testing.T, url string, all []ack) {
	t.Helper()
	text := fetch(t, url+"/api/v2/checkpoint")
	head, _, err := note.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(head.Size) // #nosec G115 -- small
	hashes := tlog.TileHashReader(tlog.Tree{N: size, Hash: head.Root}, wireTiles{t, url})
	index := map[string]int64{}
	for i := range size {
		if i%256 == 0 {
			for j, body := range bundle(t, url, i/256, size) {
				if _, twice := index[string(body)]; twice {
					t.Errorf("entry %d is there twice", i+int64(j))
				}
				index[string(body)] = i + int64(j)
				stored, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, i+int64(j))})
				if err != nil || stored[0] != tlog.RecordHash(body) {
					t.Fatalf("entry %d is not the one of its leaf hash (%v)", i+int64(j), err)
				}
			}
		}
	}
	for _, a := range all {
		if i, ok := index[string(a.entry.Body)]; !ok || i != a.entry.LogIndex {
			t.Errorf("acknowledged at %d, found %v %d", a.entry.LogIndex, ok, i)
		}
		cp, _, err := note.Parse(a.entry.Inclusion.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		root, err := tlog.TreeHash(int64(cp.Size), hashes) // #nosec G115 -- small
		if err != nil || root != tlog.Hash(cp.Root) {
			t.Fatalf("the checkpoint of %d entries is no prefix of the log (%v)", cp.Size, err)
		}
	}
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
		data = append(data, fetch(w.t, w.url+"/api/v2/tile/"+strings.TrimPrefix(tile.Path(), "tile/8/")))
	}
	return data, nil
}

// bundle reads the entries of a bundle.
func bundle(t *testing.T, url string, n, size int64) (entries [][]byte) {
	t.Helper()
	w := int(min(256, size-n*256))
	path := strings.Replace(tlog.Tile{H: 8, L: 0, N: n, W: w}.Path(), "tile/8/0/", "tile/entries/", 1)
	for b := fetch(t, url+"/api/v2/"+path); len(b) > 0; {
		length := 2 + int(binary.BigEndian.Uint16(b))
		entries, b = append(entries, b[2:length]), b[length:]
	}
	if len(entries) != w {
		t.Fatalf("%s has %d entries", path, len(entries))
	}
	return entries
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", url, resp.StatusCode, err)
	}
	return b
}

// ack is a request that the log answered, and the answer.
type ack struct {
	request []byte
	entry   sigbox.LogEntry
}

// writeEntries logs one entry after the other until the server or ctx ends.
func writeEntries(ctx context.Context, t *testing.T, url, client string, acknowledged chan<- ack) {
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		t.Error(err)
		return
	}
	for i := 0; ; i++ {
		request, err := signedEntry(key, fmt.Sprintf("%s, entry %d", client, i))
		if err != nil {
			t.Error(err)
			return
		}
		le, err := post(ctx, url, request)
		if err != nil {
			return // the server was killed
		}
		acknowledged <- ack{request, le}
	}
}

// signedEntry is the request to log a signature over text.
func signedEntry(key crypto.Signer, text string) ([]byte, error) {
	digest := sha256.Sum256([]byte(text))
	sig, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return entry.AppendRequest(nil, sigbox.Entry{
		Digest: sigbox.Digest{Algorithm: sigbox.SHA256, Value: digest[:]}, Signature: sig,
		PublicKey: pub, Details: sigbox.ECDSAP256SHA256,
	}), nil
}

// post logs an entry.
func post(ctx context.Context, url string, request []byte) (sigbox.LogEntry, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v2/log/entries", bytes.NewReader(request))
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	if resp.StatusCode != http.StatusCreated {
		return sigbox.LogEntry{}, fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return entry.ParseLogEntry(body)
}

// startProcess starts an instance in a process of its own.
func startProcess(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveDir+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal("the instance did not start")
	}
	return cmd, strings.TrimSpace(url)
}
