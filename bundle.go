package sigbox

import "strconv"

// Bundle is a signature with all that is needed to verify it offline. What it
// says is a claim until the verify package has judged it.
//
// Source: protobuf-specs, sigstore_bundle.proto.
type Bundle struct {
	// MediaType is as found, or as it is to be written.
	MediaType string
	// Version is the bundle format's minor version: 1, 2 or 3 for 0.1 to 0.3.
	Version int

	// Certificates are DER, leaf first; a v0.3 bundle holds the leaf alone.
	// Empty when a public key verifies the bundle.
	Certificates [][]byte
	// KeyHint helps to find the public key; set when Certificates is empty.
	// It is a lookup aid and proves nothing.
	KeyHint string

	Entries []LogEntry
	// Timestamps are DER TimeStampResp (RFC 3161).
	Timestamps [][]byte

	// Exactly one of these is set.
	Message  *MessageSignature
	Envelope *Envelope
}

// MessageSignature is a signature over an artifact's bytes.
type MessageSignature struct {
	// Digest of the artifact as the signer claims; zero when not stated.
	Digest    Digest
	Signature []byte
}

// Envelope is a DSSE envelope.
//
// Source: https://github.com/secure-systems-lab/dsse/blob/master/envelope.md
type Envelope struct {
	PayloadType string
	Payload     []byte
	Signatures  []EnvelopeSignature
}

// EnvelopeSignature is one signature over the envelope's PAE.
type EnvelopeSignature struct {
	KeyID     string
	Signature []byte
}

// InTotoPayloadType is the DSSE payload type of in-toto statements.
const InTotoPayloadType = "application/vnd.in-toto+json"

// PAE is DSSE's pre-authentication encoding: the bytes that are signed.
//
// Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
func PAE(payloadType string, payload []byte) []byte {
	b := make([]byte, 0, len(payload)+len(payloadType)+64)
	b = AppendPAEHeader(b, payloadType, len(payload))
	return append(b, payload...)
}

// AppendPAEHeader appends what stands ahead of a payload of size bytes in its
// [PAE], for who hashes large payloads without a copy of them.
func AppendPAEHeader(dst []byte, payloadType string, size int) []byte {
	dst = append(dst, "DSSEv1 "...)
	dst = strconv.AppendInt(dst, int64(len(payloadType)), 10)
	dst = append(dst, ' ')
	dst = append(dst, payloadType...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(size), 10)
	return append(dst, ' ')
}
