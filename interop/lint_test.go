package interop

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

// TestCertificatesLint has zlint look at a certificate for an identity of each type of
// issuer, and at the authorities' own, by the rules of the RFCs: those of the CA/Browser
// Forum are for web servers.
func TestCertificatesLint(t *testing.T) {
	p := newProvider(t)
	in := serveTLS(t, "--config", p.config(t))
	sigbox := sigboxClient{binary: in.binary, home: t.TempDir()}
	if err := sigbox.trust(in); err != nil {
		t.Fatal(err)
	}
	rules, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC8813, lint.RFC6962}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rules.Names()); n < 100 {
		t.Fatalf("zlint has %d rules: expected some hundred", n)
	}
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifact"), "a release\n")
	for _, id := range p.identities {
		t.Run(id.name, func(t *testing.T) {
			bundle := filepath.Join(dir, id.name)
			if err := sigbox.sign(in, p.token(t, id), file, bundle); err != nil {
				t.Fatal(err)
			}
			lintCertificate(t, rules, leafOf(t, bundle))
		})
	}
	for _, authority := range []string{"ca", "tsa"} {
		t.Run(authority, func(t *testing.T) {
			rest, err := os.ReadFile(filepath.Join(in.data, "certs", authority+".pem"))
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
				lintCertificate(t, rules, block.Bytes)
				found++
			}
			if found < 2 {
				t.Errorf("%d certificates", found)
			}
		})
	}
}

// lintCertificate tells what zlint finds at a certificate that is worse than a notice.
func lintCertificate(t *testing.T, rules lint.Registry, der []byte) {
	t.Helper()
	c, err := zx509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for name, found := range zlint.LintCertificateEx(c, rules).Results {
		if found.Status >= lint.Warn {
			t.Errorf("%s: %s, %s", name, found.Status, found.Details)
		}
	}
}

// leafOf gives the certificate in a bundle, DER.
func leafOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		VerificationMaterial struct {
			Certificate struct{ RawBytes string }
		}
	}
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(b.VerificationMaterial.Certificate.RawBytes)
	if err != nil || len(der) == 0 {
		t.Fatalf("%s: no certificate: %v", path, err)
	}
	return der
}
