package entry

import (
	"crypto"
	"math"
	"slices"

	"github.com/sigbox/sigbox"
)

// ParseRequest reads what a client posts to a v2 log, a CreateEntryRequest: a
// hashedRekordRequestV002, or a dsseRequestV002 with one signature and one
// verifier, which becomes an entry over the hash of the envelope's PAE. It checks
// the shape, that the algorithm is one that a v2 log takes, and that the digest
// has its length; [Verify] checks the key and the signature. Errors are of kind
// Invalid, or TooLarge beyond [MaxRequestSize].
//
// Source: rekor/v2/entry.proto, hashedrekord.proto, dsse.proto.
func ParseRequest(body []byte) (sigbox.Entry, error) {
	var e sigbox.Entry
	found := 0
	err := read("request", body, MaxRequestSize, func(r reader) error {
		return r.Object(func(name string) (err error) {
			if found++; found > 1 {
				return r.Errorf("a request has one entry")
			}
			if name == "dsseRequestV002" {
				e, err = r.dsseRequest()
			} else {
				e, err = r.hashedRekordRequest()
			}
			return err
		}, "hashedRekordRequestV002", "dsseRequestV002")
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

func noRequest() error {
	return sigbox.Errorf(sigbox.Invalid, "the request has neither hashedRekordRequestV002 nor dsseRequestV002")
}

// hashedRekordRequest reads a HashedRekordRequestV002.
func (r reader) hashedRekordRequest() (sigbox.Entry, error) {
	var digest []byte
	var s BodySignature
	err := r.Object(func(name string) error {
		if name == "digest" {
			return r.bytes(&digest)
		}
		return r.signature(&s)
	}, "digest", "signature")
	return s.entry(digest), err
}

// signature reads a v2 Signature: the signature and what verifies it.
func (r reader) signature(s *BodySignature) error {
	return r.Object(func(name string) error {
		if name == "content" {
			return r.bytes(&s.Signature)
		}
		return r.verifier(s)
	}, "content", "verifier")
}

// verifier reads a v2 Verifier: a public key or a certificate, and the algorithm.
func (r reader) verifier(s *BodySignature) error {
	return r.Object(func(name string) error {
		if name == "keyDetails" {
			return r.keyDetails(&s.Details)
		}
		if s.PublicKey != nil || s.Certificate != nil {
			return r.Errorf("a verifier is a public key or a certificate, not both")
		}
		if name == "publicKey" {
			return r.rawBytes(&s.PublicKey)
		}
		return r.rawBytes(&s.Certificate)
	}, "keyDetails", "publicKey", "x509Certificate")
}

// rawBytes reads a message with DER in its only field.
func (r reader) rawBytes(der *[]byte) error {
	if err := r.Object(func(string) error { return r.bytes(der) }, "rawBytes"); err != nil {
		return err
	}
	if len(*der) == 0 {
		return r.Errorf("rawBytes is missing")
	}
	return nil
}

// keyDetails reads a PublicKeyDetails, by its name or by its number.
func (r reader) keyDetails(k *sigbox.KeyDetails) error {
	name, number, err := r.Enum()
	if err != nil {
		return err
	}
	if name != "" {
		*k, err = sigbox.ParseKeyDetails(name)
		return err
	}
	if *k, err = numberedDetails(uint64(number)); err != nil { // #nosec G115 -- no algorithm has a negative number
		return r.Errorf("%w", err)
	}
	return nil
}

// numberedDetails gives the PublicKeyDetails with a number.
func numberedDetails(number uint64) (sigbox.KeyDetails, error) {
	k := sigbox.KeyDetails(number & math.MaxUint8)
	if uint64(k) != number || !k.Valid() {
		return 0, sigbox.Errorf(sigbox.Invalid, "key details %d: not an algorithm that sigbox supports", number)
	}
	return k, nil
}

// dsseRequest reads a DSSERequestV002.
func (r reader) dsseRequest() (sigbox.Entry, error) {
	var envelope sigbox.Envelope
	var s BodySignature
	verifiers := 0
	err := r.Object(func(name string) error {
		if name == "envelope" {
			return r.envelope(&envelope)
		}
		return r.Array(1, func() error { verifiers++; return r.verifier(&s) })
	}, "envelope", "verifiers")
	if err != nil {
		return sigbox.Entry{}, err
	}
	return s.envelopeEntry(&envelope, verifiers)
}

// envelopeEntry gives the entry of an envelope with one signature, which s verifies.
func (s *BodySignature) envelopeEntry(envelope *sigbox.Envelope, verifiers int) (sigbox.Entry, error) {
	if len(envelope.Signatures) != 1 || verifiers != 1 {
		return sigbox.Entry{}, sigbox.Errorf(sigbox.Invalid, "a DSSE request has one signature and one verifier, found %d and %d", len(envelope.Signatures), verifiers)
	}
	if envelope.PayloadType == "" {
		return sigbox.Entry{}, sigbox.Errorf(sigbox.Invalid, "the envelope's payloadType is missing")
	}
	if !loggable(s.Details) {
		return sigbox.Entry{}, notLoggable(s.Details)
	}
	s.Signature = envelope.Signatures[0].Signature
	pae := sigbox.PAE(envelope.PayloadType, envelope.Payload)
	return s.entry(s.Details.Hash().Sum(pae).Value), nil
}

// envelope reads an io.intoto.Envelope.
func (r reader) envelope(e *sigbox.Envelope) error {
	return r.Object(func(name string) error {
		switch name {
		case "payload":
			return r.bytes(&e.Payload)
		case "payloadType":
			return r.string(&e.PayloadType, 1024)
		}
		return r.Array(1, func() error {
			var s sigbox.EnvelopeSignature
			err := r.Object(func(name string) error {
				if name == "sig" {
					return r.bytes(&s.Signature)
				}
				return r.string(&s.KeyID, 1024)
			}, "sig", "keyid")
			e.Signatures = append(e.Signatures, s)
			return err
		})
	}, "payload", "payloadType", "signatures")
}

// entry gives the entry of s over digest.
func (s *BodySignature) entry(digest []byte) sigbox.Entry {
	return sigbox.Entry{
		Digest:    sigbox.Digest{Algorithm: s.Details.Hash(), Value: digest},
		Signature: s.Signature, PublicKey: s.PublicKey, Certificate: s.Certificate, Details: s.Details,
	}
}

// loggable reports whether a v2 log takes k: algorithms that sign a digest, are
// not legacy, and have one signature format (so no RSA-PSS).
func loggable(k sigbox.KeyDetails) bool {
	switch k {
	case sigbox.ECDSAP256SHA256, sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512, sigbox.Ed25519ph,
		sigbox.RSAPKCS1v15With2048, sigbox.RSAPKCS1v15With3072, sigbox.RSAPKCS1v15With4096:
		return true
	}
	return false
}

func notLoggable(k sigbox.KeyDetails) error {
	if k == 0 {
		return sigbox.Errorf(sigbox.Invalid, "the verifier's keyDetails are missing")
	}
	e := sigbox.Errorf(sigbox.Invalid, "%s signatures cannot be logged", k)
	if k == sigbox.Ed25519 {
		return e.WithHint("sign with Ed25519ph, PKIX_ED25519_PH")
	}
	return e.WithHint("sign with ECDSA, Ed25519ph or RSA PKCS #1 v1.5 of 2048, 3072 or 4096 bits")
}

// checkShape says whether e is whole and of an algorithm that is logged.
func checkShape(e *sigbox.Entry) error {
	switch {
	case (len(e.PublicKey) == 0) == (len(e.Certificate) == 0):
		return sigbox.Errorf(sigbox.Invalid, "an entry has a public key or a certificate, one of them")
	case !loggable(e.Details):
		return notLoggable(e.Details)
	case len(e.Signature) == 0:
		return sigbox.Errorf(sigbox.Invalid, "the signature is missing")
	case e.Digest.Algorithm != e.Details.Hash():
		return sigbox.Mismatch(sigbox.Invalid, "the digest's algorithm does not fit "+e.Details.String(), e.Details.Hash(), e.Digest.Algorithm)
	case !e.Digest.Valid():
		return sigbox.Errorf(sigbox.Invalid, "the digest has %d bytes, %s signs one of %d", len(e.Digest.Value), e.Details, e.Digest.Algorithm.Size())
	}
	return nil
}

// Verify checks that e's key or certificate can be read, that its details match
// it, and that the signature is over the digest. A certificate's chain and dates
// are not a log's business. Errors are of kind Invalid for the key and
// NotVerified for the signature.
func Verify(e sigbox.Entry) error {
	if err := checkShape(&e); err != nil {
		return err
	}
	pub, err := publicKey(&e)
	if err != nil {
		return err
	}
	return e.Details.VerifyDigest(pub, e.Digest.Value, e.Signature)
}

func publicKey(e *sigbox.Entry) (crypto.PublicKey, error) {
	if len(e.PublicKey) > 0 {
		return sigbox.ParsePublicKey(e.PublicKey)
	}
	if len(e.Certificate) > MaxLeafSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "a certificate of %d bytes: at most %d are read", len(e.Certificate), MaxLeafSize)
	}
	c, err := sigbox.ParseCertificate(e.Certificate)
	if err != nil {
		return nil, err
	}
	return c.PublicKey, nil
}

// AppendRequest appends the hashedRekordRequestV002 that a client posts for e.
func AppendRequest(dst []byte, e sigbox.Entry) []byte {
	dst = append(dst, `{"hashedRekordRequestV002":{"digest":`...)
	dst = appendBase64(dst, e.Digest.Value)
	dst = append(dst, `,"signature":`...)
	dst = appendSignature(dst, &e)
	return append(dst, "}}"...)
}

// appendSignature appends a v2 Signature in canonical order.
func appendSignature(dst []byte, e *sigbox.Entry) []byte {
	dst = append(dst, `{"content":`...)
	dst = appendBase64(dst, e.Signature)
	dst = append(dst, `,"verifier":{"keyDetails":"`...)
	dst = append(dst, e.Details.String()...)
	if len(e.PublicKey) > 0 {
		dst = append(dst, `","publicKey":{"rawBytes":`...)
		dst = appendBase64(dst, e.PublicKey)
	} else {
		dst = append(dst, `","x509Certificate":{"rawBytes":`...)
		dst = appendBase64(dst, e.Certificate)
	}
	return append(dst, "}}}"...)
}

// Leaf gives what a v2 log stores and hashes for e: the hashedrekord 0.0.2 entry
// in canonical JSON (RFC 8785). The members are written in order, and nothing in
// it needs an escape: base64 and names of enumerations. An entry whose leaf is
// larger than [MaxLeafSize] is Invalid.
//
// Source: rekor-v2-spec.md, "Leaf"; rekor/v2/entry.proto, Entry.
func Leaf(e sigbox.Entry) ([]byte, error) { return AppendLeaf(nil, e) }

// AppendLeaf appends the [Leaf] of e.
func AppendLeaf(dst []byte, e sigbox.Entry) ([]byte, error) {
	if err := checkShape(&e); err != nil {
		return nil, err
	}
	// All but the three values is under 320 bytes.
	size := 320 + (len(e.Digest.Value)+len(e.Signature)+len(e.PublicKey)+len(e.Certificate)+8)/3*4
	if size > MaxLeafSize+512 {
		return nil, leafTooLarge(size)
	}
	dst = slices.Grow(dst, size)
	start := len(dst)
	dst = append(dst, `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"`...)
	dst = append(dst, e.Digest.Algorithm.WireName()...)
	dst = append(dst, `","digest":`...)
	dst = appendBase64(dst, e.Digest.Value)
	dst = append(dst, `},"signature":`...)
	dst = appendSignature(dst, &e)
	dst = append(dst, "}}}"...)
	if size := len(dst) - start; size > MaxLeafSize {
		return nil, leafTooLarge(size)
	}
	return dst, nil
}

func leafTooLarge(size int) error {
	return sigbox.Errorf(sigbox.Invalid, "the entry would have %d bytes in the log, which takes at most %d", size, MaxLeafSize).
		WithHint("log a smaller certificate")
}
