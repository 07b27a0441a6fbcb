package entry

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

// The messages of gRPC's dev.sigstore.rekor.v2.Rekor, in protobuf's binary form.
// They are read as strictly as JSON is: no field that the message does not have, no
// field twice, of a oneof one. Generated code would take all of these, and bring
// along protobuf's runtime, with which a program that verifies has nothing to do.
//
// Sources: protobuf.dev, "Encoding"; rekor/v2/*.proto of sigstore/rekor-tiles; sigstore_rekor.proto and
// envelope.proto of sigstore/protobuf-specs; google/api/httpbody.proto.

// The wire types of the fields here.
const (
	protoVarint = 0
	protoBytes  = 2
)

// protoField is a field that a message may have.
type protoField struct {
	number   uint64
	name     string
	kind     uint64 // protoVarint or protoBytes
	repeated bool
}

// protoValue is what a field holds: a number, or bytes of the document.
type protoValue struct {
	number uint64
	bytes  []byte
}

var (
	protoRequest = []protoField{
		{number: 1, name: "hashed_rekord_request_v002", kind: protoBytes},
		{number: 2, name: "dsse_request_v002", kind: protoBytes},
	}
	protoHashedRekord = []protoField{
		{number: 1, name: "digest", kind: protoBytes},
		{number: 2, name: "signature", kind: protoBytes},
	}
	protoSignature = []protoField{
		{number: 1, name: "content", kind: protoBytes},
		{number: 2, name: "verifier", kind: protoBytes},
	}
	protoVerifier = []protoField{
		{number: 1, name: "public_key", kind: protoBytes},
		{number: 2, name: "x509_certificate", kind: protoBytes},
		{number: 3, name: "key_details", kind: protoVarint},
	}
	protoRawBytes    = []protoField{{number: 1, name: "raw_bytes", kind: protoBytes}}
	protoDSSERequest = []protoField{
		{number: 1, name: "envelope", kind: protoBytes},
		{number: 2, name: "verifiers", kind: protoBytes, repeated: true},
	}
	protoEnvelope = []protoField{
		{number: 1, name: "payload", kind: protoBytes},
		{number: 2, name: "payloadType", kind: protoBytes},
		{number: 3, name: "signatures", kind: protoBytes, repeated: true},
	}
	protoEnvelopeSignature = []protoField{
		{number: 1, name: "sig", kind: protoBytes},
		{number: 2, name: "keyid", kind: protoBytes},
	}
	protoTileRequest = []protoField{
		{number: 1, name: "L", kind: protoVarint},
		{number: 2, name: "N", kind: protoBytes},
	}
	protoBundleRequest = []protoField{{number: 1, name: "N", kind: protoBytes}}
)

// readProto walks the fields of a message.
func readProto(message string, b []byte, fields []protoField, value func(name string, v protoValue) error) error {
	seen := uint64(0) // a bit for each of fields
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return brokenProto(message)
		}
		b = b[n:]
		number, kind := tag>>3, tag&7
		i := slices.IndexFunc(fields, func(f protoField) bool { return f.number == number })
		if i < 0 {
			return sigbox.Errorf(sigbox.Invalid, "%s: unknown field %d", message, number)
		}
		f := fields[i]
		if f.kind != kind {
			return sigbox.Errorf(sigbox.Invalid, "%s: %s has wire type %d, expected %d", message, f.name, kind, f.kind)
		}
		if seen&(1<<i) != 0 && !f.repeated {
			return sigbox.Errorf(sigbox.Invalid, "%s: %s stands twice", message, f.name)
		}
		seen |= 1 << i
		v, rest, ok := cutProto(kind, b)
		if !ok {
			return brokenProto(message)
		}
		b = rest
		if err := value(f.name, v); err != nil {
			return err
		}
	}
	return nil
}

// cutProto takes a value of a wire type off b.
func cutProto(kind uint64, b []byte) (v protoValue, rest []byte, ok bool) {
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return v, nil, false
	}
	b = b[n:]
	if kind == protoVarint {
		return protoValue{number: number}, b, true
	}
	if number > uint64(len(b)) {
		return v, nil, false
	}
	return protoValue{bytes: b[:number]}, b[number:], true
}

func brokenProto(message string) error {
	return sigbox.Errorf(sigbox.Invalid, "%s: not protobuf's binary form: a number or a field ends beyond it", message)
}

// protoText reads a string of at most limit bytes.
func protoText(message, name string, b []byte, limit int) (string, error) {
	switch {
	case len(b) > limit:
		return "", sigbox.Errorf(sigbox.TooLarge, "%s: %s of %d bytes, at most %d are read", message, name, len(b), limit)
	case !utf8.Valid(b):
		return "", sigbox.Errorf(sigbox.Invalid, "%s: %s is not UTF-8", message, name)
	}
	return string(b), nil
}

// ParseRequestProto is [ParseRequest] for a CreateEntryRequest in protobuf's binary
// form. The entry keeps nothing of body.
func ParseRequestProto(body []byte) (sigbox.Entry, error) {
	if len(body) > MaxRequestSize {
		return sigbox.Entry{}, sigbox.Errorf(sigbox.TooLarge, "request of %d bytes: at most %d are read", len(body), MaxRequestSize)
	}
	var e sigbox.Entry
	found := 0
	err := readProto("CreateEntryRequest", body, protoRequest, func(name string, v protoValue) (err error) {
		if found++; found > 1 {
			return sigbox.Errorf(sigbox.Invalid, "a request has one entry")
		}
		if name == "dsse_request_v002" {
			e, err = protoDSSE(v.bytes)
		} else {
			e, err = protoHashed(v.bytes)
		}
		return err
	})
	if err == nil && found == 0 {
		err = noRequest()
	}
	if err == nil {
		err = checkShape(&e)
	}
	if err != nil {
		return sigbox.Entry{}, err
	}
	return e, nil
}

// protoHashed reads a HashedRekordRequestV002.
func protoHashed(b []byte) (sigbox.Entry, error) {
	var digest []byte
	var s BodySignature
	err := readProto("HashedRekordRequestV002", b, protoHashedRekord, func(name string, v protoValue) error {
		if name == "digest" {
			digest = bytes.Clone(v.bytes)
			return nil
		}
		return readProto("Signature", v.bytes, protoSignature, func(name string, v protoValue) error {
			if name == "content" {
				s.Signature = bytes.Clone(v.bytes)
				return nil
			}
			return s.protoVerifier(v.bytes)
		})
	})
	return s.entry(digest), err
}

// protoVerifier reads a Verifier: a public key or a certificate, and the algorithm.
func (s *BodySignature) protoVerifier(b []byte) error {
	return readProto("Verifier", b, protoVerifier, func(name string, v protoValue) (err error) {
		switch {
		case name == "key_details":
			s.Details, err = numberedDetails(v.number)
		case s.PublicKey != nil || s.Certificate != nil:
			err = sigbox.Errorf(sigbox.Invalid, "a verifier is a public key or a certificate, not both")
		case name == "public_key":
			s.PublicKey, err = protoDER(v.bytes)
		default:
			s.Certificate, err = protoDER(v.bytes)
		}
		return err
	})
}

// protoDER reads a message with DER in its only field.
func protoDER(b []byte) (der []byte, err error) {
	err = readProto("Verifier", b, protoRawBytes, func(_ string, v protoValue) error {
		der = bytes.Clone(v.bytes)
		return nil
	})
	if err == nil && len(der) == 0 {
		err = sigbox.Errorf(sigbox.Invalid, "Verifier: raw_bytes is missing")
	}
	return der, err
}

// protoDSSE reads a DSSERequestV002.
func protoDSSE(b []byte) (sigbox.Entry, error) {
	const message = "DSSERequestV002"
	var envelope sigbox.Envelope
	var s BodySignature
	verifiers := 0
	err := readProto(message, b, protoDSSERequest, func(name string, v protoValue) (err error) {
		if name == "envelope" {
			envelope, err = readProtoEnvelope(v.bytes)
			return err
		}
		if verifiers++; verifiers > 1 {
			return sigbox.Errorf(sigbox.TooLarge, "%s: more than 1 verifier", message)
		}
		return s.protoVerifier(v.bytes)
	})
	if err != nil {
		return sigbox.Entry{}, err
	}
	return s.envelopeEntry(&envelope, verifiers)
}

// readProtoEnvelope reads an io.intoto.Envelope, whose payload stays a part of b.
func readProtoEnvelope(b []byte) (e sigbox.Envelope, err error) {
	const message = "Envelope"
	err = readProto(message, b, protoEnvelope, func(name string, v protoValue) (err error) {
		switch name {
		case "payload":
			e.Payload = v.bytes
		case "payloadType":
			e.PayloadType, err = protoText(message, name, v.bytes, maxPayloadType)
		default:
			if len(e.Signatures) == 1 {
				return sigbox.Errorf(sigbox.TooLarge, "%s: more than 1 signature", message)
			}
			e.Signatures = append(e.Signatures, sigbox.EnvelopeSignature{})
			err = readProtoSignature(v.bytes, &e.Signatures[0])
		}
		return err
	})
	return e, err
}

// readProtoSignature reads an io.intoto.Signature.
func readProtoSignature(b []byte, s *sigbox.EnvelopeSignature) error {
	const message = "Envelope's Signature"
	return readProto(message, b, protoEnvelopeSignature, func(name string, v protoValue) (err error) {
		if name == "sig" {
			s.Signature = bytes.Clone(v.bytes)
			return nil
		}
		s.KeyID, err = protoText(message, name, v.bytes, maxKeyID)
		return err
	})
}

// AppendRequestProto is [AppendRequest] in protobuf's binary form.
func AppendRequestProto(dst []byte, e sigbox.Entry) []byte {
	var verifier []byte
	if len(e.PublicKey) > 0 {
		verifier = appendProtoBytes(verifier, 1, appendProtoBytes(nil, 1, e.PublicKey))
	} else {
		verifier = appendProtoBytes(verifier, 2, appendProtoBytes(nil, 1, e.Certificate))
	}
	verifier = appendProtoNumber(verifier, 3, uint64(e.Details))
	signature := appendProtoBytes(nil, 1, e.Signature)
	signature = appendProtoMessage(signature, 2, verifier)
	request := appendProtoBytes(nil, 1, e.Digest.Value)
	request = appendProtoMessage(request, 2, signature)
	return appendProtoMessage(dst, 1, request)
}

// AppendLogEntryProto is [AppendLogEntry] in protobuf's binary form, where a field
// that is unset is left out.
func AppendLogEntryProto(dst []byte, le *sigbox.LogEntry) []byte {
	dst = slices.Grow(dst, logEntrySize(le))
	dst = appendProtoNumber(dst, 1, uint64(le.LogIndex)) // #nosec G115 -- an int64 is encoded as these 64 bits
	dst = appendProtoMessage(dst, 2, appendProtoBytes(nil, 1, le.LogID))
	kind := appendProtoBytes(nil, 1, []byte(le.Kind))
	dst = appendProtoMessage(dst, 3, appendProtoBytes(kind, 2, []byte(le.Version)))
	dst = appendProtoNumber(dst, 4, uint64(le.IntegratedTime)) // #nosec G115 -- as above
	if le.SignedEntryTimestamp != nil {
		dst = appendProtoMessage(dst, 5, appendProtoBytes(nil, 1, le.SignedEntryTimestamp))
	}
	if le.Inclusion != nil {
		dst = appendProtoMessage(dst, 6, protoInclusion(le.Inclusion))
	}
	return appendProtoBytes(dst, 7, le.Body)
}

// protoInclusion gives an InclusionProof.
func protoInclusion(p *sigbox.Inclusion) []byte {
	b := make([]byte, 0, 96+40*len(p.Hashes)+len(p.Checkpoint))
	b = appendProtoNumber(b, 1, uint64(p.LogIndex)) // #nosec G115 -- an int64 is encoded as these 64 bits
	b = appendProtoBytes(b, 2, p.RootHash)
	b = appendProtoNumber(b, 3, uint64(p.TreeSize)) // #nosec G115 -- as above
	for _, h := range p.Hashes {
		b = appendProtoMessage(b, 4, h) // one that is empty is still one
	}
	return appendProtoMessage(b, 5, appendProtoBytes(nil, 1, []byte(p.Checkpoint)))
}

// ParseTileRequest reads a TileRequest in protobuf's binary form: a level and, in
// the form of C2SP tlog-tiles, an index and a width. Neither is looked at.
func ParseTileRequest(body []byte) (level uint64, path string, err error) {
	const message = "TileRequest"
	err = readProto(message, body, protoTileRequest, func(name string, v protoValue) (err error) {
		if name == "L" {
			level = v.number
			return nil
		}
		path, err = protoText(message, name, v.bytes, maxTilePath)
		return err
	})
	return level, path, err
}

// ParseBundleRequest reads an EntryBundleRequest in protobuf's binary form: an index
// and a width in the form of C2SP tlog-tiles, which it does not look at.
func ParseBundleRequest(body []byte) (path string, err error) {
	const message = "EntryBundleRequest"
	err = readProto(message, body, protoBundleRequest, func(name string, v protoValue) (err error) {
		path, err = protoText(message, name, v.bytes, maxTilePath)
		return err
	})
	return path, err
}

// ParseEmpty wants a google.protobuf.Empty in protobuf's binary form.
func ParseEmpty(body []byte) error { return readProto("Empty", body, nil, nil) }

// AppendHTTPBody appends a google.api.HttpBody in protobuf's binary form.
func AppendHTTPBody(dst []byte, contentType string, data []byte) []byte {
	dst = slices.Grow(dst, len(contentType)+len(data)+16)
	return appendProtoBytes(appendProtoBytes(dst, 1, []byte(contentType)), 2, data)
}

// appendProtoMessage appends a field that is there, even if it is empty.
func appendProtoMessage(dst []byte, number uint64, b []byte) []byte {
	dst = binary.AppendUvarint(dst, number<<3|protoBytes)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// appendProtoBytes appends bytes or text; what is empty is left out.
func appendProtoBytes(dst []byte, number uint64, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return appendProtoMessage(dst, number, b)
}

// appendProtoNumber appends a number; 0 is left out.
func appendProtoNumber(dst []byte, number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, number<<3|protoVarint), v)
}
