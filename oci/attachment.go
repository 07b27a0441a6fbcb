package oci

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Kind is what is attached to an image, and how.
type Kind uint8

const (
	// Bundle is a Sigstore bundle that refers to the image.
	Bundle Kind = iota + 1
	// Signature is cosign's of before: a payload that names the image, signed, under
	// the tag sha256-….sig.
	Signature
	// Attestation is cosign's of before: an envelope under sha256-….att.
	Attestation
	// SBOM is a bill of materials under sha256-….sbom. Nobody has signed it.
	SBOM
)

// legacyKinds are the suffix of the tag and the media type of its layers, "" for any.
var legacyKinds = map[Kind]struct{ name, suffix, mediaType string }{
	Signature:   {"signature", ".sig", cosign.PayloadType},
	Attestation: {"attestation", ".att", cosign.EnvelopeType},
	SBOM:        {"SBOM", ".sbom", ""},
}

// String names the kind.
func (k Kind) String() string {
	if k == Bundle {
		return "bundle"
	}
	return cmp.Or(legacyKinds[k].name, "unknown kind")
}

// Annotations of a bundle's manifest.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	annotationCreated   = "org.opencontainers.image.created"
)

// Attachment is what a registry has for an image: the claim of whoever could write
// there, until package verify has judged it. It must not be changed.
type Attachment struct {
	Kind Kind
	// Subject is the image by digest, in the repository that it was asked for, or that
	// Config names.
	Subject Reference
	// Manifest holds the attachment, by digest.
	Manifest sigbox.Digest
	// Blob describes Content.
	Blob manifest.Descriptor
	// Annotations are the manifest's of a bundle, and the blob's otherwise.
	Annotations map[string]string
	// Content is the bundle, payload, envelope or SBOM as it was found.
	Content []byte
}

// Bundle gives the attachment as a bundle. Its artifact is the subject's digest, but
// for a [Signature]: that one signs its Content, of which Bundle makes sure that it
// names the subject. Errors are of kind Invalid, TooLarge or, for what names another
// image, NotVerified.
func (a *Attachment) Bundle() (*sigbox.Bundle, error) {
	switch a.Kind {
	case Bundle:
		return bundle.Parse(a.Content)
	case Signature:
		if err := checkPayload(a.Content, a.Subject.digest); err != nil {
			return nil, err
		}
		return cosign.FromImage(a.Annotations, nil)
	case Attestation:
		return cosign.FromImage(a.Annotations, a.Content)
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "a %s is not signed", a.Kind)
}

// Query says what to look for.
type Query struct {
	// Kinds are looked for one after the other; none are Bundle, Signature and
	// Attestation.
	Kinds []Kind
	// PredicateTypes are those that are looked for: bundles that are said to be of
	// others come last. They are not left out, since what is said of them is not signed.
	PredicateTypes []string
}

// Attachments gives what is attached to an image. Nothing is fetched before it is
// asked for: who stops at the first bundle has spent three requests. After it more
// and more are fetched at a time.
//
// With an error comes the attachment that could not be read, which has no Content and
// does not end the list; or nil, when a list could not be read: then that kind's list
// is not whole, and nothing says that there is no signature. Errors of a list end it.
func (c *Client) Attachments(ctx context.Context, ref Reference, q Query) iter.Seq2[*Attachment, error] {
	kinds := q.Kinds
	if len(kinds) == 0 {
		kinds = []Kind{Bundle, Signature, Attestation}
	}
	return func(yield func(*Attachment, error) bool) {
		subject, err := c.Resolve(ctx, ref)
		if err != nil {
			yield(nil, err)
			return
		}
		subject = c.home(subject)
		for _, k := range kinds {
			found := c.legacy(ctx, subject, k)
			if k == Bundle {
				found = c.bundles(ctx, subject, q.PredicateTypes)
			}
			for a, err := range found {
				if !yield(a, err) || a == nil {
					return
				}
			}
		}
	}
}

// isBundleType reports whether a media type is that of a bundle of any version.
func isBundleType(t string) bool {
	return strings.HasPrefix(t, "application/vnd.dev.sigstore.bundle.v") || strings.HasPrefix(t, "application/vnd.dev.sigstore.bundle+json")
}

// saysNothing reports whether a list leaves open what a manifest is of. There are
// registries that name the type of the config in place of the artifact's.
func saysNothing(artifactType string) bool {
	return artifactType == "" || artifactType == manifest.TypeEmpty
}

// bundles gives the bundles that refer to ref. The registry is asked for those of
// today's type first.
func (c *Client) bundles(ctx context.Context, ref Reference, predicates []string) iter.Seq2[*Attachment, error] {
	return func(yield func(*Attachment, error) bool) {
		seen := map[string]bool{}
		for _, artifactType := range []string{bundle.MediaTypeV03, ""} {
			filtered := false
			for page, err := range c.referrerPages(ctx, ref, artifactType) {
				if err != nil {
					yield(nil, err)
					return
				}
				filtered = filtered || page.filtered
				if !c.yieldBundles(ctx, ref, candidates(page.manifests, seen, predicates), yield) {
					return
				}
			}
			if !filtered {
				return // others would have been listed
			}
		}
	}
}

// candidates gives the manifests that may be bundles and were not seen, those of the
// wanted predicate types first.
func candidates(all []manifest.Descriptor, seen map[string]bool, predicates []string) []manifest.Descriptor {
	var out []manifest.Descriptor
	for _, d := range all {
		if key := d.Digest.String(); !seen[key] && (isBundleType(d.ArtifactType) || saysNothing(d.ArtifactType)) {
			seen[key] = true
			out = append(out, d)
		}
	}
	if len(predicates) == 0 {
		return out
	}
	rank := func(d manifest.Descriptor) int {
		switch t, told := d.Annotations[annotationPredicate]; {
		case slices.Contains(predicates, t):
			return 0
		case !told:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b manifest.Descriptor) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// yieldBundles reads manifests, one, then two, then four at a time, and their blobs.
func (c *Client) yieldBundles(ctx context.Context, ref Reference, all []manifest.Descriptor, yield func(*Attachment, error) bool) bool {
	for width := 1; len(all) > 0; width = min(2*width, c.cfg.Parallel) {
		n := min(width, len(all))
		found := make([][]*Attachment, n)
		errs := c.each(n, func(i int) (err error) {
			found[i], err = c.bundleManifest(ctx, ref, all[i])
			return err
		})
		var next []*Attachment
		for i := range found {
			if errs[i] != nil {
				if !yield(&Attachment{Kind: Bundle, Subject: ref, Manifest: all[i].Digest}, errs[i]) {
					return false
				}
			}
			next = append(next, found[i]...)
		}
		if !c.yieldBlobs(ctx, next, c.cfg.Parallel, yield) {
			return false
		}
		all = all[n:]
	}
	return true
}

// each calls f for 0 to n-1, as many at a time as requests may be under way.
func (c *Client) each(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var g errgroup.Group
	g.SetLimit(c.cfg.Parallel)
	for i := range n {
		g.Go(func() error {
			errs[i] = f(i)
			return nil
		})
	}
	_ = g.Wait() // errors stand in errs
	return errs
}

// bundleManifest reads a manifest that may be of a bundle. It gives nothing if it is
// of something else.
func (c *Client) bundleManifest(ctx context.Context, ref Reference, d manifest.Descriptor) ([]*Attachment, error) {
	m, err := c.parsedManifest(ctx, ref.At(d.Digest))
	switch {
	case err != nil:
		return nil, err
	case m.IsIndex() || !isBundleType(m.Kind()):
		return nil, nil
	}
	return bundlesIn(ref, d.Digest, m)
}

// maxBatch bounds what is fetched at a time before somebody has looked at it, in bytes.
const maxBatch = 64 << 20

// yieldBlobs fetches the contents of attachments, at most width at a time.
func (c *Client) yieldBlobs(ctx context.Context, all []*Attachment, width int, yield func(*Attachment, error) bool) bool {
	for len(all) > 0 {
		n, size := 1, all[0].Blob.Size
		for n < min(len(all), width) && size+all[n].Blob.Size <= maxBatch && all[n].Blob.Size <= maxBatch {
			size += all[n].Blob.Size
			n++
		}
		errs := c.each(n, func(i int) (err error) {
			all[i].Content, err = c.blob(ctx, all[i].Subject, all[i].Blob)
			return err
		})
		for i, err := range errs {
			if !yield(all[i], err) {
				return false
			}
		}
		all = all[n:]
	}
	return true
}

// legacy gives what stands under a tag of cosign's.
func (c *Client) legacy(ctx context.Context, ref Reference, k Kind) iter.Seq2[*Attachment, error] {
	return func(yield func(*Attachment, error) bool) {
		form, known := legacyKinds[k]
		if !known {
			yield(nil, sigbox.Errorf(sigbox.Invalid, "attachments of %s", k))
			return
		}
		at := ref.fallback(form.suffix)
		if !at.canBe() {
			return
		}
		v, err := c.manifestOf(ctx, at)
		if err != nil || v.missing {
			if err != nil {
				yield(nil, err)
			}
			return
		}
		m, err := v.parse(at)
		if err != nil {
			yield(nil, err)
			return
		}
		all := layersIn(ref, v.digest, k, m)
		if limit := c.cfg.Limits.Referrers; len(all) > limit {
			yield(nil, sigbox.Errorf(sigbox.TooLarge, "%s: more than %d layers", at, limit))
			return
		}
		for width := 1; len(all) > 0; width = min(2*width, c.cfg.Parallel) {
			n := min(width, len(all))
			if !c.yieldBlobs(ctx, all[:n], width, yield) {
				return
			}
			all = all[n:]
		}
	}
}
