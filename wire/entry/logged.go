package entry

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

// VerifyLogged checks what a log holds as far as a leaf shows it: that it is in
// canonical JSON (RFC 8785), that keys and certificates can be read, that a chain
// leads from each certificate to the next, and that the signatures are good.
// Certificates' issuers and dates are not a log's business.
//
// signed is false where the leaf does not hold what was signed: of an envelope
// (dsse, intoto) a log keeps the payload's hash alone, and what signed a timestamp
// (rfc3161) is for package timestamp to say.
//
// Errors are those of [ParseBody], Invalid for a key or for another form, and
// NotVerified for a signature.
func VerifyLogged(leaf []byte) (b *Body, signed bool, err error) {
	var keys []verifier
	if b, err = parseBody(leaf, &keys); err != nil {
		return nil, false, err
	}
	switch b.Kind + " " + b.Version {
	case "hashedrekord 0.0.2":
		err = b.verifyHashedRekord(leaf)
	case "hashedrekord 0.0.1":
		if err = canonical(leaf); err == nil {
			err = keys[0].verifyDigest(b.Digest, b.Signatures[0].Signature)
		}
	default:
		if err = canonical(leaf); err == nil {
			err = b.readKeys(keys)
		}
		return b, false, err
	}
	return b, err == nil, err
}

// verifyHashedRekord checks an entry of a v2 log, which has one form.
func (b *Body) verifyHashedRekord(leaf []byte) error {
	s := &b.Signatures[0]
	e := sigbox.Entry{Digest: b.Digest, Signature: s.Signature, PublicKey: s.PublicKey, Certificate: s.Certificate, Details: s.Details}
	want, err := Leaf(e)
	if err != nil {
		return err
	}
	if !bytes.Equal(want, leaf) {
		return notCanonical()
	}
	return Verify(e)
}

// readKeys checks that what is to verify the signatures can be read. keys are those
// in PEM; the kinds of v2 logs have DER.
func (b *Body) readKeys(keys []verifier) error {
	for i := range keys {
		if _, err := keys[i].publicKey(); err != nil {
			return err
		}
	}
	if len(keys) > 0 {
		return nil
	}
	for _, s := range b.Signatures {
		if _, err := publicKey(&sigbox.Entry{PublicKey: s.PublicKey, Certificate: s.Certificate}); err != nil {
			return err
		}
	}
	return nil
}

// canonical checks that a leaf is in the form of RFC 8785.
func canonical(leaf []byte) error {
	v := jsontext.Value(bytes.Clone(leaf))
	if err := v.Canonicalize(); err != nil || !bytes.Equal(v, leaf) {
		return notCanonical()
	}
	return nil
}

func notCanonical() error {
	return sigbox.Errorf(sigbox.Invalid, "the entry is not in canonical JSON (RFC 8785)")
}
