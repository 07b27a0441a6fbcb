package remote

import (
	"context"
	"net/http"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	instanceService = "the instance"
	// maxReady bounds what an instance says of itself, in bytes.
	maxReady = 64 << 10
)

// Readiness is what an instance says of itself on /readyz.
type Readiness struct {
	Ready    bool
	Services []ServiceState
	// Date is the server's clock (RFC 9110 §6.6.1), to the second; zero if it does not
	// say.
	Date time.Time
}

// ServiceState is a service's own word; Error is "" while it can serve, and Notice while
// nothing is about to change that.
type ServiceState struct {
	Name   string `json:"name"`
	Error  string `json:"error"`
	Notice string `json:"notice"`
}

// Ready asks an instance of sigbox how it is. Errors: NotFound where there is no such
// page, as on instances of other make.
func (c *Client) Ready(ctx context.Context, baseURL string) (Readiness, error) {
	r := request{service: instanceService, method: http.MethodGet, url: join(baseURL, "/readyz"), limit: maxReady}
	resp, err := c.do(ctx, r)
	if err != nil {
		return Readiness{}, err
	}
	var answer struct {
		Status   string         `json:"status"`
		Services []ServiceState `json:"services"`
	}
	if resp.status != http.StatusOK && resp.status != http.StatusServiceUnavailable {
		return Readiness{}, refused(r, resp)
	}
	if err := decodeJSON(resp.body, &answer); err != nil || answer.Status == "" {
		if resp.status != http.StatusOK {
			return Readiness{}, refused(r, resp)
		}
		return Readiness{}, sigbox.Errorf(sigbox.NotFound, "%s at %s does not say how it is", r.service, r.url)
	}
	date, err := http.ParseTime(resp.header.Get("Date"))
	if err != nil {
		date = time.Time{}
	}
	return Readiness{Ready: resp.status == http.StatusOK, Services: answer.Services, Date: date}, nil
}
