package ca

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// The identifiers below are read and never written.
var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidPoison         = cert.Poison().Id
)

// lint reads a certificate that has everything but its signature as a verifier would,
// and compares it with what was meant: the authority signs nothing that is not what a
// token has proven, what the profile allows, and what is in the log.
func (s *signer) lint(d *draft, unsigned []byte, scts int) error {
	c, err := x509.ParseCertificate(unsigned)
	if err != nil {
		return unfit("it can be read").WithCause(err)
	}
	tbs, err := cert.PrecertTBS(unsigned)
	if err != nil {
		return unfit("it can be logged").WithCause(err)
	}
	id, err := cert.IdentityOf(c)
	if err != nil {
		return unfit("it names an identity").WithCause(err)
	}
	list, err := cert.SCTList(c)
	if err != nil {
		return unfit("its SCTs can be read").WithCause(err)
	}
	for _, rule := range [...]struct {
		name string
		ok   bool
	}{
		{"it is what is logged", bytes.Equal(tbs, d.logged)},
		{"SCTs", len(list) == scts},
		{"version 3", c.Version == 3},
		{"serial of 20 bytes", c.SerialNumber.Sign() > 0 && len(c.SerialNumber.Bytes()) == serialSize},
		{"issuer", bytes.Equal(c.RawIssuer, s.issuer.RawSubject) && bytes.Equal(c.AuthorityKeyId, s.issuer.SubjectKeyId)},
		{"validity", c.NotBefore.Equal(d.notBefore) && c.NotAfter.Equal(d.notBefore.Add(s.validity))},
		{"validity within the issuer's", !c.NotBefore.Before(s.issuer.NotBefore) && !c.NotAfter.After(s.issuer.NotAfter)},
		{"key", bytes.Equal(c.RawSubjectPublicKeyInfo, d.spki) && len(c.SubjectKeyId) == cert.KeyIDSize},
		{"key usage", c.KeyUsage == x509.KeyUsageDigitalSignature},
		{"extended key usage", len(c.UnknownExtKeyUsage) == 0 && len(c.ExtKeyUsage) == 1 && c.ExtKeyUsage[0] == x509.ExtKeyUsageCodeSigning},
		{"empty subject", bytes.Equal(c.RawSubject, []byte{0x30, 0})},
		{"no CA", !c.IsCA && !c.BasicConstraintsValid},
		{"a critical alternative name, which alone says who", criticalName(c)},
		{"no critical extension that verifiers do not know", knownCritical(c)},
		{"identity", id == d.identity},
	} {
		if !rule.ok {
			return unfit(rule.name)
		}
	}
	return nil
}

// knownCritical reports whether Go understands every critical extension of c, or
// Sigstore's clients do: user names in the alternative name, and the poison.
func knownCritical(c *x509.Certificate) bool {
	for _, id := range c.UnhandledCriticalExtensions {
		if !id.Equal(oidSubjectAltName) && !id.Equal(oidPoison) {
			return false
		}
	}
	return true
}

// criticalName reports whether the alternative name is critical, as it must be where the
// subject is empty (RFC 5280 §4.1.2.6).
func criticalName(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			return e.Critical
		}
	}
	return false
}

// unfit is the error of a certificate that is not signed. It is a fault of this program,
// or of the machine that it runs on: what strangers send is refused before.
func unfit(rule string) *sigbox.Error {
	return sigbox.Errorf(sigbox.Internal, "a certificate was drafted, fails its check and is not signed: %s", rule)
}
