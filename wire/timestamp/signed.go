package timestamp

import (
	"crypto/x509"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
)

// CheckSigned checks that a DER TimeStampResp is granted and signed by a timestamp
// authority's certificate that came along in it: that it is whole, which says
// nothing of who made it. It is for a log that records timestamps; whoever relies
// on one has an [Authority] verify it.
func CheckSigned(resp []byte) error {
	t, err := Parse(resp)
	if err != nil {
		return err
	}
	certs := cryptobyte.String(t.certs)
	for n := 0; !certs.Empty(); n++ {
		var der cryptobyte.String
		if !certs.ReadASN1Element(&der, asn1.SEQUENCE) || n == maxChain {
			return malformed("at most 10 certificates")
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return malformed("certificates")
		}
		if a, err := newAuthority(c); err == nil && a.Signed(t) {
			if err := a.checkContent(t); err != nil {
				return err
			}
			return t.signer.verify(c.PublicKey)
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "the timestamp comes without the certificate of its signer").
		WithHint("ask the authority for it: certReq in the request")
}
