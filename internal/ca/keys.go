package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
)

const (
	// Fetched keys are kept as long as their server says, within these bounds.
	defaultKeyAge = 10 * time.Minute
	minKeyAge     = time.Minute
	maxKeyAge     = time.Hour
	// staleFor is how long keys are used after that when they cannot be fetched.
	staleFor = 24 * time.Hour
	// refetchAfter is how often tokens with unknown keys may cause a fetch in the
	// long run, for each issuer, and refetchBurst how often in a short one.
	refetchAfter = 10 * time.Second
	refetchBurst = 5
	// retryAfter is how long a fetch that failed is not tried again.
	retryAfter = 2 * time.Second
	// fetchTimeout bounds one fetch.
	fetchTimeout = 15 * time.Second
	// Wildcards let tokens name as many issuers as they like: maxCached bounds for
	// how many of those keys are kept, maxFlights from how many they are fetched at
	// once. Issuers that are written out are not counted: those are few.
	maxCached  = 1024
	maxFlights = 32

	maxKeySet  = 256 << 10
	maxKeys    = 100
	minRSABits = 2048
)

// KeySource gives the keys that an issuer signs tokens with.
type KeySource interface {
	// Keys gives the issuer's keys of now. An error of kind Unavailable means
	// that it cannot be reached, any other that its answer cannot be used.
	Keys(ctx context.Context, req KeyRequest) (KeySet, error)
}

// KeyRequest says whose keys are wanted.
type KeyRequest struct {
	// Issuer is the iss claim, which is the issuer's URL.
	Issuer string
	// AllowPrivate lets the issuer live at a private or loopback address.
	AllowPrivate bool
	// CAFile and InCluster are the issuer's; see [Issuer].
	CAFile    string
	InCluster bool
}

// KeySourceFunc makes a KeySource of a function.
type KeySourceFunc func(ctx context.Context, req KeyRequest) (KeySet, error)

// Keys calls f.
func (f KeySourceFunc) Keys(ctx context.Context, req KeyRequest) (KeySet, error) { return f(ctx, req) }

// StaticKeys is a KeySource in this process: what keys gives at each moment.
func StaticKeys(keys func() []jose.JSONWebKey) KeySource {
	return KeySourceFunc(func(context.Context, KeyRequest) (KeySet, error) {
		return KeySet{Keys: keys()}, nil
	})
}

// KeySet is an issuer's published keys.
type KeySet struct {
	// Keys are public keys; those of other kinds are never used.
	Keys []jose.JSONWebKey
	// Algorithms are those that the issuer says it signs ID tokens with; empty
	// when it says nothing.
	Algorithms []string
	// MaxAge is how long the set may be kept, 0 when the issuer says nothing.
	MaxAge time.Duration

	fetched time.Time // when the cache fetched it; zero for sets that are not kept
}

// ParseKeySet reads a JWK set (RFC 7517 §5) of at most 256 KiB and 100 keys. Keys
// that cannot verify a token's signature are left out: those for encryption, of
// unknown types, shared secrets, RSA under 2048 bits.
func ParseKeySet(b []byte) (KeySet, error) {
	if len(b) > maxKeySet {
		return KeySet{}, sigbox.Errorf(sigbox.TooLarge, "key set of %d bytes: at most %d are read", len(b), maxKeySet)
	}
	var raw struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return KeySet{}, sigbox.Errorf(sigbox.Invalid, "key set: not a JWK set (RFC 7517 §5)").WithCause(err)
	}
	if len(raw.Keys) > maxKeys {
		return KeySet{}, sigbox.Errorf(sigbox.TooLarge, "key set: %d keys, at most %d are read", len(raw.Keys), maxKeys)
	}
	var set KeySet
	for _, v := range raw.Keys {
		if k, ok := parseKey(v); ok {
			set.Keys = append(set.Keys, k)
		}
	}
	return set, nil
}

// parseKey reads the members of a JWK that make a public key and leaves the rest,
// certificates among them, alone.
func parseKey(v jsontext.Value) (jose.JSONWebKey, bool) {
	var members struct {
		Kty string `json:"kty"`
		Kid string `json:"kid,omitempty"`
		Use string `json:"use,omitempty"`
		Alg string `json:"alg,omitempty"`
		Crv string `json:"crv,omitempty"`
		X   string `json:"x,omitempty"`
		Y   string `json:"y,omitempty"`
		N   string `json:"n,omitempty"`
		E   string `json:"e,omitempty"`
	}
	if json.Unmarshal(v, &members) != nil {
		return jose.JSONWebKey{}, false
	}
	clean, err := json.Marshal(members)
	if err != nil {
		return jose.JSONWebKey{}, false
	}
	var k jose.JSONWebKey
	if k.UnmarshalJSON(clean) != nil || (k.Use != "" && k.Use != "sig") || !verifies(k.Key) {
		return jose.JSONWebKey{}, false
	}
	return k, true
}

// verifies says whether key is a public key strong enough for tokens.
func verifies(key any) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= minRSABits && k.N.BitLen() <= sigbox.MaxRSABits
	case *ecdsa.PublicKey:
		return true
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}

// fitting gives the keys that a token with this header may be signed by: of its
// key ID, if it names one, and of its algorithm.
func (s KeySet) fitting(h header) []crypto.PublicKey {
	var out []crypto.PublicKey
	for _, k := range s.Keys {
		if (h.Kid == "" || k.KeyID == h.Kid) && (k.Algorithm == "" || k.Algorithm == string(h.Alg)) && fits(k.Key, h.Alg) {
			out = append(out, k.Key)
		}
	}
	return out
}

// fits says whether a key is of the type, and for ECDSA of the curve, that an
// algorithm signs with (RFC 7518 §3).
func fits(key any, alg jose.SignatureAlgorithm) bool {
	if !verifies(key) {
		return false
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS")
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	case *ecdsa.PublicKey:
		switch alg {
		case jose.ES256:
			return k.Curve == elliptic.P256()
		case jose.ES384:
			return k.Curve == elliptic.P384()
		case jose.ES512:
			return k.Curve == elliptic.P521()
		}
	}
	return false
}

// has says whether the set can be asked for a key ID; without one, any key will
// do.
func (s KeySet) has(kid string) bool {
	for _, k := range s.Keys {
		if kid == "" || k.KeyID == kid {
			return true
		}
	}
	return false
}

// keyCache keeps fetched keys. A token with an unknown key ID, which everybody
// can make, causes few fetches; an issuer that is down for a while does not stop
// its users.
type keyCache struct {
	source KeySource
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	entries map[string]*cachedKeys // by issuer URL; mu guards what is in them
	wild    int                    // guarded by mu; entries of wildcards
	flights int                    // guarded by mu; fetches for them under way
}

type cachedKeys struct {
	wild    bool      // a wildcard matches the issuer, and it is not written out
	set     KeySet    // set.fetched is zero: never
	expires time.Time // of the set
	tried   time.Time // when the last fetch began
	failed  error     // of the last fetch
	flight  chan struct{}
	// spent is until when the fetches for unknown keys are paid for, at one for
	// each refetchAfter.
	spent time.Time
}

// want is what keys are wanted for.
type want struct {
	// kid is the ID of a key that must be among them; "" is any.
	kid string
	// after is when keys were fetched that did not do; zero if there were none.
	after time.Time
	// wild says that a wildcard matches the issuer, and that it is not written out.
	wild bool
}

// get gives an issuer's keys, fetched when there are none, when they have
// expired, or when they are not what is wanted. They may not be that afterwards
// either.
func (c *keyCache) get(ctx context.Context, req KeyRequest, w want) (KeySet, error) {
	if c.source == nil {
		return KeySet{}, sigbox.Errorf(sigbox.Unavailable, "the keys of outside issuers cannot be fetched here")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entry(req.Issuer, w.wild)
	now := c.now()
	if e.flight == nil && c.room(e) && e.due(now, w) {
		c.fetch(ctx, req, e)
	}
	if flight := e.flight; flight != nil && !e.usable(now, w) && !e.fallback(now, w) {
		c.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if e.flight == flight {
			return KeySet{}, sigbox.Errorf(sigbox.Unavailable, "gave up waiting for the keys of the issuer %.200s", req.Issuer).WithCause(ctx.Err())
		}
	}
	if e.set.fetched.IsZero() || e.spoilt(c.now()) {
		return KeySet{}, sigbox.Errorf(sigbox.Unavailable, "the keys of the issuer %.200s cannot be fetched now", req.Issuer).
			WithCause(e.failed).WithHint("try again in a few seconds")
	}
	return e.set, nil
}

// room says whether keys may be fetched for an entry now. The caller holds mu.
func (c *keyCache) room(e *cachedKeys) bool { return !e.wild || c.flights < maxFlights }

// entry gives the issuer's entry, a new one if there is none. The caller holds mu.
func (c *keyCache) entry(iss string, wild bool) *cachedKeys {
	if e := c.entries[iss]; e != nil {
		return e
	}
	e := &cachedKeys{wild: wild}
	if !c.room(e) {
		return e // not kept: nothing will be known of it
	}
	if c.entries == nil {
		c.entries = map[string]*cachedKeys{}
	}
	if wild {
		if c.wild++; c.wild > maxCached {
			c.evict()
		}
	}
	c.entries[iss] = e
	return e
}

// evict drops the entry of a wildcard that was tried longest ago. The caller
// holds mu.
func (c *keyCache) evict() {
	var oldest string
	var at time.Time
	for iss, e := range c.entries {
		if e.wild && e.flight == nil && (oldest == "" || e.tried.Before(at)) {
			oldest, at = iss, e.tried
		}
	}
	delete(c.entries, oldest)
	c.wild--
}

// usable says whether the keys will do as they are.
func (e *cachedKeys) usable(now time.Time, w want) bool {
	return e.set.fetched.After(w.after) && e.fresh(now) && e.set.has(w.kid)
}

// fresh says whether the keys have not expired; after a clock that jumped back
// they have.
func (e *cachedKeys) fresh(now time.Time) bool {
	return !now.Before(e.set.fetched) && now.Before(e.expires)
}

// spoilt says whether keys that could not be renewed are too old to be used.
func (e *cachedKeys) spoilt(now time.Time) bool {
	return now.After(e.expires.Add(staleFor))
}

// fallback says whether old keys will do while an issuer is down, so that not
// every token waits for another failure.
func (e *cachedKeys) fallback(now time.Time, w want) bool {
	return e.failed != nil && e.set.fetched.After(w.after) && e.set.has(w.kid) && !e.spoilt(now)
}

// due says whether a fetch is needed, and allowed: not too soon after one that
// failed, and not too often for tokens with unknown keys.
func (e *cachedKeys) due(now time.Time, w want) bool {
	switch {
	case e.usable(now, w):
		return false
	case now.Before(e.tried): // the clock jumped back
		return true
	case e.failed != nil:
		return now.Sub(e.tried) >= retryAfter
	case !e.fresh(now):
		return true
	}
	return e.spend(now)
}

// spend pays for a fetch for an unknown key, if that can be afforded.
func (e *cachedKeys) spend(now time.Time) bool {
	from := now
	if e.spent.After(now) {
		from = e.spent
	}
	if from.Sub(now) > (refetchBurst-1)*refetchAfter {
		return false
	}
	e.spent = from.Add(refetchAfter)
	return true
}

// fetch starts a fetch on behalf of all who wait; it outlives the request that
// caused it. The caller holds mu.
func (c *keyCache) fetch(ctx context.Context, req KeyRequest, e *cachedKeys) {
	e.tried = c.now()
	flight := make(chan struct{})
	e.flight = flight
	if e.wild {
		c.flights++
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		set, err := c.source.Keys(ctx, req)
		if err == nil && len(set.Keys) == 0 {
			err = sigbox.Errorf(sigbox.Invalid, "the issuer publishes no key that verifies signatures")
		}
		if err != nil {
			c.log.WarnContext(ctx, "cannot fetch the keys of an issuer", "issuer", req.Issuer, "err", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.failed = err; err == nil {
			set.fetched = c.now()
			e.set, e.expires = set, set.fetched.Add(keyAge(set.MaxAge))
		}
		e.flight = nil
		if e.wild {
			c.flights--
		}
		close(flight)
	}()
}

func keyAge(said time.Duration) time.Duration {
	if said == 0 {
		return defaultKeyAge
	}
	return min(max(said, minKeyAge), maxKeyAge)
}
