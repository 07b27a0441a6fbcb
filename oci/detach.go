package oci

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Detach removes what is attached to an image: nodes of its [Client.Tree], without what
// is attached to those. Of referrers it deletes the manifests and, where the registry has
// a tag for the referrers API, their entries there; of cosign's tags it takes the layers
// that the node has, and the tag with the last of them. What others attach at the same
// time stays. To do it again changes nothing.
//
// A manifest that does not refer to the subject, or of which that could not be read, is
// not deleted: whoever may write a tag can list there what they like. Its entry goes.
//
// It gives an error, or nil, for each node; of kind Denied where the registry deletes no
// manifests. A referrer that could not be deleted stays listed.
func (c *Client) Detach(ctx context.Context, subject Reference, nodes ...*Node) []error {
	errs := make([]error, len(nodes))
	var referrers []int
	var g errgroup.Group // of errors that stand in errs
	g.SetLimit(c.cfg.Parallel)
	for i, n := range nodes {
		switch {
		case subject.digest.IsZero() || !n.Digest.Valid():
			errs[i] = sigbox.Errorf(sigbox.Invalid, "what is to be removed, and from what, is named by digest")
		case n.Tag != "":
			g.Go(func() error {
				errs[i] = c.removeLayers(ctx, subject.Tagged(n.Tag), n)
				return nil
			})
		default:
			referrers = append(referrers, i)
		}
	}
	failed := c.deleteReferrers(ctx, subject, nodes, referrers)
	_ = g.Wait()
	for i, err := range failed {
		errs[i] = err
	}
	return errs
}

// deleteReferrers deletes those of the nodes that are named, and gives what failed.
// Entries go first, since there are registries that take no index with an entry that
// leads nowhere.
func (c *Client) deleteReferrers(ctx context.Context, subject Reference, nodes []*Node, which []int) map[int]error {
	failed := map[int]error{}
	if len(which) == 0 {
		return failed
	}
	defer c.forgetReferrers(subject)
	gone := make([]manifest.Descriptor, len(which))
	for at, i := range which {
		gone[at] = nodes[i].Descriptor
	}
	taken, err := c.unlist(ctx, subject, gone)
	if err != nil {
		for _, i := range which {
			failed[i] = err
		}
		return failed
	}
	var back []manifest.Descriptor
	for at, err := range c.each(len(which), func(at int) error { return c.deleteReferrer(ctx, subject, nodes[which[at]], taken) }) {
		if err == nil {
			continue
		}
		failed[which[at]] = err
		for _, d := range taken {
			if d.Digest.Equal(gone[at].Digest) {
				back = append(back, d)
			}
		}
	}
	if err := c.relist(ctx, subject, back); err != nil {
		for i := range failed {
			failed[i] = sigbox.Errorf(sigbox.KindOf(failed[i]), "%w; and it is not listed any more: %w", failed[i], err)
		}
	}
	return failed
}

// deleteReferrer deletes a node's manifest, if it refers to the subject. Of others the
// entry is what can be taken, and was if it is among those.
func (c *Client) deleteReferrer(ctx context.Context, subject Reference, n *Node, taken []manifest.Descriptor) error {
	if n.Manifest != nil && refersTo(n.Manifest, subject.digest) {
		return c.deleteManifest(ctx, subject.At(n.Digest))
	}
	if hasDigest(taken, n.Digest) || n.Err != nil && sigbox.KindOf(n.Err) == sigbox.NotFound {
		return nil
	}
	e := sigbox.Errorf(sigbox.NotVerified, "%s is listed, and nothing shows that it refers to %s: it is not deleted", n.Digest, subject.digest)
	if n.Err != nil {
		e = e.WithCause(n.Err)
	}
	return e
}

// unlist takes entries out of the index that stands for the referrers API, if there is
// one, and gives them. An index without entries stays: nothing could take it away without
// the risk of taking what somebody enters meanwhile.
func (c *Client) unlist(ctx context.Context, subject Reference, gone []manifest.Descriptor) (taken []manifest.Descriptor, err error) {
	err = c.merge(ctx, subject.fallback(""), func(_ context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		if now == nil || !now.IsIndex() {
			return nil, nil
		}
		before := len(now.Manifests)
		now.Manifests = slices.DeleteFunc(now.Manifests, func(d manifest.Descriptor) bool {
			if !hasDigest(gone, d.Digest) {
				return false
			}
			if !hasDigest(taken, d.Digest) {
				taken = append(taken, d)
			}
			return true
		})
		if len(now.Manifests) == before {
			return nil, nil
		}
		return now, nil
	})
	return taken, err
}

// relist enters what was taken out again.
func (c *Client) relist(ctx context.Context, subject Reference, back []manifest.Descriptor) error {
	if len(back) == 0 {
		return nil
	}
	return c.merge(ctx, subject.fallback(""), func(_ context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		return withReferrers(now, back)
	})
}

// deleteManifest deletes a manifest by digest; one that is not there is no error.
func (c *Client) deleteManifest(ctx context.Context, at Reference) error {
	a, err := c.access(ctx, at, transport.DeleteScope)
	if err != nil {
		return err
	}
	defer c.contents.forget(at.String())
	defer c.tags.forget(at.String())
	what := "deleting " + at.String()
	got, err := c.read(ctx, a, request{method: http.MethodDelete, path: "/manifests/" + at.identifier()}, what, maxAnswer,
		http.StatusAccepted, http.StatusOK, http.StatusNoContent, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented)
	if err != nil {
		return err
	}
	switch got.status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return sigbox.Errorf(sigbox.Denied, "%s: the registry lets nobody delete manifests, it answers %d", what, got.status).
			WithHint("who runs it can allow that; many registries have a switch for it")
	}
	return nil
}

// annotationEmptied stands in what is left under a tag of cosign's, and names the tag:
// so its digest is that of no other tag, and can be deleted.
const annotationEmptied = "dev.sigbox.emptied"

// removeLayers takes layers from under a tag, and the tag if none is left. The manifest
// that was there is not deleted: other tags may have the same.
func (c *Client) removeLayers(ctx context.Context, at Reference, n *Node) error {
	var gone []manifest.Descriptor
	if n.Manifest != nil {
		gone = n.Manifest.Layers
	}
	err := c.merge(ctx, at, func(ctx context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		if now == nil {
			return nil, nil
		}
		if now.IsIndex() {
			return nil, sigbox.Mismatch(sigbox.Conflict, at.String()+": media type", manifest.TypeImage, now.Type())
		}
		kept := slices.DeleteFunc(slices.Clone(now.Layers), func(l manifest.Descriptor) bool {
			return hasLayer(&manifest.Manifest{Layers: gone}, l)
		})
		if len(kept) == len(now.Layers) && (len(kept) > 0 || isEmptied(now, at)) {
			return nil, nil
		}
		now.Layers = kept
		if len(kept) == 0 {
			now.Annotations = maps.Clone(now.Annotations)
			if now.Annotations == nil {
				now.Annotations = map[string]string{}
			}
			now.Annotations[annotationEmptied] = at.tag
		}
		return now, c.pushConfig(ctx, at, now)
	})
	if err != nil {
		return err
	}
	return c.removeEmptied(ctx, at)
}

func isEmptied(m *manifest.Manifest, at Reference) bool {
	return len(m.Layers) == 0 && m.Annotations[annotationEmptied] == at.tag
}

// removeEmptied deletes what is left under a tag. Where the registry does not do that it
// stays, and holds nothing.
func (c *Client) removeEmptied(ctx context.Context, at Reference) error {
	v, m, err := c.tagNow(ctx, at)
	if err != nil || m == nil || !isEmptied(m, at) {
		return err
	}
	defer c.contents.forget(at.String())
	err = c.deleteManifest(ctx, at.At(v.digest))
	if err != nil && sigbox.KindOf(err) == sigbox.Denied {
		return nil
	}
	return err
}
