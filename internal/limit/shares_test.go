package limit

import (
	"net/netip"
	"testing"
)

// TestShares: an address gets three eighths, its networks some times as much, and nobody
// all: there is some left for whoever has none.
func TestShares(t *testing.T) {
	const total = 8000
	var s Shares
	var took int64
	take := func(a netip.Addr, n, each int64) bool {
		if free := total - took; free < n || !s.Take(a, n, Stock{Total: total, Free: free, Each: each}) {
			return false
		}
		took += n
		return true
	}
	fill := func(a netip.Addr, n, each int64) (got int64) {
		for take(a, n, each) {
			got += n
		}
		return got
	}
	first, neighbour, far := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("2001:db8::1%eth0")
	if n := fill(first, 7, 0); n < 3*total/8-30 || n > 3*total/8+70 {
		t.Errorf("one address holds %d of %d", n, total)
	}
	if !take(neighbour, 1, 0) {
		t.Error("its neighbour has nothing")
	}
	if n := fill(far, 1, 10); n != 10 {
		t.Errorf("an address holds %d, expected 10", n)
	}
	for i := range 200 {
		fill(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1, 0)
	}
	if n := s.Held(netip.MustParsePrefix("192.0.2.0/24")); n > total/2+total/50 {
		t.Errorf("a /24 holds %d of %d", n, total)
	}
	if !take(netip.MustParseAddr("203.0.113.1"), total-took, 0) { // however large, if it is there
		t.Error("a newcomer has nothing")
	}
	for network, n := range s.held {
		if network.Bits() == 32 || network.Bits() == 64 {
			s.Give(network.Addr(), n)
		}
	}
	if len(s.held) != 0 {
		t.Errorf("left behind: %v", s.held)
	}
}
