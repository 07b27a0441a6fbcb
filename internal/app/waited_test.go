package app

import (
	"bufio"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/gate"
)

// counted is a connection inside of another.
type counted struct{ net.Conn }

func (c counted) NetConn() net.Conn { return c.Conn }

// TestWaited: a request has waited since the system received it, whoever has read it.
func TestWaited(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	served := tls.Server(counted{conn}, &tls.Config{})
	for range 2 {
		if _, err := client.Write([]byte("a request")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		if got := sinceReceived(served); got > time.Minute {
			t.Errorf("just received: %v", got)
		}
		if runtime.GOOS == "linux" {
			for sinceReceived(served) < 8*time.Millisecond { // ends as soon as the system's clock goes on
				if time.Since(from) > time.Minute {
					t.Fatal("no time passes")
				}
				runtime.Gosched()
			}
		}
	}
}

// TestNotTold: where the system does not say how long, nobody has waited.
func TestNotTold(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	l, err := net.Listen("unix", t.TempDir()+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	unix, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	closed, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Close(), closed.Close()
	for name, c := range map[string]net.Conn{"a pipe": a, "a Unix socket": unix, "a connection that is closed": closed, "none": nil} {
		if got := sinceReceived(c); got != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLateRequests: a server that gets to its requests late refuses all but a few of
// them, by what the system says of their connections.
func TestLateRequests(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not say when a connection received something")
	}
	const slots, clients = 2, 8
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := gate.New(gate.Config{What: "the test", Slots: slots})
	server := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visit, err := g.Knock(r.Context())
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		visit.End()
	}), nil, slog.New(slog.DiscardHandler))
	conns := make([]net.Conn, clients)
	for i := range conns { // the system takes them before anybody accepts
		if conns[i], err = net.Dial("tcp", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conns[i].Close() }()
		if _, err := io.WriteString(conns[i], "GET / HTTP/1.1\r\nHost: test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // the server is held up: for longer than anybody may wait
	limited := newSlots(clients, 0, func(netip.Addr) bool { return true }, func() {}).limit(l)
	go func() { _ = server.Serve(limited) }() // ends when it is closed
	defer func() { _ = server.Close() }()
	answers := map[int]int{}
	for _, c := range conns {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // it is empty
		answers[resp.StatusCode]++
	}
	if answers[http.StatusOK] != slots || answers[http.StatusServiceUnavailable] != clients-slots || g.Refused() != clients-slots {
		t.Errorf("found %v, %d counted", answers, g.Refused())
	}
}
