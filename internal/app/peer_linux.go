package app

import (
	"net"
	"syscall"
)

// peerName says who is at the other end of a Unix socket, "" if that is unknown.
func peerName(c net.Conn) (name string) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) { // the name stays ""
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			name = processName(int(cred.Uid), int(cred.Pid))
		}
	})
	return name
}
