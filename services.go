package sigbox

import (
	"context"
	"crypto"
)

// CA turns a proven identity into a short-lived certificate. In a server it is
// the authority itself, in a client the remote one.
type CA interface {
	// Issue checks the token and the proof of possession and returns DER
	// certificates, leaf first, root last, with an SCT embedded in the leaf.
	// Errors: Unauthenticated for the token, Invalid for key or proof,
	// Unavailable when the CT log takes nothing.
	Issue(ctx context.Context, req CertificateRequest) (chain [][]byte, err error)
}

// CertificateRequest asks for a certificate. Either PublicKey with Proof, or CSR.
type CertificateRequest struct {
	// Token is an OpenID identity token (a compact JWS).
	Token string
	// PublicKey is the key to certify.
	PublicKey crypto.PublicKey
	// Proof is a signature by PublicKey's private half over the token's proof
	// claim (email or sub), with the key's default algorithm.
	Proof []byte
	// CSR is a DER PKCS #10 request; only its key and signature are used.
	CSR []byte
}

// CTLog logs precertificates (RFC 6962).
type CTLog interface {
	// AddPreChain logs a precertificate, DER, leaf first, and returns the SCT in
	// TLS encoding (RFC 6962 §3.2). The entry is durable when it returns.
	AddPreChain(ctx context.Context, chain [][]byte) (sct []byte, err error)
}

// Log is a transparency log that takes entries.
type Log interface {
	// Add logs e and returns it with its proof. The same entry again gives its
	// first index. The entry is durable when Add returns.
	// Errors: Invalid for an entry whose signature does not verify, Unavailable
	// when the log is overloaded or stopped, Frozen when it is closed for good.
	Add(ctx context.Context, e Entry) (LogEntry, error)
}

// Stamper is a timestamp authority (RFC 3161).
type Stamper interface {
	// Stamp answers a DER TimeStampReq with a DER TimeStampResp.
	Stamp(ctx context.Context, req []byte) (resp []byte, err error)
}
