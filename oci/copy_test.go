package oci_test

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// release is an index of two images in a registry: bundles refer to the index and to
// both images, a bundle refers to a bundle, and an image has cosign's tags of before.
type release struct {
	world  *world
	index  oci.Reference
	images []oci.Reference
	nested oci.Reference // the bundle that another bundle refers to
}

func newRelease(t *testing.T, options ...func(*world)) *release {
	t.Helper()
	w, signers := newWorld(t, options...), sigboxtest.New(t)
	r := &release{world: w, images: []oci.Reference{w.putImage("app", "", "for amd64"), w.putImage("app", "", "for arm64")}}
	index := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
	for i, ref := range r.images {
		d, err := client().Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		d.Platform = &manifest.Platform{OS: "linux", Architecture: []string{"amd64", "arm64"}[i]}
		index.Manifests = append(index.Manifests, d)
	}
	r.index = w.putManifest("app", "v1", index)
	for _, ref := range append(slices.Clone(r.images), r.index) {
		d, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.nested = ref.At(d.Digest)
	}
	if _, err := client().AttachBundle(t.Context(), r.nested, signed(signers, r.nested.Digest()), nil); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []oci.Reference{r.index, r.images[0]} {
		payload := payloadOf(ref.Digest())
		b := signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
		if err := client().AttachLegacy(t.Context(), ref, oci.Signature, "", payload, cosign.Annotations(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := client().AttachLegacy(t.Context(), r.images[1], oci.SBOM, "text/spdx+json", []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// digests are of all that is attached to what a release has, in a repository.
func (r *release) digests(t *testing.T, in oci.Reference) []string {
	t.Helper()
	var out []string
	for _, ref := range append(slices.Clone(r.images), r.index, r.nested) {
		q := oci.Query{Kinds: []oci.Kind{oci.Bundle, oci.Signature, oci.Attestation, oci.SBOM}}
		for _, a := range all(t, client(), in.At(ref.Digest()), q) {
			out = append(out, ref.Digest().String()+" "+a.Kind.String()+" "+a.Blob.Digest.String())
		}
	}
	slices.Sort(out)
	return out
}

const inRelease = 4 + 2 + 1 // bundles, signatures, an SBOM

// TestCopy: everything arrives, through a directory as well, whatever the registries
// can do; and nothing is sent again.
func TestCopy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to []func(*world) }{
		"API to API":    {nil, nil},
		"API to tags":   {nil, []func(*world){withoutAPI}},
		"tags to API":   {[]func(*world){withoutAPI}, nil},
		"tags to tags":  {[]func(*world){withoutAPI}, []func(*world){withoutAPI}},
		"pages to tags": {[]func(*world){paging(1)}, []func(*world){withoutAPI}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w := newRelease(t, c.from...), newWorld(t, c.to...)
			want := r.digests(t, r.index)
			if len(want) != inRelease {
				t.Fatalf("found %d attachments: %q", len(want), want)
			}
			dir := oci.Layout{Dir: filepath.Join(t.TempDir(), "saved")}
			steps := []struct{ from, to oci.Place }{
				{r.world.ref("app", ":v1"), w.ref("direct", ":v1")},
				{r.world.ref("app", ":v1"), dir}, {dir, w.ref("loaded", ":v1")},
				{w.ref("direct", ":v1"), w.ref("promoted/app", ":v1")},
			}
			for _, s := range steps {
				got, err := client().Copy(t.Context(), s.from, s.to, nil)
				if err != nil {
					t.Fatalf("%v to %v: %v", s.from, s.to, err)
				}
				if got.Manifests != 3+4+3 || got.Attached != 7 || !got.Image.Digest.Equal(r.index.Digest()) || got.Blobs+got.Mounted+got.Present == 0 {
					t.Errorf("%v to %v: %+v", s.from, s.to, got)
				}
			}
			for _, repo := range []string{"direct", "loaded", "promoted/app"} {
				if diff := cmp.Diff(want, r.digests(t, w.ref(repo, ":v1"))); diff != "" {
					t.Errorf("%s: %s", repo, diff)
				}
			}
			w.log()
			got, err := client().Copy(t.Context(), steps[0].from, steps[0].to, nil)
			if err != nil || got.Blobs != 0 || got.Bytes != 0 {
				t.Errorf("again: %+v, %v", got, err)
			}
			if sent := w.log(); slices.ContainsFunc(sent, func(s string) bool { return strings.Contains(s, "/blobs/uploads/") }) {
				t.Errorf("sent again: %q", sent)
			}
		})
	}
}

// TestCopyAddsToTags: signatures that the target has under cosign's tags stay.
func TestCopyAddsToTags(t *testing.T) {
	t.Parallel()
	r, w := newRelease(t), newWorld(t)
	signers := sigboxtest.New(t)
	if _, err := client().Copy(t.Context(), r.images[0], w.ref("app", ":amd64"), nil); err != nil {
		t.Fatal(err)
	}
	payload := payloadOf(r.images[0].Digest())
	add := func(in oci.Reference) {
		b := signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
		if err := client().AttachLegacy(t.Context(), in.At(r.images[0].Digest()), oci.Signature, "", payload, cosign.Annotations(b)); err != nil {
			t.Fatal(err)
		}
	}
	add(r.index)
	add(w.ref("app", ":amd64"))
	for range 2 {
		if _, err := client().Copy(t.Context(), r.images[0], w.ref("app", ":amd64"), nil); err != nil {
			t.Fatal(err)
		}
		got := all(t, client(), w.ref("app", ":amd64"), oci.Query{Kinds: []oci.Kind{oci.Signature}})
		v := verifier(t, signers)
		good := 0
		for _, a := range got {
			if judge(v, a, anybody()) == nil {
				good++
			}
		}
		if len(got) != 3 || good != 2 {
			t.Errorf("found %d signatures, of which %d verify", len(got), good)
		}
	}
}

// TestCopyResumes: a copy that broke off leaves no tag, and goes on from there.
func TestCopyResumes(t *testing.T) {
	t.Parallel()
	r, w := newRelease(t), newWorld(t)
	var count atomic.Int64
	var allowed int64
	w.before = func(rw http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || count.Add(1) <= allowed {
			return false
		}
		rw.WriteHeader(http.StatusForbidden)
		return true
	}
	for allowed = 1; ; allowed++ {
		count.Store(0)
		_, err := client().Copy(t.Context(), r.index, w.ref("app", ":v1"), nil)
		if err == nil {
			break
		}
		if sigbox.KindOf(err) != sigbox.Denied {
			t.Fatal(err)
		}
		if _, err := client().Describe(t.Context(), w.ref("app", ":v1")); sigbox.KindOf(err) != sigbox.NotFound {
			t.Fatalf("a tag of half an image: %v", err)
		}
		if allowed > 100 {
			t.Fatal("it never ends")
		}
	}
	if diff := cmp.Diff(r.digests(t, r.index), r.digests(t, w.ref("app", ":v1"))); diff != "" {
		t.Error(diff)
	}
}

// TestCopyRefuses: content that is not what its digest says arrives nowhere.
func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"/blobs/", "/manifests/sha256:"} {
		r, w := newRelease(t), newWorld(t)
		r.world.before = func(rw http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, part) || req.Method != http.MethodGet {
				return false
			}
			_, _ = rw.Write([]byte("something else"))
			return true
		}
		dir := t.TempDir()
		for _, to := range []oci.Place{w.ref("app", ":v1"), oci.Layout{Dir: dir}} {
			if _, err := client().Copy(t.Context(), r.index, to, nil); sigbox.KindOf(err) != sigbox.NotVerified {
				t.Errorf("%s to %v: found %v", part, to, err)
			}
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				t.Errorf("%s: left behind", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	r := newRelease(t)
	for _, places := range [][2]oci.Place{
		{r.index, oci.Layout{}}, {oci.Layout{}, r.index}, {oci.Reference{}, r.index}, {oci.Layout{Dir: t.TempDir()}, r.index}, {r.world.ref("app", ":none"), r.index},
	} {
		if _, err := client().Copy(t.Context(), places[0], places[1], nil); err == nil {
			t.Errorf("%v to %v: no error", places[0], places[1])
		}
	}
}

// TestLayout: several images by name, and what cosign saved.
func TestLayout(t *testing.T) {
	t.Parallel()
	r, w, dir := newRelease(t), newWorld(t), t.TempDir()
	for name, ref := range map[string]oci.Reference{"one": r.images[0], "two": r.images[1]} {
		for range 2 {
			if _, err := client().Copy(t.Context(), ref, oci.Layout{Dir: dir, Name: name}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := client().Copy(t.Context(), oci.Layout{Dir: dir}, w.ref("app", ":v1"), nil); err == nil || !strings.Contains(err.Error(), "found 2") {
		t.Errorf("found %v", err)
	}
	got, err := client().Copy(t.Context(), oci.Layout{Dir: dir, Name: "two"}, w.ref("app", ":two"), nil)
	if err != nil || !got.Image.Digest.Equal(r.images[1].Digest()) {
		t.Errorf("found %+v, %v", got, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse(b)
	if err != nil || len(m.Manifests) != 2+2+2 { // images, bundles, a signature and an SBOM
		t.Fatalf("found %v, %v", m, err)
	}

	// cosign names nothing, and says by kind what belongs to the image.
	m.Manifests = slices.DeleteFunc(m.Manifests, func(d manifest.Descriptor) bool {
		name, kind := d.Annotations["org.opencontainers.image.ref.name"], d.Annotations["kind"]
		return name != "one" && kind != "dev.cosignproject.cosign/sigs"
	})
	for i := range m.Manifests {
		delete(m.Manifests[i].Annotations, "org.opencontainers.image.ref.name")
	}
	if b, err = manifest.Append(nil, m); err != nil || len(m.Manifests) != 2 {
		t.Fatal(m, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client().Copy(t.Context(), oci.Layout{Dir: dir}, w.ref("cosign", ":v1"), nil); err != nil {
		t.Fatal(err)
	}
	// Bundles it lists nowhere.
	if got := all(t, client(), w.ref("cosign", ":v1"), oci.Query{}); len(got) != 2 || got[0].Kind != oci.Bundle || got[1].Kind != oci.Signature {
		t.Errorf("found %d attachments", len(got))
	}
}

// TestMount: within a registry no blob is sent, if it knows how.
func TestMount(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	r.world.before = func(rw http.ResponseWriter, req *http.Request) bool {
		digest := req.URL.Query().Get("mount")
		if digest == "" {
			return false
		}
		if from := req.URL.Query().Get("from"); from != "app" || !strings.HasPrefix(req.URL.Path, "/v2/promoted/blobs/") {
			t.Errorf("mount from %q to %s", from, req.URL.Path)
		}
		rec := httptest.NewRecorder()
		r.world.serve(rec, httptest.NewRequest(http.MethodHead, "/v2/app/blobs/"+digest, nil))
		if rec.Code != http.StatusOK {
			t.Errorf("%s is not there", digest)
		}
		rw.WriteHeader(http.StatusCreated)
		return true
	}
	got, err := client().Copy(t.Context(), r.index, r.world.ref("promoted", ":v1"), nil)
	if err != nil || got.Blobs != 0 || got.Mounted == 0 || got.Bytes != 0 {
		t.Errorf("found %+v, %v", got, err)
	}
	if got, err = client().Copy(t.Context(), r.index, r.world.ref("app", ":again"), nil); err != nil || got.Blobs+got.Mounted != 0 {
		t.Errorf("in one repository: %+v, %v", got, err)
	}
	if d, err := client().Describe(t.Context(), r.world.ref("app", ":again")); err != nil || !d.Digest.Equal(r.index.Digest()) {
		t.Errorf("found %+v, %v", d, err)
	}
}

// TestMountRefused: where blobs cannot be taken over, whatever the answer, they are sent.
func TestMountRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, 0} {
		r := newRelease(t)
		var refused atomic.Int64
		r.world.before = func(rw http.ResponseWriter, req *http.Request) bool {
			scopes := req.URL.Query()["scope"]
			switch bearer := req.Header.Get("Authorization"); {
			case status == 0 && req.URL.Path == "/token" && len(strings.Fields(strings.Join(scopes, " "))) > 1:
				refused.Add(1)
				rw.WriteHeader(http.StatusForbidden) // who asks for something that is not his gets nothing
			case status == 0 && req.URL.Path == "/token":
				_, _ = rw.Write([]byte(`{"token":"t"}`))
			case status == 0 && bearer == "":
				rw.Header().Set("WWW-Authenticate", `Bearer realm="`+r.world.URL+`/token",service="here"`)
				rw.WriteHeader(http.StatusUnauthorized)
			case status != 0 && req.URL.Query().Get("mount") != "":
				refused.Add(1)
				rw.WriteHeader(status)
			default:
				return false
			}
			return true
		}
		to := r.world.ref("promoted", ":v1")
		one := client(func(cfg *oci.Config) { cfg.Parallel = 1 })
		got, err := one.Copy(t.Context(), r.index, to, nil)
		if err != nil || got.Mounted != 0 || got.Manifests == 0 {
			t.Errorf("%d: found %+v, %v", status, got, err)
		}
		if n := refused.Load(); n > 2 {
			t.Errorf("%d: refused %d times", status, n)
		}
		if err := client().Compare(t.Context(), r.index, to); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestCopyListsOnce: where there is no referrers API, all that belongs to an image is
// entered at once, and watched at the same time as what belongs to others.
func TestCopyListsOnce(t *testing.T) {
	t.Parallel()
	w, to, signers := newWorld(t), newWorld(t, withoutAPI), sigboxtest.New(t)
	index := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
	var images []oci.Reference
	for _, content := range []string{"one", "two"} {
		ref := w.putImage("app", "", content)
		d, err := client().Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		index.Manifests, images = append(index.Manifests, d), append(images, ref)
		for range 3 {
			attachBundle(t, signers, ref)
		}
	}
	// Nobody goes on before both are watched.
	var watching sync.WaitGroup
	watching.Add(len(images))
	var begun atomic.Int64
	c := client(func(cfg *oci.Config) {
		cfg.Wait = func(ctx context.Context, _ time.Duration) error {
			if begun.Add(1) <= int64(len(images)) {
				watching.Done()
			}
			watching.Wait()
			return ctx.Err()
		}
	})
	if _, err := c.Copy(t.Context(), w.putManifest("app", "v1", index), to.ref("app", ":v1"), nil); err != nil {
		t.Fatal(err)
	}
	log := to.log()
	for _, ref := range images {
		put := "PUT /v2/app/manifests/sha256-" + ref.Digest().Hex()
		if n := len(slices.DeleteFunc(slices.Clone(log), func(r string) bool { return r != put })); n != 1 {
			t.Errorf("the list of %s was written %d times", ref, n)
		}
		if got := all(t, client(), to.ref("app", "@"+ref.Digest().String()), oci.Query{}); len(got) != 3 {
			t.Errorf("found %d bundles of 3", len(got))
		}
	}
	if last := log[len(log)-1]; last != "PUT /v2/app/manifests/v1" {
		t.Errorf("the tag is not set last, but %s", last)
	}
}
