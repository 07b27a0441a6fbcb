package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

func TestTLS(t *testing.T) {
	files := app.TLSFiles{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	writeCertificate(t, files, 1)
	log := newLogLines()
	a := apptest.Start(t, func(c *app.Config) {
		c.Flags.TLS, c.Poll, c.Logger = files, time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	})
	if !strings.HasPrefix(a.URL(), "https://") {
		t.Errorf("found the URL %s", a.URL())
	}
	if serial, proto := hello(t, a); serial != 1 || proto != "HTTP/2.0" {
		t.Errorf("expected certificate 1 over HTTP/2.0, found %d over %s", serial, proto)
	}
	writeCertificate(t, files, 2)
	log.wait(t, "settings reloaded")
	a.Reload() // between the two files the watcher may have seen half a change
	if serial, _ := hello(t, a); serial != 2 {
		t.Errorf("expected the new certificate, found %d", serial)
	}
	if err := os.WriteFile(files.Cert, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.Reload()
	if serial, _ := hello(t, a); serial != 2 {
		t.Errorf("expected the old certificate to stay, found %d", serial)
	}
}

func TestHTTP2WithoutTLS(t *testing.T) {
	a := apptest.Start(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.URL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := readAll(t, resp); status != http.StatusOK || resp.Proto != "HTTP/2.0" {
		t.Errorf("found %d over %s", status, resp.Proto)
	}
}

// hello gives the serial number of the certificate that a new connection meets.
func hello(t *testing.T, a *app.App) (serial int64, proto string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
	}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.URL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := readAll(t, resp); status != http.StatusOK {
		t.Errorf("found %d", status)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto
}

// writeCertificate writes a self-signed certificate.
func writeCertificate(t *testing.T, files app.TLSFiles, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, files.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	writeFile(t, files.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
