package ca_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
)

// source is a KeySource with one set.
func source(set ca.KeySet) ca.KeySource {
	return ca.KeySourceFunc(func(context.Context, ca.KeyRequest) (ca.KeySet, error) { return set, nil })
}

// remote is a KeySource that counts, and fails when told to.
type remote struct {
	mu    sync.Mutex
	keys  []jose.JSONWebKey
	age   time.Duration
	err   error
	calls atomic.Int32
	gate  chan struct{} // nil: open
}

func (r *remote) Keys(_ context.Context, _ ca.KeyRequest) (ca.KeySet, error) {
	r.calls.Add(1)
	if r.gate != nil {
		<-r.gate
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return ca.KeySet{Keys: r.keys, MaxAge: r.age}, r.err
}

func (r *remote) set(err error, keys ...jose.JSONWebKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.keys = err, keys
}

func (r *remote) fetched(t *testing.T, want int32) {
	t.Helper()
	if got := r.calls.Load(); got != want {
		t.Fatalf("expected %d fetches so far, found %d", want, got)
	}
}

// newRemote makes an instance that fetches keys from a remote.
func newRemote(t *testing.T, url string) (*instance, *remote) {
	t.Helper()
	r := &remote{}
	i := &instance{clock: fixture.NewClock(start()), log: &ctLog{key: fixture.Key(t)}, idp: newProvider(t)}
	r.keys = []jose.JSONWebKey{i.idp.jwk()}
	root, key := fixture.Key(t), fixture.Key(t)
	chain := must(ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public(), Now: i.clock.Now}))
	i.Service = must(ca.New(ca.Config{
		Key: key, Chain: chain, CTLog: i.log, Keys: r, Now: i.clock.Now,
		Issuers: []ca.Issuer{{URL: url, Type: ca.Email}},
	}))
	return i, r
}

func (i *instance) fresh(t *testing.T) error {
	t.Helper()
	c := alice()
	c["exp"] = i.clock.Now().Add(time.Minute).Unix()
	return i.issueWith(t, i.idp.token(t, c))
}

func TestKeysAreKept(t *testing.T) {
	i, r := newRemote(t, "https://issuer.example.com")
	for range 3 {
		if err := i.fresh(t); err != nil {
			t.Fatal(err)
		}
	}
	r.fetched(t, 1)
	i.clock.Add(11 * time.Minute) // the default age
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 2)
	r.age = 100 * time.Hour // longer than is believed
	i.clock.Add(11 * time.Minute)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	i.clock.Add(59 * time.Minute)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 3)
	i.clock.Add(2 * time.Minute)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 4)
}

// TestUnknownKeysFetchSeldom: everybody can make tokens of keys that nobody
// knows, under new names or under those of real ones.
func TestUnknownKeysFetchSeldom(t *testing.T) {
	for name, kid := range map[string]func(n int) string{
		"new names":  func(n int) string { return fmt.Sprint("unknown-", n) },
		"real names": func(int) string { return "key-1" },
	} {
		t.Run(name, func(t *testing.T) {
			i, r := newRemote(t, "https://issuer.example.com")
			if err := i.fresh(t); err != nil {
				t.Fatal(err)
			}
			stranger := fixture.Key(t)
			flood := func() {
				for n := range 100 {
					p := &provider{stranger, jose.ES256, kid(n)}
					refused(t, i.issueWith(t, p.token(t, with("exp", i.clock.Now().Add(time.Minute).Unix()))), sigbox.Unauthenticated, "")
					i.clock.Add(time.Millisecond)
				}
			}
			flood()
			r.fetched(t, 1+5)
			i.clock.Add(10 * time.Second)
			flood()
			r.fetched(t, 1+5+1)
			if err := i.fresh(t); err != nil { // the flood stops nobody
				t.Fatal(err)
			}
		})
	}
}

// TestNewKeys: an issuer's new key is found at once, under a new name and under
// an old one.
func TestNewKeys(t *testing.T) {
	i, r := newRemote(t, "https://issuer.example.com")
	for n, kid := range []string{"key-1", "key-2", "key-2", "key-1"} {
		i.idp = &provider{fixture.Key(t), jose.ES256, kid}
		r.set(nil, i.idp.jwk())
		if err := i.fresh(t); err != nil {
			t.Fatal(err)
		}
		r.fetched(t, int32(n+1))
		i.clock.Add(time.Second)
	}
}

func TestIssuerThatIsDown(t *testing.T) {
	i, r := newRemote(t, "https://issuer.example.com")
	down := errors.New("no route to host")
	r.set(down)
	refused(t, i.fresh(t), sigbox.Unavailable, "cannot be fetched now")
	refused(t, i.fresh(t), sigbox.Unavailable, "cannot be fetched now")
	r.fetched(t, 1)
	i.clock.Add(3 * time.Second)
	r.set(nil, i.idp.jwk())
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 2)
	// What was fetched is used for a day while it cannot be fetched again.
	r.set(down)
	i.clock.Add(time.Hour)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	i.clock.Add(25 * time.Hour)
	refused(t, i.fresh(t), sigbox.Unavailable, "cannot be fetched now")
	// A set without usable keys is no better than none.
	r.set(nil)
	i.clock.Add(time.Hour)
	refused(t, i.fresh(t), sigbox.Unavailable, "cannot be fetched now")
}

// TestClockBack: after a clock that jumped back, nothing is issued, and keys are fetched
// again.
func TestClockBack(t *testing.T) {
	i, r := newRemote(t, "https://issuer.example.com")
	i.clock.Add(time.Hour)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	i.clock.Add(-time.Hour)
	refused(t, i.fresh(t), sigbox.Unavailable, "stepped back")
	c := alice()
	c["exp"] = i.clock.Now().Add(time.Minute).Unix()
	if _, err := i.Explain(t.Context(), i.idp.token(t, c)); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 2)
}

// TestOneFetchForAll: many tokens at once cause one fetch, and one that goes away
// does not take the keys from the others.
func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, r := newRemote(t, "https://issuer.example.com")
		r.gate = make(chan struct{})
		token := i.idp.token(t, alice())
		ctx, cancel := context.WithCancel(t.Context())
		req := request(t, token, "alice@example.com")
		var wg sync.WaitGroup
		var gone error
		wg.Go(func() { _, gone = i.Issue(ctx, req) })
		synctest.Wait()
		errs := make([]error, 10)
		for n := range errs {
			wg.Go(func() { _, errs[n] = i.Issue(t.Context(), req) })
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(r.gate)
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		refused(t, gone, sigbox.Unavailable, "gave up waiting")
		r.fetched(t, 1)
	})
}

// TestSlowIssuer: while an issuer that was down is asked again, tokens of keys
// that are known do not wait.
func TestSlowIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, r := newRemote(t, "https://issuer.example.com")
		if err := i.fresh(t); err != nil {
			t.Fatal(err)
		}
		r.set(errors.New("down"))
		i.clock.Add(time.Hour)
		if err := i.fresh(t); err != nil {
			t.Fatal(err)
		}
		r.gate = make(chan struct{})
		i.clock.Add(time.Minute)
		if err := i.fresh(t); err != nil { // would wait for the gate for ever
			t.Fatal(err)
		}
		close(r.gate)
	})
}

// TestManyIssuers: a wildcard lets tokens name any number of issuers; keys are
// kept for a bounded number of them.
func TestManyIssuers(t *testing.T) {
	i, r := newRemote(t, "https://*.example.com")
	token := func(n int) error { // the token is good, and there is no key to certify
		_, err := i.Issue(t.Context(), sigbox.CertificateRequest{Token: i.idp.token(t, with("iss", fmt.Sprintf("https://i%d.example.com", n)))})
		if err != nil && sigbox.KindOf(err) == sigbox.Invalid {
			return nil
		}
		return fmt.Errorf("issuer %d: %w", n, err)
	}
	for n := range 1100 {
		if err := token(n); err != nil {
			t.Fatal(err)
		}
		i.clock.Add(time.Millisecond)
	}
	r.fetched(t, 1100)
	if err := errors.Join(token(1099), token(500)); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 1100)
	if err := token(0); err != nil { // its keys were dropped
		t.Fatal(err)
	}
	r.fetched(t, 1101)
}

// TestManyIssuersHarmNobody: tokens that name ever new issuers of a wildcard neither
// push out the keys of those that are written out, nor cause connections without end.
func TestManyIssuersHarmNobody(t *testing.T) {
	i, r := newRemote(t, "https://issuer.example.com")
	if err := i.SetIssuers([]ca.Issuer{{URL: "https://issuer.example.com", Type: ca.Email}, {URL: "https://*.example.com", Type: ca.Email}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	named := func(t *testing.T, n int) error {
		_, err := i.Issue(t.Context(), sigbox.CertificateRequest{Token: i.idp.token(t, with("iss", fmt.Sprintf("https://i%d.example.com", n)))})
		return err
	}
	for n := range 1100 {
		i.clock.Add(time.Millisecond)
		refused(t, named(t, n), sigbox.Invalid, "") // the token is good, and there is no key to certify
	}
	r.fetched(t, 1101)
	if err := i.fresh(t); err != nil {
		t.Fatal(err)
	}
	r.fetched(t, 1101)

	synctest.Test(t, func(t *testing.T) {
		r.calls.Store(0)
		r.gate = make(chan struct{})
		var wg sync.WaitGroup
		for n := range 200 {
			wg.Go(func() { _ = named(t, 2000+n) })
		}
		synctest.Wait()
		atOnce := r.calls.Load()
		close(r.gate)
		wg.Wait()
		if atOnce != 32 {
			t.Errorf("expected 32 fetches at once, found %d", atOnce)
		}
		refused(t, named(t, 3000), sigbox.Invalid, "")
	})
}

func TestNoKeySource(t *testing.T) {
	i, _ := newRemote(t, "https://issuer.example.com")
	root, key := fixture.Key(t), fixture.Key(t)
	i.Service = must(ca.New(ca.Config{
		Key: key, Chain: must(ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public()})), CTLog: i.log,
		Issuers: i.Issuers(), Now: i.clock.Now,
	}))
	refused(t, i.fresh(t), sigbox.Unavailable, "cannot be fetched here")
}

func TestParseKeySet(t *testing.T) {
	ec := jose.JSONWebKey{Key: fixture.Key(t).Public(), KeyID: "ec", Use: "sig", Algorithm: "ES256"}
	p521 := jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).Public(), KeyID: "p521"}
	private := jose.JSONWebKey{Key: fixture.Key(t), KeyID: "private"}
	enc := ec
	enc.Use = "enc"
	secret := jose.JSONWebKey{Key: []byte("secret"), KeyID: "oct"}
	weak := jose.JSONWebKey{Key: &rsa.PublicKey{N: must(rsa.GenerateKey(rand.Reader, 2048)).N.Rsh(must(rsa.GenerateKey(rand.Reader, 2048)).N, 1024), E: 65537}, KeyID: "rsa1024"}
	doc := must(json.Marshal(object{"keys": []any{
		ec, p521, private, enc, secret, weak,
		object{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}, // not on the curve
		object{"kty": "AKP", "alg": "ML-DSA-44"}, object{}, 1, "x", nil,
	}, "extra": true}))
	set, err := ca.ParseKeySet(doc)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		if !k.IsPublic() {
			t.Errorf("key %q is not public", k.KeyID)
		}
		ids = append(ids, k.KeyID)
	}
	if got := strings.Join(ids, " "); got != "ec p521 private" {
		t.Errorf("keys %q", got)
	}
	for name, doc := range map[string]string{
		"text": "keys", "list": "[]", "no list": `{"keys":{}}`, "twice": `{"keys":[],"keys":[]}`,
		"many": `{"keys":[` + strings.Repeat("{},", 100) + `{}]}`, "huge": strings.Repeat(" ", 256<<10) + `{}`,
	} {
		if _, err := ca.ParseKeySet([]byte(doc)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseKeySet(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.Public(), KeyID: "1"}}})))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := ca.ParseKeySet(b)
		if err != nil {
			return
		}
		for _, k := range set.Keys {
			if !k.IsPublic() || !k.Valid() {
				t.Fatalf("%+v", k)
			}
		}
	})
}
