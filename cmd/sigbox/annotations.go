package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/statement"
)

// checkAnnotations refuses to demand annotations of what is no image in a registry:
// nothing else has any.
func (f *verifyFlags) checkAnnotations(in *inputs) error {
	if len(f.annotations) == 0 {
		return nil
	}
	for _, a := range in.artifacts {
		if a.image.IsZero() {
			return usage("--annotation is for images, and %s is none", a)
		}
	}
	if f.evidence.given() {
		return usage("--annotation is for images with their signatures in a registry")
	}
	return nil
}

// annotated makes sure that an attachment has the annotations that are demanded, before
// it is asked who signed it. They are read from what the signature is over.
func (j *judge) annotated(a *oci.Attachment, b *sigbox.Bundle) error {
	if len(j.annotations) == 0 {
		return nil
	}
	found, err := annotationsIn(a, b)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(j.annotations)) {
		want, err := json.Marshal(j.annotations[name])
		if err != nil {
			return sigbox.Errorf(sigbox.Invalid, "--annotation %s cannot be written as JSON", name).WithCause(err)
		}
		switch got, there := found[name]; {
		case !there:
			return sigbox.Mismatch(sigbox.NotVerified, "annotation "+name, string(want), "none of this name")
		case !sameText(got, want):
			return sigbox.Mismatch(sigbox.NotVerified, "annotation "+name, string(want), clipped(got))
		}
	}
	return nil
}

// sameText reports whether two JSON values are the same string.
func sameText(a, b jsontext.Value) bool {
	var x, y string
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x == y
}

// clipped shows a value of somebody else's.
func clipped(v jsontext.Value) string {
	const most = 120
	if len(v) > most {
		return fmt.Sprintf("%q…", v[:most])
	}
	return string(v)
}

// annotationsIn gives what was signed with an image: in cosign's form of before beside
// the payload's claims, else with the statement's subject that is the image.
func annotationsIn(a *oci.Attachment, b *sigbox.Bundle) (map[string]jsontext.Value, error) {
	found := map[string]jsontext.Value{}
	if a.Kind == oci.Signature {
		p, err := cosign.ParsePayload(a.Content)
		if err != nil || p.Optional == nil {
			return found, err
		}
		if err := json.Unmarshal(p.Optional, &found); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "the payload's annotations cannot be read").WithCause(err)
		}
		return found, nil
	}
	if b.Envelope == nil {
		return found, nil
	}
	said, err := statement.Parse(b.Envelope.Payload)
	if err != nil {
		return nil, err
	}
	image := a.Subject.Digest()
	for _, s := range said.Subjects {
		if s.Digests[image.Algorithm.String()] != image.Hex() || s.Annotations == nil {
			continue
		}
		if err := json.Unmarshal(s.Annotations, &found); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "the annotations of the statement's subject are no object").WithCause(err)
		}
		break
	}
	return found, nil
}
