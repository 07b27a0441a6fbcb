package app

import (
	"time"

	"golang.org/x/sys/unix"
)

// lastReceived is how long ago a TCP socket received data, 0 if it is none.
func lastReceived(fd uintptr) time.Duration {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) // #nosec G115 -- a descriptor
	if err != nil {
		return 0
	}
	return time.Duration(info.Last_data_recv) * time.Millisecond
}
