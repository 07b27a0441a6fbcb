package oidc

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sigbox/sigbox"
)

// The types of connectors.
const (
	// TypeOIDC is any OpenID provider that has a discovery document.
	TypeOIDC = "oidc"
	// TypeGitHub is GitHub, or a GitHub Enterprise Server: OAuth and its API.
	TypeGitHub = "github"
)

// Whom certificates name as the issuer for people who signed in at a connector.
const (
	// IssuerInstance is the provider of this instance.
	IssuerInstance = "instance"
	// IssuerConnector is the connector's provider.
	IssuerConnector = "connector"
)

// FederatedIssuer is where a token says whose account it is about: the connector's
// URL, or the provider's own for a local account.
const FederatedIssuer = "$.federated_claims.connector_id"

const (
	maxConnectors = 32
	maxTitle      = 64
	anyDomain     = "*"
	defaultGitHub = "https://github.com"
)

// Logins says how people sign in. The zero value is by local accounts alone.
type Logins struct {
	// LocalAccounts offers the local accounts; nil is true.
	LocalAccounts *bool `yaml:"local-accounts"`
	// CertificateIssuer is IssuerInstance, the default, or IssuerConnector. With
	// the latter, certificates tell addresses of one provider from those of
	// another, so that several may vouch for the same.
	CertificateIssuer string `yaml:"certificate-issuer"`
	// Connectors are outside providers at which people may sign in.
	Connectors []Connector `yaml:"connectors"`
}

// Connector is an outside provider at which people may sign in.
type Connector struct {
	// ID names the connector in addresses of this provider: small letters, digits
	// and dashes. It must not change, since the callback's address has it.
	ID string `yaml:"id"`
	// Title is what people read, ID if "".
	Title string `yaml:"title"`
	// Type is TypeOIDC or TypeGitHub.
	Type string `yaml:"type"`
	// URL is the issuer, exactly as its discovery document names it; of a GitHub
	// Enterprise Server its address, "" for github.com.
	URL string `yaml:"url"`
	// ClientID is how the provider knows this instance.
	ClientID string `yaml:"client-id"`
	// ClientSecret says where the secret is: env:NAME, file:PATH or credential:NAME.
	// Without one ("") this instance is a public client there.
	ClientSecret string `yaml:"client-secret"`
	// Scopes are asked for; nil is what is needed to learn the address.
	Scopes []string `yaml:"scopes"`
	// Domains are those for whose addresses the provider may vouch, or "*" alone
	// for any.
	Domains []string `yaml:"domains"`
	// Organizations, for TypeGitHub, are those of which people must be members of
	// one at least; nil is no such demand.
	Organizations []string `yaml:"organizations"`
	// RequiredClaims, for TypeOIDC, are claims that the ID token must have with this
	// value, or with a list that this value is in.
	RequiredClaims map[string]string `yaml:"required-claims"`
	// SkipEmailVerification, for TypeOIDC, accepts addresses of which the provider
	// does not say that it has verified them. For providers that own them all.
	SkipEmailVerification bool `yaml:"skip-email-verification"`
	// AllowPrivate lets the provider live at a private or loopback address.
	AllowPrivate bool `yaml:"allow-private"`
	// CAFile holds the certificates, in PEM, of which one has to vouch for the
	// provider's own; "" is the system's.
	CAFile string `yaml:"ca-file"`
}

// connectors are the Logins of now, made ready. They are not changed once made.
type connectors struct {
	local bool
	// shared says that certificates do not tell whose account an address is, so that
	// for each address one connector at most may vouch.
	shared bool
	list   []*connector
}

// connector is a Connector made ready.
type connector struct {
	Connector
	// issuer is the provider's name in tokens and certificates.
	issuer string
	// busy holds a token for each conversation with the provider under way.
	busy chan struct{}
	upstream
}

// SetLogins makes connectors ready; apply then takes them in the place of those that
// there are, from the next request on. A connector whose settings did not change goes on
// as it is. Errors are of kind Invalid and name the connector.
func (p *Provider) SetLogins(l Logins) (apply func(), err error) {
	set, err := p.newConnectors(l)
	if err != nil {
		return nil, err
	}
	return func() { p.connectors.Store(set) }, nil
}

func (p *Provider) newConnectors(l Logins) (*connectors, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	old := p.connectors.Load()
	set := &connectors{local: l.LocalAccounts == nil || *l.LocalAccounts, shared: l.CertificateIssuer != IssuerConnector}
	for _, in := range l.Connectors {
		c := old.same(in)
		if c == nil {
			var err error
			if c, err = p.newConnector(in); err != nil {
				return nil, of(in, err)
			}
		}
		if canonical(c.issuer) == canonical(p.issuer) {
			return nil, of(in, sigbox.Errorf(sigbox.Invalid, "url: it is this instance's own provider"))
		}
		set.list = append(set.list, c)
	}
	return set, nil
}

// of says which connector an error is about.
func of(c Connector, err error) error {
	return sigbox.Errorf(sigbox.Invalid, "login: connector %s: %w", quoted(c.ID), err)
}

// Check refuses settings that cannot be meant, without asking anybody.
func (l Logins) Check() error {
	switch {
	case !slices.Contains([]string{"", IssuerInstance, IssuerConnector}, l.CertificateIssuer):
		return sigbox.Errorf(sigbox.Invalid, "login: certificate-issuer: expected %s or %s, found %s", IssuerInstance, IssuerConnector, quoted(l.CertificateIssuer))
	case len(l.Connectors) > maxConnectors:
		return sigbox.Errorf(sigbox.Invalid, "login: %d connectors, expected at most %d", len(l.Connectors), maxConnectors)
	case len(l.Connectors) == 0 && l.LocalAccounts != nil && !*l.LocalAccounts:
		return sigbox.Errorf(sigbox.Invalid, "login: nobody could sign in: there are neither local accounts nor connectors")
	}
	for _, c := range l.Connectors {
		if err := c.check(); err != nil {
			return of(c, err)
		}
	}
	return l.checkTogether()
}

// checkTogether refuses connectors that would be taken for each other: of one ID or
// of one provider, and, where certificates do not tell them apart, such as may vouch
// for the same addresses.
func (l Logins) checkTogether() error {
	seen := map[string]string{}
	once := func(what, value, id string) error {
		first, twice := seen[what+value]
		if seen[what+value] = id; twice {
			return sigbox.Errorf(sigbox.Invalid, "%s: %s is that of the connector %s, too", what, quoted(value), quoted(first))
		}
		return nil
	}
	for _, c := range l.Connectors {
		err := once("id", c.ID, c.ID)
		if err == nil {
			err = once("url", canonical(c.name()), c.ID)
		}
		if err != nil {
			return of(c, err)
		}
		if l.CertificateIssuer == IssuerConnector {
			continue
		}
		for _, domain := range c.Domains {
			if err := once("domains", strings.ToLower(domain), c.ID); err != nil {
				return of(c, sigbox.Errorf(sigbox.Invalid, "%w: certificates would not tell whose account an address is", err).
					WithHint("give each domain to one connector, or set certificate-issuer: %s", IssuerConnector))
			}
		}
	}
	return nil
}

func (c Connector) check() error {
	switch {
	case !regexp.MustCompile(`\A[a-z0-9][a-z0-9-]{0,31}\z`).MatchString(c.ID):
		return sigbox.Errorf(sigbox.Invalid, "id: expected up to 32 small letters, digits and dashes")
	case len(c.Title) > maxTitle || !utf8.ValidString(c.Title) || strings.ContainsFunc(c.Title, unicode.IsControl):
		return sigbox.Errorf(sigbox.Invalid, "title: expected at most %d bytes of text", maxTitle)
	case c.Type != TypeOIDC && c.Type != TypeGitHub:
		return sigbox.Errorf(sigbox.Invalid, "type: expected %s or %s, found %s", TypeOIDC, TypeGitHub, quoted(c.Type))
	case c.ClientID == "":
		return sigbox.Errorf(sigbox.Invalid, "client-id: it is missing").WithHint("register this instance with the provider")
	case c.Type == TypeGitHub && c.ClientSecret == "":
		return sigbox.Errorf(sigbox.Invalid, "client-secret: it is missing, GitHub wants one")
	case c.Type == TypeOIDC && c.Organizations != nil:
		return sigbox.Errorf(sigbox.Invalid, "organizations: not a field of the type %s", c.Type).WithHint("required-claims may say the same")
	case c.Type == TypeGitHub && (c.RequiredClaims != nil || c.SkipEmailVerification):
		return sigbox.Errorf(sigbox.Invalid, "required-claims and skip-email-verification are not fields of the type %s", c.Type)
	case c.Type == TypeOIDC && c.Scopes != nil && !slices.Contains(c.Scopes, oidc.ScopeOpenID):
		return sigbox.Errorf(sigbox.Invalid, "scopes: expected %s among them", oidc.ScopeOpenID)
	}
	for _, org := range c.Organizations {
		if !regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9-]{0,99}\z`).MatchString(org) {
			return sigbox.Errorf(sigbox.Invalid, "organizations: %s is not the name of one", quoted(org))
		}
	}
	if _, err := c.checkURL(c.base()); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "url: %w", err)
	}
	return c.checkDomains()
}

func (c Connector) checkDomains() error {
	if len(c.Domains) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "domains: it is missing").
			WithHint(`say for the addresses of which domains the provider may vouch, or ["*"] for any`)
	}
	for _, domain := range c.Domains {
		if domain == anyDomain && len(c.Domains) == 1 {
			continue
		}
		if !isDomain(domain) {
			return sigbox.Errorf(sigbox.Invalid, "domains: expected names as in example.com, or * alone, found %s", quoted(domain))
		}
	}
	return nil
}

// checkURL wants https, or plain HTTP for a provider that may be at a private
// address: in the open anybody could answer in its place.
func (c Connector) checkURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	ok := err == nil && u.Host != "" && u.User == nil && u.Opaque == "" && u.RawQuery == "" && !strings.ContainsAny(raw, "?#") && len(raw) <= maxRedirect &&
		(u.Scheme == "https" || u.Scheme == "http" && c.AllowPrivate)
	if !ok {
		return nil, sigbox.Mismatch(sigbox.Invalid, "this cannot be asked", "https, a host and perhaps a path; http at a private address alone", quoted(raw))
	}
	return u, nil
}

// base is URL with the default of its type.
func (c Connector) base() string {
	if c.Type == TypeGitHub {
		if c.URL == "" {
			return defaultGitHub
		}
		return strings.TrimSuffix(c.URL, "/")
	}
	return c.URL
}

// name is what tokens and certificates call the provider: an issuer by its URL, GitHub
// as the public-good instance does.
func (c Connector) name() string {
	if c.Type == TypeGitHub {
		return c.base() + "/login/oauth"
	}
	return c.URL
}

// canonical writes a URL so that those which lead to the same place are equal: scheme and
// host in small letters, without the scheme's port and slashes at the end (RFC 3986
// §6.2.2, §6.2.3). It is for comparing alone: the name of a provider is as it is written.
func canonical(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	u.Scheme = strings.ToLower(u.Scheme)
	port := u.Port()
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		port = ""
	}
	u.Host = strings.TrimSuffix(net.JoinHostPort(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), port), ":")
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), "" // escaped as Go does it
	return u.String()
}

func (c Connector) title() string {
	if c.Title == "" {
		return c.ID
	}
	return c.Title
}

// newConnector makes a connector ready. Its secret must be there.
func (p *Provider) newConnector(in Connector) (*connector, error) {
	c := &connector{Connector: in, issuer: in.name(), busy: make(chan struct{}, maxConversations)}
	if p.outside == nil || p.idTokens == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "outside providers cannot be asked here")
	}
	line := backchannel{p.outside(in)}
	secret := func() (string, error) { return "", nil }
	if in.ClientSecret != "" {
		if p.secrets == nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "client-secret: secrets cannot be read here")
		}
		secret = func() (string, error) { return p.secrets(in.ClientSecret) }
	}
	if _, err := secret(); err != nil {
		return nil, err
	}
	if in.Type == TypeGitHub {
		c.upstream = &github{Connector: in, line: line, secret: secret}
		return c, nil
	}
	tokens, err := p.idTokens(in)
	if err != nil {
		return nil, err
	}
	c.upstream = newOpenID(in, line, secret, tokens, p.now)
	return c, nil
}

// same gives the connector that has exactly these settings, nil if there is none.
func (s *connectors) same(in Connector) *connector {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.list, func(c *connector) bool { return reflect.DeepEqual(c.Connector, in) })
	if i < 0 {
		return nil
	}
	return s.list[i]
}

// find gives the connector of an ID, nil if there is none.
func (s *connectors) find(id string) *connector {
	i := slices.IndexFunc(s.list, func(c *connector) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return s.list[i]
}

// titleOf is what people read for a connector, which may be gone meanwhile.
func (s *connectors) titleOf(id string) string {
	if c := s.find(id); c != nil {
		return c.title()
	}
	return id
}

// vouches says whether a connector may speak for an address: the domain must be its
// own. Where connectors share the addresses, "any domain" is those of no other one.
func (s *connectors) vouches(c *connector, email string) error {
	_, domain, _ := strings.Cut(email, "@")
	named := func(c *connector) bool {
		return slices.ContainsFunc(c.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
	}
	if named(c) {
		return nil
	}
	if !slices.Contains(c.Domains, anyDomain) {
		return sigbox.Errorf(sigbox.Denied, "addresses of %s cannot sign in here with %s", domain, c.title())
	}
	if i := slices.IndexFunc(s.list, named); i >= 0 && s.shared {
		return sigbox.Errorf(sigbox.Denied, "addresses of %s sign in here with %s, not with %s", domain, s.list[i].title(), c.title())
	}
	return nil
}

// admit says whether a person may sign in with what a connector says of them: it
// must vouch for the address, and no local account may have it.
func (p *Provider) admit(ctx context.Context, set *connectors, c *connector, email string) error {
	if err := set.vouches(c, email); err != nil || !set.local {
		return err
	}
	_, err := p.users.Get(ctx, email)
	switch {
	case err == nil:
		return sigbox.Errorf(sigbox.Denied, "%s has an account of this instance: sign in with its password", email)
	case sigbox.KindOf(err) == sigbox.NotFound:
		return nil
	}
	return fmt.Errorf("looking for an account: %w", err)
}

// ConnectorCheck is how a connector is.
type ConnectorCheck struct {
	// ID and Title are the connector's, Issuer its provider's name in tokens.
	ID, Title, Issuer string
	// Err says why nobody can sign in there now, nil if nothing stands against it.
	Err error
}

// CheckConnectors asks each connector's provider, all at the same time, whether it is
// there and is the one that the settings name, and whether the client's secret is there.
func CheckConnectors(ctx context.Context, l Logins, line func(Connector) Outside, secrets func(source string) (string, error)) []ConnectorCheck {
	all := make([]ConnectorCheck, len(l.Connectors))
	var wait sync.WaitGroup
	for i, c := range l.Connectors {
		wait.Go(func() {
			all[i] = ConnectorCheck{c.ID, c.title(), c.name(), c.reach(ctx, line(c), secrets)}
		})
	}
	wait.Wait()
	return all
}

func (c Connector) reach(ctx context.Context, line Outside, secrets func(source string) (string, error)) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.ClientSecret != "" {
		if _, err := secrets(c.ClientSecret); err != nil {
			return err
		}
	}
	if c.Type == TypeGitHub {
		return (&github{Connector: c, line: backchannel{line}}).reach(ctx)
	}
	_, err := (&openID{Connector: c, line: backchannel{line}}).fetch(ctx)
	return err
}
