package search

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

// Query says which entries are wanted: those for which all of it holds. The zero
// value wants every entry.
type Query struct {
	// All are conditions on what an entry says, at most MaxConditions.
	All []Condition
	// Kind of the entry; "" is any.
	Kind string
	// After and Before bound when it was logged, by the log's clock: at After or
	// later, and earlier than Before. A zero time is no bound.
	After, Before time.Time
}

// Condition holds for entries that say any of its terms.
type Condition []Term

const (
	// MaxConditions bounds the conditions of a query, and MaxTerms the terms of
	// all of them together.
	MaxConditions = 8
	MaxTerms      = 32
	// maxText bounds the text of a term, in bytes, and maxKey a key or certificate.
	maxText = 4096
	maxKey  = 64 << 10
)

// check refuses a query that is too large or asks for a kind that there is not.
func (q *Query) check() error {
	if q.Kind != "" && kindNumber(q.Kind) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "kind %.40q: expected one of %s", q.Kind, strings.Join(kinds[1:], ", "))
	}
	if !q.After.IsZero() && !q.Before.IsZero() && !q.After.Before(q.Before) {
		return sigbox.Errorf(sigbox.Invalid, "no time is at %s or later and earlier than %s", q.After.Format(time.RFC3339Nano), q.Before.Format(time.RFC3339Nano))
	}
	if terms := q.terms(); len(q.All) > MaxConditions || terms > MaxTerms {
		return sigbox.Errorf(sigbox.TooLarge, "a query of %d conditions and %d terms: at most %d and %d", len(q.All), terms, MaxConditions, MaxTerms)
	}
	return nil
}

// terms counts the terms of all conditions.
func (q *Query) terms() (n int) {
	for _, c := range q.All {
		n += len(c)
	}
	return n
}

// ByHash is for what has a digest: the artifact or payload that was signed, the
// envelope, a timestamp, or what a statement is about. It reads
// "sha256:<hex digits>" and the like, or the digits of a SHA-1, -256, -384 or -512
// alone.
func ByHash(s string) (Condition, error) {
	algorithm, value, named := strings.Cut(s, ":")
	if !named {
		value = s
		algorithm = map[int]string{40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512"}[len(s)]
	}
	text, ok := digestText(algorithm, value)
	if h, known := sigbox.HashByName(strings.ToLower(algorithm)); known && len(value) != 2*h.Size() {
		ok = false
	}
	if !ok {
		return nil, sigbox.Errorf(sigbox.Invalid, "hash %.80q: expected sha256: and 64 hex digits, or another algorithm and its digits", s)
	}
	return Condition{newTerm(fieldDigest, text), newTerm(fieldAttested, text)}, nil
}

// BySubject is for a subject alternative name of the certificate: email address,
// URI, user name, DNS name or IP address. The letters' case does not matter.
func BySubject(s string) (Condition, error) { return byText(fieldSubject, "subject", s) }

// ByIssuer is for the issuer of the identity. The letters' case does not matter.
func ByIssuer(s string) (Condition, error) { return byText(fieldIssuer, "issuer", s) }

// ByRepository is for the repository that the build was of: its URL, or the
// "owner/name" that GitHub's certificates have too. The letters' case does not
// matter.
func ByRepository(s string) (Condition, error) { return byText(fieldRepository, "repository", s) }

func byText(field byte, name, s string) (Condition, error) {
	if s == "" || len(s) > maxText {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: expected a text of 1 to %d bytes, found %d", name, maxText, len(s))
	}
	return Condition{newTerm(field, fold(s))}, nil
}

// ByKey is for the SHA-256, in hex, of a key's SubjectPublicKeyInfo or of a
// certificate.
func ByKey(s string) (Condition, error) {
	value := strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if len(value) != 64 || strings.ContainsFunc(value, notHex) {
		return nil, sigbox.Errorf(sigbox.Invalid, "key %.80q: expected the 64 hex digits of the SHA-256 of a key's SubjectPublicKeyInfo, or of a certificate", s)
	}
	return Condition{newTerm(fieldKey, value), newTerm(fieldCertificate, value)}, nil
}

// ByPublicKey is for a key or certificate in PEM; of a chain the first counts.
// A certificate is found where it was used itself, a key also in certificates.
func ByPublicKey(text []byte) (Condition, error) {
	if len(text) > maxKey {
		return nil, sigbox.Errorf(sigbox.TooLarge, "a public key of %d bytes: at most %d are read", len(text), maxKey)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, badKey("no PEM")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return Condition{newTerm(fieldKey, hexSum(block.Bytes))}, nil
	case "CERTIFICATE":
		return Condition{newTerm(fieldCertificate, hexSum(block.Bytes))}, nil
	case "RSA PUBLIC KEY":
		key, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, badKey("an RSA key that cannot be read")
		}
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, badKey("an RSA key that cannot be read")
		}
		return Condition{newTerm(fieldKey, hexSum(der))}, nil
	}
	return nil, badKey(block.Type)
}

func badKey(got string) error {
	return sigbox.Errorf(sigbox.Invalid, "public key: expected PEM of a PUBLIC KEY or a CERTIFICATE, found %.40s", got)
}
