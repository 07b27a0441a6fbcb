//go:build !linux

package app

import "net"

// peerName says who is at the other end of a Unix socket, which is unknown here.
func peerName(net.Conn) string { return "" }
