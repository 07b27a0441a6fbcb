package oci

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Registries let nobody change a tag only if it is as it was read. So a change is
// written, and the tag watched for a while: whoever read before it was written and
// writes after it undoes it, and then it is made again. A write that takes longer than
// others can be thought to watch is given up and begun anew.

// change makes the next state of a manifest, of nil if there is none yet. It gives nil
// if nothing is to be changed.
type change func(now *manifest.Manifest) (*manifest.Manifest, error)

// listReferrer enters d into the index that stands for the referrers API, unless the
// API lists it after all.
func (c *Client) listReferrer(ctx context.Context, subject Reference, d manifest.Descriptor) error {
	if page, err := c.apiReferrers(ctx, subject, "", ""); err == nil && !page.missing && hasDigest(page.manifests, d.Digest) {
		return nil
	}
	return c.merge(ctx, subject.fallback(""), func(now *manifest.Manifest) (*manifest.Manifest, error) {
		return withReferrers(now, []manifest.Descriptor{d})
	})
}

// withReferrers gives an index with more entries, or nil if it has them.
func withReferrers(now *manifest.Manifest, more []manifest.Descriptor) (*manifest.Manifest, error) {
	if now == nil {
		now = &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
	}
	if !now.IsIndex() {
		return nil, sigbox.Mismatch(sigbox.Conflict, "the tag of the referrers has another media type", manifest.TypeIndex, now.Type())
	}
	more = slices.DeleteFunc(slices.Clone(more), func(d manifest.Descriptor) bool { return hasDigest(now.Manifests, d.Digest) })
	if len(more) == 0 {
		return nil, nil
	}
	now.Manifests = append(now.Manifests, more...)
	return now, nil
}

func hasDigest(all []manifest.Descriptor, d sigbox.Digest) bool {
	for _, v := range all {
		if v.Digest.Equal(d) {
			return true
		}
	}
	return false
}

// merge changes what stands under a tag until the change is there to stay.
func (c *Client) merge(ctx context.Context, at Reference, next change) error {
	defer c.writers.lock(at.String())()
	const most = 64 // rounds
	for range most {
		started := time.Now()
		written, err := c.mergeOnce(ctx, at, next)
		if err != nil || !written {
			return err
		}
		stays, err := c.watch(ctx, at, next, max(c.cfg.Settle, patience*time.Since(started)))
		if err != nil || stays {
			return err
		}
	}
	return sigbox.Errorf(sigbox.Conflict, "%s: others change it all the time", at).WithHint("try again")
}

// mergeOnce makes one change, and reports whether one was sent: also a write of which
// the outcome was not known at first is to be watched.
func (c *Client) mergeOnce(ctx context.Context, at Reference, next change) (written bool, err error) {
	for attempt := 1; ; attempt++ {
		sent, err := c.tryMerge(ctx, at, next)
		written = written || sent
		if err == nil {
			return written, nil
		}
		if err := c.beforeAgain(ctx, attempt, err); err != nil {
			return written, err
		}
	}
}

// beforeAgain waits after an attempt that failed; it gives an error if there is to be no
// other.
func (c *Client) beforeAgain(ctx context.Context, attempt int, err error) error {
	if attempt >= c.cfg.Limits.Attempts || ctx.Err() != nil || !mayPass(err) {
		return err
	}
	return c.cfg.Wait(ctx, backoff(attempt))
}

// mayPass reports whether a write of a tag is worth another try.
func mayPass(err error) bool {
	k := sigbox.KindOf(err)
	return k == sigbox.Unavailable || k == sigbox.Conflict || errors.Is(err, context.DeadlineExceeded)
}

// tryMerge reads and writes, and reports whether it came to writing.
func (c *Client) tryMerge(ctx context.Context, at Reference, next change) (bool, error) {
	started := time.Now()
	v, m, err := c.tagNow(ctx, at)
	if err != nil {
		return false, err
	}
	if m, err = next(m); err != nil || m == nil {
		return false, err
	}
	body, err := manifest.Append(nil, m)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.cfg.Settle, patience*time.Since(started)))
	defer cancel()
	return true, c.replaceManifest(ctx, at, v, m.Type(), body)
}

// unchanged is the condition that a tag is as it was read, for registries that heed it
// (RFC 9110 §13.1).
func unchanged(v content) http.Header {
	switch {
	case v.missing:
		return http.Header{"If-None-Match": {"*"}}
	case v.etag != "":
		return http.Header{"If-Match": {v.etag}}
	}
	return nil
}

// patience is how much longer than a request takes here it is taken to take for
// others.
const patience = 4

// tagNow gives what stands under a tag at this moment; nil if nothing does. An image that
// stands where its referrers should be listed is taken for an index that lists it, so that
// it stays referred to.
func (c *Client) tagNow(ctx context.Context, at Reference) (content, *manifest.Manifest, error) {
	v, err := c.fetchManifest(ctx, at)
	if err != nil || v.missing {
		return v, nil, err
	}
	m, err := v.parse(at)
	if err == nil && v.standsIn(at) {
		itself := manifest.Descriptor{MediaType: m.Type(), Digest: v.digest, Size: int64(len(v.body))}
		m = &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex, Manifests: []manifest.Descriptor{itself}}
	}
	return v, m, err
}

// watch reports whether a change is still there a while later. It looks several
// times, at times that differ from writer to writer.
func (c *Client) watch(ctx context.Context, at Reference, next change, while time.Duration) (bool, error) {
	const looks = 4
	for range looks {
		pause := while/looks/2 + rand.N(while/looks+1) //nolint:gosec // it is to keep writers apart
		if err := c.cfg.Wait(ctx, pause); err != nil {
			return false, err
		}
		_, m, err := c.tagNow(ctx, at)
		if err != nil {
			return false, err
		}
		if m, err = next(m); err != nil || m != nil {
			return false, err
		}
	}
	return true, nil
}
