package limit

import (
	"net/netip"
	"sync"
)

// Shares divide what there is a number of, such as connections, among the addresses
// that ask: whoever takes them by the thousand must not use up all. They are safe for
// concurrent use, and the zero value is ready.
//
// What somebody may hold depends on how many are free: of all when all are, a quarter
// when half are, and one as long as there is any. So one address that is alone gets
// three eighths of them, and a flood from many gets less the more it holds: the next one
// takes a share of what is left, squared, and the rest stays for newcomers. The networks
// that an address is in have such a bound too, some times as large, so that one address
// does not shut out its neighbours.
type Shares struct {
	mu   sync.Mutex
	held map[netip.Prefix]int64 // guarded by mu, and no larger than some times what there is
}

// Stock is what there is when somebody asks.
type Stock struct {
	// Total is all that there is, and Free what nobody else has: what is asked for too.
	Total, Free int64
	// Each is what one address may hold at most, whatever its share is; 0 is no such bound.
	Each int64
}

// allowed is what one address may hold that asks for n.
func (s Stock) allowed(n int64) int64 {
	return max(n, int64(float64(s.Free)*float64(s.Free)/float64(s.Total)))
}

// share is how many times as many as one address a network may hold whose addresses have
// so many bits in common.
type share struct{ bits, times int }

// shares are those of the networks that an address is in, its own first. Of IPv6 whoever
// has one address has 64 bits of them, and often a /56 or a /48.
func shares(a netip.Addr) [3]share {
	if a.Is4() {
		return [3]share{{32, 1}, {24, 2}, {16, 3}}
	}
	return [3]share{{64, 1}, {56, 2}, {48, 3}}
}

// networks are those that an address is in, as shares has them.
func networks(a netip.Addr) (in [3]netip.Prefix) {
	a = a.Unmap().WithZone("")
	for i, share := range shares(a) {
		in[i] = netip.PrefixFrom(a, share.bits).Masked()
	}
	return in
}

// Take notes n for an address, which [Shares.Give] takes back, unless that is more than
// it may hold.
func (s *Shares) Take(a netip.Addr, n int64, of Stock) bool {
	in := networks(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, share := range shares(a.Unmap()) {
		if s.held[in[i]]+n > int64(share.times)*of.allowed(n) {
			return false
		}
	}
	if of.Each > 0 && s.held[in[0]]+n > of.Each {
		return false
	}
	if s.held == nil {
		s.held = map[netip.Prefix]int64{}
	}
	for _, network := range in {
		s.held[network] += n
	}
	return true
}

// Give ends what Take has noted.
func (s *Shares) Give(a netip.Addr, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, network := range networks(a) {
		if s.held[network] -= n; s.held[network] == 0 {
			delete(s.held, network)
		}
	}
}

// Held is what the addresses of a network hold, one of those by which shares go.
func (s *Shares) Held(network netip.Prefix) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[network]
}
