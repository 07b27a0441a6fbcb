package sigbox

// Policy is what a signature must meet besides being sound. It is a plain value:
// it can be written down, read back and compared. An empty policy accepts no
// signature by certificate: at least one identity is needed.
type Policy struct {
	// Identities: any one of them must match the certificate.
	Identities []IdentityMatch `json:"identities,omitempty"`
	// PredicateType, when set, is the only in-toto predicate type accepted.
	PredicateType string `json:"predicateType,omitempty"`
}

// IdentityMatch matches a certificate's subject and issuer; both must match.
// Of each pair exactly one field is set. Regular expressions (RE2) must match
// the whole string.
type IdentityMatch struct {
	Subject       string `json:"subject,omitempty"`
	SubjectRegexp string `json:"subjectRegExp,omitempty"`
	Issuer        string `json:"issuer,omitempty"`
	IssuerRegexp  string `json:"issuerRegExp,omitempty"`
}
