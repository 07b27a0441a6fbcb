package parts

import (
	"bytes"
	"crypto/x509"
	"slices"

	"github.com/sigbox/sigbox"
)

// checkRoot refuses a log or an authority that clients could not use. Many of them refuse
// a whole trust root for one key or certificate in it that they cannot read: a host could
// end the trust in all others.
func checkRoot(root *sigbox.TrustedRoot) error {
	for _, l := range slices.Concat(root.Logs, root.CTLogs) {
		if err := checkLog(l); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "the log %.200q: %w", l.BaseURL, err)
		}
	}
	for _, ca := range slices.Concat(root.CertificateAuthorities, root.TimestampAuthorities) {
		if err := checkAuthority(ca); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "the authority %.200q: %w", ca.URI, err)
		}
	}
	return nil
}

func checkLog(l sigbox.TransparencyLog) error {
	pub, err := sigbox.ParsePublicKey(l.PublicKey)
	if err != nil {
		return err
	}
	if err := l.Details.CheckKey(pub); err != nil {
		return err
	}
	if !l.HashAlgorithm.Valid() || len(l.LogID) != sigbox.SHA256.Size() || l.ValidFor.Start.IsZero() {
		return sigbox.Errorf(sigbox.Invalid, "expected a hash algorithm, an ID of %d bytes and the beginning of its validity", sigbox.SHA256.Size())
	}
	return nil
}

// checkAuthority wants certificates of which each is issued by the next, and the last by
// itself.
func checkAuthority(ca sigbox.CertificateAuthority) error {
	if ca.ValidFor.Start.IsZero() {
		return sigbox.Errorf(sigbox.Invalid, "expected the beginning of its validity")
	}
	chain := make([]*x509.Certificate, len(ca.Chain))
	for i, der := range ca.Chain {
		var err error
		if chain[i], err = sigbox.ParseCertificate(der); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "certificate %d: %w", i+1, err)
		}
	}
	for i, c := range chain {
		issuer := chain[min(i+1, len(chain)-1)]
		if !bytes.Equal(c.RawIssuer, issuer.RawSubject) || c.CheckSignatureFrom(issuer) != nil {
			return sigbox.Errorf(sigbox.Invalid, "certificate %d is not issued by the one that follows it, or the last not by itself", i+1)
		}
		if c.NotBefore.Before(issuer.NotBefore) || c.NotAfter.After(issuer.NotAfter) {
			return sigbox.Errorf(sigbox.Invalid, "certificate %d is valid outside the time of its issuer", i+1)
		}
	}
	return nil
}
