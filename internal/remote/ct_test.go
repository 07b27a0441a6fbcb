package remote

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/cert"
)

// ctLog is a CT log as an authority sees it, which can be made to misbehave. It stands
// in the place of the network.
type ctLog struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	roots [][]byte
	chain [][]byte   // a precertificate and its authority
	fault func(*sct) // changes what is answered
	known []sigbox.TransparencyLog

	mu     sync.Mutex
	refuse func() (status int, err error) // guarded by mu
	asked  map[string]int                 // by route; guarded by mu
}

// sct is the answer of a log.
type sct struct {
	Version    int    `json:"sct_version"`
	ID         []byte `json:"id"`
	Timestamp  uint64 `json:"timestamp"`
	Extensions []byte `json:"extensions"`
	Signature  []byte `json:"signature"`
}

func newCTLog(t *testing.T) *ctLog {
	root := fixture.Key(t)
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ours"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	caDER := made(t)(x509.CreateCertificate(rand.Reader, ca, ca, root.Public(), root))
	pre := made(t)(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now, NotAfter: now.Add(time.Minute), ExtraExtensions: []pkix.Extension{cert.Poison()},
	}, ca, fixture.Key(t).Public(), root))
	l := &ctLog{
		t: t, key: fixture.Key(t), roots: [][]byte{caDER}, chain: [][]byte{pre, caDER},
		asked: map[string]int{}, refuse: func() (int, error) { return 0, nil },
	}
	l.known = []sigbox.TransparencyLog{{PublicKey: l.spki()}}
	return l
}

func made(t *testing.T) func([]byte, error) []byte {
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

// spki is the log's key.
func (l *ctLog) spki() []byte { return made(l.t)(x509.MarshalPKIXPublicKey(l.key.Public())) }

func (l *ctLog) set(refuse func() (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = refuse
}

func (l *ctLog) count(route string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[route]
}

// RoundTrip answers a request.
func (l *ctLog) RoundTrip(r *http.Request) (*http.Response, error) {
	route := r.URL.Path[len("/prefix/ct/v1/"):]
	l.mu.Lock()
	l.asked[route]++
	status, err := l.refuse()
	l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	if status != 0 {
		rec.WriteHeader(status)
		return rec.Result(), nil
	}
	var answer any
	switch route {
	case "add-pre-chain":
		answer = l.add(r)
	case "get-sth":
		answer = l.sth()
	case "get-roots":
		answer = map[string][][]byte{"certificates": l.roots}
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	_, _ = rec.Write(b)
	return rec.Result(), nil
}

func (l *ctLog) add(r *http.Request) sct {
	var in struct{ Chain [][]byte }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Chain) != 2 {
		l.t.Errorf("found the chain %x, %v", in.Chain, err)
	}
	id, err := cert.LogID(l.key.Public())
	if err != nil {
		l.t.Error(err)
	}
	out := sct{ID: id[:], Timestamp: uint64(time.Now().UnixMilli()), Extensions: []byte{0, 0, 5, 0, 0, 0, 0, 7}}
	ca, err := x509.ParseCertificate(in.Chain[1])
	if err != nil {
		l.t.Error(err)
	}
	tbs, err := cert.PrecertTBS(in.Chain[0])
	if err != nil {
		l.t.Error(err)
	}
	input := cert.SCTInput(cert.SCT{Timestamp: out.Timestamp, Extensions: out.Extensions}, sha256.Sum256(ca.RawSubjectPublicKeyInfo), tbs)
	out.Signature = l.sign(input)
	if l.fault != nil {
		l.fault(&out)
	}
	return out
}

func (l *ctLog) sth() treeHeadCT {
	h := treeHeadCT{Size: 3, Timestamp: uint64(time.Now().UnixMilli()), Root: make([]byte, 32)}
	b := binary.BigEndian.AppendUint64([]byte{0, 1}, h.Timestamp)
	h.Signature = l.sign(append(binary.BigEndian.AppendUint64(b, h.Size), h.Root...))
	return h
}

// sign makes a digitally-signed struct.
func (l *ctLog) sign(input []byte) []byte {
	digest := sha256.Sum256(input)
	sig := made(l.t)(l.key.Sign(rand.Reader, digest[:], crypto.SHA256))
	return append([]byte{4, 3, 0, byte(len(sig))}, sig...)
}

// client is that of an authority which knows the log.
func (l *ctLog) client(retries int) *CTLog {
	l.t.Helper()
	c, err := New(Config{Transport: l, Retries: retries}).CTLog(CTLogConfig{URL: "https://ct.example/prefix", Logs: l.known, Root: l.roots[0]})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func TestCTLog(t *testing.T) {
	l := newCTLog(t)
	raw, err := l.client(-1).AddPreChain(t.Context(), l.chain)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cert.ParseSCT(raw)
	if err != nil {
		t.Fatal(err)
	}
	if index, ok, err := got.LeafIndex(); index != 7 || !ok || err != nil {
		t.Errorf("found the index %d, %t, %v", index, ok, err)
	}
}

// TestCTLogBelievesNothing: an SCT that is not the log's, not for this certificate or not
// of now is not embedded, and none of it is the fault of who asks for a certificate.
func TestCTLogBelievesNothing(t *testing.T) {
	other := newCTLog(t)
	for name, fault := range map[string]func(*sct){
		"a later version":     func(s *sct) { s.Version = 1 },
		"another log":         func(s *sct) { s.ID = make([]byte, 32) },
		"no log":              func(s *sct) { s.ID = nil },
		"an hour ago":         func(s *sct) { s.Timestamp -= 3600_000 },
		"in an hour":          func(s *sct) { s.Timestamp += 3600_000 },
		"the beginning":       func(s *sct) { s.Timestamp = 0 },
		"the end":             func(s *sct) { s.Timestamp = 1<<64 - 1 },
		"a moment later":      func(s *sct) { s.Timestamp++ },
		"another place":       func(s *sct) { s.Extensions[7]++ },
		"long extensions":     func(s *sct) { s.Extensions = make([]byte, 1<<16) },
		"no signature":        func(s *sct) { s.Signature = nil },
		"an empty signature":  func(s *sct) { s.Signature = []byte{4, 3, 0, 0} },
		"a cut signature":     func(s *sct) { s.Signature = s.Signature[:20] },
		"another algorithm":   func(s *sct) { s.Signature[1] = 1 },
		"somebody else's key": func(s *sct) { s.Signature = other.sign([]byte("something")) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newCTLog(t)
			l.fault = fault
			c := l.client(-1)
			if _, err := c.AddPreChain(t.Context(), l.chain); sigbox.KindOf(err) != sigbox.Unavailable {
				t.Errorf("expected a refusal, found %v", err)
			}
			if c.Err() == nil {
				t.Error("it is not said that the log is unwell")
			}
		})
	}
	if _, err := New(Config{}).CTLog(CTLogConfig{URL: "https://ct.example", Logs: []sigbox.TransparencyLog{{PublicKey: []byte{1}}}}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v", err)
	}
}

// TestCTLogGoesOn: a log whose key was replaced answers as the one that follows it, of
// which the authority was told before; one of which it was not told, or that is valid no
// more or not yet, has nothing embedded.
func TestCTLogGoesOn(t *testing.T) {
	now := time.Now()
	l := newCTLog(t)
	first := l.known[0]
	l.key = fixture.Key(t)
	next := sigbox.TransparencyLog{PublicKey: l.spki()}
	with := func(v sigbox.TimeRange) sigbox.TransparencyLog { next.ValidFor = v; return next }
	for name, c := range map[string]struct {
		known []sigbox.TransparencyLog
		takes bool
	}{
		"both are known":    {[]sigbox.TransparencyLog{first, with(sigbox.TimeRange{Start: now.Add(-time.Hour)})}, true},
		"the next one only": {[]sigbox.TransparencyLog{next}, true},
		"it is unknown":     {[]sigbox.TransparencyLog{first}, false},
		"it has ended":      {[]sigbox.TransparencyLog{first, with(sigbox.TimeRange{End: now.Add(-time.Minute)})}, false},
		"it is to begin":    {[]sigbox.TransparencyLog{first, with(sigbox.TimeRange{Start: now.Add(time.Minute)})}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l.known = c.known
			log := l.client(-1)
			if _, err := log.AddPreChain(t.Context(), l.chain); (err == nil) != c.takes {
				t.Errorf("an SCT: %v", err)
			}
			if err := log.check(t.Context()); (err == nil) != c.takes {
				t.Errorf("a tree head: %v", err)
			}
		})
	}
	if _, err := New(Config{}).CTLog(CTLogConfig{URL: "https://ct.example"}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("a log without a key: %v", err)
	}
}

// TestCTLogAway: while a log does not answer it is not asked for each certificate, and it
// is found out when it does. One that has too much to do is asked again.
func TestCTLogAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newCTLog(t)
		c := l.client(-1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error)
		go func() { done <- c.Watch(ctx) }()
		add := func() error {
			_, err := c.AddPreChain(t.Context(), l.chain)
			return err
		}
		synctest.Wait()
		if err := add(); err != nil {
			t.Fatal(err)
		}
		l.set(func() (int, error) { return http.StatusServiceUnavailable, nil })
		for range 3 {
			if err := add(); sigbox.KindOf(err) != sigbox.Unavailable || c.Err() != nil {
				t.Errorf("overloaded: found %v, %v", err, c.Err())
			}
		}
		asked := l.count("add-pre-chain")
		l.set(func() (int, error) { return 0, errors.New("nothing is there") })
		for range 10 {
			if err := add(); sigbox.KindOf(err) != sigbox.Unavailable || c.Err() == nil {
				t.Errorf("away: found %v, %v", err, c.Err())
			}
		}
		if now := l.count("add-pre-chain"); now != asked+1 {
			t.Errorf("a log that is away was asked %d times", now-asked)
		}
		time.Sleep(time.Hour)
		if polls := l.count("get-sth"); polls < 700 || polls > 760 { // every five seconds
			t.Errorf("it was looked for %d times in an hour", polls)
		}
		l.set(func() (int, error) { return 0, nil })
		time.Sleep(6 * time.Second)
		if err := add(); err != nil || c.Err() != nil {
			t.Errorf("back again: found %v, %v", err, c.Err())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCTLogOfOthers: a log that does not know the authority, or that is another one, is
// noticed before anybody asks for a certificate.
func TestCTLogOfOthers(t *testing.T) {
	for name, change := range map[string]func(*ctLog){
		"it does not know us":   func(l *ctLog) { l.roots = nil },
		"it has another key":    func(l *ctLog) { l.key = fixture.Key(t) },
		"it is no log":          func(l *ctLog) { l.refuse = func() (int, error) { return http.StatusNotFound, nil } },
		"it knows other chains": func(l *ctLog) { l.roots = [][]byte{{1}, {2}} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newCTLog(t)
				c := l.client(-1)
				change(l)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- c.Watch(ctx) }()
				time.Sleep(time.Second)
				if c.Err() == nil {
					t.Error("it is not said that the log is unwell")
				}
				if _, err := c.AddPreChain(t.Context(), l.chain); sigbox.KindOf(err) != sigbox.Unavailable || l.count("add-pre-chain") != 0 {
					t.Errorf("found %v", err)
				}
				cancel()
				<-done
			})
		})
	}
}
