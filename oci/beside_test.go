package oci_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// attachSignature signs as cosign did before.
func attachSignature(t *testing.T, signers *sigboxtest.World, ref oci.Reference) {
	t.Helper()
	payload := payloadOf(ref.Digest())
	annotations := cosign.Annotations(signers.Sign(payload, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}))
	if err := client().AttachLegacy(t.Context(), ref, oci.Signature, "", payload, annotations); err != nil {
		t.Fatal(err)
	}
}

// TestCopyBesideWriter: what a copy puts under a tag of cosign's stays where another
// writer, who has seen nothing there, undoes it, and so does what that one has put there.
func TestCopyBesideWriter(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	from, to, other := newWorld(t), newWorld(t), newWorld(t)
	ref := from.putImage("app", "v1", "hello")
	attachSignature(t, signers, ref)
	attachSignature(t, signers, other.putImage("app", "v1", "hello"))
	tag := "/v2/app/manifests/sha256-" + ref.Digest().Hex() + ".sig"
	theirs := get(other, tag)
	m, err := manifest.Parse(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client().Copy(t.Context(), other.ref("app", ":v1"), to.ref("app", ":theirs"), nil); err != nil { // for the blobs
		t.Fatal(err)
	}
	to.serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, tag, nil))
	var undone sync.Once
	to.before = func(rw http.ResponseWriter, r *http.Request) (done bool) {
		if r.Method == http.MethodPut && r.URL.Path == tag {
			undone.Do(func() {
				to.serve(rw, r)
				to.put(tag, m.Type(), theirs)
				done = true
			})
		}
		return done
	}
	if _, err := client().Copy(t.Context(), ref, to.ref("app", ":v1"), nil); err != nil {
		t.Fatal(err)
	}
	if got := all(t, client(), to.ref("app", ":v1"), oci.Query{}); len(got) != 2 {
		t.Errorf("found %d signatures of 2", len(got))
	}
}

func get(w *world, path string) []byte {
	rec := httptest.NewRecorder()
	w.serve(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Body.Bytes()
}

// TestCopyMemory: a copy writes no more tags at a time than there is memory for what they
// hold, of lists and of cosign's tags.
func TestCopyMemory(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	w, to := newWorld(t), newWorld(t, withoutAPI)
	index := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
	for _, content := range []string{"one", "two", "three", "four"} {
		ref := w.putImage("app", "", content)
		attachBundle(t, signers, ref)
		attachSignature(t, signers, ref)
		d, err := client().Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		index.Manifests = append(index.Manifests, d)
	}
	var watching, most atomic.Int64
	c := client(func(cfg *oci.Config) {
		cfg.Limits.Memory = 1
		cfg.Wait = func(ctx context.Context, _ time.Duration) error {
			most.Store(max(most.Load(), watching.Add(1)))
			for range 1000 {
				runtime.Gosched() // others come, if they may
			}
			watching.Add(-1)
			return ctx.Err()
		}
	})
	from := w.putManifest("app", "v1", index)
	if _, err := c.Copy(t.Context(), from, to.ref("app", ":v1"), nil); err != nil {
		t.Fatal(err)
	}
	if n := most.Load(); n != 1 {
		t.Errorf("%d tags were watched at a time", n)
	}
	if err := client().Compare(t.Context(), from, to.ref("app", ":v1")); err != nil {
		t.Error(err)
	}
}

// TestCopyDangling: what is listed and is not there keeps an image from being copied, since
// nothing says that it may be left out, until it is taken out of the list.
func TestCopyDangling(t *testing.T) {
	t.Parallel()
	w, signers := newWorld(t, withoutAPI), sigboxtest.New(t)
	ref := w.putImage("app", "v1", "hello")
	attachBundle(t, signers, ref)
	gone := attachBundle(t, signers, ref)
	w.serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, "/v2/app/manifests/"+gone.Digest.String(), nil))
	to := newWorld(t, withoutAPI).ref("app", ":v1")
	if _, err := client().Copy(t.Context(), ref, to, nil); sigbox.KindOf(err) != sigbox.NotFound || !strings.Contains(err.Error(), "sigbox clean") {
		t.Errorf("found %v", err)
	}
	for _, n := range mustTree(t, ref).Attached {
		if n.Err != nil {
			if err := client().Detach(t.Context(), ref, n)[0]; err != nil {
				t.Error(err)
			}
		}
	}
	if got, err := client().Copy(t.Context(), ref, to, nil); err != nil || got.Attached != 1 {
		t.Errorf("found %+v, %v", got, err)
	}
}

// TestPingFirst: a name of this machine without a port is two servers', and the one that
// has TLS is asked first. A registry that fails for the moment is asked by one way alone.
func TestPingFirst(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"127.0.0.1": "https", "localhost:5000": "http", "registry.example:5000": "https"} {
		var first atomic.Value
		c := client(func(cfg *oci.Config) {
			cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				first.CompareAndSwap(nil, r.URL.Scheme)
				return nil, http.ErrHandlerTimeout
			})
		})
		ref, err := oci.ParseReference(name + "/acme/app:v1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Resolve(t.Context(), ref); err == nil || first.Load() != want {
			t.Errorf("%s: asked by %v first, expected %s; %v", name, first.Load(), want, err)
		}
	}
	w := newWorld(t)
	w.before = func(rw http.ResponseWriter, _ *http.Request) bool {
		rw.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if _, err := client().Resolve(t.Context(), w.ref("app", ":v1")); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("found %v", err)
	}
	if n := len(w.log()); n != 5 {
		t.Errorf("asked %d times, expected 5", n)
	}
}

// TestWatchAfterWaiting: a registry that has a writer wait before it can read has not made
// its write slow, and what was written is not watched the longer.
func TestWatchAfterWaiting(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 0, withoutAPI)
	b := signed(sigboxtest.New(t), ref.Digest())
	var once sync.Once
	w.before = func(rw http.ResponseWriter, r *http.Request) (done bool) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/sha256-"+ref.Digest().Hex()) {
			once.Do(func() {
				rw.Header().Set("Retry-After", "30")
				rw.WriteHeader(http.StatusTooManyRequests)
				done = true
			})
		}
		return done
	}
	synctest.Test(t, func(t *testing.T) { // where time passes by waiting alone
		c := client(func(cfg *oci.Config) {
			cfg.Wait, cfg.Settle = nil, 0
			cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				rec, in := httptest.NewRecorder(), r.Clone(r.Context())
				if in.Body == nil {
					in.Body = http.NoBody
				}
				w.ServeHTTP(rec, in)
				resp := rec.Result()
				if resp.Request = r; r.Method == http.MethodHead {
					resp.Body = http.NoBody
				}
				return resp, nil
			})
		})
		started := time.Now()
		if _, err := c.AttachBundle(t.Context(), ref, b, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(started); took != 31*time.Second {
			t.Errorf("took %v, expected 30 s of the registry's and one of watching", took)
		}
	})
	if got := all(t, client(), ref, oci.Query{}); len(got) != 1 {
		t.Errorf("found %d bundles", len(got))
	}
}

// TestPingInMerge: a registry that is first asked while a tag is changed is asked by TLS and
// without at the same time, which nothing but the ping sees.
func TestPingInMerge(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1, withoutAPI)
	node := mustTree(t, ref).Attached[0]
	plain := make(chan struct{})
	c := client(func(cfg *oci.Config) {
		cfg.Insecure = true
		cfg.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme == "https" {
				<-plain
				return nil, http.ErrHandlerTimeout
			}
			if strings.HasSuffix(r.URL.Path, "/v2/") {
				close(plain)
			}
			in := r.Clone(r.Context())
			in.URL.Host = strings.TrimPrefix(w.URL, "http://")
			return http.DefaultTransport.RoundTrip(in)
		})
	})
	at, err := oci.ParseReference("registry.example/app@" + ref.Digest().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Detach(t.Context(), at, node)[0]; err != nil {
		t.Error(err)
	}
	if got := all(t, client(), ref, oci.Query{}); len(got) != 0 {
		t.Errorf("%d are left", len(got))
	}
}

// roundTrip is a function that carries requests.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
