package timestamp

import (
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// Context-specific tags, of primitive encoding.
const (
	tagContext0 asn1.Tag = 0x80
	tagContext1 asn1.Tag = 0x81
	tagContext4 asn1.Tag = 0x84
)

// appendTLV appends a DER element whose contents are the parts in a row.
func appendTLV(dst []byte, tag asn1.Tag, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	dst = appendHeader(slices.Grow(dst, n+maxHeader), tag, n)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	return dst
}

// maxHeader is the length of the longest tag and length that appendHeader writes.
const maxHeader = 5

// appendHeader appends tag and length (X.690 §10.1: as short as possible). The
// length is below 1<<24: all that is written here is far shorter.
func appendHeader(dst []byte, tag asn1.Tag, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(tag), octet(n))
	case n < 0x100:
		return append(dst, byte(tag), 0x81, octet(n))
	case n < 0x10000:
		return append(dst, byte(tag), 0x82, octet(n>>8), octet(n))
	}
	return append(dst, byte(tag), 0x83, octet(n>>16), octet(n>>8), octet(n))
}

// octet gives the last eight bits of n.
func octet(n int) byte { return byte(n & 0xff) }

// maxInteger bounds serial numbers and nonces, in bytes. Authorities give out 20,
// clients 8.
const maxInteger = 64

// readInteger reads an INTEGER's contents octets, minimal as DER demands and at
// most maxInteger long. Timestamps name big integers only to compare them.
func readInteger(s *cryptobyte.String) ([]byte, bool) {
	var v cryptobyte.String
	if !s.ReadASN1(&v, asn1.INTEGER) || !minimalInteger(v) || len(v) > maxInteger {
		return nil, false
	}
	return v, true
}

// minimalInteger reports whether v is the shortest two's complement (X.690 §8.3.2).
func minimalInteger(v []byte) bool {
	if len(v) < 2 {
		return len(v) == 1
	}
	sign := v[1] >= 0x80 // the first octet must say more than the second's sign
	return v[0] != 0 && v[0] != 0xff || (v[0] == 0xff) != sign
}

// readDefaultFalse reads a BOOLEAN DEFAULT FALSE, which DER leaves out when false
// (X.690 §11.5).
func readDefaultFalse(s *cryptobyte.String) (value, ok bool) {
	if !s.PeekASN1Tag(asn1.BOOLEAN) {
		return false, true
	}
	ok = s.ReadASN1Boolean(&value)
	return value, ok && value
}

// algorithm is an AlgorithmIdentifier whose parameters are absent or NULL.
type algorithm struct {
	oid  string
	null bool
}

// readAlgorithm reads an AlgorithmIdentifier. RFC 5754 §2 wants the parameters of
// a hash absent and NULL accepted.
func readAlgorithm(s *cryptobyte.String) (algorithm, bool) {
	var seq, oid, null cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) || !seq.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
		return algorithm{}, false
	}
	a := algorithm{string(oid), !seq.Empty()}
	if a.null && (!seq.ReadASN1(&null, asn1.NULL) || len(null) != 0) {
		return algorithm{}, false
	}
	return a, seq.Empty()
}

// marshal writes a as an AlgorithmIdentifier.
func (a algorithm) marshal() []byte {
	id := appendTLV(nil, asn1.OBJECT_IDENTIFIER, []byte(a.oid))
	if a.null {
		id = appendHeader(id, asn1.NULL, 0)
	}
	return appendTLV(nil, asn1.SEQUENCE, id)
}

// imprint is a MessageImprint (RFC 3161 §2.4.1) and how its algorithm is written.
type imprint struct {
	digest sigbox.Digest
	null   bool
}

// readImprint reads a MessageImprint.
func readImprint(s *cryptobyte.String) (imprint, error) {
	var seq, value cryptobyte.String
	if !s.ReadASN1(&seq, asn1.SEQUENCE) {
		return imprint{}, malformed("messageImprint")
	}
	alg, ok := readAlgorithm(&seq)
	if !ok || !seq.ReadASN1(&value, asn1.OCTET_STRING) || !seq.Empty() {
		return imprint{}, malformed("messageImprint")
	}
	h, ok := hashByOID(alg.oid)
	if !ok {
		return imprint{}, sigbox.Errorf(sigbox.Invalid, "timestamp: hash of the message imprint: %w: expected SHA-256, SHA-384 or SHA-512", BadAlgorithm)
	}
	d := sigbox.Digest{Algorithm: h, Value: value}
	return imprint{d, alg.null}, checkLength(d)
}

func checkLength(d sigbox.Digest) error {
	if d.Valid() {
		return nil
	}
	return sigbox.Errorf(sigbox.Invalid, "timestamp: a %s digest has %d bytes, found %d", d.Algorithm, d.Algorithm.Size(), len(d.Value)).WithCause(BadDataFormat)
}

// appendImprint appends a MessageImprint.
func appendImprint(dst []byte, m imprint) []byte {
	alg := algorithm{hashOID(m.digest.Algorithm), m.null}.marshal()
	return appendTLV(dst, asn1.SEQUENCE, alg, appendTLV(nil, asn1.OCTET_STRING, m.digest.Value))
}

// malformed is the error for DER that is not what RFC 3161 or RFC 5652 say.
func malformed(field string) error {
	return sigbox.Errorf(sigbox.Invalid, "timestamp: %s is missing, or %w: expected DER as in RFC 3161", field, BadDataFormat)
}
