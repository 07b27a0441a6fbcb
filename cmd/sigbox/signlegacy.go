package main

import (
	"context"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
)

// negated is a flag that is true unless its variable is.
type negated bool

// String, Set and Type make it a pflag.Value.
func (n *negated) String() string { return strconv.FormatBool(!bool(*n)) }

func (n *negated) Set(v string) error {
	b, err := strconv.ParseBool(v)
	*n = negated(!b)
	return err
}

func (n *negated) Type() string { return "bool" }

// checkLegacy refuses what cosign's form of before is not for: it stands in a registry.
func (f *signFlags) checkLegacy(found found) error {
	switch {
	case !f.legacy:
		return nil
	case f.bundle != "":
		return usage("--bundle and --%s=false exclude each other: cosign's form of before is no bundle", bundleFormatFlag)
	}
	for _, a := range found.artifacts {
		if a.image.IsZero() {
			return usage("--%s=false is for images, and %s is none", bundleFormatFlag, a)
		}
	}
	return nil
}

// legacy signs an image, or what is attested of it, in cosign's form of before.
func (r *signRun) legacy(ctx context.Context, a artifact) (signedJSON, error) {
	if h := r.signer.Hash(); h != sigbox.SHA256 {
		return signedJSON{}, configured(sigbox.Errorf(sigbox.Invalid, "this key signs by way of %s, and cosign reads its form of before by %s alone", h, sigbox.SHA256).
			WithHint("sign with an ECDSA key on P-256, or in bundles"))
	}
	kind, d := oci.Signature, a.image.Digest()
	content, b, err := r.legacyContent(ctx, a, d)
	if err != nil {
		return signedJSON{}, err
	}
	annotations := cosign.Annotations(b)
	if r.flags.attestation != nil {
		kind = oci.Attestation
		annotations[cosign.AnnotationPredicate] = r.flags.attestation.kind
	}
	if err := r.images.AttachLegacy(ctx, a.image, kind, "", content, annotations); err != nil {
		return signedJSON{}, attached(err)
	}
	return newSignedJSON(a, d, r.images.LegacyTag(a.image, kind).String(), b), nil
}

// legacyContent makes what is signed, a payload that names the image or an envelope, and
// signs it.
func (r *signRun) legacyContent(ctx context.Context, a artifact, d sigbox.Digest) ([]byte, *sigbox.Bundle, error) {
	if r.flags.attestation != nil {
		b, _, err := r.attest(ctx, a, d)
		if err != nil {
			return nil, nil, err
		}
		return bundle.AppendEnvelope(nil, b.Envelope), b, nil
	}
	p := cosign.Payload{Reference: a.image.Repository(), Digest: d}
	if len(r.annotations) > 0 {
		var err error
		if p.Optional, err = json.Marshal(r.annotations, json.Deterministic(true)); err != nil {
			return nil, nil, sigbox.Errorf(sigbox.Internal, "annotations cannot be written").WithCause(err)
		}
	}
	content := cosign.AppendPayload(nil, &p)
	b, err := r.signer.Digest(ctx, sigbox.SHA256.Sum(content))
	return content, b, err
}
