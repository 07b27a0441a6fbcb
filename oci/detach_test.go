package oci_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// attachedTo gives what is attached to an image.
func attachedTo(t *testing.T, ref oci.Reference) []*oci.Node {
	t.Helper()
	tree, err := client().Tree(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Attached
}

func detach(ctx context.Context, c *oci.Client, ref oci.Reference, nodes ...*oci.Node) error {
	return errors.Join(c.Detach(ctx, ref, nodes...)...)
}

// TestDetach: each part goes alone, and again is no error; where nothing is left there is
// no tag of cosign's.
func TestDetach(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]func(*world){"API": nil, "tags": {withoutAPI}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelease(t, options...)
			c := client()
			for _, ref := range append(slices.Clone(r.images), r.nested, r.index) {
				all := attachedTo(t, ref)
				for i, n := range all {
					for range 2 {
						if err := detach(t.Context(), c, ref, n); err != nil {
							t.Fatal(err)
						}
					}
					if left := attachedTo(t, ref); len(left) != len(all)-i-1 {
						t.Errorf("%s: %d are left of %d", n.Digest, len(left), len(all))
					}
					if n.Tag == "" {
						continue
					}
					if _, err := client().Describe(t.Context(), ref.Tagged(n.Tag)); sigbox.KindOf(err) != sigbox.NotFound {
						t.Errorf("%s: found %v", n.Tag, err)
					}
				}
			}
			if got := r.digests(t, r.index); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
			if _, err := client().Tree(t.Context(), r.world.ref("app", ":v1")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDetachWhileOthersAttach: what others attach at the same time stays, and what is
// removed does not come back.
func TestDetachWhileOthersAttach(t *testing.T) {
	t.Parallel()
	w, signers := newWorld(t, withoutAPI), sigboxtest.New(t)
	ref := w.putImage("app", "v1", "hello")
	payload := payloadOf(ref.Digest())
	attach := func() {
		c := oci.New(oci.Config{Keychain: nobody{}, Settle: 300 * time.Millisecond})
		if _, err := c.AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
			t.Error(err)
		}
		annotations := cosign.Annotations(signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}))
		if err := c.AttachLegacy(t.Context(), ref, oci.Signature, "", payload, annotations); err != nil {
			t.Error(err)
		}
	}
	const n = 4
	for range n {
		attach()
	}
	old := attachedTo(t, ref)
	var g sync.WaitGroup
	for part := range slices.Chunk(old, 3) {
		g.Go(func() {
			if err := detach(t.Context(), oci.New(oci.Config{Keychain: nobody{}, Settle: 300 * time.Millisecond}), ref, part...); err != nil {
				t.Error(err)
			}
		})
	}
	for range n {
		g.Go(attach)
	}
	g.Wait()
	got := map[oci.Kind]int{}
	for _, a := range all(t, client(), ref, oci.Query{}) {
		got[a.Kind]++
		for _, node := range old {
			if node.Digest.Equal(a.Manifest) {
				t.Errorf("%s is still there", a.Manifest)
			}
		}
	}
	if got[oci.Bundle] != n || got[oci.Signature] != n {
		t.Errorf("found %v, expected %d of each", got, n)
	}
}

// TestDetachSharedManifest: the same SBOM under another image's tag stays.
func TestDetachSharedManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.putImage("app", "v1", "one"), w.putImage("app", "v2", "two")
	for _, ref := range []oci.Reference{one, two} {
		if err := client().AttachLegacy(t.Context(), ref, oci.SBOM, "text/spdx+json", []byte("{}"), nil); err != nil {
			t.Fatal(err)
		}
	}
	n := attachedTo(t, one)[0]
	if other := attachedTo(t, two)[0]; !other.Digest.Equal(n.Digest) {
		t.Fatal("they are not the same")
	}
	if err := detach(t.Context(), client(), one, n); err != nil {
		t.Fatal(err)
	}
	if len(attachedTo(t, one)) != 0 || len(attachedTo(t, two)) != 1 {
		t.Error("the other's is gone")
	}
}

// TestDetachRefused: a registry that deletes nothing says so before anything is changed,
// and an index of another's is left alone.
func TestDetachRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(http.ResponseWriter, *http.Request) bool
		want   sigbox.Kind
	}{
		"no DELETE":    {nil, sigbox.Denied},
		"not for them": {onMethod(http.MethodDelete, http.StatusForbidden), sigbox.Denied},
		"not now":      {onMethod(http.MethodDelete, http.StatusServiceUnavailable), sigbox.Unavailable},
		"odd":          {onMethod(http.MethodDelete, http.StatusBadRequest), sigbox.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRelease(t, withoutAPI, withoutDelete)
			r.world.before = c.before
			for _, n := range attachedTo(t, r.nested) {
				if err := detach(t.Context(), client(), r.nested, n); sigbox.KindOf(err) != c.want {
					t.Errorf("found %v", err)
				}
			}
			if got := r.digests(t, r.index); len(got) != inRelease {
				t.Errorf("found %d attachments, expected %d", len(got), inRelease)
			}
		})
	}
	// Under a tag nothing is left all the same.
	r := newRelease(t, withoutDelete)
	for _, n := range attachedTo(t, r.images[1]) {
		if n.Kind != oci.SBOM {
			continue
		}
		for range 2 {
			if err := detach(t.Context(), client(), r.images[1], n); err != nil {
				t.Error(err)
			}
		}
	}
	if left := attachedTo(t, r.images[1]); len(left) != 1 || left[0].Kind != oci.Bundle {
		t.Errorf("left: %+v", left)
	}
	if got := r.digests(t, r.index); len(got) != inRelease-1 {
		t.Errorf("found %d attachments, expected %d", len(got), inRelease-1)
	}
	index := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: []manifest.Descriptor{}}
	tag := strings.ReplaceAll(r.index.Digest().String(), ":", "-") + ".att"
	r.world.putManifest("app", tag, index)
	for _, n := range attachedTo(t, r.index) {
		if n.Kind == oci.Attestation {
			if err := detach(t.Context(), client(), r.index, n); sigbox.KindOf(err) != sigbox.Conflict {
				t.Errorf("an index: found %v", err)
			}
		}
	}
	if err := detach(t.Context(), client(), r.world.ref("app", ":v1"), &oci.Node{}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("nothing: found %v", err)
	}
}

func onMethod(method string, status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method {
			return false
		}
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"\u001b[31mno"}]}`)
		return true
	}
}

// TestDetachLost: an entry of a manifest that is gone can be removed.
func TestDetachLost(t *testing.T) {
	t.Parallel()
	r := newRelease(t, withoutAPI)
	all := attachedTo(t, r.index)
	i := slices.IndexFunc(all, func(n *oci.Node) bool { return n.Kind == oci.Bundle })
	gone := httptest.NewRequest(http.MethodDelete, "/v2/app/manifests/"+all[i].Digest.String(), nil)
	r.world.serve(httptest.NewRecorder(), gone)
	lost := attachedTo(t, r.index)
	j := slices.IndexFunc(lost, func(n *oci.Node) bool { return n.Err != nil })
	if len(lost) != len(all) || j < 0 || lost[j].Kind != oci.Bundle || sigbox.KindOf(lost[j].Err) != sigbox.NotFound {
		t.Fatalf("found %+v", lost)
	}
	if err := detach(t.Context(), client(), r.index, lost[j]); err != nil {
		t.Fatal(err)
	}
	if left := attachedTo(t, r.index); len(left) != len(all)-1 {
		t.Errorf("%d are left", len(left))
	}
}

// TestDetachOfOthers: what an index lists without that it refers to the image is another's,
// and stays: its entry goes.
func TestDetachOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withoutAPI)
	signers := sigboxtest.New(t)
	one, two := w.putImage("app", "v1", "one"), w.putImage("app", "v2", "two")
	var bundles []manifest.Descriptor
	for _, ref := range []oci.Reference{one, two, two.At(attachBundle(t, signers, two).Digest)} {
		bundles = append(bundles, attachBundle(t, signers, ref))
	}
	image, err := client().Describe(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	image.ArtifactType = bundle.MediaTypeV03
	w.putManifest("app", "sha256-"+one.Digest().Hex(), &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: []manifest.Descriptor{bundles[0], bundles[1], image},
	})
	before := strings.Join(drawn(mustTree(t, two), ""), "\n")

	tree := mustTree(t, one)
	strays := 0
	for _, n := range tree.Attached {
		if n.Err != nil {
			strays++
		}
		if n.Err != nil && (n.Manifest != nil || len(n.Attached) != 0) {
			t.Errorf("%s is taken for the image's: %+v", n.Digest, n)
		}
	}
	if len(tree.Attached) != 3 || strays != 2 {
		t.Fatalf("found %q", drawn(tree, ""))
	}
	if err := detach(t.Context(), client(), one, tree.Attached...); err != nil {
		t.Error(err)
	}
	if left := attachedTo(t, one); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	if after := strings.Join(drawn(mustTree(t, two), ""), "\n"); after != before {
		t.Errorf("of the other image there was\n%s\nand is\n%s", before, after)
	}
	// A second time there is no entry to take, and nothing else is taken for it.
	if errs := client().Detach(t.Context(), one, tree.Attached...); countErrors(errs) != 2 {
		t.Errorf("found %v", errs)
	}
	for _, n := range tree.Attached {
		n.Err = nil
	}
	if errs := client().Detach(t.Context(), one, tree.Attached...); countErrors(errs) != 2 || sigbox.KindOf(errors.Join(errs...)) != sigbox.NotVerified {
		t.Errorf("found %v", errs)
	}
	if after := strings.Join(drawn(mustTree(t, two), ""), "\n"); after != before {
		t.Errorf("of the other image there was\n%s\nand is\n%s", before, after)
	}
}

// TestDetachLostReferrer: what is not there is as good as removed.
func TestDetachLostReferrer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.putImage("app", "v1", "one")
	lost := &oci.Node{Descriptor: manifest.Describe(manifest.TypeImage, []byte("lost")), Err: sigbox.Errorf(sigbox.NotFound, "lost")}
	if err := detach(t.Context(), client(), ref, lost); err != nil {
		t.Error(err)
	}
}

func countErrors(errs []error) (n int) {
	for _, err := range errs {
		if err != nil {
			n++
		}
	}
	return n
}

func attachBundle(t *testing.T, signers *sigboxtest.World, ref oci.Reference) manifest.Descriptor {
	t.Helper()
	d, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil)
	if err != nil {
		t.Fatal(err)
	}
	d.ArtifactType = bundle.MediaTypeV03
	return d
}

func mustTree(t *testing.T, ref oci.Reference) *oci.Node {
	t.Helper()
	n, err := client().Tree(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
