package oci

import (
	"context"
	"net/http"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Actions in a repository.
const (
	pull = transport.PullScope
	push = transport.PushScope
)

// tagged is what a reference stood for when it was asked.
type tagged struct{ manifest.Descriptor }

// Resolve gives the reference by digest, without tag. One that has a digest is not
// asked for: whether it is there is not known then.
func (c *Client) Resolve(ctx context.Context, ref Reference) (Reference, error) {
	if !ref.digest.IsZero() {
		return ref.At(ref.digest), nil
	}
	d, err := c.Describe(ctx, ref)
	if err != nil {
		return Reference{}, err
	}
	return ref.At(d.Digest), nil
}

// Describe gives the digest, media type and size of what a reference names. The
// error is of kind NotFound if there is none.
func (c *Client) Describe(ctx context.Context, ref Reference) (manifest.Descriptor, error) {
	if ref.IsZero() {
		return manifest.Descriptor{}, sigbox.Errorf(sigbox.Invalid, "no image reference")
	}
	v, err := c.tags.do(ctx, ref.String(), func(ctx context.Context) (tagged, error) {
		if c.contents.has(ref.String()) {
			d, err := c.describeContent(ctx, ref)
			return tagged{d}, err
		}
		d, err := c.head(ctx, ref)
		if err != nil || d.Digest.Valid() {
			return tagged{d}, err
		}
		d, err = c.describeContent(ctx, ref)
		return tagged{d}, err
	})
	return v.Descriptor, err
}

// head asks for a manifest's headers. The descriptor has no digest if they do not say
// all that is needed.
func (c *Client) head(ctx context.Context, ref Reference) (manifest.Descriptor, error) {
	var none manifest.Descriptor
	a, err := c.access(ctx, ref, pull)
	if err != nil {
		return none, err
	}
	got, err := c.read(ctx, a, request{
		method: http.MethodHead, path: "/manifests/" + ref.identifier(), header: http.Header{"Accept": {manifestTypes}},
	}, ref.String(), 0, http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed)
	switch {
	case err != nil || got.status == http.StatusMethodNotAllowed:
		return none, err
	case got.status == http.StatusNotFound:
		return none, notThere(ref)
	}
	d := describeHeaders(got.header)
	if !d.IsManifest() || !ref.digest.IsZero() && !d.Digest.Equal(ref.digest) {
		return none, nil // the manifest itself will say
	}
	return d, nil
}

// describeHeaders gives what an answer's headers say of its body, zero if they do not
// say all.
func describeHeaders(h http.Header) manifest.Descriptor {
	size, err := strconv.ParseUint(h.Get("Content-Length"), 10, 62)
	if err != nil {
		return manifest.Descriptor{}
	}
	return manifest.Descriptor{MediaType: mediaType(h), Digest: digestHeader(h), Size: int64(size)}
}

// describeContent describes a manifest by reading it.
func (c *Client) describeContent(ctx context.Context, ref Reference) (manifest.Descriptor, error) {
	v, err := c.manifestOf(ctx, ref)
	if err != nil {
		return manifest.Descriptor{}, err
	}
	if v.missing {
		return manifest.Descriptor{}, notThere(ref)
	}
	m, err := v.parse(ref)
	if err != nil {
		return manifest.Descriptor{}, err
	}
	return manifest.Descriptor{MediaType: m.Type(), Digest: v.digest, Size: int64(len(v.body))}, nil
}

func notThere(ref Reference) error {
	return sigbox.Errorf(sigbox.NotFound, "%s is not there", ref).WithHint("look for a mistake in its name, or log in as somebody who may see it")
}

// maxDepth bounds indexes in indexes.
const maxDepth = 4

// Images gives what a reference names and, of an index, all that is listed in it, at
// every depth, each once: the index first.
func (c *Client) Images(ctx context.Context, ref Reference) ([]manifest.Descriptor, error) {
	ref, err := c.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	top, err := c.describeContent(ctx, ref) // which is to be read anyway, if it is an index
	if err != nil {
		return nil, err
	}
	all, seen := []manifest.Descriptor{top}, map[string]bool{top.Digest.String(): true}
	level := all
	for depth := 0; len(level) > 0; depth++ {
		indexes, err := c.indexes(ctx, ref, level)
		if err != nil {
			return nil, err
		}
		level = nil
		for _, m := range indexes {
			for _, d := range m.Manifests {
				if key := d.Digest.String(); d.IsManifest() && !seen[key] {
					seen[key] = true
					level = append(level, d)
				}
			}
		}
		all = append(all, level...)
		if limit := c.cfg.Limits.Images; len(all) > limit {
			return nil, sigbox.Errorf(sigbox.TooLarge, "%s: more than %d images in an index", ref, limit)
		}
		if depth == maxDepth && len(level) > 0 {
			return nil, sigbox.Errorf(sigbox.TooLarge, "%s: indexes in indexes, more than %d deep", ref, maxDepth)
		}
	}
	return all, nil
}

// indexes reads those of the descriptors that are indexes.
func (c *Client) indexes(ctx context.Context, ref Reference, of []manifest.Descriptor) ([]*manifest.Manifest, error) {
	var indexes []manifest.Descriptor
	for _, d := range of {
		if d.IsIndex() {
			indexes = append(indexes, d)
		}
	}
	out := make([]*manifest.Manifest, len(indexes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.cfg.Parallel)
	for i, d := range indexes {
		g.Go(func() (err error) {
			out[i], err = c.parsedManifest(ctx, ref.At(d.Digest))
			return err
		})
	}
	return out, g.Wait()
}
