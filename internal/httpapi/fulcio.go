package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/wire/fulcio"
)

const pemChainType = "application/pem-certificate-chain"

// Fulcio serves the certificate authority as Fulcio does:
//
//	POST /api/v2/signingCert     a CreateSigningCertificateRequest in, 200 and the chain with an embedded SCT out
//	GET  /api/v2/trustBundle     the authority's certificates, and those of the ones before and after it
//	GET  /api/v2/configuration   the issuers whose tokens are accepted
//	POST /api/v1/signingCert     the older form: 201 and the chain as PEM
//	GET  /api/v1/rootCert        the authority's certificates as PEM
//	POST /dev.sigstore.fulcio.v2.CA/…   version 2 by gRPC
//
// Source: fulcio.proto and fulcio_legacy.proto of sigstore/fulcio.
type Fulcio struct {
	Service *ca.Service
	Logger  *slog.Logger

	written atomic.Pointer[writtenChain]
}

// writtenChain is an authority's chain as it stands in answers: it is written once for
// many.
type writtenChain struct {
	der [][]byte
	pem fulcio.Chain
}

// Register adds the routes to mux.
func (h *Fulcio) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v2/signingCert", h.signingCert)
	mux.HandleFunc("GET /api/v2/trustBundle", h.trustBundle)
	mux.HandleFunc("GET /api/v2/configuration", h.configuration)
	mux.HandleFunc("POST /api/v1/signingCert", h.signingCertV1)
	mux.HandleFunc("GET /api/v1/rootCert", h.rootCert)
	h.registerRPC(mux)
}

func (h *Fulcio) signingCert(w http.ResponseWriter, r *http.Request) {
	chain, err := h.issue(w, r, fulcio.ParseRequest)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	writeJSON(w, http.StatusOK, h.answer(chain))
}

func (h *Fulcio) signingCertV1(w http.ResponseWriter, r *http.Request) {
	chain, err := h.issue(w, r, fulcio.ParseRequestV1)
	if err != nil {
		writeError(w, r, h.Logger, err)
		return
	}
	writeBytes(w, http.StatusCreated, pemChainType, joined(h.withAuthority(chain)))
}

// answer is what version 2 answers with.
func (h *Fulcio) answer(chain [][]byte) fulcio.SigningCertificate {
	return fulcio.SigningCertificate{Embedded: &fulcio.EmbeddedSCT{Chain: h.withAuthority(chain)}}
}

// withAuthority writes an issued chain, of which all but the leaf is known.
func (h *Fulcio) withAuthority(chain [][]byte) fulcio.Chain {
	leaf := fulcio.NewChain(chain[:1])
	return fulcio.Chain{Certificates: append(leaf.Certificates, h.authority(chain[1:]).Certificates...)}
}

// authority writes the chain of an authority, unless it is the one that was written last.
func (h *Fulcio) authority(chain [][]byte) fulcio.Chain {
	if w := h.written.Load(); w != nil && slices.EqualFunc(w.der, chain, bytes.Equal) {
		return w.pem
	}
	w := &writtenChain{chain, fulcio.NewChain(chain)}
	h.written.Store(w)
	return w.pem
}

func (h *Fulcio) trustBundle(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, h.bundle())
}

func (h *Fulcio) bundle() (b fulcio.TrustBundle) {
	for _, a := range h.Service.CertificateAuthorities() {
		b.Chains = append(b.Chains, fulcio.NewChain(a.Chain))
	}
	return b
}

func (h *Fulcio) rootCert(w http.ResponseWriter, _ *http.Request) {
	writeBytes(w, http.StatusOK, pemChainType, joined(h.authority(h.Service.Chain())))
}

// joined writes a chain as one PEM file.
func joined(c fulcio.Chain) []byte { return []byte(strings.Join(c.Certificates, "")) }

func (h *Fulcio) configuration(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, h.issuers())
}

func (h *Fulcio) issuers() fulcio.Configuration {
	answer := fulcio.Configuration{Issuers: []fulcio.Issuer{}}
	for _, i := range h.Service.Issuers() {
		info := fulcio.Issuer{
			URL: i.URL, Audience: i.Audience, ChallengeClaim: i.ProofClaim(), TrustDomain: i.TrustDomain,
			Type: i.Type, SubjectDomain: i.SubjectDomain, SkipEmailVerification: i.SkipEmailVerification,
		}
		if i.Wildcard() {
			info.URL, info.WildcardURL = "", i.URL
		}
		answer.Issuers = append(answer.Issuers, info)
	}
	return answer
}

// issue reads a request and has the authority answer it. The token of the header
// is bounded before the body is read.
func (h *Fulcio) issue(w http.ResponseWriter, r *http.Request, parse func([]byte) (sigbox.CertificateRequest, error)) ([][]byte, error) {
	token, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, fulcio.MaxRequestSize)
	if err != nil {
		return nil, err
	}
	req, err := parse(body)
	if err != nil {
		return nil, err
	}
	return h.issueFor(r.Context(), req, token)
}

// issueFor has the authority answer a request, whose token may be in a header.
func (h *Fulcio) issueFor(ctx context.Context, req sigbox.CertificateRequest, token string) ([][]byte, error) {
	switch {
	case req.Token == "":
		req.Token = token
	case token != "" && token != req.Token:
		return nil, sigbox.Errorf(sigbox.Invalid, "the request has two identity tokens, one in the header and another in the body")
	}
	return h.Service.Issue(ctx, req)
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
	return values[0][len(scheme):], nil
}
