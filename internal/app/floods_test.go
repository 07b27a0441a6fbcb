package app_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// TestFloodsOverTLS: while connections of HTTP/2 are flooded in each way that is known, an
// instance serves those who are not part of it, and afterwards is as it was.
func TestFloodsOverTLS(t *testing.T) {
	files := app.TLSFiles{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	writeCertificate(t, files, 1)
	a := apptest.Start(t, func(c *app.Config) { c.Flags.TLS = files })
	for _, name := range app.AttackNames() {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			var floods sync.WaitGroup
			defer floods.Wait()
			defer end()
			began := make(chan bool)
			for range 2 {
				floods.Go(func() {
					for first := true; ctx.Err() == nil; first = false {
						conn := dialHTTP2(t, ctx, a)
						if first {
							began <- true
						}
						if conn == nil {
							return // it is over
						}
						stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
						app.Attack(conn, name)
						stop()
					}
				})
			}
			<-began
			<-began
			for range 20 {
				if serial, proto := hello(t, a); serial != 1 || proto != "HTTP/2.0" { // on a connection of its own
					t.Errorf("found %d over %s", serial, proto)
				}
			}
			client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
			defer client.CloseIdleConnections()
			for range 20 { // on one
				resp, err := client.Get(a.URL() + "/api/v2/checkpoint")
				if err != nil {
					t.Fatal(err)
				}
				if status, body := readAll(t, resp); status != http.StatusOK {
					t.Errorf("found %d %s", status, body)
				}
			}
		})
	}
}

// dialHTTP2 opens a connection of HTTP/2, nil once ctx has ended.
func dialHTTP2(t *testing.T, ctx context.Context, a *app.App) net.Conn {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(a.URL(), "https://"))
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return nil
	}
	return conn
}
