package oci

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    string // where it came from in the end
}

// read sends a request and reads the answer, of at most limit bytes. Statuses besides
// those in okay are errors. An answer that breaks off is asked for again.
func (c *connection) read(ctx context.Context, a *access, r request, what string, limit int64, okay ...int) (*answer, error) {
	for attempt := 1; ; attempt++ {
		got, err := c.readOnce(ctx, a, r, what, limit, okay)
		if err == nil || !errors.Is(err, errBroken) || attempt >= c.cfg.Limits.Attempts || r.once {
			return got, err
		}
		c.guard.stats.retries.Add(1)
		if err := c.cfg.Wait(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

func (c *connection) readOnce(ctx context.Context, a *access, r request, what string, limit int64, okay []int) (*answer, error) {
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	resp, err := a.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if !contains(okay, resp.StatusCode) {
		return nil, refusal(resp, what)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.ContentLength > limit && r.method != http.MethodHead {
		return nil, tooLarge(what, resp.ContentLength, limit)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, sigbox.Errorf(sigbox.Unavailable, "%s: %w after %d bytes", what, errBroken, len(b)).WithHint("try again later")
	case int64(len(b)) > limit:
		return nil, tooLarge(what, int64(len(b)), limit)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: b, url: resp.Request.URL.String()}, nil
}

func contains(all []int, one int) bool {
	for _, v := range all {
		if v == one {
			return true
		}
	}
	return false
}

func tooLarge(what string, size, limit int64) error {
	return sigbox.Errorf(sigbox.TooLarge, "%s has %d bytes or more: at most %d are read", what, size, limit)
}

// content is what a name in a repository stands for.
type content struct {
	mediaType string
	digest    sigbox.Digest
	body      []byte
	etag      string
	missing   bool
}

// manifestTypes is what is accepted as manifest.
const manifestTypes = manifest.TypeImage + ", " + manifest.TypeIndex + ", " + manifest.TypeDockerImage + ", " + manifest.TypeDockerIndex

// manifestOf gives the manifest that ref names, by digest or by tag. One that is not
// there is no error but missing.
func (c *Client) manifestOf(ctx context.Context, ref Reference) (content, error) {
	return c.contents.do(ctx, ref.String(), func(ctx context.Context) (content, error) { return c.fetchManifest(ctx, ref) })
}

// fetchManifest asks the registry.
func (c *Client) fetchManifest(ctx context.Context, ref Reference) (content, error) {
	a, err := c.access(ctx, ref, pull)
	if err != nil {
		return content{}, err
	}
	got, err := c.read(ctx, a, request{
		method: http.MethodGet, path: "/manifests/" + ref.identifier(), header: http.Header{"Accept": {manifestTypes}},
	}, "manifest "+ref.String(), manifest.MaxSize, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return content{}, err
	}
	if got.status == http.StatusNotFound {
		return content{missing: true}, nil
	}
	if ref.digest.IsZero() { // content of a digest is held against that
		if err := checkObject("manifest "+ref.String(), got.body); err != nil {
			return content{}, err
		}
	}
	v := content{mediaType: mediaType(got.header), body: got.body, etag: got.header.Get("Etag"), digest: sigbox.SHA256.Sum(got.body)}
	want := ref.digest
	if want.IsZero() {
		want = digestHeader(got.header)
	}
	if !want.IsZero() {
		if err := checkContent("manifest "+ref.String(), want, got.body); err != nil {
			return content{}, err
		}
		v.digest = want
	}
	return v, nil
}

// checkObject makes sure that an answer can be a manifest, and is no page that stands
// before the registry.
func checkObject(what string, b []byte) error {
	const shown = 40
	if bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte{'{'}) {
		return nil
	}
	return sigbox.Errorf(sigbox.Unavailable, "%s: what is answered is no manifest, it begins with %s", what, clip(string(b[:min(len(b), shown)]))).
		WithHint("is that a registry, and must you log in?")
}

// parsedManifest is manifestOf for what must be there, read.
func (c *Client) parsedManifest(ctx context.Context, ref Reference) (*manifest.Manifest, error) {
	v, err := c.manifestOf(ctx, ref)
	if err != nil {
		return nil, err
	}
	if v.missing {
		return nil, sigbox.Errorf(sigbox.NotFound, "%s is not there", ref)
	}
	return v.parse(ref)
}

// parse reads the manifest, which is to be of the type that it was sent as.
func (v content) parse(ref Reference) (*manifest.Manifest, error) {
	m, err := manifest.Parse(v.body)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", ref, err)
	}
	if m.MediaType != "" && v.mediaType != "" && m.MediaType != v.mediaType {
		return nil, sigbox.Mismatch(sigbox.Invalid, ref.String()+": the manifest's media type", v.mediaType, m.MediaType)
	}
	return m, nil
}

// blob gives the content of a descriptor.
func (c *Client) blob(ctx context.Context, ref Reference, d manifest.Descriptor) ([]byte, error) {
	at := ref.At(d.Digest)
	what := "blob " + at.String()
	if limit := c.cfg.Limits.Blob; d.Size > limit {
		return nil, tooLarge(what, d.Size, limit)
	}
	v, err := c.contents.do(ctx, "blob "+at.String(), func(ctx context.Context) (content, error) {
		a, err := c.access(ctx, ref, pull)
		if err != nil {
			return content{}, err
		}
		got, err := c.read(ctx, a, request{method: http.MethodGet, path: "/blobs/" + d.Digest.String()}, what, d.Size, http.StatusOK)
		if err != nil {
			return content{}, err
		}
		return content{body: got.body}, checkContent(what, d.Digest, got.body)
	})
	if err != nil {
		return nil, err
	}
	if int64(len(v.body)) != d.Size {
		return nil, sigbox.Mismatch(sigbox.NotVerified, what+": size in bytes", d.Size, len(v.body))
	}
	return v.body, nil
}

// checkContent holds content against its digest.
func checkContent(what string, want sigbox.Digest, b []byte) error {
	if got := want.Algorithm.Sum(b); !got.Equal(want) {
		return sigbox.Mismatch(sigbox.NotVerified, what+": the registry sends other content", want, got)
	}
	return nil
}

// mediaType gives an answer's media type without parameters.
func mediaType(h http.Header) string {
	t, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.TrimSpace(t)
}

// digestHeader gives what the registry says of the content, zero if it says nothing
// that can be used.
func digestHeader(h http.Header) sigbox.Digest {
	d, err := sigbox.ParseDigest(h.Get("Docker-Content-Digest"))
	if err != nil {
		return sigbox.Digest{}
	}
	return d
}
