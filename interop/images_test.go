package interop

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestImages has cosign and sigbox sign and attest images and indexes in registries
// with the referrers API and without, each judge what the other one signed, and
// refuse it for another identity and for another image.
func TestImages(t *testing.T) {
	in := serve(t)
	ours := sigboxClient{binary: in.binary, home: t.TempDir()}
	theirs := cosignClient{binary: tools(t, "bin", "cosign"), home: t.TempDir()}
	for _, c := range []client{ours, theirs} {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	for name, start := range map[string]func(t *testing.T) string{
		"ggcr with the referrers API":    func(t *testing.T) string { return memoryRegistry(t, true) },
		"ggcr without":                   func(t *testing.T) string { return memoryRegistry(t, false) },
		"distribution 3, which has none": distribution,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			(&imageRun{t, in, ours, theirs, start(t)}).all()
		})
	}
}

// imageRun is one registry's.
type imageRun struct {
	*testing.T
	in       *instance
	ours     sigboxClient
	theirs   cosignClient
	registry string
}

func (r *imageRun) all() {
	who := []string{"--certificate-identity", email, "--certificate-oidc-issuer", r.in.issuer}
	stranger := []string{"--certificate-identity", "eve@example.com", "--certificate-oidc-issuer", r.in.issuer}
	here := []string{"--instance", "here"}
	token := func() []string { return []string{"--identity-token", r.in.token(r.T)} }
	predicate := write(r.T, filepath.Join(r.TempDir(), "predicate.json"),
		`{"buildDefinition":{"buildType":"https://example.com/build","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.com/builder"}}}`)
	provenance := []string{"--type", "slsaprovenance1"}

	for what, sign := range map[string]func(image string) error{
		"sigbox": func(image string) error { return r.ours.run(join("sign", here, token(), image)...) },
		"cosign": func(image string) error { return r.theirs.run(join("sign", "--yes", token(), image)...) },
		"cosign as before": func(image string) error {
			return r.theirs.run(join("sign", "--yes", "--new-bundle-format=false", "--use-signing-config=false", "--fulcio-url", r.in.url, "--rekor-url", r.in.url, token(), image)...)
		},
	} {
		image := r.push(strings.ReplaceAll(what, " ", "-"))
		r.must(what+" signs", sign(image))
		r.must("sigbox: signed by "+what, r.ours.run(join("verify", here, who, image)...))
		r.refused("sigbox: signed by somebody else", r.ours.run(join("verify", here, stranger, image)...))
		r.refused("sigbox: a signature is no provenance", r.ours.run(join("verify", here, who, provenance, image)...))
		r.must("cosign: signed by "+what, r.theirs.run(join("verify", who, image)...))
		r.refused("cosign: signed by somebody else", r.theirs.run(join("verify", stranger, image)...))
		r.promote(what, image, here, who)
	}
	for what, attest := range map[string]func(image string) error{
		"sigbox": func(image string) error {
			return r.ours.run(join("attest", here, token(), "--predicate", predicate, provenance, image)...)
		},
		"cosign": func(image string) error {
			return r.theirs.run(join("attest", "--yes", token(), "--predicate", predicate, provenance, image)...)
		},
	} {
		image := r.push("attested-by-" + what)
		r.must(what+" attests", attest(image))
		r.must("sigbox: attested by "+what, r.ours.run(join("verify", here, who, provenance, image)...))
		r.refused("sigbox: an attestation is no signature", r.ours.run(join("verify", here, who, image)...))
		r.must("cosign: attested by "+what, r.theirs.run(join("verify-attestation", who, provenance, image)...))
	}
	unsigned := r.push("unsigned")
	r.refused("sigbox: nobody signed", r.ours.run(join("verify", here, who, unsigned)...))
}

// promote copies a signed image to another repository and tag, where both find it as
// good as before, also by way of a directory.
func (r *imageRun) promote(what, image string, here, who []string) {
	to := r.registry + "/promoted/" + strings.ReplaceAll(what, " ", "-") + ":v1"
	r.must("sigbox copies", r.ours.run("copy", image, to))
	dir := filepath.Join(r.TempDir(), "layout")
	r.must("sigbox saves", r.ours.run("save", image, dir))
	loaded := r.registry + "/loaded/" + strings.ReplaceAll(what, " ", "-") + ":v1"
	r.must("sigbox loads", r.ours.run("load", dir, loaded))
	for _, at := range []string{to, loaded} {
		r.must("sigbox: "+at, r.ours.run(join("verify", here, who, at)...))
		r.must("cosign: "+at, r.theirs.run(join("verify", who, at)...))
	}
}

func (r *imageRun) must(what string, err error) {
	r.Helper()
	if err != nil {
		r.Errorf("%s: %v", what, err)
	}
}

func (r *imageRun) refused(what string, err error) {
	r.Helper()
	if !refused(err) {
		r.Errorf("%s: expected it to be refused, found %v", what, err)
	}
}

// push makes an image of its own.
func (r *imageRun) push(repository string) string {
	r.Helper()
	to := r.registry + "/acme/" + repository + ":v1"
	image, err := random.Image(1000, 2)
	if err != nil {
		r.Fatal(err)
	}
	tag, err := name.NewTag(to)
	if err != nil {
		r.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		r.Fatal(err)
	}
	return to
}

// join makes one list of texts and lists of them.
func join(parts ...any) []string {
	var out []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p)
		case []string:
			out = append(out, p...)
		}
	}
	return out
}

func memoryRegistry(t *testing.T, referrers bool) string {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// distribution starts the registry that most others are made from.
func distribution(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %s}\nlog: {level: error}\n", dir, addr))
	cmd := exec.Command(tools(t, "bin", "registry"), "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to
	})
	for range 300 {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return addr
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the registry was not ready in 30 s")
	return ""
}
