package keys

import (
	"context"
	"crypto"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
)

// Source holds a private key that never leaves it: a hardware token, a key
// management service. It is safe for concurrent use, and bounds what it does at
// once. Errors are of kind Unavailable when the same call may succeed later, NotFound
// when there is no such key, and others when somebody has to do something; their
// texts hold no secrets.
type Source interface {
	// Public gives the public halves of the key's versions, the newest first.
	Public(ctx context.Context) ([]crypto.PublicKey, error)
	// Create makes the key. One that is there stays as it is.
	Create(ctx context.Context, details sigbox.KeyDetails) error
	// Sign signs for the version with this public half: a digest, or with a hash of 0
	// a message. Nobody has to believe the result.
	Sign(ctx context.Context, pub crypto.PublicKey, input []byte, hash crypto.Hash) ([]byte, error)
}

// OutsideConfig is what [Outside] needs; Name, Source and Details are required.
type OutsideConfig struct {
	// Name is the key's, for messages.
	Name string
	// Place is where the key is kept, for messages to the operator.
	Place Place
	// Source has the key.
	Source Source
	// Details is the algorithm of its role.
	Details sigbox.KeyDetails
	// Public is the public half if it is known; Connect finds it out if it is nil.
	Public crypto.PublicKey
	// Timeout bounds a signature with all that it waits for, 10 s if 0.
	Timeout time.Duration
	// Idle is after how long without a signature the source is asked for one, to know
	// whether it works; 30 s if 0.
	Idle time.Duration
	// Retry is how soon a source that does not work is asked again, twice as long each
	// time up to Idle; 250 ms if 0.
	Retry time.Duration
	// Logger is told when the source fails and when it works again; nil is nobody.
	Logger *slog.Logger
}

// Outside is a key that is kept elsewhere, as a crypto.Signer. Each signature is
// verified before anybody sees it. While Watch runs and the source does not work,
// Sign fails at once; Watch finds out when it works again.
type Outside struct {
	cfg OutsideConfig
	// wake has a value when the source has just failed.
	wake chan struct{}

	mu      sync.Mutex
	pub     crypto.PublicKey // guarded by mu until Connect returns, then fixed
	down    error            // why the source does not work, nil as far as is known
	watched bool             // Watch runs
	signed  bool             // something was signed since Watch looked last
}

var _ crypto.Signer = (*Outside)(nil)

// NewOutside makes the signer and asks the source for nothing.
func NewOutside(cfg OutsideConfig) *Outside {
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Retry == 0 {
		cfg.Retry = 250 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Outside{cfg: cfg, pub: cfg.Public, wake: make(chan struct{}, 1)}
}

// Name is the key's name.
func (o *Outside) Name() string { return o.cfg.Name }

// Public gives the public half, nil before it is known.
func (o *Outside) Public() crypto.PublicKey {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pub
}

// Connect finds the key in its source and has it sign once. With create, one that is
// missing is made. A key that is another than the one that is known, or of another
// kind than its role's, is refused.
func (o *Outside) Connect(ctx context.Context, create bool) error {
	bounded, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	err := o.connect(bounded, create)
	if ctx.Err() == nil { // else it is the caller who has had enough
		o.note(err)
	}
	return err
}

func (o *Outside) connect(ctx context.Context, create bool) error {
	found, err := o.cfg.Source.Public(ctx)
	if create && err != nil && sigbox.KindOf(err) == sigbox.NotFound {
		if err := o.cfg.Source.Create(ctx, o.cfg.Details); err != nil {
			return o.told(err, "cannot be made")
		}
		found, err = o.cfg.Source.Public(ctx)
	}
	if err != nil {
		return o.told(err, "cannot be used")
	}
	if err := o.choose(found); err != nil {
		return err
	}
	if err := o.prove(ctx); err != nil {
		return o.told(err, "does not sign")
	}
	return nil
}

// told is an error of the source for the operator.
func (o *Outside) told(err error, what string) *sigbox.Error {
	return sigbox.Errorf(sigbox.KindOf(err), "the key %s in %s %s: %w", o.cfg.Name, o.cfg.Place, what, err)
}

// choose takes the version that is known, or the newest.
func (o *Outside) choose(found []crypto.PublicKey) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pub != nil {
		if !slices.ContainsFunc(found, func(pub crypto.PublicKey) bool { return SamePublic(pub, o.pub) }) {
			return sigbox.Errorf(sigbox.Invalid, "the key %s in %s is another one than this instance has used, and clients trust that", o.cfg.Name, o.cfg.Place).
				WithHint("bring the instance's own key there, or name the place where it is")
		}
		return nil
	}
	if len(found) == 0 {
		return sigbox.Errorf(sigbox.NotFound, "the key %s in %s has no public half", o.cfg.Name, o.cfg.Place)
	}
	if o.cfg.Details.CheckKey(found[0]) != nil {
		return sigbox.Mismatch(sigbox.Invalid, "the key "+o.cfg.Name+" in "+o.cfg.Place.String(), "one for "+o.cfg.Details.String(), "one that is "+sigbox.DescribeKey(found[0]))
	}
	o.pub = found[0]
	return nil
}

// SamePublic reports whether two public keys are the same.
func SamePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && k.Equal(b)
}

// proof is what is signed to see that a key can sign. It is nothing that a key of
// an instance vouches for otherwise: no certificate, checkpoint, token or metadata.
const proof = "sigbox asks whether this key can sign; this text means nothing else.\n"

// prove has the source sign something.
func (o *Outside) prove(ctx context.Context) error {
	input, hash := []byte(proof), o.cfg.Details.Hash()
	if hash.Valid() {
		input = hash.Sum(input).Value
	}
	_, err := o.sign(ctx, input, o.cfg.Details.SignerOpts().HashFunc())
	return err
}

// Sign implements crypto.Signer for the algorithm of the key's role, and no other.
// The error is of kind Unavailable, and says nothing of the source: the log has that.
func (o *Outside) Sign(_ io.Reader, input []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts == nil || opts.HashFunc() != o.cfg.Details.SignerOpts().HashFunc() {
		return nil, sigbox.Errorf(sigbox.Internal, "the key %s signs with %s alone", o.cfg.Name, o.cfg.Details)
	}
	if err := o.closed(); err != nil {
		return nil, o.unavailable(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.cfg.Timeout)
	defer cancel()
	sig, err := o.sign(ctx, input, opts.HashFunc())
	if err != nil && sigbox.KindOf(err) == sigbox.Unavailable && ctx.Err() == nil {
		sig, err = o.sign(ctx, input, opts.HashFunc()) // a second signature harms nobody
	}
	o.note(err)
	if err != nil {
		return nil, o.unavailable(err)
	}
	return sig, nil
}

// closed says why the source is not asked, nil if it is.
func (o *Outside) closed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watched {
		return o.down
	}
	return nil
}

// sign asks the source once, and believes nothing.
func (o *Outside) sign(ctx context.Context, input []byte, hash crypto.Hash) ([]byte, error) {
	pub := o.Public()
	sig, err := o.cfg.Source.Sign(ctx, pub, input, hash)
	if err != nil {
		return nil, err
	}
	if hash == 0 {
		err = o.cfg.Details.VerifyMessage(pub, input, sig)
	} else {
		err = o.cfg.Details.VerifyDigest(pub, input, sig)
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.NotVerified, "its signature is not one of this key: %w", err)
	}
	return sig, nil
}

// unavailable is what callers are told.
func (o *Outside) unavailable(cause error) error {
	return sigbox.Errorf(sigbox.Unavailable, "the key %s cannot sign at present", o.cfg.Name).WithHint("try again later").WithCause(cause)
}

// note remembers how the source was found, and logs a change.
func (o *Outside) note(err error) {
	o.mu.Lock()
	was := o.down
	o.down = err
	o.signed = o.signed || err == nil
	o.mu.Unlock()
	switch {
	case err != nil && was == nil:
		o.cfg.Logger.Error("a key cannot sign", "key", o.cfg.Name, "place", o.cfg.Place.String(), "err", err)
		select {
		case o.wake <- struct{}{}:
		default:
		}
	case err == nil && was != nil:
		o.cfg.Logger.Info("the key signs again", "key", o.cfg.Name, "place", o.cfg.Place.String())
	}
}

// Err says why the key cannot sign, in words for anybody; nil if it can as far as is
// known.
func (o *Outside) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		return nil
	}
	why := "its source does not answer, or refuses"
	switch kind := sigbox.KindOf(o.down); {
	case errors.Is(o.down, context.DeadlineExceeded):
		why = "its source does not answer in time"
	case kind == sigbox.NotVerified:
		why = "its source gives signatures that are not the key's"
	case kind == sigbox.Invalid:
		why = "its source has another key, or does not speak as expected"
	}
	return sigbox.Errorf(sigbox.Unavailable, "the key %s cannot sign: %s", o.cfg.Name, why).
		WithHint("the server's log says more").WithCause(o.down)
}

// Watch asks the source now and then when nobody else does, and one that does not
// work until it does; until ctx ends.
func (o *Outside) Watch(ctx context.Context) error {
	o.setWatched(true)
	defer o.setWatched(false)
	wait := o.cfg.Idle
	if o.Err() != nil {
		wait = o.cfg.Retry
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-o.wake:
			timer.Stop()
			wait = 0
		case <-timer.C:
		}
		wait = o.look(ctx, wait)
	}
}

// look asks the source unless somebody else just did, and says when to look again.
func (o *Outside) look(ctx context.Context, waited time.Duration) time.Duration {
	o.mu.Lock()
	fine := o.down == nil && o.signed
	o.signed = false
	o.mu.Unlock()
	if fine || o.Connect(ctx, false) == nil {
		return o.cfg.Idle
	}
	return min(max(2*waited, o.cfg.Retry), o.cfg.Idle)
}

func (o *Outside) setWatched(yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.watched = yes
}
