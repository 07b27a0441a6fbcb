package sigbox

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ParseCertificate reads a certificate in DER (RFC 5280 §4.1). It holds parts of
// der. Its key is not larger than [MaxRSABits]. The error is of kind Invalid.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, notDER("expected a certificate in DER", der, err)
	}
	if c.NotBefore.IsZero() || c.NotAfter.IsZero() { // which is no time at all in a TimeRange
		return nil, Errorf(Invalid, "expected a certificate that is valid for a time, found one of the year 1")
	}
	if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > MaxRSABits {
		return nil, Errorf(Invalid, "expected a key of at most %d bits, found %s", MaxRSABits, DescribeKey(k))
	}
	return c, nil
}

// notDER is the error for what package x509 refused with err. The cause is kept, and
// not printed: its words are those of programmers.
func notDER(want string, der []byte, err error) *Error {
	e := Errorf(Invalid, "%s, found %s", want, describeDER(der, err))
	e.Err = hiddenCause(err)
	return e
}

// describeDER says what stands in the place of a structure in DER, of which package
// x509 says err.
func describeDER(b []byte, err error) string {
	const shown = 24 // bytes
	head := b[:min(len(b), shown)]
	switch size, ok := sizeOfDER(b); {
	case len(b) == 0:
		return "nothing"
	case bytes.HasPrefix(b, []byte("-----BEGIN ")):
		return "PEM"
	case isText(b):
		return fmt.Sprintf("text that begins with %q", head)
	case !ok:
		return fmt.Sprintf("%d bytes that begin with % x", len(b), head)
	case size > len(b):
		return fmt.Sprintf("DER that ends early: %d of %d bytes", len(b), size)
	case size < len(b):
		return fmt.Sprintf("DER of %d bytes with %d more behind it", size, len(b)-size)
	}
	return fmt.Sprintf("DER of %d bytes: %s", len(b), DescribeX509(err))
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

// sizeOfDER reads how long the sequence that b begins with is, in bytes (X.690
// §8.1.3); false when b begins with something else.
func sizeOfDER(b []byte) (int, bool) {
	const sequence, long = 0x30, 0x80
	if len(b) < 2 || b[0] != sequence {
		return 0, false
	}
	if b[1] < long {
		return 2 + int(b[1]), true
	}
	n := int(b[1] - long)
	if n == 0 || n > 3 || len(b) < 2+n { // nothing of 16 MiB is read
		return 0, false
	}
	size := 2 + n
	for i, c := range b[2 : 2+n] {
		size += int(c) << (8 * (n - 1 - i))
	}
	return size, true
}

// DescribeX509 says for people what package x509 found wrong with a certificate, a
// chain or a key.
func DescribeX509(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return describeInvalid(invalid)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "no authority that is trusted has signed it"
	}
	return plainX509(err.Error())
}

// describeInvalid is DescribeX509 for a certificate that fits no chain.
func describeInvalid(err x509.CertificateInvalidError) string {
	switch err.Reason {
	case x509.Expired:
		return fmt.Sprintf("it is valid from %s to %s", err.Cert.NotBefore.UTC().Format(time.RFC3339), err.Cert.NotAfter.UTC().Format(time.RFC3339))
	case x509.NotAuthorizedToSign:
		return "the issuer may not sign certificates"
	case x509.IncompatibleUsage:
		return "it is for another use"
	case x509.CANotAuthorizedForExtKeyUsage:
		return "the issuer may not sign certificates for this use"
	case x509.CANotAuthorizedForThisName:
		return "the issuer may not vouch for the name: " + plainX509(err.Detail)
	case x509.TooManyIntermediates:
		return "there are more authorities between it and the root than one of them allows"
	}
	return plainX509(err.Error())
}

// plainX509 takes out of a message what only programmers read: packages, types,
// functions and structures of Go.
func plainX509(text string) string {
	text = strings.NewReplacer(
		"x509: invalid signature: parent certificate cannot sign this kind of certificate", "the issuer may not sign certificates",
		"x509: ", "", "crypto/rsa: ", "", "crypto/ecdsa: ", "", "crypto/ecdh: ", "", "crypto/elliptic: ", "",
		"but have public key of type", "and the issuer's key is",
		"*rsa.PublicKey", "RSA", "*ecdsa.PublicKey", "ECDSA", "ed25519.PublicKey", "Ed25519", "*dsa.PublicKey", "DSA", "*ecdh.PublicKey", "X25519",
	).Replace(text)
	text, _, _ = strings.Cut(text, " (use Parse")
	if before, _, found := strings.Cut(text, "asn1: "); found { // a dump follows
		return before + "its parts are not those of such a structure"
	}
	return text
}
