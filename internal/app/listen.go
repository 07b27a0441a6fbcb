package app

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sigbox/sigbox"
)

// Times and sizes of the public listener. A request's header and body must have
// arrived in readTimeout, its answer be read in writeTimeout.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Of HTTP/2, where Go's own bounds are made for a few clients that are trusted: what a
// connection may have waiting in memory is a quarter of that, and there may be thousands.
// A peer of which nothing was heard is asked whether it is there.
const (
	maxStreams       = 250
	frameSize        = 16 << 10
	streamBuffer     = 128 << 10
	connectionBuffer = 256 << 10
	headerTable      = 4 << 10
	pingAfter        = 45 * time.Second
	pingTimeout      = 15 * time.Second
	writeByteTimeout = 30 * time.Second
)

// listen opens the public port. Beyond loopback it wants TLS, or a plain word
// that there is to be none.
func listen(ctx context.Context, s Settings) (net.Listener, error) {
	if path, ok := strings.CutPrefix(s.Listen, socketScheme); ok {
		return listenSocket(ctx, path, s.Socket)
	}
	addr, err := net.ResolveTCPAddr("tcp", s.Listen)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "cannot listen on %q: %w", s.Listen, err).WithHint("give --listen HOST:PORT, as in %s, or unix:PATH", DefaultListen)
	}
	if !addr.IP.IsLoopback() && s.TLS.Cert == "" && !s.InsecureHTTP {
		return nil, sigbox.Errorf(sigbox.Denied, "%s is reachable from other machines and there is no TLS: tokens and passwords would be sent in the clear", s.Listen).
			WithHint("give --tls-cert and --tls-key, or --insecure-http if something in front speaks TLS")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, sigbox.Errorf(sigbox.Conflict, "the port of %s is in use by another program", s.Listen).
			WithHint("stop it, or give another --listen; with port 0 any free one is taken")
	case errors.Is(err, syscall.EACCES):
		return nil, sigbox.Errorf(sigbox.Denied, "no permission to listen on %s", s.Listen).WithHint("use a port above 1023")
	case err != nil:
		return nil, sigbox.Errorf(sigbox.Invalid, "cannot listen on %s: %w", s.Listen, err)
	}
	return l, nil
}

// publicURL gives the URL under which clients reach what listens on addr.
func publicURL(s Settings, addr net.Addr) (string, error) {
	if s.URL != "" {
		return checkURL(s.URL)
	}
	if isSocket(s.Listen) {
		return "", sigbox.Errorf(sigbox.Invalid, "%s is a socket, so sigbox cannot tell where clients reach it", s.Listen).
			WithHint("give --url, as in --url https://sigstore.example.com")
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsUnspecified() {
		return "", sigbox.Errorf(sigbox.Invalid, "%s is every address of this machine, so sigbox cannot tell by which name clients reach it", s.Listen).
			WithHint("give --url, as in --url https://sigstore.example.com")
	}
	scheme := "http"
	if s.TLS.Cert != "" {
		scheme = "https"
	}
	host, _, err := net.SplitHostPort(s.Listen) // the name as given: localhost stays localhost
	if err != nil {
		return "", sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return "", sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return scheme + "://" + net.JoinHostPort(host, port), nil
}

// checkURL wants a scheme and a host and nothing else: some clients drop a path
// when they join URLs.
func checkURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" ||
		(u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", sigbox.Mismatch(sigbox.Invalid, "the instance's URL cannot be used", "http or https and a host, without a path, as in https://sigstore.example.com", s)
	}
	return strings.ToLower(u.Scheme + "://" + u.Host), nil
}

// newServer is the public HTTP server: HTTP/1.1, and HTTP/2 with TLS or by prior
// knowledge without.
func newServer(h http.Handler, tlsConfig *tls.Config, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           h,
		TLSConfig:         tlsConfig,
		ConnContext:       withWaited,
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReadFrameSize:              frameSize,
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connectionBuffer,
			MaxDecoderHeaderTableSize:     headerTable,
			MaxEncoderHeaderTableSize:     headerTable,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
			WriteByteTimeout:              writeByteTimeout,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // broken handshakes and the like: the network's noise
	}
}

// certificate is the server's TLS certificate, which can be replaced while it is
// used.
type certificate struct {
	files   TLSFiles // owned by who starts, and then reloads, the instance
	current atomic.Pointer[tls.Certificate]
	failed  atomic.Pointer[error] // why the files could not be used when they were read last
}

// expires is when the certificate ends.
func (c *certificate) expires() time.Time { return c.current.Load().Leaf.NotAfter }

// failure says why the files cannot be used, nil if they can.
func (c *certificate) failure() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// loadCertificate reads the files, and gives nil when there are none.
func loadCertificate(files TLSFiles) (*certificate, error) {
	if files.Cert == "" {
		return nil, nil
	}
	c := &certificate{files: files}
	return c, c.reload()
}

// reload reads the files again; on an error the certificate stays as it was.
func (c *certificate) reload() error {
	apply, err := c.prepare(c.files)
	if err != nil {
		c.failed.Store(&err)
		return err
	}
	apply()
	return nil
}

// prepare reads files that apply puts in the place of those that are in use.
func (c *certificate) prepare(files TLSFiles) (apply func(), err error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		e := sigbox.Errorf(sigbox.Invalid, "cannot use the TLS certificate: %w", err)
		if errors.Is(err, os.ErrNotExist) {
			e = e.WithHint("check --tls-cert and --tls-key")
		}
		return nil, e
	}
	return func() {
		c.files = files
		c.current.Store(&pair)
		c.failed.Store(nil)
	}, nil
}

func (c *certificate) config() *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
