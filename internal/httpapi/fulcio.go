package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
)

const (
	// maxFulcioBody bounds the body of a certificate request.
	maxFulcioBody = 4 << 20
	// maxKeyText bounds a public key or a signing request in it, PEM or DER.
	maxKeyText = 64 << 10

	pemChainType = "application/pem-certificate-chain"
)

// Fulcio serves the certificate authority as Fulcio does:
//
//	POST /api/v2/signingCert     a CreateSigningCertificateRequest in, 200 and the chain with an embedded SCT out
//	GET  /api/v2/trustBundle     the authority's certificates
//	GET  /api/v2/configuration   the issuers whose tokens are accepted
//	POST /api/v1/signingCert     the older form: 201 and the chain as PEM
//	GET  /api/v1/rootCert        the authority's certificates as PEM
//
// Source: fulcio.proto and fulcio_legacy.proto of sigstore/fulcio.
type Fulcio struct {
	Service *ca.Service
	Logger  *slog.Logger

	authority chainOfPEM // the service's, written once
}

// Register adds the routes to mux.
func (h *Fulcio) Register(mux *http.ServeMux) {
	h.authority = pemChain(h.Service.Chain())
	mux.HandleFunc("POST /api/v2/signingCert", h.signingCert)
	mux.HandleFunc("GET /api/v2/trustBundle", h.trustBundle)
	mux.HandleFunc("GET /api/v2/configuration", h.configuration)
	mux.HandleFunc("POST /api/v1/signingCert", h.signingCertV1)
	mux.HandleFunc("GET /api/v1/rootCert", h.rootCert)
}

// chainOfPEM is Fulcio's CertificateChain.
type chainOfPEM struct {
	Certificates []string `json:"certificates"`
}

func (h *Fulcio) signingCert(w http.ResponseWriter, r *http.Request) {
	chain, err := h.issue(w, r, parseSigningRequest)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	var answer struct {
		Embedded struct {
			Chain chainOfPEM `json:"chain"`
		} `json:"signedCertificateEmbeddedSct"`
	}
	answer.Embedded.Chain = h.withAuthority(chain)
	writeJSON(w, http.StatusOK, answer)
}

func (h *Fulcio) signingCertV1(w http.ResponseWriter, r *http.Request) {
	chain, err := h.issue(w, r, parseSigningRequestV1)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	writeBytes(w, http.StatusCreated, pemChainType, h.withAuthority(chain).joined())
}

// withAuthority writes an issued chain, of which all but the leaf is known.
func (h *Fulcio) withAuthority(chain [][]byte) chainOfPEM {
	leaf := pemChain(chain[:1])
	return chainOfPEM{append(leaf.Certificates, h.authority.Certificates...)}
}

func (h *Fulcio) trustBundle(w http.ResponseWriter, _ *http.Request) {
	var answer struct {
		Chains []chainOfPEM `json:"chains"`
	}
	answer.Chains = []chainOfPEM{h.authority}
	writeJSON(w, http.StatusOK, answer)
}

func (h *Fulcio) rootCert(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, pemChainType, h.authority.joined())
}

// issuerInfo is Fulcio's OIDCIssuer.
type issuerInfo struct {
	URL                   string `json:"issuerUrl,omitempty"`
	WildcardURL           string `json:"wildcardIssuerUrl,omitempty"`
	Audience              string `json:"audience"`
	ChallengeClaim        string `json:"challengeClaim"`
	TrustDomain           string `json:"spiffeTrustDomain"`
	Type                  string `json:"issuerType"`
	SubjectDomain         string `json:"subjectDomain"`
	SkipEmailVerification bool   `json:"skipEmailVerification"`
}

func (h *Fulcio) configuration(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Issuers []issuerInfo `json:"issuers"`
	}{[]issuerInfo{}}
	for _, i := range h.Service.Issuers() {
		info := issuerInfo{
			URL: i.URL, Audience: i.Audience, ChallengeClaim: i.ProofClaim(), TrustDomain: i.TrustDomain,
			Type: i.Type, SubjectDomain: i.SubjectDomain, SkipEmailVerification: i.SkipEmailVerification,
		}
		if i.Wildcard() {
			info.URL, info.WildcardURL = "", i.URL
		}
		answer.Issuers = append(answer.Issuers, info)
	}
	writeJSON(w, http.StatusOK, answer)
}

// issue reads a request and has the authority answer it. The token of the header
// is bounded before the body is read.
func (h *Fulcio) issue(w http.ResponseWriter, r *http.Request, parse func([]byte) (sigbox.CertificateRequest, error)) ([][]byte, error) {
	token, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, maxFulcioBody)
	if err != nil {
		return nil, err
	}
	req, err := parse(body)
	if err != nil {
		return nil, err
	}
	switch {
	case req.Token == "":
		req.Token = token
	case token != "" && token != req.Token:
		return nil, sigbox.Errorf(sigbox.Invalid, "the request has two identity tokens, one in the header and another in the body")
	}
	return h.Service.Issue(r.Context(), req)
}

// bearerToken gives the token of the Authorization header (RFC 6750 §2.1), "" if
// there is none.
func bearerToken(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", nil
	}
	const scheme = "Bearer "
	if len(values) > 1 || len(values[0]) < len(scheme) || !strings.EqualFold(values[0][:len(scheme)], scheme) {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the Authorization header: expected one, with the scheme Bearer")
	}
	token := values[0][len(scheme):]
	if len(token) > ca.MaxToken {
		return "", sigbox.Errorf(sigbox.TooLarge, "the identity token has %d bytes, at most %d are read", len(token), ca.MaxToken)
	}
	return token, nil
}

// protoBytes is a bytes field in protojson: base64 of the standard or the URL
// alphabet, padded or not.
type protoBytes []byte

// UnmarshalJSON reads the field.
func (p *protoBytes) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	text, err := jsontext.AppendUnquote(nil, b)
	if err != nil {
		return err
	}
	for i, c := range text {
		switch c {
		case '-':
			text[i] = '+'
		case '_':
			text[i] = '/'
		}
	}
	text = bytes.TrimRight(text, "=")
	*p, err = base64.RawStdEncoding.AppendDecode(nil, text)
	return err
}

// signingRequest is Fulcio's CreateSigningCertificateRequest, in both spellings
// of protojson.
type signingRequest struct {
	Credentials struct {
		Token  string `json:"oidcIdentityToken"`
		Token2 string `json:"oidc_identity_token"`
	} `json:"credentials"`
	Key  *keyRequest `json:"publicKeyRequest"`
	Key2 *keyRequest `json:"public_key_request"`
	CSR  protoBytes  `json:"certificateSigningRequest"`
	CSR2 protoBytes  `json:"certificate_signing_request"`
}

type keyRequest struct {
	PublicKey  *keyText   `json:"publicKey"`
	PublicKey2 *keyText   `json:"public_key"`
	Proof      protoBytes `json:"proofOfPossession"`
	Proof2     protoBytes `json:"proof_of_possession"`
}

type keyText struct {
	// Algorithm is not looked at: the key says what it is.
	Algorithm jsontext.Value `json:"algorithm"`
	Content   string         `json:"content"`
}

// parseSigningRequest reads the body of v2.
func parseSigningRequest(body []byte) (sigbox.CertificateRequest, error) {
	var in signingRequest
	if err := decodeRequest(body, &in); err != nil {
		return sigbox.CertificateRequest{}, err
	}
	token, ok1 := either(in.Credentials.Token, in.Credentials.Token2)
	csr, ok2 := either(string(in.CSR), string(in.CSR2))
	if in.Key == nil {
		in.Key, in.Key2 = in.Key2, nil
	}
	if !ok1 || !ok2 || in.Key2 != nil {
		return sigbox.CertificateRequest{}, repeated()
	}
	req := sigbox.CertificateRequest{Token: token}
	if in.Key == nil {
		return withKey(req, "", csr)
	}
	if in.Key.PublicKey == nil {
		in.Key.PublicKey, in.Key.PublicKey2 = in.Key.PublicKey2, nil
	}
	proof, ok := either(string(in.Key.Proof), string(in.Key.Proof2))
	if !ok || in.Key.PublicKey2 != nil {
		return sigbox.CertificateRequest{}, repeated()
	}
	if in.Key.PublicKey == nil || in.Key.PublicKey.Content == "" {
		return sigbox.CertificateRequest{}, sigbox.Errorf(sigbox.Invalid, "publicKeyRequest.publicKey.content is missing")
	}
	req.Proof = []byte(proof)
	return withKey(req, in.Key.PublicKey.Content, csr)
}

// parseSigningRequestV1 reads the body of v1, whose token is in the header alone.
func parseSigningRequestV1(body []byte) (sigbox.CertificateRequest, error) {
	var in struct {
		PublicKey struct {
			Algorithm jsontext.Value `json:"algorithm"`
			Content   protoBytes     `json:"content"`
		} `json:"publicKey"`
		Proof protoBytes `json:"signedEmailAddress"`
		CSR   protoBytes `json:"certificateSigningRequest"`
	}
	if err := decodeRequest(body, &in); err != nil {
		return sigbox.CertificateRequest{}, err
	}
	return withKey(sigbox.CertificateRequest{Proof: in.Proof}, string(in.PublicKey.Content), string(in.CSR))
}

func decodeRequest(body []byte, into any) error {
	if err := json.Unmarshal(body, into, json.RejectUnknownMembers(true)); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "the request body is no certificate request: %s", jsonReason(err)).WithCause(err)
	}
	return nil
}

// jsonReason says what is wrong with JSON and where, without the names that this
// program has for things.
func jsonReason(err error) string {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		where, what := string(e.JSONPointer), "expected something else there"
		if errors.Is(e.Err, json.ErrUnknownName) {
			what = "there is no such member"
		} else if e.JSONKind != 0 {
			what = "a " + e.JSONKind.String() + " does not fit there"
		}
		return fmt.Sprintf("at %.100q: %s", where, what)
	}
	return strings.TrimPrefix(err.Error(), "jsontext: ")
}

// either gives the one of two spellings that is set, and reports whether there
// are not two.
func either(a, b string) (string, bool) {
	if a == "" {
		return b, true
	}
	return a, b == ""
}

func repeated() error {
	return sigbox.Errorf(sigbox.Invalid, "the request body has a field in two spellings")
}

// withKey adds the key to certify: a public key, PEM or DER, or a signing
// request, PEM.
func withKey(req sigbox.CertificateRequest, key, csr string) (sigbox.CertificateRequest, error) {
	if len(key) > maxKeyText || len(csr) > maxKeyText {
		return req, sigbox.Errorf(sigbox.TooLarge, "the key or the signing request has more than %d bytes", maxKeyText)
	}
	if csr != "" {
		block, rest := pem.Decode([]byte(csr))
		if block == nil || (block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST") || len(bytes.TrimSpace(rest)) > 0 {
			return req, sigbox.Errorf(sigbox.Invalid, "certificateSigningRequest: expected one PEM block CERTIFICATE REQUEST")
		}
		req.CSR = block.Bytes
	}
	if key == "" {
		return req, nil
	}
	der := []byte(key)
	if block, rest := pem.Decode(der); block != nil {
		if block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
			return req, sigbox.Errorf(sigbox.Invalid, "publicKey.content: expected one PEM block PUBLIC KEY")
		}
		der = block.Bytes
	}
	var err error
	req.PublicKey, err = sigbox.ParsePublicKey(der)
	return req, err
}

// pemChain writes each certificate as PEM.
func pemChain(chain [][]byte) chainOfPEM {
	out := chainOfPEM{make([]string, len(chain))}
	for i, der := range chain {
		out.Certificates[i] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out
}

// joined writes a chain as one PEM file.
func (c chainOfPEM) joined() []byte {
	return []byte(strings.Join(c.Certificates, ""))
}
