package remote

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
)

const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	// Bounds for what a provider may ask of us.
	minInterval, maxInterval = time.Second, time.Minute
	maxDeviceWait            = 30 * time.Minute
	slowDown                 = 5 * time.Second // RFC 8628 §3.5
)

// deviceAnswer is the device authorization endpoint's answer (RFC 8628 §3.2).
type deviceAnswer struct {
	DeviceCode  string `json:"device_code"`
	UserCode    string `json:"user_code"`
	URL         string `json:"verification_uri"`
	CompleteURL string `json:"verification_uri_complete"`
	ExpiresIn   int64  `json:"expires_in"`
	Interval    int64  `json:"interval"`
}

// Device logs in through a browser on any machine (RFC 8628): it tells a URL and
// a code, and asks the provider until the person is done.
func (c *Client) Device(ctx context.Context, l Login) (string, error) {
	p, err := c.discover(ctx, l.Issuer)
	if err != nil {
		return "", err
	}
	if p.Device == "" {
		return "", sigbox.Errorf(sigbox.Unavailable, "the OpenID provider %s has no device flow", l.Issuer).
			WithHint("log in through a browser, or pass --identity-token")
	}
	verifier := secret()
	d, err := c.authorizeDevice(ctx, l, p, verifier)
	if err != nil {
		return "", err
	}
	return c.pollDevice(ctx, l, p, d, verifier)
}

// authorizeDevice begins the flow and tells the person.
func (c *Client) authorizeDevice(ctx context.Context, l Login, p provider, verifier string) (deviceAnswer, error) {
	form := url.Values{
		"client_id": {l.clientID()}, "scope": {"openid email"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	if l.ClientSecret != "" {
		form.Set("client_secret", l.ClientSecret)
	}
	r := request{
		service: oidcService, method: http.MethodPost, url: p.Device,
		contentType: "application/x-www-form-urlencoded", body: []byte(form.Encode()), limit: maxOIDC, secret: true,
	}
	resp, err := c.expect(ctx, r, http.StatusOK)
	if err != nil {
		return deviceAnswer{}, err
	}
	var d deviceAnswer
	if err := decodeJSON(resp.body, &d); err != nil || d.DeviceCode == "" || d.UserCode == "" || !isWeb(d.URL) {
		return deviceAnswer{}, badAnswer(r, "a device code, a user code and a URL").WithCause(err)
	}
	prompt := Prompt{URL: d.URL, Code: d.UserCode, Expires: c.now().Add(d.lifetime())}
	if isWeb(d.CompleteURL) {
		prompt.URL = d.CompleteURL
	}
	l.tell(prompt)
	return d, nil
}

func isWeb(u string) bool {
	return strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")
}

func (d deviceAnswer) lifetime() time.Duration {
	if d.ExpiresIn <= 0 || d.ExpiresIn > int64(maxDeviceWait/time.Second) {
		return maxDeviceWait
	}
	return time.Duration(d.ExpiresIn) * time.Second
}

func (d deviceAnswer) interval() time.Duration {
	if d.Interval <= 0 {
		return slowDown // the default of RFC 8628 §3.2 is 5 seconds, too
	}
	return min(max(time.Duration(min(d.Interval, 60))*time.Second, minInterval), maxInterval)
}

// pollDevice asks for the token until there is one or it is too late.
func (c *Client) pollDevice(ctx context.Context, l Login, p provider, d deviceAnswer, verifier string) (string, error) {
	deadline := c.now().Add(d.lifetime())
	interval := d.interval()
	for c.now().Before(deadline) {
		if err := c.sleep(ctx, interval); err != nil {
			return "", sigbox.Errorf(sigbox.Unavailable, "the login was interrupted").WithCause(err)
		}
		answer, err := c.requestToken(ctx, l, p, url.Values{
			"grant_type": {deviceGrant}, "device_code": {d.DeviceCode}, "code_verifier": {verifier},
		})
		switch {
		case err != nil && sigbox.KindOf(err) == sigbox.Unavailable && ctx.Err() == nil:
			interval = min(2*interval, maxInterval) // RFC 8628 §3.5: back off on a connection time-out
		case err != nil:
			return "", err
		case answer.Error == "":
			return checkToken(l, answer.IDToken, "")
		case answer.Error == "slow_down":
			interval = min(interval+slowDown, maxInterval)
		case answer.Error != "authorization_pending":
			return "", oauthError(answer)
		}
	}
	return "", sigbox.Errorf(sigbox.Unauthenticated, "nobody logged in before the code ran out").
		WithHint("run it again and open the URL in time")
}
