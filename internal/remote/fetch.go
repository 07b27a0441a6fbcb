package remote

import (
	"context"
	"net/http"
)

// Fetch gets a document of at most limit bytes. service names the server, for
// messages. What comes is untrusted.
func (c *Client) Fetch(ctx context.Context, service, url string, limit int64) ([]byte, error) {
	resp, err := c.expect(ctx, request{service: service, method: http.MethodGet, url: url, limit: limit}, http.StatusOK)
	return resp.body, err
}
