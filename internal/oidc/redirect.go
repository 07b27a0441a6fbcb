package oidc

import (
	"net/url"

	"github.com/sigbox/sigbox"
)

// outOfBand is the redirect of programs that cannot listen: the person copies the
// code from the page.
const outOfBand = "urn:ietf:wg:oauth:2.0:oob"

const maxRedirect = 1024

// checkRedirect allows what a program on the person's own machine can receive:
// plain HTTP to a loopback name or address, any port and path (RFC 8252 §7.3), or
// outOfBand. Everything else, other spellings included, would hand codes to
// strangers, since anybody may use a public client's ID.
func checkRedirect(raw string) error {
	if raw == outOfBand {
		return nil
	}
	bad := sigbox.Mismatch(sigbox.Invalid, "this redirect address is not allowed",
		"http://localhost:PORT/PATH, or the same with 127.0.0.1 or [::1]", quoted(raw))
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxRedirect || u.String() != raw {
		return bad
	}
	if u.Scheme != "http" || u.Opaque != "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return bad
	}
	switch u.Hostname() {
	case "localhost", "127.0.0.1", "::1":
		return nil
	}
	return bad
}
