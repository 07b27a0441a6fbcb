package entry

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Body is what a log entry says: the facts that a verifier binds a bundle
// against. It is a claim of the log; who signed is proven elsewhere.
type Body struct {
	Kind, Version string
	// Digest is what the signature is over (hashedrekord; zero otherwise).
	Digest sigbox.Digest
	// PayloadDigest is of a DSSE envelope's payload (dsse, and intoto but for
	// some 0.0.1 entries; zero otherwise).
	PayloadDigest sigbox.Digest
	// EnvelopeDigest is of the whole envelope (dsse 0.0.1, intoto; zero
	// otherwise). There is no agreed encoding of an envelope, so that it proves
	// little.
	EnvelopeDigest sigbox.Digest
	// PayloadType of the envelope (intoto 0.0.2; "" otherwise).
	PayloadType string
	// Timestamp is a DER TimeStampResp (rfc3161; nil otherwise).
	Timestamp []byte
	// Signatures has at least one element, but for rfc3161. That of an intoto
	// 0.0.1 entry has a key and no signature.
	Signatures []BodySignature
}

// BodySignature is a signature as logged, with what verifies it.
type BodySignature struct {
	// Signature is raw (ASN.1 DER for ECDSA); nil in intoto 0.0.1.
	Signature []byte
	// PublicKey is a DER SubjectPublicKeyInfo, Certificate a DER certificate;
	// exactly one of them is set. They are not parsed.
	PublicKey   []byte
	Certificate []byte
	// Details names the algorithm (the 0.0.2 kinds of v2 logs; 0 otherwise).
	Details sigbox.KeyDetails
}

// ParseBody reads the body of a log entry: hashedrekord, dsse or intoto, each of
// version 0.0.1 or 0.0.2, or rfc3161 0.0.1. It checks shapes and bounds. Errors are of kind
// Invalid, or TooLarge beyond [MaxBodySize].
func ParseBody(body []byte) (*Body, error) { return parseBody(body, nil) }

// parseBody is [ParseBody], and gives what is in PEM to keys if that is not nil.
func parseBody(body []byte, keys *[]verifier) (*Body, error) {
	b := new(Body)
	err := read("entry body", body, MaxBodySize, func(r reader) error {
		r.keys = keys
		return r.body(b)
	})
	if err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	return b, nil
}

// body reads {apiVersion, kind, spec}. The spec's schema hangs on the other two,
// which stand before it in canonical order; the order is demanded.
func (r reader) body(b *Body) error {
	return r.Object(func(name string) error {
		switch name {
		case "apiVersion":
			return r.string(&b.Version, 64)
		case "kind":
			return r.string(&b.Kind, 64)
		}
		return r.spec(b)
	}, "apiVersion", "kind", "spec")
}

func (r reader) spec(b *Body) error {
	switch b.Kind + " " + b.Version {
	case "hashedrekord 0.0.1":
		return r.hashedRekord001(b)
	case "hashedrekord 0.0.2":
		return r.Object(func(string) error { return r.hashedRekord002(b) }, "hashedRekordV002")
	case "dsse 0.0.1":
		return r.dsse001(b)
	case "dsse 0.0.2":
		return r.Object(func(string) error { return r.dsse002(b) }, "dsseV002")
	case "intoto 0.0.1":
		return r.inToto001(b)
	case "intoto 0.0.2":
		return r.Object(func(string) error { return r.inToto002(b) }, "content")
	case "rfc3161 0.0.1":
		return r.timestamp(b)
	}
	if b.Kind == "" || b.Version == "" {
		return r.Errorf("expected apiVersion and kind before spec, as in canonical JSON")
	}
	return r.Errorf("entry of kind %q, version %q: expected hashedrekord, dsse or intoto of version 0.0.1 or 0.0.2, or rfc3161 0.0.1", b.Kind, b.Version)
}

// check says whether what the kind needs is there.
func (b *Body) check() error {
	missing := ""
	switch {
	case b.Kind == KindRFC3161:
		if len(b.Timestamp) == 0 {
			missing = "the timestamp"
		}
	case len(b.Signatures) == 0:
		missing = "a signature"
	case b.Kind == KindHashedRekord && b.Digest.IsZero():
		missing = "the digest"
	case b.Kind == KindDSSE && b.PayloadDigest.IsZero():
		missing = "the payload's hash"
	case b.Kind == KindInToto && b.EnvelopeDigest.IsZero():
		missing = "the envelope's hash"
	}
	for _, s := range b.Signatures {
		if s.PublicKey == nil && s.Certificate == nil {
			missing = "the verifier of a signature"
		}
		if len(s.Signature) == 0 && (b.Kind != KindInToto || b.Version != Version001) {
			missing = "a signature"
		}
	}
	if missing != "" {
		return sigbox.Errorf(sigbox.Invalid, "the %.20q %.20q entry lacks %s", b.Kind, b.Version, missing)
	}
	return nil
}

// hashedRekord001 reads {data:{hash}, signature:{content, publicKey:{content}}}.
func (r reader) hashedRekord001(b *Body) error {
	var s BodySignature
	err := r.Object(func(name string) error {
		if name == "data" {
			return r.Object(func(string) error { return r.hexDigest(&b.Digest) }, "hash")
		}
		return r.Object(func(name string) error {
			if name == "content" {
				return r.bytes(&s.Signature)
			}
			return r.Object(func(string) error { return r.pem(&s) }, "content")
		}, "content", "publicKey")
	}, "data", "signature")
	b.Signatures = append(b.Signatures, s)
	return err
}

// hashedRekord002 reads a HashedRekordLogEntryV002.
func (r reader) hashedRekord002(b *Body) error {
	var s BodySignature
	err := r.Object(func(name string) error {
		if name == "data" {
			return r.hashOutput(&b.Digest)
		}
		return r.signature(&s)
	}, "data", "signature")
	b.Signatures = append(b.Signatures, s)
	return err
}

// dsse001 reads {envelopeHash, payloadHash, signatures:[{signature, verifier}]}.
func (r reader) dsse001(b *Body) error {
	return r.Object(func(name string) error {
		switch name {
		case "envelopeHash":
			return r.hexDigest(&b.EnvelopeDigest)
		case "payloadHash":
			return r.hexDigest(&b.PayloadDigest)
		}
		return r.signatures(b, func(s *BodySignature) error {
			return r.Object(func(name string) error {
				if name == "signature" {
					return r.bytes(&s.Signature)
				}
				return r.pem(s)
			}, "signature", "verifier")
		})
	}, "envelopeHash", "payloadHash", "signatures")
}

// dsse002 reads a DSSELogEntryV002.
func (r reader) dsse002(b *Body) error {
	return r.Object(func(name string) error {
		if name == "payloadHash" {
			return r.hashOutput(&b.PayloadDigest)
		}
		return r.signatures(b, r.signature)
	}, "payloadHash", "signatures")
}

// inToto001 reads {content:{hash, payloadHash}, publicKey}.
func (r reader) inToto001(b *Body) error {
	var s BodySignature
	err := r.Object(func(name string) error {
		if name == "publicKey" {
			return r.pem(&s)
		}
		return r.Object(func(name string) error { return r.inTotoHash(b, name) }, "hash", "payloadHash")
	}, "content", "publicKey")
	b.Signatures = append(b.Signatures, s)
	return err
}

// inToto002 reads the content: {envelope:{payload, payloadType, signatures},
// hash, payloadHash}. The payload is often left out, and proves nothing that its
// hash does not.
func (r reader) inToto002(b *Body) error {
	return r.Object(func(name string) error {
		if name != "envelope" {
			return r.inTotoHash(b, name)
		}
		return r.Object(func(name string) error {
			switch name {
			case "payload":
				return r.ignore()
			case "payloadType":
				return r.string(&b.PayloadType, 1024)
			}
			return r.signatures(b, r.inTotoSignature)
		}, "payload", "payloadType", "signatures")
	}, "envelope", "hash", "payloadHash")
}

func (r reader) inTotoHash(b *Body, name string) error {
	if name == "hash" {
		return r.hexDigest(&b.EnvelopeDigest)
	}
	return r.hexDigest(&b.PayloadDigest)
}

// inTotoSignature reads {keyid, publicKey, sig}; the signature is base64 of
// base64.
func (r reader) inTotoSignature(s *BodySignature) error {
	return r.Object(func(name string) error {
		switch name {
		case "keyid":
			return r.ignore()
		case "publicKey":
			return r.pem(s)
		}
		var inner []byte
		if err := r.bytes(&inner); err != nil {
			return err
		}
		sig, err := protojson.DecodeBase64(inner)
		if err != nil {
			return r.Errorf("expected base64 of base64: %v", err)
		}
		s.Signature = sig
		return nil
	}, "keyid", "publicKey", "sig")
}

// signatures reads an array of signatures, each by one.
func (r reader) signatures(b *Body, one func(*BodySignature) error) error {
	return r.Array(maxSignatures, func() error {
		b.Signatures = append(b.Signatures, BodySignature{})
		return one(&b.Signatures[len(b.Signatures)-1])
	})
}

// hexDigest reads v1's {algorithm:"sha256", value:hex}.
func (r reader) hexDigest(d *sigbox.Digest) error {
	var name, value string
	err := r.Object(func(member string) error {
		if member == "algorithm" {
			return r.string(&name, 16)
		}
		return r.string(&value, 2*64)
	}, "algorithm", "value")
	if err != nil {
		return err
	}
	h, ok := sigbox.HashByName(name)
	if !ok || h.String() != name {
		return r.Errorf("hash algorithm %q: expected sha256, sha384 or sha512", name)
	}
	raw, _ := hex.DecodeString(value) // what is no hex is not written the same again
	if len(raw) != h.Size() || hex.EncodeToString(raw) != value {
		return r.Errorf("expected %d lower-case hex digits, found %q", 2*h.Size(), value)
	}
	*d = sigbox.Digest{Algorithm: h, Value: raw}
	return nil
}

// hashOutput reads a HashOutput, {algorithm:"SHA2_256", digest:base64}.
func (r reader) hashOutput(d *sigbox.Digest) error {
	var name string
	var value []byte
	err := r.Object(func(member string) error {
		if member == "algorithm" {
			return r.string(&name, 16)
		}
		return r.bytes(&value)
	}, "algorithm", "digest")
	if err != nil {
		return err
	}
	h, ok := sigbox.HashByName(name)
	if !ok || h.WireName() != name || len(value) != h.Size() {
		return r.Errorf("expected SHA2_256, SHA2_384 or SHA2_512 and a digest of its length, found %q and %d bytes", name, len(value))
	}
	*d = sigbox.Digest{Algorithm: h, Value: value}
	return nil
}

// pem reads base64 of PEM: a public key, or a certificate and perhaps the chain
// above it, which is dropped.
func (r reader) pem(s *BodySignature) error {
	v, err := r.pemVerifier(MaxBodySize)
	if err == nil {
		s.PublicKey, s.Certificate = v.key, v.signature(nil).Certificate
		if r.keys != nil {
			*r.keys = append(*r.keys, v)
		}
	}
	return err
}

// pemVerifier reads base64 of PEM of at most limit bytes: a public key, or
// certificates. Blocks have no
// headers (RFC 7468 §2), which package pem would put into a map that is many times
// as large.
func (r reader) pemVerifier(limit int) (v verifier, err error) {
	if v.text, err = r.Bytes(limit); err != nil {
		return v, err
	}
	if bytes.IndexByte(v.text, ':') >= 0 {
		return v, r.Errorf("expected PEM without headers")
	}
	rest := bytes.TrimSpace(v.text)
	for n := 0; len(bytes.TrimSpace(rest)) > 0; n++ {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || n == maxCertificates || len(block.Bytes) == 0 {
			return v, r.Errorf("expected PEM of a public key, or of at most %d certificates", maxCertificates)
		}
		switch {
		case n == 0 && block.Type == "PUBLIC KEY":
			v.key = block.Bytes
		case block.Type == "CERTIFICATE" && v.key == nil:
			v.chain = append(v.chain, block.Bytes)
		default:
			return v, r.Errorf("expected PEM of a public key or a certificate, found %.40q", block.Type)
		}
	}
	return v, nil
}

// appendPEM appends the PEM of v as a v1 log stores it.
func (v *verifier) appendPEM(dst []byte) []byte {
	if v.key != nil {
		return appendPEM(dst, "PUBLIC KEY", v.key)
	}
	for _, der := range v.chain {
		dst = appendPEM(dst, "CERTIFICATE", der)
	}
	return dst
}

// appendPEM appends a block as package pem encodes it, with a tenth of the garbage.
func appendPEM(dst []byte, kind string, der []byte) []byte {
	const line = 48 // 64 characters (RFC 7468 §2)
	dst = slices.Grow(dst, 64+len(der)*65/line)
	dst = append(append(append(dst, "-----BEGIN "...), kind...), "-----\n"...)
	for len(der) > 0 {
		n := min(line, len(der))
		dst = append(base64.StdEncoding.AppendEncode(dst, der[:n]), '\n')
		der = der[n:]
	}
	return append(append(append(dst, "-----END "...), kind...), "-----\n"...)
}

// timestamp reads {tsr:{content}}.
func (r reader) timestamp(b *Body) error {
	return r.Object(func(string) error {
		return r.Object(func(string) (err error) {
			b.Timestamp, err = r.Bytes(maxTimestamp)
			return err
		}, "content")
	}, "tsr")
}

// appendHexDigest appends a digest as hexDigest reads it.
func appendHexDigest(dst []byte, d sigbox.Digest) []byte {
	dst = append(dst, `{"algorithm":"`...)
	dst = append(dst, d.Algorithm.String()...)
	dst = append(dst, `","value":"`...)
	dst = hex.AppendEncode(dst, d.Value)
	return append(dst, `"}`...)
}
