// Package clocktest has NTP servers for tests, good ones and others.
package clocktest

import (
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// packetSize is that of a packet of NTP without extensions (RFC 5905 §7.3).
const packetSize = 48

// Serve answers on a loopback address each request as reply makes it, with any number of
// packets, until the test ends. It gives the address.
func Serve(t testing.TB, reply func(request []byte) [][]byte) string {
	t.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer(conn, reply)
	}()
	t.Cleanup(func() {
		_ = conn.Close() // ends answer
		<-done
	})
	return conn.LocalAddr().String()
}

func answer(conn net.PacketConn, reply func([]byte) [][]byte) {
	b := make([]byte, 1024)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		for _, p := range reply(b[:n]) {
			if _, err := conn.WriteTo(p, from); err != nil {
				return
			}
		}
	}
}

// Good is the answer of a server of stratum 2 whose clock is some time ahead of this
// machine's.
func Good(request []byte, ahead time.Duration) []byte {
	const secondsTo1970 = 2208988800
	p := make([]byte, packetSize)
	p[0], p[1] = 4<<3|4, 2 // version, server; stratum
	copy(p[24:], request[40:])
	now := time.Now().Add(ahead)
	at := uint64(now.Unix()+secondsTo1970)<<32 | uint64(now.Nanosecond())<<32/uint64(time.Second) // #nosec G115 -- after 1900
	binary.BigEndian.PutUint64(p[32:], at)
	binary.BigEndian.PutUint64(p[40:], at)
	return p
}

// Changed gives a good answer with something else in it.
func Changed(change func(packet []byte)) func(request []byte) [][]byte {
	return func(request []byte) [][]byte {
		p := Good(request, 0)
		change(p)
		return [][]byte{p}
	}
}
