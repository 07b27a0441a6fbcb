package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/ca"
)

const (
	maxDiscovery = 64 << 10
	maxJWKS      = 256 << 10

	discoveryPath = "/.well-known/openid-configuration"
)

// IssuerKeys fetches the keys of OpenID issuers: the discovery document and the
// key set it names (OpenID Connect Discovery 1.0 §4). Tokens make it connect to
// where an issuer says, so that it follows no redirects, goes through no proxy,
// reads bounded answers within bounded time, and connects to
// private, loopback and link-local addresses only for issuers that may live there;
// that is checked on the address itself, when it connects.
type IssuerKeys struct {
	cfg             IssuerKeysConfig
	public, private *http.Client
}

var _ ca.KeySource = (*IssuerKeys)(nil)

// IssuerKeysConfig says how issuers are reached. The zero value works.
type IssuerKeysConfig struct {
	// Resolver finds addresses; nil is the system's.
	Resolver *net.Resolver
	// Timeout bounds one request, 5 s if 0.
	Timeout time.Duration
	// ServiceAccount is where a pod finds the token of its service account and the
	// cluster's certificate; "" is the place that Kubernetes mounts them to.
	ServiceAccount string
}

// serviceAccount is where Kubernetes puts a pod's own token and the cluster's
// certificate, unless the pod is told to have none.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

const (
	// maxRoots bounds a file of certificates, and maxAccountToken that of a service
	// account's token, in bytes.
	maxRoots        = 1 << 20
	maxAccountToken = 64 << 10
)

// NewIssuerKeys makes a source of issuers' keys.
func NewIssuerKeys(c IssuerKeysConfig) *IssuerKeys {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	c.ServiceAccount = cmp.Or(c.ServiceAccount, serviceAccount)
	return &IssuerKeys{cfg: c, public: issuerClient(c, onlyPublic, nil), private: issuerClient(c, nil, nil)}
}

// issuerClient makes a client whose connections control must agree to, and whose
// servers' certificates must lead to roots; nil are those of the machine.
func issuerClient(c IssuerKeysConfig, control func(network, address string, _ syscall.RawConn) error, roots *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: c.Timeout, Resolver: c.Resolver, Control: control}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    c.Timeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           16,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errPrivate says that an address is not for everybody.
var errPrivate = errors.New("a private address")

// onlyPublic refuses to connect to addresses that are not of the open network. It
// is asked with the address that the name was found to have, so that a name that
// changes its mind (DNS rebinding) gains nothing.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !isPublic(ap.Addr()) {
		return errPrivate
	}
	return nil
}

// isPublic says whether an address is of the open network.
//
// Source: IANA's special-purpose address registries (RFC 6890).
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Zone() != "" {
		return false
	}
	for _, p := range specialPrefixes() {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// specialPrefixes are global by their form and not by their use.
func specialPrefixes() []netip.Prefix {
	return []netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{0, 0, 0, 0}), 8),                // this network
		netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10),            // shared (RFC 6598)
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 0, 0}), 24),             // protocol assignments
		netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, 0}), 24),             // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15),            // benchmarks
		netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, 0}), 24),          // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, 0}), 24),           // documentation
		netip.PrefixFrom(netip.AddrFrom4([4]byte{240, 0, 0, 0}), 4),              // reserved
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x00, 0x64, 0xff, 0x9b}), 32), // NAT64: hides an IPv4 address
		netip.PrefixFrom(netip.AddrFrom16([16]byte{}), 96),                       // IPv4-compatible: the same
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0xc0}), 10),             // site-local (RFC 3879)
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x02}), 16),             // 6to4: the same
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x00, 0x00}), 32), // Teredo: the same
	}
}

// discovery is what is needed of a discovery document. What else is in it is the
// issuer's.
type discovery struct {
	Issuer     string   `json:"issuer"`
	JWKSURI    string   `json:"jwks_uri"`
	Algorithms []string `json:"id_token_signing_alg_values_supported"`
}

// Keys reads the issuer's keys; see [ca.KeySource]. The discovery document must
// name exactly the issuer that was asked for.
func (k *IssuerKeys) Keys(ctx context.Context, req ca.KeyRequest) (ca.KeySet, error) {
	r, err := k.reader(req)
	if err != nil {
		return ca.KeySet{}, err
	}
	defer r.done()
	at := strings.TrimSuffix(req.Issuer, "/") + discoveryPath
	body, _, err := r.fetch(ctx, at, maxDiscovery)
	if err != nil {
		return ca.KeySet{}, err
	}
	var doc discovery
	if err := json.Unmarshal(body, &doc); err != nil {
		return ca.KeySet{}, sigbox.Errorf(sigbox.Invalid, "%s is no discovery document", at).WithCause(err)
	}
	if doc.Issuer != req.Issuer {
		return ca.KeySet{}, sigbox.Errorf(sigbox.Invalid, "%s is of another issuer: expected %q, found %.200q", at, req.Issuer, doc.Issuer)
	}
	if req.InCluster {
		if doc.JWKSURI, err = inCluster(req.Issuer, doc.JWKSURI); err != nil {
			return ca.KeySet{}, err
		}
	}
	body, header, err := r.fetch(ctx, doc.JWKSURI, maxJWKS)
	if err != nil {
		return ca.KeySet{}, err
	}
	set, err := ca.ParseKeySet(body)
	if err != nil {
		return ca.KeySet{}, err
	}
	set.Algorithms, set.MaxAge = doc.Algorithms, maxAge(header.Get("Cache-Control"))
	return set, nil
}

// inCluster gives the address of a cluster's key set on the host of its issuer: what a
// cluster says there is its API server's address for machines outside, and the pod's
// token is for the API server that the issuer's name leads to, and for nobody else.
func inCluster(issuer, keys string) (string, error) {
	at, err := url.Parse(issuer)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Invalid, "%.200q is no URL", issuer).WithCause(err)
	}
	set, err := url.Parse(keys)
	if err != nil || set.Host == "" || set.RawQuery != "" {
		return "", sigbox.Errorf(sigbox.Invalid, "%.200q is no URL to fetch keys from: expected https", keys)
	}
	return (&url.URL{Scheme: at.Scheme, Host: at.Host, Path: set.Path}).String(), nil
}

// issuerReader reads what one issuer publishes.
type issuerReader struct {
	client *http.Client
	// private says that the issuer may be at a private address, and then without TLS: in
	// the open anybody could change the keys.
	private bool
	bearer  string // "" is none
	done    func()
}

// reader makes what reads an issuer's documents. One with certificates or a token of its
// own has a client of its own for each time: they are files that change.
func (k *IssuerKeys) reader(req ca.KeyRequest) (issuerReader, error) {
	r := issuerReader{client: k.public, private: req.AllowPrivate, done: func() {}}
	control := onlyPublic
	if req.AllowPrivate {
		r.client, control = k.private, nil
	}
	file := req.CAFile
	if req.InCluster {
		file = filepath.Join(k.cfg.ServiceAccount, "ca.crt")
		token, _, err := atomicfile.Read(filepath.Join(k.cfg.ServiceAccount, "token"), maxAccountToken)
		if err != nil {
			return r, notInCluster(err)
		}
		if r.bearer = strings.TrimSpace(string(token)); r.bearer == "" || strings.ContainsFunc(r.bearer, unicode.IsControl) {
			return r, notInCluster(errors.New("the file holds no token"))
		}
	}
	if file == "" {
		return r, nil
	}
	pem, _, err := atomicfile.Read(file, maxRoots)
	if err != nil {
		return r, sigbox.Errorf(sigbox.Unavailable, "cannot read the certificates that the issuer %.200s has to have", req.Issuer).WithCause(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return r, sigbox.Errorf(sigbox.Unavailable, "%.200s holds no certificate in PEM", file)
	}
	r.client = issuerClient(k.cfg, control, roots)
	r.done = r.client.CloseIdleConnections
	return r, nil
}

func notInCluster(err error) error {
	return sigbox.Errorf(sigbox.Unavailable, "an issuer is in-cluster, and this is no pod with the token of a service account").WithCause(err).
		WithHint("run sigbox in the cluster, with automountServiceAccountToken, or leave in-cluster out and name a ca-file")
}

// fetch reads a document of at most limit bytes; a redirect is as wrong as any other
// status.
func (r issuerReader) fetch(ctx context.Context, at string, limit int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, nil, noIssuerURL(at).WithCause(err)
	}
	req.Header.Set("Accept", "application/json")
	a, err := r.do(req, limit)
	if err != nil {
		return nil, nil, err
	}
	if a.status != http.StatusOK {
		return nil, nil, sigbox.Errorf(sigbox.Unavailable, "%.200s answers with the status %d, expected 200 (redirects are not followed)", at, a.status)
	}
	if t, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err == nil && t == "text/html" {
		return nil, nil, sigbox.Errorf(sigbox.Invalid, "%.200s answers with a web page, expected JSON", at)
	}
	return a.body, a.header, nil
}

// do sends a request and reads at most limit bytes of the answer, whatever its status.
func (r issuerReader) do(req *http.Request, limit int64) (response, error) {
	u := req.URL
	if u.Host == "" || u.User != nil || (u.Scheme != "https" && (u.Scheme != "http" || !r.private)) {
		return response{}, noIssuerURL(u.Redacted())
	}
	at := u.String()
	req.Header.Set("User-Agent", "sigbox")
	if r.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.bearer)
	}
	resp, err := r.client.Do(req) //nolint:gosec // G704: where it leads is what the client looks at
	if errors.Is(err, errPrivate) {
		return response{}, sigbox.Errorf(sigbox.Denied, "%.200s is at a private address", at).WithCause(err).
			WithHint("if that is meant, set allow-private for the issuer")
	}
	if err != nil {
		return response{}, sigbox.Errorf(sigbox.Unavailable, "cannot reach %.200s", at).WithCause(rootCause(err))
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return response{}, sigbox.Errorf(sigbox.Unavailable, "%.200s broke off", at).WithCause(err)
	}
	if int64(len(body)) > limit {
		return response{}, sigbox.Errorf(sigbox.TooLarge, "%.200s answers with more than %d bytes", at, limit)
	}
	return response{resp.StatusCode, resp.Header, body}, nil
}

func noIssuerURL(at string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Invalid, "%.200q is no URL to ask an issuer at: expected https", at)
}

// Issuer is the line to one issuer, for other requests than those for its keys, and
// under the same rules.
type Issuer struct {
	keys *IssuerKeys
	req  ca.KeyRequest
}

// Issuer gives the line to an issuer.
func (k *IssuerKeys) Issuer(req ca.KeyRequest) Issuer { return Issuer{k, req} }

// Do sends a request and reads at most limit bytes of the answer, whatever its status.
// Errors: Unavailable when there is no answer, TooLarge, Denied for a private address,
// Invalid for a URL that is not asked.
func (i Issuer) Do(req *http.Request, limit int64) (status int, body []byte, err error) {
	r, err := i.keys.reader(i.req)
	if err != nil {
		return 0, nil, err
	}
	defer r.done()
	a, err := r.do(req, limit)
	return a.status, a.body, err
}

// maxAge reads how long an answer may be kept (RFC 9111 §5.2.2.1), 0 if it does
// not say.
func maxAge(cacheControl string) time.Duration {
	for part := range strings.SplitSeq(cacheControl, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "max-age") {
			continue
		}
		if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}
