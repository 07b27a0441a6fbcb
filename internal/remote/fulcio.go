package remote

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/fulcio"
)

const (
	caService = "the certificate authority"
	// maxChainBytes bounds an answer of the authority, maxChain the certificates
	// in it.
	maxChainBytes = 256 << 10
	maxChain      = 10
)

// CA is the client of a certificate authority that speaks Fulcio's HTTP API v2.
type CA struct {
	client *Client
	url    string
}

var _ sigbox.CA = (*CA)(nil)

// CA gives the authority at a base URL.
func (c *Client) CA(baseURL string) *CA { return &CA{c, baseURL} }

// Issue asks for a certificate; see [sigbox.CA]. The chain is what the authority
// says: neither it nor its SCT has been verified.
func (ca *CA) Issue(ctx context.Context, req sigbox.CertificateRequest) ([][]byte, error) {
	body, err := fulcio.AppendRequest(nil, req)
	if err != nil {
		return nil, err
	}
	r := request{
		service: caService, method: http.MethodPost, url: join(ca.url, "/api/v2/signingCert"),
		contentType: "application/json", body: body, limit: maxChainBytes, secret: true,
	}
	resp, err := ca.client.expect(ctx, r, http.StatusOK, http.StatusCreated)
	if err != nil {
		return nil, explainIssue(resp, err)
	}
	return parseChain(r, resp.body)
}

// explainIssue adds the next step to a refusal. Fulcio answers a bad token with
// 400, like every other bad request.
func explainIssue(resp response, err error) error {
	e, ok := err.(*sigbox.Error)
	if !ok || (resp.status != http.StatusBadRequest && resp.status != http.StatusUnauthorized) {
		return err
	}
	return e.WithHint("is the identity token fresh, meant for this instance, and of the audience \"sigstore\"?")
}

func parseChain(r request, body []byte) ([][]byte, error) {
	var answer fulcio.SigningCertificate
	if err := decodeJSON(body, &answer); err != nil {
		return nil, badAnswer(r, "a certificate chain").WithCause(err)
	}
	var pems []string
	switch {
	case answer.Embedded != nil:
		pems = answer.Embedded.Chain.Certificates
	case answer.Detached != nil && len(answer.Detached.SCT) == 0: // an authority without a CT log
		pems = answer.Detached.Chain.Certificates
	case answer.Detached != nil:
		return nil, sigbox.Errorf(sigbox.Invalid, "%s at %s sent its SCT beside the certificate, where no bundle can hold it", r.service, r.url).
			WithHint("the authority must embed SCTs")
	}
	if len(pems) == 0 || len(pems) > maxChain {
		return nil, badAnswer(r, "1 to 10 certificates")
	}
	chain := make([][]byte, len(pems))
	for i, p := range pems {
		block, rest := pem.Decode([]byte(p))
		if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
			return nil, badAnswer(r, "PEM certificates")
		}
		chain[i] = block.Bytes
	}
	return chain, nil
}

// badAnswer makes the error for a server that answers with success and sends
// something else.
func badAnswer(r request, want string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Invalid, "%s at %s did not answer with %s", r.service, r.url, want).
		WithHint("is this the right URL, and is there a proxy between?")
}
