package ca_test

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"iter"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
)

// newOneTime makes a service whose tokens are good for one certificate each.
func newOneTime(t *testing.T, kv store.KV) *instance {
	t.Helper()
	key := fixture.Key(t)
	i := &instance{clock: fixture.NewClock(start()), log: &ctLog{key: fixture.Key(t)}, idp: newProvider(t)}
	i.Service = must(ca.New(ca.Config{
		Key: key, Chain: must(ca.NewChain(ca.ChainConfig{Root: fixture.Key(t), Intermediate: key.Public(), Now: start})), CTLog: i.log, Now: i.clock.Now, Spent: kv,
		Issuers: []ca.Issuer{{URL: "https://issuer.example.com", Type: ca.Email, Keys: i.idp.source()}},
	}))
	return i
}

// malleated gives a token with another signature that is as good: of (r, s) there is
// always (r, n-s).
func malleated(t *testing.T, token string) string {
	t.Helper()
	dot := strings.LastIndexByte(token, '.')
	sig := must(base64.RawURLEncoding.DecodeString(token[dot+1:]))
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return token[:dot+1] + base64.RawURLEncoding.EncodeToString(sig)
}

func TestOneTimeTokens(t *testing.T) {
	i := newOneTime(t, memory.NewKV())
	token := i.idp.token(t, alice())
	refused(t, i.issueWith(t, i.idp.token(t, object{"email": "a@example.com"})), sigbox.Unauthenticated, "email_verified")
	if x, err := i.Explain(t.Context(), token); err != nil || x.Refused != "" || x.Passed[len(x.Passed)-1].Name != ca.DoorUse {
		t.Errorf("before: %+v, %v", x, err)
	}
	// A proof that fails leaves the token as it was.
	_, err := i.Issue(t.Context(), request(t, token, "somebody else"))
	refused(t, err, sigbox.Invalid, "does not verify")
	if err := i.issueWith(t, token); err != nil {
		t.Fatal(err)
	}
	for name, again := range map[string]string{"the same": token, "another signature": malleated(t, token)} {
		refused(t, i.issueWith(t, again), sigbox.Unauthenticated, "used before")
		x, err := i.Explain(t.Context(), again)
		refused(t, err, sigbox.Unauthenticated, "used before")
		if x.Refused != ca.DoorUse || x.Identity.Subject != "" {
			t.Errorf("%s: %+v", name, x)
		}
	}
	other := alice()
	other["jti"] = "2"
	if err := i.issueWith(t, i.idp.token(t, other)); err != nil {
		t.Errorf("another token: %v", err)
	}
}

// TestOneTimeTokensAtOnce: of many who use a token at the same time one has a
// certificate.
func TestOneTimeTokensAtOnce(t *testing.T) {
	i := newOneTime(t, memory.NewKV())
	token := i.idp.token(t, alice())
	var good atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			err := i.issueWith(t, token)
			if err == nil {
				good.Add(1)
			} else if sigbox.KindOf(err) != sigbox.Unauthenticated {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 || len(i.log.chains) != 1 {
		t.Errorf("%d certificates, %d logged", good.Load(), len(i.log.chains))
	}
}

// TestUsedTokensAreForgotten when they are accepted no longer, and not before.
func TestUsedTokensAreForgotten(t *testing.T) {
	kv := store.WithPrefix(memory.NewKV(), "used/")
	i := newOneTime(t, kv)
	use := func(n int) {
		t.Helper()
		claims := alice()
		claims["jti"], claims["exp"] = n, i.clock.Now().Add(5*time.Minute).Unix()
		if err := i.issueWith(t, i.idp.token(t, claims)); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() int { return len(slices.Collect(pairs(kv.Scan(t.Context(), nil, nil)))) }
	use(1)
	i.clock.Add(30 * time.Minute)
	use(2)
	if n := kept(); n != 2 {
		t.Errorf("%d are remembered, expected both", n)
	}
	i.clock.Add(40 * time.Minute)
	use(3)
	if n := kept(); n != 2 {
		t.Errorf("%d are remembered, expected the last two", n)
	}
}

func pairs(all iter.Seq2[store.Pair, error]) iter.Seq[store.Pair] {
	return func(yield func(store.Pair) bool) {
		for p, err := range all {
			if err != nil || !yield(p) {
				return
			}
		}
	}
}

// brokenKV cannot be read or written.
type brokenKV struct {
	store.KV
	get, commit error
}

func (b *brokenKV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if b.get != nil {
		return nil, b.get
	}
	return b.KV.Get(ctx, key)
}

func (b *brokenKV) Commit(context.Context, store.Batch) error { return b.commit }

// TestTokensThatCannotBeMarked: nothing is certified.
func TestTokensThatCannotBeMarked(t *testing.T) {
	kv := &brokenKV{KV: memory.NewKV(), commit: store.ErrUnknown}
	i := newOneTime(t, kv)
	refused(t, i.issueWith(t, i.idp.token(t, alice())), sigbox.Unavailable, "cannot be marked as used")
	if len(i.log.chains) != 0 {
		t.Error("it was logged")
	}
	kv.get = errors.New("broken")
	_, err := i.Explain(t.Context(), i.idp.token(t, alice()))
	refused(t, err, sigbox.Unavailable, "cannot be said")
}
