package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
)

// TLSState is what a server shows of its TLS, whether it is to be trusted or not.
type TLSState struct {
	// Chain are its certificates, its own first.
	Chain []*x509.Certificate
	// Err is why a client does not trust it; nil if it does.
	Err error
	// Version is that of TLS, and Protocol what was agreed on to speak in it, as "h2".
	Version, Protocol string
}

// ProbeTLS looks at the TLS of a server as a client with the given authorities does; nil
// are the system's. Nothing is sent to it. Errors: Unavailable when there is no TLS to
// look at.
func ProbeTLS(ctx context.Context, rawURL string, roots *x509.CertPool, now time.Time) (TLSState, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return TLSState{}, sigbox.Errorf(sigbox.Invalid, "%.200q is no URL", rawURL)
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "443")
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{
		ServerName: u.Hostname(), NextProtos: []string{"h2", "http/1.1"},
		InsecureSkipVerify: true, // #nosec G402 -- nothing is said; what it shows is verified below, and told
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return TLSState{}, sigbox.Errorf(sigbox.Unavailable, "no TLS at %.200s: %w", addr, err)
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	s := conn.(*tls.Conn).ConnectionState()
	out := TLSState{Chain: s.PeerCertificates, Version: tls.VersionName(s.Version), Protocol: s.NegotiatedProtocol}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, out.Err = s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: u.Hostname(), Roots: roots, Intermediates: between, CurrentTime: now})
	return out, nil
}

// ProbeGRPC asks a certificate authority by gRPC for what it trusts, as sigstore-java
// would: over HTTP/2, at the address of its HTTP API.
func (c *Client) ProbeGRPC(ctx context.Context, baseURL string) error {
	const route = "/dev.sigstore.fulcio.v2.CA/GetTrustBundle"
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	transport := newTransport()
	if own, ok := c.http.Transport.(*http.Transport); ok {
		transport = own.Clone()
	}
	transport.Protocols = &protocols
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, join(baseURL, route), bytes.NewReader(make([]byte, 5))) // an empty message
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "%.200q is no URL", baseURL)
	}
	req.Header.Set("Content-Type", "application/grpc+proto")
	req.Header.Set("Te", "trailers")
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "no HTTP/2 at %.200s: %w", baseURL, rootCause(err))
	}
	defer func() { _ = resp.Body.Close() }() // what was needed of it has been read
	n, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxChainBytes+1))
	if err != nil || n > maxChainBytes {
		return sigbox.Errorf(sigbox.Unavailable, "the answer to a call by gRPC at %.200s breaks off", baseURL)
	}
	status := resp.Trailer.Get("Grpc-Status")
	if status == "" {
		status = resp.Header.Get("Grpc-Status")
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc") || status != "0" {
		return sigbox.Errorf(sigbox.Unavailable, "%.200s%s answers with HTTP status %d and gRPC status %.20q, expected 200 and \"0\"", baseURL, route, resp.StatusCode, status)
	}
	return nil
}

// Check fetches the keys of an issuer from here, where private addresses are nothing
// special.
func (k *IssuerKeys) Check(ctx context.Context, issuer string) error {
	_, err := k.Keys(ctx, ca.KeyRequest{Issuer: issuer, AllowPrivate: true})
	return err
}
