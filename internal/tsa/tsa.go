// Package tsa is the timestamp authority (RFC 3161): it vouches that a signature
// existed at a time. A [Service] needs a key and its chain, which [NewChain] makes
// for a new instance.
//
// The time is the machine's, as far as [clock.Clock] vouches for it. Nothing is issued
// when it does not, or when the time is outside the certificate's validity: a timestamp
// that is wrong cannot be taken back.
package tsa

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	encoding "encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/gate"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// Config is what a [Service] needs.
type Config struct {
	// Key signs; Chain is DER, Key's certificate first, the root last. Required.
	Key   crypto.Signer
	Chain [][]byte
	// URL is where clients find the service, path included; it goes into the trust
	// root.
	URL string
	// Policy of all tokens; nil is Sigstore's, 1.3.6.1.4.1.57264.2.
	Policy encoding.ObjectIdentifier
	// Clock gives the time; nil is Now, watched for steps back alone.
	Clock *clock.Clock
	// Now is the clock where Clock is nil; nil is time.Now.
	Now func() time.Time
	// Gate bounds what is signed at once; nil is no bound.
	Gate *gate.Gate
	// Rand is for serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
}

// Service issues timestamps. It implements [sigbox.Stamper] and is safe for
// concurrent use.
type Service struct {
	cfg Config // Key and Chain are those of New
	// authority signs.
	authority atomic.Pointer[authority]
	// trusted are the authorities whose timestamps are to be trusted.
	trusted atomic.Pointer[[]sigbox.CertificateAuthority]
}

var _ sigbox.Stamper = (*Service)(nil)

// authority is a key with its chain.
type authority struct {
	signer *timestamp.Signer
	leaf   *x509.Certificate
	chain  [][]byte
}

// New makes a service. It refuses a key or chain that clients would not accept.
func New(cfg Config) (*Service, error) {
	if cfg.Clock == nil {
		var err error
		if cfg.Clock, err = clock.New(clock.Config{Now: cfg.Now}); err != nil {
			return nil, err
		}
	}
	cfg.Rand = cmp.Or(cfg.Rand, rand.Reader)
	s := &Service{cfg: cfg}
	if err := s.SetAuthority(cfg.Key, cfg.Chain, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// SetAuthority has timestamps signed with another key and its chain from now on. All are
// the authorities whose timestamps are to be trusted, those that were and one that will be
// as well; nil is the one of chain alone. Nothing changes when clients would not accept
// key and chain.
func (s *Service) SetAuthority(key crypto.Signer, chain [][]byte, all []sigbox.CertificateAuthority) error {
	next, err := s.cfg.authority(key, chain)
	if err != nil {
		return err
	}
	if all == nil {
		all = []sigbox.CertificateAuthority{trustIn(next.leaf, chain, s.cfg.URL)}
	}
	s.authority.Store(next)
	s.trusted.Store(&all)
	return nil
}

// CheckAuthority says why clients would not accept a key and a chain; see [Config].
func CheckAuthority(key crypto.Signer, chain [][]byte) error {
	_, err := (&Config{}).authority(key, chain)
	return err
}

// authority prepares a key with its chain.
func (cfg *Config) authority(key crypto.Signer, chain [][]byte) (*authority, error) {
	if key == nil || len(chain) == 0 {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: no key or no chain")
	}
	signer, err := timestamp.NewSigner(timestamp.SignerConfig{Key: key, Chain: chain, Policy: cfg.Policy, Rand: cfg.Rand})
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: %w", err)
	}
	return &authority{signer, leaf, chain}, nil
}

// Stamp answers a DER TimeStampReq. A request that is well-formed and asks for
// what this authority does not do (another hash, policy or extension) is answered
// with a rejection, as RFC 3161 §2.4.2 has it. Errors: Invalid and TooLarge for
// what is no request, Unavailable for a clock that is not to be trusted and when there
// is too much to do.
func (s *Service) Stamp(ctx context.Context, der []byte) ([]byte, error) {
	req, err := timestamp.ParseRequest(der)
	if err != nil {
		return reject(err)
	}
	resp, err := s.StampRequest(ctx, req)
	if err != nil {
		return reject(err)
	}
	return resp, nil
}

// reject turns an error that a client should find in a TimeStampResp into one, and
// gives other errors back.
func reject(err error) ([]byte, error) {
	f, ok := errors.AsType[timestamp.Failure](err)
	e, public := errors.AsType[*sigbox.Error](err)
	if !ok || !public {
		return nil, err
	}
	switch f {
	case timestamp.BadAlgorithm, timestamp.UnacceptedPolicy, timestamp.UnacceptedExtension:
		return timestamp.Reject(f, e.Public()).Marshal(), nil
	}
	return nil, err
}

// StampRequest answers a request with a granted TimeStampResp or an error; see
// [Service.Stamp].
func (s *Service) StampRequest(ctx context.Context, req timestamp.Request) ([]byte, error) {
	visit, err := s.cfg.Gate.Knock(ctx)
	if err != nil {
		return nil, err
	}
	defer visit.End()
	if err := visit.Enter(ctx); err != nil {
		return nil, err
	}
	now, err := s.time()
	if err != nil {
		return nil, err
	}
	serial, err := s.serial()
	if err != nil {
		return nil, err
	}
	return s.authority.Load().signer.Respond(req, now, serial)
}

// time reads the clock.
func (s *Service) time() (time.Time, error) {
	now, err := s.cfg.Clock.Time()
	if err != nil {
		return time.Time{}, err
	}
	return now, s.authority.Load().covers(now)
}

// covers wants a time within the certificate's validity.
func (a *authority) covers(now time.Time) error {
	if now.Before(a.leaf.NotBefore) || now.After(a.leaf.NotAfter) {
		return sigbox.Errorf(sigbox.Unavailable, "timestamp authority: the clock says %s, the certificate is valid from %s to %s",
			now.Format(time.RFC3339), a.leaf.NotBefore.Format(time.RFC3339), a.leaf.NotAfter.Format(time.RFC3339)).
			WithHint("check the machine's clock").WithCause(timestamp.TimeNotAvailable)
	}
	return nil
}

// Err says why the service would refuse requests now, for readiness checks.
func (s *Service) Err() error {
	_, err := s.time()
	return err
}

// serial makes a random serial number that fits 20 octets as a positive INTEGER.
func (s *Service) serial() (*big.Int, error) {
	var b [timestamp.SerialSize]byte
	if _, err := io.ReadFull(s.cfg.Rand, b[:]); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: no randomness").WithCause(err)
	}
	b[0] = b[0]&0x3f | 0x40 // positive, and never zero
	return new(big.Int).SetBytes(b[:]), nil
}

// Chain gives the certificates as DER, leaf first, root last.
func (s *Service) Chain() [][]byte { return s.authority.Load().chain }

// ChainPEM gives the certificates as PEM, leaf first, root last.
func (s *Service) ChainPEM() []byte {
	var b []byte
	for _, der := range s.Chain() {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return b
}

// CertificateAuthorities are the entries in a trust root of this authority, of those that
// were before it and of one that will follow. They are not to be changed.
func (s *Service) CertificateAuthorities() []sigbox.CertificateAuthority { return *s.trusted.Load() }

// TrustIn is the entry in a trust root of an authority by its chain, DER, leaf first: valid
// from the leaf's first second on, with an open end. URL is as in [Config].
func TrustIn(chain [][]byte, url string) (sigbox.CertificateAuthority, error) {
	if len(chain) == 0 {
		return sigbox.CertificateAuthority{}, sigbox.Errorf(sigbox.Internal, "timestamp authority: no chain")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return sigbox.CertificateAuthority{}, sigbox.Errorf(sigbox.Invalid, "timestamp authority: %w", err)
	}
	return trustIn(leaf, chain, url), nil
}

func trustIn(leaf *x509.Certificate, chain [][]byte, url string) sigbox.CertificateAuthority {
	ca := sigbox.CertificateAuthority{
		CommonName: leaf.Subject.CommonName, URI: url, Chain: chain,
		ValidFor: sigbox.TimeRange{Start: leaf.NotBefore},
	}
	if len(leaf.Subject.Organization) > 0 {
		ca.Organization = leaf.Subject.Organization[0]
	}
	return ca
}
