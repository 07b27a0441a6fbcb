// Package manifest reads and writes the manifests of registries: those of images and
// artifacts, and indexes of them, in OCI's form and in Docker's. It looks at form
// alone; what a manifest names is to be held against its digest by who fetches it.
//
//	m, err := manifest.Parse(body)
//	for _, layer := range m.Layers { … }
//
// JSON is read strictly, so that a manifest has one reading: names are case-sensitive
// and none stands twice. Members that are not known are kept, as the specification
// demands.
//
// Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md,
// image-index.md and descriptor.md.
package manifest

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
)

// Media types of manifests.
const (
	TypeImage       = "application/vnd.oci.image.manifest.v1+json"
	TypeIndex       = "application/vnd.oci.image.index.v1+json"
	TypeDockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	TypeDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// TypeEmpty is the media type of content that says nothing, [Empty].
const TypeEmpty = "application/vnd.oci.empty.v1+json"

// Bounds on what is read.
const (
	// MaxSize of a manifest in bytes: as much as registries must take
	// (distribution-spec v1.1.1, Pushing Manifests).
	MaxSize = 4 << 20
	// MaxDescriptors of a manifest.
	MaxDescriptors = 4096
	// maxAnnotations of a manifest or descriptor; maxText bounds a media type, in
	// bytes.
	maxAnnotations = 256
	maxText        = 256
	// maxMembers bounds the members of all objects together: their names are
	// remembered, so that none stands twice. It is more than MaxDescriptors have.
	maxMembers = 1 << 17
)

// Manifest is a manifest of an image or artifact, which has Config and Layers, or an
// index, which has Manifests.
type Manifest struct {
	SchemaVersion int `json:"schemaVersion"`
	// MediaType is as it stands there; older manifests have none. [Manifest.Type]
	// says what it is.
	MediaType    string            `json:"mediaType,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Config       *Descriptor       `json:"config,omitempty"`
	Layers       []Descriptor      `json:"layers,omitzero"`
	Manifests    []Descriptor      `json:"manifests,omitzero"`
	Subject      *Descriptor       `json:"subject,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	// Other are the members that are not known, an object; nil if there are none.
	Other jsontext.Value `json:",embed"`
}

// Descriptor names content by its digest.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       sigbox.Digest     `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
	// Other are the members that are not known, an object; nil if there are none.
	Other jsontext.Value `json:",embed"`
}

// Platform is what an image runs on.
type Platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
	// Other are the members that are not known, an object; nil if there are none.
	Other jsontext.Value `json:",embed"`
}

// String gives "linux/arm64/v8".
func (p *Platform) String() string {
	if p == nil {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// IsIndex reports whether d names an index.
func (d Descriptor) IsIndex() bool { return d.MediaType == TypeIndex || d.MediaType == TypeDockerIndex }

// IsManifest reports whether d names a manifest of any kind.
func (d Descriptor) IsManifest() bool {
	return d.IsIndex() || d.MediaType == TypeImage || d.MediaType == TypeDockerImage
}

// IsIndex reports whether m is an index.
func (m *Manifest) IsIndex() bool { return Descriptor{MediaType: m.Type()}.IsIndex() }

// Type gives the media type, also where a manifest does not say it.
func (m *Manifest) Type() string {
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Config == nil:
		return TypeIndex
	}
	return TypeImage
}

// Kind gives what the manifest is of: artifactType or, where there is none, the
// config's media type (image-spec v1.1.1, Guidelines for Artifact Usage).
func (m *Manifest) Kind() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// Empty is the content of media type [TypeEmpty].
func Empty() []byte { return []byte("{}") }

// Describe gives the descriptor of content.
func Describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: sigbox.SHA256.Sum(content), Size: int64(len(content))}
}

// Parse reads a manifest or index. Errors are of kind Invalid or TooLarge and name
// the place in the document.
func Parse(b []byte) (*Manifest, error) {
	const what = "manifest"
	if len(b) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s of %d bytes: at most %d are read", what, len(b), MaxSize)
	}
	if bytes.Count(b, []byte{':'}) > maxMembers { // which stand in texts as well
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s: more than %d members", what, maxMembers)
	}
	m := new(Manifest)
	if err := json.Unmarshal(b, m, reading()); err != nil {
		return nil, jsonerr.Of(what, err)
	}
	if err := m.check(); err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", what, err)
	}
	return m, nil
}

// Append writes m. It gives the same bytes for the same manifest. The error is of
// kind Invalid when m cannot be a manifest.
func Append(dst []byte, m *Manifest) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "manifest: %w", err)
	}
	b, err := json.Marshal(m.withLists(), writing())
	if err != nil {
		return nil, jsonerr.Of("manifest", err)
	}
	if len(b) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "manifest of %d bytes: registries take %d", len(b), MaxSize)
	}
	return append(dst, b...), nil
}

// withLists gives m with the list that its kind must have, if it is empty.
func (m *Manifest) withLists() *Manifest {
	c := *m
	if m.IsIndex() && m.Manifests == nil {
		c.Manifests = []Descriptor{}
	}
	if !m.IsIndex() && m.Layers == nil {
		c.Layers = []Descriptor{}
	}
	return &c
}

func (m *Manifest) check() error {
	if m.SchemaVersion != 2 {
		return sigbox.Mismatch(sigbox.Invalid, "schemaVersion", 2, m.SchemaVersion)
	}
	if err := m.checkShape(); err != nil {
		return err
	}
	if len(m.Annotations) > maxAnnotations {
		return sigbox.Errorf(sigbox.TooLarge, "more than %d annotations", maxAnnotations)
	}
	if len(m.ArtifactType) > maxText {
		return sigbox.Errorf(sigbox.TooLarge, "an artifact type of more than %d bytes", maxText)
	}
	for _, of := range [][]Descriptor{one(m.Config), one(m.Subject), m.Layers, m.Manifests} {
		for _, d := range of {
			if err := d.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkShape refuses what could be read as an image and as an index (GHSA-77vh-xpmg-72qh).
func (m *Manifest) checkShape() error {
	isImage := m.Config != nil || len(m.Layers) > 0
	switch {
	case isImage && len(m.Manifests) > 0:
		return sigbox.Errorf(sigbox.Invalid, "it is both an image and an index: it has config or layers, and manifests")
	case !(Descriptor{MediaType: m.Type()}).IsManifest():
		return sigbox.Mismatch(sigbox.Invalid, "media type", TypeImage+" or "+TypeIndex, quoted(m.MediaType))
	case m.IsIndex() && isImage:
		return sigbox.Errorf(sigbox.Invalid, "an index with config or layers")
	case !m.IsIndex() && m.Config == nil:
		return sigbox.Errorf(sigbox.Invalid, "no config")
	case len(m.Layers)+len(m.Manifests) > MaxDescriptors:
		return sigbox.Errorf(sigbox.TooLarge, "more than %d layers or manifests", MaxDescriptors)
	}
	return nil
}

func (d *Descriptor) check() error {
	switch {
	case !d.Digest.Valid():
		return sigbox.Errorf(sigbox.Invalid, "a descriptor without digest")
	case d.Size < 0:
		return sigbox.Errorf(sigbox.Invalid, "descriptor of %s: a size of %d bytes", d.Digest, d.Size)
	case d.MediaType == "":
		return sigbox.Errorf(sigbox.Invalid, "descriptor of %s: no media type", d.Digest)
	case len(d.MediaType) > maxText || len(d.ArtifactType) > maxText:
		return sigbox.Errorf(sigbox.TooLarge, "descriptor of %s: a media type of more than %d bytes", d.Digest, maxText)
	case len(d.Annotations) > maxAnnotations:
		return sigbox.Errorf(sigbox.TooLarge, "descriptor of %s: more than %d annotations", d.Digest, maxAnnotations)
	}
	return nil
}

func one(d *Descriptor) []Descriptor {
	if d == nil {
		return nil
	}
	return []Descriptor{*d}
}

// reading is how JSON is read.
func reading() json.Options {
	return json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readDigest), json.UnmarshalFromFunc(readDescriptors)))
}

// writing is how JSON is written.
func writing() json.Options {
	return json.JoinOptions(
		json.Deterministic(true),
		json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, d sigbox.Digest) error {
			return enc.WriteToken(jsontext.String(d.String()))
		})),
	)
}

func readDigest(dec *jsontext.Decoder, d *sigbox.Digest) error {
	var s string
	if err := json.UnmarshalDecode(dec, &s); err != nil {
		return err
	}
	var err error
	*d, err = sigbox.ParseDigest(s)
	return err
}

// readDescriptors reads a list that does not grow without end; null is none.
func readDescriptors(dec *jsontext.Decoder, all *[]Descriptor) error {
	if dec.PeekKind() != '[' {
		return errors.ErrUnsupported // lists are read so, and what is none is refused
	}
	_, _ = dec.ReadToken() // the bracket that was seen
	*all = []Descriptor{}
	for dec.PeekKind() != ']' {
		if len(*all) == MaxDescriptors {
			return sigbox.Errorf(sigbox.TooLarge, "more than %d layers or manifests", MaxDescriptors)
		}
		var d Descriptor
		if err := json.UnmarshalDecode(dec, &d); err != nil {
			return err
		}
		*all = append(*all, d)
	}
	_, err := dec.ReadToken()
	return err
}

// quoted shortens a text of the sender's.
func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + strings.ToValidUTF8(s, "�") + `"`
}
