package oci

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"reflect"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// repository is a [Reference] as one end of a copy.
type repository struct {
	c   *Client
	ref Reference
	// aside is where what belongs to images is, if that is not beside them.
	aside Reference
}

func (r Reference) store(c *Client) (store, error) {
	if r.IsZero() {
		return nil, sigbox.Errorf(sigbox.Invalid, "no image reference to copy from or to")
	}
	return repository{c, r, c.cfg.Repository}, nil
}

// target is a place that is written to: what belongs to images is beside them there.
func (c *Client) target(p Place) (store, error) {
	s, err := p.store(c)
	if r, ok := s.(repository); ok {
		r.aside = Reference{}
		s = r
	}
	return s, err
}

// places are where to look for content, which its digest names: wherever it is, it is the
// same.
func (r repository) places() []Reference {
	if r.aside.IsZero() || r.aside.repo == r.ref.repo {
		return []Reference{r.ref}
	}
	return []Reference{r.ref, r.aside}
}

func (r repository) root(ctx context.Context) (manifest.Descriptor, error) {
	return r.c.Describe(ctx, r.ref)
}

func (r repository) manifest(ctx context.Context, d sigbox.Digest) (content, error) {
	for _, at := range r.places() {
		if v, err := r.c.manifestOf(ctx, at.At(d)); err != nil || !v.missing {
			return v, err
		}
	}
	return content{missing: true}, notThere(r.ref.At(d))
}

func (r repository) attached(ctx context.Context, image sigbox.Digest) ([]attached, error) {
	places := r.places()
	ref := places[len(places)-1].At(image)
	var all []attached
	for d, err := range r.c.Referrers(ctx, ref, "") {
		if err != nil {
			return nil, err
		}
		all = append(all, attached{Descriptor: d, image: image})
	}
	for _, k := range []Kind{Signature, Attestation, SBOM} {
		suffix := legacyKinds[k].suffix
		at := ref.fallback(suffix)
		if !at.canBe() {
			continue
		}
		v, err := r.c.manifestOf(ctx, at)
		if err != nil {
			return nil, err
		}
		if m, err := manifest.Parse(v.body); !v.missing && (err != nil || !isEmptied(m, at)) {
			d := manifest.Descriptor{MediaType: v.mediaType, Digest: v.digest, Size: int64(len(v.body))}
			all = append(all, attached{Descriptor: d, image: image, suffix: suffix})
		}
	}
	return all, nil
}

func (r repository) open(ctx context.Context, d manifest.Descriptor) (body io.ReadCloser, err error) {
	for _, at := range r.places() {
		if body, err = r.c.openBlob(ctx, at, d); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			return body, err
		}
	}
	return nil, err
}

// openBlob gives a blob as it comes.
func (c *Client) openBlob(ctx context.Context, in Reference, d manifest.Descriptor) (io.ReadCloser, error) {
	a, err := c.access(ctx, in, pull)
	if err != nil {
		return nil, err
	}
	resp, err := a.do(ctx, request{method: http.MethodGet, path: "/blobs/" + d.Digest.String()})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, "blob "+in.At(d.Digest).String())
	}
	return resp.Body, nil
}

func (r repository) has(ctx context.Context, d manifest.Descriptor) (bool, error) {
	at := r.ref.At(d.Digest)
	a, err := r.c.access(ctx, at, push)
	if err != nil {
		return false, err
	}
	got, err := r.c.read(ctx, a, request{
		method: http.MethodHead, path: "/manifests/" + at.identifier(), header: http.Header{"Accept": {manifestTypes}},
	}, at.String(), 0, http.StatusOK, http.StatusNotFound)
	return err == nil && got.status == http.StatusOK, err
}

func (r repository) put(ctx context.Context, m *manifest.Manifest, d manifest.Descriptor, body []byte) error {
	_, err := r.c.pushManifest(ctx, r.ref.At(d.Digest), m.Type(), body)
	return err
}

// putBlob mounts a blob of the same registry, and else sends what is not there.
func (r repository) putBlob(ctx context.Context, d manifest.Descriptor, from store, open func() (io.ReadCloser, error)) (fate, error) {
	source, ok := from.(repository)
	if ok && source.ref.repo == r.ref.repo && len(source.places()) == 1 {
		return present, nil
	}
	if ok && source.ref.repo.RegistryStr() == r.ref.repo.RegistryStr() && !r.c.keepsFrom(source.ref, r.ref) {
		how, err := r.mount(ctx, d, source, open)
		if err == nil || ctx.Err() != nil || sigbox.KindOf(err) == sigbox.Unavailable {
			return how, err
		}
		// Some registries refuse what others do not know; what is sent may do.
		r.c.unmounted.Store([2]string{source.ref.Repository(), r.ref.Repository()}, true)
	}
	there, err := r.c.hasBlob(ctx, r.ref, d.Digest)
	if err != nil || there {
		return present, err
	}
	return sent, r.c.pushBlob(ctx, r.ref, d, open)
}

// keepsFrom reports whether a registry has refused to take blobs over.
func (c *Client) keepsFrom(from, to Reference) bool {
	_, refused := c.unmounted.Load([2]string{from.Repository(), to.Repository()})
	return refused
}

// mount takes a blob over from another repository (distribution-spec v1.1.1, Mounting
// a blob from another repository).
func (r repository) mount(ctx context.Context, d manifest.Descriptor, source repository, open func() (io.ReadCloser, error)) (fate, error) {
	a, err := r.c.access(ctx, r.ref, push, source.ref.repo.Scope(transport.PullScope))
	if err != nil {
		return sent, err
	}
	what := "upload of a blob to " + r.ref.Repository()
	q := url.Values{"mount": {d.Digest.String()}, "from": {source.ref.repo.RepositoryStr()}}
	started, err := r.c.read(ctx, a, request{method: http.MethodPost, path: "/blobs/uploads/?" + q.Encode()}, what, maxAnswer, http.StatusCreated, http.StatusAccepted)
	if err != nil || started.status == http.StatusCreated {
		return mounted, err
	}
	// The registry mounts nothing, and has begun an upload instead.
	if there, err := r.c.hasBlob(ctx, r.ref, d.Digest); err != nil || there {
		return present, err
	}
	return sent, r.c.finishUpload(ctx, a, started, what, d, open)
}

// attach puts a referrer's manifest once more, since the registry says only then
// whether it lists it; layers under a tag are added to those that are there.
func (r repository) attach(ctx context.Context, a attached, m *manifest.Manifest, body []byte) (listed bool, err error) {
	if a.suffix == "" {
		return r.c.putReferrer(ctx, r.ref, m, a.Descriptor, body)
	}
	return true, r.putUnderTag(ctx, a, m, body)
}

func (r repository) list(ctx context.Context, image sigbox.Digest, entries []manifest.Descriptor) error {
	return r.c.listReferrers(ctx, r.ref.At(image), entries)
}

// putUnderTag puts what stands under a tag of cosign's: as it is where there is nothing,
// and else its layers behind those that are there.
func (r repository) putUnderTag(ctx context.Context, a attached, m *manifest.Manifest, body []byte) error {
	at := r.ref.At(a.image).fallback(a.suffix)
	now, err := r.c.fetchManifest(ctx, at)
	if err != nil || now.digest.Equal(a.Digest) {
		return err
	}
	return r.c.mergeFrom(ctx, at, body, func(ctx context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		switch {
		case now == nil:
			return m, nil
		case m.IsIndex() && reflect.DeepEqual(m, now):
			return nil, nil // which nobody takes for signatures, and is copied as it is
		}
		return r.c.withLayers(ctx, at, now, m.Layers)
	})
}

func (r repository) finish(ctx context.Context, root manifest.Descriptor, body []byte) error {
	if r.ref.tag == "" {
		return nil
	}
	_, err := r.c.pushManifest(ctx, r.ref.Tagged(r.ref.tag), root.MediaType, body)
	return err
}
