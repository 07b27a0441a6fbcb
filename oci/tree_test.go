package oci_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/manifest"
)

// drawn gives a tree as lines, in an order of its own.
func drawn(n *oci.Node, at string) []string {
	line := fmt.Sprintf("%s/%s %.14s", at, n.Kind, n.Digest)
	if n.Tag != "" {
		line += " " + n.Tag[len("sha256-")+64:]
	}
	if n.Err != nil {
		line += " " + sigbox.KindOf(n.Err).String()
	}
	all := []string{line}
	for i, b := range slices.Concat(n.Images, n.Attached) {
		relation := "attached"
		if i < len(n.Images) {
			relation = "image"
		}
		all = append(all, drawn(b, at+" "+relation)...)
	}
	slices.Sort(all)
	return all
}

// TestTree: a registry and a directory show the same, with what is attached to what is
// attached; and all of it can be read.
func TestTree(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]func(*world){"API": nil, "tags": {withoutAPI}, "pages": {paging(1)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelease(t, options...)
			other := r.world.putBlob("app", []byte("other"))
			empty := r.world.putBlob("app", manifest.Empty())
			empty.MediaType = manifest.TypeEmpty
			subject, err := client().Describe(t.Context(), r.index)
			if err != nil {
				t.Fatal(err)
			}
			artifact := &manifest.Manifest{
				SchemaVersion: 2, MediaType: manifest.TypeImage, ArtifactType: "application/x-other", Config: &empty,
				Layers: []manifest.Descriptor{other}, Subject: &subject,
			}
			want := map[string]int{
				" image/": 2, " image attached/": 4, "bundle": 4, ".sig": 2, ".sbom": 1, " attached attached/bundle": 1, " attached/unknown kind": 0,
			}
			if r.world.referrer {
				r.world.putManifest("app", "", artifact)
				want[" attached/unknown kind"] = 1
			}
			c := client()
			tree, err := c.Tree(t.Context(), r.world.ref("app", ":v1"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Join(drawn(tree, ""), "\n")
			for what, n := range want {
				if got := strings.Count(lines, what); got != n {
					t.Errorf("%q: found %d, expected %d:\n%s", what, got, n, lines)
				}
			}
			if found := readAll(t, c, r.world.ref("app", ":v1"), tree); found != inRelease {
				t.Errorf("read %d attachments, expected %d", found, inRelease)
			}
			dir := oci.Layout{Dir: filepath.Join(t.TempDir(), "saved"), Name: "app"}
			if _, err := c.Copy(t.Context(), r.index, dir, nil); err != nil {
				t.Fatal(err)
			}
			saved, err := c.Tree(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(drawn(tree, ""), drawn(saved, "")); diff != "" {
				t.Error(diff)
			}
			if err := c.Compare(t.Context(), r.index, dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// readAll reads what is in a tree, and counts it.
func readAll(t *testing.T, c *oci.Client, ref oci.Reference, n *oci.Node) int {
	t.Helper()
	found := 0
	for _, b := range n.Attached {
		for a, err := range c.Contents(t.Context(), ref.At(n.Digest), b) {
			if err != nil || len(a.Content) == 0 || a.Kind != b.Kind {
				t.Errorf("%s: found %+v, %v", b.Digest, a, err)
			}
			found++
		}
	}
	for _, b := range slices.Concat(n.Images, n.Attached) {
		found += readAll(t, c, ref, b)
	}
	return found
}

// TestTreeOfWreck: what is lost or makes no sense does not hide the rest, and a registry
// that does not answer is no tree.
func TestTreeOfWreck(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 3)
	listed := w.listed["app@"+ref.Digest().String()]
	broken := w.putManifest("app", "", &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeImage, ArtifactType: listed[0].ArtifactType, Config: &listed[0], Layers: []manifest.Descriptor{},
	})
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/manifests/"+listed[0].Digest.String()):
			http.NotFound(rw, r)
		case strings.HasSuffix(r.URL.Path, "/manifests/"+listed[1].Digest.String()):
			_, _ = rw.Write([]byte("something else"))
		default:
			return false
		}
		return true
	}
	w.mu.Lock()
	w.listed["app@"+ref.Digest().String()] = append(listed, manifest.Descriptor{MediaType: manifest.TypeImage, Digest: broken.Digest(), Size: 1})
	w.mu.Unlock()
	c := client()
	tree, err := c.Tree(t.Context(), ref)
	if err != nil || len(tree.Attached) != 4 {
		t.Fatalf("found %+v, %v", tree, err)
	}
	want := []sigbox.Kind{sigbox.NotFound, sigbox.NotVerified, 0, sigbox.NotVerified}
	for i, n := range tree.Attached {
		for a, err := range c.Contents(t.Context(), ref, n) {
			if a == nil || (err == nil) != (want[i] == 0) || err != nil && sigbox.KindOf(err) != want[i] {
				t.Errorf("%d: found %+v, %v, expected %v", i, a, err, want[i])
			}
		}
	}
	for _, part := range []string{"/referrers/", ".sig", listed[2].Digest.String()} {
		w.before = failTimes(part, 1000, http.StatusForbidden)
		if tree, err := client().Tree(t.Context(), ref); sigbox.KindOf(err) != sigbox.Denied {
			t.Errorf("%s: found %+v, %v", part, tree, err)
		}
	}
	w.before = nil
	if _, err := client().Tree(t.Context(), w.ref("app", ":none")); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("found %v", err)
	}
}

// TestTreeOnce: what is listed twice is walked once.
func TestTreeOnce(t *testing.T) {
	t.Parallel()
	w, signers := newWorld(t), sigboxtest.New(t)
	image := w.putImage("app", "", "hello")
	if _, err := client().AttachBundle(t.Context(), image, signed(signers, image.Digest()), nil); err != nil {
		t.Fatal(err)
	}
	d, err := client().Describe(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	index := w.putManifest("app", "v1", &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: slices.Repeat([]manifest.Descriptor{d}, 1000),
	})
	w.log()
	tree, err := client().Tree(t.Context(), index)
	if err != nil || len(tree.Images) != 1000 || len(tree.Images[0].Attached) != 1 || tree.Images[999].Attached != nil || tree.Images[999].Manifest == nil {
		t.Fatalf("found %+v, %v", tree, err)
	}
	if n := len(w.log()); n > 20 {
		t.Errorf("%d requests", n)
	}
}

// TestCompare: what did not arrive is found.
func TestCompare(t *testing.T) {
	t.Parallel()
	r, w := newRelease(t), newWorld(t)
	to := w.ref("app", ":v1")
	if _, err := client().Copy(t.Context(), r.index, to, nil); err != nil {
		t.Fatal(err)
	}
	if err := client().Compare(t.Context(), r.index, to); err != nil {
		t.Fatal(err)
	}
	for what, before := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"a signature":   failTimes(".sig", 1, http.StatusNotFound),
		"an SBOM":       failTimes(r.images[1].Digest().Hex()+".sbom", 1, http.StatusNotFound),
		"a bundle":      failTimes("/manifests/"+r.nested.Digest().String(), 1, http.StatusNotFound),
		"all referrers": failTimes("/referrers/"+r.nested.Digest().String(), 1, http.StatusNotFound),
		"an image":      failTimes("/manifests/"+r.images[0].Digest().String(), 1, http.StatusNotFound),
	} {
		w.before = before
		if err := client().Compare(t.Context(), r.index, to); sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%s is missing: found %v", what, err)
		}
	}
	w.before = nil
	other := w.putImage("app", "v2", "another")
	if err := client().Compare(t.Context(), r.index, other); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("another image: found %v", err)
	}
}
