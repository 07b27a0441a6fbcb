package app

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/tsa"
)

// rotations do what is due in an instance that runs. Each step is written down so that
// it is done, or done again, by the next start, wherever the process ends: what is to be
// published before clients know of it, all else before it is done.
type rotations struct {
	rotator
	services *services

	// ceremony is held while a request is made or its answer taken, so that the last request
	// is the one that waits; before mu.
	ceremony sync.Mutex

	mu sync.Mutex // held while a role is rotated
	// unfinished are the roles whose last step was written down and not done to its end;
	// guarded by mu.
	unfinished map[string]bool
	// wake has the loop look again; one slot.
	wake chan struct{}
}

// openRotations prepares for rotations, when all services are there, and ends what an
// earlier process began.
func (s *services) openRotations() error {
	s.rotations = &rotations{
		rotator:  rotator{cfg: &s.app.cfg, settings: &s.app.settings, keeper: s.keeper, state: s.app.state, waits: new(waits)},
		services: s, unfinished: map[string]bool{}, wake: make(chan struct{}, 1),
	}
	for _, k := range s.rotations.here() {
		if err := s.rotations.destroyRetired(k.key); err != nil {
			return err
		}
	}
	return nil
}

// rotate begins what is asked for and does what is due at once.
func (r *rotations) rotate(ctx context.Context, req RotateRequest) (RoleKeys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, err := r.find(req.Role)
	if err != nil {
		return RoleKeys{}, err
	}
	if k.ready != nil && !req.Abandon {
		if err := k.ready(ctx, r.services, req.Compromised); err != nil {
			return RoleKeys{}, err
		}
	}
	answer, err := r.begin(ctx, req)
	if err != nil || req.DryRun {
		return answer, err
	}
	r.unfinished[k.key] = r.unfinished[k.key] || req.Abandon
	err = r.catchUp(ctx, k)
	r.waits.set(k.key, err)
	if _, waiting := errors.AsType[waitingError](err); err != nil && !waiting {
		return answer, sigbox.Errorf(sigbox.KindOf(err), "the rotation has begun, and goes on by itself when it can: %w", err)
	}
	r.poke()
	return r.describe(k, r.state.get().generations(k.key))
}

// poke has the loop look at once.
func (r *rotations) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // it will
	}
}

// catchUpAll does what is due of all roles.
func (r *rotations) catchUpAll(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, k := range r.here() {
		err := r.catchUp(ctx, k)
		r.waits.set(k.key, err)
		if _, waiting := errors.AsType[waitingError](err); err != nil && !waiting {
			errs = append(errs, sigbox.Errorf(sigbox.KindOf(err), "rotating the key %s: %w", k.key, err))
		}
	}
	return errors.Join(errs...)
}

// catchUp does what is due of a role.
func (r *rotations) catchUp(ctx context.Context, k rotating) error {
	if r.unfinished[k.key] {
		if err := r.show(ctx, k); err != nil {
			return err
		}
	}
	for {
		gens, now := r.state.get().generations(k.key), r.cfg.Now()
		steps := rotation.Plan(gens, k.rules, now)
		if len(steps) == 0 || steps[0].At.After(now) {
			return nil
		}
		if err := r.do(ctx, k, steps[0]); err != nil {
			return err
		}
		r.cfg.Logger.InfoContext(ctx, "key rotated", "step", steps[0].Action, "key", generationKey(k.key, steps[0].Generation))
		r.services.app.audit.actNow("rotate.step", map[string]string{"step": string(steps[0].Action), "key": generationKey(k.key, steps[0].Generation)})
	}
}

// do does a step that is due.
func (r *rotations) do(ctx context.Context, k rotating, step rotation.Step) error {
	record := func() error {
		return r.state.change(func(s *state) {
			s.setGenerations(k.key, rotation.Done(s.generations(k.key), step, k.rules, r.cfg.Now()))
		})
	}
	switch step.Action {
	case rotation.Publish:
		if err := r.offer(ctx, k); err != nil {
			return err
		}
		return record()
	case rotation.Switch:
		if err := r.maySwitch(ctx, k, step.Generation); err != nil {
			return err
		}
	}
	if err := record(); err != nil {
		return err
	}
	r.unfinished[k.key] = true
	if step.Action == rotation.Retire && k.key != rekorV1Key {
		r.tellOfOutside(ctx, generationKey(k.key, step.Generation))
	}
	return r.show(ctx, k)
}

// offer has clients told of the key that is on its way, and waits until they are.
func (r *rotations) offer(ctx context.Context, k rotating) error {
	if _, changed := rotation.Offer(r.state.get().generations(k.key), r.cfg.Now()); changed {
		r.unfinished[k.key] = true
		if err := r.state.change(func(s *state) { s.offer(k.key, r.cfg.Now()) }); err != nil {
			return err
		}
	}
	if r.unfinished[k.key] {
		if err := r.show(ctx, k); err != nil {
			return err
		}
	}
	return r.services.awaitPublished(ctx, k)
}

// maySwitch says why a key cannot sign now. Whatever can be tried is tried before it is
// written down that it signs: from then on the validity of the one before ends.
func (r *rotations) maySwitch(ctx context.Context, k rotating, number int) error {
	gens := r.state.get().generations(k.key)
	if k.ready != nil {
		if err := k.ready(ctx, r.services, stolen(gens)); err != nil {
			return err
		}
	}
	if stolen(gens) { // the one that signs must not, whatever this one is like
		return nil
	}
	if err := r.services.trySigning(ctx, k, number); err != nil {
		return err
	}
	return r.services.awaitPublished(ctx, k)
}

// stolen reports whether the key that signs is one that others may have.
func stolen(gens []rotation.Generation) bool { return !rotation.Current(gens).Compromised.IsZero() }

// trySigning has a key sign something that means nothing, and looks at its certificates as
// they will be used.
func (s *services) trySigning(ctx context.Context, k rotating, number int) error {
	name := generationKey(k.key, number)
	key, err := s.key(ctx, name)
	if err != nil {
		return err
	}
	if o, outside := key.(*keys.Outside); outside {
		if err := o.Connect(ctx, false); err != nil {
			return err
		}
	}
	kind, _ := kindOf(name)
	message := []byte("sigbox asks whether this key signs\n")
	if kind != sigbox.Ed25519 {
		message = kind.Hash().Sum(message).Value
	}
	if _, err := key.Sign(rand.Reader, message, kind.SignerOpts()); err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "the key %s does not sign: %w", name, err)
	}
	if k.certify == nil {
		return nil
	}
	chain, err := readChain(chainPath(s.app.cfg.Data, name))
	if err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	return k.check(key, chain)
}

// tellOfOutside tells the operator of a key that is used no more and that is not ours to
// destroy.
func (r *rotations) tellOfOutside(ctx context.Context, name string) {
	if place, outside, err := r.keeper.place(name); err == nil && outside {
		r.cfg.Logger.WarnContext(ctx, "this key is used no more: destroy it where it is kept", "key", name, "place", place.String())
	}
}

// show has the services use a role's keys as the state says, and clients see it. Then
// what was given up is destroyed.
func (r *rotations) show(ctx context.Context, k rotating) error {
	if err := k.apply(ctx, r.services); err != nil {
		return err
	}
	if err := r.services.publish(); err != nil {
		return err
	}
	if err := r.destroyRetired(k.key); err != nil {
		return err
	}
	delete(r.unfinished, k.key)
	return nil
}

// rotateEvery is how long after a step that could not be done it is tried again.
const rotateEvery = time.Minute

// run does what is due at its time, and watches the keys that there are, until ctx ends.
// A step that cannot be done is tried again.
func (r *rotations) run(ctx context.Context) error {
	watch := keyWatch{services: r.services, stop: map[*keys.Outside]context.CancelFunc{}}
	defer watch.end()
	for {
		wait := r.cfg.Poll
		if err := r.catchUpAll(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Logger.ErrorContext(ctx, "a key could not be rotated", "err", err)
			wait = rotateEvery
		} else if r.waits.any() != nil {
			wait = max(wait, askEvery)
		}
		watch.update(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-time.After(wait):
		}
	}
}

// keyWatch watches the keys that are kept outside, those that come with a rotation as
// well, and no longer those that go with one.
type keyWatch struct {
	services *services
	stop     map[*keys.Outside]context.CancelFunc
	running  sync.WaitGroup
}

// update watches the keys that there are now.
func (w *keyWatch) update(ctx context.Context) {
	now := w.services.watched()
	for _, key := range now {
		if w.stop[key] == nil {
			var watching context.Context
			watching, w.stop[key] = context.WithCancel(ctx)
			w.running.Go(func() { _ = key.Watch(watching) }) // it ends with its context alone
		}
	}
	for key, stop := range w.stop {
		if !slices.Contains(now, key) {
			stop()
			delete(w.stop, key)
		}
	}
}

func (w *keyWatch) end() {
	for _, stop := range w.stop {
		stop()
	}
	w.running.Wait()
}

// lateKeys are keys that were made while the instance runs.
type lateKeys struct {
	mu   sync.Mutex
	ring keyring // guarded by mu
}

// key gives a key of any generation that is held; nil for a root's that is kept
// elsewhere.
func (s *services) key(ctx context.Context, name string) (crypto.Signer, error) {
	if key := s.keys[name]; key != nil {
		return key, nil
	}
	s.late.mu.Lock()
	defer s.late.mu.Unlock()
	if key := s.late.ring[name]; key != nil {
		return key, nil
	}
	kind, _ := kindOf(name)
	key, err := s.keeper.open(ctx, name, kind, false)
	if err != nil || key == nil {
		return nil, err
	}
	if s.late.ring == nil {
		s.late.ring = keyring{}
	}
	s.late.ring[name] = key
	return key, nil
}

// watched are the keys that are kept outside and that the instance needs all the time,
// by name.
func (s *services) watched() (list []*keys.Outside) {
	s.late.mu.Lock()
	all := maps.Clone(s.keys)
	maps.Copy(all, s.late.ring)
	s.late.mu.Unlock()
	st := s.app.state.get()
	maps.DeleteFunc(all, func(name string, _ crypto.Signer) bool { return !st.holds(name) })
	if s.told.key != nil {
		all[partKey] = s.told.key
	}
	return all.watched()
}

// holds reports whether the private half of a key is there to be used.
func (s state) holds(name string) bool {
	return slices.ContainsFunc(s.generations(roleKey(name)), func(g rotation.Generation) bool {
		return generationKey(roleKey(name), g.Number) == name && held(roleKey(name), g)
	})
}

// authorities are the CAs of an instance: that which issues, and all that are trusted.
type authorities struct {
	chain [][]byte // DER, the issuing certificate first
	all   []sigbox.CertificateAuthority
}

// root is the root certificate of the one that issues.
func (a *authorities) root() []byte { return a.chain[len(a.chain)-1] }

// applyCA has the CA issue with the key that signs now, and the CT log take the
// certificates of all authorities.
func (s *services) applyCA(ctx context.Context) error {
	gens := s.app.state.get().generations(caKey)
	all, err := s.caTrust(gens)
	if err != nil {
		return err
	}
	key, chain, err := s.current(ctx, caKey, gens)
	if err != nil {
		return err
	}
	s.issuing.Store(&authorities{chain, all})
	if err := s.meet(); err != nil {
		return err
	}
	return s.ca.SetAuthority(key, chain, all)
}

// caTrust are the places of all CAs in the trust root.
func (s *services) caTrust(gens []rotation.Generation) ([]sigbox.CertificateAuthority, error) {
	return trustOf(s.app.cfg.Data, caKey, gens, func(chain [][]byte) (sigbox.CertificateAuthority, error) {
		return ca.TrustIn(chain, s.app.state.get().URL, "")
	})
}

func chainsOf(all []sigbox.CertificateAuthority) (chains [][][]byte) {
	for _, a := range all {
		chains = append(chains, a.Chain)
	}
	return chains
}

// applyTSA has timestamps signed with the key that signs now.
func (s *services) applyTSA(ctx context.Context) error {
	gens := s.app.state.get().generations(tsaKey)
	all, err := trustOf(s.app.cfg.Data, tsaKey, gens, func(chain [][]byte) (sigbox.CertificateAuthority, error) {
		return tsa.TrustIn(chain, s.timestampURL())
	})
	if err != nil {
		return err
	}
	key, chain, err := s.current(ctx, tsaKey, gens)
	if err != nil {
		return err
	}
	return s.tsa.SetAuthority(key, chain, all)
}

// current gives the key of a role that signs now, with its certificates.
func (s *services) current(ctx context.Context, role string, gens []rotation.Generation) (crypto.Signer, [][]byte, error) {
	name := generationKey(role, rotation.Current(gens).Number)
	key, err := s.key(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	chain, err := openChain(s.app.cfg.Data, name, true, nil)
	return key, chain, err
}

// applyOIDC has the provider sign tokens with the key that signs now; those of the other
// keys verify as long as these are held.
func (s *services) applyOIDC(ctx context.Context) error {
	gens := s.app.state.get().generations(oidcKey)
	var signing crypto.Signer
	var others []crypto.PublicKey
	for _, g := range gens {
		if !g.Held() || g.Phase() == rotation.Abandoned {
			continue
		}
		key, err := s.key(ctx, generationKey(oidcKey, g.Number))
		switch {
		case err != nil:
			return err
		case g.Phase() == rotation.Signing:
			signing = key
		case g.Compromised.IsZero():
			others = append(others, key.Public())
		}
	}
	return s.provider.SetKeys(signing, others...)
}

// tufKeys gives the key that signs TUF's metadata, and others that a root may name which
// was published shortly before a crash.
func (s *services) tufKeys() (online crypto.Signer, others []crypto.Signer) {
	for _, g := range s.app.state.get().generations(tufKey) {
		key := s.keys[generationKey(tufKey, g.Number)]
		switch {
		case key == nil:
		case g.Phase() == rotation.Signing:
			online = key
		default:
			others = append(others, key)
		}
	}
	return online, others
}

// applyTUF has TUF's metadata signed by the newest key, which clients trust as soon as
// there is a root that names it.
func (s *services) applyTUF(ctx context.Context) error {
	gens := s.app.state.get().generations(tufKey)
	g, waits := rotation.Next(gens)
	if !waits {
		g = rotation.Current(gens)
	}
	key, err := s.key(ctx, generationKey(tufKey, g.Number))
	if err != nil {
		return err
	}
	return s.tuf.Rekey(key)
}
