package app

import (
	"context"
	"crypto"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/wire/ceremony"
)

// tufRootKeys are the TUF root's keys that are at hand.
func (s *services) tufRootKeys() []crypto.Signer {
	if key := s.keys[tufRootKey]; key != nil {
		return []crypto.Signer{key}
	}
	return nil
}

// tufReady says why no other key can sign TUF's metadata now: the root cannot be signed
// here, and does not name the next one.
func (s *services) tufReady(ctx context.Context) error {
	_, stuck := s.tuf.RootExpires()
	if stuck == nil {
		return nil
	}
	key, err := s.key(ctx, nextKey(tufKey, s.app.state.get().generations(tufKey)))
	if err == nil && s.tuf.Names(key.Public()) {
		return nil
	}
	return stuck
}

// nextKey is the name of the key that will sign after the present one, made or not.
func nextKey(role string, gens []rotation.Generation) string {
	if g, waits := rotation.Next(gens); waits {
		return generationKey(role, g.Number)
	}
	return generationKey(role, rotation.NextNumber(gens))
}

// onlineKey gives the key that a root names which was asked for: the present one, or the
// next, which is recorded as such then.
func (r *rotator) onlineKey(ctx context.Context, a *ceremony.Answer) (key crypto.Signer, next bool, err error) {
	gens := r.state.get().generations(tufKey)
	for _, name := range []string{generationKey(tufKey, rotation.Current(gens).Number), nextKey(tufKey, gens)} {
		kind, _ := kindOf(name)
		key, err = r.keeper.open(ctx, name, kind, false)
		if err != nil && !next {
			return nil, false, err
		}
		if err == nil && is(key, a.Request.TUF) {
			break
		}
		key, next = nil, true
	}
	if key == nil { // a request makes the key that it is for
		return nil, false, sigbox.Errorf(sigbox.Conflict, "the answer is for a key of TUF's other metadata that was replaced since it was asked for").
			WithHint("make a new request, and have that answered").WithCause(err)
	}
	if _, waits := rotation.Next(gens); next && !waits {
		_, err = r.begin(ctx, RotateRequest{Role: tufKey})
	}
	return key, next, err
}

// is reports whether a key is the one that a root was asked for.
func is(key crypto.Signer, asked *ceremony.TUFRequest) bool {
	pub, err := asked.Public()
	k, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return err == nil && ok && k.Equal(pub)
}

// acceptRoot publishes a TUF root that was signed elsewhere. A key that signs from then
// on is recorded before, so that a start between the two knows it.
func (r *rotations) acceptRoot(ctx context.Context, a *ceremony.Answer, root []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, next, err := r.onlineKey(ctx, a)
	if err != nil {
		return err
	}
	if err := r.services.tuf.Accept(root, key); err != nil || !next {
		return err
	}
	k, err := r.find(tufKey)
	if err != nil {
		return err
	}
	defer r.poke()
	return r.catchUp(ctx, k)
}
