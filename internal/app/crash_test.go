package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/wire/entry"
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

// TestKilledUnderLoad kills a server, without warning, while clients write. What
// was acknowledged must be there again with the same index.
func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	server, url := startProcess(t, dir)
	const clients, enough = 8, 200

	acknowledged := make(chan ack, clients)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() { writeEntries(ctx, t, url, client, acknowledged) })
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

	again := apptest.Start(t, apptest.In(dir))
	seen := map[int64]bool{}
	for _, a := range all {
		le, err := post(t.Context(), again.URL(), a.request)
		if err != nil || le.LogIndex != a.index {
			t.Fatalf("entry %d came back as %d (%v)", a.index, le.LogIndex, err)
		}
		if seen[a.index] {
			t.Fatalf("index %d was given twice", a.index)
		}
		seen[a.index] = true
	}
}

// ack is a request that the log answered, and where it put the entry.
type ack struct {
	request []byte
	index   int64
}

// writeEntries logs one entry after the other until the server or ctx ends.
func writeEntries(ctx context.Context, t *testing.T, url string, client int, acknowledged chan<- ack) {
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		t.Error(err)
		return
	}
	for i := 0; ; i++ {
		request, err := signedEntry(key, fmt.Sprintf("client %d, entry %d", client, i))
		if err != nil {
			t.Error(err)
			return
		}
		le, err := post(ctx, url, request)
		if err != nil {
			return // the server was killed
		}
		acknowledged <- ack{request, le.LogIndex}
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
