// Package interop has real, unmodified Sigstore clients sign and verify against
// a running sigbox: each verifies what every other one signed, and refuses it
// for a changed file, another identity and another issuer.
package interop

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the table of this run into the README")

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
	binary := build(t)
	dir := t.TempDir()
	addr := freeAddr(t)
	in := &instance{url: scheme + "://" + addr, issuer: scheme + "://" + addr + "/oidc", data: filepath.Join(dir, "data"), binary: binary}
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

// serveTLS is serve over TLS, by a certificate that all clients which are started
// afterwards trust.
func serveTLS(t *testing.T) *instance {
	t.Helper()
	dir := t.TempDir()
	roots, flags := selfSigned(t, dir)
	certificate := filepath.Join(dir, "cert.pem")
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"} {
		t.Setenv(name, certificate)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(client.CloseIdleConnections)
	in := serveWith(t, "https", client, flags...)
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
	script, err := filepath.Abs("js/client.mjs")
	if err != nil {
		t.Fatal(err)
	}
	// Modules resolve from beside the script, so it runs from where npm
	// installed them.
	installed := filepath.Join(tools(t, "js"), "client.mjs")
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(installed, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return []client{
		sigboxClient{binary: in.binary, home: home()},
		cosignClient{binary: tools(t, "bin", "cosign"), home: home()},
		goClient{binary: tools(t, "bin", "sigstorego"), home: home()},
		jsClient{node: tools(t, "bin", "node"), script: installed, home: home()},
		pythonClient{binary: tools(t, "python", "bin", "sigstore"), home: home()},
		javaClient{classes: filepath.Join(tools(t, "java", "target"), "client.jar") + ":" + filepath.Join(tools(t, "java", "target", "lib"), "*"), trustStore: trustStore(t, in.certificate), home: home()},
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMatrix(t *testing.T) {
	in := serveTLS(t)
	all := clients(t, in)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifact"), "a release\n")
	changed := write(t, filepath.Join(dir, "changed"), "a changed release\n")
	bundles := signAll(t, in, all, file, func(c client) client { return c })
	checkTable(t, table(all, judge(t, in, all, bundles, file, changed)))
}

// signAll has each client trust the instance and sign a file, as what as makes of it,
// and gives the bundles by the clients' names. They are beside the file.
func signAll(t *testing.T, in *instance, all []client, file string, as func(client) client) map[string]string {
	t.Helper()
	bundles := make(map[string]string)
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
		bundle := filepath.Join(filepath.Dir(file), c.name()+".sigstore.json")
		if err := as(c).sign(in, in.token(t), file, bundle); err != nil {
			t.Fatalf("%s does not sign: %v", c.name(), err)
		}
		bundles[c.name()] = bundle
	}
	return bundles
}

// judge has each client verify each bundle, by its signer's name, and refuse it for
// a changed file, another identity and another issuer.
func judge(t *testing.T, in *instance, all []client, bundles map[string]string, file, changed string) map[[2]string]string {
	results := make(map[[2]string]string)
	for _, signer := range all {
		for _, verifier := range all {
			t.Run(signer.name()+" by "+verifier.name(), func(t *testing.T) {
				results[[2]string{signer.name(), verifier.name()}] = "✗"
				bundle := bundles[signer.name()]
				if err := verifier.verify(in, file, bundle, email, in.issuer); err != nil {
					t.Fatalf("is refused: %v", err)
				}
				for what, err := range map[string]error{
					"a changed file":   verifier.verify(in, changed, bundle, email, in.issuer),
					"another identity": verifier.verify(in, file, bundle, "mallory@example.com", in.issuer),
					"another issuer":   verifier.verify(in, file, bundle, email, "https://issuer.example.com"),
				} {
					if !refused(err) {
						t.Fatalf("with %s: want a refusal, got %v", what, err)
					}
				}
				results[[2]string{signer.name(), verifier.name()}] = "✓"
			})
		}
	}
	return results
}

// table writes the results as README shows them.
func table(all []client, results map[[2]string]string) string {
	versions := map[string]string{"cosign": " 3.1.3", "sigstore-go": " 1.3.0", "sigstore-js": " 5.0.1 (signs with @sigstore/sign 5.1.0)", "sigstore-python": " 4.5.1", "sigstore-java": " 2.0.0"}
	var b strings.Builder
	b.WriteString("| signed by ↓, verified by → |")
	for _, c := range all {
		fmt.Fprintf(&b, " %s |", c.name())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	for _, signer := range all {
		fmt.Fprintf(&b, "| %s%s |", signer.name(), versions[signer.name()])
		for _, verifier := range all {
			fmt.Fprintf(&b, " %s |", results[[2]string{signer.name(), verifier.name()}])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// checkTable holds README's table to what was seen.
func checkTable(t *testing.T, got string) {
	const begin, end = "<!-- interop: begin -->\n", "<!-- interop: end -->"
	readme := filepath.Join("..", "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no table between %q and %q", begin, end)
	}
	if *update {
		write(t, readme, before+begin+got+end+after)
		return
	}
	if old != got {
		t.Errorf("README.md's table is not what this run saw; -update writes it:\n%s", got)
	}
}
