package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/keys"
)

// proxyTo stands before an instance, shows of it what hidden does not hide, which
// may change what is asked for, and changes its answers.
func proxyTo(t *testing.T, instance string, hidden func(r *http.Request) bool, change func(path string, body []byte) []byte) string {
	t.Helper()
	to, err := url.Parse(instance)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		body = change(r.Request.URL.RequestURI(), body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return err
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hidden(r) {
			http.NotFound(w, r)
			return
		}
		r.Header.Del("Accept-Encoding")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestLogCT: the certificate log of an instance is read by its tiles, by the routes
// of RFC 6962 alone, and from a copy of what is published, and held to its promises.
func TestLogCT(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a := apptest.Start(t, apptest.In(dir))
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	const signers = 5
	for i := range signers {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, fmt.Appendf(nil, "file %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := a.Admin().Token(t.Context(), app.TokenRequest{Email: fmt.Sprintf("ada%d@example.com", i)})
		if err != nil {
			t.Fatal(err)
		}
		b.must("sign", "--identity-token", token, file)
	}
	tiles := func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/checkpoint") || strings.Contains(r.URL.Path, "/tile/")
	}
	honest := proxyTo(t, a.URL(), tiles, asIs) + "/ctlog"
	apptest.Stop(t, a) // now all is published
	a = apptest.Start(t, apptest.In(dir), func(c *app.Config) { c.Flags.Listen = strings.TrimPrefix(a.URL(), "http://") })
	copied := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(dir, "tiles", "ctlog"))))
	t.Cleanup(copied.Close)
	saved := filepath.Join(t.TempDir(), "checkpoint")

	for _, log := range []string{"ct", a.URL() + "/ctlog", honest, copied.URL} {
		b.must("log", "fsck", "--log", log)
		if out := b.stdout.String(); !strings.Contains(out, "all is as it must be") || !strings.Contains(out, fmt.Sprintf("%d entries with good signatures", signers+1)) && !strings.Contains(out, fmt.Sprintf("%d entries with good signatures", signers)) {
			t.Errorf("%s: %s", log, out)
		}
		b.must("log", "fsck", "--log", log, "--from", "1", "--to", "3", "-o", "json")
		if out := b.stdout.String(); !strings.Contains(out, `"entries": 2`) || !strings.Contains(out, `"from": 1`) {
			t.Errorf("%s: %s", log, out)
		}
		b.must("log", "get", "--log", log, "1")
		if out := b.stdout.String(); !strings.Contains(out, "precertificate") || !strings.Contains(out, "@example.com") {
			t.Errorf("%s: %s", log, out)
		}
		b.must("log", "stats", "--log", log, "--save", saved)
		b.must("log", "prove", "--log", log, "--from", saved)
		b.must("log", "prove", "--log", log, "1", "--out", saved+".tlog-proof")
		b.must("log", "prove", "--check", saved+".tlog-proof")
		b.must("log", "search", "--log", log, "--scan", "--identity", "ada3@example.com", "--kind", "precertificate", "--after", "2020-01-01T00:00:00Z")
		if out := b.stdout.String(); strings.Count(out, "\n") != 1 || !strings.Contains(out, "ada3@example.com") {
			t.Errorf("%s: %s", log, out)
		}
		b.must("log", "search", "--log", log, "--scan", "--before", "2020-01-01T00:00:00Z")
		if b.stdout.Len() > 0 {
			t.Errorf("%s: %s", log, &b.stdout)
		}
		if status := b.run("log", "search", "--log", log, "--identity", "ada3@example.com"); status != exitNotVerified || !strings.Contains(b.stderr.String(), "--scan") {
			t.Errorf("%s: status %d: %s", log, status, &b.stderr)
		}
		if status := b.run("log", "get", "--log", log, "99"); status != exitNotVerified {
			t.Errorf("%s: status %d", log, status)
		}
	}

	for name, lie := range map[string][2]string{
		"another root":      {`"sha256_root_hash":"`, `"sha256_root_hash":"AA`},
		"another size":      {`"tree_size":`, `"tree_size":1`},
		"another leaf":      {`"leaf_input":"AAAA`, `"leaf_input":"AAAB`},
		"another place":     {`"leaf_index":1`, `"leaf_index":2`},
		"another signature": {`"tree_head_signature":"BAMA`, `"tree_head_signature":"BAMB`},
	} {
		changed := false
		liar := proxyTo(t, a.URL(), tiles, func(_ string, body []byte) []byte {
			out := bytes.ReplaceAll(body, []byte(lie[0]), []byte(lie[1]))
			changed = changed || !bytes.Equal(out, body)
			return out
		}) + "/ctlog"
		if status := b.run("log", "get", "--log", liar, "1"); status != exitNotVerified || !changed {
			t.Errorf("%s (changed: %v): status %d: %s", name, changed, status, &b.stderr)
		}
	}
	// Without issuers nobody can tell whether signatures are good.
	if err := os.RemoveAll(filepath.Join(dir, "tiles", "ctlog", "issuer")); err != nil {
		t.Fatal(err)
	}
	if status := b.run("log", "fsck", "--log", copied.URL); status != exitNotVerified || !strings.Contains(b.stdout.String(), "is not beside the tiles") {
		t.Errorf("no issuers: status %d: %s", status, &b.stdout)
	}
	undecidedIssuers(t, b, a)
	// The hashes of the tree do not cover what stands beside a leaf; what it says does.
	tile := filepath.Join(dir, "tiles", "ctlog", "tile", "data", "000.p")
	names, err := os.ReadDir(tile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(tile, name.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-200] ^= 1 // of the last precertificate's signature
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status := b.run("log", "fsck", "--log", copied.URL); status != exitNotVerified || !strings.Contains(b.stdout.String(), "content: entry") {
		t.Errorf("another precertificate: status %d: %s%s", status, &b.stdout, &b.stderr)
	}
	b.must("log", "fsck", "--log", copied.URL, "--hashes-only")

	// A copy that lags behind is no log that was seen before: not without being told.
	stale, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	if status := b.run("log", "get", "--log", olderCopy(t, dir, stale), "0"); status != exitOK {
		t.Errorf("a copy of this moment: status %d: %s", status, &b.stderr)
	}
	token, err := a.Admin().Token(t.Context(), app.TokenRequest{Email: "eve@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("one more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	copied2 := olderCopy(t, dir, stale)
	b.must("sign", "--identity-token", token, file)
	b.must("log", "stats", "--log", "ct")
	if status := b.run("log", "get", "--log", copied2, "0"); status != exitNotVerified || !strings.Contains(b.stderr.String(), "unless this is an older copy") {
		t.Errorf("an older copy: status %d: %s", status, &b.stderr)
	}
	b.must("log", "get", "--log", copied2, "--ignore-history", "0")

	other := proxyTo(t, a.URL(), func(*http.Request) bool { return false }, func(path string, body []byte) []byte {
		if strings.Contains(path, "/issuer/") {
			return []byte("another certificate")
		}
		return body
	}) + "/ctlog"
	if status := b.run("log", "fsck", "--log", other); status != exitNotVerified || !strings.Contains(b.stdout.String(), "fingerprint of the answered issuer") {
		t.Errorf("another issuer: status %d: %s", status, &b.stdout)
	}
}

// undecidedIssuers has a log answer oddly when it is asked for a certificate of a chain:
// what was not checked is not called right.
func undecidedIssuers(t *testing.T, b *bench, a *app.App) {
	t.Helper()
	root, err := os.ReadFile(filepath.Join(a.Data(), "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	var top *pem.Block
	for block, rest := pem.Decode(root); block != nil; block, rest = pem.Decode(rest) {
		top = block
	}
	rootName := fmt.Sprintf("/issuer/%x", sha256.Sum256(top.Bytes))
	to, err := url.Parse(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	for _, tt := range []struct {
		code   int
		body   string
		status int
	}{
		{http.StatusBadRequest, "", exitUndecided}, {http.StatusUnauthorized, "", exitUndecided}, {http.StatusForbidden, "", exitUndecided},
		{http.StatusRequestEntityTooLarge, "", exitUndecided}, {http.StatusUnavailableForLegalReasons, "", exitUndecided}, {http.StatusNoContent, "", exitUndecided},
		{http.StatusNotFound, "", exitNotVerified}, {http.StatusGone, "", exitNotVerified},
		{http.StatusOK, "another", exitNotVerified}, {http.StatusOK, strings.Repeat("x", 1<<20), exitNotVerified},
	} {
		for _, which := range []string{"/issuer/", rootName} {
			odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, which) {
					w.WriteHeader(tt.code)
					_, _ = io.WriteString(w, tt.body)
					return
				}
				proxy.ServeHTTP(w, r)
			}))
			status := b.run("log", "fsck", "--log", odd.URL+"/ctlog", "--ignore-history")
			if status != tt.status || strings.Contains(b.stdout.String(), "all is as it must be") {
				t.Errorf("%d for %s: status %d: %s%s", tt.code, which, status, &b.stdout, &b.stderr)
			}
			odd.Close()
		}
	}
}

// olderCopy serves what is published of a certificate log now, with a checkpoint of
// that tree.
func olderCopy(t *testing.T, data string, checkpoint []byte) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(data, "tiles", "ctlog"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "checkpoint"), checkpoint, 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(folder)))
	t.Cleanup(s.Close)
	return s.URL
}

// TestFsckStatus: what a check ends with says whether something was found, could not be
// read, or was asked for that is not there.
func TestFsckStatus(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a := apptest.Start(t, apptest.In(dir))
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	empty := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(empty.Close)
	expect := func(status int, says string, args ...string) {
		t.Helper()
		if got := b.run(append([]string{"log", "fsck"}, args...)...); got != status || !strings.Contains(b.stdout.String()+b.stderr.String(), says) {
			t.Errorf("%v: status %d, expected %d and %q: %s%s", args, got, status, says, &b.stdout, &b.stderr)
		}
	}
	expect(exitOK, "all is as it must be", "--log", "v2")
	expect(exitUsage, "another sigbox is running", "--data", dir)
	expect(exitUsage, "there is no instance in", "--data", filepath.Join(dir, "nowhere"))
	expect(exitUsage, "--from 7: the log", "--log", "v2", "--from", "7")
	expect(exitUndecided, "there is no transparency log", "--log", empty.URL)

	// A server has several logs at one URL: the key says which one is meant.
	entry := func(key string) string {
		b.must("log", "get", "0", "--log", a.URL(), "--key", key)
		return b.stdout.String()
	}
	public := map[string]string{}
	for name, file := range map[string]string{"v2": "rekor2.pem", "v1": "rekor1.pem"} {
		public[name] = publicKeyFile(t, filepath.Join(dir, "keys", file))
	}
	if v1, v2 := entry(public["v1"]), entry(public["v2"]); !strings.Contains(v1, "signed by the log") || v1 == v2 {
		t.Errorf("v1: %s\nv2: %s", v1, v2)
	}
	if b.run("log", "search", "--log", "v2", "--key", public["v1"]); !strings.Contains(b.stderr.String(), "--signing-key") {
		t.Errorf("it does not say which key --key is: %s", &b.stderr)
	}
	if b.run("log", "search", "app.tar.gz"); !strings.Contains(b.stderr.String(), "--file FILE finds") {
		t.Errorf("it does not say how a file is searched for: %s", &b.stderr)
	}

	apptest.Stop(t, a)
	published := filepath.Join(dir, "tiles", "rekor2", "checkpoint")
	if err := os.Remove(published); err != nil {
		t.Fatal(err)
	}
	expect(exitNotVerified, "checkpoint: checkpoint (derived", "--data", dir)
	expect(exitOK, "repaired", "--data", dir, "--repair")
	if _, err := os.Stat(published); err != nil {
		t.Error(err)
	}
	expect(exitOK, "all is as it must be", "--data", dir)

	manifests, err := filepath.Glob(filepath.Join(dir, "db", "MANIFEST-*[0-9]"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("%v, %v", manifests, err)
	}
	for _, name := range manifests {
		if err := os.Truncate(name, 20); err != nil {
			t.Fatal(err)
		}
	}
	expect(exitNotVerified, "db is damaged", "--data", dir)
}

// publicKeyFile writes the public key of a file with a private one.
func publicKeyFile(t *testing.T, private string) string {
	t.Helper()
	key, err := keys.Load(private, nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
