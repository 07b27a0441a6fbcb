package app

import (
	"net"
	"net/netip"
	"sync"

	"github.com/sigbox/sigbox/internal/limit"
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
type slots struct {
	free    chan struct{} // as many elements as there are connections
	each    int           // for one address
	exempt  func(netip.Addr) bool
	refused func() // is told of connections beyond each

	mu   sync.Mutex
	held map[string]int // by address; guarded by mu, and no larger than free
}

// newSlots makes room for total connections, of which one address may hold each, three
// quarters of them if that is 0. Exempt are proxies, which hold them for others.
func newSlots(total, each int, exempt func(netip.Addr) bool, refused func()) *slots {
	if each == 0 {
		each = max(1, total-total/4)
	}
	return &slots{free: make(chan struct{}, total), each: each, exempt: exempt, refused: refused, held: map[string]int{}}
}

// limit makes a listener that holds no more connections than there are slots.
func (s *slots) limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, slots: s, closed: make(chan struct{})}
}

// enter notes a connection of an address, unless it has too many, and gives what is to be
// called when it ends.
func (s *slots) enter(from netip.Addr) (leave func(), ok bool) {
	if s.exempt(from) || !from.IsValid() {
		return func() { <-s.free }, true
	}
	key := limit.AddressKey(from)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key] >= s.each {
		return nil, false
	}
	s.held[key]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held[key]--; s.held[key] == 0 {
			delete(s.held, key)
		}
		<-s.free
	}, true
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

// Close makes room for another connection.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
