package interop

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// apart is an instance on three hosts: authority and provider; the logs; timestamps and
// trust. Each is a process over TLS, and they know of each other by files alone.
type apart struct {
	dir, binary string
	flags       []string
	client      *http.Client
}

// start starts a host and gives the others its part.
func (x *apart) start(t *testing.T, name, roles string) (url string) {
	t.Helper()
	addr, data := freeAddr(t), filepath.Join(x.dir, name)
	var log bytes.Buffer
	cmd := exec.Command(x.binary, append([]string{"serve", "--data", data, "--config", filepath.Join(x.dir, "settings.yaml"), "--listen", addr, "--only", roles}, x.flags...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log.String())
		}
	})
	x.wait(t, "https://"+addr+"/healthz")
	part, err := os.ReadFile(filepath.Join(data, "part.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(x.dir, name+".json"), string(part))
	return "https://" + addr
}

// wait returns once a URL answers with 200.
func (x *apart) wait(t *testing.T, url string) {
	t.Helper()
	for range 300 {
		resp, err := x.client.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s does not answer with 200", url)
}

// TestHostsApart has every client sign with an instance on three hosts, and verify what
// every other one signed.
func TestHostsApart(t *testing.T) {
	x := &apart{dir: t.TempDir(), binary: build(t)}
	roots, flags := selfSigned(t, x.dir)
	certificate := filepath.Join(x.dir, "cert.pem")
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"} {
		t.Setenv(name, certificate)
	}
	x.flags = flags
	x.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(x.client.CloseIdleConnections)
	names := []string{"ca", "logs", "trust"}
	write(t, filepath.Join(x.dir, "settings.yaml"), "parts: ["+filepath.Join(x.dir, strings.Join(names, ".json, "+x.dir+"/"))+".json]\n")
	authority := x.start(t, "ca", "ca,oidc")
	logs := x.start(t, "logs", "ctlog,log,log-v1")
	trust := x.start(t, "trust", "tsa,tuf")
	for _, url := range []string{authority, logs, trust} {
		x.wait(t, url+"/readyz")
	}
	in := &instance{
		url: trust, issuer: authority + "/oidc", data: filepath.Join(x.dir, "ca"), binary: x.binary,
		rootFile: filepath.Join(x.dir, "trust", "root.json"), certificate: certificate,
	}
	all := slices.DeleteFunc(clients(t, in), func(c client) bool {
		_, rs := c.(rsClient) // it is told of one URL, for the authority and the log
		return rs
	})
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	file := write(t, filepath.Join(x.dir, "file"), "signed by three hosts\n")
	var bundles []string
	for _, c := range all {
		bundle := filepath.Join(x.dir, c.name()+".sigstore.json")
		if err := c.sign(in, in.token(t), file, bundle); err != nil {
			t.Fatalf("%s does not sign: %v", c.name(), err)
		}
		bundles = append(bundles, bundle)
	}
	for _, c := range all {
		for _, bundle := range bundles {
			if err := c.verify(in, file, bundle, email, in.issuer); err != nil {
				t.Errorf("%s refuses %s: %v", c.name(), filepath.Base(bundle), err)
			}
		}
	}
}
