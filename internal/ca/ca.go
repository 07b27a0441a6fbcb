// Package ca is the certificate authority: it turns an OpenID identity token and
// a proof of possession into a code signing certificate that lives for ten
// minutes, and logs it before it leaves.
//
//	chain, err := ca.NewChain(ca.ChainConfig{Root: rootKey, Intermediate: key.Public()})
//	service, err := ca.New(ca.Config{
//		Key: key, Chain: chain, CTLog: ctLog,
//		Issuers: []ca.Issuer{{URL: "https://accounts.example.com", Type: ca.Email}},
//		Keys:    remoteKeys,
//	})
//	chain, err := service.Issue(ctx, request)
//
// A token passes these doors, in this order: its size and shape, a signature
// algorithm of the list, an issuer of the configuration, a key of that issuer,
// audience and times, and the claims that its issuer's type needs. Nothing of a
// token but its issuer is looked at before its signature has been verified.
//
// The certificates are those of Fulcio:
// https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md.
package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/gate"
	"github.com/sigbox/sigbox/internal/store"
)

const (
	// DefaultValidity is how long certificates are valid.
	DefaultValidity = 10 * time.Minute
	// DefaultAudience is the audience that tokens must be for.
	DefaultAudience = "sigstore"
	// MaxToken bounds an identity token, in bytes.
	MaxToken = 32 << 10
)

// Config is what a Service needs. Key, Chain and CTLog are required.
type Config struct {
	// Key signs certificates. It is the key of Chain[0].
	Key crypto.Signer
	// Chain is DER: the certificate of Key, and what leads from it to the
	// self-signed root, which is last.
	Chain [][]byte
	// CTLog logs precertificates.
	CTLog sigbox.CTLog
	// URL is where the authority's API is reached, without a slash at its end, and
	// Operator who runs it, for the trust root. Both may be empty.
	URL, Operator string
	// Issuers are those whose tokens are accepted; see also SetIssuers.
	Issuers []Issuer
	// Providers are CI providers by name, besides those of [Providers] and in the
	// place of those with the same name.
	Providers map[string]Provider
	// Keys fetches the keys of issuers that have no source of their own. Nil
	// refuses the tokens of such issuers.
	Keys KeySource
	// Spent is where tokens are remembered that were used, so that each is good for one
	// certificate; nil lets a token be used as often as anybody likes until it expires.
	Spent store.KV
	// Validity is how long certificates are valid, DefaultValidity if 0, at most
	// one hour.
	Validity time.Duration
	// Gate bounds what is certified at once; nil is no bound.
	Gate *gate.Gate
	// Limit is asked before anything is certified for an identity that a token has proven,
	// by who holds a key; an error refuses. Nil allows everything.
	Limit func(sigbox.Identity) error
	// Record is told what came of each request, before the certificate is handed out; an
	// error keeps it back. Nil is nobody.
	Record func(context.Context, Record) error
	// Clock gives the time that certificates begin at; nil is Now's, watched for steps
	// back alone.
	Clock *clock.Clock
	// Now is the clock that tokens are held against; nil is time.Now.
	Now func() time.Time
	// Rand is for serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
	// Logger takes what is issued, and what goes wrong with issuers' keys; nil
	// discards it.
	Logger *slog.Logger
}

// Service is a certificate authority. Its methods are safe for concurrent use.
type Service struct {
	*Tokens
	config Config // Key and Chain are those of New
	gate   *gate.Gate
	ctlog  sigbox.CTLog
	// signer issues. A certificate is made by one signer from its beginning to its end.
	signer atomic.Pointer[signer]
	// trusted are the authorities whose certificates are to be trusted.
	trusted atomic.Pointer[[]sigbox.CertificateAuthority]
}

var _ sigbox.CA = (*Service)(nil)

// New makes a service. It checks that the chain is one, and that the key is the
// chain's.
func New(c Config) (*Service, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Clock == nil {
		var err error
		if c.Clock, err = clock.New(clock.Config{Now: c.Now}); err != nil {
			return nil, err
		}
	}
	if c.CTLog == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the certificate authority needs a CT log")
	}
	tokens, err := NewTokens(TokensConfig{Issuers: c.Issuers, Providers: c.Providers, Keys: c.Keys, Spent: c.Spent, Now: c.Now, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	s := &Service{Tokens: tokens, config: c, gate: c.Gate, ctlog: c.CTLog}
	if err := s.SetAuthority(c.Key, c.Chain, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// SetAuthority has certificates issued with another key and its chain from now on. All
// are the authorities whose certificates are to be trusted, those that were and one that
// will be as well; nil is the one of chain alone. Nothing changes when the key does not
// belong to the chain.
func (s *Service) SetAuthority(key crypto.Signer, chain [][]byte, all []sigbox.CertificateAuthority) error {
	c := s.config
	c.Key, c.Chain = key, chain
	signer, err := newSigner(c)
	if err != nil {
		return err
	}
	if all == nil {
		all = []sigbox.CertificateAuthority{trustIn(signer.issuer, chain, c.URL, c.Operator)}
	}
	s.signer.Store(signer)
	s.trusted.Store(&all)
	return nil
}

// CheckAuthority says why a key and a chain cannot be an authority's; see [Config].
func CheckAuthority(key crypto.Signer, chain [][]byte) error {
	_, err := newSigner(Config{Key: key, Chain: chain})
	return err
}

// Chain gives the authority's certificates, DER, the issuing one first and the
// self-signed root last. They are not to be changed.
func (s *Service) Chain() [][]byte { return s.signer.Load().chain }

// CertificateAuthorities are the places in a trust root of this authority, of those that
// were before it and of one that will follow. They are not to be changed.
func (s *Service) CertificateAuthorities() []sigbox.CertificateAuthority { return *s.trusted.Load() }

// Err says why the authority can issue nothing now, whoever asks; nil if it can.
func (s *Service) Err() error {
	now, err := s.config.Clock.Time()
	if err != nil {
		return err
	}
	return s.signer.Load().check(now)
}

// Issue checks the token and the proof of possession and returns a certificate
// with its chain; see [sigbox.CA].
func (s *Service) Issue(ctx context.Context, req sigbox.CertificateRequest) ([][]byte, error) {
	visit, err := s.gate.Knock(ctx)
	if err != nil { // counted, and not recorded: nothing was looked at
		return nil, err
	}
	var r Record
	chain, err := s.issue(ctx, req, visit, &r)
	if s.config.Record == nil {
		return chain, err
	}
	if r.Err = err; err == nil {
		r.Certificate = chain[0]
	}
	if unrecorded := s.config.Record(ctx, r); err == nil && unrecorded != nil {
		return nil, unrecorded
	}
	return chain, err
}

func (s *Service) issue(ctx context.Context, req sigbox.CertificateRequest, visit *gate.Visit, r *Record) ([][]byte, error) {
	defer visit.End()
	if err := s.config.Clock.Err(); err != nil { // before the token is used up
		return nil, err
	}
	token, who, err := s.judge(ctx, req.Token, nil)
	if err != nil {
		return nil, err
	}
	r.accepted(token, who)
	// Only who has a good token takes a place, and nobody holds one while an issuer is
	// asked for its keys.
	if err := visit.Enter(ctx); err != nil {
		return nil, err
	}
	pub, err := possession(req, who.proofs)
	if err != nil {
		return nil, err
	}
	if s.config.Limit != nil {
		if err := s.config.Limit(who.identity); err != nil {
			return nil, err
		}
	}
	if s.spent != nil {
		if err := s.spent.spend(ctx, token.ticket); err != nil {
			return nil, err
		}
	}
	chain, err := s.certify(ctx, who.identity, pub)
	if err != nil {
		return nil, err
	}
	s.log.DebugContext(ctx, "certificate issued", "subject", who.identity.Subject, "issuer", who.identity.Issuer)
	return chain, nil
}

// certify makes the certificate: precertificate, log, certificate (RFC 6962
// §3.1). It is given identities that a token has proven, and keys whose
// possession has been.
func (s *Service) certify(ctx context.Context, id sigbox.Identity, pub provenKey) ([][]byte, error) {
	now, err := s.config.Clock.Time()
	if err != nil {
		return nil, err
	}
	signer := s.signer.Load()
	d, err := signer.draft(id, pub, now)
	if err != nil {
		return nil, err
	}
	pre, err := signer.precertificate(d)
	if err != nil {
		return nil, err
	}
	sct, err := s.ctlog.AddPreChain(ctx, signer.withChain(pre))
	if err != nil {
		return nil, err
	}
	final, err := signer.certificate(d, sct)
	if err != nil {
		return nil, err
	}
	return signer.withChain(final), nil
}
