package fulcio

import (
	"encoding/pem"

	"github.com/sigbox/sigbox/wire/internal/protobin"
)

// SigningCertificate answers a request: a chain whose first certificate is the one
// asked for. Its SCT is in the certificate or, at other authorities, beside it.
type SigningCertificate struct {
	Embedded *EmbeddedSCT `json:"signedCertificateEmbeddedSct,omitempty"`
	Detached *DetachedSCT `json:"signedCertificateDetachedSct,omitempty"`
}

// EmbeddedSCT is a chain whose first certificate holds its SCT.
type EmbeddedSCT struct {
	Chain Chain `json:"chain"`
}

// DetachedSCT is a chain with the SCT beside it, an add-chain answer in JSON (RFC 6962
// §4.1), empty where there is no CT log.
type DetachedSCT struct {
	Chain Chain  `json:"chain"`
	SCT   []byte `json:"signedCertificateTimestamp"`
}

// Chain is certificates as PEM, each certified by the next; the last one is the root.
type Chain struct {
	Certificates []string `json:"certificates"`
}

// TrustBundle is the chains of an authority, without what they certify.
type TrustBundle struct {
	Chains []Chain `json:"chains"`
}

// Configuration is the issuers whose tokens an authority takes.
type Configuration struct {
	Issuers []Issuer `json:"issuers"`
}

// Issuer is an OpenID issuer, with a URL or a pattern of URLs.
type Issuer struct {
	URL                   string `json:"issuerUrl,omitempty"`
	WildcardURL           string `json:"wildcardIssuerUrl,omitempty"`
	Audience              string `json:"audience"`
	ChallengeClaim        string `json:"challengeClaim"` // what a proof of possession signs
	TrustDomain           string `json:"spiffeTrustDomain"`
	Type                  string `json:"issuerType"`
	SubjectDomain         string `json:"subjectDomain"`
	SkipEmailVerification bool   `json:"skipEmailVerification"`
}

// NewChain writes certificates, DER, as PEM.
func NewChain(certificates [][]byte) Chain {
	c := Chain{make([]string, len(certificates))}
	for i, der := range certificates {
		c.Certificates[i] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return c
}

// AppendProto appends the message in protocol buffers' binary form.
func (s SigningCertificate) AppendProto(dst []byte) []byte {
	if s.Detached != nil {
		dst = protobin.AppendMessage(dst, 1, protobin.AppendBytes(protobin.AppendMessage(nil, 1, s.Detached.Chain.appendProto(nil)), 2, s.Detached.SCT))
	}
	if s.Embedded != nil {
		dst = protobin.AppendMessage(dst, 2, protobin.AppendMessage(nil, 1, s.Embedded.Chain.appendProto(nil)))
	}
	return dst
}

// AppendProto appends the message in protocol buffers' binary form.
func (t TrustBundle) AppendProto(dst []byte) []byte {
	for _, c := range t.Chains {
		dst = protobin.AppendMessage(dst, 1, c.appendProto(nil))
	}
	return dst
}

// AppendProto appends the message in protocol buffers' binary form.
func (c Configuration) AppendProto(dst []byte) []byte {
	for _, i := range c.Issuers {
		dst = protobin.AppendMessage(dst, 1, i.appendProto(nil))
	}
	return dst
}

func (c Chain) appendProto(dst []byte) []byte {
	for _, text := range c.Certificates {
		dst = protobin.AppendBytes(dst, 1, text)
	}
	return dst
}

func (i Issuer) appendProto(dst []byte) []byte {
	for n, text := range []string{i.URL, i.WildcardURL, i.Audience, i.ChallengeClaim, i.TrustDomain, i.Type, i.SubjectDomain} {
		dst = protobin.AppendBytes(dst, uint64(n)+1, text) // #nosec G115 -- one of seven
	}
	if i.SkipEmailVerification {
		dst = protobin.AppendNumber(dst, 8, 1)
	}
	return dst
}
