package app_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/wire/entry"
)

// logArtifacts logs signatures over n artifacts by both protocols and gives the
// artifacts' digests.
func logArtifacts(t *testing.T, a *app.App, n int) (digests []sigbox.Digest) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		d := sigbox.SHA256.Sum(fmt.Append(nil, "artifact ", i))
		sig, err := ecdsa.SignASN1(rand.Reader, key, d.Value)
		if err != nil {
			t.Fatal(err)
		}
		e := sigbox.Entry{Digest: d, Signature: sig, PublicKey: spki, Details: sigbox.ECDSAP256SHA256}
		for path, body := range map[string][]byte{"/api/v2/log/entries": entry.AppendRequest(nil, e), "/api/v1/log/entries": entry.AppendProposal(nil, e)} {
			resp, err := http.Post(a.URL()+path, "application/json", bytes.NewReader(body)) // #nosec G107 -- the test's own server
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("%s: %s", path, resp.Status)
			}
		}
		digests = append(digests, d)
	}
	return digests
}

// Entries that were logged by a version without a search index are indexed after the
// next start; until then answers say so, and a check of the logs has nothing to find.
func TestSearchOfOldInstance(t *testing.T) {
	dir := t.TempDir()
	a := apptest.Start(t, apptest.In(dir))
	digests := logArtifacts(t, a, 20)
	for _, d := range digests {
		if _, body := get(t, a, "/api/search?hash="+d.Hex()); strings.Count(body, `"log":`) != 2 {
			t.Fatalf("%s: %s", d, body)
		}
	}
	apptest.Stop(t, a)
	kv, err := pebble.Open(t.Context(), filepath.Join(dir, "db"), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"rekor2/", "rekor1/"} {
		rows := store.Range{From: []byte("x"), To: []byte("y")}
		if err := store.WithPrefix(kv, part).Commit(t.Context(), store.Batch{Deletes: []store.Range{rows}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	sound := func() {
		t.Helper()
		reports, err := app.CheckLogs(t.Context(), app.Config{Data: dir}, app.CheckLogsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if !r.OK() {
				t.Errorf("%s: %+v", r.Origin, r.Findings)
			}
		}
	}
	sound()
	a = apptest.Start(t, apptest.In(dir))
	for {
		_, body := get(t, a, "/api/search?limit=1")
		if strings.Count(body, `"complete":true`) == 2 {
			break
		}
		unindexed(t, a) // whatever it is by now
		select {
		case <-t.Context().Done():
			t.Fatal(body)
		case <-time.After(time.Millisecond):
		}
	}
	if n := unindexed(t, a); n != 0 {
		t.Errorf("%d entries are said not to be in the index", n)
	}
	for _, d := range digests {
		if _, body := get(t, a, "/api/search?proof=1&hash="+d.Hex()); strings.Count(body, `"log":`) != 2 || strings.Count(body, "inclusionProof") != 2 {
			t.Fatalf("%s: %s", d, body)
		}
	}
	apptest.Stop(t, a)
	sound()
}

// unindexed gives how many entries of the logs are not in their search index, which
// status and metrics say alike.
func unindexed(t *testing.T, a *app.App) (n uint64) {
	t.Helper()
	status, err := a.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, metrics := get(t, a, "/metrics")
	for _, l := range status.Logs {
		line := fmt.Sprintf("sigbox_search_unindexed_entries{log=\"%s", l.Origin) // the v1 log's goes on
		if strings.HasSuffix(l.Origin, "/ctlog") {
			if strings.Contains(metrics, line) {
				t.Errorf("the certificate log is said to have an index")
			}
			continue
		}
		if !strings.Contains(metrics, line) {
			t.Errorf("no metric %s", line)
		}
		n += l.Unindexed
	}
	return n
}
