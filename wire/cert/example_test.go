package cert_test

import (
	"crypto/x509"
	"fmt"
	"log"
	"os"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/trust"
)

// Who a certificate speaks for, and the promise of a certificate log in it.
func Example() {
	rootFile, err := os.ReadFile("../../docs/verification/trusted_root.json")
	if err != nil {
		log.Fatal(err)
	}
	bundleFile, err := os.ReadFile("../../docs/verification/hello.txt.sigstore.json")
	if err != nil {
		log.Fatal(err)
	}
	root, err := trust.ParseRoot(rootFile)
	if err != nil {
		log.Fatal(err)
	}
	b, err := bundle.Parse(bundleFile)
	if err != nil {
		log.Fatal(err)
	}

	leaf, err := x509.ParseCertificate(b.Certificates[0])
	if err != nil {
		log.Fatal(err)
	}
	id, err := cert.IdentityOf(leaf) // what it says; its path is for package verify
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id.Subject, "by", id.Issuer)

	scts, err := cert.SCTList(leaf)
	if err != nil {
		log.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(root.CertificateAuthorities[0].Chain[0])
	if err != nil {
		log.Fatal(err)
	}
	logKey, err := sigbox.ParsePublicKey(root.CTLogs[0].PublicKey)
	if err != nil {
		log.Fatal(err)
	}
	err = cert.VerifySCT(scts[0], leaf.Raw, issuer.RawSubjectPublicKeyInfo, logKey)
	fmt.Println("promised:", err == nil)
	// Output:
	// ada@example.com by http://127.0.0.1:8080/oidc
	// promised: true
}
