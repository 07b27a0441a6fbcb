package tsa_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	encoding "encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tsa"
	"github.com/sigbox/sigbox/wire/timestamp"
)

var signature = []byte("a signature's bytes")

// clock is a clock that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newService(t testing.TB, c *clock) *tsa.Service {
	t.Helper()
	leaf := newKey(t)
	chain, err := tsa.NewChain(tsa.ChainConfig{Root: newKey(t), Leaf: leaf.Public(), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	s, err := tsa.New(tsa.Config{Key: leaf, Chain: chain, URL: "http://localhost/api/v1/timestamp", Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newClock() *clock { return &clock{time.Date(2026, 5, 6, 7, 8, 9, 999_999_999, time.UTC)} }

func request(t testing.TB, change func(*timestamp.Request)) []byte {
	t.Helper()
	r := timestamp.Request{Digest: sigbox.SHA256.Sum(signature)}
	if change != nil {
		change(&r)
	}
	der, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestStamp(t *testing.T) {
	c := newClock()
	s := newService(t, c)
	serials := map[string]bool{}
	for range 20 {
		resp, err := s.Stamp(t.Context(), request(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		at, err := timestamp.Verify(resp, signature, s.CertificateAuthorities()[0])
		if err != nil {
			t.Fatal(err)
		}
		if want := c.now.Truncate(time.Second); !at.Equal(want) {
			t.Errorf("expected %v, found %v", want, at)
		}
		tok, err := timestamp.Parse(resp)
		if err != nil {
			t.Fatal(err)
		}
		if n := tok.SerialNumber(); n.BitLen() < 150 || n.BitLen() > 160 {
			t.Errorf("a serial number of %d bits", n.BitLen())
		}
		serials[string(tok.Serial)] = true
	}
	if len(serials) != 20 {
		t.Error("a serial number came twice")
	}
}

// The chain of a new authority, and what the trust root says of it, start before
// its first use at a whole second.
func TestNewChain(t *testing.T) {
	c := newClock()
	s := newService(t, c)
	ca := s.CertificateAuthorities()[0]
	want := c.now.Truncate(time.Second).Add(-5 * time.Minute)
	if !ca.ValidFor.Start.Equal(want) || !ca.ValidFor.End.IsZero() {
		t.Errorf("expected a period from %v on, found %v", want, ca.ValidFor)
	}
	if len(ca.Chain) != 2 || ca.URI != "http://localhost/api/v1/timestamp" || ca.Organization != "sigbox" {
		t.Errorf("unexpected authority %+v", ca)
	}
	for i, der := range ca.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if len(cert.SubjectKeyId) != 20 || cert.IsCA != (i == 1) || cert.NotBefore.After(want) || cert.SerialNumber.Sign() <= 0 {
			t.Errorf("certificate %d: %+v", i, cert)
		}
	}
	block, rest := pem.Decode(s.ChainPEM())
	if block == nil || !bytes.Equal(block.Bytes, s.Chain()[0]) || len(rest) == 0 {
		t.Error("the PEM chain does not begin with the leaf")
	}
}

// What is well-formed but not served is rejected in the protocol's own words.
func TestStampRejects(t *testing.T) {
	s := newService(t, newClock())
	for name, c := range map[string]struct {
		der     []byte
		failure timestamp.Failure
	}{
		"SHA-1":  {[]byte("\x30\x26\x02\x01\x01\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14aaaaaaaaaaaaaaaaaaaa"), timestamp.BadAlgorithm},
		"policy": {request(t, func(r *timestamp.Request) { r.Policy = encoding.ObjectIdentifier{1, 2, 3} }), timestamp.UnacceptedPolicy},
		"extension": {request(t, func(r *timestamp.Request) {
			r.Extensions = []byte{0x30, 0x07, 0x06, 0x03, 0x2a, 0x03, 0x04, 0x04, 0x00}
		}), timestamp.UnacceptedExtension},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := s.Stamp(t.Context(), c.der)
			if err != nil {
				t.Fatal(err)
			}
			_, err = timestamp.Parse(resp)
			if f, ok := errors.AsType[timestamp.Failure](err); !ok || f != c.failure {
				t.Errorf("expected reason %v, found %v", c.failure, err)
			}
			t.Log(err)
		})
	}
	if _, err := s.Stamp(t.Context(), []byte("no DER")); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected Invalid, found %v", err)
	}
}

// Fail closed: a clock that stepped back gives no timestamps, until it is past the
// time of the last one.
func TestClockSteppedBack(t *testing.T) {
	c := newClock()
	s := newService(t, c)
	stamp := func() error {
		_, err := s.Stamp(t.Context(), request(t, nil))
		if (err == nil) != (s.Err() == nil) {
			t.Errorf("readiness says %v, the request %v", s.Err(), err)
		}
		return err
	}
	begin := c.now
	if err := stamp(); err != nil {
		t.Fatal(err)
	}
	c.now = begin.Add(-time.Second)
	if err := stamp(); err != nil {
		t.Errorf("a step within the stated accuracy: %v", err)
	}
	for _, step := range []time.Duration{-2 * time.Second, -time.Minute, -time.Hour} {
		c.now = begin.Add(step)
		err := stamp()
		if err == nil || sigbox.KindOf(err) != sigbox.Unavailable || !strings.Contains(err.Error(), "clock") {
			t.Errorf("a step of %v: %v", step, err)
		}
	}
	c.now = begin.Add(time.Second)
	if err := stamp(); err != nil {
		t.Errorf("the clock is right again: %v", err)
	}
}

func TestClockOutsideCertificate(t *testing.T) {
	c := newClock()
	s := newService(t, c)
	for _, off := range []time.Duration{-6 * time.Minute, 11 * 365 * 24 * time.Hour} {
		c.now = newClock().now.Add(off)
		_, err := s.Stamp(t.Context(), request(t, nil))
		if err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("the clock is off by %v: %v", off, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	leaf := newKey(t)
	chain, err := tsa.NewChain(tsa.ChainConfig{Root: newKey(t), Leaf: leaf.Public(), Organization: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]tsa.Config{
		"no key":      {Chain: chain},
		"no chain":    {Key: leaf},
		"another key": {Key: newKey(t), Chain: chain},
		"root first":  {Key: leaf, Chain: [][]byte{chain[1], chain[0]}},
	} {
		if _, err := tsa.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	broken := iotest.ErrReader(errors.New("no entropy"))
	if _, err := tsa.NewChain(tsa.ChainConfig{Root: leaf, Leaf: leaf.Public(), Rand: broken}); err == nil {
		t.Error("a chain without randomness was made")
	}
	s, err := tsa.New(tsa.Config{Key: leaf, Chain: chain, Rand: broken})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stamp(t.Context(), request(t, nil)); err == nil || sigbox.KindOf(err) != sigbox.Internal {
		t.Errorf("expected Internal, found %v", err)
	}
}

func TestStampAtOnce(t *testing.T) {
	s := newService(t, newClock())
	der := request(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				resp, err := s.Stamp(t.Context(), der)
				if err == nil {
					_, err = timestamp.Verify(resp, signature, s.CertificateAuthorities()[0])
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkStamp(b *testing.B) {
	s := newService(b, newClock())
	der := request(b, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Stamp(b.Context(), der); err != nil {
				b.Fatal(err)
			}
		}
	})
}
