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
	l := newSlots(2, 0, func(netip.Addr) bool { return true }, func() {}).limit(inner)
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

// room is a process's slots, as listeners take them.
type room struct {
	*slots
	leaving []func()
}

// enter reports whether an address got a connection.
func (r *room) enter(from string) bool {
	select {
	case r.free <- struct{}{}:
	default:
		return false
	}
	leave, ok := r.slots.enter(netip.MustParseAddr(from))
	if ok {
		r.leaving = append(r.leaving, leave)
	} else {
		<-r.free
	}
	return ok
}

// fill has an address take what it gets.
func (r *room) fill(from string) (n int) {
	for r.enter(from) {
		n++
	}
	return n
}

func (r *room) empty() {
	for _, leave := range r.leaving {
		leave()
	}
	r.leaving = nil
}

// TestShares: an address gets half of the connections, its network more, and nobody all:
// there is one left for whoever has none. Proxies have any number.
func TestShares(t *testing.T) {
	const proxy = "192.0.2.1"
	r := &room{slots: newSlots(1000, 0, func(a netip.Addr) bool { return a.String() == proxy }, func() {})}
	if n := r.fill("2001:db8::1"); n < 375 || n > 385 {
		t.Errorf("an address holds %d of 1000", n)
	}
	if r.enter("2001:db8::2") {
		t.Error("its /64 has one more")
	}
	if !r.enter("2001:db8:0:1::1") || !r.enter("2001:db8:0:100::1") || !r.enter("198.51.100.7") || !r.enter("::ffff:198.51.100.7") {
		t.Error("others have none")
	}
	for i := range 1 << 10 { // of a /48
		r.fill(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, byte(i), byte(i >> 8), 15: 1}).String())
	}
	if n := r.held.Held(netip.MustParsePrefix("2001:db8::/48")); n > 600 {
		t.Errorf("a /48 holds %d of 1000", n)
	}
	for i := range 1 << 10 { // and of a /16 besides
		r.fill(netip.AddrFrom4([4]byte{203, 0, byte(i), byte(i >> 8)}).String())
	}
	if left := cap(r.free) - len(r.free); left < 200 {
		t.Errorf("two networks leave %d of 1000", left)
	}
	if !r.enter("192.0.2.77") || !r.enter("2001:db8:1::1") || !r.enter(proxy) {
		t.Error("others have none")
	}
	r.empty()
	if len(r.free) != 0 {
		t.Errorf("left behind: %d", len(r.free))
	}
}

// TestSharesOfManyNetworks: a flood from fifty networks does not get the last connections.
func TestSharesOfManyNetworks(t *testing.T) {
	r := &room{slots: newSlots(maxConnections, 0, func(netip.Addr) bool { return false }, func() {})}
	for i := range 50 {
		r.fill(netip.AddrFrom4([4]byte{100, byte(i), 0, 1}).String())
	}
	for i := range 100 {
		if !r.enter(netip.AddrFrom4([4]byte{10, byte(i), 0, 1}).String()) {
			t.Fatalf("newcomer %d has no connection", i)
		}
	}
}

// TestConnectionsPerAddress: what one address may have can be set lower, and be changed.
// Its next connection is closed at once.
func TestConnectionsPerAddress(t *testing.T) {
	nobody := func(netip.Addr) bool { return false }
	refused := 0
	s := newSlots(100, 3, nobody, func() { refused++ })
	r := &room{slots: s}
	if n := r.fill("192.0.2.1"); n != 3 {
		t.Errorf("expected 3, found %d", n)
	}
	s.change(1, nobody)
	if n := r.fill("192.0.2.2"); n != 1 || r.enter("192.0.2.1") {
		t.Errorf("expected 1, found %d", n)
	}
	s.change(0, nobody)
	if !r.enter("192.0.2.2") {
		t.Error("the bound of before still holds")
	}
	r.empty()

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newSlots(4, 1, nobody, s.refused).limit(inner)
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
