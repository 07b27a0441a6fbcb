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

// TestRenewedCertificate: a certificate is read again where a symbolic link leads to
// another directory, as Kubernetes and others renew them; a broken pair keeps the old one
// and is told of.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	at := time.Now()
	version := func(name string, serial int64) {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		files := app.TLSFiles{Cert: filepath.Join(dir, name, "tls.crt"), Key: filepath.Join(dir, name, "tls.key")}
		writeCertificate(t, files, serial)
		for _, path := range []string{files.Cert, files.Key} { // as from an archive
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	point := func(name string) {
		made := filepath.Join(dir, "..new")
		if err := os.Symlink(name, made); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(made, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("first", 1)
	point("first")
	for _, name := range []string{"tls.crt", "tls.key"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	log := newLogLines()
	a := apptest.Start(t, func(c *app.Config) {
		c.Flags.TLS = app.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
		c.Poll, c.Logger = time.Millisecond, slog.New(slog.NewTextHandler(log, nil))
	})
	version("second", 2)
	point("second")
	log.wait(t, "settings reloaded")
	if serial, _ := hello(t, a); serial != 2 {
		t.Errorf("expected the new certificate, found %d", serial)
	}
	version("third", 3)
	writeFile(t, filepath.Join(dir, "third", "tls.key"), "no key")
	point("third")
	log.wait(t, "the TLS certificate was not reloaded")
	if serial, _ := hello(t, a); serial != 2 {
		t.Errorf("expected the old certificate to stay, found %d", serial)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if _, metrics := readAll(t, resp); !strings.Contains(metrics, "sigbox_tls_certificate_reload_failed 1") || !strings.Contains(metrics, "sigbox_tls_certificate_expiry_seconds 1.") {
		t.Error("the metrics do not say so")
	}
}
