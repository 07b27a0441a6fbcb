package main

import (
	"context"
	"errors"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/verify"
)

// image judges an image by what its registry has for it, until the policy is
// satisfied: bundles first, then what cosign wrote before. That something could not be
// read weighs more than that nothing was found.
func (j *judge) image(ctx context.Context, o *outcome) {
	o.from = make(map[*sigbox.Bundle]place)
	s := signatures{judge: j, outcome: o}
	if j.policy.Threshold > 1 {
		s.tally = j.trust.verifier.Load().Tally(j.policy)
	}
	found := false
	for a, err := range j.images.Attachments(ctx, o.artifact.image, oci.Query{PredicateTypes: j.wantedTypes()}) {
		found = found || a != nil
		switch {
		case err != nil && a == nil:
			o.fail(unlisted(err), place{})
			continue
		case err != nil:
			o.fail(unread(err), placeOf(a))
			continue
		}
		if s.add(ctx, a) {
			return
		}
	}
	switch {
	case !found && o.err == nil:
		o.err = unsignedImage(o.artifact.image)
	case s.judged:
		err := s.tally.Err()
		if o.fail(err, o.placeOf(err)); verify.FailedStep(err) == verify.StepIdentity {
			o.signers = j.counted(s.tally.Signed())
		}
	}
}

// placeOf gives where the bundle was found that failed, zero when nobody knows.
func (o *outcome) placeOf(err error) place {
	if f, ok := errors.AsType[*verify.Failure](err); ok && f.Bundle() != nil {
		return o.from[f.Bundle()]
	}
	return place{}
}

// wantedTypes are the predicate types that a bundle may have.
func (j *judge) wantedTypes() []string {
	switch types := j.policy.PredicateTypes; {
	case len(types) == 0:
		return []string{sigbox.CosignSignPredicateType}
	case slices.Contains(types, sigbox.AnyPredicateType):
		return nil
	default:
		return types
	}
}

func placeOf(a *oci.Attachment) place {
	return place{evidence: evidence{bundle: a.Subject.At(a.Manifest).String()}}
}

// signatures are those of an image that were found so far.
type signatures struct {
	*judge
	*outcome
	// tally counts those of several signers, nil if one will do; judged is whether there
	// was anything to count.
	tally  *verify.Tally
	judged bool
}

// add judges an image by one more attachment, and reports whether that does.
func (s *signatures) add(ctx context.Context, a *oci.Attachment) bool {
	b, err := a.Bundle()
	if err != nil {
		s.fail(err, placeOf(a))
		return false
	}
	s.from[b] = placeOf(a)
	if err := s.annotated(a, b); err != nil {
		s.fail(err, placeOf(a))
		return false
	}
	about := s.artifact
	if a.Kind == oci.Signature {
		if err := s.logged(ctx, a, b); err != nil {
			s.fail(err, placeOf(a))
			return false
		}
		about = artifact{payload: a.Content} // of which a.Bundle has made sure that it names the image
	}
	if s.tally == nil {
		return s.settle(ctx, s.outcome, about, []*sigbox.Bundle{b})
	}
	return s.count(about, b)
}

// count is for a policy that wants several signers. They count together, whatever the
// form that each has signed in.
func (s *signatures) count(about artifact, b *sigbox.Bundle) bool {
	of := verify.Named(about.digest)
	if about.payload != nil {
		of = verify.Bytes(about.payload)
	}
	s.judged = true
	enough, err := s.tally.Add(of, b)
	s.fail(err, s.from[b])
	if enough {
		s.verdicts, s.err = s.tally.Verdicts(), nil
	}
	return enough
}

// logged looks up the log entry of a signature that came without.
func (s *signatures) logged(ctx context.Context, a *oci.Attachment, b *sigbox.Bundle) error {
	s.unasked = s.unasked || s.offline && len(b.Entries) == 0
	if !s.lookup.wants(b) {
		return nil
	}
	return s.lookup.complete(ctx, b, evidence{}, func(h sigbox.HashAlgorithm) (sigbox.Digest, error) { return h.Sum(a.Content), nil })
}
