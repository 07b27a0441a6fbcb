// Package sign makes Sigstore bundles: one identity token, one ephemeral key and
// one certificate sign any number of artifacts, each of which is recorded in a
// transparency log and timestamped.
//
//	s, err := sign.New(sign.Config{
//		CA: ca, Token: token, Logs: []sigbox.Log{log}, Stampers: []sigbox.Stamper{tsa},
//	})
//	b, err := s.Digest(ctx, digest)        // an artifact
//	b, err = s.Envelope(ctx, sigbox.InTotoPayloadType, statement)
//	data, err := bundle.Append(nil, b)     // FILE.sigstore.json
//
// The services are interfaces of the root package, so that a signer can use
// remote ones and those in its own process alike. What they answer is checked
// before it goes into a bundle: a certificate is for our key and identity, a log
// entry is the one that was sent and its inclusion proof holds, a timestamp is
// over our signature. Config.Verify judges the rest.
//
// Source: client-spec.md of sigstore/architecture-docs, section 3.
package sign

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
)

// defaultParallel is how many signatures are under way at once.
const defaultParallel = 32

// Config says what a [Signer] signs with. Either CA and Token are set, or Key.
type Config struct {
	// CA certifies an ephemeral key for the identity that Token proves.
	CA sigbox.CA
	// Token gives an identity token. It is called for each certificate that is
	// needed: once, unless a run outlasts the certificate.
	Token func(context.Context) (Token, error)

	// Key is a key that verifiers know already.
	Key crypto.Signer

	// Logs are written to, all of them; none makes bundles without an entry. One that
	// is an [EnvelopeLog] records envelopes as such.
	Logs []sigbox.Log
	// Stampers are asked for timestamps, all of them; none makes bundles without.
	Stampers []sigbox.Stamper

	// Verify judges each bundle before it is handed out, usually by the verify
	// package and the trusted root of the services; nil leaves it to the caller.
	// The identity is that of the certificate, zero with Key.
	Verify func(*sigbox.Bundle, sigbox.Identity) error

	// Parallel is how many signatures may be under way at once; 0 is 32.
	Parallel int
	// Now is the clock, which must be monotonic; nil is time.Now.
	Now func() time.Time
}

// Signer makes bundles. Its methods are safe for concurrent use.
type Signer struct {
	config Config
	slots  chan struct{} // one for each signature under way

	lock    chan struct{} // guards current; a channel, so that waiting ends with ctx
	current *credential   // nil before the first signature
}

// New makes a signer. It asks nobody for anything yet.
func New(c Config) (*Signer, error) {
	if (c.Key == nil) == (c.CA == nil) || (c.CA == nil) != (c.Token == nil) {
		return nil, sigbox.Errorf(sigbox.Invalid, "a signer needs either a certificate authority and a token, or a key")
	}
	if c.Parallel <= 0 {
		c.Parallel = defaultParallel
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Signer{config: c, slots: make(chan struct{}, c.Parallel), lock: make(chan struct{}, 1)}
	if c.Key != nil {
		var err error
		if s.current, err = keyCredential(c.Key); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Hash is the algorithm of the digests that [Signer.Digest] takes.
func (s *Signer) Hash() sigbox.HashAlgorithm {
	if s.config.Key != nil {
		return s.current.details.Hash()
	}
	return ephemeralDetails.Hash()
}

// Identity gives whom signatures are made for, after asking for a certificate if
// there is none yet. It is zero with a key of one's own.
func (s *Signer) Identity(ctx context.Context) (sigbox.Identity, error) {
	c, err := s.credential(ctx)
	if err != nil {
		return sigbox.Identity{}, err
	}
	return c.identity, nil
}

// Digest signs an artifact of which d, by [Signer.Hash], is the digest.
func (s *Signer) Digest(ctx context.Context, d sigbox.Digest) (*sigbox.Bundle, error) {
	if !d.Valid() || d.Algorithm != s.Hash() {
		return nil, sigbox.Mismatch(sigbox.Invalid, "cannot sign this digest", "a "+s.Hash().String()+" digest", d)
	}
	return s.sign(ctx, d, func(b *sigbox.Bundle, signature []byte) {
		b.Message = &sigbox.MessageSignature{Digest: d, Signature: signature}
	})
}

// Envelope signs payload in a DSSE envelope. The log gets the digest of the
// envelope's PAE, as Rekor v2 wants it, or if it is an [EnvelopeLog] the envelope.
func (s *Signer) Envelope(ctx context.Context, payloadType string, payload []byte) (*sigbox.Bundle, error) {
	d := s.Hash().Sum(sigbox.PAE(payloadType, payload))
	return s.sign(ctx, d, func(b *sigbox.Bundle, signature []byte) {
		b.Envelope = &sigbox.Envelope{
			PayloadType: payloadType, Payload: payload,
			Signatures: []sigbox.EnvelopeSignature{{Signature: signature}},
		}
	})
}

// sign makes the bundle of a signature over d, which put places in it.
func (s *Signer) sign(ctx context.Context, d sigbox.Digest, put func(*sigbox.Bundle, []byte)) (*sigbox.Bundle, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, interrupted(ctx)
	}
	c, err := s.credential(ctx)
	if err != nil {
		return nil, err
	}
	signature, err := c.key.Sign(rand.Reader, d.Value, c.details.SignerOpts())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "the key does not sign").WithCause(err)
	}
	b := c.emptyBundle()
	put(b, signature)
	if err := s.attest(ctx, c, d, signature, b); err != nil {
		return nil, err
	}
	if s.config.Verify != nil {
		if err := s.config.Verify(b, c.identity); err != nil {
			return nil, sigbox.Errorf(sigbox.NotVerified, "the services gave a signature that does not verify, so it was thrown away: %w", err).
				WithHint("is the trust root of this instance up to date, and are these its services?")
		}
	}
	return b, nil
}

// attest has the signature logged and timestamped, all at once, and puts what
// comes of it into b.
func (s *Signer) attest(ctx context.Context, c *credential, d sigbox.Digest, signature []byte, b *sigbox.Bundle) error {
	g, ctx := errgroup.WithContext(ctx)
	e := c.entry(d, signature)
	b.Entries = make([]sigbox.LogEntry, len(s.config.Logs))
	for i, log := range s.config.Logs {
		g.Go(func() (err error) {
			if l, ok := log.(EnvelopeLog); ok && b.Envelope != nil {
				b.Entries[i], err = recordEnvelope(ctx, l, e, b.Envelope)
			} else {
				b.Entries[i], err = record(ctx, log, e)
			}
			return err
		})
	}
	b.Timestamps = make([][]byte, len(s.config.Stampers))
	for i, stamper := range s.config.Stampers {
		g.Go(func() (err error) {
			b.Timestamps[i], err = stamp(ctx, stamper, signature)
			return err
		})
	}
	return g.Wait()
}

// emptyBundle is a bundle that names c and holds no signature yet.
func (c *credential) emptyBundle() *sigbox.Bundle {
	b := &sigbox.Bundle{MediaType: bundle.MediaTypeV03, Version: 3}
	if c.certificate != nil {
		b.Certificates = [][]byte{c.certificate}
		return b
	}
	sum := sha256.Sum256(c.publicKey)
	b.KeyHint = base64.StdEncoding.EncodeToString(sum[:])
	return b
}

// entry is what goes into the log for a signature of c.
func (c *credential) entry(d sigbox.Digest, signature []byte) sigbox.Entry {
	e := sigbox.Entry{Digest: d, Signature: signature, Details: c.details}
	if c.certificate != nil {
		e.Certificate = c.certificate
	} else {
		e.PublicKey = c.publicKey
	}
	return e
}

// keyCredential is a key that needs no certificate. Logs take no signatures of
// pure Ed25519, so those keys sign in the prehashed way.
func keyCredential(key crypto.Signer) (*credential, error) {
	details, err := sigbox.DetailsOf(key.Public())
	if err != nil {
		return nil, err
	}
	switch {
	case details == sigbox.Ed25519:
		details = sigbox.Ed25519ph
	case details.Legacy():
		return nil, sigbox.Errorf(sigbox.Invalid, "a key %s is too weak to sign with: what it signed is verified, no more", sigbox.DescribeKey(key.Public())).
			WithHint("make a new key: ECDSA P-256, Ed25519, or RSA of 3072 bits")
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "cannot write the public key of the key to sign with").WithCause(err)
	}
	return &credential{key: key, details: details, publicKey: der}, nil
}

func interrupted(ctx context.Context) error {
	return sigbox.Errorf(sigbox.Unavailable, "signing was interrupted").WithCause(ctx.Err())
}
