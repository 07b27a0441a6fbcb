package remote

import (
	"context"
	"net/url"

	"github.com/sigbox/sigbox"
)

// ClientCredentials gets an identity token for the client itself (RFC 6749
// §4.4); the provider must hand out ID tokens for that grant.
func (c *Client) ClientCredentials(ctx context.Context, l Login) (string, error) {
	if l.ClientSecret == "" {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "a login by client credentials needs the client's secret").
			WithHint("name its file: --oidc-client-secret-file FILE")
	}
	p, err := c.discover(ctx, l.Issuer)
	if err != nil {
		return "", err
	}
	answer, err := c.requestToken(ctx, l, p, url.Values{"grant_type": {"client_credentials"}, "scope": {"openid email"}})
	if err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", oauthError(answer)
	}
	return checkToken(l, answer.IDToken, "")
}
