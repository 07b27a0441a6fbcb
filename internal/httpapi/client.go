package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// The headers in which proxies say whom they speak for.
const (
	forwardedForHeader = "X-Forwarded-For"
	forwardedHeader    = "Forwarded" // RFC 7239
)

// UnixProxy stands in the place of an address for who comes by a Unix socket.
const UnixProxy = "unix"

// maxHops bounds the proxies that are walked through.
const maxHops = 32

// Proxies are those whose word is taken for where a request comes from, and for its id.
// The zero value trusts nobody.
type Proxies struct {
	networks []netip.Prefix
	unix     bool
	standard bool // Forwarded, not X-Forwarded-For
}

// NewProxies reads whom to trust: addresses, networks, and [UnixProxy] for the peers of
// a Unix socket. header is the one that all of them write, X-Forwarded-For if "", or
// Forwarded. Only one is read: proxies pass the other on as a client has sent it.
func NewProxies(trusted []string, header string) (*Proxies, error) {
	p := &Proxies{standard: strings.EqualFold(header, forwardedHeader)}
	if header != "" && !p.standard && !strings.EqualFold(header, forwardedForHeader) {
		return nil, sigbox.Mismatch(sigbox.Invalid, "the header of proxies", "x-forwarded-for or forwarded", header)
	}
	for _, text := range trusted {
		if text == UnixProxy {
			p.unix = true
			continue
		}
		network, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil {
			network, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil || network != network.Masked() || strings.Contains(text, "%") {
			return nil, sigbox.Mismatch(sigbox.Invalid, "a trusted proxy", "an address, a network such as 10.0.0.0/8, or unix", text)
		}
		p.networks = append(p.networks, network)
	}
	return p, nil
}

// trusts reports whether a proxy with an address is believed.
func (p *Proxies) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(a) })
}

// Trusts reports whether whoever has an address is a proxy that speaks for others. The
// zero address is that of a Unix socket's peer.
func (p *Proxies) Trusts(a netip.Addr) bool {
	if p == nil {
		return false
	}
	if !a.IsValid() {
		return p.unix
	}
	return p.trusts(a.Unmap())
}

// client finds where a request comes from: its peer or, if that is a trusted proxy, the
// nearest hop behind it that is none. proxied says that the peer was one.
func (p *Proxies) client(r *http.Request) (client netip.Addr, proxied bool) {
	var peer netip.Addr
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		peer = ap.Addr().Unmap().WithZone("")
	}
	if !p.Trusts(peer) {
		return peer, false
	}
	hops := p.hops(r.Header)
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxHops; i-- {
		hop, err := parseHop(hops[i])
		if err != nil {
			break // a proxy that does not say: itself is all that is known
		}
		peer = hop
		if !p.trusts(hop) {
			break
		}
	}
	return peer, true
}

// hops are what proxies have written, the nearest last.
func (p *Proxies) hops(h http.Header) (hops []string) {
	name := forwardedForHeader
	if p.standard {
		name = forwardedHeader
	}
	for _, line := range h[name] {
		for hop := range strings.SplitSeq(line, ",") {
			if p.standard {
				hop = forwardedFor(hop)
			}
			hops = append(hops, strings.TrimSpace(hop))
		}
	}
	return hops
}

// forwardedFor gives the node of an element of Forwarded (RFC 7239 §4), "" if it names
// none.
func forwardedFor(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseHop reads an address with or without a port (RFC 7239 §6).
func parseHop(text string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return a.Unmap().WithZone(""), err
}

// request is what the guard knows of a request.
type request struct {
	id     string
	client netip.Addr // not valid if it is unknown
}

type requestKey struct{}

func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// RequestID gives the id of the request that ctx belongs to, "" if there is none.
func RequestID(ctx context.Context) string { return requestOf(ctx).id }

// ClientAddress gives where the request comes from that ctx belongs to; it is not valid
// if that is unknown.
func ClientAddress(ctx context.Context) netip.Addr { return requestOf(ctx).client }
