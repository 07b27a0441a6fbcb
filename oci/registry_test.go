package oci_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/manifest"
)

// world is a registry in memory, of another make, with the referrers API before it
// and whatever a test wants to happen to requests.
type world struct {
	*httptest.Server
	t        testing.TB
	inner    http.Handler
	referrer bool // it has the API
	filters  bool // it leaves out other types
	keeps    bool // it deletes nothing
	pageSize int

	// before answers in place of the registry if it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []string                         // guarded by mu
	listed   map[string][]manifest.Descriptor // by subject; guarded by mu
	tags     map[string]string                // digests, by path; guarded by mu
}

// newWorld starts a registry with the referrers API; options change that.
func newWorld(t testing.TB, options ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, referrer: true, listed: map[string][]manifest.Descriptor{}, tags: map[string]string{}, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	for _, o := range options {
		o(w)
	}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func withoutAPI(w *world) { w.referrer = false }

func withoutDelete(w *world) { w.keeps = true }

func filtering(w *world) { w.filters = true }

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.requests = append(w.requests, r.Method+" "+r.URL.Path)
	w.mu.Unlock()
	if w.before != nil && w.before(rw, r) {
		return
	}
	w.serve(rw, r)
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	switch {
	case strings.Contains(r.URL.Path, "/referrers/"):
		w.list(rw, r)
	case r.Method == http.MethodPut && rest != "":
		body, err := io.ReadAll(r.Body)
		if err != nil { // the client has given up: half a manifest is none
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if m, err := manifest.Parse(body); err == nil && m.Subject != nil && w.referrer {
			w.enter(repo, m, body)
			rw.Header().Set("OCI-Subject", m.Subject.Digest.String())
		}
		w.mu.Lock()
		w.tags[r.URL.Path] = sigbox.SHA256.Sum(body).String()
		w.mu.Unlock()
		w.inner.ServeHTTP(rw, r)
	case r.Method == http.MethodDelete && rest != "":
		w.remove(rw, r, repo, rest)
	default:
		w.inner.ServeHTTP(rw, r)
	}
}

// remove deletes a manifest with the tags of it.
func (w *world) remove(rw http.ResponseWriter, r *http.Request, repo, digest string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keeps {
		rw.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	for path, of := range w.tags {
		if of == digest && strings.HasPrefix(path, "/v2/"+repo+"/manifests/") && !strings.HasSuffix(path, digest) {
			w.inner.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, path, nil))
			delete(w.tags, path)
		}
	}
	for key, all := range w.listed {
		if strings.HasPrefix(key, repo+"@") {
			w.listed[key] = slices.DeleteFunc(slices.Clone(all), func(d manifest.Descriptor) bool { return d.Digest.String() == digest })
		}
	}
	w.inner.ServeHTTP(rw, r)
}

func (w *world) enter(repo string, m *manifest.Manifest, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := manifest.Describe(m.Type(), body)
	d.ArtifactType, d.Annotations = m.Kind(), m.Annotations
	key := repo + "@" + m.Subject.Digest.String()
	if !slices.ContainsFunc(w.listed[key], func(o manifest.Descriptor) bool { return o.Digest.Equal(d.Digest) }) {
		w.listed[key] = append(w.listed[key], d)
	}
}

// list is the referrers API.
func (w *world) list(rw http.ResponseWriter, r *http.Request) {
	if !w.referrer {
		http.NotFound(rw, r)
		return
	}
	repo, digest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/referrers/")
	w.mu.Lock()
	all := slices.Clone(w.listed[repo+"@"+digest])
	w.mu.Unlock()
	if t := r.URL.Query().Get("artifactType"); t != "" && w.filters {
		all = slices.DeleteFunc(all, func(d manifest.Descriptor) bool { return d.ArtifactType != t })
		rw.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if from, _ := strconv.Atoi(r.URL.Query().Get("from")); w.pageSize > 0 {
		all = all[min(from, len(all)):]
		if len(all) > w.pageSize {
			all = all[:w.pageSize]
			rw.Header().Set("Link", fmt.Sprintf(`<%s?from=%d>; rel="next"`, r.URL.Path, from+w.pageSize))
		}
	}
	writeIndex(rw, all)
}

func writeIndex(rw http.ResponseWriter, all []manifest.Descriptor) {
	b, err := manifest.Append(nil, &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: all})
	if err != nil {
		panic(err)
	}
	rw.Header().Set("Content-Type", manifest.TypeIndex)
	_, _ = rw.Write(b)
}

// log gives the requests until now, and forgets them.
func (w *world) log() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.requests
	w.requests = nil
	return out
}

// ref is a reference to a repository there; how begins with ":" or "@".
func (w *world) ref(repo, how string) oci.Reference {
	w.t.Helper()
	r, err := oci.ParseReference(strings.TrimPrefix(w.URL, "http://") + "/" + repo + how)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// put puts a blob or manifest there as anybody might.
func (w *world) put(path, mediaType string, b []byte) {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPut, path, bytes.NewReader(b))
	r.Header.Set("Content-Type", mediaType)
	rec := httptest.NewRecorder()
	w.serve(rec, r)
	if rec.Code != http.StatusCreated {
		w.t.Fatalf("PUT %s: %d %s", path, rec.Code, rec.Body)
	}
}

func (w *world) putBlob(repo string, b []byte) manifest.Descriptor {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+sigbox.SHA256.Sum(b).String(), bytes.NewReader(b))
	rec := httptest.NewRecorder()
	w.inner.ServeHTTP(rec, r)
	if rec.Code != http.StatusCreated {
		w.t.Fatalf("POST: %d %s", rec.Code, rec.Body)
	}
	return manifest.Describe("application/octet-stream", b)
}

func (w *world) putManifest(repo, tag string, m *manifest.Manifest) oci.Reference {
	w.t.Helper()
	b, err := manifest.Append(nil, m)
	if err != nil {
		w.t.Fatal(err)
	}
	d := sigbox.SHA256.Sum(b)
	w.put("/v2/"+repo+"/manifests/"+d.String(), m.Type(), b)
	if tag != "" {
		w.put("/v2/"+repo+"/manifests/"+tag, m.Type(), b)
	}
	return w.ref(repo, "@"+d.String())
}

// putImage puts an image with a layer.
func (w *world) putImage(repo, tag, content string) oci.Reference {
	w.t.Helper()
	config, layer := w.putBlob(repo, []byte(`{"architecture":"amd64","os":"linux"}`)), w.putBlob(repo, []byte(content))
	config.MediaType, layer.MediaType = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"
	return w.putManifest(repo, tag, &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeImage, Config: &config, Layers: []manifest.Descriptor{layer},
	})
}

// client is one that waits for nothing and knows no credentials.
func client(change ...func(*oci.Config)) *oci.Client {
	cfg := oci.Config{Keychain: nobody{}, Wait: noWait, Settle: 10 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	return oci.New(cfg)
}

func noWait(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// nobody is a keychain without keys.
type nobody struct{}

func (nobody) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// all collects what an iteration gives.
func all(t testing.TB, c *oci.Client, ref oci.Reference, q oci.Query) []*oci.Attachment {
	t.Helper()
	var out []*oci.Attachment
	for a, err := range c.Attachments(t.Context(), ref, q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func paging(n int) func(*world) { return func(w *world) { w.pageSize = n } }
