package cert_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// conformance is where the bundles of the Sigstore conformance suite are looked
// for: beside the repository. They are too many to keep a copy of.
const conformance = "../../../shared/conformance"

type rawCert struct {
	RawBytes []byte `json:"rawBytes"`
}

// publicGood reads the CT log keys, by log ID, and the issuers, by subject, of
// the public-good instance.
func publicGood(t *testing.T) (logs map[[32]byte][]byte, issuers map[string]*x509.Certificate) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(conformance, "public-good.trusted_root.json"))
	if err != nil {
		t.Skip("the conformance suite is not beside the repository: ", err)
	}
	var root struct {
		CTLogs []struct {
			PublicKey rawCert `json:"publicKey"`
		} `json:"ctlogs"`
		CAs []struct {
			CertChain struct {
				Certificates []rawCert `json:"certificates"`
			} `json:"certChain"`
		} `json:"certificateAuthorities"`
	}
	if err := json.Unmarshal(b, &root); err != nil {
		t.Fatal(err)
	}
	logs, issuers = map[[32]byte][]byte{}, map[string]*x509.Certificate{}
	for _, l := range root.CTLogs {
		logs[sha256.Sum256(l.PublicKey.RawBytes)] = l.PublicKey.RawBytes
	}
	for _, ca := range root.CAs {
		c, err := x509.ParseCertificate(ca.CertChain.Certificates[0].RawBytes)
		if err != nil {
			t.Fatal(err)
		}
		issuers[string(c.RawSubject)] = c
	}
	return logs, issuers
}

// leafOf reads the leaf certificate of a bundle; nil when there is none.
func leafOf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct {
		VerificationMaterial struct {
			Certificate rawCert `json:"certificate"`
			Chain       struct {
				Certificates []rawCert `json:"certificates"`
			} `json:"x509CertificateChain"`
		} `json:"verificationMaterial"`
	}
	if json.Unmarshal(b, &bundle) != nil {
		return nil // one of the suite's broken ones
	}
	der := bundle.VerificationMaterial.Certificate.RawBytes
	if chain := bundle.VerificationMaterial.Chain.Certificates; len(chain) > 0 {
		der = chain[0].RawBytes
	}
	if der == nil {
		return nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPublicGood reads the identity of every certificate in the suite, writes it
// again, and verifies the SCTs of those that the public-good instance issued.
func TestPublicGood(t *testing.T) {
	logs, issuers := publicGood(t)
	files, err := filepath.Glob(filepath.Join(conformance, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil {
		t.Fatal(err)
	}
	verified := 0
	for _, file := range files {
		c := leafOf(t, file)
		if c == nil {
			continue
		}
		name := filepath.Base(filepath.Dir(file))
		checkExtensions(t, name, c)
		scts, err := cert.SCTList(c)
		if err != nil || len(scts) != 1 {
			t.Errorf("%s: %d SCTs, %v", name, len(scts), err)
			continue
		}
		issuer, spki := issuers[string(c.RawIssuer)], logs[scts[0].LogID]
		if issuer == nil || spki == nil || c.CheckSignatureFrom(issuer) != nil {
			continue // of the staging instance, or a forgery
		}
		key, err := sigbox.ParsePublicKey(spki)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.VerifySCT(scts[0], c.Raw, issuer.RawSubjectPublicKeyInfo, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		verified++
	}
	if verified < 10 {
		t.Errorf("only %d certificates of the public-good instance were verified", verified)
	}
}

// checkExtensions writes the identity of a real certificate and compares.
func checkExtensions(t *testing.T, name string, c *x509.Certificate) {
	t.Helper()
	id, err := cert.IdentityOf(c)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	exts, err := cert.Extensions(id)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	found := map[string]string{}
	for _, e := range c.Extensions {
		if s := e.Id.String(); s == "2.5.29.17" || strings.HasPrefix(s, "1.3.6.1.4.1.57264.1.") {
			found[s] = string(e.Value)
		}
	}
	for _, e := range exts {
		if e.Id.String() == "1.3.6.1.4.1.57264.1.8" && found[e.Id.String()] == "" {
			continue // made before .8 was
		}
		if found[e.Id.String()] != string(e.Value) {
			t.Errorf("%s: %v: expected %q, wrote %q", name, e.Id, found[e.Id.String()], e.Value)
		}
		delete(found, e.Id.String())
	}
	if len(found) != 0 {
		t.Errorf("%s: not written: %q", name, found)
	}
}
