package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
)

// source is a keys.Source in memory, with a wrong turn for each test.
type source struct {
	mu     sync.Mutex
	list   []crypto.Signer // the newest first
	public error           // what Public fails with
	sign   func(key crypto.Signer, input []byte, hash crypto.Hash) ([]byte, error)
	signed int
	made   int
}

func (s *source) Public(context.Context) ([]crypto.PublicKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []crypto.PublicKey
	for _, k := range s.list {
		list = append(list, k.Public())
	}
	if len(list) == 0 && s.public == nil {
		return nil, sigbox.Errorf(sigbox.NotFound, "no such key")
	}
	return list, s.public
}

func (s *source) Create(_ context.Context, details sigbox.KeyDetails) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := keys.Generate(details)
	s.list, s.made = append(s.list, key), s.made+1
	return err
}

func (s *source) Sign(ctx context.Context, pub crypto.PublicKey, input []byte, hash crypto.Hash) ([]byte, error) {
	s.mu.Lock()
	f := s.sign
	s.signed++
	var key crypto.Signer
	for _, k := range s.list {
		if keys.SamePublic(k.Public(), pub) {
			key = k
		}
	}
	s.mu.Unlock()
	if f == nil {
		return key.Sign(rand.Reader, input, hash)
	}
	sig, err := f(key, input, hash)
	if errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done()
		return nil, sigbox.Errorf(sigbox.Unavailable, "%w", ctx.Err())
	}
	return sig, err
}

func (s *source) set(f func(crypto.Signer, []byte, crypto.Hash) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sign = f
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func outside(s *source, details sigbox.KeyDetails, change ...func(*keys.OutsideConfig)) (*keys.Outside, *lines) {
	log := &lines{}
	cfg := keys.OutsideConfig{
		Name: "ca", Place: keys.Place{Scheme: "test", Key: "ca"}, Source: s, Details: details,
		Idle: time.Hour, Retry: time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, f := range change {
		f(&cfg)
	}
	return keys.NewOutside(cfg), log
}

func connected(t *testing.T, s *source, details sigbox.KeyDetails, change ...func(*keys.OutsideConfig)) (*keys.Outside, *lines) {
	t.Helper()
	o, log := outside(s, details, change...)
	if err := o.Connect(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return o, log
}

func TestOutsideSigns(t *testing.T) {
	for _, details := range []sigbox.KeyDetails{sigbox.ECDSAP256SHA256, sigbox.Ed25519, sigbox.RSAPKCS1v15With2048} {
		s := &source{}
		o, _ := connected(t, s, details)
		message := []byte("hello")
		input := message
		if h := details.Hash(); h.Valid() {
			input = h.Sum(message).Value
		}
		sig, err := o.Sign(nil, input, details.SignerOpts())
		if err != nil {
			t.Fatal(err)
		}
		if err := details.VerifyMessage(o.Public(), message, sig); err != nil {
			t.Error(err)
		}
		if s.made != 1 || s.count() != 2 {
			t.Errorf("%s: %d keys were made, %d signatures asked for", details, s.made, s.count())
		}
		if _, err := o.Sign(nil, input, crypto.SHA512); err == nil {
			t.Errorf("%s: it signs by another hash", details)
		}
		if _, err := o.Sign(nil, input, nil); err == nil {
			t.Errorf("%s: it signs by no hash", details)
		}
	}
}

// TestOutsideIsTheKeyThatIsKnown: a key that is known is looked for among all versions,
// and another one is not taken for it.
func TestOutsideIsTheKeyThatIsKnown(t *testing.T) {
	old, newer := generate(t, sigbox.ECDSAP256SHA256), generate(t, sigbox.ECDSAP256SHA256)
	known := func(c *keys.OutsideConfig) { c.Public = old.Public() }
	o, _ := connected(t, &source{list: []crypto.Signer{newer, old}}, sigbox.ECDSAP256SHA256, known)
	if !keys.SamePublic(o.Public(), old.Public()) {
		t.Error("it is the newer one")
	}
	o, _ = outside(&source{list: []crypto.Signer{newer}}, sigbox.ECDSAP256SHA256, known)
	expectKind(t, o.Connect(t.Context(), false), sigbox.Invalid, "another one than this instance has used")
	expectKind(t, o.Err(), sigbox.Unavailable, "another key")

	o, _ = outside(&source{list: []crypto.Signer{newer}}, sigbox.Ed25519)
	expectKind(t, o.Connect(t.Context(), true), sigbox.Invalid, "expected one for PKIX_ED25519, found one that is ECDSA P-256")
	if o.Public() != nil {
		t.Error("a key of another kind was taken")
	}
	o, _ = outside(&source{}, sigbox.Ed25519)
	expectKind(t, o.Connect(t.Context(), false), sigbox.NotFound, "no such key")
}

// TestOutsideBelievesNothing: a signature that is not the key's reaches nobody.
func TestOutsideBelievesNothing(t *testing.T) {
	other := generate(t, sigbox.ECDSAP256SHA256)
	for name, sign := range map[string]func(crypto.Signer, []byte, crypto.Hash) ([]byte, error){
		"another key's": func(_ crypto.Signer, b []byte, h crypto.Hash) ([]byte, error) { return other.Sign(rand.Reader, b, h) },
		"of another text": func(k crypto.Signer, b []byte, h crypto.Hash) ([]byte, error) {
			return k.Sign(rand.Reader, h.New().Sum(nil), h)
		},
		"empty":    func(crypto.Signer, []byte, crypto.Hash) ([]byte, error) { return nil, nil },
		"raw r, s": func(crypto.Signer, []byte, crypto.Hash) ([]byte, error) { return make([]byte, 64), nil },
		"cut off": func(k crypto.Signer, b []byte, h crypto.Hash) ([]byte, error) {
			s, err := k.Sign(rand.Reader, b, h)
			return s[:len(s)-1], err
		},
		"and more": func(k crypto.Signer, b []byte, h crypto.Hash) ([]byte, error) {
			s, err := k.Sign(rand.Reader, b, h)
			return append(s, 0), err
		},
		"a refusal": func(crypto.Signer, []byte, crypto.Hash) ([]byte, error) {
			return nil, sigbox.Errorf(sigbox.Denied, "no")
		},
	} {
		s := &source{}
		o, log := connected(t, s, sigbox.ECDSAP256SHA256)
		s.set(sign)
		sig, err := o.Sign(nil, make([]byte, 32), crypto.SHA256)
		if err == nil || sig != nil || sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("%s: found %x, %v", name, sig, err)
		}
		if s.count() != 2 {
			t.Errorf("%s: it was asked again", name)
		}
		if o.Err() == nil || !strings.Contains(log.String(), "cannot sign") {
			t.Errorf("%s: nobody is told: %v, %s", name, o.Err(), log)
		}
		o, _ = outside(s, sigbox.ECDSAP256SHA256)
		if err := o.Connect(t.Context(), false); err == nil {
			t.Errorf("%s: it does to start with", name)
		}
	}
}

// TestOutsideIsAskedAgain: once, when the source says that it may work.
func TestOutsideIsAskedAgain(t *testing.T) {
	s := &source{}
	o, log := connected(t, s, sigbox.ECDSAP256SHA256)
	failed := false
	s.set(func(k crypto.Signer, b []byte, h crypto.Hash) ([]byte, error) {
		if !failed {
			failed = true
			return nil, sigbox.Errorf(sigbox.Unavailable, "the connection was closed")
		}
		return k.Sign(rand.Reader, b, h)
	})
	if _, err := o.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		t.Error(err)
	}
	if o.Err() != nil || log.String() != "" {
		t.Errorf("found %v, %s", o.Err(), log)
	}
}

// TestOutsideComesBack: while the source is away nobody waits for it, and when it is
// back that is found out without anybody's help.
func TestOutsideComesBack(t *testing.T) {
	s := &source{}
	o, log := connected(t, s, sigbox.ECDSAP256SHA256, func(c *keys.OutsideConfig) { c.Idle = 2 * time.Millisecond })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- o.Watch(ctx) }()
	wait := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			if t.Context().Err() != nil {
				t.Fatal(what)
			}
			time.Sleep(time.Millisecond)
		}
	}
	s.set(func(crypto.Signer, []byte, crypto.Hash) ([]byte, error) {
		return nil, sigbox.Errorf(sigbox.Unavailable, "the token s.12345 is on fire")
	})
	wait("that it is away is not noticed while nobody signs", func() bool { return o.Err() != nil })
	_, err := o.Sign(nil, make([]byte, 32), crypto.SHA256)
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok || e.Kind != sigbox.Unavailable || strings.Contains(e.Public(), "fire") {
		t.Errorf("found %v", err)
	}
	if e, ok := errors.AsType[*sigbox.Error](o.Err()); !ok || strings.Contains(e.Public(), "fire") {
		t.Errorf("found %v", o.Err())
	}
	s.set(nil)
	wait("that it is back is not noticed", func() bool { return o.Err() == nil })
	if _, err := o.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "a key cannot sign"); n != 1 || strings.Count(log.String(), "signs again") != 1 {
		t.Errorf("it is told %d times:\n%s", n, log)
	}
}

// TestOutsideWaitsForABoundedTime: a source that hangs is given up.
func TestOutsideWaitsForABoundedTime(t *testing.T) {
	key := generate(t, sigbox.Ed25519)
	s := &source{list: []crypto.Signer{key}}
	o, _ := outside(s, sigbox.Ed25519, func(c *keys.OutsideConfig) { c.Timeout, c.Public = 50*time.Millisecond, key.Public() })
	s.set(func(crypto.Signer, []byte, crypto.Hash) ([]byte, error) { return nil, context.DeadlineExceeded })
	_, err := o.Sign(nil, []byte("hello"), crypto.Hash(0))
	expectKind(t, err, sigbox.Unavailable, "cannot sign at present")
	expectKind(t, o.Err(), sigbox.Unavailable, "in time")
	if s.count() != 1 {
		t.Error("it was asked again")
	}
}
