package remote

import (
	"context"
	"net/http"

	"github.com/sigbox/sigbox"
)

// maxTimestamp bounds a TimeStampResp, which may carry its certificates.
const maxTimestamp = 128 << 10

// Stamper is the client of a timestamp authority (RFC 3161 over HTTP, §3.4).
type Stamper struct {
	client *Client
	url    string
}

var _ sigbox.Stamper = (*Stamper)(nil)

// Stamper gives the authority at a full URL, path included.
func (c *Client) Stamper(url string) *Stamper { return &Stamper{c, url} }

// Stamp sends a DER TimeStampReq; see [sigbox.Stamper]. The answer has not been
// verified.
func (s *Stamper) Stamp(ctx context.Context, req []byte) ([]byte, error) {
	resp, err := s.client.expect(ctx, request{
		service: "the timestamp authority", method: http.MethodPost, url: s.url,
		contentType: "application/timestamp-query", body: req, limit: maxTimestamp,
	}, http.StatusOK, http.StatusCreated)
	return resp.body, err
}
