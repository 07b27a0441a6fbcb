package oci_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// standIn puts what ref names under the tag that stands for the referrers API, as
// "cosign copy" does with all that it copies.
func (w *world) standIn(t *testing.T, ref oci.Reference) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.serve(rec, httptest.NewRequest(http.MethodGet, "/v2/app/manifests/"+ref.Digest().String(), nil))
	w.put("/v2/app/manifests/sha256-"+ref.Digest().Hex(), rec.Header().Get("Content-Type"), rec.Body.Bytes())
}

// TestImageUnderItsTag: where the image itself stands under the tag of its referrers, no
// referrers are listed. It verifies by cosign's tags, shows, is copied, and what is
// signed then is listed beside it.
func TestImageUnderItsTag(t *testing.T) {
	t.Parallel()
	r, signers := newRelease(t, withoutAPI), sigboxtest.New(t)
	w := r.world
	for _, ref := range slices.Concat(r.images, []oci.Reference{r.index}) {
		w.standIn(t, ref)
	}
	for i, want := range []int{1, 0, 1} { // the second image has no signature but a bundle
		ref := slices.Concat(r.images, []oci.Reference{r.index})[i]
		got := all(t, client(), ref, oci.Query{})
		if len(got) != want || want == 1 && got[0].Kind != oci.Signature {
			t.Errorf("%s: found %+v", ref, got)
		}
	}
	if tree := mustTree(t, r.index); len(tree.Images) != 2 || len(tree.Attached) != 1 {
		t.Errorf("found %q", drawn(tree, ""))
	}
	for _, ref := range slices.Concat(r.images, []oci.Reference{r.index}) {
		attachBundle(t, signers, ref)
		attachBundle(t, signers, ref)
		if got := all(t, client(), ref, oci.Query{Kinds: []oci.Kind{oci.Bundle}}); len(got) != 2 {
			t.Errorf("%s: found %d bundles of 2", ref, len(got))
		}
	}
	for _, n := range mustTree(t, r.index).Attached {
		if n.Err != nil {
			t.Errorf("%s: %v", n.Digest, n.Err)
		}
	}
	to := newWorld(t, withoutAPI)
	if _, err := client().Copy(t.Context(), r.index, to.ref("app", ":v1"), nil); err != nil {
		t.Error(err)
	}
	if err := client().Compare(t.Context(), r.index, to.ref("app", ":v1")); err != nil {
		t.Error(err)
	}
	// What stood under the tag is still referred to: no registry collects it.
	rec := httptest.NewRecorder()
	w.serve(rec, httptest.NewRequest(http.MethodGet, "/v2/app/manifests/sha256-"+r.images[0].Digest().Hex(), nil))
	m, err := manifest.Parse(rec.Body.Bytes())
	if err != nil || !m.IsIndex() || len(m.Manifests) != 3 || !m.Manifests[0].Digest.Equal(r.images[0].Digest()) {
		t.Errorf("found %s, %v", rec.Body, err)
	}
}

// TestCopyLeavesOut: what is listed for an image and does not refer to it does not keep
// the image from being copied, nor is it copied.
func TestCopyLeavesOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withoutAPI)
	signers := sigboxtest.New(t)
	one, two := w.putImage("app", "v1", "one"), w.putImage("app", "v2", "two")
	own, other := attachBundle(t, signers, one), attachBundle(t, signers, two)
	image, err := client().Describe(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	image.ArtifactType = bundle.MediaTypeV03
	w.putManifest("app", "sha256-"+one.Digest().Hex(), &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: []manifest.Descriptor{other, image, own},
	})
	for name, place := range map[string]oci.Place{"registry": newWorld(t, withoutAPI).ref("app", ":v1"), "directory": oci.Layout{Dir: t.TempDir()}} {
		done, err := client().Copy(t.Context(), one, place, nil)
		if err != nil || done.Manifests != 2 || done.Attached != 1 || done.LeftOut != 2 {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		if err := client().Compare(t.Context(), one, place); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := client().Tree(t.Context(), place)
		if err != nil || len(got.Attached) != 1 || !got.Attached[0].Digest.Equal(own.Digest) {
			t.Errorf("%s: found %+v, %v", name, got, err)
		}
	}
	// One that cannot be read may have been a signature.
	w.before = failTimes("/manifests/"+other.Digest.String(), 1, http.StatusNotFound)
	if _, err := client().Copy(t.Context(), one, newWorld(t).ref("app", ":v1"), nil); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("found %v", err)
	}
}

// TestCopyUnderTags: of signatures that two put under a tag of cosign's at the same time,
// one of them by a copy, none is lost.
func TestCopyUnderTags(t *testing.T) {
	t.Parallel()
	w, to := newWorld(t), newWorld(t)
	signers := sigboxtest.New(t)
	image := w.putImage("app", "v1", "one")
	target := to.putImage("app", "v1", "one")
	payload := payloadOf(image.Digest())
	sign := func(c *oci.Client, ref oci.Reference) {
		b := signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
		if err := c.AttachLegacy(t.Context(), ref, oci.Signature, "", payload, cosign.Annotations(b)); err != nil {
			t.Error(err)
		}
	}
	sign(client(), image)
	// The other one is there between the copy's looking and its writing.
	first := true
	to.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if first && r.Method == http.MethodPut && r.URL.Path == "/v2/app/manifests/sha256-"+image.Digest().Hex()+".sig" {
			first = false
			before := to.before
			to.before = nil
			sign(client(), target)
			to.before = before
			if r.Header.Get("If-None-Match") == "*" {
				rw.WriteHeader(http.StatusPreconditionFailed)
				return true
			}
		}
		return false
	}
	if _, err := client().Copy(t.Context(), image, to.ref("app", ":v1"), nil); err != nil {
		t.Fatal(err)
	}
	if got := all(t, client(), target, oci.Query{Kinds: []oci.Kind{oci.Signature}}); len(got) != 2 {
		t.Errorf("found %d signatures of 2", len(got))
	}
}

// TestTagsAreTriedAgain: a registry that fails for the moment when a tag is written, as the
// last of a copy, is asked again.
func TestTagsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"/manifests/v1", ".sig"} {
		r, to := newRelease(t), newWorld(t)
		fail := failTimes(suffix, 2, http.StatusServiceUnavailable)
		to.before = func(rw http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, suffix) && fail(rw, r)
		}
		if _, err := client().Copy(t.Context(), r.index, to.ref("app", ":v1"), nil); err != nil {
			t.Errorf("%s: %v", suffix, err)
		}
		to.before = nil
		if err := client().Compare(t.Context(), r.index, to.ref("app", ":v1")); err != nil {
			t.Errorf("%s: %v", suffix, err)
		}
	}
}
