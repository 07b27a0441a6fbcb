package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/cert"
)

// start is when tests begin.
func start() time.Time { return time.Date(2025, 6, 1, 12, 0, 0, 123456789, time.UTC) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// provider signs tokens as an OpenID provider does.
type provider struct {
	key crypto.Signer
	alg jose.SignatureAlgorithm
	kid string
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	return &provider{fixture.Key(t), jose.ES256, "key-1"}
}

func (p *provider) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: p.key.Public(), KeyID: p.kid, Use: "sig"}
}

func (p *provider) source() ca.KeySource {
	return ca.StaticKeys(func() []jose.JSONWebKey { return []jose.JSONWebKey{p.jwk()} })
}

// sign makes a token of a payload.
func (p *provider) sign(t testing.TB, payload []byte) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.alg, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return must(must(signer.Sign(payload)).CompactSerialize())
}

type object = map[string]any

// token signs claims over the usual ones; a nil value takes one away.
func (p *provider) token(t testing.TB, claims object) string {
	t.Helper()
	all := object{
		"iss": "https://issuer.example.com", "sub": "subject-1", "aud": "sigstore",
		"iat": start().Unix(), "nbf": start().Unix(), "exp": start().Add(5 * time.Minute).Unix(),
	}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return p.sign(t, must(json.Marshal(all)))
}

// ctLog is a CT log of one entry.
type ctLog struct {
	key    *ecdsa.PrivateKey
	err    error
	change func(sct []byte) []byte // nil: as it is

	mu     sync.Mutex
	chains [][][]byte
}

func (l *ctLog) AddPreChain(_ context.Context, chain [][]byte) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chains = append(l.chains, chain)
	issuer := must(x509.ParseCertificate(chain[1]))
	s := cert.SCT{LogID: must(cert.LogID(l.key.Public())), Timestamp: 1748779200123, Algorithm: cert.SHA256WithECDSA}
	digest := sha256.Sum256(cert.SCTInput(s, sha256.Sum256(issuer.RawSubjectPublicKeyInfo), must(cert.PrecertTBS(chain[0]))))
	s.Signature = must(l.key.Sign(rand.Reader, digest[:], crypto.SHA256))
	sct := must(s.Marshal())
	if l.change != nil {
		sct = l.change(sct)
	}
	return sct, nil
}

// instance is a service with all that it stands on.
type instance struct {
	*ca.Service
	clock *fixture.Clock
	log   *ctLog
	idp   *provider
}

// newInstance makes a service. Issuers without a source of keys get the test
// provider's.
func newInstance(t testing.TB, issuers ...ca.Issuer) *instance {
	t.Helper()
	i := &instance{clock: fixture.NewClock(start()), log: &ctLog{key: fixture.Key(t)}, idp: newProvider(t)}
	if issuers == nil {
		issuers = []ca.Issuer{{URL: "https://issuer.example.com", Type: ca.Email}}
	}
	for n := range issuers {
		if issuers[n].Keys == nil {
			issuers[n].Keys = i.idp.source()
		}
	}
	root, key := fixture.Key(t), fixture.Key(t)
	chain, err := ca.NewChain(ca.ChainConfig{Root: root, Intermediate: key.Public(), Now: i.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	i.Service, err = ca.New(ca.Config{Key: key, Chain: chain, CTLog: i.log, Issuers: issuers, Now: i.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// request makes a request with a proof over text by a new key.
func request(t testing.TB, token, text string) sigbox.CertificateRequest {
	t.Helper()
	return requestBy(t, fixture.Key(t), token, text)
}

func requestBy(t testing.TB, key crypto.Signer, token, text string) sigbox.CertificateRequest {
	t.Helper()
	details, err := sigbox.DetailsOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	message := []byte(text)
	if h := details.Hash(); h.Valid() {
		message = h.Sum(message).Value
	}
	proof, err := key.Sign(rand.Reader, message, details.SignerOpts())
	if err != nil {
		t.Fatal(err)
	}
	return sigbox.CertificateRequest{Token: token, PublicKey: key.Public(), Proof: proof}
}

// verify checks a chain as a verifier does: to the root, for code signing, with
// the SCT.
func (i *instance) verify(t testing.TB, chain [][]byte) *x509.Certificate {
	t.Helper()
	if len(chain) != 3 {
		t.Fatalf("expected leaf, intermediate and root, found %d certificates", len(chain))
	}
	leaf, intermediate, root := must(x509.ParseCertificate(chain[0])), must(x509.ParseCertificate(chain[1])), must(x509.ParseCertificate(chain[2]))
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	intermediates.AddCert(intermediate)
	// An otherName is a critical name that crypto/x509 does not know; IdentityOf
	// reads it.
	leaf.UnhandledCriticalExtensions = nil
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: i.clock.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}); err != nil {
		t.Fatal(err)
	}
	scts, err := cert.SCTList(leaf)
	if err != nil || len(scts) != 1 {
		t.Fatalf("%d SCTs, %v", len(scts), err)
	}
	if err := cert.VerifySCT(scts[0], leaf.Raw, intermediate.RawSubjectPublicKeyInfo, i.log.key.Public()); err != nil {
		t.Fatal(err)
	}
	return leaf
}

// refused wants an error of a kind that speaks of something.
func refused(t testing.TB, err error, kind sigbox.Kind, about string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; expected a refusal that says %q", about)
	}
	if sigbox.KindOf(err) != kind || !contains(err.Error(), about) {
		t.Fatalf("expected an error of kind %q that says %q, found kind %q: %v", kind, about, sigbox.KindOf(err), err)
	}
}
