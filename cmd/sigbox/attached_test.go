package main

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
)

// attachAll gives an image one of each: a bundle, a signature, an attestation and an SBOM
// of the form before.
func (w *imageWorld) attachAll(ref oci.Reference) {
	w.Helper()
	w.client = oci.New(oci.Config{Settle: time.Millisecond})
	w.sign(ref)
	w.signLegacy(ref, ref.Digest())
	b := w.Attest(cosign.AppendStatement(nil, ref.Digest(), nil), sigboxtest.Options{Kind: "intoto 0.0.2"})
	if err := w.client.AttachLegacy(w.Context(), ref, oci.Attestation, "", sigboxtest.LegacyFiles(b).Signature, cosign.Annotations(b)); err != nil {
		w.Fatal(err)
	}
	if err := w.client.AttachLegacy(w.Context(), ref, oci.SBOM, "text/spdx+json", []byte("{}"), nil); err != nil {
		w.Fatal(err)
	}
}

// status runs a verb and gives its exit status with all that it printed.
func (w *imageWorld) status(args ...string) (int, string) {
	w.Helper()
	status := w.run(args...)
	return status, w.stdout.String() + w.stderr.String()
}

// TestTreeShows: every form, and claims that would write on the terminal.
func TestTreeShows(t *testing.T) {
	w := newImageWorld(t, nil)
	ref := pushImage(t, w.registry+"/acme/app:v1")
	w.attachAll(ref)
	status, text := w.status("tree", ref.String())
	for _, want := range []string{
		"├─ bundle sha256:", "├─ signature sha256:", "├─ attestation sha256:", "└─ SBOM sha256:",
		".sig)\n", ".att)\n", ".sbom)\n", "text/spdx+json, 2 bytes, signed by nobody", sigboxtest.DefaultIdentity().Subject,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if status != exitOK {
		t.Errorf("status %d", status)
	}
	odd := strings.Replace(string(cosign.AppendStatement(nil, ref.Digest(), nil)), sigbox.CosignSignPredicateType, `https://example.com/\u001b]0;owned\u0007\u202e`, 1)
	w.attach(ref, []byte(odd), sigboxtest.Options{})
	if _, text := w.status("tree", ref.String()); strings.ContainsAny(text, "\x1b\a\u202e") || !strings.Contains(text, "owned") {
		t.Errorf("found %q", text)
	}
}

// TestTreeFaults: a registry that does not answer is undecided, and what makes no sense is
// shown as such.
func TestTreeFaults(t *testing.T) {
	var refuse word
	w := newImageWorld(t, func(rw http.ResponseWriter, r *http.Request) bool {
		if !refuse.in(r.URL.Path) {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		return true
	})
	ref := pushImage(t, w.registry+"/acme/app:v1")
	w.attachAll(ref)
	for _, part := range []string{"/referrers/", ".sig", "/blobs/"} {
		refuse.set(part)
		for _, verb := range []string{"tree", "inspect", "download"} {
			if status, text := w.status(verb, w.registry+"/acme/app:v1"); status != exitUndecided && (verb != "download" || part != "/blobs/") {
				t.Errorf("%s, %s is refused: status %d: %s", verb, part, status, text)
			}
		}
	}
	refuse.set("")
	if err := w.client.AttachLegacy(t.Context(), ref, oci.Signature, "", payloadAbout(ref), map[string]string{cosign.AnnotationSignature: "!"}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"tree", "inspect"} {
		if status, text := w.status(verb, ref.String()); status != exitOK || !strings.Contains(strings.ToLower(text), "problem") {
			t.Errorf("%s of a broken signature: status %d: %s", verb, status, text)
		}
	}
}

func payloadAbout(ref oci.Reference) []byte {
	return cosign.AppendPayload(nil, &cosign.Payload{Reference: ref.Repository(), Digest: ref.Digest()})
}

// TestDownloadVerifies: what is written verifies without a registry, each by what it is
// about; and what cannot be written is told.
func TestDownloadVerifies(t *testing.T) {
	w := newImageWorld(t, nil)
	ref := pushImage(t, w.registry+"/acme/app:v1")
	w.attachAll(ref)
	dir := filepath.Join(t.TempDir(), "files")
	if status, text := w.status("download", "--dir", dir, ref.String()); status != exitOK {
		t.Fatalf("status %d: %s", status, text)
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != 4 { // with the payload
		t.Fatalf("found %q, %v", files, err)
	}
	for _, f := range files {
		args := []string{"--offline", "--bundle", f, ref.Digest().String()}
		switch {
		case strings.HasSuffix(f, ".payload.json"):
			args = []string{"--offline", f}
		case strings.Contains(f, ".payload.json"):
			continue
		}
		if status := w.verify(args...); status != exitOK {
			t.Errorf("%s: status %d: %s%s", f, status, &w.stdout, &w.stderr)
		}
	}
	if status, text := w.status("download", ref.String()); status != exitOK || strings.Count(w.stdout.String(), "\n") != 2 || !strings.Contains(text, "Left out: 1 signature") {
		t.Errorf("status %d: %s", status, text)
	}
	if err := w.client.AttachLegacy(t.Context(), ref, oci.Signature, "", payloadAbout(ref), map[string]string{cosign.AnnotationSignature: "c2ln"}); err != nil {
		t.Fatal(err)
	}
	if status, text := w.status("download", ref.String()); status == exitOK && !strings.Contains(text, "Left out: 2") {
		t.Errorf("a signature without a log: status %d: %s", status, text)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if status, text := w.status("download", "--dir", files[1], ref.String()); status == exitOK {
		t.Errorf("into a file: %s", text)
	}
}

// TestCleanTypes: --type takes what it names, and other things stay.
func TestCleanTypes(t *testing.T) {
	w := newImageWorld(t, nil)
	for _, c := range []struct {
		types []string
		kinds []string
	}{
		{[]string{"bundle"}, []string{"bundle"}},
		{[]string{"signature", "sbom"}, []string{"sbom", "signature"}},
		{[]string{"attestation"}, []string{"attestation"}},
		{nil, []string{"attestation", "bundle", "sbom", "signature"}},
		{[]string{"all"}, []string{"attestation", "bundle", "sbom", "signature"}},
	} {
		tag := w.registry + "/acme/" + strings.Join(append(c.types, "app"), "-") + ":v1"
		ref := pushImage(t, tag)
		w.attachAll(ref)
		args := []string{"clean", "--yes", "-o", "json", tag}
		for _, typ := range c.types {
			args = append(args, "--type", typ)
		}
		if status, text := w.status(args...); status != exitOK {
			t.Fatalf("status %d: %s", status, text)
		}
		var report cleanReport
		if err := json.Unmarshal(w.stdout.Bytes(), &report); err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, r := range report.Removed {
			kinds = append(kinds, r.Kind)
		}
		slices.Sort(kinds)
		if !slices.Equal(kinds, c.kinds) {
			t.Errorf("%q: removed %q, expected %q", c.types, kinds, c.kinds)
		}
		left := 0
		for _, err := range oci.New(oci.Config{}).Attachments(t.Context(), ref, oci.Query{Kinds: []oci.Kind{oci.Bundle, oci.Signature, oci.Attestation, oci.SBOM}}) {
			if err != nil {
				t.Error(err)
			}
			left++
		}
		if left != 4-len(c.kinds) {
			t.Errorf("%q: %d are left", c.types, left)
		}
	}
}

// TestCleanRefused: a registry that deletes nothing is told of, and keeps its bundles.
func TestCleanRefused(t *testing.T) {
	code := http.StatusMethodNotAllowed
	w := newImageWorld(t, func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete {
			return false
		}
		rw.WriteHeader(code)
		return true
	})
	ref := pushImage(t, w.registry+"/acme/app:v1")
	w.sign(ref)
	for c, want := range map[int]int{http.StatusMethodNotAllowed: exitNotVerified, http.StatusForbidden: exitNotVerified} {
		code = c
		for _, more := range [][]string{nil, {"-o", "json"}} {
			if status, text := w.status(append([]string{"clean", "--yes", ref.String()}, more...)...); status != want || !strings.Contains(text, "deleting ") {
				t.Errorf("%d: status %d: %s", c, status, text)
			}
		}
	}
	if status := w.verify(ref.String()); status != exitOK {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
}

// TestCopyFaults: what breaks off says how far it came, leaves no tag, and goes on.
func TestCopyFaults(t *testing.T) {
	var refuse word
	w := newImageWorld(t, func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !refuse.in(r.URL.Path) {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		return true
	})
	from, to := w.registry+"/staging/app:v1", w.registry+"/released/app:v1"
	w.attachAll(pushImage(t, from))
	for _, part := range []string{"/manifests/sha256:", ".sig", "/manifests/v1"} {
		refuse.set(part)
		if status, text := w.status("copy", from, to); status != exitUndecided || !strings.Contains(text, from+" to "+to) || w.stdout.Len() > 0 {
			t.Errorf("%s is refused: status %d: %s", part, status, text)
		}
		if status, text := w.status("tree", to); status != exitUndecided {
			t.Errorf("%s was refused, and there is a tag: %s", part, text)
		}
	}
	refuse.set("")
	if status, text := w.status("copy", from, to); status != exitOK {
		t.Errorf("status %d: %s", status, text)
	}
	if status := w.verify(to); status != exitOK {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
}

// TestCleanLetsBe: under a tag may stand anything, another image as well: what refers to
// it stays. So does what an index lists, though it refers to another of its images.
func TestCleanLetsBe(t *testing.T) {
	node := func(name string, kind oci.Kind, tag string, attached ...*oci.Node) *oci.Node {
		n := &oci.Node{Kind: kind, Tag: tag, Attached: attached}
		n.Digest = sigbox.SHA256.Sum([]byte(name))
		return n
	}
	sibling := node("attestation of the index", 0, "")
	root := node("index", 0, "",
		node("own", oci.Bundle, "", node("of own", oci.Bundle, "")),
		node("another image", oci.Signature, "sha256-x.sig", node("of another image", oci.Bundle, "")))
	root.Images = []*oci.Node{node("image", 0, "", sibling, node("of image", oci.Bundle, "")), sibling}
	f := &cleanFlags{types: []string{allTypes}, registry: registryFlags{recursive: true}}
	got := map[string]bool{}
	for _, c := range f.find(root, imagesOf(root, nil), nil) {
		got[c.Digest] = true
	}
	for name, want := range map[string]bool{
		"own": true, "of own": true, "of image": true, "another image": true, // of the last one its layers, and the tag
		"of another image": false, "attestation of the index": false, "image": false, "index": false,
	} {
		if d := sigbox.SHA256.Sum([]byte(name)).String(); got[d] != want {
			t.Errorf("%s: to be removed is %t", name, got[d])
		}
	}
}

// TestCleanNouns: entries of lists are not taken for manifests.
func TestCleanNouns(t *testing.T) {
	bundle, entry := cleaning{cleanedJSON: cleanedJSON{Kind: "bundle"}}, cleaning{cleanedJSON: cleanedJSON{Kind: entryKind}}
	for want, all := range map[string][]cleaning{
		"0 manifests":                        nil,
		"2 manifests":                        {bundle, bundle},
		"1 entry of a list":                  {entry},
		"1 manifest and 2 entries of a list": {entry, bundle, entry},
	} {
		if got := nounsOf(all); got != want {
			t.Errorf("found %q, expected %q", got, want)
		}
	}
}

// TestSignParallel: many images are signed at once, and no more of large attestations than
// memory lets.
func TestSignParallel(t *testing.T) {
	ref, err := oci.ParseReference("registry.example/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	images, files := []artifact{{image: ref}}, []artifact{{image: ref}, {path: "file"}}
	for _, c := range []struct {
		found     []artifact
		predicate int // -1: none
		least     int
		most      int
	}{
		{images, -1, signImagesParallel, signImagesParallel},
		{images, 2, signImagesParallel, signImagesParallel},
		{files, -1, signParallel, signParallel},
		{images, 8 << 20, 2, 16},
		{files, 8 << 20, 2, 16},
		{images, 1 << 30, 1, 1},
	} {
		r := &signRun{found: found{artifacts: c.found}}
		if c.predicate >= 0 {
			r.flags.attestation = &attestation{predicate: make([]byte, c.predicate)}
		}
		if n := r.parallel(); n < c.least || n > c.most {
			t.Errorf("%d artifacts, predicate of %d bytes: %d at once", len(c.found), c.predicate, n)
		}
	}
}

// TestSignRefused: a repository that takes no signatures keeps no other from being signed,
// and nothing more is signed for it; what a service fails at ends all.
func TestSignRefused(t *testing.T) {
	image := func(name string) artifact {
		ref, err := oci.ParseReference(name)
		if err != nil {
			t.Fatal(err)
		}
		return artifact{image: ref}
	}
	r, denied := &signRun{}, sigbox.Errorf(sigbox.Denied, "no")
	if err := r.note(image("one.example/app:v1"), signedJSON{}, attached(denied)); err != nil {
		t.Errorf("it ends all: %v", err)
	}
	if _, err := r.one(t.Context(), image("one.example/app:v2")); sigbox.KindOf(err) != sigbox.Denied || err.Error() != denied.Error() {
		t.Errorf("the same repository: %v", err)
	}
	for _, a := range []artifact{image("two.example/app:v1"), image("one.example/other:v1"), {path: "file"}} {
		if err := r.refusedBy(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if err := r.note(image("one.example/app:v1"), signedJSON{}, denied); err == nil || len(r.failed) != 2 {
		t.Errorf("a service's failure: %v, %d failed", err, len(r.failed))
	}
}
