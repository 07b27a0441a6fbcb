package httpapi

import (
	"context"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/fulcio"
)

// fulcioRPC begins the paths of Fulcio's gRPC service.
const fulcioRPC = "/dev.sigstore.fulcio.v2.CA/"

// registerRPC adds the methods of dev.sigstore.fulcio.v2.CA to mux, for clients of
// gRPC, on the port that has everything else.
//
//	CreateSigningCertificate   as POST /api/v2/signingCert does
//	GetTrustBundle             as GET /api/v2/trustBundle does
//	GetConfiguration           as GET /api/v2/configuration does
//
// Source: fulcio.proto of sigstore/fulcio.
func (h *Fulcio) registerRPC(mux *http.ServeMux) {
	for name, call := range map[string]rpcCall{
		"CreateSigningCertificate": h.createSigningCertificate, "GetTrustBundle": h.getTrustBundle, "GetConfiguration": h.getConfiguration,
	} {
		mux.Handle("POST "+fulcioRPC+name, newRPC(fulcioRPC+name, fulcio.MaxRequestSize, h.Logger, call))
	}
}

// createSigningCertificate takes the token from the message or, as Fulcio does, from
// the call's metadata.
func (h *Fulcio) createSigningCertificate(ctx context.Context, message []byte) ([]byte, error) {
	token, err := metadataToken(rpcExchangeOf(ctx).r.Header)
	if err != nil {
		return nil, err
	}
	req, err := fulcio.ParseRequestProto(message)
	if err != nil {
		return nil, err
	}
	chain, err := h.issueFor(ctx, req, token)
	if err != nil {
		return nil, err
	}
	return h.answer(chain).AppendProto(nil), nil
}

// metadataToken gives the identity token of a call's metadata, "" if there is none.
func metadataToken(h http.Header) (string, error) {
	switch values := h.Values("Oidcidentitytoken"); {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", sigbox.Errorf(sigbox.Unauthenticated, "the metadata oidcidentitytoken: expected one, found %d", len(values))
	default:
		return values[0], nil
	}
}

func (h *Fulcio) getTrustBundle(_ context.Context, message []byte) ([]byte, error) {
	if err := fulcio.ParseEmptyProto(message); err != nil {
		return nil, err
	}
	return h.bundle().AppendProto(nil), nil
}

func (h *Fulcio) getConfiguration(_ context.Context, message []byte) ([]byte, error) {
	if err := fulcio.ParseEmptyProto(message); err != nil {
		return nil, err
	}
	return h.issuers().AppendProto(nil), nil
}
