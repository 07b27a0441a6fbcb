package ca

import (
	"crypto"
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

// ChainConfig says what [NewChain] makes. Root and Intermediate are required.
type ChainConfig struct {
	// Root and Intermediate are the keys, of ECDSA or RSA. P-256 is what verifiers
	// check fastest. Root is needed again only to make another intermediate.
	Root, Intermediate crypto.Signer
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
// on, in whole seconds.
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
	root, err := c.template("root", c.Root)
	if err != nil {
		return nil, err
	}
	root.MaxPathLen = 1
	root.AuthorityKeyId = root.SubjectKeyId
	intermediate, err := c.template("intermediate", c.Intermediate)
	if err != nil {
		return nil, err
	}
	intermediate.MaxPathLenZero = true
	intermediate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	intermediate.AuthorityKeyId = root.SubjectKeyId

	chain := make([][]byte, 2)
	for i, t := range []*x509.Certificate{intermediate, root} {
		if chain[i], err = x509.CreateCertificate(c.Rand, t, root, t.PublicKey, c.Root); err != nil {
			return nil, newChainError(err)
		}
	}
	return chain, nil
}

// template is what root and intermediate have in common.
func (c *ChainConfig) template(name string, key crypto.Signer) (*x509.Certificate, error) {
	if _, _, err := signatureAlgorithm(key.Public()); err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, newChainError(err)
	}
	keyID, err := subjectKeyID(spki)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial(c.Rand)
	if err != nil {
		return nil, err
	}
	start := c.Now().UTC().Add(-headStart).Truncate(time.Second)
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{Organization: []string{c.Organization}, CommonName: c.Organization + " " + name},
		NotBefore:    start, NotAfter: start.AddDate(authorityYears, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true,
		PublicKey: key.Public(), SubjectKeyId: keyID,
	}, nil
}

func newChainError(err error) error {
	return sigbox.Errorf(sigbox.Internal, "making the authority's certificates").WithCause(err)
}
