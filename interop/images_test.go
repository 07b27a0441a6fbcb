package interop

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cosign"
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
		"distribution 3, which has none": func(t *testing.T) string { return distribution(t, "registry") },
		"distribution 2.8 of Debian":     func(t *testing.T) string { return distribution(t, "docker-registry") },
		"ociregistry, which has it":      ociregistry,
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

	legacy := "--new-bundle-format=false"
	for what, sign := range map[string]func(image string) error{
		"sigbox as before": func(image string) error {
			return r.ours.run(join("sign", here, legacy, "-a", "by=us", token(), image)...)
		},
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
		if what == "sigbox as before" {
			r.must("cosign as before: signed by "+what, r.theirs.run(join("verify", legacy, "-a", "by=us", who, image)...))
			r.refused("cosign as before: other annotations", r.theirs.run(join("verify", legacy, "-a", "by=them", who, image)...))
		}
		r.promote(what, image, here, who)
	}
	for what, attest := range map[string]func(image string) error{
		"sigbox": func(image string) error {
			return r.ours.run(join("attest", here, token(), "--predicate", predicate, provenance, image)...)
		},
		"sigbox as before": func(image string) error {
			return r.ours.run(join("attest", here, legacy, token(), "--predicate", predicate, provenance, image)...)
		},
		"cosign": func(image string) error {
			return r.theirs.run(join("attest", "--yes", token(), "--predicate", predicate, provenance, image)...)
		},
	} {
		image := r.push("attested-by-" + strings.ReplaceAll(what, " ", "-"))
		r.must(what+" attests", attest(image))
		r.must("sigbox: attested by "+what, r.ours.run(join("verify", here, who, provenance, image)...))
		r.refused("sigbox: an attestation is no signature", r.ours.run(join("verify", here, who, image)...))
		r.must("cosign: attested by "+what, r.theirs.run(join("verify-attestation", who, provenance, image)...))
	}
	r.carriers(here, who, token)
	r.copiedByCosign(here, who, token)
	r.library(here, who, token)
	r.together(here, token)
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

// carriers have others copy what sigbox has signed: oras a bundle as a referrer, crane
// the tags of cosign's form of before.
func (r *imageRun) carriers(here, who []string, token func() []string) {
	oras, crane := tools(r.T, "bin", "oras"), tools(r.T, "bin", "crane")
	image := r.push("carried")
	r.must("sigbox signs", r.ours.run(join("sign", here, token(), image)...))
	found, err := output(r.TempDir(), oras, "discover", image)
	if strings.Count(found, "sha256:") != 1 || err != nil {
		r.Errorf("oras found %q, %v, expected one bundle", found, err)
	}
	to := r.registry + "/by-oras/carried:v1"
	r.must("oras copies", command(r.TempDir(), nil, oras, "copy-recursive", image, to))
	r.must("sigbox: copied by oras", r.ours.run(join("verify", here, who, to)...))
	r.must("cosign: copied by oras", r.theirs.run(join("verify", who, to)...))

	r.must("sigbox signs as before", r.ours.run(join("sign", here, "--new-bundle-format=false", token(), image)...))
	name := func(image string) string { return strings.TrimSuffix(image, ":v1") }
	to = r.registry + "/by-crane/carried:v1"
	r.must("crane copies", command(r.TempDir(), nil, crane, "copy", image, to))
	r.refused("sigbox: copied without signatures", r.ours.run(join("verify", here, who, to)...))
	r.must("crane copies all tags", command(r.TempDir(), nil, crane, "copy", "--all-tags", name(image), name(to)))
	r.must("sigbox: copied by crane", r.ours.run(join("verify", here, who, to)...))
}

// together has several sign and attest an image at the same time, each a process of its
// own: nothing is lost.
func (r *imageRun) together(here []string, token func() []string) {
	const each = 4
	legacy := "--new-bundle-format=false"
	image := r.push("together")
	predicate := write(r.T, filepath.Join(r.TempDir(), "predicate.json"), `{}`)
	attest := []string{"attest", "--predicate", predicate, "--type", "custom"}
	var all sync.WaitGroup
	for range each {
		for _, verb := range [][]string{{"sign"}, attest, {"sign", legacy}, append(attest, legacy)} {
			args := join(verb, here, token(), image)
			all.Go(func() { r.must("signing together", r.ours.run(args...)) })
		}
	}
	all.Wait()
	dir := filepath.Join(r.TempDir(), "all")
	r.must("sigbox downloads", r.ours.run("download", "--dir", dir, image))
	for pattern, want := range map[string]int{"*.sigstore.json": 2 * each, "*.payload.json": each, "*": 5 * each} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) != want {
			r.Errorf("%s: found %d files, %v, expected %d", pattern, len(files), err, want)
		}
	}
}

// copiedByCosign has cosign copy what sigbox has signed in its form of before: it puts the
// image itself under the tag where its referrers belong. What is signed there then counts.
func (r *imageRun) copiedByCosign(here, who []string, token func() []string) {
	image, to := r.push("copied-by-cosign"), r.registry+"/by-cosign/copied:v1"
	r.must("sigbox signs as before", r.ours.run(join("sign", here, "--new-bundle-format=false", token(), image)...))
	r.must("cosign copies", r.theirs.run("copy", image, to))
	r.must("sigbox: copied by cosign", r.ours.run(join("verify", here, who, to)...))
	r.must("sigbox signs what cosign copied", r.ours.run(join("sign", here, token(), to)...))
	r.must("cosign signs it too", r.theirs.run(join("sign", "--yes", token(), to)...))
	r.must("sigbox: signed there", r.ours.run(join("verify", here, who, to)...))
	r.must("cosign: signed there", r.theirs.run(join("verify", who, to)...))
	r.promote("copied by cosign", to, here, who)
}

// library has sigstore-go verify a bundle that refers to an image, as its example does,
// and sigbox one that sigstore-go made and oras attached.
func (r *imageRun) library(here, who []string, token func() []string) {
	const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	theirs := goClient{binary: tools(r.T, "bin", "sigstorego"), home: r.TempDir()}
	r.must("sigstore-go trusts", theirs.trust(r.in))
	oras, crane, dir := tools(r.T, "bin", "oras"), tools(r.T, "bin", "crane"), r.TempDir()
	image := r.push("library")
	r.must("sigbox signs", r.ours.run(join("sign", here, token(), image)...))
	bundle := filepath.Join(dir, "bundle.json")
	r.must("oras pulls", command(dir, nil, oras, "pull", image, bundleType, bundle))
	text, err := output(dir, crane, "manifest", image)
	r.must("crane reads", err)
	manifest := write(r.T, filepath.Join(dir, "manifest.json"), text)
	r.must("sigstore-go: signed by sigbox", theirs.verify(r.in, manifest, bundle, email, r.in.issuer))
	other := write(r.T, filepath.Join(dir, "other.json"), text+"\n")
	if theirs.verify(r.in, other, bundle, email, r.in.issuer) == nil {
		r.Error("sigstore-go: another image was taken")
	}

	image = r.push("of-the-library")
	text, err = output(dir, crane, "digest", image)
	r.must("crane digests", err)
	digest, err := sigbox.ParseDigest(strings.TrimSpace(text))
	if err != nil {
		r.Fatal(err)
	}
	statement := write(r.T, filepath.Join(dir, "statement.json"), string(cosign.AppendStatement(nil, digest, nil)))
	r.must("sigstore-go signs", theirs.attest(r.in, r.in.token(r.T), statement, bundle))
	r.must("oras attaches", command(dir, nil, oras, "attach", image, bundleType, bundle))
	r.must("sigbox: signed by sigstore-go", r.ours.run(join("verify", here, who, image)...))
}

// output is command with what the program prints.
func output(home, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return string(out), nil
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

// ociregistry starts CUE's.
func ociregistry(t *testing.T) string {
	cmd := exec.Command(tools(t, "bin", "ociregistry"), "127.0.0.1:0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was told to
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// distribution starts the registry that most others are made from, by the name that
// its program has.
func distribution(t *testing.T, program string) string {
	for range 5 {
		if addr, ok := tryDistribution(t, program); ok {
			return addr
		}
	}
	t.Fatal("the registry did not start on any of five ports")
	return ""
}

// tryDistribution starts a registry on a port that was free, and reports whether it is
// this registry that has the port now: it says its directory in each answer.
func tryDistribution(t *testing.T, program string) (addr string, ok bool) {
	addr, dir := freeAddr(t), t.TempDir()
	config := write(t, filepath.Join(dir, "config.yml"), fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %s, headers: {X-Directory: [%q]}}\nlog: {level: error}\n", filepath.Join(dir, "data"), addr, dir))
	cmd := exec.Command(tools(t, "bin", program), "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it was told to, or could not have the port
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	for range 300 {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return addr, resp.Header.Get("X-Directory") == dir
		}
		select {
		case <-ended:
			return "", false
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("the registry was not ready in 30 s")
	return "", false
}
