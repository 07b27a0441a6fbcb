package oci

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Referrers gives the manifests that name ref as their subject, by the referrers API
// or, where a registry has none, by the tag that stands for it. What they are said to
// be is the registry's word. An artifact type other than "" leaves out others, those
// without any excepted. An error ends the list: it is not whole then.
//
// Source: distribution-spec v1.1.1, Listing Referrers.
func (c *Client) Referrers(ctx context.Context, ref Reference, artifactType string) iter.Seq2[manifest.Descriptor, error] {
	return func(yield func(manifest.Descriptor, error) bool) {
		for page, err := range c.referrerPages(ctx, ref, artifactType) {
			if err != nil {
				yield(manifest.Descriptor{}, err)
				return
			}
			for _, d := range page.manifests {
				if artifactType != "" && d.ArtifactType != artifactType && !saysNothing(d.ArtifactType) {
					continue
				}
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

// referrerPages gives the lists that Referrers is made of, of which the registry may
// have left out other types.
func (c *Client) referrerPages(ctx context.Context, ref Reference, artifactType string) iter.Seq2[listing, error] {
	return func(yield func(listing, error) bool) {
		ref, err := c.Resolve(ctx, ref)
		if err != nil {
			yield(listing{}, err)
			return
		}
		limits, total := c.cfg.Limits, 0
		next := ""
		for n := 1; ; n++ {
			page, err := c.referrerPage(ctx, ref, artifactType, next)
			if total += len(page.manifests); err == nil && total > limits.Referrers {
				err = sigbox.Errorf(sigbox.TooLarge, "%s: more than %d referrers", ref, limits.Referrers)
			}
			if err != nil {
				yield(listing{}, err)
				return
			}
			if !yield(page, nil) || page.next == "" {
				return
			}
			if next = page.next; n == limits.Pages {
				yield(listing{}, sigbox.Errorf(sigbox.TooLarge, "%s: the list of referrers has more than %d pages", ref, limits.Pages))
				return
			}
		}
	}
}

// referrerPage asks for one page, the first if next is "".
func (c *Client) referrerPage(ctx context.Context, ref Reference, artifactType, next string) (listing, error) {
	key := ref.String() + " " + artifactType + " " + next
	return c.listings.do(ctx, key, func(ctx context.Context) (listing, error) {
		page, err := c.apiReferrers(ctx, ref, artifactType, next)
		if err != nil || !page.missing || next != "" {
			return page, err
		}
		return c.taggedReferrers(ctx, ref)
	})
}

// apiReferrers asks the referrers API, unless the registry is known to have none for the
// repository: who asks first finds out for the others.
func (c *Client) apiReferrers(ctx context.Context, ref Reference, artifactType, next string) (page listing, err error) {
	if next != "" {
		return c.askReferrers(ctx, ref, artifactType, next)
	}
	asked := false
	has, err := c.apis.do(ctx, ref.Repository(), func(ctx context.Context) (bool, error) {
		asked = true
		var err error
		page, err = c.askReferrers(ctx, ref, artifactType, "")
		return !page.nowhere, err
	})
	switch {
	case asked:
		return page, err
	case err == nil && !has:
		return listing{missing: true}, nil
	}
	return c.askReferrers(ctx, ref, artifactType, "")
}

// noAPI are the answers of registries that have no referrers API.
var noAPI = []int{http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented}

func (c *Client) askReferrers(ctx context.Context, ref Reference, artifactType, next string) (listing, error) {
	a, err := c.access(ctx, ref, pull)
	if err != nil {
		return listing{}, err
	}
	r := request{method: http.MethodGet, path: "/referrers/" + ref.digest.String(), at: next, header: http.Header{"Accept": {manifest.TypeIndex}}}
	if artifactType != "" {
		r.path += "?artifactType=" + url.QueryEscape(artifactType)
	}
	what := "referrers of " + ref.String()
	got, err := c.read(ctx, a, r, what, manifest.MaxSize, append([]int{http.StatusOK}, noAPI...)...)
	if err != nil {
		return listing{}, err
	}
	if got.status != http.StatusOK {
		if next != "" {
			return listing{}, sigbox.Errorf(sigbox.Unavailable, "%s: the registry answers %d to a further page", what, got.status)
		}
		return listing{missing: true, nowhere: isNoRoute(got)}, nil
	}
	if err := checkObject(what, got.body); err != nil {
		return listing{}, err
	}
	page, err := parseListing(what, got.body)
	if err != nil {
		return listing{}, err
	}
	page.filtered = artifactType != "" && isFiltered(got.header)
	page.next, err = nextPage(got)
	return page, err
}

// isNoRoute reports whether an answer says that there is nothing at such addresses, and
// not that the registry does not know what is named in this one.
func isNoRoute(got *answer) bool {
	switch codes := errorCodes(got.body); {
	case len(codes) > 0:
		return codes[0].Code == "UNSUPPORTED" || codes[0].Code == "METHOD_UNKNOWN"
	default:
		return got.status == http.StatusNotFound || got.status == http.StatusMethodNotAllowed || got.status == http.StatusNotImplemented
	}
}

// parseListing reads an index of referrers.
func parseListing(what string, b []byte) (listing, error) {
	m, err := manifest.Parse(b)
	if err == nil && !m.IsIndex() {
		err = sigbox.Mismatch(sigbox.Invalid, "media type", manifest.TypeIndex, m.Type())
	}
	if err != nil {
		return listing{}, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", what, err)
	}
	return listing{manifests: m.Manifests, size: int64(len(b))}, nil
}

func isFiltered(h http.Header) bool {
	for _, v := range h.Values("OCI-Filters-Applied") {
		for f := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(f) == "artifactType" {
				return true
			}
		}
	}
	return false
}

// nextPage gives the address of the next page, "" on the last (RFC 8288 §3). It must
// be of the same registry.
func nextPage(got *answer) (string, error) {
	for _, v := range got.header.Values("Link") {
		target, params, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(v), "<"), ">")
		if !ok || !isNext(params) {
			continue
		}
		at, err := url.Parse(got.url)
		if err != nil {
			return "", sigbox.Errorf(sigbox.Internal, "an address that cannot be read").WithCause(err)
		}
		next, err := at.Parse(target)
		if err != nil || next.Host != at.Host || next.Scheme != at.Scheme {
			return "", sigbox.Errorf(sigbox.Unavailable, "registry %s: the next page of a list is at %s", at.Host, clip(target))
		}
		return next.String(), nil
	}
	return "", nil
}

func isNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
			return true
		}
	}
	return false
}

// taggedReferrers reads the index that stands for the API.
func (c *Client) taggedReferrers(ctx context.Context, ref Reference) (listing, error) {
	at := ref.fallback("")
	v, err := c.fetchManifest(ctx, at)
	if err != nil || v.missing || v.standsIn(at) {
		return listing{missing: v.missing}, err
	}
	page, err := parseListing(at.String(), v.body)
	page.manifests = slices.DeleteFunc(page.manifests, func(d manifest.Descriptor) bool { return d.Digest.Equal(ref.digest) })
	return page, err
}

// standsIn reports whether under the tag of an image's referrers stands the image itself,
// where cosign's copy puts it: then nothing has been listed there.
func (v content) standsIn(at Reference) bool {
	return !v.missing && at.tag == fallbackTag(v.digest, "")
}
