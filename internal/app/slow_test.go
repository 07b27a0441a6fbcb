package app

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	close func()
}

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { p.close(); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

// TestSlowClients: whoever sends a byte now and then, or does not read what was asked
// for, is hung up on in a bounded time, whatever it is slow at.
func TestSlowClients(t *testing.T) {
	for name, tt := range map[string]struct {
		begin string
		drip  string // every second
		most  time.Duration
	}{
		"says nothing":            {"", "", readHeaderTimeout},
		"a header without end":    {"GET /small HTTP/1.1\r\nHost: a\r\nX: ", "x", readHeaderTimeout},
		"a body without end":      {"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", "x", readTimeout},
		"chunks without end":      {"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", readTimeout},
		"does not read":           {"GET /large HTTP/1.1\r\nHost: a\r\n\r\n", "", writeTimeout},
		"HTTP/2 and nothing else": {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", idleTimeout},
		"idle":                    {"GET /small HTTP/1.1\r\nHost: a\r\n\r\n", "", idleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mux := http.NewServeMux()
				mux.HandleFunc("GET /small", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "small") })
				written := make(chan struct{})
				mux.HandleFunc("GET /large", func(w http.ResponseWriter, _ *http.Request) {
					defer close(written)
					if _, err := w.Write(make([]byte, 10<<20)); err == nil {
						t.Error("it was written to somebody who does not read")
					}
				})
				mux.HandleFunc("POST /body", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
				server := newServer(mux, nil, slog.New(slog.DiscardHandler))
				conns := make(chan net.Conn)
				l := pipes{conns, sync.OnceFunc(func() { close(conns) })}
				served := make(chan error, 1)
				go func() { served <- server.Serve(l) }()
				ours, theirs := net.Pipe()
				l.conns <- theirs
				start := time.Now()
				if tt.begin != "" {
					if _, err := io.WriteString(ours, tt.begin); err != nil {
						t.Fatal(err)
					}
				}
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if name == "does not read" {
						<-written // a pipe holds nothing
						return
					}
					_, _ = io.Copy(io.Discard, ours)
				}()
				for alive := true; alive; {
					select {
					case <-gone:
						alive = false
					case <-time.After(time.Second):
						if tt.drip != "" {
							if _, err := io.WriteString(ours, tt.drip); err != nil {
								alive = false
							}
						}
					}
				}
				if took := time.Since(start); took > tt.most+5*time.Second {
					t.Errorf("it took %v, expected at most %v", took, tt.most)
				}
				_ = ours.Close()
				_ = server.Close()
				<-served
			})
		})
	}
}
