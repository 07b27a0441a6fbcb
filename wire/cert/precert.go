package cert

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/sigbox/sigbox"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The contents of the identifiers in DER.
const (
	derPoison  = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03" // 1.3.6.1.4.1.11129.2.4.3
	derSCTList = "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x02" // 1.3.6.1.4.1.11129.2.4.2
)

// MaxCertificate bounds a certificate that is read, in bytes.
const MaxCertificate = 64 << 10

// Poison gives the critical extension that makes a precertificate (RFC 6962
// §3.1).
func Poison() pkix.Extension {
	return pkix.Extension{Id: oidPoison, Critical: true, Value: asn1.NullBytes}
}

// PrecertTBS gives the part of a certificate that a CT log signs: its
// TBSCertificate without the poison of a precertificate, or without the SCT list
// of the final one (RFC 6962 §3.2). For both of a pair the result is the same.
// Certificates are DER of at most 64 KiB; errors are of kind Invalid or TooLarge.
func PrecertTBS(der []byte) ([]byte, error) {
	t, err := splitTBS(der)
	if err != nil {
		return nil, err
	}
	if !t.cut {
		return t.raw, nil
	}
	return t.append(make([]byte, 0, len(t.raw))), nil
}

// IsPrecert reports whether a DER certificate carries the poison extension, which
// must be critical and hold a NULL.
func IsPrecert(der []byte) (bool, error) {
	t, err := splitTBS(der)
	return err == nil && t.poison, err
}

// tbs is a TBSCertificate cut at the extensions, so that one can be taken out.
type tbs struct {
	raw    []byte // the whole TBSCertificate
	head   []byte // the content up to the extensions
	before []byte // extensions ahead of the one to take out
	after  []byte // extensions behind it
	poison bool   // the one to take out is the poison
	cut    bool   // there is one to take out
}

// splitTBS finds the extension that precertificate and certificate differ in.
func splitTBS(der []byte) (tbs, error) {
	if len(der) > MaxCertificate {
		return tbs{}, sigbox.Errorf(sigbox.TooLarge, "certificate of %d bytes: at most %d are read", len(der), MaxCertificate)
	}
	var certificate, raw, content, skipped, list cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&certificate, cbasn1.SEQUENCE) || !in.Empty() || !certificate.ReadASN1Element(&raw, cbasn1.SEQUENCE) ||
		!certificate.ReadASN1(&skipped, cbasn1.SEQUENCE) || !certificate.ReadASN1(&skipped, cbasn1.BIT_STRING) || !certificate.Empty() {
		return tbs{}, badDER()
	}
	t := tbs{raw: raw}
	if !raw.ReadASN1(&content, cbasn1.SEQUENCE) {
		return tbs{}, badDER()
	}
	// Extensions are the last element, [3] EXPLICIT (RFC 5280 §4.1).
	rest := content
	for !rest.Empty() && !rest.PeekASN1Tag(tagExtensions) {
		var tag cbasn1.Tag
		if !rest.ReadAnyASN1Element(&skipped, &tag) {
			return tbs{}, badDER()
		}
	}
	t.head = content[:len(content)-len(rest)]
	if rest.Empty() {
		return t, nil
	}
	var explicit cryptobyte.String
	if !rest.ReadASN1(&explicit, tagExtensions) || !rest.Empty() ||
		!explicit.ReadASN1(&list, cbasn1.SEQUENCE) || !explicit.Empty() {
		return tbs{}, badDER()
	}
	return t, t.splitExtensions(list)
}

// splitExtensions walks the extension list.
func (t *tbs) splitExtensions(list cryptobyte.String) error {
	for at := list; !at.Empty(); {
		var ext cryptobyte.String
		next := at
		if !next.ReadASN1Element(&ext, cbasn1.SEQUENCE) {
			return badDER()
		}
		poison, sctList, err := classify(ext)
		if err != nil {
			return err
		}
		if poison || sctList {
			if t.cut {
				return sigbox.Errorf(sigbox.Invalid, "certificate: more than one of poison and SCT list")
			}
			t.cut, t.poison = true, poison
			t.before, t.after = list[:len(list)-len(at)], next
		}
		at = next
	}
	return nil
}

// classify says whether an extension is one that precertificate and certificate
// differ in. The poison must be critical and hold a NULL (RFC 6962 §3.1).
func classify(ext cryptobyte.String) (poison, sctList bool, err error) {
	var content, oid, value cryptobyte.String
	var critical bool
	if !ext.ReadASN1(&content, cbasn1.SEQUENCE) || !content.ReadASN1(&oid, cbasn1.OBJECT_IDENTIFIER) {
		return false, false, badDER()
	}
	poison, sctList = string(oid) == derPoison, string(oid) == derSCTList
	if !poison {
		return false, sctList, nil
	}
	if !content.ReadASN1Boolean(&critical) ||
		!content.ReadASN1(&value, cbasn1.OCTET_STRING) || !content.Empty() ||
		!critical || !bytes.Equal(value, asn1.NullBytes) {
		return false, false, sigbox.Errorf(sigbox.Invalid, "precertificate: its poison extension is not critical or does not hold a NULL")
	}
	return true, false, nil
}

// append appends the TBSCertificate without the extension that was found.
func (t *tbs) append(dst []byte) []byte {
	if !t.cut {
		return append(dst, t.raw...)
	}
	list := len(t.before) + len(t.after)
	if list == 0 { // a list of extensions is never empty (RFC 5280 §4.1)
		return append(appendHeader(dst, cbasn1.SEQUENCE, len(t.head)), t.head...)
	}
	extensions := headed(list)
	dst = appendHeader(dst, cbasn1.SEQUENCE, len(t.head)+headed(extensions))
	dst = append(dst, t.head...)
	dst = appendHeader(dst, tagExtensions, extensions)
	dst = appendHeader(dst, cbasn1.SEQUENCE, list)
	dst = append(dst, t.before...)
	return append(dst, t.after...)
}

// headed gives the length of an element with n octets of contents, header included.
func headed(n int) int {
	var header [4]byte
	return len(appendHeader(header[:0], 0, n)) + n
}

// appendHeader appends tag and length of an element (X.690 §10.1), of less
// than [MaxCertificate] octets.
func appendHeader(dst []byte, tag cbasn1.Tag, n int) []byte {
	switch {
	case n < 0x80:
		return append(dst, byte(tag), byte(n))
	case n <= 0xff:
		return append(dst, byte(tag), 0x81, byte(n))
	}
	return append(dst, byte(tag), 0x82, byte(n>>8), byte(n))
}

func badDER() *sigbox.Error {
	return sigbox.Errorf(sigbox.Invalid, "certificate: not valid DER (RFC 5280 §4.1)")
}
