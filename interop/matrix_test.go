// Package interop has real, unmodified Sigstore clients sign and verify against
// a running sigbox: each verifies what every other one signed, and refuses it
// for a changed file, another identity and another issuer.
package interop

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/interop/worker"
)

var update = flag.Bool("update", false, "write the tables of this run into the documents")

const email = "alice@example.com"

// instance is a sigbox that serves.
type instance struct {
	url      string
	issuer   string
	data     string
	rootFile string
	binary   string
	// certificate is the file of the server's certificate, "" without TLS.
	certificate string
}

// token asks the running instance for an identity token.
func (in *instance) token(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(in.binary, "token", "--data", in.data, "--email", email).Output()
	if err != nil {
		t.Fatalf("sigbox token: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// targetFile reads a target of the instance's TUF repository, the newest of its name.
func (in *instance) targetFile(name string) ([]byte, error) {
	found, err := filepath.Glob(filepath.Join(in.data, "tuf", "targets", "*."+name))
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("there is no target %s: %v", name, err)
	}
	written := func(path string) time.Time {
		info, err := os.Stat(path)
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	return os.ReadFile(slices.MaxFunc(found, func(a, b string) int { return written(a).Compare(written(b)) }))
}

// build makes the command under test, or takes the one named by $SIGBOX.
func build(t *testing.T) string {
	if binary := os.Getenv("SIGBOX"); binary != "" {
		return binary
	}
	binary := filepath.Join(t.TempDir(), "sigbox")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/sigbox")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// handedOut are the addresses that freeAddr has given.
var handedOut sync.Map

// freeAddr gives an address of this machine where nothing listens, each one once: a port
// that was given back is soon the system's next choice.
func freeAddr(t *testing.T) string {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := listener.Addr().String()
		listener.Close()
		if _, given := handedOut.LoadOrStore(addr, true); !given {
			return addr
		}
	}
}

// serve starts an instance in an empty directory and ends it with the test.
func serve(t *testing.T) *instance { return serveWith(t, "http", http.DefaultClient) }

// serveWith is serve with further flags, and a client that is ready for them.
func serveWith(t *testing.T, scheme string, client *http.Client, flags ...string) *instance {
	return serveIn(t, scheme, client, freeAddr(t), filepath.Join(t.TempDir(), "data"), flags...)
}

// serveIn is serveWith at an address, in a directory.
func serveIn(t *testing.T, scheme string, client *http.Client, addr, data string, flags ...string) *instance {
	t.Helper()
	binary := build(t)
	in := &instance{url: scheme + "://" + addr, issuer: scheme + "://" + addr + "/oidc", data: data, binary: binary}
	in.rootFile = filepath.Join(in.data, "root.json")

	var log bytes.Buffer
	cmd := exec.Command(binary, append([]string{"serve", "--data", in.data, "--listen", addr}, flags...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-done; err != nil {
			t.Errorf("serve ended with %v", err)
		}
		if t.Failed() {
			t.Logf("serve said:\n%s", log.String())
		}
	})
	for range 300 {
		resp, err := client.Get(in.url + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return in
			}
		}
		select {
		case err := <-done:
			t.Fatalf("serve ended before it was ready: %v\n%s", err, log.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("serve was not ready in 30 s")
	return nil
}

// trustedTLS makes a certificate in a directory, cert.pem and key.pem, that all clients
// which are started afterwards trust.
func trustedTLS(t *testing.T, dir string) (roots *x509.CertPool, certificate string, flags []string) {
	t.Helper()
	roots, flags = selfSigned(t, dir)
	certificate = filepath.Join(dir, "cert.pem")
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"} {
		t.Setenv(name, certificate)
	}
	return roots, certificate, flags
}

// serveTLS is serve with further flags over TLS, by a certificate that all clients which are started
// afterwards trust.
func serveTLS(t *testing.T, flags ...string) *instance {
	t.Helper()
	roots, certificate, tlsFlags := trustedTLS(t, t.TempDir())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	in := serveWith(t, "https", client, append(tlsFlags, flags...)...)
	in.certificate = certificate
	return in
}

// trustStorePassword protects nothing: a trust store must have one.
const trustStorePassword = "changeit"

// trustStore writes a certificate in the form in which Java takes it.
func trustStore(t *testing.T, certificate string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trust.p12")
	cmd := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "instance", "-file", certificate, "-keystore", path, "-storetype", "PKCS12", "-storepass", trustStorePassword)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("keytool: %v\n%s", err, out)
	}
	return path
}

func clients(t *testing.T, in *instance) []client {
	home := func() string { return t.TempDir() }
	return []client{
		sigboxClient{binary: in.binary, home: home()},
		cosignClient{binary: tools(t, "bin", "cosign"), home: home()},
		goClient{binary: tools(t, "bin", "sigstorego"), home: home()},
		newJSClient(t, in),
		pythonClient{worker: worker.New(t, home(), nil, tools(t, "python", "bin", "python"), filepath.Join("python", "client.py"))},
		newJavaClient(t, in),
		rsClient{binary: tools(t, "bin", "sigstorers"), home: home()},
	}
}

// newJSClient puts the script to where npm installed the modules: they resolve from
// beside it.
func newJSClient(t *testing.T, in *instance) jsClient {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("js", "client.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	script := write(t, filepath.Join(tools(t, "js"), "client.mjs"), string(text))
	start := func(env ...string) *worker.Worker {
		home := t.TempDir()
		return worker.New(t, home, env, tools(t, "bin", "node"), script, in.url+"/tuf", in.rootFile, filepath.Join(home, "tuf"))
	}
	return jsClient{start(), start("REKOR_VERSION=1")}
}

func newJavaClient(t *testing.T, in *instance) javaClient {
	t.Helper()
	store := trustStore(t, in.certificate)
	classes := filepath.Join(tools(t, "java", "target"), "client.jar") + ":" + filepath.Join(tools(t, "java", "target", "lib"), "*")
	start := func(env ...string) *worker.Worker {
		home := t.TempDir()
		return worker.New(t, home, env, "java",
			"-XX:TieredStopAtLevel=1", // what runs for a moment gains nothing by being compiled well
			"-Djavax.net.ssl.trustStore="+store, "-Djavax.net.ssl.trustStorePassword="+trustStorePassword, "-Duser.home="+home,
			"-cp", classes, "Client", in.url+"/tuf", in.rootFile, filepath.Join(home, "tuf"))
	}
	return javaClient{start(), start("REKOR_VERSION=1")}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMatrix has every client sign with the log of Rekor v2 and with that of v1, and
// verify what every other one signed.
func TestMatrix(t *testing.T) {
	in := serveTLS(t)
	all := clients(t, in)
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	config := in.v1Config(t, filepath.Join(t.TempDir(), "signing_config.json"))
	results := make(map[[2]string][]string)
	for _, log := range []struct {
		version string
		as      func(client) client
		kind    string
	}{
		{"v2", func(c client) client { return c }, "hashedrekord 0.0.2"},
		{"v1", func(c client) client { return c.(v1Client).v1(config) }, "hashedrekord 0.0.1"},
	} {
		t.Run(log.version, func(t *testing.T) {
			m := newMatrix(t, in, all, log.version)
			m.signAll(log.as, log.kind)
			for _, cell := range m.judge() {
				results[cell] = append(results[cell], log.version)
			}
		})
	}
	checkTable(t, filepath.Join("..", "README.md"), "clients", table(all, results))
}

// matrix is what clients do with one log of an instance.
type matrix struct {
	*testing.T
	in      *instance
	clients []client
	version string            // the log's
	bundles map[string]string // by the names of those who signed
	file    string
	changed string
}

func newMatrix(t *testing.T, in *instance, all []client, version string) *matrix {
	dir := t.TempDir()
	return &matrix{
		T: t, in: in, clients: all, version: version, bundles: make(map[string]string),
		file:    write(t, filepath.Join(dir, "artifact"), "a release\n"),
		changed: write(t, filepath.Join(dir, "changed"), "a changed release\n"),
	}
}

// lacks says why a client does nothing with the matrix's log, "" if it does.
func (m *matrix) lacks(c client) string {
	if l, ok := c.(limited); ok {
		return l.lacks(m.version)
	}
	return ""
}

// signAll has each client that can, as what as makes of it, sign the file, and looks
// whether it did so with a log entry of the kind.
func (m *matrix) signAll(as func(client) client, kind string) {
	for _, c := range m.clients {
		if m.lacks(c) != "" {
			continue
		}
		bundle := filepath.Join(filepath.Dir(m.file), c.name()+".sigstore.json")
		if err := as(c).sign(m.in, m.in.token(m.T), m.file, bundle); err != nil {
			m.Fatalf("%s does not sign: %v", c.name(), err)
		}
		if found, promised := kindOf(m.T, bundle); found != kind || promised != (m.version == "v1") {
			m.Fatalf("%s logged a %s, with a promise: %v", c.name(), found, promised)
		}
		m.bundles[c.name()] = bundle
	}
}

// judge has each client verify each bundle, and refuse it for a changed file, another
// identity and another issuer. It gives the pairs of signer and verifier that did so.
// A client that can do nothing with the log refuses all, else its reason holds no more.
func (m *matrix) judge() (good [][2]string) {
	for signer, bundle := range m.bundles {
		for _, verifier := range m.clients {
			name := signer + " by " + verifier.name()
			if why := m.lacks(verifier); why != "" {
				if err := verifier.verify(m.in, m.file, bundle, email, m.in.issuer); !refused(err) {
					m.Errorf("%s: it is said that %s, and yet: %v", name, why, err)
				}
				continue
			}
			if m.Run(name, func(t *testing.T) { m.judgeOne(t, verifier, bundle) }) {
				good = append(good, [2]string{signer, verifier.name()})
			}
		}
	}
	return good
}

func (m *matrix) judgeOne(t *testing.T, verifier client, bundle string) {
	if err := verifier.verify(m.in, m.file, bundle, email, m.in.issuer); err != nil {
		t.Fatalf("is refused: %v", err)
	}
	for what, err := range map[string]error{
		"a changed file":   verifier.verify(m.in, m.changed, bundle, email, m.in.issuer),
		"another identity": verifier.verify(m.in, m.file, bundle, "mallory@example.com", m.in.issuer),
		"another issuer":   verifier.verify(m.in, m.file, bundle, email, "https://issuer.example.com"),
	} {
		if !refused(err) {
			t.Fatalf("with %s: want a refusal, got %v", what, err)
		}
	}
}

// table writes with which logs it went well, as README shows it.
func table(all []client, results map[[2]string][]string) string {
	versions := map[string]string{"cosign": " 3.1.3", "sigstore-go": " 1.3.0", "sigstore-js": " 5.0.1 (signs with @sigstore/sign 5.1.0)", "sigstore-python": " 4.5.1", "sigstore-java": " 2.0.0", "sigstore-rs": " 0.15.0"}
	var b strings.Builder
	b.WriteString("| signed by ↓, verified by → |")
	for _, c := range all {
		fmt.Fprintf(&b, " %s |", c.name())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, signer := range all {
		fmt.Fprintf(&b, "| %s%s |", signer.name(), versions[signer.name()])
		for _, verifier := range all {
			fmt.Fprintf(&b, " %s |", mark(results[[2]string{signer.name(), verifier.name()}], "v2", "v1"))
		}
		b.WriteString("\n")
	}
	for _, c := range all {
		if l, ok := c.(limited); ok {
			fmt.Fprintf(&b, "\n%s: %s.\n", c.name(), l.lacks("v2"))
		}
	}
	return b.String()
}

// mark is what a cell says of what went well, of all that can.
func mark(good []string, all ...string) string {
	switch {
	case slices.Equal(good, all):
		return "✓"
	case len(good) == 0:
		return "✗"
	}
	return strings.Join(good, ", ")
}

// checkTable holds the table of a name in a document to what was seen.
func checkTable(t *testing.T, document, name, got string) {
	t.Helper()
	begin, end := "<!-- interop: "+name+" -->\n", "<!-- interop: end -->"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no table between %q and %q", document, begin, end)
	}
	if *update {
		write(t, document, before+begin+got+end+after)
		return
	}
	if old != got {
		t.Errorf("the table of %s is not what this run saw; -update writes it:\n%s", document, got)
	}
}
