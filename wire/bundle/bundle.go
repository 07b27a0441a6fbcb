// Package bundle reads Sigstore bundles 0.1, 0.2 and 0.3 and writes 0.3. It
// judges form alone: what a bundle says is a claim until package verify has
// looked at it.
//
//	b, err := bundle.Parse(data) // FILE.sigstore.json
//	…
//	data, err = bundle.Append(nil, b)
//
// Source: protobuf-specs, sigstore_bundle.proto, and the client specification
// of sigstore/architecture-docs, section 5.
package bundle

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// MediaTypeV03 is the media type that bundles are written with.
const MediaTypeV03 = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Bounds on what is read. Sizes are in bytes.
const (
	// MaxSize of a bundle and of a file of bundles. Statements about large
	// software run to megabytes.
	MaxSize = 32 << 20
	// MaxLines is how many bundles a .sigstore.jsonl may hold.
	MaxLines = 1024
	// MaxEntries and MaxTimestamps are per bundle.
	MaxEntries    = 32
	MaxTimestamps = 32

	maxCertificates = 16
	maxCertificate  = 64 << 10
	maxTimestamp    = 64 << 10
	maxSignature    = 16 << 10
	maxText         = 1 << 10

	maxTime = 253402300799 // seconds since 1970: the end of the year 9999
)

// version finds the minor version of a media type, in both spellings.
func version(mediaType string) (int, error) {
	v, ok := strings.CutPrefix(mediaType, "application/vnd.dev.sigstore.bundle+json;version=")
	if !ok {
		v, ok = strings.CutPrefix(mediaType, "application/vnd.dev.sigstore.bundle.v")
		v, _ = strings.CutSuffix(v, "+json")
		ok = ok && strings.HasSuffix(mediaType, "+json")
	}
	switch {
	case !ok:
		return 0, sigbox.Mismatch(sigbox.Invalid, "bundle: unknown media type", MediaTypeV03, quoted(mediaType)).WithHint("is this a Sigstore bundle?")
	case v == "0.1":
		return 1, nil
	case v == "0.2":
		return 2, nil
	case v == "0.3":
		return 3, nil
	}
	return 0, sigbox.Mismatch(sigbox.Invalid, "bundle: unsupported version", "0.1, 0.2 or 0.3", quoted(v)).WithHint("a newer sigbox may read it")
}

func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + strings.ToValidUTF8(s, "�") + `"`
}

// Parse reads one bundle. Errors are of kind Invalid or TooLarge and name the
// place in the document.
func Parse(b []byte) (*sigbox.Bundle, error) {
	out := new(sigbox.Bundle)
	r := reader{b: out}
	err := protojson.Decode("bundle", b, MaxSize, func(d *protojson.Decoder) error {
		r.Decoder = d
		return r.bundle()
	})
	if err != nil {
		return nil, err
	}
	if err := r.complete(); err != nil {
		return nil, err
	}
	return out, nil
}

// ParseEnvelope reads a DSSE envelope that stands alone. Errors are those of [Parse].
func ParseEnvelope(b []byte) (*sigbox.Envelope, error) {
	var v *sigbox.Envelope
	err := protojson.Decode("DSSE envelope", b, MaxSize, func(d *protojson.Decoder) (err error) {
		v, err = (&reader{Decoder: d}).envelope()
		return err
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// ParseLines reads a .sigstore.jsonl: one bundle a line, empty lines between
// them are passed over. Errors name the line.
func ParseLines(b []byte) ([]*sigbox.Bundle, error) {
	if len(b) > MaxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "bundles of %d bytes: at most %d are read", len(b), MaxSize)
	}
	var out []*sigbox.Bundle
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(out) == MaxLines {
			return nil, sigbox.Errorf(sigbox.TooLarge, "more than %d bundles in a file", MaxLines)
		}
		one, err := Parse(line)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.KindOf(err), "line %d: %w", n, err)
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "no bundle in the file")
	}
	return out, nil
}

// Append writes b as v0.3, whatever version it was read from. Of a certificate
// chain the leaf alone is written, since v0.3 holds no more. The error is of
// kind Invalid when b lacks what v0.3 demands.
func Append(dst []byte, b *sigbox.Bundle) ([]byte, error) {
	if err := check(b, 3); err != nil {
		return nil, err
	}
	e := protojson.NewEncoder(dst)
	e.Document(func() {
		e.String("mediaType", MediaTypeV03)
		e.Object("verificationMaterial", func() { appendMaterial(e, b) })
		if b.Message != nil {
			e.Object("messageSignature", func() { appendMessage(e, b.Message) })
		} else {
			e.Object("dsseEnvelope", func() { appendEnvelope(e, b.Envelope) })
		}
	})
	return e.Done(), nil
}

func appendMaterial(e *protojson.Encoder, b *sigbox.Bundle) {
	if len(b.Certificates) > 0 {
		e.Object("certificate", func() { e.Bytes("rawBytes", b.Certificates[0]) })
	} else {
		e.Object("publicKey", func() { e.String("hint", b.KeyHint) })
	}
	if len(b.Entries) > 0 {
		e.Array("tlogEntries", func() {
			for i := range b.Entries {
				appendEntry(e, &b.Entries[i])
			}
		})
	}
	if len(b.Timestamps) > 0 {
		e.Object("timestampVerificationData", func() {
			e.Array("rfc3161Timestamps", func() {
				for _, t := range b.Timestamps {
					e.Object("", func() { e.Bytes("signedTimestamp", t) })
				}
			})
		})
	}
}

func appendMessage(e *protojson.Encoder, m *sigbox.MessageSignature) {
	if !m.Digest.IsZero() {
		e.Object("messageDigest", func() {
			e.String("algorithm", m.Digest.Algorithm.WireName())
			e.Bytes("digest", m.Digest.Value)
		})
	}
	e.Bytes("signature", m.Signature)
}

func appendEnvelope(e *protojson.Encoder, v *sigbox.Envelope) {
	e.Bytes("payload", v.Payload)
	e.String("payloadType", v.PayloadType)
	e.Array("signatures", func() {
		for _, s := range v.Signatures {
			e.Object("", func() {
				e.Bytes("sig", s.Signature)
				if s.KeyID != "" {
					e.String("keyid", s.KeyID)
				}
			})
		}
	})
}

// AppendEnvelope writes a DSSE envelope that stands alone.
func AppendEnvelope(dst []byte, v *sigbox.Envelope) []byte {
	e := protojson.NewEncoder(dst)
	e.Document(func() { appendEnvelope(e, v) })
	return e.Done()
}

// Check holds a bundle against what its version demands, for bundles that were
// not made by [Parse]. Version 0 is judged as 3. Errors are of kind Invalid or
// TooLarge.
func Check(b *sigbox.Bundle) error {
	if b.Version < 0 || b.Version > 3 {
		return sigbox.Mismatch(sigbox.Invalid, "bundle: unsupported version", "0.1, 0.2 or 0.3", "0."+strconv.Itoa(b.Version))
	}
	if b.Version == 0 {
		return check(b, 3)
	}
	return check(b, b.Version)
}

// check holds b against what a version of the format demands of every bundle.
func check(b *sigbox.Bundle, version int) error {
	switch {
	case b.Message == nil && b.Envelope == nil:
		return sigbox.Errorf(sigbox.Invalid, "bundle: no signature: expected messageSignature or dsseEnvelope")
	case b.Message != nil && b.Envelope != nil:
		return sigbox.Errorf(sigbox.Invalid, "bundle: both messageSignature and dsseEnvelope: expected one of them")
	case b.Message != nil && len(b.Message.Signature) == 0:
		return sigbox.Errorf(sigbox.Invalid, "bundle: the signature is empty")
	case b.Message != nil && !b.Message.Digest.IsZero() && !b.Message.Digest.Valid():
		return sigbox.Errorf(sigbox.Invalid, "bundle: message digest of %d bytes for %s: expected %d", len(b.Message.Digest.Value), b.Message.Digest.Algorithm, b.Message.Digest.Algorithm.Size())
	case b.Envelope != nil && len(b.Envelope.Signatures) != 1:
		// sigstore_bundle.proto: a client must reject any other number.
		return sigbox.Mismatch(sigbox.Invalid, "bundle: DSSE envelope with a wrong number of signatures", 1, len(b.Envelope.Signatures))
	case b.Envelope != nil && len(b.Envelope.Signatures[0].Signature) == 0:
		return sigbox.Errorf(sigbox.Invalid, "bundle: the envelope's signature is empty")
	case len(b.Entries) > MaxEntries:
		return sigbox.Errorf(sigbox.TooLarge, "bundle: %d log entries, at most %d", len(b.Entries), MaxEntries)
	case len(b.Timestamps) > MaxTimestamps:
		return sigbox.Errorf(sigbox.TooLarge, "bundle: %d timestamps, at most %d", len(b.Timestamps), MaxTimestamps)
	}
	for _, c := range b.Certificates {
		if len(c) == 0 {
			return sigbox.Errorf(sigbox.Invalid, "bundle: an empty certificate")
		}
	}
	for i := range b.Entries {
		if err := checkEntry(&b.Entries[i], version); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "bundle: log entry %d: %w", i, err)
		}
	}
	return checkRepeats(b)
}

// checkRepeats refuses evidence that stands twice: it proves nothing that it did
// not prove before, and some verifiers have counted it twice.
func checkRepeats(b *sigbox.Bundle) error {
	for i, le := range b.Entries {
		same := func(o sigbox.LogEntry) bool { return o.LogIndex == le.LogIndex && bytes.Equal(o.LogID, le.LogID) }
		if first := slices.IndexFunc(b.Entries, same); first < i {
			return sigbox.Errorf(sigbox.Invalid, "bundle: log entries %d and %d are the same one, of index %d", first, i, le.LogIndex)
		}
	}
	for i, t := range b.Timestamps {
		same := func(o []byte) bool { return bytes.Equal(o, t) }
		if first := slices.IndexFunc(b.Timestamps, same); first < i {
			return sigbox.Errorf(sigbox.Invalid, "bundle: timestamps %d and %d are the same one", first, i)
		}
	}
	return nil
}

// checkEntry holds an entry against sigstore_rekor.proto: 0.1 must have a
// promise, later versions a proof with its checkpoint.
func checkEntry(le *sigbox.LogEntry, version int) error {
	switch p := le.Inclusion; {
	case le.LogIndex < 0:
		return sigbox.Errorf(sigbox.Invalid, "negative log index %d", le.LogIndex)
	case le.IntegratedTime < 0 || le.IntegratedTime > maxTime:
		return sigbox.Errorf(sigbox.Invalid, "integratedTime %d is not in the years 1970 to 9999", le.IntegratedTime)
	case version == 1 && len(le.SignedEntryTimestamp) == 0:
		return sigbox.Errorf(sigbox.Invalid, "no inclusion promise, which version 0.1 requires")
	case version >= 2 && p == nil:
		return sigbox.Errorf(sigbox.Invalid, "no inclusion proof, which version 0.%d requires", version)
	case version >= 2 && p.Checkpoint == "":
		return sigbox.Errorf(sigbox.Invalid, "no checkpoint in the inclusion proof, which version 0.%d requires", version)
	case p != nil && (p.LogIndex < 0 || p.LogIndex >= p.TreeSize):
		return sigbox.Errorf(sigbox.Invalid, "inclusion proof: index %d in a tree of %d leaves", p.LogIndex, p.TreeSize)
	}
	return nil
}
