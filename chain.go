package sigbox

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"time"
)

// CheckAuthorities checks of a chain of certificate authorities, the issuing one
// first and the trust anchor last, what depends on neither time nor leaf (RFC 5280
// §6.1): that each may issue certificates for usage and was issued by the next. Of
// the anchor, whom nobody vouches for, only that is looked at which it says itself. The
// error is of kind NotVerified.
func CheckAuthorities(chain []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return Errorf(NotVerified, "there is no authority's certificate")
	}
	for i, c := range chain {
		if len(c.UnhandledCriticalExtensions) > 0 {
			return Errorf(NotVerified, "the authority's certificate %q has a critical extension that is not known, %v", c.Subject, c.UnhandledCriticalExtensions[0])
		}
		if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return Errorf(NotVerified, "the authority's certificate %q may not issue certificates", c.Subject)
		}
		if !mayIssueFor(c, usage) {
			return Errorf(NotVerified, "the authority's certificate %q is not for %s", c.Subject, describeUsage(usage))
		}
		if i+1 < len(chain) {
			if err := checkIssuedBy(c, chain[i+1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// mayIssueFor checks the extended key usage. Those of authorities nest: none, or
// anyExtendedKeyUsage, permits all.
func mayIssueFor(c *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) || slices.Contains(c.ExtKeyUsage, usage)
}

func describeUsage(usage x509.ExtKeyUsage) string {
	switch usage {
	case x509.ExtKeyUsageCodeSigning:
		return "code signing"
	case x509.ExtKeyUsageTimeStamping:
		return "timestamps"
	}
	return "this use"
}

// CheckIssued checks that c was issued by the first of authorities, a chain that
// [CheckAuthorities] finds good for usage, and that all of the path allow it. The
// certificates must be valid at the given time; whether they are is the caller's to
// check, and so is what c itself may be used for. The error is of kind NotVerified.
func CheckIssued(c *x509.Certificate, authorities []*x509.Certificate, usage x509.ExtKeyUsage, at time.Time) error {
	if len(authorities) == 0 {
		return Errorf(NotVerified, "there is no authority's certificate")
	}
	for below, ca := range authorities {
		if (ca.MaxPathLen > 0 || ca.MaxPathLenZero) && below > ca.MaxPathLen {
			return Errorf(NotVerified, "the authority's certificate %q allows %d authorities below it, the path has %d", ca.Subject, ca.MaxPathLen, below)
		}
	}
	if err := checkIssuedBy(c, authorities[0]); err != nil {
		return err
	}
	if constrained(c) || slices.ContainsFunc(authorities, constrained) {
		return checkConstraints(c, authorities, usage, at)
	}
	return nil
}

// checkIssuedBy checks name, key usage and signature.
func checkIssuedBy(c, parent *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return Mismatch(NotVerified, "the certificate is of another issuer", parent.Subject, c.Issuer)
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return Errorf(NotVerified, "the certificate was not signed by %q: %s", parent.Subject, DescribeX509(err))
	}
	return nil
}

// constrained reports whether a certificate limits its path, to names (RFC 5280
// §4.2.1.10) or to certificates of known policies (§4.2.1.11), or says what policies
// mean elsewhere (§4.2.1.5), which can be wrong in itself.
func constrained(c *x509.Certificate) bool {
	return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) || // nameConstraints
			e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 33}) || // policyMappings
			e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 36}) // policyConstraints
	})
}

// checkConstraints leaves a path with constraints to the standard library.
func checkConstraints(c *x509.Certificate, authorities []*x509.Certificate, usage x509.ExtKeyUsage, at time.Time) error {
	if at.IsZero() { // which is now, to package x509
		return Errorf(NotVerified, "nothing is known of when the certificate was used")
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{usage},
	}
	last := len(authorities) - 1
	opts.Roots.AddCert(authorities[last])
	for _, ca := range authorities[:last] {
		opts.Intermediates.AddCert(ca)
	}
	if _, err := c.Verify(opts); err != nil {
		return Errorf(NotVerified, "the certificate does not lead to the trust root: %s", DescribeX509(err))
	}
	return nil
}
