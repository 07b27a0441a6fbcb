package ca

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sigbox/sigbox"
)

// The types of issuers: how a token becomes an identity.
const (
	// Email: the email claim, which the issuer must have verified.
	Email = "email"
	// URI: sub is a URI of the subject domain.
	URI = "uri"
	// SPIFFE: sub is a SPIFFE ID of the trust domain.
	SPIFFE = "spiffe"
	// Username: sub is a user name within the subject domain.
	Username = "username"
	// Kubernetes: a service account.
	Kubernetes = "kubernetes"
	// CIProvider: a build, described by the templates of a Provider.
	CIProvider = "ci-provider"
)

// Issuer is an OpenID issuer whose tokens are accepted.
type Issuer struct {
	// URL is the issuer, exactly as in the tokens' iss claim. A * stands for one
	// or more letters, digits, hyphens or underscores: it never crosses a dot or
	// a slash.
	URL string `yaml:"url"`
	// Type says how a token becomes an identity: one of the constants above.
	Type string `yaml:"type"`
	// Audience is what tokens must be for, DefaultAudience if "".
	Audience string `yaml:"audience"`
	// IssuerClaim, for email, is where the token names the issuer to certify when
	// that is another one, as with a federating provider:
	// "$.federated_claims.connector_id".
	IssuerClaim string `yaml:"issuer-claim"`
	// SkipEmailVerification, for email, accepts tokens that do not say that the
	// address was verified. For providers that own all of their addresses.
	SkipEmailVerification bool `yaml:"skip-email-verification"`
	// SubjectDomain is, for uri, the scheme and host of all subjects
	// ("https://example.com"), and for username the domain of the users
	// ("example.com"). Either must share its last two labels with the issuer.
	SubjectDomain string `yaml:"subject-domain"`
	// TrustDomain, for spiffe, is the trust domain of all subjects.
	TrustDomain string `yaml:"spiffe-trust-domain"`
	// Provider, for ci-provider, names the templates.
	Provider string `yaml:"ci-provider"`
	// AllowPrivate lets keys be fetched from private and loopback addresses. An
	// issuer whose URL is written out with such an address needs no more.
	AllowPrivate bool `yaml:"allow-private"`
	// CAFile holds the certificates, PEM, that the issuer's TLS must lead to, in the place
	// of those that the machine trusts. It is read whenever keys are fetched.
	CAFile string `yaml:"ca-file"`
	// InCluster, for kubernetes, is for the cluster in which this server is a pod: its keys
	// are fetched with the pod's own service account and the cluster's certificate.
	InCluster bool `yaml:"in-cluster"`
	// Keys is where the issuer's keys come from when it runs in this process; nil
	// fetches them.
	Keys KeySource `yaml:"-"`
}

// Wildcard reports whether the URL is a pattern.
func (i Issuer) Wildcard() bool { return strings.Contains(i.URL, "*") }

// ProofClaim is the claim that a proof of possession is a signature over.
func (i Issuer) ProofClaim() string {
	if i.Type == Email {
		return "email"
	}
	return "sub"
}

// needs are the claims that tokens of the issuer must have.
func (i *issuer) needs() []string {
	all := []string{"sub"}
	switch i.Type {
	case Email:
		all = append(all, "email")
		if !i.SkipEmailVerification {
			all = append(all, "email_verified")
		}
		if len(i.claim) > 0 {
			all = append(all, i.claim[0])
		}
	case Kubernetes:
		all = append(all, "kubernetes.io")
	case CIProvider:
		all = append(all, i.ci.needs()...)
	}
	return all
}

// registry is a set of issuers. It is not changed once made.
type registry struct {
	issuers []*issuer
	exact   map[string]*issuer
	wild    []*issuer // in the order of the configuration
}

// issuer is an Issuer made ready.
type issuer struct {
	Issuer
	pattern *regexp.Regexp // of a wildcard URL
	claim   []string       // IssuerClaim's names
	domain  *url.URL       // SubjectDomain of the type uri
	ci      *ciTemplates   // of the type ci-provider
}

func newRegistry(issuers []Issuer, providers map[string]Provider) (*registry, error) {
	r := &registry{exact: map[string]*issuer{}}
	seen := map[string]bool{}
	for _, in := range issuers {
		i, err := newIssuer(in, providers)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "issuer %.200q: %w", in.URL, err)
		}
		if seen[i.URL] {
			return nil, sigbox.Errorf(sigbox.Invalid, "issuer %.200q: is there twice", in.URL)
		}
		seen[i.URL] = true
		r.issuers = append(r.issuers, i)
		if i.pattern != nil {
			r.wild = append(r.wild, i)
		} else {
			r.exact[i.URL] = i
		}
	}
	return r, nil
}

// find gives the issuer that an iss claim falls under: one that is written out
// comes before one by pattern.
func (r *registry) find(iss string) *issuer {
	if i := r.exact[iss]; i != nil {
		return i
	}
	for _, i := range r.wild {
		if i.pattern.MatchString(iss) {
			return i
		}
	}
	return nil
}

func (r *registry) list() []Issuer {
	out := make([]Issuer, len(r.issuers))
	for n, i := range r.issuers {
		out[n] = i.Issuer
	}
	return out
}

func newIssuer(in Issuer, providers map[string]Provider) (*issuer, error) {
	i := &issuer{Issuer: in}
	if i.Audience == "" {
		i.Audience = DefaultAudience
	}
	u, err := url.Parse(in.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(in.URL, "?#") {
		return nil, sigbox.Errorf(sigbox.Invalid, "url: expected a scheme, a host and perhaps a path")
	}
	i.AllowPrivate = in.AllowPrivate || in.InCluster || PrivateHost(u.Hostname())
	if err := i.checkScheme(u); err != nil {
		return nil, err
	}
	if in.Wildcard() {
		if err := i.compile(u); err != nil {
			return nil, err
		}
	}
	if err := i.checkFields(); err != nil {
		return nil, err
	}
	return i, i.checkType(u, providers)
}

// checkScheme wants https, so that nobody in between can change the keys.
func (i *issuer) checkScheme(u *url.URL) error {
	switch {
	case u.Scheme == "https", i.Keys != nil && u.Scheme == "http":
		return nil
	case u.Scheme == "http" && i.AllowPrivate && !i.Wildcard():
		return nil
	}
	return sigbox.Errorf(sigbox.Invalid, "url: expected https, or http for an issuer at a loopback or private address")
}

// compile makes the pattern of a wildcard URL. It is anchored at both ends, and
// what a * stands for cannot leave its label or path segment.
func (i *issuer) compile(u *url.URL) error {
	labels := strings.Split(u.Hostname(), ".")
	if n := len(labels); n < 2 || strings.Contains(labels[n-1]+labels[n-2], "*") || strings.Contains(u.Port(), "*") {
		return sigbox.Errorf(sigbox.Invalid, "url: a * must not stand in the last two labels of the host, which say whose it is")
	}
	quoted := strings.ReplaceAll(regexp.QuoteMeta(i.URL), regexp.QuoteMeta("*"), "[-_a-zA-Z0-9]+")
	re, err := regexp.Compile(`\A` + quoted + `\z`)
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "url: %w", err)
	}
	i.pattern = re
	return nil
}

// checkFields refuses fields of other types than the issuer's: they would be
// ignored, and someone thinks that they are not.
func (i *issuer) checkFields() error {
	for _, f := range []struct {
		name  string
		set   bool
		types string
	}{
		{"issuer-claim", i.IssuerClaim != "", Email},
		{"skip-email-verification", i.SkipEmailVerification, Email},
		{"subject-domain", i.SubjectDomain != "", URI + " " + Username},
		{"spiffe-trust-domain", i.TrustDomain != "", SPIFFE},
		{"ci-provider", i.Provider != "", CIProvider},
		{"in-cluster", i.InCluster, Kubernetes},
	} {
		if f.set && !strings.Contains(" "+f.types+" ", " "+i.Type+" ") {
			return sigbox.Errorf(sigbox.Invalid, "%s: not a field of the type %q", f.name, i.Type)
		}
	}
	if (i.CAFile != "" || i.InCluster) && !strings.HasPrefix(i.URL, "https:") {
		return sigbox.Errorf(sigbox.Invalid, "ca-file, in-cluster: expected an issuer whose URL is https")
	}
	if i.CAFile != "" && !filepath.IsAbs(i.CAFile) {
		return sigbox.Errorf(sigbox.Invalid, "ca-file: expected an absolute path, found %.200q", i.CAFile)
	}
	if i.InCluster && (i.CAFile != "" || i.Wildcard()) {
		return sigbox.Errorf(sigbox.Invalid, "in-cluster: there is one cluster, and it brings its certificate: leave ca-file and * out")
	}
	return nil
}

// checkType checks what the issuer's type needs.
func (i *issuer) checkType(u *url.URL, providers map[string]Provider) (err error) {
	switch i.Type {
	case Email:
		i.claim, err = parsePath(i.IssuerClaim)
		return err
	case URI, Username, SPIFFE:
		if i.Wildcard() {
			return sigbox.Errorf(sigbox.Invalid, "url: the type %s takes no *: many issuers would share one domain", i.Type)
		}
		return i.checkDomain(u)
	case Kubernetes:
		return nil
	case CIProvider:
		p, ok := providers[i.Provider]
		if !ok {
			return sigbox.Errorf(sigbox.Invalid, "ci-provider: there are no templates named %q", i.Provider)
		}
		i.ci, err = compileProvider(p)
		return err
	}
	return sigbox.Errorf(sigbox.Invalid, "type: expected email, uri, spiffe, username, kubernetes or ci-provider, found %.40q", i.Type)
}

// checkDomain checks the domain that the issuer's subjects live in.
func (i *issuer) checkDomain(u *url.URL) error {
	switch i.Type {
	case SPIFFE:
		if !validTrustDomain(i.TrustDomain) {
			return sigbox.Errorf(sigbox.Invalid, "spiffe-trust-domain: expected a trust domain as in example.com, found %q", i.TrustDomain)
		}
		return nil
	case URI:
		d, err := url.Parse(i.SubjectDomain)
		if err != nil || d.Host == "" || d.Scheme != u.Scheme || d.User != nil || strings.Trim(d.Path, "/") != "" || strings.ContainsAny(i.SubjectDomain, "?#") {
			return sigbox.Errorf(sigbox.Invalid, "subject-domain: expected a URL as in %s://example.com, found %q", u.Scheme, i.SubjectDomain)
		}
		i.domain = d
		return sameOwner(d.Hostname(), u.Hostname())
	}
	if !validHost(i.SubjectDomain) {
		return sigbox.Errorf(sigbox.Invalid, "subject-domain: expected a domain as in example.com, found %q", i.SubjectDomain)
	}
	return sameOwner(i.SubjectDomain, u.Hostname())
}

// sameOwner wants a domain of subjects to be the issuer's own: the same host, or
// the same last two labels, so that an issuer cannot speak for somebody else's.
func sameOwner(domain, issuer string) error {
	d, i := strings.Split(domain, "."), strings.Split(issuer, ".")
	if domain == issuer || (len(d) >= 2 && len(i) >= 2 && d[len(d)-1] == i[len(i)-1] && d[len(d)-2] == i[len(i)-2]) {
		return nil
	}
	return sigbox.Errorf(sigbox.Invalid, "subject-domain: %q and the issuer's host %q differ in their last two labels", domain, issuer)
}

// PrivateHost says whether a URL's host is written out as a loopback, private
// or link-local address.
func PrivateHost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast())
}

// validHost says whether s is a domain name of labels.
func validHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// isLabel says whether s is a DNS label (RFC 1123 §2.1).
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' && only(s, "-")
}

// only says whether s has only ASCII letters, digits, and the bytes of more.
func only(s, more string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte(more, c) < 0 {
			return false
		}
	}
	return true
}

// parsePath reads a path to a claim: $.name.name. "" is no path.
func parsePath(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	rest, ok := strings.CutPrefix(s, "$.")
	names := strings.Split(rest, ".")
	for _, name := range names {
		ok = ok && name != "" && only(name, "-_")
	}
	if !ok {
		return nil, sigbox.Errorf(sigbox.Invalid, "issuer-claim: expected a path as in $.federated_claims.connector_id, found %.80q", s)
	}
	return names, nil
}
