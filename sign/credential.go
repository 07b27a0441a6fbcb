package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// ephemeralDetails is the algorithm of ephemeral keys.
const ephemeralDetails = sigbox.ECDSAP256SHA256

// credential is a key and what makes verifiers believe it.
type credential struct {
	key         crypto.Signer
	details     sigbox.KeyDetails
	certificate []byte // DER; nil for a key of one's own
	publicKey   []byte // DER SubjectPublicKeyInfo; nil with a certificate
	identity    sigbox.Identity
	renew       time.Time // when to ask for another certificate; zero is never
}

// credential gives what to sign with, and asks for a new certificate when there
// is none that is good for long enough.
func (s *Signer) credential(ctx context.Context) (*credential, error) {
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, interrupted(ctx)
	}
	if s.current != nil && (s.current.renew.IsZero() || s.config.Now().Before(s.current.renew)) {
		return s.current, nil
	}
	c, err := s.certify(ctx)
	if err != nil {
		return nil, err
	}
	s.current = c
	return c, nil
}

// certify makes a key and has it certified.
func (s *Signer) certify(ctx context.Context) (*credential, error) {
	token, err := s.config.Token(ctx)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "cannot make a key").WithCause(err)
	}
	// A CSR proves possession by its own signature, so that we need not guess
	// which of the token's claims this issuer's proof would be over.
	csr, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "cannot make a certificate request").WithCause(err)
	}
	asked := s.config.Now()
	chain, err := s.config.CA.Issue(ctx, sigbox.CertificateRequest{Token: token.Raw, CSR: csr})
	if err != nil {
		return nil, s.explainIssue(token, err)
	}
	leaf, identity, err := checkCertificate(chain, key.Public(), token)
	if err != nil {
		return nil, err
	}
	return &credential{
		key: key, details: ephemeralDetails, certificate: leaf.Raw, identity: identity,
		// Half of its life, counted by our own clock from when we asked: a clock
		// that is wrong does no harm.
		renew: asked.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2),
	}, nil
}

// explainIssue says so when the token has simply run out. What the authority says of it
// then is the same in other words, or comes after a fresh token.
func (s *Signer) explainIssue(t Token, err error) error {
	kind := sigbox.KindOf(err)
	if t.Expires.IsZero() || s.config.Now().Before(t.Expires) || (kind != sigbox.Invalid && kind != sigbox.Unauthenticated) {
		return err
	}
	return sigbox.Errorf(sigbox.Unauthenticated, "the identity token has expired at %s", t.Expires.Format(time.RFC3339)).
		WithHint("get a fresh token and sign what is left again")
}

// checkCertificate makes sure that the authority certified our key for the
// identity of our token, and nothing else.
func checkCertificate(chain [][]byte, key crypto.PublicKey, t Token) (*x509.Certificate, sigbox.Identity, error) {
	if len(chain) == 0 {
		return nil, sigbox.Identity{}, badCertificate("there is none")
	}
	leaf, err := sigbox.ParseCertificate(chain[0])
	if err != nil {
		return nil, sigbox.Identity{}, badCertificate("it cannot be read").WithCause(err)
	}
	if pub, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key) {
		return nil, sigbox.Identity{}, badCertificate("it is for another key than ours")
	}
	if !leaf.NotAfter.After(leaf.NotBefore) {
		return nil, sigbox.Identity{}, badCertificate("it is valid at no time")
	}
	identity, err := cert.IdentityOf(leaf)
	if err != nil {
		return nil, sigbox.Identity{}, badCertificate("it names no identity").WithCause(err)
	}
	return leaf, identity, checkIdentity(identity, t)
}

// checkIdentity compares what can be compared: authorities compose the subjects
// of CI providers from claims by templates of their own, so that of URIs only
// those are checked that stand in the token as they are.
func checkIdentity(id sigbox.Identity, t Token) error {
	if id.Issuer != t.Issuer && (t.FederatedIssuer == "" || id.Issuer != t.FederatedIssuer) {
		return sigbox.Mismatch(sigbox.NotVerified, "the authority's certificate speaks of another issuer than the identity token", t.Issuer, id.Issuer)
	}
	want := ""
	switch {
	case id.Kind == sigbox.EmailSAN && t.Email != "":
		want = t.Email
	case id.Kind == sigbox.URISAN && strings.HasPrefix(t.Subject, "spiffe://"):
		want = t.Subject
	case id.Kind == sigbox.OtherNameSAN && !strings.HasPrefix(id.Subject, t.Subject+"!"):
		want = t.Subject + "!…"
	default:
		return nil
	}
	if id.Subject != want {
		return sigbox.Mismatch(sigbox.NotVerified, "the authority's certificate speaks for somebody else than the identity token", want, id.Subject)
	}
	return nil
}

func badCertificate(why string) *sigbox.Error {
	return sigbox.Errorf(sigbox.NotVerified, "the certificate authority's answer cannot be used: %s", why)
}
