package oci

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/manifest"
)

// Config is what a [Client] is made of. The zero value works.
type Config struct {
	// Transport carries requests; nil is one of our own, with CAs and Insecure, that
	// moreover refuses names of other hosts that lead into a private network.
	Transport http.RoundTripper
	// CAs are trusted in place of the system's.
	CAs *x509.CertPool
	// Insecure takes certificates that nobody vouches for, and plain HTTP where a
	// registry has no TLS. Loopback addresses may always go without TLS.
	Insecure bool
	// Repository is where the signatures and attestations of all images are, if that is
	// not the image's own; tag and digest count for nothing. It is for Attachments,
	// AttachBundle and AttachLegacy, for Tree and Contents, and for what Copy and Compare
	// read: cosign's COSIGN_REPOSITORY.
	Repository Reference
	// Keychain finds credentials; nil is docker's and podman's files and helpers.
	Keychain  authn.Keychain
	UserAgent string
	// Parallel bounds the requests at the same time; 0 is 16.
	Parallel int
	Limits   Limits
	// Settle is how long a new entry of a referrers tag is watched, so that another
	// writer does not undo it unseen; 0 is a second.
	Settle time.Duration
	// Wait waits between attempts; nil is to wait indeed.
	Wait func(context.Context, time.Duration) error
	// Logger hears of retries; nil is nobody.
	Logger *slog.Logger
}

// Limits bound what is read. Beyond them there is an error of kind TooLarge.
type Limits struct {
	// Blob bounds a signature, attestation or SBOM, in bytes; 0 is 32 MiB.
	Blob int64
	// Referrers of one subject that are looked at; 0 is 1,024.
	Referrers int
	// Pages of one listing; 0 is 64.
	Pages int
	// Images below one index; 0 is 1,024.
	Images int
	// Memory is how much is remembered for the life of a client, in bytes; 0 is
	// 64 MiB.
	Memory int64
	// Attempts of a request that fails for the moment; 0 is 5.
	Attempts int
	// Stall is how long an answer may stand still; 0 is 30 seconds.
	Stall time.Duration
}

func (l Limits) orDefault() Limits {
	return Limits{
		Blob:      cmp.Or(l.Blob, bundle.MaxSize),
		Referrers: cmp.Or(l.Referrers, 1024),
		Pages:     cmp.Or(l.Pages, 64),
		Images:    cmp.Or(l.Images, 1024),
		Memory:    cmp.Or(l.Memory, 64<<20),
		Attempts:  cmp.Or(l.Attempts, 5),
		Stall:     cmp.Or(l.Stall, 30*time.Second),
	}
}

// Client talks to registries. It remembers what it has read, tags and listings too,
// so that the same question costs no request: make one for each task, or see
// [Client.Renew]. It is safe for concurrent use.
type Client struct {
	*connection
	contents memo[content]
	tags     memo[tagged]
	listings memo[listing]
	empties  memo[struct{}] // repositories that have the empty blob
	apis     memo[bool]     // by repository, whether there may be a referrers API
	// unmounted are the pairs of repositories, from and to, between which the registry
	// has refused to mount.
	unmounted sync.Map
}

// connection is what outlives a task: connections, tokens and counts.
type connection struct {
	cfg       Config
	http      *http.Client
	guard     *guard
	slots     chan struct{} // one for each request under way
	endpoints memo[*endpoint]
	accesses  memo[*access]
	logins    memo[login] // by repository
	writers   keyed       // one writer of a tag at a time
}

// New makes a client.
func New(cfg Config) *Client {
	cfg.Limits = cfg.Limits.orDefault()
	cfg.Parallel = cmp.Or(cfg.Parallel, 16)
	cfg.Settle = cmp.Or(cfg.Settle, time.Second)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "sigbox")
	if cfg.Keychain == nil {
		cfg.Keychain = authn.DefaultKeychain
	}
	if cfg.Wait == nil {
		cfg.Wait = wait
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := newGuard(&cfg)
	c := &connection{
		cfg: cfg, guard: g, slots: make(chan struct{}, cfg.Parallel),
		http:      &http.Client{Transport: g, CheckRedirect: g.checkRedirect},
		endpoints: memo[*endpoint]{size: each[*endpoint], limit: maxRegistries},
		accesses:  memo[*access]{size: each[*access], limit: maxRegistries},
		logins:    memo[login]{size: each[login], limit: maxRegistries},
	}
	return c.client()
}

// maxRegistries bounds the registries and repositories that are remembered.
const maxRegistries = 4096

// each is the cost of what is counted.
func each[V any](V) int64 { return 1 }

func (c *connection) client() *Client {
	limit := c.cfg.Limits.Memory
	return &Client{
		connection: c,
		contents:   memo[content]{size: func(v content) int64 { return int64(len(v.body)) + 256 }, limit: limit},
		tags:       memo[tagged]{size: each[tagged], limit: 1 << 16},
		listings:   memo[listing]{size: func(v listing) int64 { return v.size + 256 }, limit: limit},
		empties:    memo[struct{}]{size: each[struct{}], limit: maxRegistries},
		apis:       memo[bool]{size: each[bool], limit: maxRegistries},
	}
}

// Renew gives a client that has read nothing yet, with the same connections, tokens
// and counts.
func (c *Client) Renew() *Client { return c.connection.client() }

// Stats are counts since [New].
type Stats struct {
	// Requests that were answered: pings, tokens, redirects and repeats as well.
	Requests int64
	// Pings and Tokens are those of them by which access is got.
	Pings, Tokens int64
	// Retries are requests that were sent again.
	Retries int64
	// Read and Written are bytes of bodies.
	Read, Written int64
}

// Stats gives the counts until now.
func (c *Client) Stats() Stats {
	s := &c.guard.stats
	return Stats{
		Requests: s.requests.Load(), Pings: s.pings.Load(), Tokens: s.tokens.Load(), Retries: s.retries.Load(),
		Read: s.read.Load(), Written: s.written.Load(),
	}
}

type counters struct{ requests, pings, tokens, retries, read, written atomic.Int64 }

// home is where an image's signatures are.
func (c *connection) home(image Reference) Reference {
	if c.cfg.Repository.IsZero() {
		return image
	}
	return c.cfg.Repository.At(image.digest)
}

// holdsSlot is the key of contexts in which requests may be made.
type holdsSlot struct{}

// holdSlot waits until a request may be made, and gives a context in which several may be,
// one after the other.
func (c *connection) holdSlot(ctx context.Context) (context.Context, func(), error) {
	release, err := c.slot(ctx)
	return context.WithValue(ctx, holdsSlot{}, true), release, err
}

// slot waits until a request may be made; the caller gives it back with the result.
func (c *connection) slot(ctx context.Context) (release func(), err error) {
	if ctx.Value(holdsSlot{}) != nil {
		return func() {}, nil
	}
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keyed is a lock for each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int // guarded by the mu of keyed
}

// lock waits for the lock of key.
func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyedLock{}
	}
	l := k.held[key]
	if l == nil {
		l = new(keyedLock)
		k.held[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, key)
		}
	}
}

// listing is one page of referrers, or a tag's index of them.
type listing struct {
	manifests []manifest.Descriptor
	// filtered is whether the registry left out other artifact types.
	filtered bool
	next     string // URL of the next page, or ""
	missing  bool   // there is no such list
	// nowhere is whether the registry has no such lists of any image in the repository.
	nowhere bool
	size    int64
}
