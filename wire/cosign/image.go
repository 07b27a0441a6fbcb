package cosign

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Media types of the layers under cosign's tags of before.
const (
	PayloadType  = "application/vnd.dev.cosign.simplesigning.v1+json"
	EnvelopeType = "application/vnd.dsse.envelope.v1+json"
)

// Annotations of such layers.
const (
	AnnotationSignature   = "dev.cosignproject.cosign/signature"
	AnnotationCertificate = "dev.sigstore.cosign/certificate"
	AnnotationChain       = "dev.sigstore.cosign/chain"
	AnnotationBundle      = "dev.sigstore.cosign/bundle"
	AnnotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
	AnnotationPredicate   = "predicateType" // of an attestation
)

// payloadKind is critical.type.
const payloadKind = "cosign container image signature"

// Bounds on a payload, in bytes.
const (
	maxPayload   = 256 << 10
	maxReference = 1 << 10
)

// Payload is what cosign signed of an image before it signed statements.
//
// Source: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
type Payload struct {
	// Reference is the image's name as the signer knew it; it proves nothing.
	Reference string
	// Digest is that of the image's manifest.
	Digest sigbox.Digest
	// Optional is what the signer added, an object as it stands there, or nil.
	Optional jsontext.Value
}

// ParsePayload reads a payload. What it calls critical must be known, as its source
// demands. Errors are of kind Invalid or TooLarge.
func ParsePayload(b []byte) (*Payload, error) {
	const what = "image signature's payload"
	p, kind := new(Payload), ""
	err := protojson.Decode(what, b, maxPayload, func(d *protojson.Decoder) error {
		return d.ObjectAsNamed(func(field string) (err error) {
			if field == "critical" {
				kind, err = p.critical(d)
				return err
			}
			raw, err := d.Raw()
			p.Optional = jsontext.Value(raw).Clone()
			return err
		}, "critical", "optional")
	})
	switch {
	case err != nil:
		return nil, err
	case kind != payloadKind:
		return nil, sigbox.Mismatch(sigbox.Invalid, what+": type", `"`+payloadKind+`"`, clip(kind))
	case p.Digest.IsZero():
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: no docker-manifest-digest", what)
	case p.Optional != nil && !(p.Optional.Kind() == '{' && p.Optional.IsValid()): // which names that stand twice are not
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: /optional: expected an object with no member twice", what)
	}
	return p, nil
}

func (p *Payload) critical(d *protojson.Decoder) (kind string, err error) {
	err = d.ObjectAsNamed(func(field string) (err error) {
		switch field {
		case "identity":
			return d.ObjectAsNamed(func(string) (err error) {
				p.Reference, err = d.String(maxReference)
				return err
			}, "docker-reference")
		case "image":
			return d.ObjectAsNamed(func(string) (err error) {
				text, err := d.String(maxReference)
				if err != nil {
					return err
				}
				if p.Digest, err = sigbox.ParseDigest(text); err != nil {
					return d.Errorf("%w", err)
				}
				return nil
			}, "docker-manifest-digest")
		}
		kind, err = d.String(maxReference)
		return err
	}, "identity", "image", "type")
	return kind, err
}

// AppendPayload writes a payload as cosign does.
func AppendPayload(dst []byte, p *Payload) []byte {
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.Object("critical", func() {
			e.Object("identity", func() { e.String("docker-reference", p.Reference) })
			e.Object("image", func() { e.String("docker-manifest-digest", p.Digest.String()) })
			e.String("type", payloadKind)
		})
		optional := p.Optional
		if optional == nil {
			optional = jsontext.Value("null")
		}
		e.Raw("optional", optional)
	})
	return e.Done()
}

// FromImage makes a bundle of a layer under a tag of cosign's: of its annotations and,
// for an attestation, its envelope; nil for a signature, whose bundle is about the
// layer's content, a [Payload]. Errors are of kind Invalid or TooLarge.
func FromImage(annotations map[string]string, envelope []byte) (*sigbox.Bundle, error) {
	d := Detached{
		Signature:   envelope,
		Certificate: []byte(annotations[AnnotationCertificate]),
		Timestamp:   []byte(annotations[AnnotationTimestamp]),
		Rekor:       []byte(annotations[AnnotationBundle]),
	}
	if envelope == nil {
		d.Signature = []byte(annotations[AnnotationSignature])
	}
	b, err := FromDetached(d)
	if err != nil {
		return nil, err
	}
	if isEnvelope := b.Envelope != nil; isEnvelope != (envelope != nil) {
		return nil, sigbox.Errorf(sigbox.Invalid, "image signature: an envelope where a signature belongs, or a signature in place of an envelope")
	}
	return b, nil
}

// Annotations gives those of a layer under a tag of cosign's that holds what b does:
// the payload that b's message signature is over, or b's envelope. A log's entry is in
// them only with its promise, which Rekor v1 gives.
func Annotations(b *sigbox.Bundle) map[string]string {
	out := map[string]string{AnnotationSignature: ""}
	if b.Message != nil {
		out[AnnotationSignature] = base64.StdEncoding.EncodeToString(b.Message.Signature)
	}
	for i, der := range b.Certificates {
		name := AnnotationCertificate
		if i > 0 {
			name = AnnotationChain
		}
		out[name] += string(pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: der}))
	}
	if len(b.Timestamps) > 0 {
		e := protojson.NewEncoder(nil)
		e.Document(func() { e.Bytes("SignedRFC3161Timestamp", b.Timestamps[0]) })
		out[AnnotationTimestamp] = string(e.Done())
	}
	for i := range b.Entries {
		if le := &b.Entries[i]; len(le.SignedEntryTimestamp) > 0 {
			out[AnnotationBundle] = string(appendPromise(le))
			break
		}
	}
	return out
}

// appendPromise writes what readPromise reads.
func appendPromise(le *sigbox.LogEntry) []byte {
	e := protojson.NewEncoder(nil)
	e.Document(func() {
		e.Bytes("SignedEntryTimestamp", le.SignedEntryTimestamp)
		e.Object("Payload", func() {
			e.Bytes("body", le.Body)
			e.Raw("integratedTime", strconv.AppendInt(nil, le.IntegratedTime, 10))
			e.Raw("logIndex", strconv.AppendInt(nil, le.LogIndex, 10))
			e.String("logID", hex.EncodeToString(le.LogID))
		})
	})
	return e.Done()
}

// AppendBundle writes b as a file of cosign's old --bundle flag, which can hold a log's
// promise without its proof where a Sigstore bundle of today cannot. Envelope is the text
// of b's envelope, and nil if b has none. The form has no timestamps. The error is of kind
// Invalid if no log has promised anything.
func AppendBundle(dst []byte, b *sigbox.Bundle, envelope []byte) ([]byte, error) {
	i := slices.IndexFunc(b.Entries, func(le sigbox.LogEntry) bool { return len(le.SignedEntryTimestamp) > 0 })
	if i < 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "a bundle of cosign's old form needs the promise of a log, and there is none")
	}
	signature := envelope
	if b.Message != nil {
		signature = b.Message.Signature
	}
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.Bytes("base64Signature", signature)
		if len(b.Certificates) > 0 {
			e.Bytes("cert", pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: b.Certificates[0]}))
		}
		e.Raw("rekorBundle", appendPromise(&b.Entries[i]))
	})
	return e.Done(), nil
}
