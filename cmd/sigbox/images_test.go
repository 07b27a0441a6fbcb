package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/trust"
)

// startRegistry starts a registry, with the referrers API, and gives its address.
func startRegistry(t testing.TB, before func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before == nil || !before(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// pushImage puts an image there, and gives it by digest.
func pushImage(t testing.TB, to string) oci.Reference {
	t.Helper()
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	return pinned(t, to, image)
}

// pushIndex puts an index of three images there.
func pushIndex(t testing.TB, to string) oci.Reference {
	t.Helper()
	index, err := random.Index(100, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	return pinned(t, to, index)
}

func pinned(t testing.TB, to string, image interface{ Digest() (v1.Hash, error) }) oci.Reference {
	t.Helper()
	h, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ref, err := oci.ParseReference(to + "@" + h.String())
	if err != nil {
		t.Fatal(err)
	}
	return ref.At(ref.Digest())
}

// imageWorld is a registry, and somebody who signs images.
type imageWorld struct {
	*sigboxtest.World
	*bench
	registry string
	client   *oci.Client
	trust    []string // flags
}

func newImageWorld(t *testing.T, before func(w http.ResponseWriter, r *http.Request) bool) *imageWorld {
	t.Helper()
	w := &imageWorld{World: sigboxtest.New(t), bench: newBench(t), registry: startRegistry(t, before), client: oci.New(oci.Config{Settle: time.Millisecond})}
	root, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	id := sigboxtest.DefaultIdentity()
	w.trust = []string{"--trusted-root", w.file("root.json", string(root)), "--certificate-identity", id.Subject, "--certificate-oidc-issuer", id.Issuer}
	return w
}

// attach signs an image's statement and attaches the bundle.
func (w *imageWorld) attach(ref oci.Reference, statement []byte, o sigboxtest.Options) {
	w.Helper()
	b, err := bundle.Append(nil, w.Attest(statement, o))
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.client.AttachBundle(w.Context(), ref, b, nil); err != nil {
		w.Fatal(err)
	}
}

func (w *imageWorld) sign(ref oci.Reference) {
	w.Helper()
	w.attach(ref, cosign.AppendStatement(nil, ref.Digest(), nil), sigboxtest.Options{})
}

// verify runs the verb, and gives its exit status.
func (w *imageWorld) verify(args ...string) int {
	w.Helper()
	return w.run(append(append([]string{"verify"}, w.trust...), args...)...)
}

// TestVerifyImage: what makes an image verified, and what does not.
func TestVerifyImage(t *testing.T) {
	w := newImageWorld(t, nil)
	other := pushImage(t, w.registry+"/acme/other:v1")
	attestation := func(ref oci.Reference) []byte {
		s := string(cosign.AppendStatement(nil, ref.Digest(), nil))
		return []byte(strings.Replace(s, sigbox.CosignSignPredicateType, "https://slsa.dev/provenance/v1", 1))
	}
	for name, c := range map[string]struct {
		sign   func(ref oci.Reference)
		args   []string
		status int
		want   string
	}{
		"signed":   {func(ref oci.Reference) { w.sign(ref) }, nil, exitOK, "verified"},
		"unsigned": {func(oci.Reference) {}, nil, exitNotVerified, "the registry has no signature of it"},
		"by somebody else": {func(ref oci.Reference) {
			w.attach(ref, cosign.AppendStatement(nil, ref.Digest(), nil), sigboxtest.Options{Identity: sigbox.Identity{Kind: sigbox.EmailSAN, Subject: "eve@example.com", Issuer: "https://issuer.example"}})
		}, nil, exitNotVerified, "eve@example.com"},
		"of another image": {func(ref oci.Reference) {
			w.attach(ref, cosign.AppendStatement(nil, other.Digest(), nil), sigboxtest.Options{})
		}, nil, exitNotVerified, "none of the statement's 1 subjects"},
		"an attestation alone": {func(ref oci.Reference) { w.attach(ref, attestation(ref), sigboxtest.Options{}) }, nil, exitNotVerified, "https://slsa.dev/provenance/v1"},
		"the attestation":      {func(ref oci.Reference) { w.attach(ref, attestation(ref), sigboxtest.Options{}) }, []string{"--type", "slsaprovenance1"}, exitOK, "verified"},
		"no such attestation":  {func(ref oci.Reference) { w.sign(ref) }, []string{"--type", "slsaprovenance1"}, exitNotVerified, "predicate"},
		"one of three": {func(ref oci.Reference) {
			w.attach(ref, attestation(ref), sigboxtest.Options{})
			w.attach(ref, cosign.AppendStatement(nil, other.Digest(), nil), sigboxtest.Options{})
			w.sign(ref)
		}, nil, exitOK, "verified"},
		"as cosign did before": {func(ref oci.Reference) { w.signLegacy(ref, ref.Digest()) }, nil, exitOK, "digest"},
		"cosign's of another":  {func(ref oci.Reference) { w.signLegacy(ref, other.Digest()) }, nil, exitNotVerified, "another"},
		"a bad bundle before": {func(ref oci.Reference) {
			w.signLegacy(ref, ref.Digest())
			w.attach(ref, cosign.AppendStatement(nil, other.Digest(), nil), sigboxtest.Options{})
		}, nil, exitOK, "verified"},
	} {
		t.Run(name, func(t *testing.T) {
			tag := w.registry + "/acme/" + strings.NewReplacer(" ", "-", "'", "").Replace(name) + ":v1"
			ref := pushImage(t, tag)
			c.sign(ref)
			for _, by := range []string{tag, ref.String(), dockerScheme + tag} {
				status := w.verify(append(c.args, by)...)
				if text := w.stdout.String() + w.stderr.String(); status != c.status || !strings.Contains(text, c.want) {
					t.Errorf("%s: status %d, expected %d and %q:\n%s", by, status, c.status, c.want, text)
				}
				if c.status == exitOK && !strings.Contains(w.stdout.String(), ref.Digest().String()) {
					t.Errorf("%s: no %s in %s", by, ref.Digest(), &w.stdout)
				}
			}
		})
	}
}

// signLegacy signs as cosign did before, and puts that beside an image.
func (w *imageWorld) signLegacy(at oci.Reference, about sigbox.Digest) {
	w.Helper()
	w.signLegacyAs(at, about, sigboxtest.DefaultIdentity())
}

// signLegacyAs is signLegacy by somebody.
func (w *imageWorld) signLegacyAs(at oci.Reference, about sigbox.Digest, who sigbox.Identity) {
	w.Helper()
	content := cosign.AppendPayload(nil, &cosign.Payload{Reference: at.Repository(), Digest: about})
	b := w.World.Sign(content, sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 1, Identity: who})
	if err := w.client.AttachLegacy(w.Context(), at.At(about), oci.Signature, "", content, cosign.Annotations(b)); err != nil {
		w.Fatal(err)
	}
	if !about.Equal(at.Digest()) {
		w.retag(at, "sha256-"+about.Hex()+".sig", "sha256-"+at.Digest().Hex()+".sig")
	}
}

// retag has another tag say what one says.
func (w *imageWorld) retag(at oci.Reference, from, to string) {
	w.Helper()
	tag, err := name.NewTag(at.Tagged(from).String())
	if err != nil {
		w.Fatal(err)
	}
	there, err := remote.Get(tag)
	if err != nil {
		w.Fatal(err)
	}
	if err := remote.Tag(tag.Tag(to), there); err != nil {
		w.Fatal(err)
	}
}

// TestRepositoryOfSignatures: with COSIGN_REPOSITORY signatures are elsewhere.
func TestRepositoryOfSignatures(t *testing.T) {
	w := newImageWorld(t, nil)
	tag := w.registry + "/acme/app:v1"
	ref := pushImage(t, tag)
	elsewhere, err := oci.ParseReference(w.registry + "/acme/signatures")
	if err != nil {
		t.Fatal(err)
	}
	w.client = oci.New(oci.Config{Repository: elsewhere})
	w.sign(ref)
	if status := w.verify(tag); status != exitNotVerified {
		t.Errorf("beside the image: status %d: %s", status, &w.stderr)
	}
	w.vars[repositoryVariable] = elsewhere.Repository()
	if status := w.verify(tag); status != exitOK {
		t.Errorf("where they are: status %d: %s", status, &w.stderr)
	}
	dir, promoted := t.TempDir(), w.registry+"/acme/copy:v1"
	for _, args := range [][]string{{"clean", "--yes", tag}, {"load", dir, tag}} {
		if status, text := w.status(args...); status != exitUsage || !strings.Contains(text, elsewhere.Repository()) {
			t.Errorf("%q: status %d: %s", args, status, text)
		}
	}
	for _, args := range [][]string{{"tree", tag}, {"copy", tag, promoted}, {"save", tag, dir}} {
		if status, text := w.status(args...); status != exitOK || !strings.Contains(text, elsewhere.Repository()) {
			t.Errorf("%q: status %d: %s", args, status, text)
		}
	}
	if status, text := w.status("tree", tag); status != exitOK || !strings.Contains(text, "bundle sha256:") {
		t.Errorf("tree: status %d: %s", status, text)
	}
	if status, text := w.status("download", tag); status != exitOK {
		t.Errorf("download: status %d: %s", status, text)
	}
	delete(w.vars, repositoryVariable)
	loaded := w.registry + "/acme/loaded:v1"
	if status, text := w.status("load", dir, loaded); status != exitOK {
		t.Errorf("load: status %d: %s", status, text)
	}
	for _, at := range []string{promoted, loaded} {
		if status := w.verify(at); status != exitOK {
			t.Errorf("%s: status %d: %s", at, status, &w.stderr)
		}
	}
	w.vars[repositoryVariable] = "NO SUCH"
	if status := w.verify(tag); status != exitUsage || !strings.Contains(w.stderr.String(), repositoryVariable) {
		t.Errorf("nonsense: status %d: %s", status, &w.stderr)
	}
}

// TestVerifyIndex: with --recursive each image of an index needs a signature.
func TestVerifyIndex(t *testing.T) {
	w := newImageWorld(t, nil)
	tag := w.registry + "/acme/app:v1"
	ref := pushIndex(t, tag)
	w.sign(ref)
	if status := w.verify(tag); status != exitOK {
		t.Fatalf("the index itself: status %d: %s", status, &w.stderr)
	}
	if status := w.verify("--recursive", tag); status != exitNotVerified || !strings.Contains(w.stderr.String(), "1 of 4 ") {
		t.Errorf("its images are not signed: status %d: %s%s", status, &w.stdout, &w.stderr)
	}
	below, err := w.client.Images(t.Context(), ref)
	if err != nil || len(below) != 4 {
		t.Fatalf("images: %v, %v", below, err)
	}
	for _, d := range below[1:] {
		w.sign(ref.At(d.Digest))
	}
	if status := w.verify("--recursive", tag); status != exitOK {
		t.Errorf("all are signed: status %d: %s%s", status, &w.stdout, &w.stderr)
	}
}

// word is a text that a test shares with its registry: a request may be under way when
// the command that has sent it ends. The zero word is "".
type word struct{ text atomic.Pointer[string] }

func (w *word) set(text string) { w.text.Store(&text) }

// in reports whether there is a word and it is a part of path.
func (w *word) in(path string) bool {
	text := w.text.Load()
	return text != nil && *text != "" && strings.Contains(path, *text)
}

// TestRegistryFails: a registry that does not answer is no reason to call an image
// unsigned, and one that has lost an image is.
func TestRegistryFails(t *testing.T) {
	var refuse word
	w := newImageWorld(t, func(rw http.ResponseWriter, r *http.Request) bool {
		if !refuse.in(r.URL.Path) {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		return true
	})
	tag := w.registry + "/acme/app:v1"
	ref := pushImage(t, tag)
	for _, part := range []string{"/referrers/", ".sig", "/manifests/v1"} {
		refuse.set(part)
		if status := w.verify(tag); status != exitUndecided {
			t.Errorf("%s is refused: status %d: %s", part, status, &w.stderr)
		}
	}
	refuse.set(".sig")
	w.sign(ref)
	if status := w.verify(tag); status != exitOK {
		t.Errorf("the bundle is there: status %d: %s", status, &w.stderr)
	}
	refuse.set("")
	if status := w.verify(w.registry + "/acme/none:v1"); status == exitOK {
		t.Error("an image that is not there was verified")
	}
}

// TestNoRegistry: what is no answer of a registry's says nothing of signatures.
func TestNoRegistry(t *testing.T) {
	var page word
	w := newImageWorld(t, func(rw http.ResponseWriter, r *http.Request) bool {
		if !page.in(r.URL.Path) {
			return false
		}
		_, _ = io.WriteString(rw, "<html>please log in</html>")
		return true
	})
	tag := w.registry + "/acme/app:v1"
	ref := pushImage(t, tag)
	for part, image := range map[string]string{"/referrers/": ref.String(), ".sig": ref.String(), "/v2/": tag} {
		page.set(part)
		if status := w.verify(image); status != exitUndecided {
			t.Errorf("%s: status %d: %s", part, status, &w.stderr)
		}
	}
	page.set("/v2/")
	if status := w.verify("--recursive", tag); status != exitUndecided {
		t.Errorf("an index: status %d: %s", status, &w.stderr)
	}
	for part, images := range map[string][]string{"/referrers/": {tag, ref.String()}, ".sig": {tag, ref.String()}, "/manifests/v1": {tag}, "/v2/": {tag, ref.String()}} {
		page.set(part)
		for _, image := range images {
			for _, args := range [][]string{{"tree"}, {"inspect"}, {"download"}, {"download", "--recursive"}, {"clean", "--yes"}, {"copy"}, {"save"}} {
				switch args = append(args, image); args[0] {
				case "copy":
					args = append(args, w.registry+"/acme/copy:v1")
				case "save":
					args = append(args, t.TempDir())
				}
				if status, text := w.status(args...); status != exitUndecided {
					t.Errorf("%s: %q: status %d: %s", part, args, status, text)
				}
			}
		}
	}
}

// TestSignersOfImage: several signers count together, whatever the form that each of them
// signed in, and each once.
func TestSignersOfImage(t *testing.T) {
	w := newImageWorld(t, nil)
	ada, grace := sigboxtest.DefaultIdentity(), sigbox.Identity{Kind: sigbox.EmailSAN, Subject: "grace@example.com", Issuer: "https://issuer.example"}
	policy := "threshold: 2\nidentities:\n"
	for _, id := range []sigbox.Identity{ada, grace} {
		policy += "  - subject: " + id.Subject + "\n    issuer: " + id.Issuer + "\n"
	}
	args := []string{"verify", "--trusted-root", w.trust[1], "--policy", w.file("two.yaml", policy)}
	other := pushImage(t, w.registry+"/acme/other:v1")
	statement := func(ref oci.Reference) []byte { return cosign.AppendStatement(nil, ref.Digest(), nil) }
	for name, c := range map[string]struct {
		sign   func(ref oci.Reference)
		status int
		want   string
	}{
		"both in bundles": {func(ref oci.Reference) {
			w.sign(ref)
			w.attach(ref, statement(ref), sigboxtest.Options{Identity: grace})
		}, exitOK, "grace@example.com"},
		"a bundle and a payload": {func(ref oci.Reference) {
			w.sign(ref)
			w.signLegacyAs(ref, ref.Digest(), grace)
		}, exitOK, "grace@example.com"},
		"two payloads": {func(ref oci.Reference) {
			w.signLegacyAs(ref, ref.Digest(), grace)
			w.signLegacyAs(ref.Tagged("v1").At(ref.Digest()), ref.Digest(), ada)
		}, exitOK, "grace@example.com"},
		"one in both forms": {func(ref oci.Reference) {
			w.sign(ref)
			w.signLegacyAs(ref, ref.Digest(), ada)
		}, exitNotVerified, "lacking  grace@example.com"},
		"a payload that names another image": {func(ref oci.Reference) {
			w.sign(ref)
			w.signLegacyAs(ref, other.Digest(), grace)
		}, exitNotVerified, "lacking  grace@example.com"},
		"an attestation": {func(ref oci.Reference) {
			w.sign(ref)
			w.attach(ref, []byte(strings.Replace(string(statement(ref)), sigbox.CosignSignPredicateType, "https://slsa.dev/provenance/v1", 1)), sigboxtest.Options{Identity: grace})
		}, exitNotVerified, "lacking  grace@example.com"},
		"nobody": {func(oci.Reference) {}, exitNotVerified, "no signature of it"},
		"strangers": {func(ref oci.Reference) {
			w.attach(ref, statement(ref), sigboxtest.Options{Identity: sigbox.Identity{Kind: sigbox.EmailSAN, Subject: "eve@example.com", Issuer: "https://issuer.example"}})
		}, exitNotVerified, "eve@example.com"},
	} {
		ref := pushImage(t, w.registry+"/acme/"+strings.ReplaceAll(name, " ", "-")+":v1")
		c.sign(ref)
		if status, text := w.status(append(args, ref.String())...); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: status %d: %s", name, status, text)
		}
	}
}

// TestImageOf: what is an image, and what a file.
func TestImageOf(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, file := range []string{"app:v1", "dist.d"} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("registry.example/acme", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("registry.example/acme/app:v1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"alpine:3.20":                    "index.docker.io/library/alpine:3.20",
		"acme/app:v1":                    "index.docker.io/acme/app:v1",
		"docker://alpine":                "index.docker.io/library/alpine:latest",
		"docker://app:v1":                "index.docker.io/library/app:v1",
		"ghcr.io/acme/app":               "ghcr.io/acme/app:latest",
		"localhost/app":                  "localhost/app:latest",
		"localhost:5000/app:v1":          "localhost:5000/app:v1",
		"registry.example/acme/app:v2":   "registry.example/acme/app:v2",
		"app:v1":                         "", // there is such a file
		"./registry.example/acme/app:v1": "",
		"dist.d":                         "",
		"alpine":                         "",
		"acme/app":                       "",
		"dist/app.tar.gz":                "",
		"/tmp/app:v1":                    "",
		"../ghcr.io/acme/app:v1":         "",
		"registry.example/Acme/app":      "",
		"*.tar:v1":                       "",
		"registry.example/*.tar:v1":      "",
	} {
		ref, ok, err := imageOf(arg)
		if err != nil || ok != (want != "") || ok && ref.String() != want {
			t.Errorf("%s: found %s, %v, %v, expected %q", arg, ref, ok, err, want)
		}
	}
	for _, arg := range []string{"registry.example/acme/app:v1", "docker://UPPER", "docker://", "registry.example/Acme/app:v1", "registry.example/app@sha256:12"} {
		if _, ok, err := imageOf(arg); ok || exitStatus(err) != exitUsage {
			t.Errorf("%s: found %v, %v", arg, ok, err)
		}
	}
}

func push(t testing.TB, args []string) {
	t.Helper()
	if args[0] == "-index" {
		pushIndex(t, args[1])
		return
	}
	pushImage(t, args[0])
}
