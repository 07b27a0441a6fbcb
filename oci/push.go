package oci

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/manifest"
	"github.com/sigbox/sigbox/wire/statement"
)

// AttachBundle puts a bundle into ref's repository, as a referrer of the image that
// ref names, and gives its manifest. Annotations are added to those that say what the
// bundle holds, unless a name is theirs. To do it again with the same annotations
// changes nothing.
//
// Where the registry keeps no list of referrers, the index under the tag that stands
// for it is changed, without loss when others do so at the same time.
func (c *Client) AttachBundle(ctx context.Context, ref Reference, content []byte, annotations map[string]string) (manifest.Descriptor, error) {
	var none manifest.Descriptor
	b, err := bundle.Parse(content)
	if err != nil {
		return none, err
	}
	subject, err := c.Describe(ctx, ref)
	if err != nil {
		return none, err
	}
	ref = c.home(ref.At(subject.Digest))
	layer := manifest.Describe(bundle.MediaTypeV03, content)
	config := manifest.Describe(manifest.TypeEmpty, manifest.Empty())
	m := &manifest.Manifest{
		SchemaVersion: 2, MediaType: manifest.TypeImage, ArtifactType: bundle.MediaTypeV03,
		Config: &config, Layers: []manifest.Descriptor{layer},
		Subject:     &manifest.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
		Annotations: bundleAnnotations(b, annotations),
	}
	errs := c.each(2, func(i int) error {
		if i == 0 {
			return c.pushEmpty(ctx, ref)
		}
		return c.pushBlob(ctx, ref, layer, bytesBody(content))
	})
	for _, err := range errs {
		if err != nil {
			return none, err
		}
	}
	return c.pushReferrer(ctx, ref, m)
}

// AttachedAt is where [Client.AttachBundle] puts the manifest of a digest for an image that
// is named by digest.
func (c *Client) AttachedAt(image Reference, d sigbox.Digest) Reference { return c.home(image).At(d) }

// bundleAnnotations says what a bundle holds, for who looks for one.
func bundleAnnotations(b *sigbox.Bundle, more map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range more {
		out[k] = v
	}
	out[annotationContent] = "message-signature"
	if b.Envelope == nil {
		return out
	}
	out[annotationContent] = "dsse-envelope"
	if s, err := statement.Parse(b.Envelope.Payload); err == nil {
		out[annotationPredicate] = s.PredicateType
	}
	return out
}

// pushReferrer puts a manifest with a subject, and sees to it that it is listed.
func (c *Client) pushReferrer(ctx context.Context, ref Reference, m *manifest.Manifest) (manifest.Descriptor, error) {
	body, err := manifest.Append(nil, m)
	if err != nil {
		return manifest.Descriptor{}, err
	}
	d := manifest.Describe(m.Type(), body)
	listed, err := c.putReferrer(ctx, ref, m, d, body)
	if err != nil || listed {
		return d, err
	}
	return d, c.listReferrers(ctx, ref.At(m.Subject.Digest), []manifest.Descriptor{entryOf(m, d)})
}

// putReferrer puts a manifest with a subject as it is, and reports whether the registry
// says that it lists it.
func (c *Client) putReferrer(ctx context.Context, ref Reference, m *manifest.Manifest, d manifest.Descriptor, body []byte) (listed bool, err error) {
	h, err := c.pushManifest(ctx, ref.At(d.Digest), m.Type(), body)
	if err != nil {
		return false, err
	}
	c.forgetReferrers(ref.At(m.Subject.Digest))
	// distribution-spec v1.1.1, Pushing Manifests with Subject.
	told, err := sigbox.ParseDigest(h.Get("OCI-Subject"))
	return err == nil && told.Equal(m.Subject.Digest), nil
}

// entryOf is what an index of referrers has of a manifest.
func entryOf(m *manifest.Manifest, d manifest.Descriptor) manifest.Descriptor {
	d.ArtifactType, d.Annotations = m.Kind(), m.Annotations
	return d
}

// forgetReferrers makes the lists of a subject be asked for again.
func (c *Client) forgetReferrers(subject Reference) {
	c.listings.forgetPrefix(subject.String() + " ")
}

// pushEmpty sees to it that a repository has the empty blob.
func (c *Client) pushEmpty(ctx context.Context, ref Reference) error {
	_, err := c.empties.do(ctx, ref.Repository(), func(ctx context.Context) (struct{}, error) {
		d := manifest.Describe(manifest.TypeEmpty, manifest.Empty())
		there, err := c.hasBlob(ctx, ref, d.Digest)
		if err != nil || there {
			return struct{}{}, err
		}
		return struct{}{}, c.pushBlob(ctx, ref, d, bytesBody(manifest.Empty()))
	})
	return err
}

// hasBlob asks whether a repository has a blob. It asks as a writer, so that no second
// token is needed.
func (c *Client) hasBlob(ctx context.Context, ref Reference, d sigbox.Digest) (bool, error) {
	a, err := c.access(ctx, ref, push)
	if err != nil {
		return false, err
	}
	got, err := c.read(ctx, a, request{method: http.MethodHead, path: "/blobs/" + d.String()}, "blob "+ref.At(d).String(), 0, http.StatusOK, http.StatusNotFound)
	return err == nil && got.status == http.StatusOK, err
}

// maxAnswer bounds what a registry answers to what is written, in bytes.
const maxAnswer = 64 << 10

// pushBlob uploads a blob (distribution-spec v1.1.1, POST then PUT). An upload that
// broke off is begun anew.
func (c *Client) pushBlob(ctx context.Context, ref Reference, d manifest.Descriptor, body func() (io.ReadCloser, error)) error {
	a, err := c.access(ctx, ref, push)
	if err != nil {
		return err
	}
	const most = 3
	for attempt := 1; ; attempt++ {
		err := c.tryPush(ctx, a, d, body)
		if err == nil || attempt == most || ctx.Err() != nil || sigbox.KindOf(err) != sigbox.Unavailable {
			return err
		}
		if err := c.cfg.Wait(ctx, backoff(attempt)); err != nil {
			return err
		}
	}
}

func (c *Client) tryPush(ctx context.Context, a *access, d manifest.Descriptor, body func() (io.ReadCloser, error)) error {
	what := "upload of a blob to " + a.repo.Name()
	started, err := c.read(ctx, a, request{method: http.MethodPost, path: "/blobs/uploads/"}, what, maxAnswer, http.StatusAccepted)
	if err != nil {
		return err
	}
	return c.finishUpload(ctx, a, started, what, d, body)
}

// finishUpload sends a blob to where an upload was started.
func (c *Client) finishUpload(ctx context.Context, a *access, started *answer, what string, d manifest.Descriptor, body func() (io.ReadCloser, error)) error {
	at, err := uploadAt(started, d.Digest)
	if err != nil {
		return err
	}
	_, err = c.read(ctx, a, request{
		method: http.MethodPut, at: at, body: body, size: d.Size, header: http.Header{"Content-Type": {"application/octet-stream"}},
	}, what, maxAnswer, http.StatusCreated)
	return err
}

// uploadAt is where to send a blob of a digest.
func uploadAt(started *answer, d sigbox.Digest) (string, error) {
	base, err := url.Parse(started.url)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Internal, "an address that cannot be read").WithCause(err)
	}
	at, err := base.Parse(started.header.Get("Location"))
	if err != nil || started.header.Get("Location") == "" {
		return "", sigbox.Errorf(sigbox.Unavailable, "registry %s does not say where to upload to", base.Host)
	}
	if at.Host == base.Host {
		at.Scheme = base.Scheme // behind a proxy that speaks TLS some say http
	}
	q := at.Query()
	q.Set("digest", d.String())
	at.RawQuery = q.Encode()
	return at.String(), nil
}

// pushManifest puts a manifest under ref's digest or tag, whatever is there.
func (c *Client) pushManifest(ctx context.Context, ref Reference, mediaType string, body []byte) (http.Header, error) {
	return c.putManifest(ctx, ref, mediaType, body, false, nil)
}

// replaceManifest puts a manifest under a tag where another one was found. It is not sent
// again: what stands there may be another by then.
func (c *Client) replaceManifest(ctx context.Context, at Reference, found content, mediaType string, body []byte) error {
	_, err := c.putManifest(ctx, at, mediaType, body, true, unchanged(found))
	return err
}

func (c *Client) putManifest(ctx context.Context, ref Reference, mediaType string, body []byte, once bool, conditions http.Header) (http.Header, error) {
	a, err := c.access(ctx, ref, push)
	if err != nil {
		return nil, err
	}
	r := request{
		method: http.MethodPut, path: "/manifests/" + ref.identifier(), body: bytesBody(body), size: int64(len(body)), once: once,
		header: http.Header{"Content-Type": {mediaType}, "Content-Length": {strconv.Itoa(len(body))}},
	}
	maps.Copy(r.header, conditions)
	for attempt := 1; ; attempt++ {
		h, misread, err := c.sendManifest(ctx, a, r, "manifest "+ref.String())
		if err == nil {
			c.contents.forget(ref.String())
			c.tags.forget(ref.String())
			return h, nil
		}
		if !misread || once || attempt >= c.cfg.Limits.Attempts {
			return nil, err
		}
		if err := c.cfg.Wait(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

// sendManifest sends one, and reports whether the registry has misread it. That its digest,
// or one in it, is wrong is true of none that is sent: distribution says so while somebody
// else uploads the same blob.
func (c *Client) sendManifest(ctx context.Context, a *access, r request, what string) (h http.Header, misread bool, err error) {
	got, err := c.read(ctx, a, r, what, maxAnswer, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusBadRequest)
	switch {
	case err != nil:
		return nil, false, err
	case got.status != http.StatusBadRequest:
		return got.header, false, nil
	}
	err = refusal(&http.Response{StatusCode: got.status, Header: got.header, Body: io.NopCloser(bytes.NewReader(got.body))}, what)
	if codes := errorCodes(got.body); len(codes) > 0 && codes[0].Code == "DIGEST_INVALID" {
		return nil, true, sigbox.Errorf(sigbox.Unavailable, "%w", err).WithHint("try again")
	}
	return nil, false, err
}
