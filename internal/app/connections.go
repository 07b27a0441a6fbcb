package app

import (
	"net"
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

// limitConnections makes a listener that holds at most limit connections: whoever
// opens them by the thousand and says nothing must not use up the descriptors that
// the store needs to go on writing.
func limitConnections(l net.Listener, limit int) net.Listener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, limit), closed: make(chan struct{})}
}

type limitedListener struct {
	net.Listener
	slots  chan struct{} // as many elements as there are connections
	closed chan struct{} // closed by Close
	once   sync.Once
}

// Accept waits for room, and then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.slots })}, nil
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
