package timestamp

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // see bySHA1
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

// Tokens that the right key signed, but that say something odd. The package's own
// signer does not make them, so it is bent here.
func TestOddTokensOfTheRightKey(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	issue := func(serial int64) []byte {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "x"}, NotBefore: at, NotAfter: at.Add(time.Hour), BasicConstraintsValid: true,
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 8}}},
		}
		issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "root"}}
		if serial == 0 {
			c = &x509.Certificate{SerialNumber: big.NewInt(9), Subject: issuer.Subject, NotBefore: at, NotAfter: at.Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, issuer, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	chain := [][]byte{issue(1), issue(0)}
	other, err := x509.ParseCertificate(issue(2))
	if err != nil {
		t.Fatal(err)
	}
	otherSerial := []byte{2, 1, 2}
	attribute := func(oid string, value []byte) []byte {
		return appendTLV(nil, 0x30, appendTLV(nil, 6, []byte(oid)), appendTLV(nil, 0x31, value))
	}
	for name, c := range map[string]struct {
		bend func(*Signer)
		kind sigbox.Kind // 0: accepted
	}{
		"as it should be":        {func(*Signer) {}, 0},
		"no signing-certificate": {func(s *Signer) { s.attrCert = attribute("\x2a\x03", []byte{5, 0}) }, sigbox.Invalid},
		"another certificate":    {func(s *Signer) { s.attrCert = attribute(oidSigningCertV2, signingCertificate(other, otherSerial)) }, sigbox.NotVerified},
		"its SHA-1":              {func(s *Signer) { s.attrCert = attribute(oidSigningCertV1, bySHA1(chain[0])) }, 0},
		"another's SHA-1":        {func(s *Signer) { s.attrCert = attribute(oidSigningCertV1, bySHA1(other.Raw)) }, sigbox.NotVerified},
		"another content type":   {func(s *Signer) { s.attrType = attribute(oidContentType, appendTLV(nil, 6, []byte(oidSignedData))) }, sigbox.Invalid},
		"no content type":        {func(s *Signer) { s.attrType = nil }, sigbox.Invalid},
		"an attribute twice":     {func(s *Signer) { s.attrCert = append(bytes.Clone(s.attrCert), s.attrCert...) }, sigbox.Invalid},
		"a digest twice": {func(s *Signer) {
			s.attrType = append(bytes.Clone(s.attrType), attribute(oidMessageDigest, []byte{4, 0})...)
		}, sigbox.Invalid},
		"two content types in one": {func(s *Signer) {
			s.attrType = attribute(oidContentType, append(bytes.Clone(s.contentType), s.contentType...))
		}, sigbox.Invalid},
		"very many attributes":    {func(s *Signer) { s.attrCert = append(bytes.Clone(s.attrCert), manyAttributes(attribute)...) }, sigbox.Invalid},
		"another hash in sigAlg":  {func(s *Signer) { s.sigAlg = algorithm{oidECDSAWithSHA384, false}.marshal() }, sigbox.NotVerified},
		"RSA in sigAlg":           {func(s *Signer) { s.sigAlg = algorithm{oidRSA, true}.marshal() }, sigbox.NotVerified},
		"plain ECDSA hash params": {func(s *Signer) { s.sigAlg = algorithm{oidECDSAWithSHA256, true}.marshal() }, 0},
		"SignedData version 1":    {func(s *Signer) { s.sdHead = bytes.Replace(s.sdHead, []byte{2, 1, 3}, []byte{2, 1, 1}, 1) }, sigbox.Invalid},
		"another eContentType":    {func(s *Signer) { s.contentType = appendTLV(nil, 6, []byte(oidSignedData)) }, sigbox.Invalid},
		"TSTInfo version 2":       {func(s *Signer) { s.infoHead = bytes.Replace(s.infoHead, []byte{2, 1, 1}, []byte{2, 1, 2}, 1) }, sigbox.Invalid},
		"accuracy of 0 ms":        {func(s *Signer) { s.accuracy = []byte{0x30, 3, 0x80, 1, 0} }, sigbox.Invalid},
		"accuracy of 1 µs":        {func(s *Signer) { s.accuracy = []byte{0x30, 3, 0x81, 1, 1} }, 0},
		"ordering false":          {func(s *Signer) { s.accuracy = []byte{1, 1, 0} }, sigbox.Invalid},
		"ordering true":           {func(s *Signer) { s.accuracy = []byte{1, 1, 0xff} }, 0},
		"signer by key identifier": {func(s *Signer) {
			s.signerHead = append([]byte{2, 1, 3, 0x80, 1, 7}, s.signerHead[len(s.signerHead)-13:]...)
		}, sigbox.NotVerified},
		"certificates and CRLs":    {func(s *Signer) { s.certs = []byte{0xa0, 0, 0xa1, 0} }, 0},
		"CRLs before certificates": {func(s *Signer) { s.certs = []byte{0xa1, 0, 0xa0, 0} }, sigbox.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSigner(SignerConfig{Key: key, Chain: chain})
			if err != nil {
				t.Fatal(err)
			}
			c.bend(s)
			resp, err := s.Respond(Request{Digest: sigbox.SHA256.Sum([]byte("x")), Certificates: true}, at, big.NewInt(5))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Verify(resp, []byte("x"), sigbox.CertificateAuthority{Chain: chain})
			if err == nil && c.kind == 0 {
				return
			}
			if err == nil || sigbox.KindOf(err) != c.kind {
				t.Errorf("expected kind %v, found %v", c.kind, err)
			}
			t.Log(err)
		})
	}
}

// bySHA1 is a SigningCertificate (RFC 2634 §5.4).
func bySHA1(der []byte) []byte {
	sum := sha1.Sum(der) //nolint:gosec // that is what it holds
	return appendTLV(nil, 0x30, appendTLV(nil, 0x30, appendTLV(nil, 0x30, appendTLV(nil, 4, sum[:]))))
}

func manyAttributes(attribute func(string, []byte) []byte) (all []byte) {
	for i := range 20 {
		all = append(all, attribute(string([]byte{0x2a, byte(i)}), []byte{5, 0})...)
	}
	return all
}

// TestHugeAuthorityKey: a key of 80,000 bits fits into a token, and a check by it would
// take a quarter of a second.
func TestHugeAuthorityKey(t *testing.T) {
	si := &signerInfo{hash: sigbox.SHA256, algorithm: oidRSA, signature: []byte{1}}
	for bits, says := range map[uint]string{8192: "does not verify with the authority's key", 8193: "RSA of 8193 bits: expected at most 8192"} {
		err := si.verify(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1), E: 65537}) // #nosec G115 -- two small numbers
		if sigbox.KindOf(err) != sigbox.NotVerified || !strings.Contains(err.Error(), says) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}
