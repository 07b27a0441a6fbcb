package bundle

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// reader fills b from a document.
type reader struct {
	*protojson.Decoder
	b *sigbox.Bundle
	// material is the verification material found, "" before: one of
	// certificate, x509CertificateChain and publicKey.
	material string
}

func (r *reader) bundle() error {
	return r.Object(func(field string) (err error) {
		switch field {
		case "mediaType":
			if r.b.MediaType, err = r.String(maxText); err == nil {
				r.b.Version, err = version(r.b.MediaType)
			}
		case "verificationMaterial":
			err = r.verificationMaterial()
		case "messageSignature":
			r.b.Message, err = r.message()
		case "dsseEnvelope":
			r.b.Envelope, err = r.envelope()
		}
		return err
	}, "mediaType", "verificationMaterial", "messageSignature", "dsseEnvelope")
}

// complete checks what can only be judged once all is read.
func (r *reader) complete() error {
	switch {
	case r.b.Version == 0:
		return sigbox.Errorf(sigbox.Invalid, "bundle: no media type").WithHint("is this a Sigstore bundle?")
	case r.material == "":
		return sigbox.Errorf(sigbox.Invalid, "bundle: no verification material: expected certificate, x509CertificateChain or publicKey")
	case r.material == "certificate" && r.b.Version < 3, r.material == "x509CertificateChain" && r.b.Version == 3:
		return sigbox.Errorf(sigbox.Invalid, "bundle: version 0.%d has no verificationMaterial.%s", r.b.Version, r.material)
	case r.material != "publicKey" && len(r.b.Certificates) == 0:
		return sigbox.Errorf(sigbox.Invalid, "bundle: the certificate chain is empty")
	}
	return check(r.b, r.b.Version)
}

func (r *reader) verificationMaterial() error {
	return r.Object(func(field string) error {
		switch field {
		case "tlogEntries":
			return r.Array(MaxEntries, r.entry)
		case "timestampVerificationData":
			return r.timestamps()
		}
		if r.material != "" {
			return r.Errorf("both %s and %s: expected one of them", r.material, field)
		}
		r.material = field
		switch field {
		case "publicKey":
			return r.Object(func(string) (err error) {
				r.b.KeyHint, err = r.String(maxText)
				return err
			}, "hint")
		case "certificate":
			return r.certificate()
		}
		return r.Object(func(string) error {
			return r.Array(maxCertificates, r.certificate)
		}, "certificates")
	}, "publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData")
}

func (r *reader) entry() error {
	le, err := entry.ReadLogEntry(r.Decoder)
	r.b.Entries = append(r.b.Entries, le)
	return err
}

func (r *reader) certificate() error {
	der, err := r.only("rawBytes", maxCertificate)
	r.b.Certificates = append(r.b.Certificates, der)
	return err
}

func (r *reader) timestamps() error {
	return r.Object(func(string) error {
		return r.Array(MaxTimestamps, func() error {
			der, err := r.only("signedTimestamp", maxTimestamp)
			r.b.Timestamps = append(r.b.Timestamps, der)
			return err
		})
	}, "rfc3161Timestamps")
}

// only reads an object whose one member holds bytes.
func (r *reader) only(field string, limit int) (b []byte, err error) {
	err = r.Object(func(string) error {
		b, err = r.Lines(limit)
		return err
	}, field)
	return b, err
}

func (r *reader) message() (*sigbox.MessageSignature, error) {
	m := new(sigbox.MessageSignature)
	err := r.Object(func(field string) (err error) {
		if field == "signature" {
			m.Signature, err = r.Lines(maxSignature)
			return err
		}
		m.Digest, err = r.digest()
		return err
	}, "messageDigest", "signature")
	return m, err
}

func (r *reader) digest() (sigbox.Digest, error) {
	var d sigbox.Digest
	err := r.Object(func(field string) (err error) {
		if field == "algorithm" {
			d.Algorithm, err = r.hash()
			return err
		}
		d.Value, err = r.Lines(sigbox.SHA512.Size())
		return err
	}, "algorithm", "digest")
	if err == nil && d.IsZero() {
		err = r.Errorf("expected an algorithm and a digest")
	}
	return d, err
}

// hash reads sigstore_common.proto's HashAlgorithm.
func (r *reader) hash() (sigbox.HashAlgorithm, error) {
	name, number, err := r.Enum()
	if err != nil {
		return 0, err
	}
	for h := sigbox.SHA256; h <= sigbox.SHA512; h++ {
		if name == h.WireName() || name == "" && number == int64(h) {
			return h, nil
		}
	}
	return 0, r.Errorf("unsupported hash algorithm %.40q (%d): expected SHA2_256, SHA2_384 or SHA2_512", name, number)
}

// envelope reads envelope.proto's Envelope, whose payloadType is called so there.
func (r *reader) envelope() (*sigbox.Envelope, error) {
	v := new(sigbox.Envelope)
	err := r.ObjectAsNamed(func(field string) (err error) {
		switch field {
		case "payload":
			v.Payload, err = r.Lines(MaxSize)
		case "payloadType":
			v.PayloadType, err = r.String(maxText)
		case "signatures":
			err = r.Array(1, func() error {
				s, err := r.signature()
				v.Signatures = append(v.Signatures, s)
				return err
			})
		}
		return err
	}, "payload", "payloadType", "signatures")
	return v, err
}

func (r *reader) signature() (sigbox.EnvelopeSignature, error) {
	var s sigbox.EnvelopeSignature
	err := r.Object(func(field string) (err error) {
		if field == "sig" {
			s.Signature, err = r.Lines(maxSignature)
			return err
		}
		s.KeyID, err = r.String(maxText)
		return err
	}, "sig", "keyid")
	return s, err
}
