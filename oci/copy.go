package oci

import (
	"context"
	"crypto/subtle"
	"hash"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Place is where an image is or is to be: a [Reference] in a registry or a [Layout] in
// a directory.
type Place interface {
	store(c *Client) (store, error)
}

// Copied says what a copy did.
type Copied struct {
	// Image is what was copied.
	Image manifest.Descriptor
	// Manifests that stand at the target, those of signatures and the like included.
	Manifests int
	// Attached are those of them that belong to an image: referrers, and what stands
	// under cosign's tags.
	Attached int
	// LeftOut are listed for what they do not refer to, and were not copied.
	LeftOut int
	// Blobs were sent, Mounted taken over within a registry, and Present there before.
	Blobs, Mounted, Present int
	// Bytes of the blobs that were sent.
	Bytes int64
}

// Copy copies an image, of an index with all that is listed in it, and with all that
// refers to any of them: bundles, SBOMs, signatures of the signatures, and what stands
// under cosign's tags, which is added to what the target has under them. What is listed
// for something that it does not refer to is left out. What is at the target is not sent
// again, so that a copy that broke off can be made again. The target's tag is set last:
// whoever finds the image finds its signatures. A target without tag is the image by
// digest. Where [Config] has signatures in a repository of their own, what belongs to a
// source's images is what is there, and at the target it is beside them. Progress, if it
// is not nil, hears how far the copy is, from one goroutine at a time.
func (c *Client) Copy(ctx context.Context, from, to Place, progress func(Copied)) (Copied, error) {
	source, err := from.store(c)
	if err != nil {
		return Copied{}, err
	}
	target, err := c.target(to)
	if err != nil {
		return Copied{}, err
	}
	root, err := source.root(ctx)
	if err != nil {
		return Copied{}, err
	}
	k := &copier{Client: c, from: source, to: target, streams: make(chan struct{}, max(1, c.cfg.Parallel/2)), root: root, progress: progress}
	k.done = memo[struct{}]{size: each[struct{}], limit: maxCopied}
	k.blobs = memo[struct{}]{size: each[struct{}], limit: 1 << 20}
	if err := k.copyTree(ctx, root, 0); err != nil {
		return k.result(), err
	}
	if err := k.copyAttached(ctx); err != nil {
		return k.result(), err
	}
	_, body, err := k.read(ctx, root)
	if err != nil {
		return k.result(), err
	}
	return k.result(), target.finish(ctx, root, body)
}

// store is one end of a copy.
type store interface {
	// root is what the place names.
	root(ctx context.Context) (manifest.Descriptor, error)
	// manifest gives one by digest, which was held against it.
	manifest(ctx context.Context, d sigbox.Digest) (content, error)
	// attached gives what belongs to an image.
	attached(ctx context.Context, image sigbox.Digest) ([]attached, error)
	// open gives a blob as it is there.
	open(ctx context.Context, d manifest.Descriptor) (io.ReadCloser, error)

	// has reports whether a manifest is there, with all that it needs.
	has(ctx context.Context, d manifest.Descriptor) (bool, error)
	// put puts a manifest, after what it needs.
	put(ctx context.Context, m *manifest.Manifest, d manifest.Descriptor, body []byte) error
	// putBlob puts a blob that from has.
	putBlob(ctx context.Context, d manifest.Descriptor, from store, open func() (io.ReadCloser, error)) (fate, error)
	// attach makes what was put belong to an image, and reports whether it is listed: list
	// is for what is not.
	attach(ctx context.Context, a attached, m *manifest.Manifest, body []byte) (listed bool, err error)
	// list enters what was attached to an image into its list.
	list(ctx context.Context, image sigbox.Digest, entries []manifest.Descriptor) error
	// finish makes the whole visible.
	finish(ctx context.Context, root manifest.Descriptor, body []byte) error
}

// attached is a manifest that belongs to an image: by its subject or, with a suffix,
// by a tag of cosign's.
type attached struct {
	manifest.Descriptor
	image  sigbox.Digest
	suffix string
}

// fate is what became of a blob.
type fate int

const (
	sent fate = iota
	mounted
	present
)

// Bounds on a copy.
const (
	maxCopied = 16 << 10 // manifests
	maxChain  = 8        // referrers of referrers
)

// copier is one copy.
type copier struct {
	*Client
	from, to store
	root     manifest.Descriptor
	progress func(Copied)
	streams  chan struct{} // one for each blob under way
	done     memo[struct{}]
	blobs    memo[struct{}]

	mu sync.Mutex // guards what follows
	// nodes are the manifests that were copied, in no order.
	nodes  []manifest.Descriptor
	counts [3]int // of blobs, by fate
	bytes  int64
	extra  int
	// strays are what is listed for what it does not refer to.
	strays int
}

func (k *copier) result() Copied {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.soFar()
}

// soFar is what was done; the caller holds mu.
func (k *copier) soFar() Copied {
	return Copied{
		Image: k.root, Manifests: len(k.nodes), Attached: k.extra, LeftOut: k.strays, Bytes: k.bytes,
		Blobs: k.counts[sent], Mounted: k.counts[mounted], Present: k.counts[present],
	}
}

// count notes what was done, and tells of it.
func (k *copier) count(done func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := done()
	if k.progress != nil {
		k.progress(k.soFar())
	}
	return err
}

// copyTree copies a manifest with what it needs, each once.
func (k *copier) copyTree(ctx context.Context, d manifest.Descriptor, depth int) error {
	_, err := k.done.do(ctx, d.Digest.String(), func(ctx context.Context) (struct{}, error) {
		m, body, err := k.read(ctx, d)
		if err != nil {
			return struct{}{}, err
		}
		if depth > maxDepth {
			return struct{}{}, sigbox.Errorf(sigbox.TooLarge, "%s: indexes in indexes, more than %d deep", d.Digest, maxDepth)
		}
		there, err := k.to.has(ctx, d)
		if err != nil {
			return struct{}{}, err
		}
		if err := k.copyNeeds(ctx, m, there, depth); err != nil {
			return struct{}{}, err
		}
		if !there {
			if err := k.to.put(ctx, m, d, body); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, k.note(d)
	})
	return err
}

// read gives a manifest of the source.
func (k *copier) read(ctx context.Context, d manifest.Descriptor) (*manifest.Manifest, []byte, error) {
	v, err := k.from.manifest(ctx, d.Digest)
	if err != nil {
		return nil, nil, err
	}
	m, err := manifest.Parse(v.body)
	if err != nil {
		return nil, nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", d.Digest, err)
	}
	return m, v.body, nil
}

func (k *copier) note(d manifest.Descriptor) error {
	return k.count(func() error {
		if len(k.nodes) == maxCopied {
			return sigbox.Errorf(sigbox.TooLarge, "more than %d manifests belong to the image", maxCopied)
		}
		k.nodes = append(k.nodes, d)
		return nil
	})
}

// copyNeeds copies what stands in a manifest: of one that is there already only the
// manifests, for the sake of what belongs to them.
func (k *copier) copyNeeds(ctx context.Context, m *manifest.Manifest, there bool, depth int) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range m.Manifests {
		if d.IsManifest() {
			g.Go(func() error { return k.copyTree(ctx, d, depth+1) })
		}
	}
	if there {
		return g.Wait()
	}
	for _, d := range blobsOf(m) {
		g.Go(func() error { return k.copyBlob(ctx, d) })
	}
	return g.Wait()
}

// blobsOf gives what a manifest has in blobs, without what registries do not hold
// (image-spec v1.1.1, Non-Distributable Layers).
func blobsOf(m *manifest.Manifest) []manifest.Descriptor {
	all := slices.Clone(m.Layers)
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	for _, d := range m.Manifests {
		if !d.IsManifest() {
			all = append(all, d)
		}
	}
	return slices.DeleteFunc(all, func(d manifest.Descriptor) bool {
		return strings.Contains(d.MediaType, ".nondistributable.") || strings.Contains(d.MediaType, ".foreign.")
	})
}

func (k *copier) copyBlob(ctx context.Context, d manifest.Descriptor) error {
	_, err := k.blobs.do(ctx, d.Digest.String(), func(ctx context.Context) (struct{}, error) {
		select {
		case k.streams <- struct{}{}:
			defer func() { <-k.streams }()
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
		how, err := k.to.putBlob(ctx, d, k.from, func() (io.ReadCloser, error) {
			r, err := k.from.open(ctx, d)
			if err != nil {
				return nil, err
			}
			return newCheckedReader(r, d), nil
		})
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, k.count(func() error {
			if k.counts[how]++; how == sent {
				k.bytes += d.Size
			}
			return nil
		})
	})
	return err
}

// later has something done meanwhile that holds so many bytes, once there is room for them.
type later func(ctx context.Context, size int64, do func(context.Context) error) error

// copyAttached copies what belongs to what was copied, and what belongs to that. Tags are
// written meanwhile, as many as memory lets: that takes its time, most of which is waiting.
func (k *copier) copyAttached(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	limit := k.cfg.Limits.Memory
	room := semaphore.NewWeighted(limit)
	meanwhile := func(caller context.Context, size int64, do func(context.Context) error) error {
		size = min(size, limit)
		if room.Acquire(caller, size) != nil {
			return context.Cause(caller)
		}
		all.Go(func() error {
			defer room.Release(size)
			return do(ctx)
		})
		return nil
	}
	all.Go(func() error { return k.copyChains(ctx, meanwhile) })
	return all.Wait()
}

// copyChains is copyAttached but for the tags.
func (k *copier) copyChains(ctx context.Context, meanwhile later) error {
	looked := 0
	for chain := 0; ; chain++ {
		k.mu.Lock()
		level := slices.Clone(k.nodes[looked:])
		looked = len(k.nodes)
		k.mu.Unlock()
		if len(level) == 0 {
			return nil
		}
		if chain > maxChain {
			return sigbox.Errorf(sigbox.TooLarge, "referrers of referrers, more than %d deep", maxChain)
		}
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(k.cfg.Parallel)
		for _, d := range level {
			g.Go(func() error { return k.copyAttachedTo(ctx, d, meanwhile) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

// copyAttachedTo copies what belongs to a manifest.
func (k *copier) copyAttachedTo(ctx context.Context, image manifest.Descriptor, meanwhile later) error {
	all, err := k.from.attached(ctx, image.Digest)
	if err != nil {
		return err
	}
	var entries []manifest.Descriptor
	var size int64
	for _, a := range all {
		m, body, err := k.read(ctx, a.Descriptor)
		if sigbox.KindOf(err) == sigbox.NotFound {
			return sigbox.Errorf(sigbox.NotFound, "%s is listed for %s, and is not there", a.Digest, image.Digest).
				WithHint("if it is gone for good, take it out of the list (sigbox clean --type entry)")
		}
		if err != nil {
			return err
		}
		if a.suffix == "" && !refersTo(m, image.Digest) {
			k.mu.Lock()
			k.strays++
			k.mu.Unlock()
			continue
		}
		listed, err := k.attach(ctx, a, m, body, meanwhile)
		if err != nil {
			return err
		}
		if !listed {
			entries, size = append(entries, entryOf(m, a.Descriptor)), size+int64(len(body))
		}
		k.mu.Lock()
		k.extra++
		k.mu.Unlock()
	}
	if len(entries) == 0 {
		return nil
	}
	return meanwhile(ctx, size, func(ctx context.Context) error { return k.to.list(ctx, image.Digest, entries) })
}

// attach copies one that belongs to a manifest, and reports whether it is listed.
func (k *copier) attach(ctx context.Context, a attached, m *manifest.Manifest, body []byte, meanwhile later) (listed bool, err error) {
	if err := k.copyTree(ctx, a.Descriptor, 0); err != nil {
		return false, err
	}
	if a.suffix == "" {
		return k.to.attach(ctx, a, m, body)
	}
	return true, meanwhile(ctx, int64(len(body)), func(ctx context.Context) error {
		_, err := k.to.attach(ctx, a, m, body)
		return err
	})
}

// checkedReader holds a blob against its descriptor: a reader that ends well has given
// what it should.
type checkedReader struct {
	io.ReadCloser
	d    manifest.Descriptor
	sum  hash.Hash
	left int64
}

func newCheckedReader(r io.ReadCloser, d manifest.Descriptor) io.ReadCloser {
	return &checkedReader{ReadCloser: r, d: d, sum: d.Digest.Algorithm.New(), left: d.Size}
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.sum.Write(p[:n])
	r.left -= int64(n)
	switch {
	case r.left < 0, err == io.EOF && r.left > 0:
		return 0, sigbox.Mismatch(sigbox.NotVerified, "blob "+r.d.Digest.String()+": size in bytes", r.d.Size, r.d.Size-r.left)
	case r.left == 0 && (n > 0 || err != nil) && subtle.ConstantTimeCompare(r.sum.Sum(nil), r.d.Digest.Value) == 0:
		return 0, sigbox.Errorf(sigbox.NotVerified, "blob %s: the source sends other content", r.d.Digest)
	}
	return n, err
}
