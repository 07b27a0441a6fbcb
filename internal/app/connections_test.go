package app

import (
	"errors"
	"net"
	"net/netip"
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
	l := newSlots(2, 2, func(netip.Addr) bool { return false }, func() {}).limit(inner)
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

// TestConnectionsPerAddress: one address cannot hold all connections. Its next one is
// closed at once, those of others and of proxies are not.
func TestConnectionsPerAddress(t *testing.T) {
	refused := 0
	proxy := netip.MustParseAddr("192.0.2.1")
	s := newSlots(8, 0, func(a netip.Addr) bool { return a == proxy }, func() { refused++ })
	greedy := netip.MustParseAddr("2001:db8::1")
	var leave []func()
	enter := func(a netip.Addr) bool {
		s.free <- struct{}{}
		l, ok := s.enter(a)
		if ok {
			leave = append(leave, l)
		} else {
			<-s.free
		}
		return ok
	}
	for i := range 6 { // three quarters
		if !enter(greedy) {
			t.Fatalf("connection %d was refused", i)
		}
	}
	if enter(netip.MustParseAddr("2001:db8::2")) {
		t.Error("its network has one more")
	}
	if !enter(netip.MustParseAddr("198.51.100.7")) || !enter(proxy) {
		t.Error("others have none")
	}
	for _, l := range leave {
		l()
	}
	if len(s.held) != 0 || len(s.free) != 0 {
		t.Errorf("left behind: %v, %d", s.held, len(s.free))
	}

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newSlots(4, 1, s.exempt, s.refused).limit(inner)
	defer l.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	held, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	second := dial()
	accepted := make(chan net.Conn)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("the second connection was answered")
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	dial()
	if c := <-accepted; c == nil {
		t.Error("there is room again, and no connection")
	} else if err := c.Close(); err != nil {
		t.Error(err)
	}
	if refused != 1 {
		t.Errorf("told of %d", refused)
	}
}
