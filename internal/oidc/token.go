package oidc

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sigbox/sigbox"
)

// DefaultAudience is what Sigstore's clients call themselves, and what their
// tokens are for.
const DefaultAudience = "sigstore"

const (
	// DefaultLifetime is how long a token lives: as long as a certificate.
	DefaultLifetime = 10 * time.Minute
	// MaxLifetime bounds what MintToken gives.
	MaxLifetime = 24 * time.Hour
	// maxAudience bounds an audience, in bytes.
	maxAudience = 256
	// clockSkew is by how much nbf precedes iat: some clients refuse a token
	// whose nbf is in their future, without any leeway.
	clockSkew = 5 * time.Second
)

// Bounds of the signing key, in bits.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// MinterConfig is what a Minter needs. Issuer and Key are required.
type MinterConfig struct {
	// Issuer is the provider's URL, which tokens carry as iss.
	Issuer string
	// Key is an RSA key of 2048 to 4096 bits.
	Key crypto.Signer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand gives token IDs; nil is crypto/rand.
	Rand io.Reader
}

// Minter makes the provider's tokens. It needs no store and no server, so
// whoever can read the key can speak for any address. Methods are safe for
// concurrent use if the key is.
type Minter struct {
	issuer string
	keys   atomic.Pointer[minterKeys]
	now    func() time.Time
	rand   io.Reader
}

// minterKeys are the key that signs and those that verify.
type minterKeys struct {
	signer jose.Signer
	public []jose.JSONWebKey // the signing one's first
}

// NewMinter checks the key. Errors: Invalid for a key that clients would refuse.
func NewMinter(c MinterConfig) (*Minter, error) {
	m := &Minter{issuer: c.Issuer, now: c.Now, rand: c.Rand}
	if m.now == nil {
		m.now = time.Now
	}
	if m.rand == nil {
		m.rand = rand.Reader
	}
	if err := m.SetKeys(c.Key); err != nil {
		return nil, err
	}
	return m, nil
}

// SetKeys has tokens signed with key from now on. The others verify besides: one that
// has signed, or that will. Errors: Invalid for a key that clients would refuse; then
// nothing changes.
func (m *Minter) SetKeys(key crypto.Signer, others ...crypto.PublicKey) error {
	signing, err := newSigningKey(key)
	if err != nil {
		return err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: signing}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return fmt.Errorf("preparing the token signer: %w", err)
	}
	keys := &minterKeys{signer, []jose.JSONWebKey{signing.public}}
	for _, other := range others {
		public, err := newPublicKey(other)
		if err != nil {
			return err
		}
		keys.public = append(keys.public, public)
	}
	m.keys.Store(keys)
	return nil
}

// Keys gives the public keys that verify the tokens, with their IDs.
func (m *Minter) Keys() []jose.JSONWebKey { return m.keys.Load().public }

// MintToken makes a token that says that its bearer is email. audience "" is
// DefaultAudience, lifetime 0 is DefaultLifetime. Errors: Invalid.
func (m *Minter) MintToken(ctx context.Context, email, audience string, lifetime time.Duration) (string, error) {
	if err := cmp.Or(CheckEmail(email), ctx.Err()); err != nil {
		return "", err
	}
	audience = cmp.Or(audience, DefaultAudience)
	if len(audience) > maxAudience {
		return "", sigbox.Errorf(sigbox.Invalid, "the audience is longer than %d bytes", maxAudience)
	}
	lifetime = cmp.Or(lifetime, DefaultLifetime)
	if lifetime < time.Second || lifetime > MaxLifetime {
		return "", sigbox.Mismatch(sigbox.Invalid, "a token cannot live that long", "between 1s and "+MaxLifetime.String(), lifetime)
	}
	return m.mint(claims{Subject: email, Email: email, Audience: audience, Federated: m.own(email)}, lifetime)
}

// own is where an address of this provider's own comes from.
func (m *Minter) own(email string) federated { return federated{m.issuer, email} }

// claims are those of ID and access tokens alike, since clients submit either.
// The subject is the address: it is the only identity that there is here, and so
// a proof of possession over sub or over email is the same.
type claims struct {
	Issuer        string           `json:"iss"`
	Subject       string           `json:"sub"`
	Audience      string           `json:"aud"`
	Expiry        *jwt.NumericDate `json:"exp"`
	IssuedAt      *jwt.NumericDate `json:"iat"`
	NotBefore     *jwt.NumericDate `json:"nbf"`
	ID            string           `json:"jti"`
	Email         string           `json:"email"`
	EmailVerified bool             `json:"email_verified"`
	Name          string           `json:"name,omitempty"`
	Nonce         string           `json:"nonce,omitempty"`
	AuthTime      *jwt.NumericDate `json:"auth_time,omitempty"`
	// AccessTokenHash binds an ID token to the access token beside it
	// (OpenID Connect Core §3.1.3.6).
	AccessTokenHash string `json:"at_hash,omitempty"`
	// Federated says whose account the address is; see [FederatedIssuer].
	Federated federated `json:"federated_claims"`
}

// federated is a claim that Dex has made usual: the provider that vouches for a
// person, here by its URL, and how that one knows them.
type federated struct {
	ConnectorID string `json:"connector_id"`
	UserID      string `json:"user_id"`
}

// mint fills in what all tokens have, and signs.
func (m *Minter) mint(c claims, lifetime time.Duration) (string, error) {
	now := m.now()
	var id [16]byte
	if _, err := io.ReadFull(m.rand, id[:]); err != nil {
		return "", fmt.Errorf("making a token ID: %w", err)
	}
	c.Issuer = m.issuer
	c.EmailVerified = true
	c.IssuedAt = jwt.NewNumericDate(now)
	c.NotBefore = jwt.NewNumericDate(now.Add(-clockSkew))
	c.Expiry = jwt.NewNumericDate(now.Add(lifetime))
	c.ID = base64.RawURLEncoding.EncodeToString(id[:])
	token, err := jwt.Signed(m.keys.Load().signer).Claims(c).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return token, nil
}

// open checks a token of our own for the userinfo endpoint.
func (m *Minter) open(token string, audiences []string) (claims, error) {
	bad := sigbox.Errorf(sigbox.Unauthenticated, "the access token is not one of ours, or it has expired")
	t, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return claims{}, bad.WithCause(err)
	}
	var c claims
	var standard jwt.Claims
	if err := t.Claims(&jose.JSONWebKeySet{Keys: m.Keys()}, &c, &standard); err != nil {
		return claims{}, bad.WithCause(err)
	}
	want := jwt.Expected{Issuer: m.issuer, AnyAudience: audiences, Time: m.now()}
	if err := standard.ValidateWithLeeway(want, 0); err != nil {
		return claims{}, bad.WithCause(err)
	}
	return c, nil
}

// accessTokenHash is at_hash for RS256: the left half of SHA-256.
func accessTokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// signingKey lets go-jose sign with any crypto.Signer that holds an RSA key.
type signingKey struct {
	signer crypto.Signer
	public jose.JSONWebKey
}

func newSigningKey(signer crypto.Signer) (signingKey, error) {
	if signer == nil {
		return signingKey{}, sigbox.Errorf(sigbox.Invalid, "the OpenID provider has no signing key")
	}
	public, err := newPublicKey(signer.Public())
	return signingKey{signer, public}, err
}

// newPublicKey checks a key and names it.
func newPublicKey(key crypto.PublicKey) (jose.JSONWebKey, error) {
	pub, ok := key.(*rsa.PublicKey)
	if !ok {
		return jose.JSONWebKey{}, sigbox.Mismatch(sigbox.Invalid, "the OpenID provider cannot sign with this key",
			"an RSA key, since cosign takes no tokens but RS256", fmt.Sprintf("%T", key))
	}
	if bits := pub.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return jose.JSONWebKey{}, sigbox.Mismatch(sigbox.Invalid, "the OpenID provider's RSA key has an unsuitable size",
			fmt.Sprintf("%d to %d bits", minRSABits, maxRSABits), bits)
	}
	jwk := jose.JSONWebKey{Key: pub, Algorithm: string(jose.RS256), Use: "sig"}
	thumb, err := jwk.Thumbprint(crypto.SHA256) // RFC 7638
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("naming the token key: %w", err)
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	return jwk, nil
}

// Public implements jose.OpaqueSigner.
func (k signingKey) Public() *jose.JSONWebKey { return &k.public }

// Algs implements jose.OpaqueSigner.
func (k signingKey) Algs() []jose.SignatureAlgorithm { return []jose.SignatureAlgorithm{jose.RS256} }

// SignPayload implements jose.OpaqueSigner: RSASSA-PKCS1-v1_5 with SHA-256
// (RFC 7518 §3.3).
func (k signingKey) SignPayload(payload []byte, _ jose.SignatureAlgorithm) ([]byte, error) {
	digest := sha256.Sum256(payload)
	return k.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
}
