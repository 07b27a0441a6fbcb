package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"strconv"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// How long a new authority lives, and how long before its making it is valid:
// clocks differ, and times in certificates and trust roots are whole seconds.
const (
	authorityYears = 10
	headStart      = 5 * time.Minute
)

// ChainConfig says what [NewChain] makes. Root and Intermediate are required.
type ChainConfig struct {
	// Root signs; an ECDSA or RSA key, as the intermediate's. P-256 is what verifiers
	// check fastest. It is needed again only to make another intermediate.
	Root crypto.Signer
	// RootCertificate is Root's certificate, DER, for another intermediate of a root that
	// there is; nil makes one.
	RootCertificate []byte
	// Intermediate is the public key of the intermediate.
	Intermediate crypto.PublicKey
	// Number stands in the names from 2 on, so that each authority of an instance has one
	// of its own.
	Number int
	// Organization stands in the subjects, "sigbox" if "".
	Organization string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand is for serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
}

// NewChain makes the certificates of an authority for [Config]: an intermediate
// that can issue code signing certificates and no further authorities, and the
// self-signed root, in DER. Both are valid for ten years, from five minutes ago
// on, in whole seconds; an intermediate not longer than a root that there is.
func NewChain(c ChainConfig) ([][]byte, error) {
	if c.Root == nil || c.Intermediate == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "an authority needs a key for its root and one for its intermediate")
	}
	if c.Organization == "" {
		c.Organization = "sigbox"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.RootCertificate == nil {
		var err error
		if c.RootCertificate, err = c.newRoot(); err != nil {
			return nil, err
		}
	}
	root, err := x509.ParseCertificate(c.RootCertificate)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the authority's root certificate: %w", err)
	}
	if err := c.checkRoot(root); err != nil {
		return nil, err
	}
	intermediate, err := c.template("intermediate", c.Intermediate)
	if err != nil {
		return nil, err
	}
	intermediate.MaxPathLenZero = true
	intermediate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	if intermediate.NotAfter.After(root.NotAfter) {
		intermediate.NotAfter = root.NotAfter
	}
	der, err := x509.CreateCertificate(c.Rand, intermediate, root, c.Intermediate, c.Root)
	if err != nil {
		return nil, newChainError(err)
	}
	return [][]byte{der, c.RootCertificate}, nil
}

// newRoot makes the root's certificate.
func (c *ChainConfig) newRoot() ([]byte, error) {
	root, err := c.template("root", c.Root.Public())
	if err != nil {
		return nil, err
	}
	root.MaxPathLen = 1
	root.AuthorityKeyId = root.SubjectKeyId
	der, err := x509.CreateCertificate(c.Rand, root, root, root.PublicKey, c.Root)
	if err != nil {
		return nil, newChainError(err)
	}
	return der, nil
}

// checkRoot wants a root that can certify an intermediate now.
func (c *ChainConfig) checkRoot(root *x509.Certificate) error {
	if pub, ok := c.Root.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(root.PublicKey) {
		return sigbox.Errorf(sigbox.Invalid, "the root's key does not belong to its certificate, whose subject is %q", root.Subject).
			WithHint("give the key that the certificate was made with")
	}
	if now := c.Now(); now.Before(root.NotBefore) || now.After(root.NotAfter) {
		return sigbox.Errorf(sigbox.Invalid, "the root's certificate is valid from %s to %s, and it is %s",
			root.NotBefore.Format(time.RFC3339), root.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("the authority needs a new root")
	}
	return nil
}

// template is what root and intermediate have in common.
func (c *ChainConfig) template(name string, pub crypto.PublicKey) (*x509.Certificate, error) {
	if _, _, err := signatureAlgorithm(pub); err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, newChainError(err)
	}
	keyID, err := cert.SubjectKeyID(spki)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(c.Rand)
	if err != nil {
		return nil, err
	}
	if c.Number > 1 {
		name += " " + strconv.Itoa(c.Number)
	}
	start := c.Now().UTC().Add(-headStart).Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{Organization: []string{c.Organization}, CommonName: c.Organization + " " + name},
		NotBefore:    start, NotAfter: start.AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true,
		PublicKey: pub, SubjectKeyId: keyID,
	}, nil
}

func newChainError(err error) error {
	return sigbox.Errorf(sigbox.Internal, "making the authority's certificates").WithCause(err)
}
