package ca

import "github.com/sigbox/sigbox"

// Record is what came of a request for a certificate.
type Record struct {
	// Certificate is what was issued, DER; nil if the request was refused, and Err says
	// why.
	Certificate []byte
	Err         error
	// Type is that of the token's issuer, Identity who the token speaks for, and Subject
	// its claim sub. They are empty for a token that was not accepted.
	Type     string
	Identity sigbox.Identity
	Subject  string
	// Token is the SHA-256 of what the token's signature is over, the same as of a token
	// that is good for one certificate.
	Token [32]byte
}

// accepted notes what a token says that was accepted.
func (r *Record) accepted(t *verifiedToken, who principal) {
	r.Type, r.Identity, r.Subject = t.issuer.Type, who.identity, t.sub
	copy(r.Token[:], t.ticket[8:])
}
