package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/trust"
)

// oldWorld is a world whose signatures have cosign's old forms, and a user.
type oldWorld struct {
	*bench
	world  *sigboxtest.World
	signed *sigbox.Bundle // of hello
	files  map[string]string
	flags  []string
}

// newOldWorld signs "hello" and writes the trust root, with its v1 log at logURL
// unless that is empty.
func newOldWorld(t *testing.T, logURL string) *oldWorld {
	t.Helper()
	w := sigboxtest.New(t)
	root := w.Root()
	for i := range root.Logs {
		if l := &root.Logs[i]; logURL != "" && bytes.Equal(l.LogID, sigbox.SHA256.Sum(l.PublicKey).Value) {
			l.BaseURL = logURL
		}
	}
	text, err := trust.AppendRoot(nil, root)
	if err != nil {
		t.Fatal(err)
	}
	signed := w.Sign([]byte("hello"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	d := sigboxtest.LegacyFiles(signed)
	tree(t, map[string]string{"root.json": string(text), "app": "hello", "other": "HELLO"})
	id := sigboxtest.DefaultIdentity()
	return &oldWorld{
		bench: newBench(t), world: w, signed: signed,
		files: map[string]string{"bundle": string(sigboxtest.Legacy(signed, nil)), "sig": string(d.Signature), "pem": string(d.Certificate), "tsr": string(d.Timestamp)},
		flags: []string{"--trusted-root", "root.json", "--certificate-identity", id.Subject, "--certificate-oidc-issuer", id.Issuer},
	}
}

// write writes one of the files.
func (w *oldWorld) write(name, file string) {
	w.Helper()
	if err := os.WriteFile(name, []byte(w.files[file]), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *oldWorld) verify(args ...string) int {
	w.Helper()
	return w.run(append(append([]string{"verify"}, w.flags...), args...)...)
}

// TestOldBundle: the JSON of cosign's old --bundle flag, found beside the file.
func TestOldBundle(t *testing.T) {
	w := newOldWorld(t, "")
	w.write("app.bundle", "bundle")
	for _, args := range [][]string{{"app"}, {"app.bundle"}, {"app", "--bundle", "app.bundle"}, {"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "--bundle", "app.bundle"}} {
		if status := w.verify(args...); status != exitOK || !strings.Contains(w.stdout.String(), "verified") {
			t.Errorf("%q: status %d: %s%s", args, status, &w.stdout, &w.stderr)
		}
	}
	if status := w.verify("other", "--bundle", "app.bundle"); status != exitNotVerified {
		t.Errorf("another file: status %d: %s", status, &w.stderr)
	}
	w.must("inspect", "app")
	if !strings.Contains(w.stdout.String(), "app has the digest that is claimed") {
		t.Errorf("inspect: %s", &w.stdout)
	}
}

// TestOldBundleByKey: the same, by a key.
func TestOldBundleByKey(t *testing.T) {
	w := newOldWorld(t, "")
	key := w.world.Key(sigbox.ECDSAP256SHA256)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	b := w.world.Sign([]byte("hello"), sigboxtest.Options{Kind: "hashedrekord 0.0.1", Key: key})
	w.files["keyed"], w.files["pub"] = string(sigboxtest.Legacy(b, der)), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	w.write("app.bundle", "keyed")
	w.write("key.pub", "pub")
	w.must("verify", "app", "--trusted-root", "root.json", "--key", "key.pub")
	w.must("verify", "app", "--insecure-ignore-tlog", "--key", "key.pub")
	if status := w.run("verify", "other", "--bundle", "app.bundle", "--insecure-ignore-tlog", "--key", "key.pub"); status != exitNotVerified {
		t.Errorf("another file: status %d", status)
	}
	w.files["sig"] = string(sigboxtest.LegacyFiles(b).Signature)
	w.write("app.sig", "sig")
	w.write("app.pem", "pem") // of something else
	if err := os.Remove("app.bundle"); err != nil {
		t.Fatal(err)
	}
	w.must("verify", "app", "--insecure-ignore-tlog", "--key", "key.pub")
	w.write("lone.sig", "sig")
	w.must("verify", "app", "--signature", "lone.sig", "--insecure-ignore-tlog", "--key", "key.pub")
	if status := w.run("verify", "app", "--signature", "lone.sig", "--trusted-root", "root.json", "--offline", "--key", "key.pub"); status != exitNotVerified {
		t.Errorf("without its log entry: status %d", status)
	}
}

// v1Log answers searches with an entry, or with none.
func v1Log(t *testing.T, entry *atomic.Pointer[sigbox.LogEntry]) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/log/entries/retrieve" {
			t.Errorf("asked for %s", r.URL)
		}
		answer := []any{}
		if le := entry.Load(); le != nil {
			answer = append(answer, map[string]any{strings.Repeat("0", 64): map[string]any{
				"body": base64.StdEncoding.EncodeToString(le.Body), "integratedTime": le.IntegratedTime,
				"logID": hex.EncodeToString(le.LogID), "logIndex": le.LogIndex,
				"verification": map[string]any{"signedEntryTimestamp": le.SignedEntryTimestamp},
			}})
		}
		if err := json.MarshalWrite(rw, answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestDetached: a signature and its certificate in files of their own. The log is
// asked for the entry, and what it answers is judged; offline nobody is asked.
func TestDetached(t *testing.T) {
	var entry atomic.Pointer[sigbox.LogEntry]
	server := v1Log(t, &entry)
	w := newOldWorld(t, server.URL)
	w.write("app.sig", "sig")
	w.write("app.pem", "pem")
	entry.Store(&w.signed.Entries[0])
	for _, args := range [][]string{{"app"}, {"app.sig"}, {"app.pem"}, {"app*"}, {"app", "--signature", "app.sig", "--certificate", "app.pem"}} {
		if status := w.verify(args...); status != exitOK || !strings.Contains(w.stdout.String(), "ada@example.com") {
			t.Errorf("%q: status %d: %s%s", args, status, &w.stdout, &w.stderr)
		}
	}
	w.env.stdin = strings.NewReader("hello")
	if status := w.verify("-", "--signature", "app.sig", "--certificate", "app.pem"); status != exitOK {
		t.Errorf("standard input: status %d: %s", status, &w.stderr)
	}
	if status := w.verify("sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "--signature", "app.sig", "--certificate", "app.pem"); status != exitOK {
		t.Errorf("digest: status %d: %s", status, &w.stderr)
	}
	if status := w.verify("other", "--signature", "app.sig", "--certificate", "app.pem"); status != exitNotVerified {
		t.Errorf("another file: status %d: %s", status, &w.stderr)
	}

	// The entry of another signature, from a log that lies.
	entry.Store(&w.world.Sign([]byte("hello"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"}).Entries[0])
	if status := w.verify("app"); status != exitNotVerified {
		t.Errorf("another's entry: status %d: %s", status, &w.stderr)
	}
	entry.Store(nil)
	if status := w.verify("app"); status != exitNotVerified || !strings.Contains(w.stderr.String(), "has no entry of this signature\n  next: a log of version 2 may have it") {
		t.Errorf("no entry: status %d: %s", status, &w.stderr)
	}
	alone := w.world.Root()
	alone.Logs = slices.DeleteFunc(alone.Logs, func(l sigbox.TransparencyLog) bool {
		return !bytes.Equal(l.LogID, sigbox.SHA256.Sum(l.PublicKey).Value)
	})
	alone.Logs[0].BaseURL = server.URL
	text, err := trust.AppendRoot(nil, alone)
	if err != nil {
		t.Fatal(err)
	}
	w.files["v1"] = string(text)
	w.write("v1.json", "v1")
	if status := w.run(append([]string{"verify", "app", "--trusted-root", "v1.json"}, w.flags[2:]...)...); status != exitNotVerified || !strings.Contains(w.stderr.String(), "has no entry of this signature") || strings.Contains(w.stderr.String(), "next:") {
		t.Errorf("no entry, and no other log: status %d: %s", status, &w.stderr)
	}
	server.Close()
	if status := w.verify("app"); status != exitUndecided {
		t.Errorf("no log: status %d: %s", status, &w.stderr)
	}
	if status := w.verify("app", "--offline"); status != exitNotVerified || !strings.Contains(w.stderr.String(), "next: the signature came without its log entry, which a log may have") {
		t.Errorf("offline: status %d: %s", status, &w.stderr)
	}
}

// TestDetachedFlags: what goes together.
func TestDetachedFlags(t *testing.T) {
	w := newOldWorld(t, "")
	w.write("app.sig", "sig")
	for _, args := range [][]string{
		{"--signature", "app.sig"}, {"--certificate", "app.pem"}, {"--rfc3161-timestamp", "x"},
		{"--signature", "app.sig", "--bundle", "b"}, {"--signature", "app.sig", "--certificate", "app.pem", "other"},
	} {
		if status := w.verify(append(args, "app")...); status != exitUsage {
			t.Errorf("%q: status %d: %s", args, status, &w.stderr)
		}
	}
	if status := w.verify("app", "--signature", "app.sig", "--certificate", "gone.pem"); status != exitUsage {
		t.Errorf("no certificate: status %d: %s", status, &w.stderr)
	}
}

// TestBadNeighbours: what else is beside a file does not harm its bundle.
func TestBadNeighbours(t *testing.T) {
	w := newOldWorld(t, "http://127.0.0.1:1")
	w.files["gpg"] = "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
	w.write("app.bundle", "bundle")
	w.write("app.sig", "gpg")
	if status := w.verify("app"); status != exitOK {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
	if err := os.Remove("app.bundle"); err != nil {
		t.Fatal(err)
	}
	if status := w.verify("app"); status != exitNotVerified || !strings.Contains(w.stderr.String(), "OpenPGP") {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
}

// TestDetachedOfInstance: the trust root names the log of an instance of one's own by
// what nobody can resolve; where it is, the instance's signing config says.
func TestDetachedOfInstance(t *testing.T) {
	a := apptest.Start(t)
	tree(t, map[string]string{"app": "hello", "ada.jwt": apptest.Token(t, a, "ada@example.com")})
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	writeOldServices(t, a)
	b.must("sign", "--instance", "box", "--identity-token", "ada.jwt", "--signing-config", "v1.json", "--bundle", "new.json", "app")
	bundles, err := readBundles("new.json")
	if err != nil {
		t.Fatal(err)
	}
	d := sigboxtest.LegacyFiles(bundles[0].Bundle)
	for name, content := range map[string][]byte{"app.sig": d.Signature, "app.pem": d.Certificate} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flags := []string{"verify", "app", "--certificate-identity", "ada@example.com", "--certificate-oidc-issuer", a.URL() + "/oidc"}
	b.must(append(flags, "--instance", "box")...)
	root := published(t, a, "trusted_root.json")
	if status := b.run(append(flags, "--trusted-root", root)...); status != exitNotVerified || !strings.Contains(b.stderr.String(), "nothing says where the logs") {
		t.Errorf("by the trust root alone: status %d: %s", status, &b.stderr)
	}
}

// published gives the file of a target of the instance's repository.
func published(t *testing.T, a *app.App, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(a.Data(), "tuf", "targets", "*."+name))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", name, files, err)
	}
	return files[0]
}

// writeOldServices writes v1.json, a signing config with the log of version 1 alone.
func writeOldServices(t *testing.T, a *app.App) {
	t.Helper()
	text, err := os.ReadFile(published(t, a, "signing_config.v0.2.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := trust.ParseSigningConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	config.Logs = slices.DeleteFunc(config.Logs, func(s sigbox.Service) bool { return s.MajorAPIVersion != logV1 })
	if text, err = trust.AppendSigningConfig(nil, config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("v1.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
}
