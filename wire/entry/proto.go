package entry

import (
	"bytes"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protobin"
)

// The messages of gRPC's dev.sigstore.rekor.v2.Rekor, in protobuf's binary form.
//
// Sources: rekor/v2/*.proto of sigstore/rekor-tiles; sigstore_rekor.proto and
// envelope.proto of sigstore/protobuf-specs; google/api/httpbody.proto.

var (
	protoRequest = []protobin.Field{
		{Number: 1, Name: "hashed_rekord_request_v002", Kind: protobin.Bytes},
		{Number: 2, Name: "dsse_request_v002", Kind: protobin.Bytes},
	}
	protoHashedRekord = []protobin.Field{
		{Number: 1, Name: "digest", Kind: protobin.Bytes},
		{Number: 2, Name: "signature", Kind: protobin.Bytes},
	}
	protoSignature = []protobin.Field{
		{Number: 1, Name: "content", Kind: protobin.Bytes},
		{Number: 2, Name: "verifier", Kind: protobin.Bytes},
	}
	protoVerifier = []protobin.Field{
		{Number: 1, Name: "public_key", Kind: protobin.Bytes},
		{Number: 2, Name: "x509_certificate", Kind: protobin.Bytes},
		{Number: 3, Name: "key_details", Kind: protobin.Varint},
	}
	protoRawBytes    = []protobin.Field{{Number: 1, Name: "raw_bytes", Kind: protobin.Bytes}}
	protoDSSERequest = []protobin.Field{
		{Number: 1, Name: "envelope", Kind: protobin.Bytes},
		{Number: 2, Name: "verifiers", Kind: protobin.Bytes, Repeated: true},
	}
	protoEnvelope = []protobin.Field{
		{Number: 1, Name: "payload", Kind: protobin.Bytes},
		{Number: 2, Name: "payloadType", Kind: protobin.Bytes},
		{Number: 3, Name: "signatures", Kind: protobin.Bytes, Repeated: true},
	}
	protoEnvelopeSignature = []protobin.Field{
		{Number: 1, Name: "sig", Kind: protobin.Bytes},
		{Number: 2, Name: "keyid", Kind: protobin.Bytes},
	}
	protoTileRequest = []protobin.Field{
		{Number: 1, Name: "L", Kind: protobin.Varint},
		{Number: 2, Name: "N", Kind: protobin.Bytes},
	}
	protoBundleRequest = []protobin.Field{{Number: 1, Name: "N", Kind: protobin.Bytes}}
)

// ParseRequestProto is [ParseRequest] for a CreateEntryRequest in protobuf's binary
// form. The entry keeps nothing of body.
func ParseRequestProto(body []byte) (sigbox.Entry, error) {
	if len(body) > MaxRequestSize {
		return sigbox.Entry{}, sigbox.Errorf(sigbox.TooLarge, "request of %d bytes: at most %d are read", len(body), MaxRequestSize)
	}
	var e sigbox.Entry
	found := 0
	err := protobin.Read("CreateEntryRequest", body, protoRequest, func(name string, v protobin.Value) (err error) {
		if found++; found > 1 {
			return sigbox.Errorf(sigbox.Invalid, "a request has one entry")
		}
		if name == "dsse_request_v002" {
			e, err = protoDSSE(v.Bytes)
		} else {
			e, err = protoHashed(v.Bytes)
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
	err := protobin.Read("HashedRekordRequestV002", b, protoHashedRekord, func(name string, v protobin.Value) error {
		if name == "digest" {
			digest = bytes.Clone(v.Bytes)
			return nil
		}
		return protobin.Read("Signature", v.Bytes, protoSignature, func(name string, v protobin.Value) error {
			if name == "content" {
				s.Signature = bytes.Clone(v.Bytes)
				return nil
			}
			return s.protoVerifier(v.Bytes)
		})
	})
	return s.entry(digest), err
}

// protoVerifier reads a Verifier: a public key or a certificate, and the algorithm.
func (s *BodySignature) protoVerifier(b []byte) error {
	return protobin.Read("Verifier", b, protoVerifier, func(name string, v protobin.Value) (err error) {
		switch {
		case name == "key_details":
			s.Details, err = numberedDetails(v.Number)
		case s.PublicKey != nil || s.Certificate != nil:
			err = sigbox.Errorf(sigbox.Invalid, "a verifier is a public key or a certificate, not both")
		case name == "public_key":
			s.PublicKey, err = protoDER(v.Bytes)
		default:
			s.Certificate, err = protoDER(v.Bytes)
		}
		return err
	})
}

// protoDER reads a message with DER in its only field.
func protoDER(b []byte) (der []byte, err error) {
	err = protobin.Read("Verifier", b, protoRawBytes, func(_ string, v protobin.Value) error {
		der = bytes.Clone(v.Bytes)
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
	err := protobin.Read(message, b, protoDSSERequest, func(name string, v protobin.Value) (err error) {
		if name == "envelope" {
			envelope, err = readProtoEnvelope(v.Bytes)
			return err
		}
		if verifiers++; verifiers > 1 {
			return sigbox.Errorf(sigbox.TooLarge, "%s: more than 1 verifier", message)
		}
		return s.protoVerifier(v.Bytes)
	})
	if err != nil {
		return sigbox.Entry{}, err
	}
	return s.envelopeEntry(&envelope, verifiers)
}

// readProtoEnvelope reads an io.intoto.Envelope, whose payload stays a part of b.
func readProtoEnvelope(b []byte) (e sigbox.Envelope, err error) {
	const message = "Envelope"
	err = protobin.Read(message, b, protoEnvelope, func(name string, v protobin.Value) (err error) {
		switch name {
		case "payload":
			e.Payload = v.Bytes
		case "payloadType":
			e.PayloadType, err = protobin.Text(message, name, v.Bytes, maxPayloadType)
		default:
			if len(e.Signatures) == 1 {
				return sigbox.Errorf(sigbox.TooLarge, "%s: more than 1 signature", message)
			}
			e.Signatures = append(e.Signatures, sigbox.EnvelopeSignature{})
			err = readProtoSignature(v.Bytes, &e.Signatures[0])
		}
		return err
	})
	return e, err
}

// readProtoSignature reads an io.intoto.Signature.
func readProtoSignature(b []byte, s *sigbox.EnvelopeSignature) error {
	const message = "Envelope's Signature"
	return protobin.Read(message, b, protoEnvelopeSignature, func(name string, v protobin.Value) (err error) {
		if name == "sig" {
			s.Signature = bytes.Clone(v.Bytes)
			return nil
		}
		s.KeyID, err = protobin.Text(message, name, v.Bytes, maxKeyID)
		return err
	})
}

// AppendRequestProto is [AppendRequest] in protobuf's binary form.
func AppendRequestProto(dst []byte, e sigbox.Entry) []byte {
	var verifier []byte
	if len(e.PublicKey) > 0 {
		verifier = protobin.AppendBytes(verifier, 1, protobin.AppendBytes(nil, 1, e.PublicKey))
	} else {
		verifier = protobin.AppendBytes(verifier, 2, protobin.AppendBytes(nil, 1, e.Certificate))
	}
	verifier = protobin.AppendNumber(verifier, 3, uint64(e.Details))
	signature := protobin.AppendBytes(nil, 1, e.Signature)
	signature = protobin.AppendMessage(signature, 2, verifier)
	request := protobin.AppendBytes(nil, 1, e.Digest.Value)
	request = protobin.AppendMessage(request, 2, signature)
	return protobin.AppendMessage(dst, 1, request)
}

// AppendLogEntryProto is [AppendLogEntry] in protobuf's binary form, where a field
// that is unset is left out.
func AppendLogEntryProto(dst []byte, le *sigbox.LogEntry) []byte {
	dst = slices.Grow(dst, logEntrySize(le))
	dst = protobin.AppendNumber(dst, 1, uint64(le.LogIndex)) // #nosec G115 -- an int64 is encoded as these 64 bits
	dst = protobin.AppendMessage(dst, 2, protobin.AppendBytes(nil, 1, le.LogID))
	kind := protobin.AppendBytes(nil, 1, []byte(le.Kind))
	dst = protobin.AppendMessage(dst, 3, protobin.AppendBytes(kind, 2, []byte(le.Version)))
	dst = protobin.AppendNumber(dst, 4, uint64(le.IntegratedTime)) // #nosec G115 -- as above
	if le.SignedEntryTimestamp != nil {
		dst = protobin.AppendMessage(dst, 5, protobin.AppendBytes(nil, 1, le.SignedEntryTimestamp))
	}
	if le.Inclusion != nil {
		dst = protobin.AppendMessage(dst, 6, protoInclusion(le.Inclusion))
	}
	return protobin.AppendBytes(dst, 7, le.Body)
}

// protoInclusion gives an InclusionProof.
func protoInclusion(p *sigbox.Inclusion) []byte {
	b := make([]byte, 0, 96+40*len(p.Hashes)+len(p.Checkpoint))
	b = protobin.AppendNumber(b, 1, uint64(p.LogIndex)) // #nosec G115 -- an int64 is encoded as these 64 bits
	b = protobin.AppendBytes(b, 2, p.RootHash)
	b = protobin.AppendNumber(b, 3, uint64(p.TreeSize)) // #nosec G115 -- as above
	for _, h := range p.Hashes {
		b = protobin.AppendMessage(b, 4, h) // one that is empty is still one
	}
	return protobin.AppendMessage(b, 5, protobin.AppendBytes(nil, 1, []byte(p.Checkpoint)))
}

// ParseTileRequest reads a TileRequest in protobuf's binary form: a level and, in
// the form of C2SP tlog-tiles, an index and a width. Neither is looked at.
func ParseTileRequest(body []byte) (level uint64, path string, err error) {
	const message = "TileRequest"
	err = protobin.Read(message, body, protoTileRequest, func(name string, v protobin.Value) (err error) {
		if name == "L" {
			level = v.Number
			return nil
		}
		path, err = protobin.Text(message, name, v.Bytes, maxTilePath)
		return err
	})
	return level, path, err
}

// ParseBundleRequest reads an EntryBundleRequest in protobuf's binary form: an index
// and a width in the form of C2SP tlog-tiles, which it does not look at.
func ParseBundleRequest(body []byte) (path string, err error) {
	const message = "EntryBundleRequest"
	err = protobin.Read(message, body, protoBundleRequest, func(name string, v protobin.Value) (err error) {
		path, err = protobin.Text(message, name, v.Bytes, maxTilePath)
		return err
	})
	return path, err
}

// ParseEmpty wants a google.protobuf.Empty in protobuf's binary form.
func ParseEmpty(body []byte) error { return protobin.Read("Empty", body, nil, nil) }

// AppendHTTPBody appends a google.api.HttpBody in protobuf's binary form.
func AppendHTTPBody(dst []byte, contentType string, data []byte) []byte {
	dst = slices.Grow(dst, len(contentType)+len(data)+16)
	return protobin.AppendBytes(protobin.AppendBytes(dst, 1, []byte(contentType)), 2, data)
}
