package oci

import (
	"context"
	"iter"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Node is a manifest, with what belongs to it.
type Node struct {
	// Descriptor names the manifest. ArtifactType and Annotations are the manifest's
	// own, where it could be read.
	manifest.Descriptor
	// Kind is that of what is attached, in a form of Sigstore's; 0 is anything else.
	Kind Kind
	// Tag is cosign's, by which the manifest belongs to an image; "" if it refers to it.
	Tag string
	// Manifest is nil if it could not be read, or if it does not refer to what it is
	// listed for, and Err says why.
	Manifest *manifest.Manifest
	Err      error
	// Images are those that an index lists.
	Images []*Node
	// Attached are what refers to it, and what stands under cosign's tags for it.
	Attached []*Node

	// subject is what it must refer to, zero for what belongs to something otherwise;
	// stray is whether it does not.
	subject sigbox.Digest
	stray   bool
}

// key tells nodes apart. What is listed for something that it does not refer to is not
// taken for itself.
func (n *Node) key() string {
	if n.subject.IsZero() {
		return n.Digest.String()
	}
	return n.Digest.String() + " of " + n.subject.String()
}

// Tree gives an image with all that [Client.Copy] would copy, in no order that means
// anything: where [Config] has signatures in a repository of their own, what belongs to
// images is what is there. What hangs on a manifest that is met again stands where it was met first.
//
// A manifest that is not there, makes no sense, or is listed for what it does not refer
// to, is a Node with an error and with nothing below, and so does not hide the others;
// whatever else fails ends it, since the tree would not be whole.
func (c *Client) Tree(ctx context.Context, p Place) (*Node, error) {
	s, err := p.store(c)
	if err != nil {
		return nil, err
	}
	return c.treeOf(ctx, s)
}

func (c *Client) treeOf(ctx context.Context, s store) (*Node, error) {
	d, err := s.root(ctx)
	if err != nil {
		return nil, err
	}
	root := &Node{Descriptor: d}
	seen, total := map[string]bool{d.Digest.String(): true}, 1
	level := []*Node{root}
	for depth := 0; len(level) > 0; depth++ {
		if depth > (maxDepth+1)*(maxChain+1) {
			return nil, sigbox.Errorf(sigbox.TooLarge, "what belongs to the image hangs more than %d deep", depth)
		}
		errs := c.each(len(level), func(i int) error { return level[i].grow(ctx, s) })
		var next []*Node
		for i, n := range level {
			if errs[i] != nil {
				return nil, errs[i]
			}
			below := slices.Concat(n.Images, n.Attached)
			if total += len(below); total > maxCopied {
				return nil, sigbox.Errorf(sigbox.TooLarge, "more than %d manifests belong to the image", maxCopied)
			}
			for _, b := range below {
				if key := b.key(); !seen[key] {
					seen[key] = true
					next = append(next, b)
				} else if err := b.load(ctx, s); err != nil {
					return nil, err
				}
			}
		}
		level = next
	}
	return root, root.Err
}

// grow reads the manifest, and finds what belongs to it.
func (n *Node) grow(ctx context.Context, s store) error {
	if err := n.load(ctx, s); err != nil {
		return err
	}
	if n.Err != nil && !n.subject.IsZero() {
		return nil // nothing shows that it, and what belongs to it, has a place here
	}
	if n.Manifest != nil {
		for _, d := range n.Manifest.Manifests {
			if d.IsManifest() {
				n.Images = append(n.Images, &Node{Descriptor: d})
			}
		}
	}
	found, err := s.attached(ctx, n.Digest)
	for _, a := range found {
		one := &Node{Descriptor: a.Descriptor, subject: a.image}
		if a.suffix != "" {
			one.Tag, one.Kind, one.subject = fallbackTag(a.image, a.suffix), kindOfSuffix(a.suffix), sigbox.Digest{}
		}
		n.Attached = append(n.Attached, one)
	}
	return err
}

func kindOfSuffix(suffix string) Kind {
	for k, form := range legacyKinds {
		if form.suffix == suffix {
			return k
		}
	}
	return 0
}

// load reads the manifest. The error is one that leaves open what it holds.
func (n *Node) load(ctx context.Context, s store) error {
	v, err := s.manifest(ctx, n.Digest)
	var m *manifest.Manifest
	if err == nil {
		m, err = manifest.Parse(v.body)
	}
	if err == nil && !n.subject.IsZero() {
		err = checkSubject(m, n.Digest.String(), n.subject)
		n.stray = err != nil
	}
	if err != nil {
		switch sigbox.KindOf(err) {
		case sigbox.NotFound, sigbox.Invalid, sigbox.TooLarge, sigbox.NotVerified:
			if n.Err = err; n.Tag == "" && isBundleType(n.ArtifactType) {
				n.Kind = Bundle // by what the list says of it
			}
			return nil
		}
		return err
	}
	n.Manifest, n.ArtifactType, n.Annotations = m, m.Kind(), m.Annotations
	if n.Tag == "" && isBundleType(n.ArtifactType) {
		n.Kind = Bundle
	}
	return nil
}

// Contents gives what a node that is attached to subject holds: of bundles and of what
// stands under cosign's tags, and nothing of others. Errors come with the attachment
// that could not be read.
func (c *Client) Contents(ctx context.Context, subject Reference, n *Node) iter.Seq2[*Attachment, error] {
	subject = c.home(subject)
	return func(yield func(*Attachment, error) bool) {
		all, err := n.contents(subject)
		if err != nil {
			yield(&Attachment{Kind: n.Kind, Subject: subject, Manifest: n.Digest}, err)
			return
		}
		c.yieldBlobs(ctx, all, c.cfg.Parallel, yield)
	}
}

func (n *Node) contents(subject Reference) ([]*Attachment, error) {
	switch {
	case n.Err != nil:
		return nil, n.Err
	case n.Kind == Bundle:
		return bundlesIn(subject, n.Digest, n.Manifest)
	case n.Kind != 0:
		return layersIn(subject, n.Digest, n.Kind, n.Manifest), nil
	}
	return nil, nil
}

// Compare makes sure that all that belongs to an image at from does so at to, where more
// may belong to it. The error is of kind NotFound for what is missing. What from's
// client has read before counts there, and to is asked anew.
func (c *Client) Compare(ctx context.Context, from, to Place) error {
	want, err := c.Tree(ctx, from)
	if err != nil {
		return err
	}
	anew := c.Renew()
	target, err := anew.target(to)
	if err != nil {
		return err
	}
	got, err := anew.treeOf(ctx, target)
	if err != nil {
		return err
	}
	if !got.Digest.Equal(want.Digest) {
		return sigbox.Mismatch(sigbox.NotFound, "the copy is of another image", want.Digest, got.Digest)
	}
	return missing(want, children(got, map[edge]*Node{}))
}

// edge is how a manifest belongs to another: from is its digest.
type edge struct{ from, to string }

// children gives what belongs to what in a tree: by digest or by tag.
func children(n *Node, all map[edge]*Node) map[edge]*Node {
	for _, b := range slices.Concat(n.Images, n.Attached) {
		all[n.edgeTo(b)] = b
		children(b, all)
	}
	return all
}

func (n *Node) edgeTo(b *Node) edge {
	if b.Tag != "" {
		return edge{n.Digest.String(), b.Tag}
	}
	return edge{n.Digest.String(), b.Digest.String()}
}

// missing is the error for the first that stands below n and not among all.
func missing(n *Node, all map[edge]*Node) error {
	for _, b := range slices.Concat(n.Images, n.Attached) {
		if b.stray {
			continue
		}
		got := all[n.edgeTo(b)]
		if got == nil || got.Err != nil || b.Manifest != nil && !holds(got, b) {
			e := sigbox.Errorf(sigbox.NotFound, "%s of %s is not there after the copy", b.Digest, n.Digest).WithHint("make the copy again")
			if got != nil && got.Err != nil {
				e = e.WithCause(got.Err)
			}
			return e
		}
		if !got.Digest.Equal(b.Digest) {
			continue // layers were added to others, and what refers to the manifest itself has no place there
		}
		if err := missing(b, all); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether a manifest has all that one that was copied to it has: the same,
// or under a tag the same layers.
func holds(got, want *Node) bool {
	return got.Digest.Equal(want.Digest) || !slices.ContainsFunc(want.Manifest.Layers, func(l manifest.Descriptor) bool {
		return !hasLayer(got.Manifest, l)
	})
}

// layersIn gives what stands under a tag of cosign's.
func layersIn(subject Reference, in sigbox.Digest, k Kind, m *manifest.Manifest) []*Attachment {
	var all []*Attachment
	for _, l := range m.Layers {
		if form := legacyKinds[k]; form.mediaType == "" || l.MediaType == form.mediaType {
			all = append(all, &Attachment{Kind: k, Subject: subject, Manifest: in, Blob: l, Annotations: l.Annotations})
		}
	}
	return all
}

// bundlesIn gives the bundles of a manifest that must be one of bundles.
func bundlesIn(subject Reference, in sigbox.Digest, m *manifest.Manifest) ([]*Attachment, error) {
	at := subject.At(in)
	if err := checkSubject(m, at.String(), subject.digest); err != nil {
		return nil, err
	}
	var out []*Attachment
	for _, l := range m.Layers {
		if isBundleType(l.MediaType) {
			out = append(out, &Attachment{Kind: Bundle, Subject: subject, Manifest: in, Blob: l, Annotations: m.Annotations})
		}
	}
	const most = 16
	if len(out) == 0 || len(out) > most {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: expected one bundle, found %d", at, len(out))
	}
	return out, nil
}

// refersTo reports whether a manifest says that it belongs to an image.
func refersTo(m *manifest.Manifest, image sigbox.Digest) bool {
	return m.Subject != nil && m.Subject.Digest.Equal(image)
}

// checkSubject makes sure that a manifest refers to an image that it is listed for.
func checkSubject(m *manifest.Manifest, what string, image sigbox.Digest) error {
	if !refersTo(m, image) {
		return sigbox.Errorf(sigbox.NotVerified, "%s is listed for %s, and does not refer to it", what, image)
	}
	return nil
}
