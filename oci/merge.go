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
// if nothing is to be changed. What it asks of the registry it asks with ctx.
type change func(ctx context.Context, now *manifest.Manifest) (*manifest.Manifest, error)

// listReferrers enters manifests into the index that stands for the referrers API, unless
// the API lists them after all.
func (c *Client) listReferrers(ctx context.Context, subject Reference, all []manifest.Descriptor) error {
	defer c.forgetReferrers(subject)
	if page, err := c.apiReferrers(ctx, subject, "", ""); err == nil && !page.missing {
		all = slices.DeleteFunc(slices.Clone(all), func(d manifest.Descriptor) bool { return hasDigest(page.manifests, d.Digest) })
	}
	if len(all) == 0 {
		return nil
	}
	return c.merge(ctx, subject.fallback(""), func(_ context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		return withReferrers(now, all)
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
	return c.mergeFrom(ctx, at, nil, next)
}

// mergeFrom is merge where what next makes of nothing is written as first has it, if that
// is not nil.
func (c *Client) mergeFrom(ctx context.Context, at Reference, first []byte, next change) error {
	const most = 64 // rounds
	for range most {
		took, err := c.mergeAlone(ctx, at, first, next)
		if err != nil || took == 0 {
			return err
		}
		stays, err := c.watch(ctx, at, next, max(c.cfg.Settle, patience*took))
		if err != nil || stays {
			return err
		}
	}
	return sigbox.Errorf(sigbox.Conflict, "%s: others change it all the time", at).WithHint("try again")
}

// mergeAlone is mergeOnce while no other one of this client is about it. It does not keep
// others waiting while it watches.
func (c *Client) mergeAlone(ctx context.Context, at Reference, first []byte, next change) (took time.Duration, err error) {
	defer c.writers.lock(at.String())()
	return c.mergeOnce(ctx, at, first, next)
}

// mergeOnce makes one change, and tells how long the longest attempt took, 0 if none came
// to writing: also a write of which the outcome was not known at first is to be watched.
func (c *Client) mergeOnce(ctx context.Context, at Reference, first []byte, next change) (took time.Duration, err error) {
	for attempt := 1; ; attempt++ {
		this, err := c.tryMerge(ctx, at, first, next)
		took = max(took, this)
		if err == nil {
			return took, nil
		}
		if err := c.beforeAgain(ctx, attempt, err); err != nil {
			return took, err
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

// tryMerge reads and writes with nothing between, and tells how long that took, 0 if it did
// not come to writing. What the registry had it wait for before it could read is no part of
// that.
func (c *Client) tryMerge(ctx context.Context, at Reference, first []byte, next change) (took time.Duration, err error) {
	ctx, release, err := c.holdSlot(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	var asked time.Time
	v, m, err := c.tagNow(context.WithValue(ctx, sentAt{}, &asked), at)
	if err != nil {
		return 0, err
	}
	if m, err = next(ctx, m); err != nil || m == nil {
		return 0, err
	}
	body := first
	if body == nil || !v.missing {
		if body, err = manifest.Append(nil, m); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, max(c.cfg.Settle, patience*time.Since(asked)))
	defer cancel()
	err = c.replaceManifest(ctx, at, v, m.Type(), body)
	return max(time.Since(asked), 1), err
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
// times, before the last at times that differ from writer to writer.
func (c *Client) watch(ctx context.Context, at Reference, next change, while time.Duration) (bool, error) {
	first := rand.N(while/2 + 1)                //nolint:gosec // it is to keep writers apart
	second := first + rand.N((while-first)/2+1) //nolint:gosec // the same
	for _, pause := range []time.Duration{first, second - first, while - second} {
		if err := c.cfg.Wait(ctx, pause); err != nil {
			return false, err
		}
		_, m, err := c.tagNow(ctx, at)
		if err != nil {
			return false, err
		}
		if m, err = next(ctx, m); err != nil || m != nil {
			return false, err
		}
	}
	return true, nil
}
