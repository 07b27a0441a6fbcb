package main

import (
	"context"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

// image judges an image by what its registry has for it, until the policy is
// satisfied: bundles first, then what cosign wrote before. That something could not be
// read weighs more than that nothing was found.
func (j *judge) image(ctx context.Context, o *outcome) {
	o.from = make(map[*sigbox.Bundle]place)
	s := signatures{judge: j, outcome: o}
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
	if !found && o.err == nil {
		o.err = unsignedImage(o.artifact.image)
	}
}

// unlisted is unread for a list, or what a name stands for: where something else is in its
// place, such as a page that asks to log in, nobody has said that there is no signature.
func unlisted(err error) error {
	if sigbox.KindOf(err) == sigbox.Invalid {
		return sigbox.Errorf(sigbox.Unavailable, "%w", err)
	}
	return unread(err)
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
	bundles []*sigbox.Bundle
	// payloads are what cosign's signatures of before are over, each with those
	// that are.
	payloads []payload
}

type payload struct {
	content []byte
	bundles []*sigbox.Bundle
}

// add judges an image by one more attachment, and reports whether that does. A policy
// that wants several signers is asked about all that there are.
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
	about, all := s.artifact, &s.bundles
	if a.Kind == oci.Signature {
		if err := s.logged(ctx, a, b); err != nil {
			s.fail(err, placeOf(a))
			return false
		}
		p := s.payload(a.Content)
		about, all = artifact{payload: p.content}, &p.bundles
	}
	*all = append(*all, b)
	if s.policy.Threshold <= 1 {
		return s.settle(ctx, s.outcome, about, []*sigbox.Bundle{b})
	}
	return s.settle(ctx, s.outcome, about, *all)
}

// logged looks up the log entry of a signature that came without.
func (s *signatures) logged(ctx context.Context, a *oci.Attachment, b *sigbox.Bundle) error {
	s.unasked = s.unasked || s.offline && len(b.Entries) == 0
	if !s.lookup.wants(b) {
		return nil
	}
	return s.lookup.complete(ctx, b, evidence{}, func(h sigbox.HashAlgorithm) (sigbox.Digest, error) { return h.Sum(a.Content), nil })
}

// payload gives the one with this content.
func (s *signatures) payload(content []byte) *payload {
	for i := range s.payloads {
		if string(s.payloads[i].content) == string(content) {
			return &s.payloads[i]
		}
	}
	s.payloads = append(s.payloads, payload{content: content})
	return &s.payloads[len(s.payloads)-1]
}
