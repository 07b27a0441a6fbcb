package app

import (
	"errors"
	"net"
	"testing"
)

func TestConnections(t *testing.T) {
	for descriptors, want := range map[uint64]int{0: 16384, 1: 1, 1024: 512, 1 << 20: 16384, 1<<64 - 1: 16384} {
		if got := connections(descriptors); got != want {
			t.Errorf("%d descriptors: expected %d connections, found %d", descriptors, want, got)
		}
	}
}

// TestLimitConnections: one more connection than there is room for waits until
// another is closed, or until the listener is.
func TestLimitConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limitConnections(inner, 2)
	accepted := make(chan net.Conn, 8)
	done := make(chan error, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				done <- err
				return
			}
			accepted <- c
		}
	}()
	for range 4 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	if n := len(accepted); n != 0 {
		t.Errorf("%d connections more than there is room for", n)
	}
	for range 2 { // to close twice makes room once
		if err := first.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	}
	third := <-accepted
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("expected net.ErrClosed, found %v", err)
	}
	if len(accepted) != 0 {
		t.Error("a connection was accepted without room")
	}
	for _, c := range []net.Conn{second, third} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
