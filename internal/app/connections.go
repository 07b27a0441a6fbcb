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
	refused func()        // is told of connections beyond a share
	held    limit.Shares

	mu     sync.Mutex
	each   int                   // at most, for one address; guarded by mu
	exempt func(netip.Addr) bool // guarded by mu
}

// newSlots makes room for total connections, of which one address may hold each, and its
// share alone if that is 0. Exempt are proxies, which hold them for others.
func newSlots(total, each int, exempt func(netip.Addr) bool, refused func()) *slots {
	s := &slots{free: make(chan struct{}, total), refused: refused}
	s.change(each, exempt)
	return s
}

// change has other bounds hold, for connections to come.
func (s *slots) change(each int, exempt func(netip.Addr) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	if s.exempt(from.Unmap().WithZone("")) || !from.IsValid() {
		return func() { <-s.free }, true
	}
	free := cap(s.free) - len(s.free) + 1 // with the one that was taken
	if !s.held.Take(from, 1, limit.Stock{Total: int64(cap(s.free)), Free: int64(free), Each: int64(s.each)}) {
		return nil, false
	}
	return func() {
		s.held.Give(from, 1)
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

// NetConn is the connection itself.
func (c *limitedConn) NetConn() net.Conn { return c.Conn }

// Close makes room for another connection.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
