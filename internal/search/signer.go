package search

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox/wire/entry"
)

// Signer is whom a signature speaks for, as the entry says it: nobody has checked
// who issued the certificate.
type Signer struct {
	// Subjects are the certificate's subject alternative names.
	Subjects []string
	// Issuer is that of the identity (1.3.6.1.4.1.57264.1.8, or .1 of old).
	Issuer string
	// Repositories are what the build was of (.12, and .5 of old).
	Repositories []string
	// key and certificate are SHA-256 in hex.
	key, certificate string
}

// Key is the SHA-256 of the key's SubjectPublicKeyInfo in hex, "" if the
// certificate cannot be read.
func (s *Signer) Key() string { return s.key }

// Certificate is the SHA-256 of the certificate in hex, "" for a bare key.
func (s *Signer) Certificate() string { return s.certificate }

// fold is how names are compared: the letters' case does not matter.
func fold(s string) string { return strings.ToLower(s) }

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func signerOf(s *entry.BodySignature) Signer {
	if s.Certificate == nil {
		return Signer{key: hexSum(s.PublicKey)}
	}
	f := Signer{certificate: hexSum(s.Certificate)}
	f.readCertificate(s.Certificate)
	return f
}

const (
	// maxNames bounds the subject alternative names of one certificate.
	maxNames = 32
	// maxName bounds a name, in bytes.
	maxName = 4096
)

// Context-specific tags of RFC 5280 §4.1 and §4.2.1.6.
const (
	tagVersion    = cbasn1.Tag(0xa0)
	tagExtensions = cbasn1.Tag(0xa3)

	tagOtherName = cbasn1.Tag(0xa0)
	tagEmail     = cbasn1.Tag(0x81)
	tagDNS       = cbasn1.Tag(0x82)
	tagURI       = cbasn1.Tag(0x86)
	tagIP        = cbasn1.Tag(0x87)
)

// The DER of object identifiers, without tag and length.
const (
	oidSubjectAltName = "\x55\x1d\x11"                             // 2.5.29.17
	oidFulcio         = "\x2b\x06\x01\x04\x01\x83\xbf\x30\x01"     // 1.3.6.1.4.1.57264.1, and one more arc
	oidUserName       = "\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x07" // 1.3.6.1.4.1.57264.1.7
)

// readCertificate takes what is indexed from a certificate. The log has checked
// that it can be parsed; here it is only walked over, which costs a tenth of that.
// What cannot be read is left out.
func (s *Signer) readCertificate(der []byte) {
	var cert, tbs, spki, exts cryptobyte.String
	in := cryptobyte.String(der)
	ok := in.ReadASN1(&cert, cbasn1.SEQUENCE) && cert.ReadASN1(&tbs, cbasn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(tagVersion) &&
		tbs.SkipASN1(cbasn1.INTEGER) && // serial number
		tbs.SkipASN1(cbasn1.SEQUENCE) && // signature
		tbs.SkipASN1(cbasn1.SEQUENCE) && // issuer
		tbs.SkipASN1(cbasn1.SEQUENCE) && // validity
		tbs.SkipASN1(cbasn1.SEQUENCE) && // subject
		tbs.ReadASN1Element(&spki, cbasn1.SEQUENCE)
	if !ok {
		return
	}
	s.key = hexSum(spki)
	for !tbs.Empty() {
		var value cryptobyte.String
		var tag cbasn1.Tag
		if !tbs.ReadAnyASN1(&value, &tag) {
			return
		}
		if tag == tagExtensions && value.ReadASN1(&exts, cbasn1.SEQUENCE) {
			s.readExtensions(exts)
		}
	}
}

func (s *Signer) readExtensions(exts cryptobyte.String) {
	for !exts.Empty() {
		var ext, id, value cryptobyte.String
		if !exts.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) ||
			!ext.SkipOptionalASN1(cbasn1.BOOLEAN) || !ext.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return
		}
		if string(id) == oidSubjectAltName {
			s.readNames(value)
		} else if arc, ok := strings.CutPrefix(string(id), oidFulcio); ok && len(arc) == 1 {
			s.readFulcio(arc[0], value)
		}
	}
}

// readFulcio takes an extension of Fulcio's arc: .1 to .6 are raw, the later ones
// are DER strings.
func (s *Signer) readFulcio(arc byte, value cryptobyte.String) {
	var text cryptobyte.String
	if arc <= 6 {
		text = value
	} else if !value.ReadASN1(&text, cbasn1.UTF8String) {
		return
	}
	if len(text) > maxName {
		return
	}
	switch arc {
	case 1:
		if s.Issuer == "" {
			s.Issuer = string(text)
		}
	case 8:
		s.Issuer = string(text)
	case 5, 12:
		s.Repositories = append(s.Repositories, string(text))
	}
}

// readNames takes the names of a SubjectAltName extension.
func (s *Signer) readNames(value cryptobyte.String) {
	var names cryptobyte.String
	if !value.ReadASN1(&names, cbasn1.SEQUENCE) {
		return
	}
	for !names.Empty() && len(s.Subjects) < maxNames {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return
		}
		if text := nameText(tag, name); text != "" && len(text) <= maxName {
			s.Subjects = append(s.Subjects, text)
		}
	}
}

// nameText gives a general name as people write it, "" for one that is of no kind
// that Rekor finds by.
func nameText(tag cbasn1.Tag, name cryptobyte.String) string {
	switch tag {
	case tagEmail, tagDNS, tagURI:
		return string(name)
	case tagIP:
		if ip, ok := netip.AddrFromSlice(name); ok {
			return ip.String()
		}
	case tagOtherName:
		var id, explicit, text cryptobyte.String
		if name.ReadASN1(&id, cbasn1.OBJECT_IDENTIFIER) && string(id) == oidUserName &&
			name.ReadASN1(&explicit, tagOtherName) && explicit.ReadASN1(&text, cbasn1.UTF8String) {
			return string(text)
		}
	}
	return ""
}
