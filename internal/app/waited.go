package app

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/sigbox/sigbox/internal/gate"
)

// withWaited tells gates how long requests have waited that come by a connection.
func withWaited(ctx context.Context, c net.Conn) context.Context {
	return gate.WithWaited(ctx, func() time.Duration { return sinceReceived(c) })
}

// sinceReceived tells how long ago the last of what has been received on a connection
// came to this machine, whether it has been read or not. It is 0 where the system does
// not say, and less than a request has waited where requests share a connection.
func sinceReceived(c net.Conn) (since time.Duration) {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn }) // of TLS, and of who counts connections
		if !ok {
			break
		}
		c = outer.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { since = lastReceived(fd) }) // stays 0
	return since
}
