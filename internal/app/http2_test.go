package app

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is a client of HTTP/2 that sends what it likes.
type peer struct {
	*http2.Framer
	conn   net.Conn
	text   bytes.Buffer
	hpack  *hpack.Encoder
	stream uint32 // the next one
}

// newPeer greets the server at the other end.
func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Helper()
	p, err := greet(conn)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func greet(conn net.Conn) (*peer, error) {
	p := &peer{Framer: http2.NewFramer(conn, conn), conn: conn, stream: 1}
	p.hpack, p.AllowIllegalWrites = hpack.NewEncoder(&p.text), true
	_, err := io.WriteString(conn, http2.ClientPreface)
	if err == nil {
		err = p.WriteSettings()
	}
	return p, err
}

// request opens a stream and leaves its body open.
func (p *peer) request(path string) (stream uint32, err error) {
	p.text.Reset()
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: path}} {
		if err := p.hpack.WriteField(f); err != nil {
			return 0, err
		}
	}
	stream = p.stream
	p.stream += 2
	return stream, p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.text.Bytes(), EndHeaders: true})
}

// ending reads until the server says that it ends the connection, or has ended it, and
// gives the reason.
func (p *peer) ending() (code http2.ErrCode, said bool) {
	for {
		f, err := p.ReadFrame()
		if err != nil {
			return code, false
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			return g.ErrCode, true
		}
	}
}

// drain reads until the connection has ended.
func (p *peer) drain() {
	for {
		if _, err := p.ReadFrame(); err != nil {
			return
		}
	}
}

// attacks are what a connection of HTTP/2 can do over and over for little. Each is one
// step of it.
func attacks() map[string]func(*peer) error {
	reset := func(how func(p *peer, stream uint32) error) func(*peer) error {
		return func(p *peer) error {
			stream, err := p.request("/api/v2/log/entries")
			if err == nil {
				err = how(p, stream)
			}
			return err
		}
	}
	headers := func(p *peer) []byte {
		p.text.Reset()
		_ = p.hpack.WriteField(hpack.HeaderField{Name: "x", Value: string(make([]byte, 8000)), Sensitive: true}) // to memory
		return p.text.Bytes()
	}
	return map[string]func(*peer) error{
		// Streams are opened and reset at once.
		"CVE-2023-44487 rapid reset": reset(func(p *peer, stream uint32) error { return p.WriteRSTStream(stream, http2.ErrCodeCancel) }),
		// The client has the server reset them, by frames that are errors.
		"CVE-2025-8671 made you reset, by a window of nothing": reset(func(p *peer, stream uint32) error { return p.WriteWindowUpdate(stream, 0) }),
		"CVE-2025-8671 made you reset, by a window that overflows": reset(func(p *peer, stream uint32) error {
			return p.WriteWindowUpdate(stream, 1<<31-1)
		}),
		"CVE-2025-8671 made you reset, by data after the end": reset(func(p *peer, stream uint32) error {
			return errors.Join(p.WriteData(stream, true, nil), p.WriteData(stream, true, []byte("x")))
		}),
		// Headers without end.
		"CVE-2023-45288 CONTINUATION flood": func(p *peer) error {
			if p.stream == 1 {
				p.stream += 2
				return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(p)})
			}
			return p.WriteContinuation(1, false, headers(p))
		},
		// What has to be answered, or looked at,
		// and is nothing.
		"CVE-2019-9512 ping flood":     func(p *peer) error { return p.WritePing(false, [8]byte{}) },
		"CVE-2019-9515 settings flood": func(p *peer) error { return p.WriteSettings() },
		"CVE-2019-9518 empty frames": func(p *peer) error {
			if p.stream == 1 {
				_, err := p.request("/api/v2/log/entries")
				return err
			}
			return p.WriteData(1, false, nil)
		},
	}
}

// dripping is a server in memory whose handlers wait until they are let go.
type dripping struct {
	conns        chan net.Conn
	server       *http.Server
	served       chan error
	release      chan struct{}
	running, top atomic.Int64
}

func newDripping() *dripping {
	d := &dripping{conns: make(chan net.Conn), served: make(chan error, 1), release: make(chan struct{})}
	d.server = newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := d.running.Add(1)
		defer d.running.Add(-1)
		for top := d.top.Load(); n > top && !d.top.CompareAndSwap(top, n); top = d.top.Load() {
		}
		<-d.release
	}), nil, slog.New(slog.DiscardHandler))
	l := pipes{d.conns, sync.OnceFunc(func() { close(d.conns) })}
	go func() { d.served <- d.server.Serve(l) }()
	return d
}

func (d *dripping) dial() net.Conn {
	ours, theirs := net.Pipe()
	d.conns <- theirs
	return ours
}

func (d *dripping) end() {
	close(d.release)
	_ = d.server.Close()
	<-d.served
}

// TestHTTP2ResetFloods: handlers of streams that were reset still count, so that a
// connection cannot have more of them run than it may have streams, and is ended with the
// reason. Of headers without end no more is read than headers may be long.
func TestHTTP2ResetFloods(t *testing.T) {
	const most = 20_000 // steps, were the server to put up with them
	for name, reason := range map[string]http2.ErrCode{
		"CVE-2023-44487 rapid reset":                               http2.ErrCodeEnhanceYourCalm,
		"CVE-2025-8671 made you reset, by a window of nothing":     http2.ErrCodeEnhanceYourCalm,
		"CVE-2025-8671 made you reset, by a window that overflows": http2.ErrCodeEnhanceYourCalm,
		"CVE-2025-8671 made you reset, by data after the end":      http2.ErrCodeEnhanceYourCalm,
		"CVE-2023-45288 CONTINUATION flood":                        http2.ErrCodeProtocol,
	} {
		t.Run(name, func(t *testing.T) {
			d := newDripping()
			defer d.end()
			conn := d.dial()
			defer conn.Close()
			p := newPeer(t, conn)
			told := make(chan struct{})
			var code http2.ErrCode
			var said bool
			go func() {
				reader := &peer{Framer: http2.NewFramer(io.Discard, conn)}
				code, said = reader.ending()
				close(told)
				reader.drain()
			}()
			ended := func() bool {
				select {
				case <-told:
					return true
				default:
					return false
				}
			}
			steps := 0
			for ; steps < most && !ended() && attacks()[name](p) == nil; steps++ {
			}
			if steps == most {
				t.Fatal("the server puts up with it")
			}
			<-told
			if !said || code != reason {
				t.Errorf("ended with %v (%v), expected %v", code, said, reason)
			}
			if top := d.top.Load(); top > maxStreams {
				t.Errorf("%d handlers ran at once, expected at most %d", top, maxStreams)
			}
			if name == "CVE-2023-45288 CONTINUATION flood" && steps > 4*maxHeaderBytes/8000 {
				t.Errorf("%d frames of headers were read", steps)
			}
		})
	}
}

// TestHTTP2UnreadAnswers: who asks for answers and does not read them is hung up on before
// they fill the memory. Of settings there is one answer to all that wait for one.
func TestHTTP2UnreadAnswers(t *testing.T) {
	d := newDripping()
	defer d.end()
	conn := d.dial()
	defer conn.Close()
	p := newPeer(t, conn)
	const most = 100_000
	steps := 0
	for ; steps < most && attacks()["CVE-2019-9512 ping flood"](p) == nil; steps++ {
	}
	if steps == most {
		t.Error("the server puts up with it")
	}
}

// TestHTTP2Settings: what a client is told that it may do.
func TestHTTP2Settings(t *testing.T) {
	d := newDripping()
	defer d.end()
	conn := d.dial()
	defer conn.Close()
	p := &peer{Framer: http2.NewFramer(conn, conn)}
	go func() {
		_, _ = io.WriteString(conn, http2.ClientPreface)
		_ = p.WriteSettings() // a failure shows below
	}()
	f, err := p.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := f.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("found %v", f)
	}
	for id, want := range map[http2.SettingID]uint32{
		http2.SettingMaxConcurrentStreams: maxStreams, http2.SettingMaxFrameSize: frameSize, http2.SettingInitialWindowSize: streamBuffer,
	} {
		if got, _ := s.Value(id); got != want {
			t.Errorf("%v: expected %d, found %d", id, want, got)
		}
	}
	if got, ok := s.Value(http2.SettingMaxHeaderListSize); !ok || got > 2*maxHeaderBytes {
		t.Errorf("headers may have %d bytes", got)
	}
}

// TestHTTP2Slow: whoever is slow at something of HTTP/2 is hung up on, or its stream is
// ended, in a bounded time.
func TestHTTP2Slow(t *testing.T) {
	for name, begin := range map[string]func(p *peer) error{
		"headers without end": func(p *peer) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		},
		"half a frame": func(p *peer) error {
			_, err := p.conn.Write([]byte{0, 0, 100, 0})
			return err
		},
		"a body without end": func(p *peer) error {
			_, err := p.request("/body")
			return err
		},
		"a window of nothing": func(p *peer) error {
			err := p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			if err == nil {
				_, err = p.request("/large")
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
					if _, err := w.Write(make([]byte, 10<<20)); err == nil {
						t.Error("it was written to somebody who does not read")
					}
				})
				mux.HandleFunc("/body", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				server := newServer(mux, nil, slog.New(slog.DiscardHandler))
				conns, served := make(chan net.Conn), make(chan error, 1)
				go func() { served <- server.Serve(pipes{conns, sync.OnceFunc(func() { close(conns) })}) }()
				ours, theirs := net.Pipe()
				conns <- theirs
				gone := make(chan struct{})
				p := newPeer(t, ours)
				go func() {
					defer close(gone)
					(&peer{Framer: http2.NewFramer(io.Discard, ours)}).drain()
				}()
				start := time.Now()
				if err := begin(p); err != nil {
					t.Fatal(err)
				}
				<-gone
				if took := time.Since(start); took > writeTimeout+idleTimeout+5*time.Second {
					t.Errorf("it took %v", took)
				}
				_ = ours.Close()
				_ = server.Close()
				<-served
			})
		})
	}
}

// AttackNames are the names of the attacks, and Attack does one on a connection of HTTP/2
// until that ends.
func AttackNames() []string { return slices.Sorted(maps.Keys(attacks())) }

// Attack does what is called name.
func Attack(conn net.Conn, name string) {
	var reading sync.WaitGroup
	reading.Go((&peer{Framer: http2.NewFramer(io.Discard, conn)}).drain)
	p, err := greet(conn)
	for step := attacks()[name]; err == nil; {
		err = step(p)
	}
	_ = conn.Close()
	reading.Wait()
}
