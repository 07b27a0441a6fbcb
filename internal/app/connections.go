package app

import (
	"net"
	"net/netip"
	"sync"
)

// maxConnections is how many connections are held at once; more wait in the
// system's queue. It is well above what requests in flight need.
const maxConnections = 16384

// connections is how many connections a process may hold that may have so many
// descriptors: half of them, the rest is the store's.
func connections(descriptors uint64) int {
	if descriptors == 0 {
		return maxConnections
	}
	return int(max(1, min(descriptors/2, maxConnections))) // #nosec G115 -- at most maxConnections
}

// slots are the connections that a process may hold, on all of its addresses: whoever
// opens them by the thousand and says nothing must not use up the descriptors that
// the store needs to go on writing, nor all of the slots.
//
// What somebody may hold depends on how many slots are free: of all when all are, a
// quarter when half are, and one as long as there is any. So one address that is alone
// gets three eighths of them, and a flood from many gets less the more it holds: the
// next one takes a share of what is left, squared, and the rest stays for newcomers. The
// networks that an address is in have such a bound too, some times as large, so that one
// address does not shut out its neighbours.
type slots struct {
	free    chan struct{} // as many elements as there are connections
	refused func()        // is told of connections beyond a share

	mu     sync.Mutex
	each   int                   // for one address, besides its share; guarded by mu
	exempt func(netip.Addr) bool // guarded by mu
	held   map[netip.Prefix]int  // guarded by mu, and no larger than some times free
}

// share is how many times as many connections as one address a network may hold whose
// addresses have so many bits in common.
type share struct{ bits, times int }

// shares are those of the networks that an address is in, its own first. Of IPv6 whoever
// has one address has 64 bits of them, and often a /56 or a /48.
func shares(a netip.Addr) [3]share {
	if a.Is4() {
		return [3]share{{32, 1}, {24, 2}, {16, 3}}
	}
	return [3]share{{64, 1}, {56, 2}, {48, 3}}
}

// allowed is what one address may hold while so many slots are free.
func (s *slots) allowed(free int) int { return max(1, free*free/cap(s.free)) }

// newSlots makes room for total connections, of which one address may hold each, and its
// share alone if that is 0. Exempt are proxies, which hold them for others.
func newSlots(total, each int, exempt func(netip.Addr) bool, refused func()) *slots {
	s := &slots{free: make(chan struct{}, total), refused: refused, held: map[netip.Prefix]int{}}
	s.change(each, exempt)
	return s
}

// change has other bounds hold, for connections to come.
func (s *slots) change(each int, exempt func(netip.Addr) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if each == 0 {
		each = cap(s.free)
	}
	s.each, s.exempt = each, exempt
}

// limit makes a listener that holds no more connections than there are slots.
func (s *slots) limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, slots: s, closed: make(chan struct{})}
}

// enter notes a connection of an address, unless it has too many, and gives what is to be
// called when it ends. Its slot has been taken already.
func (s *slots) enter(from netip.Addr) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = from.Unmap().WithZone("")
	if s.exempt(from) || !from.IsValid() {
		return func() { <-s.free }, true
	}
	free := cap(s.free) - len(s.free) + 1 // with the one that was taken
	var networks [3]netip.Prefix
	for i, share := range shares(from) {
		networks[i] = netip.PrefixFrom(from, share.bits).Masked()
		if s.held[networks[i]] >= share.times*s.allowed(free) {
			return nil, false
		}
	}
	if s.held[networks[0]] >= s.each {
		return nil, false
	}
	for _, n := range networks {
		s.held[n]++
	}
	return func() { s.leave(networks) }, true
}

// leave is the end of a connection from an address of networks.
func (s *slots) leave(networks [3]netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range networks {
		if s.held[n]--; s.held[n] == 0 {
			delete(s.held, n)
		}
	}
	<-s.free
}

type limitedListener struct {
	net.Listener
	slots  *slots
	closed chan struct{} // closed by Close
	once   sync.Once
}

// Accept waits for room, and then for a connection of somebody who may have one more.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots.free
			return nil, err
		}
		if leave, ok := l.slots.enter(addressOf(c)); ok {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(leave)}, nil
		}
		l.slots.refused()
		_ = c.Close() // it was never heard
	}
}

// Close ends Accept.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	leave func()
}

// NetConn is the connection itself.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }

// Close makes room for another connection.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
