package oci_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/manifest"
)

// bundleWorld is a registry with an image that n bundles refer to; what it does to
// requests can be changed afterwards.
func bundleWorld(t testing.TB, n int, options ...func(*world)) (*world, oci.Reference) {
	t.Helper()
	w := newWorld(t, options...)
	ref := w.putImage("app", "v1", "hello")
	signers := sigboxtest.New(t)
	for range n {
		if _, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.log()
	return w, ref
}

// outcome is what an iteration gave, in words.
func outcome(c *oci.Client, ref oci.Reference) (good int, errs []error) {
	for _, err := range c.Attachments(context.Background(), ref, oci.Query{}) {
		if err != nil {
			errs = append(errs, err)
		} else {
			good++
		}
	}
	return good, errs
}

// failTimes answers the first requests for a part with a status.
func failTimes(part string, n int64, status int, header ...string) func(http.ResponseWriter, *http.Request) bool {
	var count atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) || count.Add(1) > n {
			return false
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	}
}

// TestPassingFailures: what fails for the moment is asked for again, as long and as
// late as the registry wants, within bounds.
func TestPassingFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before  func(http.ResponseWriter, *http.Request) bool
		good    int
		waits   int
		atLeast time.Duration
		kind    sigbox.Kind
		told    string
	}{
		"429 once":         {failTimes("/blobs/", 1, 429, "Retry-After", "7"), 1, 1, 7 * time.Second, 0, ""},
		"503 until a date": {failTimes("/referrers/", 1, 503, "Date", "Sun, 22 Nov 2026 06:00:00 GMT", "Retry-After", "Sun, 22 Nov 2026 06:00:09 GMT"), 1, 1, 9 * time.Second, 0, ""},
		"four times":       {failTimes("/manifests/", 4, 502), 1, 4, 100 * time.Millisecond, 0, ""},
		"for ever":         {failTimes("/referrers/", 1000, 500), 0, 4, 0, sigbox.Unavailable, "500"},
		"for an hour":      {failTimes("/referrers/", 1000, 429, "Retry-After", "3600"), 0, 0, 0, sigbox.Unavailable, "1h0m0s"},
		"a strange pause":  {failTimes("/referrers/", 1, 429, "Retry-After", "-5"), 1, 1, 0, 0, ""},
		"the ping":         {failTimes("/v2/", 1, 503), 1, 1, 0, 0, ""},
		"refused":          {failTimes("/referrers/", 1000, 403), 0, 0, 0, sigbox.Denied, "docker login"},
		"nobody":           {failTimes("/referrers/", 1000, 401), 0, 0, 0, sigbox.Unauthenticated, "docker login"},
		"an odd status":    {failTimes("/referrers/", 1000, 418), 0, 0, 0, sigbox.Invalid, "418"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, ref := bundleWorld(t, 1)
			w.before = c.before
			var mu sync.Mutex
			var waits []time.Duration
			reader := client(func(cfg *oci.Config) {
				cfg.Wait = func(_ context.Context, d time.Duration) error {
					mu.Lock()
					defer mu.Unlock()
					waits = append(waits, d)
					return nil
				}
			})
			good, errs := outcome(reader, ref)
			if good != c.good || len(waits) != c.waits {
				t.Errorf("found %d attachments after %v: %v", good, waits, errs)
			}
			for _, d := range waits {
				if d < c.atLeast || d > time.Minute {
					t.Errorf("waited %v, expected %v", d, c.atLeast)
				}
			}
			if c.good == 1 && len(errs) == 0 {
				return
			}
			if len(errs) != 1 || sigbox.KindOf(errs[0]) != c.kind || !strings.Contains(errs[0].Error(), c.told) {
				t.Errorf("found %v, expected %v, %q", errs, c.kind, c.told)
			}
		})
	}
}

// cutShort answers the first n requests for a part with half of what it promises.
func (w *world) cutShort(part string, n int64, then func(*http.Request)) {
	var count atomic.Int64
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, part) || count.Add(1) > n {
			return false
		}
		rec := httptest.NewRecorder()
		w.serve(rec, r)
		rw.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
		rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		_, _ = rw.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		rw.(http.Flusher).Flush()
		then(r)
		panic(http.ErrAbortHandler)
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	stop := func(*http.Request) {}
	stand := func(r *http.Request) { <-r.Context().Done() }
	for _, part := range []string{"/referrers/", "/manifests/", "/blobs/"} {
		for name, then := range map[string]func(*http.Request){"truncated": stop, "stands still": stand} {
			for _, n := range []int64{1, 1000} {
				w, ref := bundleWorld(t, 1)
				w.cutShort(part, n, then)
				good, errs := outcome(client(func(cfg *oci.Config) { cfg.Limits.Stall = 20 * time.Millisecond }), ref)
				if n == 1 && (good != 1 || len(errs) > 0) || n > 1 && (good != 0 || len(errs) == 0 || sigbox.KindOf(errs[0]) != sigbox.Unavailable) {
					t.Errorf("%s %s, %d times: found %d, %v", part, name, n, good, errs)
				}
			}
		}
	}
}

// TestStalledRefusals: a refusal that never ends is one all the same.
func TestStalledRefusals(t *testing.T) {
	t.Parallel()
	for _, status := range []int{403, 503, 401} {
		w, ref := bundleWorld(t, 1)
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(`{"errors":[`))
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		good, errs := outcome(client(func(cfg *oci.Config) { cfg.Limits.Stall = 20 * time.Millisecond }), ref)
		if good != 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(), fmt.Sprint(status)) {
			t.Errorf("%d: found %d, %v", status, good, errs)
		}
	}
}

// TestFailedListing: a list that cannot be read is an error, and never an empty list.
func TestFailedListing(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"no JSON": "<html>", "an image": `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"` + sigbox.SHA256.Sum(nil).String() + `","size":1}}`,
		"nothing": "", "members twice": `{"schemaVersion":2,"manifests":[],"manifests":[]}`, "another schema": `{"schemaVersion":1,"manifests":[]}`,
	} {
		for _, part := range []string{"/referrers/", ".sig", ".att", "/manifests/sha256-"} {
			w, ref := bundleWorld(t, 0, withoutAPI)
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, part) {
					rw.Header().Set("Content-Type", manifest.TypeIndex)
					_, _ = rw.Write([]byte(body))
					return true
				}
				return false
			}
			found, want := false, sigbox.Invalid
			if !strings.HasPrefix(body, "{") { // nobody has said what there is
				want = sigbox.Unavailable
			}
			for a, err := range client().Attachments(t.Context(), ref, oci.Query{}) {
				if a != nil || err == nil || sigbox.KindOf(err) != want {
					t.Errorf("%s at %s: found %v, %v", name, part, a, err)
				}
				found = true
			}
			if isLegacyImage := name == "an image" && part != "/referrers/"; !found && !isLegacyImage {
				t.Errorf("%s at %s: taken for unsigned", name, part)
			}
		}
	}
	// A registry that does not answer at all.
	w, ref := bundleWorld(t, 1)
	w.Close()
	if good, errs := outcome(client(), ref); good != 0 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.Unavailable {
		t.Errorf("found %d, %v", good, errs)
	}
}

// TestWrongContent: content that is not what its digest says is refused, and does not
// hide what is in order.
func TestWrongContent(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"/manifests/", "/blobs/"} {
		w, ref := bundleWorld(t, 3)
		var count atomic.Int64
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, part) || count.Add(1) > 1 {
				return false
			}
			rec := httptest.NewRecorder()
			w.serve(rec, r)
			rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
			_, _ = rw.Write(bytes.Replace(rec.Body.Bytes(), []byte(`"`), []byte(` `), 1))
			return true
		}
		if good, errs := outcome(client(), ref); good != 2 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.NotVerified {
			t.Errorf("%s: found %d, %v", part, good, errs)
		}
	}
}

// cosign GHSA-vfp6-jrw2-99g9, GHSA-88jx-383q-w4qc, GHSA-95pr-fxf5-86gv and notation
// GHSA-rvrx-rrwh-r9p6: attestations without end, and of any size.
func TestGHSA_vfp6_jrw2_99g9(t *testing.T) {
	t.Parallel()
	t.Run("pages without end", func(t *testing.T) {
		t.Parallel()
		w, ref := bundleWorld(t, 1)
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			rw.Header().Set("Link", fmt.Sprintf(`<%s?n=%d>; rel="next"`, r.URL.Path, time.Now().UnixNano()))
			writeIndex(rw, nil)
			return true
		}
		if _, errs := outcome(client(func(cfg *oci.Config) { cfg.Limits.Pages = 7 }), ref); len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.TooLarge {
			t.Errorf("found %v", errs)
		}
		if n := len(w.log()); n != 1+7 {
			t.Errorf("%d requests", n)
		}
	})
	t.Run("referrers without end", func(t *testing.T) {
		t.Parallel()
		w, ref := bundleWorld(t, 12, paging(4))
		good, errs := outcome(client(func(cfg *oci.Config) { cfg.Limits.Referrers = 10 }), ref)
		if good != 8 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.TooLarge {
			t.Errorf("found %d, %v", good, errs)
		}
		if good, errs = outcome(client(), ref); good != 12 || len(errs) > 0 {
			t.Errorf("found %d, %v", good, errs)
		}
		w.log()
	})
	t.Run("a next page elsewhere", func(t *testing.T) {
		t.Parallel()
		w, ref := bundleWorld(t, 1)
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/referrers/") {
				rw.Header().Set("Link", `<http://127.0.0.2:1/v2/>; rel=next`)
			}
			return false
		}
		if good, errs := outcome(client(), ref); good != 0 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.Unavailable {
			t.Errorf("found %d, %v", good, errs)
		}
	})
	t.Run("a huge blob", func(t *testing.T) {
		t.Parallel()
		w, ref := bundleWorld(t, 1)
		if good, errs := outcome(client(func(cfg *oci.Config) { cfg.Limits.Blob = 100 }), ref); good != 0 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.TooLarge {
			t.Errorf("found %d, %v", good, errs)
		}
		if slices.ContainsFunc(w.log(), func(r string) bool { return strings.Contains(r, "/blobs/") }) {
			t.Error("it was asked for")
		}
	})
	for _, part := range []string{"/referrers/", "/manifests/", "/blobs/"} {
		for name, length := range map[string]string{"without length": "", "with a lie": "1099511627776"} {
			t.Run("more than it should be "+name+part, func(t *testing.T) {
				t.Parallel()
				w, ref := bundleWorld(t, 1)
				w.before = func(rw http.ResponseWriter, r *http.Request) bool {
					if !strings.Contains(r.URL.Path, part) {
						return false
					}
					if length != "" {
						rw.Header().Set("Content-Length", length)
					}
					for line := make([]byte, 1<<20); r.Context().Err() == nil; {
						if _, err := rw.Write(line); err != nil {
							break
						}
					}
					return true
				}
				c := client()
				good, errs := outcome(c, ref)
				if good != 0 || len(errs) == 0 || sigbox.KindOf(errs[0]) != sigbox.TooLarge {
					t.Errorf("found %d, %v", good, errs)
				}
				if read := c.Stats().Read; read > 16<<20 {
					t.Errorf("%d bytes read", read)
				}
			})
		}
	}
}

// TestOtherSubject: what is listed for an image and refers to another is refused.
func TestOtherSubject(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1)
	other := w.putImage("app", "v2", "another")
	w.mu.Lock()
	w.listed["app@"+other.Digest().String()] = w.listed["app@"+ref.Digest().String()]
	w.mu.Unlock()
	if good, errs := outcome(client(), other); good != 0 || len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.NotVerified {
		t.Errorf("found %d, %v", good, errs)
	}
}

// TestOtherReferrers: what is no bundle is not fetched, or passed over if the list
// does not say what it is; bundles of other versions are found where the registry
// lists today's alone.
func TestOtherReferrers(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]func(*world){"API": nil, "filters": {filtering}, "pages": {paging(1)}} {
		w, ref := bundleWorld(t, 1, options...)
		subject := manifest.Descriptor{MediaType: manifest.TypeImage, Digest: ref.Digest(), Size: 1}
		refer := func(artifactType, layerType, content string) {
			w.putBlob("app", manifest.Empty())
			config, layer := manifest.Describe(manifest.TypeEmpty, manifest.Empty()), w.putBlob("app", []byte(content))
			layer.MediaType = layerType
			w.putManifest("app", "", &manifest.Manifest{
				SchemaVersion: 2, MediaType: manifest.TypeImage, ArtifactType: artifactType, Config: &config,
				Layers: []manifest.Descriptor{layer}, Subject: &subject,
			})
		}
		refer("application/spdx+json", "application/spdx+json", "an SBOM")
		refer("", "text/plain", "anything")
		const old = "application/vnd.dev.sigstore.bundle+json;version=0.2"
		refer(old, old, "an old bundle")
		got := all(t, client(), ref, oci.Query{})
		if len(got) != 2 || !slices.ContainsFunc(got, func(a *oci.Attachment) bool { return string(a.Content) == "an old bundle" }) {
			t.Errorf("%s: found %d", name, len(got))
		}
		fetched := 0
		for _, r := range w.log() {
			if strings.Contains(r, "/manifests/sha256:") {
				fetched++
			}
		}
		if fetched > 3 {
			t.Errorf("%s: %d manifests were fetched", name, fetched)
		}
		n := 0
		for d, err := range client().Referrers(t.Context(), ref, "application/spdx+json") {
			if err != nil || d.ArtifactType != "application/spdx+json" && d.ArtifactType != manifest.TypeEmpty {
				t.Errorf("%s: found %+v, %v", name, d, err)
			}
			n++
		}
		if n == 0 {
			t.Errorf("%s: no SBOM", name)
		}
	}
}

// TestPredicateTypes: bundles of the wanted types come first, and others are not left
// out.
func TestPredicateTypes(t *testing.T) {
	t.Parallel()
	w, signers := newWorld(t), sigboxtest.New(t)
	ref := w.putImage("app", "v1", "hello")
	types := []string{"https://example.com/a", "https://example.com/b", "https://example.com/c"}
	for _, p := range types {
		b := sigboxtest.File(signers.Attest(imageStatement(ref.Digest(), p), sigboxtest.Options{}))
		if _, err := client().AttachBundle(t.Context(), ref, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range types {
		got := all(t, client(), ref, oci.Query{PredicateTypes: []string{p}})
		if len(got) != 3 || got[0].Annotations["dev.sigstore.bundle.predicateType"] != p {
			t.Errorf("%s: found %d", p, len(got))
		}
	}
}

// TestRedirects: content may be elsewhere; credentials stay.
func TestRedirects(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1)
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
			leaked.Store(true)
		}
		w.serve(rw, r)
	}))
	defer elsewhere.Close()
	var asked atomic.Bool
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user != "ada" || password != "secret" {
			rw.Header().Set("WWW-Authenticate", `Basic realm="here"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if r.URL.Path == "/v2/" || r.Method != http.MethodGet {
			return false
		}
		asked.Store(true)
		http.Redirect(rw, r, elsewhere.URL+r.URL.Path+"?signed=yes", http.StatusTemporaryRedirect)
		return true
	}
	if good, errs := outcome(client(withKeys("ada", "secret")), ref); good != 1 || len(errs) > 0 || leaked.Load() || !asked.Load() {
		t.Errorf("found %d, %v, credentials leaked: %v", good, errs, leaked.Load())
	}
	// What is written does not follow.
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut || r.Method == http.MethodPost {
			http.Redirect(rw, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}
		return false
	}
	if _, err := client(withKeys("ada", "secret")).AttachBundle(t.Context(), ref, signed(sigboxtest.New(t), ref.Digest()), nil); sigbox.KindOf(err) != sigbox.Denied {
		t.Errorf("found %v", err)
	}
	// Nor is there an end to it.
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		http.Redirect(rw, r, w.URL+r.URL.Path+"x", http.StatusFound)
		return r.URL.Path != "/v2/"
	}
	if _, err := client().Describe(t.Context(), ref); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v", err)
	}
}

// keys is a keychain with one key for all.
type keys authn.AuthConfig

func (k keys) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig(k)), nil
}

func withKeys(user, password string) func(*oci.Config) {
	return func(cfg *oci.Config) { cfg.Keychain = keys{Username: user, Password: password} }
}

// outside stands for the internet: registry.example is a handler, and nothing else is
// reached.
type outside struct {
	handler http.Handler
	mu      sync.Mutex
	asked   []string // guarded by mu
}

func (o *outside) RoundTrip(r *http.Request) (*http.Response, error) {
	o.mu.Lock()
	o.asked = append(o.asked, r.URL.Scheme+"://"+r.URL.Host)
	o.mu.Unlock()
	if r.URL.Host != "registry.example" {
		return nil, errors.New("nobody is there")
	}
	rec := httptest.NewRecorder()
	o.handler.ServeHTTP(rec, r)
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

// TestLeadingInside: a registry of the outside world leads nobody into a private
// network or to plain text: not by redirects, and not by the address of its tokens.
func TestLeadingInside(t *testing.T) {
	t.Parallel()
	targets := []string{
		"https://127.0.0.1/t", "https://10.1.2.3/t", "https://192.168.0.1:8443/t", "https://169.254.169.254/latest/meta-data", "https://[::1]/t", "https://[fd00:ec2::254]/t",
		"https://[::ffff:10.0.0.1]/t", "https://0.0.0.0/t", "http://elsewhere.example/t", "http://registry.example/t", "ftp://registry.example/t", "http://169.254.169.254/t",
	}
	ref, err := oci.ParseReference("registry.example/app@" + sigbox.SHA256.Sum(nil).String())
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		for _, by := range []string{"redirect", "realm", "realm's redirect"} {
			o := &outside{handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/token" || by == "redirect" && r.URL.Path != "/v2/":
					http.Redirect(rw, r, target, http.StatusFound)
				case by != "redirect":
					realm := target
					if by == "realm's redirect" {
						realm = "https://registry.example/token"
					}
					rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="s"`, realm))
					rw.WriteHeader(http.StatusUnauthorized)
				}
			})}
			c := client(withKeys("ada", "secret"), func(cfg *oci.Config) { cfg.Transport = o })
			if _, err := c.Describe(t.Context(), ref); err == nil {
				t.Errorf("%s to %s: no error", by, target)
			}
			at, _ := url.Parse(target)
			if slices.Contains(o.asked, at.Scheme+"://"+at.Host) {
				t.Errorf("%s to %s was followed", by, target)
			}
		}
	}
	// And the registry itself is not asked in plain text.
	ten, err := oci.ParseReference("10.1.2.3:5000/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	o := &outside{}
	if _, err := client(func(cfg *oci.Config) { cfg.Transport = o }).Describe(t.Context(), ten); err == nil || slices.Contains(o.asked, "http://10.1.2.3:5000") {
		t.Errorf("found %v, %q asked", err, o.asked)
	}
}

// TestTokens: a token is got once for a repository, anew when it has run out, and goes
// to the registry alone.
func TestTokens(t *testing.T) {
	t.Parallel()
	var valid atomic.Int64
	var asked atomic.Int64
	w, ref := bundleWorld(t, 3)
	token := func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "ada" || password != "secret" || r.URL.Query().Get("service") != "here" || !strings.HasPrefix(r.URL.Query().Get("scope"), "repository:app:") {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprintf(rw, `{"token":"t%d"}`, valid.Load())
		asked.Add(1)
	}
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			token(rw, r)
			return true
		case r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", valid.Load()):
			return false
		}
		rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="here"`, w.URL))
		rw.WriteHeader(http.StatusUnauthorized)
		return true
	}
	c := client(withKeys("ada", "secret"))
	if good, errs := outcome(c, ref); good != 3 || len(errs) > 0 {
		t.Fatalf("found %d, %v", good, errs)
	}
	if s := c.Stats(); s.Tokens != 1 || s.Pings != 1 {
		t.Errorf("found %+v", s)
	}
	valid.Add(1)
	if good, errs := outcome(c.Renew(), ref); good != 3 || len(errs) > 0 || asked.Load() != 2 {
		t.Errorf("found %d, %v, with %d tokens", good, errs, asked.Load())
	}
	if _, errs := outcome(client(withKeys("eve", "guess")), ref); len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.Unauthenticated {
		t.Errorf("found %v", errs)
	}
	if _, errs := outcome(client(func(cfg *oci.Config) { cfg.Keychain = keys{RegistryToken: "t1"} }), ref); len(errs) > 0 {
		t.Errorf("found %v", errs)
	}
	if _, errs := outcome(client(func(cfg *oci.Config) { cfg.Keychain = keys{RegistryToken: "old"} }), ref); len(errs) != 1 || sigbox.KindOf(errs[0]) != sigbox.Unauthenticated {
		t.Errorf("found %v", errs)
	}
}

// TestTLS: a registry's certificate counts, unless it is said not to.
func TestTLS(t *testing.T) {
	t.Parallel()
	w, _ := bundleWorld(t, 1)
	server := httptest.NewTLSServer(w)
	defer server.Close()
	ref, err := oci.ParseReference(strings.TrimPrefix(server.URL, "https://") + "/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		change func(*oci.Config)
		good   bool
	}{
		"unknown":  {func(*oci.Config) {}, false},
		"own CA":   {func(cfg *oci.Config) { cfg.CAs = pool }, true},
		"insecure": {func(cfg *oci.Config) { cfg.Insecure = true }, true},
	} {
		if _, err := client(c.change).Describe(t.Context(), ref); (err == nil) != c.good {
			t.Errorf("%s: found %v", name, err)
		}
	}
}

// TestConcurrentWriters: sixteen writers, each a client of its own, and nothing is
// lost.
func TestConcurrentWriters(t *testing.T) {
	t.Parallel()
	const writers = 16
	w, ref := bundleWorld(t, 0, withoutAPI)
	signers := sigboxtest.New(t)
	bundles := make([][]byte, writers)
	for i := range bundles {
		bundles[i] = signed(signers, ref.Digest())
	}
	var g sync.WaitGroup
	errs := make([]error, writers)
	for i, b := range bundles {
		g.Go(func() {
			c := oci.New(oci.Config{Keychain: nobody{}, Settle: 300 * time.Millisecond})
			_, errs[i] = c.AttachBundle(context.Background(), ref, b, nil)
		})
	}
	g.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	got := all(t, client(), ref, oci.Query{})
	if len(got) != writers {
		t.Errorf("found %d bundles of %d", len(got), writers)
	}
	for i, b := range bundles {
		if !slices.ContainsFunc(got, func(a *oci.Attachment) bool { return bytes.Equal(a.Content, b) }) {
			t.Errorf("bundle %d is lost", i)
		}
	}
	w.log()
}

// TestWatchedTogether: who waits whether its entry stays keeps no other from writing, and
// holds up no request.
func TestWatchedTogether(t *testing.T) {
	t.Parallel()
	const writers = 4
	w, ref := bundleWorld(t, 0, withoutAPI)
	signers := sigboxtest.New(t)
	var watching sync.WaitGroup
	watching.Add(writers)
	var begun atomic.Int64
	c := client(func(cfg *oci.Config) {
		cfg.Parallel = 1
		cfg.Wait = func(ctx context.Context, _ time.Duration) error {
			if begun.Add(1) <= writers {
				watching.Done()
			}
			watching.Wait() // for all of them
			return ctx.Err()
		}
	})
	var g sync.WaitGroup
	for range writers {
		b := signed(signers, ref.Digest())
		g.Go(func() {
			if _, err := c.AttachBundle(context.Background(), ref, b, nil); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	if got := all(t, client(), ref, oci.Query{}); len(got) != writers {
		t.Errorf("found %d bundles of %d", len(got), writers)
	}
	w.log()
}

// TestLostUpdate: an entry that another writer undoes is made again.
func TestLostUpdate(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1, withoutAPI)
	tag := "/v2/app/manifests/sha256-" + ref.Digest().Hex()
	get := func() []byte {
		rec := httptest.NewRecorder()
		w.serve(rec, httptest.NewRequest(http.MethodGet, tag, nil))
		return rec.Body.Bytes()
	}
	before := get()
	var undone atomic.Int64
	c := client(func(cfg *oci.Config) {
		cfg.Wait = func(context.Context, time.Duration) error {
			if undone.Add(1) == 1 {
				w.put(tag, manifest.TypeIndex, before) // by one who had read it before
			}
			return nil
		}
	})
	if _, err := c.AttachBundle(t.Context(), ref, signed(sigboxtest.New(t), ref.Digest()), nil); err != nil {
		t.Fatal(err)
	}
	if got := all(t, client(), ref, oci.Query{}); len(got) != 2 {
		t.Errorf("found %d bundles, expected 2", len(got))
	}
	// One who undoes it for ever is not fought for ever.
	before = get()
	c = client(func(cfg *oci.Config) {
		cfg.Wait = func(context.Context, time.Duration) error {
			w.put(tag, manifest.TypeIndex, before)
			return nil
		}
	})
	if _, err := c.AttachBundle(t.Context(), ref, signed(sigboxtest.New(t), ref.Digest()), nil); sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("found %v", err)
	}
}

// TestConditions: where a registry heeds conditions, a write that comes too late is
// refused, and made anew.
func TestConditions(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1, withoutAPI)
	var refused atomic.Int64
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256-") {
			return false
		}
		rw.Header().Set("Etag", `"1"`)
		if r.Method == http.MethodPut && refused.Add(1) == 1 {
			if r.Header.Get("If-Match") != `"1"` {
				t.Errorf("If-Match: %q", r.Header.Get("If-Match"))
			}
			rw.WriteHeader(http.StatusPreconditionFailed)
			return true
		}
		return false
	}
	if _, err := client().AttachBundle(t.Context(), ref, signed(sigboxtest.New(t), ref.Digest()), nil); err != nil {
		t.Fatal(err)
	}
	if got := all(t, client(), ref, oci.Query{}); len(got) != 2 || refused.Load() != 2 {
		t.Errorf("found %d bundles, after %d writes", len(got), refused.Load())
	}
}

// TestMisread: what a registry has misread while somebody else wrote the same is sent again.
func TestMisread(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"/manifests/sha256:", "/manifests/sha256-"} {
		w, ref := bundleWorld(t, 1, withoutAPI)
		times := int64(2)
		var sent atomic.Int64
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, part) || sent.Add(1) > times {
				return false
			}
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(rw, `{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}`)
			return true
		}
		signers := sigboxtest.New(t)
		if _, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
			t.Errorf("%s: %v", part, err)
		}
		if got := all(t, client(), ref, oci.Query{}); len(got) != 2 {
			t.Errorf("%s: found %d bundles of 2", part, len(got))
		}
		times = 1 << 20
		sent.Store(0)
		if _, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("%s: found %v", part, err)
		}
		if n := sent.Load(); n > 5 {
			t.Errorf("%s: sent %d times", part, n)
		}
	}
}

// TestAttachRefused: what is no bundle is not written, and what the registry refuses
// is an error.
func TestAttachRefused(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 0)
	if _, err := client().AttachBundle(t.Context(), ref, []byte("{}"), nil); sigbox.KindOf(err) != sigbox.Invalid || len(w.log()) > 0 {
		t.Errorf("found %v", err)
	}
	b := signed(sigboxtest.New(t), ref.Digest())
	if _, err := client().AttachBundle(t.Context(), w.ref("app", ":none"), b, nil); sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("found %v", err)
	}
	for part, status := range map[string]int{"/blobs/uploads/": 403, "/blobs/": 500, "/manifests/": 400} {
		w.before = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.Method == http.MethodHead || !strings.Contains(r.URL.Path, part) {
				return false
			}
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(`{"errors":[{"code":"DENIED","message":"not \u001b[31mhere"}]}`))
			return true
		}
		if _, err := client().AttachBundle(t.Context(), ref, b, nil); err == nil || !strings.Contains(err.Error(), `"DENIED", "not \x1b[31mhere"`) {
			t.Errorf("%s: found %v", part, err)
		}
	}
	if got := all(t, client(), ref, oci.Query{}); len(got) > 0 {
		t.Errorf("found %d attachments", len(got))
	}
}

// asked is a keychain that counts how often it is asked, as a credential helper is run.
type asked struct {
	keys
	times *atomic.Int64
}

func (a asked) Resolve(r authn.Resource) (authn.Authenticator, error) {
	a.times.Add(1)
	return a.keys.Resolve(r)
}

// TestKeychainLearns: what a token server has refused is not held on to.
func TestKeychainLearns(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1)
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		_, password, _ := r.BasicAuth()
		switch {
		case r.URL.Path == "/token" && password == "good":
			_, _ = fmt.Fprint(rw, `{"token":"t"}`)
		case r.URL.Path == "/token":
			rw.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Authorization") == "Bearer t":
			return false
		default:
			rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="here"`, w.URL))
			rw.WriteHeader(http.StatusUnauthorized)
		}
		return true
	}
	var times atomic.Int64
	c := client(func(cfg *oci.Config) { cfg.Keychain = learning{&times} })
	if good, errs := outcome(c, ref); good != 0 || len(errs) == 0 {
		t.Fatalf("found %d, %v", good, errs)
	}
	if good, errs := outcome(c, ref); good != 1 || len(errs) > 0 {
		t.Errorf("found %d, %v, asked %d times", good, errs, times.Load())
	}
}

// learning has a bad password first, and then a good one.
type learning struct{ times *atomic.Int64 }

func (l learning) Resolve(authn.Resource) (authn.Authenticator, error) {
	password := "bad"
	if l.times.Add(1) > 1 {
		password = "good"
	}
	return authn.FromConfig(authn.AuthConfig{Username: "ada", Password: password}), nil
}

// TestKeychainAskedOnce: a credential helper may be slow, or ask somebody. It is run once
// for a repository, to read and to write, and again when what it said is refused.
func TestKeychainAskedOnce(t *testing.T) {
	t.Parallel()
	var valid, times atomic.Int64
	w, ref := bundleWorld(t, 3)
	w.before = func(rw http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprintf(rw, `{"token":"t%d"}`, valid.Load())
			return true
		case r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", valid.Load()):
			return false
		}
		rw.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="here"`, w.URL))
		rw.WriteHeader(http.StatusUnauthorized)
		return true
	}
	c := client(func(cfg *oci.Config) { cfg.Keychain = asked{keys{Username: "ada", Password: "secret"}, &times} })
	signers := sigboxtest.New(t)
	attach := func() {
		t.Helper()
		if _, err := c.AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
			t.Fatal(err)
		}
	}
	attach()
	if good, errs := outcome(c, ref); good != 4 || len(errs) > 0 || times.Load() != 1 {
		t.Errorf("found %d, %v, asked %d times", good, errs, times.Load())
	}
	valid.Add(1)
	attach() // it is known what the image is: there is but writing
	if got := times.Load(); got != 2 {
		t.Errorf("when the token was refused: asked %d times", got)
	}
}
