package cert

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The identifiers below are read and never written.
var (
	// oidSubjectAltName is RFC 5280 §4.2.1.6.
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	// oidFulcio is the arc that Fulcio's extensions stand below.
	oidFulcio = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1}
	// oidUserName is the type of an otherName that holds a user name.
	oidUserName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 7}
)

const (
	arcIssuerV1 = 1 // the issuer as raw bytes, deprecated
	arcLastRaw  = 6 // .1 to .6 are raw bytes, .8 and up DER UTF8String
	arcIssuer   = 8

	// maxText bounds one name or extension value, in bytes.
	maxText = 4096
)

// Context-specific tags.
const (
	tagExplicit0 = cbasn1.Tag(0xa0) // [0] EXPLICIT
	// GeneralName, RFC 5280 §4.2.1.6.
	tagOtherName = cbasn1.Tag(0xa0) // [0], constructed
	tagEmail     = cbasn1.Tag(0x81) // [1]
	tagURI       = cbasn1.Tag(0x86) // [6]
	// TBSCertificate, RFC 5280 §4.1.
	tagExtensions = cbasn1.Tag(0xa3) // [3] EXPLICIT
)

// IdentityOf reads who a certificate speaks for. There must be exactly one
// subject alternative name, of a kind that sigbox knows, and an issuer; where
// the issuer stands in both its old and its new extension, they must agree.
// Extensions of Fulcio's arc that are not known here are left out.
// Errors are of kind Invalid.
func IdentityOf(c *x509.Certificate) (sigbox.Identity, error) {
	id := sigbox.Identity{}
	var issuer, issuerV1 string
	var known texts
	var seen uint32 // bit n: the extension .n was there
	for _, ext := range c.Extensions {
		if ext.Id.Equal(oidSubjectAltName) {
			if id.Kind != 0 {
				return sigbox.Identity{}, sigbox.Errorf(sigbox.Invalid, "certificate: more than one subject alternative name extension")
			}
			var err error
			if id.Kind, id.Subject, err = parseSAN(ext.Value, &known); err != nil {
				return sigbox.Identity{}, err
			}
			continue
		}
		arc, ok := fulcioArc(ext.Id)
		if !ok {
			continue
		}
		if seen&(1<<arc) != 0 {
			return sigbox.Identity{}, sigbox.Errorf(sigbox.Invalid, "certificate: extension %v is there twice", ext.Id)
		}
		seen |= 1 << arc
		_, field := id.Extensions.Field(arc)
		switch arc {
		case arcIssuerV1:
			field = &issuerV1
		case arcIssuer:
			field = &issuer
		}
		if field == nil {
			continue
		}
		var err error
		if *field, err = parseText(arc, ext.Value, &known); err != nil {
			return sigbox.Identity{}, err
		}
	}
	if id.Kind == 0 {
		return sigbox.Identity{}, sigbox.Errorf(sigbox.Invalid, "certificate: no subject alternative name, so it names nobody")
	}
	var err error
	id.Issuer, err = chooseIssuer(issuer, issuerV1)
	if err != nil {
		return sigbox.Identity{}, err
	}
	return id, nil
}

// chooseIssuer takes the issuer from .8, or from .1 in certificates made before
// .8 was.
func chooseIssuer(v2, v1 string) (string, error) {
	switch {
	case v2 == "" && v1 == "":
		return "", sigbox.Errorf(sigbox.Invalid, "certificate: no issuer extension (1.3.6.1.4.1.57264.1.8)")
	case v2 == "":
		v2 = v1
	case v1 != "" && v1 != v2:
		return "", sigbox.Errorf(sigbox.Invalid, "certificate: its two issuer extensions disagree: %q in 1.3.6.1.4.1.57264.1.8 and %q in 1.3.6.1.4.1.57264.1.1", v2, v1)
	}
	if err := checkName("issuer", v2); err != nil {
		return "", err
	}
	return v2, nil
}

// fulcioArc gives the last arc of an extension of Fulcio's, if it is one of those
// that sigbox knows.
func fulcioArc(id asn1.ObjectIdentifier) (int, bool) {
	if len(id) != len(oidFulcio)+1 || !id[:len(oidFulcio)].Equal(oidFulcio) {
		return 0, false
	}
	arc := id[len(oidFulcio)]
	return arc, arc >= 1 && arc <= sigbox.MaxExtensionArc
}

// parseSAN reads a SubjectAltName extension that holds one name.
func parseSAN(der []byte, known *texts) (sigbox.SANKind, string, error) {
	var names, value cryptobyte.String
	var tag cbasn1.Tag
	in := cryptobyte.String(der)
	if !in.ReadASN1(&names, cbasn1.SEQUENCE) || !in.Empty() || !names.ReadAnyASN1(&value, &tag) {
		return 0, "", sigbox.Errorf(sigbox.Invalid, "certificate: the subject alternative name is not valid DER")
	}
	if !names.Empty() {
		return 0, "", sigbox.Errorf(sigbox.Invalid, "certificate: expected exactly one subject alternative name, found more")
	}
	var kind sigbox.SANKind
	switch tag {
	case tagEmail:
		kind = sigbox.EmailSAN
	case tagURI:
		kind = sigbox.URISAN
	case tagOtherName:
		kind = sigbox.OtherNameSAN
		if !readUserName(&value) {
			return 0, "", sigbox.Errorf(sigbox.Invalid, "certificate: an otherName that is no user name (%v) of Fulcio", oidUserName)
		}
	default:
		return 0, "", sigbox.Errorf(sigbox.Invalid, "certificate: expected a subject alternative name that is an email address, a URI or a user name, found one with tag %#02x", uint8(tag))
	}
	name := known.string(value)
	return kind, name, checkSubject(kind, name)
}

// readUserName replaces the contents of an otherName by the string in it:
// SEQUENCE { type-id OBJECT IDENTIFIER, value [0] EXPLICIT UTF8String }.
func readUserName(s *cryptobyte.String) bool {
	var oid asn1.ObjectIdentifier
	var explicit, text cryptobyte.String
	ok := s.ReadASN1ObjectIdentifier(&oid) && oid.Equal(oidUserName) &&
		s.ReadASN1(&explicit, tagExplicit0) && s.Empty() &&
		explicit.ReadASN1(&text, cbasn1.UTF8String) && explicit.Empty()
	*s = text
	return ok
}

// parseText reads the value of an extension below Fulcio's arc.
func parseText(arc int, value []byte, known *texts) (string, error) {
	text := cryptobyte.String(value)
	if arc > arcLastRaw {
		in := text
		if !in.ReadASN1(&text, cbasn1.UTF8String) || !in.Empty() {
			return "", sigbox.Errorf(sigbox.Invalid, "certificate: extension 1.3.6.1.4.1.57264.1.%d is not a DER UTF8String", arc)
		}
	}
	if len(text) > maxText {
		return "", sigbox.Errorf(sigbox.TooLarge, "certificate: extension 1.3.6.1.4.1.57264.1.%d has %d bytes, at most %d are read", arc, len(text), maxText)
	}
	if !utf8.Valid(text) {
		return "", sigbox.Errorf(sigbox.Invalid, "certificate: extension 1.3.6.1.4.1.57264.1.%d is not valid UTF-8", arc)
	}
	return known.string(text), nil
}

// texts are those of one certificate, each but once: a commit, a repository or a
// workflow stands in several of its extensions.
type texts struct {
	list [1 + sigbox.MaxExtensionArc]string // the name's, and each extension's
	n    int
}

func (t *texts) string(b []byte) string {
	for _, s := range t.list[:t.n] {
		if s == string(b) {
			return s
		}
	}
	s := string(b)
	t.list[t.n] = s
	t.n++
	return s
}

// checkSubject says whether name can be the subject alternative name of a kind.
func checkSubject(kind sigbox.SANKind, name string) error {
	if err := checkName("subject alternative name", name); err != nil {
		return err
	}
	if kind == sigbox.OtherNameSAN {
		return nil
	}
	// IA5String, RFC 5280 §4.2.1.6.
	if i := strings.IndexFunc(name, func(r rune) bool { return r > 0x7e }); i >= 0 {
		return sigbox.Errorf(sigbox.Invalid, "certificate: the %s %q has a character outside ASCII, which X.509 does not allow there", kind, name)
	}
	return nil
}

// checkName refuses names that are empty, too long, or that a person could not
// read back: control characters and broken UTF-8.
func checkName(what, name string) error {
	switch {
	case name == "":
		return sigbox.Errorf(sigbox.Invalid, "certificate: the %s is empty", what)
	case len(name) > maxText:
		return sigbox.Errorf(sigbox.TooLarge, "certificate: the %s has %d bytes, at most %d are allowed", what, len(name), maxText)
	case !utf8.ValidString(name):
		return sigbox.Errorf(sigbox.Invalid, "certificate: the %s is not valid UTF-8", what)
	case strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return sigbox.Errorf(sigbox.Invalid, "certificate: the %s %q has control characters", what, name)
	}
	return nil
}

// Extensions gives the X.509 extensions that say id: a critical subject
// alternative name, the issuer in both forms, and every field of id.Extensions
// that is set, in the order of their identifiers. Errors are of kind Invalid, or
// TooLarge for a value of more than 4096 bytes.
func Extensions(id sigbox.Identity) ([]pkix.Extension, error) {
	san, err := appendSAN(id.Kind, id.Subject)
	if err != nil {
		return nil, err
	}
	if err := checkName("issuer", id.Issuer); err != nil {
		return nil, err
	}
	exts := make([]pkix.Extension, 1, 16)
	exts[0] = pkix.Extension{Id: oidSubjectAltName, Critical: true, Value: san}
	for arc := arcIssuerV1; arc <= sigbox.MaxExtensionArc; arc++ {
		text := id.Issuer
		if arc != arcIssuerV1 && arc != arcIssuer {
			_, field := id.Extensions.Field(arc)
			if field == nil || *field == "" {
				continue
			}
			text = *field
		}
		value, err := appendText(arc, text)
		if err != nil {
			return nil, err
		}
		exts = append(exts, pkix.Extension{Id: fulcioOID(arc), Value: value})
	}
	return exts, nil
}

func fulcioOID(arc int) asn1.ObjectIdentifier {
	return append(oidFulcio[:len(oidFulcio):len(oidFulcio)], arc)
}

// appendSAN writes a SubjectAltName extension with one name.
func appendSAN(kind sigbox.SANKind, name string) ([]byte, error) {
	if err := checkSubject(kind, name); err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		switch kind {
		case sigbox.EmailSAN:
			b.AddASN1(tagEmail, addString(name))
		case sigbox.URISAN:
			b.AddASN1(tagURI, addString(name))
		case sigbox.OtherNameSAN:
			b.AddASN1(tagOtherName, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidUserName)
				b.AddASN1(tagExplicit0, func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, addString(name))
				})
			})
		default:
			b.SetError(sigbox.Errorf(sigbox.Invalid, "certificate: %d is no kind of subject alternative name", kind))
		}
	})
	return b.Bytes()
}

// appendText writes the value of an extension below Fulcio's arc.
func appendText(arc int, text string) ([]byte, error) {
	if len(text) > maxText {
		return nil, sigbox.Errorf(sigbox.TooLarge, "certificate: the value of extension 1.3.6.1.4.1.57264.1.%d has %d bytes, at most %d are allowed", arc, len(text), maxText)
	}
	if !utf8.ValidString(text) {
		return nil, sigbox.Errorf(sigbox.Invalid, "certificate: the value of extension 1.3.6.1.4.1.57264.1.%d is not valid UTF-8", arc)
	}
	if arc <= arcLastRaw {
		return []byte(text), nil
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(text)+4))
	b.AddASN1(cbasn1.UTF8String, addString(text))
	return b.Bytes()
}

func addString(s string) cryptobyte.BuilderContinuation {
	return func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) }
}
