package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"time"

	"github.com/sigbox/sigbox"
)

// How long a new authority lives, and how long before its making it is valid:
// clocks differ, and times in certificates and trust roots are whole seconds.
const (
	authorityYears = 10
	headStart      = 5 * time.Minute
)

// AuthorityConfig says what [NewAuthority] makes. The zero value works.
type AuthorityConfig struct {
	// Organization stands in the subjects, "sigbox" if "".
	Organization string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand is for keys, serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
}

// Authority is a new certificate authority.
type Authority struct {
	// RootKey is needed again only to make another intermediate.
	RootKey crypto.Signer
	// Key is the intermediate's, which issues.
	Key crypto.Signer
	// Chain is DER: the intermediate, then the self-signed root.
	Chain [][]byte
	// ValidFor is when both are valid, in whole seconds.
	ValidFor sigbox.TimeRange
}

// NewAuthority makes keys and certificates for an instance: ECDSA P-256, which
// verifiers check fastest; a self-signed root; and an intermediate that can issue
// code signing certificates and no further authorities.
func NewAuthority(c AuthorityConfig) (*Authority, error) {
	if c.Organization == "" {
		c.Organization = "sigbox"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	start := c.Now().UTC().Add(-headStart).Truncate(time.Second)
	a := &Authority{ValidFor: sigbox.TimeRange{Start: start, End: start.AddDate(authorityYears, 0, 0)}}
	root, err := c.template("root", a.ValidFor)
	if err != nil {
		return nil, err
	}
	root.MaxPathLen = 1
	intermediate, err := c.template("intermediate", a.ValidFor)
	if err != nil {
		return nil, err
	}
	intermediate.MaxPathLenZero = true
	intermediate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}

	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, newAuthorityError(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), c.Rand)
	if err != nil {
		return nil, newAuthorityError(err)
	}
	rootDER, err := c.issue(root, root, rootKey, rootKey)
	if err != nil {
		return nil, err
	}
	intermediateDER, err := c.issue(intermediate, root, key, rootKey)
	if err != nil {
		return nil, err
	}
	a.RootKey, a.Key, a.Chain = rootKey, key, [][]byte{intermediateDER, rootDER}
	return a, nil
}

// template is what root and intermediate have in common.
func (c *AuthorityConfig) template(name string, valid sigbox.TimeRange) (*x509.Certificate, error) {
	serial := make([]byte, serialSize)
	if _, err := io.ReadFull(c.Rand, serial); err != nil {
		return nil, newAuthorityError(err)
	}
	serial[0] = serial[0]&0x7f | 0x40
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{Organization: []string{c.Organization}, CommonName: c.Organization + " " + name},
		NotBefore:    valid.Start, NotAfter: valid.End,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true,
	}, nil
}

// issue signs a template for key. The key IDs are set so that they are the same
// in both certificates.
func (c *AuthorityConfig) issue(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) ([]byte, error) {
	for t, k := range map[*x509.Certificate]*ecdsa.PrivateKey{template: key, parent: parentKey} {
		spki, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			return nil, newAuthorityError(err)
		}
		if t.SubjectKeyId, err = subjectKeyID(spki); err != nil {
			return nil, err
		}
	}
	template.AuthorityKeyId = parent.SubjectKeyId
	der, err := x509.CreateCertificate(c.Rand, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, newAuthorityError(err)
	}
	return der, nil
}

func newAuthorityError(err error) error {
	return sigbox.Errorf(sigbox.Internal, "making a certificate authority").WithCause(err)
}
