// Package oidc is the OpenID provider in the box: local users with passwords, a
// login page, the authorization code flow with PKCE for programs that listen on a
// loopback address or take a code by hand, and the device flow (RFC 8628). Its
// tokens are what Sigstore's clients submit to the CA.
//
//	users := oidc.NewUsers(oidc.UsersConfig{KV: kv})
//	provider, err := oidc.New(oidc.Config{
//		Issuer: "https://sigbox.example/oidc",
//		Key:    key, // RSA
//		Users:  users,
//		Pages:  web.Pages{},
//	})
//	mux.Handle("/oidc/", provider.Handler())
//
// The handler serves below the issuer's own path:
//
//	/.well-known/openid-configuration   discovery
//	/keys                               JWK set
//	/authorize                          authorization endpoint
//	/token                              token endpoint
//	/userinfo                           user info
//	/device_authorization               device authorization endpoint
//	/login, /device                     pages for people
//	/callback/ID                        where the provider of a connector answers
//
// ID and access tokens are JWTs with the same claims, signed with RS256, since
// cosign takes nothing else and sigstore-python submits the access token.
//
// All clients are public: they have no secret, whoever likes may claim to be one.
// What protects a code is therefore that it goes to a loopback address only, that
// it is good once, for two minutes, with the PKCE verifier, and that it leaves in
// the answer to the browser that began and nowhere else.
//
// People may also sign in elsewhere, at an OpenID provider or at GitHub ("connectors").
// Then this provider is a client there, and its tokens name the address that the other
// one has verified, and in federated_claims whose it is.
//
// Requests, codes and device authorizations live in memory, bounded, and end with
// the process: a login under way must be begun again. Users and the key persist.
//
// Sources: OpenID Connect Core 1.0, OpenID Connect Discovery 1.0, RFC 6749,
// RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device flow), RFC 9207 (iss),
// RFC 9700 (best practice).
package oidc

import (
	"context"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/sigbox/sigbox"
)

// How many of each there may be at a time, and for how long.
const (
	maxLogins   = 4096
	loginTTL    = 10 * time.Minute
	maxCodes    = 4096
	codeTTL     = 2 * time.Minute
	maxAttempts = 4096
	maxDevices  = 4096
	deviceTTL   = 10 * time.Minute
)

// Config is what a Provider needs. Issuer, Key, Users and Pages are required.
type Config struct {
	// Issuer is the provider's URL, without a slash at its end.
	Issuer string
	// AllowHTTP allows an issuer without TLS.
	AllowHTTP bool
	// Key signs tokens: an RSA key of 2048 to 4096 bits.
	Key crypto.Signer
	// Users are the accounts.
	Users *Users
	// Pages draws the login pages.
	Pages Pages
	// Logins says how people sign in; see [Provider.SetLogins].
	Logins Logins
	// Outside gives the line to a connector's provider. Nil is for Logins without any
	// connector, as are IDTokens and Secrets.
	Outside func(Connector) Outside
	// IDTokens makes what verifies a provider's ID tokens for the client ID.
	IDTokens func(Connector) (IDTokens, error)
	// Secrets reads a client's secret from where the settings say that it is.
	Secrets func(source string) (string, error)
	// Clients are the client IDs, and so the audiences, that programs may use;
	// nil is "sigstore".
	Clients []string
	// Lifetime is that of tokens; 0 is DefaultLifetime.
	Lifetime time.Duration
	// ClientAddress says where a request comes from, for the limits on tries. Nil
	// takes the connection's address; behind a proxy that would be the proxy's.
	ClientAddress func(*http.Request) string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand gives codes and cookies; nil is crypto/rand.
	Rand io.Reader
	// Logger takes what happens; nil discards it.
	Logger *slog.Logger
}

// Provider is an OpenID provider. Methods are safe for concurrent use.
type Provider struct {
	issuer   string
	path     string // of the issuer, without a slash at its end
	secure   bool   // the issuer has TLS
	origins  *http.CrossOriginProtection
	minter   *Minter
	users    *Users
	pages    Pages
	clients  []string
	lifetime time.Duration
	address  func(*http.Request) string
	now      func() time.Time
	rand     io.Reader
	log      *slog.Logger
	csrfKey  [32]byte

	outside    func(Connector) Outside
	idTokens   func(Connector) (IDTokens, error)
	secrets    func(source string) (string, error)
	connectors atomic.Pointer[connectors]

	logins   *expiring[*login]   // by ID
	attempts *expiring[*attempt] // by state
	codes    *expiring[*grant]   // by authorization code
	devices  *expiring[*device]  // by device code
	waiting  *expiring[*device]  // the same by user code

	perUser    *limiter // failed logins
	perAddress *limiter // failed logins
	userCodes  *limiter // wrong user codes, by address
	starts     *limiter // new logins and device authorizations, by address
}

// New checks the configuration. Errors: Invalid.
func New(c Config) (*Provider, error) {
	u, err := checkIssuer(c.Issuer, c.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if c.Users == nil || c.Pages == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the OpenID provider needs users and pages")
	}
	if c.Lifetime < 0 || c.Lifetime > MaxLifetime {
		return nil, sigbox.Mismatch(sigbox.Invalid, "the OpenID provider's tokens cannot live that long", "at most "+MaxLifetime.String(), c.Lifetime)
	}
	c.setDefaults()
	minter, err := NewMinter(MinterConfig{Issuer: c.Issuer, Key: c.Key, Now: c.Now, Rand: c.Rand})
	if err != nil {
		return nil, err
	}
	p := &Provider{
		issuer: c.Issuer, path: u.Path, secure: u.Scheme == "https", origins: http.NewCrossOriginProtection(),
		minter: minter, users: c.Users, pages: c.Pages, clients: slices.Clone(c.Clients), lifetime: c.Lifetime,
		address: c.ClientAddress, now: c.Now, rand: c.Rand, log: c.Logger,
		outside: c.Outside, idTokens: c.IDTokens, secrets: c.Secrets,
		logins:     newExpiring[*login](maxLogins, loginTTL),
		attempts:   newExpiring[*attempt](maxAttempts, loginTTL),
		codes:      newExpiring[*grant](maxCodes, codeTTL),
		devices:    newExpiring[*device](maxDevices, deviceTTL),
		waiting:    newExpiring[*device](maxDevices, deviceTTL),
		perUser:    newLimiter(10, 30*time.Second),
		perAddress: newLimiter(30, 5*time.Second),
		userCodes:  newLimiter(10, 30*time.Second),
		starts:     newLimiter(100, 500*time.Millisecond),
	}
	// A proxy may change the Host header, but the person sees the issuer's.
	if err := p.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the issuer %s has no usable origin", quoted(c.Issuer)).WithCause(err)
	}
	if _, err := io.ReadFull(c.Rand, p.csrfKey[:]); err != nil {
		return nil, fmt.Errorf("making a form key: %w", err)
	}
	apply, err := p.SetLogins(c.Logins)
	if err != nil {
		return nil, err
	}
	apply()
	return p, nil
}

func (c *Config) setDefaults() {
	if c.Clients == nil {
		c.Clients = []string{DefaultAudience}
	}
	if c.Lifetime == 0 {
		c.Lifetime = DefaultLifetime
	}
	if c.ClientAddress == nil {
		c.ClientAddress = connectionAddress
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func checkIssuer(issuer string, allowHTTP bool) (*url.URL, error) {
	err := op.ValidateIssuer(issuer, allowHTTP)
	if err == nil && strings.HasSuffix(issuer, "/") {
		err = sigbox.Errorf(sigbox.Invalid, "it ends in a slash")
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the issuer %s cannot be used: %w", quoted(issuer), err)
	}
	return url.Parse(issuer)
}

// Keys gives the public keys that verify the provider's tokens.
func (p *Provider) Keys() []jose.JSONWebKey { return p.minter.Keys() }

// SetKeys has tokens signed with another key from now on; see [Minter.SetKeys].
func (p *Provider) SetKeys(key crypto.Signer, others ...crypto.PublicKey) error {
	return p.minter.SetKeys(key, others...)
}

// Users gives the accounts.
func (p *Provider) Users() *Users { return p.users }

// MintToken makes a token for an address without any login; see
// [Minter.MintToken].
func (p *Provider) MintToken(ctx context.Context, email, audience string, lifetime time.Duration) (string, error) {
	return p.minter.MintToken(ctx, email, audience, lifetime)
}

// random makes a secret of 256 bits, in 43 characters.
func (p *Provider) random() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(p.rand, b[:]); err != nil {
		return "", fmt.Errorf("making a secret: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// connectionAddress is the connection's address; of IPv6 it is the network of 64
// bits, all of which one host may use.
func connectionAddress(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "local"
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		prefix, err := addr.Prefix(64)
		if err == nil {
			addr = prefix.Addr()
		}
	}
	return addr.String()
}
