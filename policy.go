package sigbox

import (
	"bytes"
	"encoding/pem"
	"slices"
)

// Policy is what signatures must meet besides being sound. It is a plain value: it
// can be written down, read back and compared (package wire/policy). What it does
// not mention it does not restrict, with two exceptions that fail closed: a policy
// without signers accepts nobody, and one without predicate types no attestation.
type Policy struct {
	// Identities and Keys are the signers that are accepted.
	Identities []IdentityMatch `json:"identities,omitempty"`
	Keys       []PublicKey     `json:"keys,omitempty"`
	// Threshold is how many of them must have signed, each another person or key;
	// 0 is 1.
	Threshold int `json:"threshold,omitzero"`

	// PredicateTypes are the in-toto predicate types accepted, any one of them.
	// Without any, the artifact itself must have been signed: an attestation about
	// it does not count, whatever it attests. [AnyPredicateType] accepts both.
	PredicateTypes []string `json:"predicateTypes,omitempty"`
	// Conditions about what was attested and by whom, in CEL, which must all be true;
	// docs/policy.md says what they can name. They are about statements: a policy that
	// has some names predicate types.
	Conditions []string `json:"conditions,omitempty"`
	// Digests that the artifact must be known by, any one of them: as a subject of
	// the statement, by whatever algorithm, or as what was signed.
	Digests []NamedDigest `json:"digests,omitempty"`
	// Signed is when the signature must have been made: every trusted time must lie
	// in it, and there must be one.
	Signed TimeRange `json:"signed,omitzero"`
	// Demands is the evidence needed, where it is more than the trust root demands.
	Demands Demands `json:"demands,omitzero"`
}

// Clone gives a copy that shares nothing with p.
func (p Policy) Clone() Policy {
	p.Identities = slices.Clone(p.Identities)
	p.Keys = slices.Clone(p.Keys)
	for i := range p.Keys {
		p.Keys[i].Key = bytes.Clone(p.Keys[i].Key)
	}
	p.PredicateTypes = slices.Clone(p.PredicateTypes)
	p.Conditions = slices.Clone(p.Conditions)
	p.Digests = slices.Clone(p.Digests)
	return p
}

// Equal reports whether p and o say the same in the same order.
func (p Policy) Equal(o Policy) bool {
	return p.Threshold == o.Threshold && p.Signed.Equal(o.Signed) && p.Demands == o.Demands &&
		slices.Equal(p.Identities, o.Identities) && slices.EqualFunc(p.Keys, o.Keys, PublicKey.Equal) &&
		slices.Equal(p.PredicateTypes, o.PredicateTypes) && slices.Equal(p.Conditions, o.Conditions) && slices.Equal(p.Digests, o.Digests)
}

// AnyPredicateType in [Policy].PredicateTypes accepts whatever the signer signed
// about the artifact: statements of any type, and signatures of the artifact.
const AnyPredicateType = "*"

// CosignSignPredicateType is the predicate type by which cosign signs an image: a
// statement that attests nothing and so counts as a signature.
const CosignSignPredicateType = "https://sigstore.dev/cosign/sign/v1"

// IdentityMatch matches a certificate's subject and issuer; both must match. Of
// each pair exactly one field is set. Regular expressions (RE2) must match the
// whole string.
type IdentityMatch struct {
	Subject       string `json:"subject,omitempty"`
	SubjectRegexp string `json:"subjectRegExp,omitempty"`
	Issuer        string `json:"issuer,omitempty"`
	IssuerRegexp  string `json:"issuerRegExp,omitempty"`
	// Extensions that the certificate must have, with these values or matched by
	// these regular expressions. What is empty is not looked at.
	Extensions       Extensions `json:"extensions,omitzero"`
	ExtensionsRegexp Extensions `json:"extensionsRegExp,omitzero"`
}

// PublicKey is a key that is trusted by itself, without certificate.
type PublicKey struct {
	Key SubjectPublicKeyInfo `json:"publicKey"`
	// Details is the algorithm; 0 is any that fits the key.
	Details KeyDetails `json:"algorithm,omitzero"`
	// ValidFor is when the key may have signed. A bundle must then prove a time.
	ValidFor TimeRange `json:"validFor,omitzero"`
}

// Equal reports whether k and o are the same key with the same restrictions.
func (k PublicKey) Equal(o PublicKey) bool {
	return bytes.Equal(k.Key, o.Key) && k.Details == o.Details && k.ValidFor.Equal(o.ValidFor)
}

// SubjectPublicKeyInfo is a DER public key (RFC 5280 §4.1.2.7). As text it is PEM.
type SubjectPublicKeyInfo []byte

// MarshalText gives PEM.
func (k SubjectPublicKeyInfo) MarshalText() ([]byte, error) {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k}), nil
}

// UnmarshalText reads one block of PEM, "PUBLIC KEY". Whether it holds a key that
// can be used is for [ParsePublicKey] to say.
func (k *SubjectPublicKeyInfo) UnmarshalText(text []byte) error {
	block, rest := pem.Decode(text)
	switch {
	case block == nil:
		return Errorf(Invalid, "public key: expected PEM, -----BEGIN PUBLIC KEY-----")
	case block.Type != "PUBLIC KEY":
		return Mismatch(Invalid, "public key: type of the PEM block", "PUBLIC KEY", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return Errorf(Invalid, "public key: more after the end of the PEM block")
	case !bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN ")) || bytes.Count(text, []byte("-----BEGIN ")) > 1:
		// pem.Decode passes over what it cannot read.
		return Errorf(Invalid, "public key: more before the PEM block")
	}
	*k = block.Bytes
	return nil
}

// Demands says how much evidence a bundle must have. Numbers count distinct
// operators, as named by the trust root or, where it names none, by the host.
type Demands struct {
	// LogEntries in transparency logs.
	LogEntries int `json:"logEntries,omitzero"`
	// Times that are vouched for, by timestamp authorities or by logs (Rekor v1).
	// A certificate always needs one: it is judged at that time.
	Times int `json:"times,omitzero"`
	// SCTs embedded in the certificate.
	SCTs int `json:"scts,omitzero"`
}

// AtLeast gives the larger of each number.
func (d Demands) AtLeast(o Demands) Demands {
	return Demands{max(d.LogEntries, o.LogEntries), max(d.Times, o.Times), max(d.SCTs, o.SCTs)}
}
