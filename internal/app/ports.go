package app

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/httpapi"
)

// What a listener can have besides roles.
const (
	RoleMetrics Role = "metrics" // /metrics
	RoleHealth  Role = "health"  // /healthz, /readyz
)

// Listener is an address besides the one of Settings.Listen, for some roles alone.
type Listener struct {
	// Address is HOST:PORT, or unix:PATH.
	Address string `yaml:"address"`
	// Roles are what is served there, and at Settings.Listen no more; also metrics and
	// health.
	Roles []Role `yaml:"roles"`
	// URL is where clients reach it; derived from Address if "".
	URL string `yaml:"url"`
	// InsecureHTTP has it do without the TLS of the other addresses.
	InsecureHTTP bool `yaml:"insecure-http"`
}

// Socket says who may connect to Unix sockets that are listened on.
type Socket struct {
	// Mode is the file's, in octal, 0660 if "".
	Mode string `yaml:"mode"`
	// Group owns the file; the process's own if "".
	Group string `yaml:"group"`
}

// ProxySettings say whose word is taken for where requests come from.
type ProxySettings struct {
	// Trusted are addresses and networks of proxies, and "unix" for the peers of Unix
	// sockets.
	Trusted []string `yaml:"trusted"`
	// Header is the one that they write: x-forwarded-for, which is the default, or
	// forwarded.
	Header string `yaml:"header"`
}

// maxListeners bounds the addresses.
const maxListeners = 16

// checkListeners refuses what cannot be meant.
func (s *Settings) checkListeners() error {
	if len(s.Listeners) > maxListeners {
		return sigbox.Errorf(sigbox.Invalid, "listeners: expected at most %d", maxListeners)
	}
	known := append(Roles(), RoleMetrics, RoleHealth)
	taken := map[Role]string{}
	for _, l := range s.Listeners {
		if len(l.Roles) == 0 || l.Address == "" {
			return sigbox.Errorf(sigbox.Invalid, "listeners: %q: expected an address, and the roles that are served there", l.Address)
		}
		for _, r := range l.Roles {
			switch {
			case !slices.Contains(known, r):
				return sigbox.Errorf(sigbox.Invalid, "listeners: %s: there is no role %.40q: expected some of %s", l.Address, r, joinRoles(known))
			case r == RoleOIDC:
				return sigbox.Errorf(sigbox.Invalid, "listeners: %s: the provider stays where \"listen\" and \"url\" say, since that is its name", l.Address)
			case taken[r] != "":
				return sigbox.Errorf(sigbox.Invalid, "listeners: %s is served at %s and at %s: expected one place", r, taken[r], l.Address)
			}
			taken[r] = l.Address
		}
		if l.URL != "" {
			if _, err := checkURL(l.URL); err != nil {
				return err
			}
		}
	}
	if _, err := s.Socket.mode(); err != nil {
		return err
	}
	_, err := httpapi.NewProxies(s.Proxies.Trusted, s.Proxies.Header)
	return err
}

// port is an address that is listened on.
type port struct {
	net.Listener
	tls bool
	on  func(Role) bool // what is served there
}

// openPorts opens all addresses, that of Settings.Listen first.
func (a *App) openPorts(ctx context.Context) error {
	bounds, err := newLimits(a.settings, &limits{}, a.cfg.Now)
	if err != nil {
		return err
	}
	a.limits.Store(bounds)
	a.urls = map[Role]string{}
	a.slots = newSlots(connections(descriptors()), bounds.settings.ConnectionsPerAddress, bounds.proxies.Trusts, func() { a.metrics.Limited("connections") })
	elsewhere := func(r Role) bool {
		return slices.ContainsFunc(a.settings.Listeners, func(l Listener) bool { return slices.Contains(l.Roles, r) })
	}
	if err := a.openPort(ctx, a.settings, func(r Role) bool { return !elsewhere(r) }); err != nil {
		return err
	}
	for _, l := range a.settings.Listeners {
		s := a.settings
		s.Listen, s.URL = l.Address, l.URL
		if l.InsecureHTTP {
			s.TLS, s.InsecureHTTP = TLSFiles{}, true
		}
		if err := a.openPort(ctx, s, func(r Role) bool { return slices.Contains(l.Roles, r) }); err != nil {
			return err
		}
		at := a.ports[len(a.ports)-1].Addr()
		for _, r := range l.Roles {
			if r == RoleMetrics || r == RoleHealth {
				continue
			}
			if a.urls[r], err = publicURL(s, at); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *App) openPort(ctx context.Context, s Settings, on func(Role) bool) error {
	l, err := listen(ctx, s)
	if err != nil {
		return err
	}
	p := port{a.slots.limit(l), s.TLS.Cert != "" && !isSocket(s.Listen), on}
	a.ports = append(a.ports, p)
	a.later(p.Close)
	return nil
}

// url is where clients reach a role.
func (s *services) url(r Role) string {
	if at := s.app.urls[r]; at != "" {
		return at
	}
	return s.app.state.get().URL
}

// socketScheme begins the addresses of Unix sockets.
const socketScheme = "unix:"

func isSocket(address string) bool { return strings.HasPrefix(address, socketScheme) }

// mode is that of a socket's file.
func (s Socket) mode() (fs.FileMode, error) {
	if s.Mode == "" {
		return 0o660, nil
	}
	m, err := strconv.ParseUint(s.Mode, 8, 32)
	if err != nil || m > 0o777 {
		return 0, sigbox.Mismatch(sigbox.Invalid, "socket: mode", "a mode in octal, as in 0660", strconv.Quote(s.Mode))
	}
	return fs.FileMode(m), nil
}

// group is the number of the group that owns a socket's file, -1 for the process's own.
func (s Socket) group() (int, error) {
	if s.Group == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(s.Group); err == nil && n >= 0 {
		return n, nil
	}
	g, err := user.LookupGroup(s.Group)
	if err != nil {
		return 0, sigbox.Errorf(sigbox.Invalid, "socket: there is no group %.40q", s.Group).WithCause(err)
	}
	return strconv.Atoi(g.Gid)
}

// listenSocket opens a Unix socket. One that a process left behind is replaced, one that
// is answered on is not.
func listenSocket(ctx context.Context, path string, s Socket) (net.Listener, error) {
	mode, err := s.mode()
	if err != nil {
		return nil, err
	}
	group, err := s.group()
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, socketError(path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return nil, sigbox.Errorf(sigbox.Conflict, "cannot listen on %s: there is a file, and it is no socket", path).WithHint("give another path")
	case answers(ctx, path):
		return nil, sigbox.Errorf(sigbox.Conflict, "another program listens on the socket %s", path).WithHint("stop it, or give another path")
	}
	l, err := placeSocket(ctx, path, mode, group)
	if err != nil {
		return nil, socketError(path, err)
	}
	return l, nil
}

func socketError(path string, err error) error {
	return sigbox.Errorf(sigbox.Invalid, "cannot listen on the socket %s: %w", path, err).
		WithHint("its directory has to exist, and this user to be able to write there")
}

// answers reports whether anybody listens on a socket.
func answers(ctx context.Context, path string) bool {
	var d net.Dialer
	err := shortPath(path, func(short string) error {
		c, err := d.DialContext(ctx, "unix", short)
		if err != nil {
			return err
		}
		return c.Close()
	})
	return !errors.Is(err, syscall.ECONNREFUSED)
}

// newMux has the routes of what is served at a port.
func (a *App) newMux(on func(Role) bool) *http.ServeMux {
	mux := http.NewServeMux()
	if on(RoleHealth) {
		a.health.Register(mux)
	}
	if on(RoleMetrics) {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	}
	a.services.register(mux, on)
	return mux
}

type muxKey struct{}

// servePorts answers on all addresses. They share what bounds requests.
func (a *App) servePorts() {
	a.guarded = a.limits.Load().guard(a).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(muxKey{}).(*http.ServeMux).ServeHTTP(w, r)
	}))
	for _, p := range a.ports {
		server := newServer(a.guarded, a.cert.config(), a.cfg.Logger)
		base := context.WithValue(context.Background(), muxKey{}, a.newMux(p.on))
		server.BaseContext = func(net.Listener) context.Context { return base }
		a.public = append(a.public, server)
		a.run("listener", func() error {
			if p.tls {
				return server.ServeTLS(p, "", "")
			}
			return server.Serve(p)
		})
	}
}

// shutdown lets requests in flight end on all addresses.
func (a *App) shutdown(ctx context.Context) error {
	errs := make(chan error, len(a.public))
	for _, s := range a.public {
		go func() { errs <- s.Shutdown(ctx) }()
	}
	var all []error
	for range a.public {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// cutOff ends requests in flight.
func (a *App) cutOff() error {
	var all []error
	for _, s := range a.public {
		all = append(all, s.Close())
	}
	return errors.Join(all...)
}

// watchCertificate has metrics tell when the TLS certificate ends, and whether the
// files hold one that can be used.
func (a *App) watchCertificate() {
	if a.cert == nil {
		return
	}
	a.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sigbox_tls_certificate_expiry_seconds", Help: "When the TLS certificate in use ends, in seconds since 1970.",
		}, func() float64 { return float64(a.cert.expires().Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sigbox_tls_certificate_reload_failed", Help: "1 while the files of the TLS certificate cannot be used and an older one is served.",
		}, func() float64 {
			if a.cert.failure() != nil {
				return 1
			}
			return 0
		}),
	)
}

// err says what is wrong with the TLS certificate, nil if nothing is.
func (c *certificate) err(now time.Time) error {
	if c == nil {
		return nil
	}
	if until := c.expires(); now.After(until) {
		return sigbox.Errorf(sigbox.Unavailable, "the TLS certificate has ended at %s", until.UTC().Format(time.RFC3339)).
			WithHint("put a new one in its place: it is read at once")
	}
	return nil
}

// addressOf is where a connection comes from, the zero address for a Unix socket.
func addressOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
