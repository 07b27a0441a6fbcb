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
	"time"

	"github.com/sigbox/sigbox"
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
	// Root signs the leaf's certificate and is not needed afterwards; Leaf is the
	// authority's key. Required; ECDSA P-256 makes for the quickest clients.
	Root, Leaf crypto.Signer
	// Organization stands in the names; "" is "sigbox".
	Organization string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Rand is for serial numbers and signatures; nil is crypto/rand.
	Rand io.Reader
}

// NewChain makes the certificates of a new timestamp authority, DER, leaf first:
// a leaf for nothing but timestamping (RFC 3161 §2.3) under a self-signed root.
// Both are valid from a whole UTC second five minutes ago for ten years.
func NewChain(cfg ChainConfig) ([][]byte, error) {
	now := time.Now
	if cfg.Now != nil {
		now = cfg.Now
	}
	random := cmp.Or(cfg.Rand, rand.Reader)
	organization := []string{cmp.Or(cfg.Organization, "sigbox")}
	start := now().UTC().Truncate(time.Second).Add(-backdate)
	root := &x509.Certificate{
		Subject:   pkix.Name{Organization: organization, CommonName: "sigbox timestamp root"},
		NotBefore: start, NotAfter: start.Add(lifetime),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	leaf := &x509.Certificate{
		Subject:   pkix.Name{Organization: organization, CommonName: "sigbox timestamp authority"},
		NotBefore: start, NotAfter: start.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtraExtensions: []pkix.Extension{timeStampingOnly()},
	}
	rootDER, err := certify(random, root, root, cfg.Root.Public(), cfg.Root)
	if err != nil {
		return nil, err
	}
	// The issuer as parsed has the key identifier that the leaf refers to.
	issuer, err := x509.ParseCertificate(rootDER)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "timestamp authority: the root does not parse").WithCause(err)
	}
	leafDER, err := certify(random, leaf, issuer, cfg.Leaf.Public(), cfg.Root)
	if err != nil {
		return nil, err
	}
	return [][]byte{leafDER, rootDER}, nil
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
