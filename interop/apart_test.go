package interop

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
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
// trust. Each is a process over TLS, and they ask each other for what they have.
type apart struct {
	dir, binary string
	certificate string
	flags       []string
	client      *http.Client
	hosts       map[string]*apartHost
}

// apartHost is one of its hosts, with its process at present.
type apartHost struct {
	roles, addr, data string
	cmd               *exec.Cmd
	log               bytes.Buffer // of all its processes
}

func (h *apartHost) url() string { return "https://" + h.addr }

// settings is the file that all hosts have.
func (x *apart) settings() string { return filepath.Join(x.dir, "settings.yaml") }

// run starts a host, for the first time or again.
func (x *apart) run(t *testing.T, name string) {
	t.Helper()
	h := x.hosts[name]
	h.cmd = exec.Command(x.binary, append([]string{"serve", "--data", h.data, "--config", x.settings(), "--listen", h.addr, "--only", h.roles}, x.flags...)...)
	// Each host's settings say which certificates the others have.
	h.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SSL_CERT_FILE=") })
	h.cmd.Stdout, h.cmd.Stderr = &h.log, &h.log
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x.wait(t, h.url()+"/healthz")
}

// start starts a host, and has it stopped when the test ends.
func (x *apart) start(t *testing.T, name, roles string) *apartHost {
	t.Helper()
	h := &apartHost{roles: roles, addr: freeAddr(t), data: filepath.Join(x.dir, name)}
	x.hosts[name] = h
	x.run(t, name)
	t.Cleanup(func() {
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		if err := h.cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, h.log.String())
		}
	})
	return h
}

// kill ends a host's process, at once and without a word, and starts another one.
func (x *apart) kill(t *testing.T, name string) {
	t.Helper()
	h := x.hosts[name]
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = h.cmd.Wait() // it was killed
	x.run(t, name)
}

// wait returns once a URL answers with 200.
func (x *apart) wait(t *testing.T, url string) {
	t.Helper()
	x.until(t, url+" answers with 200", func() bool {
		resp, err := x.client.Get(url)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// until returns once something is so.
func (x *apart) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 600 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("it never came that %s", what)
}

// introduce tells each host of the others, once and for all.
func (x *apart) introduce(t *testing.T) {
	t.Helper()
	settings := "hosts:\n"
	for _, h := range x.hosts {
		entry, err := os.ReadFile(filepath.Join(h.data, "host.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		settings += string(entry) + "  ca-file: " + x.certificate + "\n"
	}
	write(t, x.settings(), settings)
	x.until(t, "each host has heard of the others", func() bool {
		heard, err := filepath.Glob(filepath.Join(x.dir, "*", "parts", "*.json"))
		return err == nil && len(heard) == 6
	})
	for _, h := range x.hosts {
		x.wait(t, h.url()+"/readyz")
	}
}

// rotate has a host replace a key, without waiting for those who do not ask.
func (x *apart) rotate(t *testing.T, name, role string) {
	t.Helper()
	args := []string{"rotate", role, "--data", x.hosts[name].data}
	if role != "tuf" {
		args = append(args, "--switch-after", "0s")
	}
	if out, err := exec.Command(x.binary, args...).CombinedOutput(); err != nil {
		t.Fatalf("rotate %s: %v\n%s", role, err, out)
	}
}

// signs returns once the second key of a role signs.
func (x *apart) signs(t *testing.T, name, role string) {
	t.Helper()
	x.until(t, role+".2 signs", func() bool {
		out, err := exec.Command(x.binary, "rotate", "status", "--data", x.hosts[name].data).Output()
		return err == nil && slices.ContainsFunc(strings.Split(string(out), "\n"), func(line string) bool {
			fields := strings.Fields(line)
			return len(fields) > 1 && fields[0] == role+".2" && fields[1] == "signing"
		})
	})
}

// front is a proxy before authority and logs, for a client that is told of one URL.
func (x *apart) front(t *testing.T) string {
	t.Helper()
	at := func(name string) *url.URL { return &url.URL{Scheme: "https", Host: x.hosts[name].addr} }
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Transport: x.client.Transport, Rewrite: func(r *httputil.ProxyRequest) {
		to := at("ca")
		if strings.HasPrefix(r.In.URL.Path, "/api/v1/log") {
			to = at("logs")
		}
		r.SetURL(to)
	}})
	pair, err := tls.LoadX509KeyPair(x.certificate, filepath.Join(x.dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestHostsApart has every client sign with an instance on three hosts, and verify what
// every other one signed; before and after each host's keys were replaced, while the
// authority's was killed. No file is brought to any host but the settings.
func TestHostsApart(t *testing.T) {
	x := &apart{dir: t.TempDir(), binary: build(t), hosts: map[string]*apartHost{}}
	roots, flags := selfSigned(t, x.dir)
	x.certificate = filepath.Join(x.dir, "cert.pem")
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"} {
		t.Setenv(name, x.certificate)
	}
	x.flags = flags
	x.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(x.client.CloseIdleConnections)
	write(t, x.settings(), "")
	authority := x.start(t, "ca", "ca,oidc")
	x.start(t, "logs", "ctlog,log,log-v1")
	trust := x.start(t, "trust", "tsa,tuf")
	x.introduce(t)
	in := &instance{
		url: trust.url(), issuer: authority.url() + "/oidc", data: authority.data, binary: x.binary,
		rootFile: filepath.Join(trust.data, "root.json"), certificate: x.certificate,
	}
	r := &rotationRun{in: in, clients: clients(t, in), dir: t.TempDir()}
	for i, c := range r.clients {
		if rs, ok := c.(rsClient); ok {
			rs.front = x.front(t)
			r.clients[i] = rs
		}
		if err := r.clients[i].trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	r.point(t, "before")
	for _, k := range [][2]string{{"logs", "ctlog"}, {"logs", "rekor2"}, {"logs", "rekor1"}, {"ca", "ca"}, {"trust", "tsa"}, {"trust", "tuf"}} {
		x.rotate(t, k[0], k[1])
	}
	x.kill(t, "ca")
	x.kill(t, "logs")
	for _, k := range [][2]string{{"logs", "ctlog"}, {"logs", "rekor2"}, {"logs", "rekor1"}, {"ca", "ca"}, {"trust", "tsa"}, {"trust", "tuf"}} {
		x.signs(t, k[0], k[1])
	}
	x.wait(t, authority.url()+"/readyz")
	r.point(t, "after")
}
