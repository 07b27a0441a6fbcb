package oci

import (
	"context"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/manifest"
)

// AttachLegacy puts a payload, an envelope or an SBOM under cosign's tag of before,
// behind what is there, without loss when others do so at the same time. The media
// type is that of an SBOM, "" otherwise; annotations are the layer's, see
// [cosign.Annotations]. To do it again changes nothing.
func (c *Client) AttachLegacy(ctx context.Context, ref Reference, kind Kind, mediaType string, content []byte, annotations map[string]string) error {
	form, known := legacyKinds[kind]
	if !known || (form.mediaType == "") == (mediaType == "") {
		return sigbox.Errorf(sigbox.Invalid, "a %s of media type %s under a tag", kind, clip(mediaType))
	}
	subject, err := c.Resolve(ctx, ref)
	if err != nil {
		return err
	}
	subject = c.home(subject)
	at := subject.fallback(form.suffix)
	if !at.canBe() {
		return sigbox.Errorf(sigbox.Invalid, "cosign's tag for %s would be longer than the %d characters that tags have", subject.digest, maxTag).
			WithHint("a bundle can be attached to it, or the image named by its SHA-256")
	}
	if kind == Signature {
		if err := checkPayload(content, subject.digest); err != nil {
			return err
		}
	}
	layer := manifest.Describe(form.mediaType+mediaType, content) // one of them is empty
	layer.Annotations = annotations
	if err := c.pushBlob(ctx, subject, layer, bytesBody(content)); err != nil {
		return err
	}
	return c.addLayer(ctx, at, layer)
}

// LegacyTag is where [Client.AttachLegacy] puts what is of a kind for an image that is
// named by digest.
func (c *Client) LegacyTag(image Reference, kind Kind) Reference {
	return c.home(image).fallback(legacyKinds[kind].suffix)
}

// checkPayload makes sure that a payload names an image.
func checkPayload(content []byte, image sigbox.Digest) error {
	p, err := cosign.ParsePayload(content)
	if err == nil && !p.Digest.Equal(image) {
		err = sigbox.Mismatch(sigbox.NotVerified, "the signature is of another image", image, p.Digest)
	}
	return err
}

// addLayer adds a layer to the image under a tag, which is made if there is none.
func (c *Client) addLayer(ctx context.Context, at Reference, layer manifest.Descriptor) error {
	return c.merge(ctx, at, func(ctx context.Context, now *manifest.Manifest) (*manifest.Manifest, error) {
		if now == nil {
			now = &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeImage}
		}
		return c.withLayers(ctx, at, now, []manifest.Descriptor{layer})
	})
}

// withLayers gives the image under a tag with more layers, or nil if it has them.
func (c *Client) withLayers(ctx context.Context, at Reference, now *manifest.Manifest, more []manifest.Descriptor) (*manifest.Manifest, error) {
	if now.IsIndex() {
		return nil, sigbox.Mismatch(sigbox.Conflict, at.String()+": media type", manifest.TypeImage, now.Type())
	}
	more = slices.DeleteFunc(slices.Clone(more), func(l manifest.Descriptor) bool { return hasLayer(now, l) })
	if len(more) == 0 {
		return nil, nil
	}
	now.Layers = append(now.Layers, more...)
	return now, c.pushConfig(ctx, at, now)
}

// hasLayer reports whether m has a layer, with the same signature: one payload may be
// signed by several.
func hasLayer(m *manifest.Manifest, l manifest.Descriptor) bool {
	return slices.ContainsFunc(m.Layers, func(o manifest.Descriptor) bool {
		return o.Digest.Equal(l.Digest) && o.Annotations[cosign.AnnotationSignature] == l.Annotations[cosign.AnnotationSignature]
	})
}

// imageConfig is what clients that take cosign's tags for images want of a config
// (image-spec v1.1.1, config.md).
type imageConfig struct {
	Architecture string    `json:"architecture"`
	OS           string    `json:"os"`
	Config       struct{}  `json:"config"`
	RootFS       imageRoot `json:"rootfs"`
}

type imageRoot struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// pushConfig makes the config that fits an image's layers.
func (c *Client) pushConfig(ctx context.Context, at Reference, m *manifest.Manifest) error {
	config := imageConfig{RootFS: imageRoot{Type: "layers"}}
	for _, l := range m.Layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.Digest.String())
	}
	b, err := json.Marshal(config)
	if err != nil {
		return sigbox.Errorf(sigbox.Internal, "a config cannot be written").WithCause(err)
	}
	d := manifest.Describe("application/vnd.oci.image.config.v1+json", b)
	m.Config = &d
	return c.pushBlob(ctx, at, d, bytesBody(b))
}
