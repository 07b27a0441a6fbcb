package tsa

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"io"
	"math/big"
	"strconv"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

const (
	// backdate is how long before its first use a chain begins: timestamps are cut
	// to the second, and clients' clocks differ.
	backdate = 5 * time.Minute
	// lifetime of root and leaf.
	lifetime = 10 * 365 * 24 * time.Hour
)

// ChainConfig says what [NewChain] makes.
type ChainConfig struct {
	// Root signs the leaf's certificate; it is needed again only for another leaf.
	// Required, as Leaf; ECDSA P-256 makes for the quickest clients.
	Root crypto.Signer
	// RootCertificate is Root's certificate, DER, for another leaf of a root that there
	// is; nil makes one.
	RootCertificate []byte
	// Leaf is the public half of the authority's key.
	Leaf crypto.PublicKey
	// Number stands in the names from 2 on, so that each authority of an instance has one
	// of its own.
	Number int
	// Organization stands in the names; "" is "sigbox".
	Organization string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand is for serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
}

// NewChain makes the certificates of a new timestamp authority, DER, leaf first:
// a leaf for nothing but timestamping (RFC 3161 §2.3) under a self-signed root.
// Both are valid from a whole UTC second five minutes ago for ten years; a leaf not
// longer than a root that there is.
func NewChain(cfg ChainConfig) ([][]byte, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Rand = cmp.Or(cfg.Rand, rand.Reader)
	rootDER := cfg.RootCertificate
	if rootDER == nil {
		root := cfg.template("sigbox timestamp root")
		root.KeyUsage, root.IsCA, root.MaxPathLenZero = x509.KeyUsageCertSign, true, true
		var err error
		if rootDER, err = certify(cfg.Rand, root, root, cfg.Root.Public(), cfg.Root); err != nil {
			return nil, err
		}
	}
	// The issuer as parsed has the key identifier that the leaf refers to.
	issuer, err := x509.ParseCertificate(rootDER)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: the root does not parse").WithCause(err)
	}
	if err := cfg.checkRoot(issuer); err != nil {
		return nil, err
	}
	leaf := cfg.template("sigbox timestamp authority")
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtraExtensions = []pkix.Extension{timeStampingOnly()}
	if leaf.SubjectKeyId, err = keyID(cfg.Leaf); err != nil {
		return nil, err
	}
	if leaf.NotAfter.After(issuer.NotAfter) {
		leaf.NotAfter = issuer.NotAfter
	}
	leafDER, err := certify(cfg.Rand, leaf, issuer, cfg.Leaf, cfg.Root)
	if err != nil {
		return nil, err
	}
	return [][]byte{leafDER, rootDER}, nil
}

// keyID is the subject key identifier of a key: every certificate ought to have one
// (RFC 5280 §4.2.1.2), and x509 makes those of authorities alone.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: no certificate can be made for its key: %w", err)
	}
	return cert.SubjectKeyID(spki)
}

// template is what root and leaf have in common.
func (cfg *ChainConfig) template(name string) *x509.Certificate {
	if cfg.Number > 1 {
		name += " " + strconv.Itoa(cfg.Number)
	}
	start := cfg.Now().UTC().Truncate(time.Second).Add(-backdate)
	return &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{cmp.Or(cfg.Organization, "sigbox")}, CommonName: name},
		NotBefore: start, NotAfter: start.Add(lifetime), BasicConstraintsValid: true,
	}
}

// checkRoot wants a root that can certify a leaf now.
func (cfg *ChainConfig) checkRoot(root *x509.Certificate) error {
	if pub, ok := cfg.Root.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(root.PublicKey) {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority: the root's key does not belong to its certificate, whose subject is %q", root.Subject).
			WithHint("give the key that the certificate was made with")
	}
	if now := cfg.Now(); now.Before(root.NotBefore) || now.After(root.NotAfter) {
		return sigbox.Errorf(sigbox.Invalid, "timestamp authority: the root's certificate is valid from %s to %s, and it is %s",
			root.NotBefore.Format(time.RFC3339), root.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339)).
			WithHint("the authority needs a new root")
	}
	return nil
}

// certify signs a certificate with a random serial number.
func certify(random io.Reader, template, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: no randomness").WithCause(err)
	}
	serial[0] = serial[0]&0x3f | 0x40
	template.SerialNumber = new(big.Int).SetBytes(serial)
	der, err := x509.CreateCertificate(random, template, issuer, pub, key)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "timestamp authority: no certificate can be made for its key: %w", err)
	}
	return der, nil
}

// timeStampingOnly is the extended key usage extension with timeStamping alone,
// marked critical (RFC 3161 §2.3), which x509 does not do by itself.
func timeStampingOnly() pkix.Extension {
	return pkix.Extension{
		Id:       encoding.ObjectIdentifier{2, 5, 29, 37},
		Critical: true,
		Value:    []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08}, // { id-kp-timeStamping }
	}
}
